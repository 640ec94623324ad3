from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from searchops.core.functions.settings import (
    SETTINGS,
    Change,
    Kind,
    Policy,
    differences,
    duplicate_finding,
    lease_finding,
    loss_finding,
    merge,
    stream_findings,
    visibility_finding,
    wanted,
)

QUEUE = "arn:aws:sqs:ap-northeast-1:123456789012:failed"
values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)
settings = st.recursive(
    st.dictionaries(st.text(max_size=4), values, max_size=4),
    lambda inner: st.dictionaries(st.text(max_size=4), values | inner, max_size=4),
)
policies = st.sampled_from([Kind.ASYNCHRONOUS, Kind.STREAM]).flatmap(
    lambda kind: st.builds(
        Policy,
        function=st.just("f"),
        kind=st.just(kind),
        retries=st.none() | st.integers(0, 2),
        max_event_age=st.none() | st.integers(60, 21_600),
        on_failure=st.none() | st.just(QUEUE),
        bisect=st.none() | st.booleans() if kind is Kind.STREAM else st.none(),
        report_batch_item_failures=st.none() | st.booleans() if kind is Kind.STREAM else st.none(),
        parallelization_factor=st.none() | st.integers(1, 10) if kind is Kind.STREAM else st.none(),
    )
)
current_settings = st.fixed_dictionaries(
    {},
    optional={
        "MaximumRetryAttempts": st.integers(0, 2),
        "MaximumEventAgeInSeconds": st.integers(60, 21_600),
        "MaximumRecordAgeInSeconds": st.integers(60, 604_800),
        "BisectBatchOnFunctionError": st.booleans(),
        "ParallelizationFactor": st.integers(1, 10),
        "FunctionResponseTypes": st.lists(st.sampled_from(["ReportBatchItemFailures", "Another"]), unique=True),
        "DestinationConfig": st.fixed_dictionaries(
            {},
            optional={
                name: st.fixed_dictionaries({}, optional={"Destination": st.text()}) for name in ("OnSuccess", "OnFailure")
            },
        ),
    },
)


def paths(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(value, dict):
        return {key: found for name, inner in value.items() for key, found in paths(inner, (*path, name)).items()}
    return {path: value}


def sections(value: dict[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the paths of dictionaries, also of empty ones."""
    inner = {name: child for name, child in value.items() if isinstance(child, dict)}
    return {(*path, name) for name in inner}.union(*(sections(child, (*path, name)) for name, child in inner.items()))


@given(settings, settings)
@example({"a": False}, {"a": {}})
def test_what_nobody_named_is_kept_and_what_was_named_is_there(current: dict[str, Any], named: dict[str, Any]) -> None:
    merged, before, asked = paths(merge(current, named)), paths(current), paths(named)

    assert all(merged[path] == value for path, value in asked.items())
    for path, value in before.items():
        named_around = path in sections(named) or any(
            path[: len(other)] == other or other[: len(path)] == path for other in asked
        )
        if not named_around and value is not None:
            assert merged[path] == value


@given(settings, settings)
def test_a_second_merge_changes_nothing(current: dict[str, Any], named: dict[str, Any]) -> None:
    once = merge(current, named)

    assert merge(once, named) == once
    assert differences(once, merge(once, named)) == ()


@given(policies, current_settings)
def test_a_second_run_finds_nothing_to_do_and_changes_name_only_what_the_policy_names(
    policy: Policy, current: dict[str, Any]
) -> None:
    merged = merge(current, wanted(policy, current))
    changes = differences(current, merged)

    assert differences(merged, merge(merged, wanted(policy, merged))) == ()
    named = {
        "MaximumRetryAttempts": policy.retries,
        "MaximumEventAgeInSeconds": policy.max_event_age,
        "MaximumRecordAgeInSeconds": policy.max_event_age,
        "DestinationConfig.OnFailure.Destination": policy.on_failure,
        "BisectBatchOnFunctionError": policy.bisect,
        "FunctionResponseTypes": policy.report_batch_item_failures,
        "ParallelizationFactor": policy.parallelization_factor,
    }
    assert all(named[change.setting] is not None for change in changes)
    assert "Another" not in current.get("FunctionResponseTypes", []) or "Another" in merged["FunctionResponseTypes"]


def test_the_destination_of_successes_is_kept_when_that_of_failures_is_set() -> None:
    current = {"MaximumRetryAttempts": 2, "DestinationConfig": {"OnSuccess": {"Destination": "topic"}, "OnFailure": {}}}
    policy = Policy("f", Kind.ASYNCHRONOUS, retries=0, on_failure=QUEUE)

    merged = merge(current, wanted(policy, current))

    assert merged == {
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {"OnSuccess": {"Destination": "topic"}, "OnFailure": {"Destination": QUEUE}},
    }
    assert differences(current, merged) == (
        Change("MaximumRetryAttempts", 2, 0),
        Change("DestinationConfig.OnFailure.Destination", None, QUEUE),
    )
    assert str(differences(current, merged)[1]) == f"DestinationConfig.OnFailure.Destination: not set -> {QUEUE}"


def test_zero_retries_and_false_are_settings_and_not_nothing() -> None:
    policy = Policy("f", Kind.STREAM, retries=0, bisect=False, report_batch_item_failures=False)

    assert wanted(policy, {}) == {"MaximumRetryAttempts": 0, "BisectBatchOnFunctionError": False, "FunctionResponseTypes": []}
    assert differences({}, {"MaximumRetryAttempts": 0}) == (Change("MaximumRetryAttempts", None, 0),)
    assert differences({"FunctionResponseTypes": []}, {}) == ()


def test_a_put_holds_every_setting_that_lambda_knows() -> None:
    """It removes what it is not given: a setting that a later botocore brings has to be kept, too."""
    service = botocore.session.get_session().get_service_model("lambda")
    members = service.operation_model("PutFunctionEventInvokeConfig").input_shape.members

    assert set(members) == {"FunctionName", "Qualifier", *SETTINGS[Kind.ASYNCHRONOUS]}
    assert set(service.operation_model("UpdateEventSourceMapping").input_shape.members) >= set(SETTINGS[Kind.STREAM])


@pytest.mark.parametrize(("lease", "timeout", "told"), [(None, 900, False), (60, 60, False), (60, 61, True)])
def test_a_time_out_longer_than_the_lease_is_told(lease: float | None, timeout: int, told: bool) -> None:
    found = lease_finding(Policy("f", Kind.ASYNCHRONOUS, lease=lease), timeout)

    assert bool(found) is told
    assert not told or "61 s" in found[0]


@pytest.mark.parametrize(
    ("visibility", "timeout", "window", "told"), [(180, 30, 0, False), (179, 30, 0, True), (180, 30, 1, True), (0, 0, 0, False)]
)
def test_a_visibility_time_out_shorter_than_six_times_the_functions_is_told(
    visibility: int, timeout: int, window: int, told: bool
) -> None:
    assert bool(visibility_finding(Policy("f", Kind.SQS), QUEUE, visibility, timeout, window)) is told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"MaximumRetryAttempts": 0}, "f is never tried again"),
        ({"MaximumRetryAttempts": 0, "DestinationConfig": {"OnSuccess": {"Destination": "x"}}}, "f is never tried again"),
        ({"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}, ""),
        ({"MaximumRetryAttempts": 1}, "f is tried again once only"),
        ({"MaximumRetryAttempts": 2, "DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}, ""),
        ({}, "f is tried again twice only"),
    ],
)
def test_a_function_without_a_destination_loses_events_and_is_told_so(settings: dict[str, Any], told: str) -> None:
    found = loss_finding(Policy("f", Kind.ASYNCHRONOUS), settings)

    assert [finding.partition(" and ")[0] for finding in found] == ([told] if told else [])
    assert loss_finding(Policy("f", Kind.ASYNCHRONOUS), settings, dead_letters=True) == []


@pytest.mark.parametrize(
    ("claims", "settings", "in_progress", "told"),
    [
        (True, {"MaximumRetryAttempts": 1}, "", "found none"),
        (True, {}, "success", "found 'success'"),
        (True, {}, "retry", ""),
        (True, {"MaximumRetryAttempts": 0}, "", ""),
        (False, {"MaximumRetryAttempts": 2}, "", ""),
    ],
)
def test_a_function_that_claims_and_is_tried_again_needs_to_fail_duplicates(
    claims: bool, settings: dict[str, Any], in_progress: str, told: str
) -> None:
    found = duplicate_finding(Policy("f", Kind.ASYNCHRONOUS, claims=claims), settings, in_progress)

    assert bool(found) is bool(told)
    assert not told or (told in found[0] and "SEARCHOPS_IN_PROGRESS=retry" in found[0])


SAFE = {
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "MaximumRetryAttempts": -1,
    "MaximumRecordAgeInSeconds": 43_200,
    "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::example-bucket"}},
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"FunctionResponseTypes": []}, "records that the function answers as failed count as done"),
        ({"DestinationConfig": {"OnFailure": {}}}, "given up after 43200 s and there is no on-failure destination"),
        ({"DestinationConfig": None, "MaximumRetryAttempts": 3}, "given up after 3 retries or 43200 s"),
        ({"MaximumRecordAgeInSeconds": -1}, "blocks its shard until the records expire"),
        ({"MaximumRecordAgeInSeconds": None, "MaximumRetryAttempts": None}, "blocks its shard until the records expire"),
        ({"MaximumRecordAgeInSeconds": -1, "MaximumRetryAttempts": 0}, ""),
    ],
)
def test_a_stream_mapping_that_loses_records_or_blocks_its_shard_is_told(changes: dict[str, Any], told: str) -> None:
    found = stream_findings(Policy("f", Kind.STREAM), "mapping of a stream", {**SAFE, **changes})

    assert [told in finding for finding in found] == ([True] if told else [])
    assert all(finding.startswith("f, mapping of a stream: ") for finding in found)


def test_who_says_that_a_function_reports_no_failures_is_not_told_again() -> None:
    policy = Policy("f", Kind.STREAM, report_batch_item_failures=False)

    assert stream_findings(policy, "mapping", {**SAFE, "FunctionResponseTypes": []}) == []

"""The section ``functions``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from searchops.inventory import BrokenEntry, Defaults, Function, Inventory
from searchops.inventory.models import FunctionEntry

Read = Callable[[str], Inventory]

DEFAULTS = "defaults: {region: ap-northeast-1, bucket: example-bucket, slack_conn_id: ops}\n"
QUEUE = "arn:aws:sqs:ap-northeast-1:123456789012:failed"
STREAM = "arn:aws:dynamodb:ap-northeast-1:123456789012:table/items/stream/2026-01-01T00:00:00.000"


def entry(kind: str, **fields: Any) -> FunctionEntry:
    return FunctionEntry.model_validate({"function": "f", "kind": kind, **fields})


def test_a_function_comes_with_defaults_and_goes_through_json_and_back(read: Read) -> None:
    found = read(
        DEFAULTS
        + f"""
functions:
  here: {{function: example-here, kind: asynchronous, retries: 0, max_event_age: 90m, on_failure: "{QUEUE}"}}
  there: {{function: example-there, kind: sqs, region: eu-west-1, aws_conn_id: there}}
"""
    )

    here, there = found.functions["here"], found.functions["there"]
    assert found.errors == ()
    assert (here.key, here.region, here.aws_conn_id, here.max_event_age) == (
        "here",
        "ap-northeast-1",
        "aws_default",
        timedelta(minutes=90),
    )
    assert (there.region, there.aws_conn_id) == ("eu-west-1", "there")
    assert (there.home.region, there.home.aws_conn_id) == ("ap-northeast-1", "aws_default")
    assert (here.home.bucket, here.home.slack_conn_id, here.home.claims_table) == ("example-bucket", "ops", "searchops-claims")
    assert Function.model_validate_json(here.model_dump_json()) == here


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("asynchronous", {"retries": 2, "max_event_age": "6h", "on_failure": "arn:aws:s3:::example-bucket", "namespace": "x"}),
        ("asynchronous", {"qualifier": "live", "lease": "30s"}),
        ("stream", {"retries": -1, "max_event_age": "7d", "bisect": True, "on_failure": QUEUE, "source": STREAM}),
        ("stream", {"retries": 10_000, "report_batch_item_failures": False, "parallelization_factor": 10}),
        ("sqs", {"report_batch_item_failures": True, "source": QUEUE}),
        ("sqs", {}),
    ],
)
def test_each_kind_takes_its_own_settings(kind: str, fields: dict[str, Any]) -> None:
    assert entry(kind, **fields).kind == kind


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("asynchronous", {"retries": 3}, 'retries of kind "asynchronous" are 0 to 2, found 3'),
        ("asynchronous", {"retries": -1}, "are 0 to 2, found -1"),
        ("asynchronous", {"max_event_age": "59s"}, 'max_event_age of kind "asynchronous" is 1m to 6h, found 59s'),
        ("asynchronous", {"max_event_age": "21601s"}, "is 1m to 6h, found 6h1s"),
        ("asynchronous", {"bisect": True}, 'bisect has no part in kind "asynchronous"'),
        ("asynchronous", {"on_failure": "failed"}, '"failed" is not the ARN of a destination'),
        ("stream", {"retries": 10_001}, "are -1 to 10000, found 10001"),
        ("stream", {"retries": -2}, "are -1 to 10000, found -2"),
        ("stream", {"max_event_age": "30s"}, "is 1m to 7d, found 30s"),
        ("stream", {"on_failure": "arn:aws:lambda:ap-northeast-1:123456789012:function:f"}, "is the ARN of sqs, sns, s3"),
        ("stream", {"source": QUEUE}, 'does not go with kind "stream"'),
        ("sqs", {"source": STREAM}, 'does not go with kind "sqs"'),
        ("sqs", {"retries": 0, "on_failure": QUEUE}, 'on_failure, retries have no part in kind "sqs"'),
        ("stream", {"namespace": "x"}, "namespace has no part"),
        ("stream", {"parallelization_factor": 11}, "less than or equal to 10"),
        ("stream", {"parallelization_factor": 0}, "greater than or equal to 1"),
        ("sqs", {"parallelization_factor": 2}, 'parallelization_factor has no part in kind "sqs"'),
        ("sqs", {"retries": True}, "valid integer"),
        ("lambda", {}, "asynchronous"),
        ("sqs", {"function": "a/b"}, '"a/b" is not the name of a Lambda function'),
    ],
)
def test_what_has_no_part_in_a_kind_or_is_out_of_its_limits_is_refused(kind: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        entry(kind, **fields)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "on_failure", "queue"),
    [
        ("asynchronous", QUEUE, QUEUE),
        ("asynchronous", "arn:aws:sns:ap-northeast-1:123456789012:failed", None),
        ("asynchronous", None, None),
        ("stream", QUEUE, None),
    ],
)
def test_failed_events_are_sent_again_from_the_queue_of_an_asynchronous_function_only(
    read: Read, kind: str, on_failure: str | None, queue: str | None
) -> None:
    given = f', on_failure: "{on_failure}"' if on_failure else ""

    found = read(DEFAULTS + f"functions: {{f: {{function: f, kind: {kind}{given}}}}}")

    assert found.functions["f"].failed_events == queue


def test_a_broken_function_leaves_the_others_and_is_no_problem_of_the_inventory_because_its_own_dag_shows_it(read: Read) -> None:
    found = read(DEFAULTS + "functions: {good: {function: f, kind: sqs}, bad: {function: f, kind: sqs, retries: 1}}")

    assert set(found.functions) == {"good"}
    assert found.problems == ()
    (bad,) = found.broken
    assert bad.errors == (
        'include/searchops.yaml: functions.bad: retries has no part in kind "sqs", which takes '
        "source, report_batch_item_failures (line 2)",
    )
    assert bad.notice
    assert (bad.notice.bucket, bad.notice.slack_conn_id, bad.notice.schedule) == ("example-bucket", "ops", None)
    assert found.entries("functions") == {**found.functions, "bad": bad}


def test_two_entries_that_would_set_up_one_function_undo_each_other_so_the_later_is_broken(read: Read) -> None:
    found = read(
        DEFAULTS
        + """
functions:
  one: {function: f, kind: asynchronous, retries: 0}
  again: {function: f, kind: asynchronous, retries: 1}
  live: {function: f, qualifier: live, kind: asynchronous, retries: 1}
  stream: {function: f, kind: stream, retries: 1}
"""
    )

    assert set(found.functions) == {"one", "live", "stream"}
    assert found.errors == ('include/searchops.yaml: functions.again.function: "f" is already set up by functions.one (line 5)',)


def test_a_function_needs_a_region_and_a_bucket(read: Read) -> None:
    found = read("functions: {f: {function: f, kind: sqs}}")

    assert found.errors == (
        "include/searchops.yaml: functions.f.region: is missing; give it here or in defaults (line 1)",
        'include/searchops.yaml: defaults.bucket: is missing; the function "f" needs it for its reports (line 1)',
    )


def test_wrong_defaults_are_told_by_the_set_up_and_by_every_function(read: Read) -> None:
    found = read("defaults: {claims_table: a b}\nfunctions: {f: {function: f, kind: sqs, region: eu-west-1}}")

    message = 'include/searchops.yaml: defaults.claims_table: "a b" is not the name of a DynamoDB table (line 1)'
    assert isinstance(found.defaults, BrokenEntry)
    assert found.defaults.errors == (message,)
    assert [entry.errors for entry in found.broken] == [(message,)]
    assert found.errors == (message,)
    assert isinstance(read(DEFAULTS).defaults, Defaults)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ("region: eu-west-1", "region"),
        ("aws_conn_id: there", "aws_conn_id"),
        ("region: eu-west-1, aws_conn_id: x", "region or aws_conn_id"),
    ],
)
def test_claims_that_are_kept_elsewhere_can_not_be_asked_so_a_namespace_is_refused(read: Read, fields: str, named: str) -> None:
    found = read(DEFAULTS + f"functions: {{f: {{function: f, kind: asynchronous, namespace: x, {fields}}}}}")

    (message,) = found.errors
    assert message.startswith(
        f"include/searchops.yaml: functions.f.namespace: does not go with another {named} than that of defaults: the function keeps "
    )
    same = "region: ap-northeast-1, aws_conn_id: aws_default"
    assert read(DEFAULTS + f"functions: {{f: {{function: f, kind: asynchronous, namespace: x, {same}}}}}").errors == ()


def test_two_entries_that_would_send_each_others_failed_events_are_told_apart_by_their_queues(read: Read) -> None:
    found = read(
        DEFAULTS
        + f"""
functions:
  one: {{function: f, kind: asynchronous, on_failure: "{QUEUE}"}}
  live: {{function: f, qualifier: live, kind: asynchronous, on_failure: "{QUEUE}"}}
  next: {{function: f, qualifier: next, kind: asynchronous, on_failure: "{QUEUE}-next"}}
  other: {{function: g, kind: asynchronous, on_failure: "{QUEUE}"}}
  stream: {{function: f, kind: stream, on_failure: "{QUEUE}"}}
"""
    )

    assert set(found.functions) == {"one", "next", "other", "stream"}
    assert found.errors == (
        'include/searchops.yaml: functions.live.on_failure: the failed events of "f" in this queue are already those of functions.one; '
        "give it its own (line 5)",
    )

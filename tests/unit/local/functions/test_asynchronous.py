from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulators.functions.api import _name, _to_be_kept
from local.simulators.functions.asynchronous import Next, Rules, after_failure, record
from local.simulators.functions.sandbox import Result


def test_without_a_configuration_lambdas_own_numbers_hold() -> None:
    assert Rules.from_configuration({}) == Rules(retries=2, max_age_seconds=21_600, on_failure="")


def test_no_retries_at_all_can_be_configured() -> None:
    configured = {"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:r:1:q"}}}

    assert Rules.from_configuration(configured) == Rules(retries=0, on_failure="arn:aws:sqs:r:1:q")
    assert after_failure(Rules(retries=0), 1, 0) == Next(0, "RetriesExhausted")


@pytest.mark.parametrize(("attempts", "expected"), [(1, Next(60)), (2, Next(120)), (3, Next(0, "RetriesExhausted"))])
def test_the_second_attempt_comes_after_one_minute_and_the_third_after_two(attempts: int, expected: Next) -> None:
    assert after_failure(Rules(), attempts, 10) == expected


def test_an_event_is_given_up_when_it_gets_too_old_before_the_next_attempt() -> None:
    assert after_failure(Rules(max_age_seconds=90), 2, 65) == Next(25, "EventAgeExceeded")


@given(retries=st.integers(0, 2), max_age=st.integers(60, 21_600), seconds=st.floats(0, 1000))
def test_an_event_is_tried_no_more_often_and_kept_no_longer_than_configured(retries: int, max_age: int, seconds: float) -> None:
    rules, age, attempts = Rules(retries, max_age), 0.0, 0
    while True:
        attempts, age = attempts + 1, age + seconds
        began = age - seconds
        decided = after_failure(rules, attempts, age)
        age += decided.wait_seconds
        assert began < max_age
        if decided.give_up:
            break

    assert attempts <= retries + 1
    assert (attempts == retries + 1) is (decided.give_up == "RetriesExhausted")


def test_a_destination_gets_the_record_that_aws_documents() -> None:
    result = Result("r-1", True, {"errorMessage": "no", "errorType": "ValueError"})

    told = record("arn:aws:lambda:r:1:function:f", {"a": 1}, result, "RetriesExhausted", 3, 1_573_754_165.568)

    assert told == {
        "version": "1.0",
        "timestamp": "2019-11-14T17:56:05.568Z",
        "requestContext": {
            "requestId": "r-1",
            "functionArn": "arn:aws:lambda:r:1:function:f:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"a": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "no", "errorType": "ValueError"},
    }


@pytest.mark.parametrize(
    ("payload", "failed", "reported", "kept"),
    [
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, False, True, ["b"]),
        ({"batchItemFailures": []}, False, True, []),
        (None, False, True, []),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, False, False, []),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, False, True, ["a", "b"]),
        ({"batchItemFailures": [{}]}, False, True, ["a", "b"]),
        ({"errorType": "X"}, True, True, ["a", "b"]),
    ],
)
def test_a_queue_keeps_what_a_mapping_would_not_delete(payload: object, failed: bool, reported: bool, kept: list[str]) -> None:
    assert _to_be_kept(Result("r", failed, payload), ["a", "b"], reported) == kept


@pytest.mark.parametrize("name", ["f", "f:$LATEST", "arn:aws:lambda:r:1:function:f", "arn:aws:lambda:r:1:function:f:prod"])
def test_a_function_is_found_by_its_name_or_its_arn(name: str) -> None:
    assert _name(name) == "f"

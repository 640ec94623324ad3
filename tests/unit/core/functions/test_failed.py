from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.functions.failed import FailedEvent, Unreadable, read
from tests.unit.small_functions import record

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def body(**changes: Any) -> str:
    return json.dumps(record({"a": 1}, "id-1", "f") | changes)


@given(json_values)
def test_a_payload_is_sent_again_as_the_same_json_value(payload: Any) -> None:
    event = read(json.dumps(record(payload, "id-1", "f")), "f")

    assert event.payload == payload
    assert json.loads(event.body()) == payload


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, "RetriesExhausted: ValueError"),
        (
            {"responsePayload": {"errorMessage": "2026-01-01 x Task timed out after 3.00 seconds"}},
            "RetriesExhausted: Task timed out",
        ),
        ({"responsePayload": {"errorType": "Sandbox.Timedout"}}, "RetriesExhausted: Sandbox.Timedout"),
        (
            {"responsePayload": {"errorMessage": "RequestId: x Process exited before completing request"}},
            "RetriesExhausted: Process exited",
        ),
        (
            {"responsePayload": {"errorType": "Runtime.ExitError", "errorMessage": "signal: killed"}},
            "RetriesExhausted: Runtime.ExitError",
        ),
        ({"responsePayload": {"errorType": "the SECRET of an event"}}, "RetriesExhausted: Unhandled"),
        ({"responsePayload": None, "responseContext": None}, "RetriesExhausted"),
        ({"responsePayload": "text", "responseContext": []}, "RetriesExhausted"),
    ],
)
def test_a_failure_is_named_by_its_condition_and_the_type_of_its_error_alone(changes: dict[str, Any], error: str) -> None:
    assert read(body(**changes), "f").error == error


def test_an_event_that_grew_too_old_has_no_answer() -> None:
    old = record({}, "id-1", "f")
    old["requestContext"]["condition"] = "EventAgeExceeded"
    del old["responseContext"], old["responsePayload"]

    assert read(json.dumps(old), "f") == FailedEvent("id-1", "EventAgeExceeded", "2026-11-14T18:16:05.568Z", None, {})


def test_an_event_goes_back_to_the_alias_that_it_was_sent_to() -> None:
    assert read(json.dumps(record({}, "id-1", "f", qualifier="live")), "f").qualifier == "live"
    assert read(json.dumps(record({}, "id-1", "f", qualifier="$LATEST")), "f").qualifier is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"requestPayload": NaN}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the message is no JSON object"),
        ("{}", "requestContext is no JSON object"),
        (body(requestContext={}), "requestContext has no requestId"),
        (body(requestContext=record({}, "a b", "f")["requestContext"]), "requestId is none of Lambda's"),
        (body(requestContext=record({}, "id", "g")["requestContext"]), "another function"),
        (body(requestContext=record({}, "id", "f")["requestContext"] | {"condition": "Success"}), "a success"),
        (body(requestContext=record({}, "id", "f")["requestContext"] | {"condition": 5}), "has no condition"),
        (
            json.dumps({name: value for name, value in record({}, "id", "f").items() if name != "requestPayload"}),
            "no requestPayload",
        ),
    ],
)
def test_what_is_no_record_of_the_function_is_refused_without_citing_it(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(text, "f")


@given(
    st.text()
    | json_values.map(json.dumps)
    | st.dictionaries(st.sampled_from([*record({}, "i", "f")]), json_values).map(json.dumps)
)
def test_any_message_is_read_or_refused(text: str) -> None:
    try:
        event = read(text, "f")
    except Unreadable:
        return
    assert event.request_id

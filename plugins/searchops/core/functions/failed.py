"""Read what Lambda leaves of an asynchronous invocation that failed for good.

The form is that of the Lambda developer guide, "Capturing records of Lambda asynchronous invocations". A dead-letter queue
(``DeadLetterConfig``) holds another form, which is not read here: the payload alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"[A-Za-z0-9_.:$-]{1,100}")
_REQUEST = re.compile(r"[A-Za-z0-9-]{1,100}")
_TIME = re.compile(r"[0-9T:.Z+-]{1,40}")
_SAID = (("Task timed out", "Task timed out"), ("exited", "Process exited"))
"""What the message of an error without a type may begin or end with, and what it is called here."""


class Unreadable(ValueError):
    """Not the record of a failed invocation of this function; the words hold nothing of its content."""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """One event on which a function failed.

    ``error`` names the kind of failure and nothing of the event: the condition, and the type of the error.
    """

    request_id: str
    error: str
    timestamp: str
    qualifier: str | None
    payload: Any

    def body(self) -> bytes:
        """The payload as it is sent again: the same JSON value."""
        return json.dumps(self.payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def read(body: str, function: str) -> FailedEvent:
    """Read the body of a message.

    :param function: name of the function that the record has to be of
    :raises Unreadable: says what was expected and what was found
    """
    record = _mapping(_parsed(body), "the message")
    context = _mapping(record.get("requestContext"), "requestContext")
    request_id, arn, condition = (_text(context, name) for name in ("requestId", "functionArn", "condition"))
    if _REQUEST.fullmatch(request_id) is None:
        raise Unreadable("its requestId is none of Lambda's")
    if "requestPayload" not in record:
        raise Unreadable("it has no requestPayload")
    name, _, qualifier = arn.partition(":function:")[2].partition(":")
    if name != function:
        raise Unreadable("it is the record of another function")
    if condition == "Success":
        raise Unreadable("it is the record of a success: the queue is the on-success destination, too")
    return FailedEvent(
        request_id=request_id,
        error=_error(condition, record),
        timestamp=_matching(_TIME, record.get("timestamp")),
        qualifier=qualifier if qualifier not in ("", "$LATEST") else None,
        payload=record["requestPayload"],
    )


def _parsed(body: str) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Unreadable("it is not JSON") from None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and Infinity are Python's, not JSON's


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unreadable(f"{what} is no JSON object")
    return value


def _text(context: Mapping[str, Any], name: str) -> str:
    value = context.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Unreadable(f"requestContext has no {name}")
    return value


def _error(condition: str, record: Mapping[str, Any]) -> str:
    """Made of single words: an error's message may quote the event."""
    said, context = record.get("responsePayload"), record.get("responseContext")
    kind = _kind(said if isinstance(said, Mapping) else {}, context if isinstance(context, Mapping) else {})
    return ": ".join(filter(None, (_matching(_WORD, condition) or "Unknown", kind)))


def _kind(said: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    if kind := _matching(_WORD, said.get("errorType")):
        return kind
    message = str(said.get("errorMessage") or "")
    for sign, name in _SAID:
        if sign in message:
            return name
    return _matching(_WORD, context.get("functionError"))


def _matching(form: re.Pattern[str], value: Any) -> str:
    return value if isinstance(value, str) and form.fullmatch(value) else ""

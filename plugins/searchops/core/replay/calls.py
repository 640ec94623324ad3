"""Calls to the table of a replay: what an error of DynamoDB means, and which calls are made again.

The client may try again by itself (botocore's default for DynamoDB: 10 tries, 50 ms and twice as long each time). That is correct, as
a touch whose answer was lost knows itself again, but it hides from the pace that the table throttles: `CLIENT` turns it off.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from searchops.core.errors import (
    MAX_DAMAGED_CHARACTERS,
    DataError,
    SearchOpsError,
    TransientError,
    classify_client_error,
    code_of,
    is_damaged,
)

THREADS = 16
"""Touches under way at once. Each takes some 5 ms on AWS, so that more of them only wait for Python, which does about a thousand a second."""
CLIENT: Mapping[str, Any] = {
    "retries": {"total_max_attempts": 1, "mode": "legacy"},
    "max_pool_connections": 64,
    "connect_timeout": 5,
    "read_timeout": 10,
    "tcp_keepalive": True,
    "parameter_validation": False,
    "user_agent": "searchops",
}
"""For botocore's ``Config``, of the client that a replay touches with.

The mode is said because the environment (AWS_RETRY_MODE) says it otherwise: ``adaptive`` has a pace of its own, which it lowers by what ours
is not told of, and ``standard`` takes an answer whose checksum is wrong for a good one when there is no other try.
A fifth of a touch's CPU went into looking at parameters that DynamoDB looks at again, and into making up a user agent for each request."""

TRIES = 10
"""Of a call that gets no answer or an error of the service: about 10 s in all, beside the calls' own time."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0

_THROTTLED = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "ThrottlingError")
_NOT_ALLOWED = ("AccessDenied", "AccessDeniedException")
# Another write of the same item, in a transaction or in another Region, was under way.
_CONFLICTS = ("TransactionConflictException", "ReplicatedWriteConflictException")


class TableMissing(DataError):
    """There is no such table in this account and Region."""


class NotAllowed(DataError):
    """The role or user in use may not make a call; ``action`` is what IAM calls it."""

    def __init__(self, action: str, on: str, reason: str) -> None:
        super().__init__(
            f"{on}: the role or user in use is not allowed to call {action}: add it to its permissions", reason=reason
        )
        self.action = action


class Throttled(TransientError):
    """DynamoDB refused for want of capacity; ``scope`` is what was short of it: ``table``, ``index`` or ``partition``."""

    def __init__(self, table: str, operation: str, throttle: Throttle, reason: str) -> None:
        super().__init__(f"table {table}: {operation} is throttled{throttle.words}", reason=reason)
        self.scope = throttle.scope


@dataclass(frozen=True, slots=True)
class Throttle:
    """``cause`` and ``resource`` as DynamoDB names them: ``IndexWriteKeyRangeThroughputExceeded``, an ARN; empty where it does not."""

    scope: str
    cause: str = ""
    resource: str = ""

    @property
    def words(self) -> str:
        of = f" of {self.resource.partition(':table/')[2] or self.resource}" if self.resource else ""
        return f" by the {self.scope}{of} ({self.cause})" if self.cause else ""


def throttle_of(error: BaseException) -> Throttle | None:
    """What an answer says of throttling; None for an answer that is none of it.

    Causes are made of resource, operation and limit (botocore's model, ThrottlingReason). Without one the table is named.
    """
    if code_of(error) not in _THROTTLED:
        return None
    answer = getattr(error, "response", None) or {}
    # botocore's model spells it with a small t in ThrottlingException alone.
    reasons = answer.get("ThrottlingReasons") or answer.get("throttlingReasons") or ()
    found = [Throttle(_scope(entry.get("reason", "")), entry.get("reason", ""), entry.get("resource", "")) for entry in reasons]
    return min(found, key=lambda throttle: _NARROWEST.index(throttle.scope), default=Throttle("table"))


_NARROWEST = ("partition", "index", "table")


def _scope(cause: str) -> str:
    if "KeyRange" in cause:
        return "partition"
    return "index" if cause.startswith("Index") else "table"


def classified(error: Exception, table: str, operation: str) -> SearchOpsError:
    """An error of DynamoDB as one that a person understands.

    :param operation: as IAM calls it, ``UpdateItem``
    """
    code = code_of(error)
    # Of an error whose text was cut, botocore knows the status alone, and calls that the code.
    if is_damaged(error) or code.isdigit():
        return damaged(table, operation, str(error)[:MAX_DAMAGED_CHARACTERS])
    reason = f"{code}: {message_of(error)}"
    if throttle := throttle_of(error):
        return Throttled(table, operation, throttle, reason)
    if code in _NOT_ALLOWED:
        return NotAllowed(f"dynamodb:{operation}", f"table {table}", reason)
    if code == "ResourceNotFoundException":
        return TableMissing(
            f"table {table}: expected it in this account and Region, found none (or not the index that was asked for): correct table, "
            "region or aws_conn_id of its entry",
            reason=reason,
        )
    if code in _CONFLICTS:
        return TransientError(f"table {table}: {operation} met another write of the same item", reason=reason)
    if code == "ValidationException":
        return DataError(f"table {table} does not take the request {operation}: {message_of(error)}", reason=reason)
    return classify_client_error(error)


def damaged(table: str, operation: str, reason: str = "") -> TransientError:
    """An answer that was cut on its way. botocore may read that as one that says nothing, without an error."""
    return TransientError(f"table {table}: the answer to {operation} came damaged", reason=reason)


_EMPTY = {"ResponseMetadata"}


def message_of(error: BaseException) -> str:
    answer = (getattr(error, "response", None) or {}).get("Error", {})
    return str(answer.get("Message", ""))


def pause(attempt: int) -> float:
    """Seconds before the try that follows the ``attempt``-th, counted from 1; a random part keeps threads from coming back together."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret


def asked(
    call: Callable[..., dict[str, Any]],
    table: str,
    operation: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    **request: Any,
) -> dict[str, Any]:
    """Make a call that may be made twice (a read, of which each answer says something), until it is answered.

    :raises TransientError: it was not, `TRIES` times in a row
    :raises DataError: it can not be
    """
    for attempt in range(1, TRIES + 1):
        try:
            answer = call(TableName=table, **request)
            if answer.keys() <= _EMPTY:
                raise damaged(table, operation)
            return answer
        except Exception as error:
            told = classified(error, table, operation)
            if not isinstance(told, TransientError) or attempt == TRIES:
                raise told from error
        sleep(pause(attempt))
    raise AssertionError  # the last try returns or raises

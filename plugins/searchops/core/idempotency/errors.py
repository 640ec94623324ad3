"""How a claim can be refused or lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from searchops.core.errors import (
    MAX_DAMAGED_CHARACTERS,
    DataError,
    SearchOpsError,
    TransientError,
    classify_client_error,
    code_of,
    is_damaged,
)

if TYPE_CHECKING:
    from searchops.core.idempotency.model import Record

_NOT_ALLOWED = ("AccessDenied", "AccessDeniedException")


class InProgress(TransientError):
    """Another owner works on the key; ``until`` is when its lease ends, unless it extends it."""

    def __init__(self, key: str, record: Record) -> None:
        self.until = datetime.fromtimestamp(record.lease_until_ms / 1000, UTC)
        super().__init__(
            f"{key}: another owner works on it, its lease ends at {self.until.isoformat(timespec='milliseconds')}: try again after that",
            facts={"attempts": record.attempts, "fence": record.fence},
        )


class PayloadMismatch(DataError):
    """The key was used for another payload: the key does not name the work well enough, or the sender changed what it sends."""

    def __init__(self, key: str, record: Record) -> None:
        super().__init__(
            f"{key}: expected the payload that the key was first used with (sha256 {record.fingerprint[:12]}…, {record.status}), "
            "found another: give other work another key"
        )


class FailedBefore(DataError):
    """The same work failed with a data error; ``reason`` is what it said. Only `Guard.reset` lets it be tried again."""

    def __init__(self, key: str, record: Record) -> None:
        super().__init__(
            f"{key}: failed before and is not tried again: mend the cause, then reset the key",
            reason=record.reason,
            facts={"attempts": record.attempts},
        )


class ClaimLost(TransientError):
    """The claim is not this owner's any more, so what it did is not recorded.

    Transient, because whoever tries again finds what the successor recorded; ``record`` is the successor's (None: the record is gone).
    """

    def __init__(self, key: str, owner: str, record: Record | None) -> None:
        self.record = record
        if record is None:
            found = "its record is gone (expired, or deleted by hand)"
        elif record.owner == owner:
            found = f"this owner itself had ended it: it is {record.status}"
        else:
            found = f"taken over by owner {record.owner} with fence {record.fence}, now {record.status}"
        super().__init__(f"{key}: the claim of owner {owner} is lost: {found}")


class ClaimEnded(SearchOpsError):
    """A mistake of the program: a claim was used after it had been completed, failed, released or lost."""


class NotJson(DataError):
    """A payload or a result is no JSON: it can neither be compared nor kept."""


class ResultTooLarge(DataError):
    """The work was done, and its result is too large to be kept: the key is marked as failed, so that nobody does the work again."""


class TableRefused(DataError):
    """DynamoDB does not do what is asked of the table of claims: no fault of the work, so it is never recorded as its failure."""


class TableMissing(TableRefused):
    """The table of claims does not exist in this account and region."""

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(
            f"the table of claims {table!r} does not exist in this account and region: run the DAG searchops_setup, "
            "or correct defaults.claims_table of the inventory",
            reason=reason,
        )


def classified(error: Exception, table: str, operation: str) -> SearchOpsError:
    """An error of DynamoDB as one that a person understands, with what is known about the table of claims.

    :param operation: as IAM calls it, ``UpdateItem``
    """
    code, words = code_of(error), str(_answer(error).get("Message", ""))
    # Of an error whose text was cut, botocore knows the status alone, and calls that the code.
    if is_damaged(error) or code.isdigit():
        return TransientError(
            f"the table of claims {table!r}: the answer to {operation} came damaged", reason=str(error)[:MAX_DAMAGED_CHARACTERS]
        )
    if code == "ResourceNotFoundException":
        return TableMissing(table, f"{code}: {words}")
    if code in _NOT_ALLOWED:
        return TableRefused(
            f"the table of claims {table!r}: the role or user in use is not allowed to call dynamodb:{operation} on it",
            reason=f"{code}: {words}",
        )
    if code == "ValidationException":
        return TableRefused(
            f"the table of claims {table!r} does not take the request: expected id (S) as its only key: the DAG searchops_setup "
            "tells what is there",
            reason=f"{code}: {words}",
        )
    known = classify_client_error(error)
    return TableRefused(str(known), reason=known.reason) if isinstance(known, DataError) else known


def _answer(error: BaseException) -> dict[str, Any]:
    return (getattr(error, "response", None) or {}).get("Error", {}) or {}

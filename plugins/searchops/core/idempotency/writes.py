"""The requests to DynamoDB: each change of a claim is one conditional UpdateItem."""

from __future__ import annotations

import re
from typing import Any

from searchops.core.idempotency.model import Status

Request = dict[str, Any]  # keyword arguments of `update_item`, without the table

_NAME = re.compile(r"#(\w+)")  # several attributes are reserved words of DynamoDB, so all are written with a sign
_MINE = "#owner = :owner AND #status = :in_progress"
_FREE = (
    "attribute_not_exists(#id) OR (#fence < :fence AND (#expires_at <= :now_s OR (#fingerprint = :fingerprint"
    " AND (#status = :released OR (#status = :in_progress AND #lease_until <= :now_ms)))))"
)
_SECONDS = 1000


def claim(id_: str, *, owner: str, fence: int, fingerprint: str, now_ms: int, lease_ms: int, keep_ms: int) -> Request:
    """Take a key that nobody has, whose owner let it go or let its lease pass, or whose record has expired.

    The comparison of the fence keeps a request that the network held back from taking the key after newer owners had it.
    """
    return _update(
        id_,
        "SET #status = :in_progress, #owner = :owner, #fence = :fence, #fingerprint = :fingerprint, #lease_until = :lease_until,"
        " #claimed_at = :now_ms, #expires_at = :expires_at ADD #attempts :one REMOVE #result, #reason",
        _FREE,
        {
            ":owner": owner,
            ":fence": fence,
            ":fingerprint": fingerprint,
            ":now_ms": now_ms,
            ":now_s": now_ms // _SECONDS,
            ":lease_until": now_ms + lease_ms,
            ":expires_at": expiry(now_ms, max(lease_ms, keep_ms)),
            ":one": 1,
            ":in_progress": Status.IN_PROGRESS,
            ":released": Status.RELEASED,
        },
        ReturnValues="ALL_OLD",
    )


def extend(id_: str, *, owner: str, now_ms: int, lease_ms: int, keep_ms: int) -> Request:
    return _update(
        id_,
        "SET #lease_until = :lease_until, #expires_at = :expires_at",
        _MINE,
        {
            ":owner": owner,
            ":in_progress": Status.IN_PROGRESS,
            ":lease_until": now_ms + lease_ms,
            ":expires_at": expiry(now_ms, max(lease_ms, keep_ms)),
        },
    )


def complete(id_: str, *, owner: str, result: str, now_ms: int, keep_ms: int) -> Request:
    """:param result: JSON"""
    return _update(
        id_,
        "SET #status = :completed, #result = :result, #expires_at = :expires_at",
        _MINE,
        {
            ":owner": owner,
            ":in_progress": Status.IN_PROGRESS,
            ":completed": Status.COMPLETED,
            ":result": result,
            ":expires_at": expiry(now_ms, keep_ms),
        },
    )


def fail(id_: str, *, owner: str, reason: str) -> Request:
    return _update(
        id_,
        "SET #status = :failed, #reason = :reason REMOVE #expires_at",
        _MINE,
        {":owner": owner, ":in_progress": Status.IN_PROGRESS, ":failed": Status.FAILED_PERMANENT, ":reason": reason},
    )


def release(id_: str, *, owner: str, now_ms: int, keep_ms: int) -> Request:
    return _update(
        id_,
        "SET #status = :released, #expires_at = :expires_at",
        _MINE,
        {
            ":owner": owner,
            ":in_progress": Status.IN_PROGRESS,
            ":released": Status.RELEASED,
            ":expires_at": expiry(now_ms, keep_ms),
        },
    )


def reset(id_: str, *, owner: str, fence: int, now_ms: int, keep_ms: int) -> Request:
    """Only the failure that was looked at: a request that the network held back must not reset a later one.

    :param owner: whoever resets; with it a repeated call knows its own success
    """
    return _update(
        id_,
        "SET #status = :released, #owner = :owner, #expires_at = :expires_at REMOVE #reason",
        "#status = :failed AND #fence = :fence",
        {
            ":owner": owner,
            ":fence": fence,
            ":released": Status.RELEASED,
            ":failed": Status.FAILED_PERMANENT,
            ":expires_at": expiry(now_ms, keep_ms),
        },
    )


def reserve(id_: str, count: int) -> Request:
    """Count on without a condition: a repeated call only wastes numbers."""
    return {
        "Key": {"id": {"S": id_}},
        "UpdateExpression": "ADD #next :count",
        "ExpressionAttributeNames": {"#next": "next"},
        "ExpressionAttributeValues": {":count": {"N": str(count)}},
        "ReturnValues": "UPDATED_NEW",
    }


def expiry(now_ms: int, keep_ms: int) -> int:
    """Epoch seconds, as TTL wants them; rounded up, so that a record lives at least as long as was asked for."""
    return -(-(now_ms + keep_ms) // _SECONDS)


def _update(id_: str, change: str, condition: str, values: dict[str, str | int], **more: str) -> Request:
    return {
        "Key": {"id": {"S": id_}},
        "UpdateExpression": change,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {f"#{name}": name for name in _NAME.findall(f"{change} {condition}")},
        "ExpressionAttributeValues": {
            name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)} for name, value in values.items()
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **more,
    }

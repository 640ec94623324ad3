"""Claims as items of the table: what is in one, and what its state allows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from searchops.core.errors import DataError
from searchops.core.idempotency.errors import NotJson

Item = Mapping[str, Mapping[str, Any]]  # as the low-level client of DynamoDB has it: {"fence": {"N": "7"}}

MAX_KEY_BYTES = 1500  # DynamoDB's limit of a partition key is 2,048 bytes; the rest is the prefix's
MAX_RESULT_BYTES = 350_000  # of an item's 400 KB
MAX_REASON_CHARACTERS = 4000


class Status(StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED_PERMANENT = "FAILED_PERMANENT"
    RELEASED = "RELEASED"


@dataclass(frozen=True, slots=True)
class Record:
    """A claim as the table has it. ``expires_at`` (epoch seconds) is None for what never expires; ``result_json`` is "" for none."""

    status: Status
    owner: str
    fence: int
    lease_until_ms: int
    fingerprint: str
    attempts: int
    claimed_at_ms: int
    expires_at: int | None = None
    result_json: str = ""
    reason: str = ""

    @classmethod
    def from_item(cls, item: Item) -> Record:
        return cls(
            status=Status(item["status"]["S"]),
            owner=item["owner"]["S"],
            fence=int(item["fence"]["N"]),
            lease_until_ms=int(item["lease_until"]["N"]),
            fingerprint=item["fingerprint"]["S"],
            attempts=int(item["attempts"]["N"]),
            claimed_at_ms=int(item["claimed_at"]["N"]),
            expires_at=int(item["expires_at"]["N"]) if "expires_at" in item else None,
            result_json=item["result"]["S"] if "result" in item else "",
            reason=item["reason"]["S"] if "reason" in item else "",
        )

    @property
    def result(self) -> Any:
        """What `Claim.complete` was given; None in any other state."""
        return json.loads(self.result_json) if self.result_json else None

    def expired(self, now_ms: int) -> bool:
        """DynamoDB's own removal comes up to days after the time, so an expired record counts as absent."""
        return self.expires_at is not None and self.expires_at <= now_ms // 1000

    def leased(self, now_ms: int) -> bool:
        return self.status is Status.IN_PROGRESS and self.lease_until_ms > now_ms


class Refusal(Enum):
    """Why a claim was refused."""

    OURS = "an earlier try of the same call had succeeded, and its answer was lost"
    OTHER_PAYLOAD = "the key is known with another payload"
    COMPLETED = "done"
    FAILED = "failed for ever"
    IN_PROGRESS = "another owner's lease runs"
    FENCE = "free, and its last fence is not below the number that was offered"


def refusal(record: Record, owner: str, fingerprint: str, now_ms: int) -> Refusal:
    """Read from the record why the condition of a claim did not hold; ``now_ms`` has to be that of the claim."""
    if record.owner == owner:
        return Refusal.OURS
    if record.expired(now_ms):
        return Refusal.FENCE
    if record.fingerprint != fingerprint:
        return Refusal.OTHER_PAYLOAD
    if record.status is Status.COMPLETED:
        return Refusal.COMPLETED
    if record.status is Status.FAILED_PERMANENT:
        return Refusal.FAILED
    return Refusal.IN_PROGRESS if record.leased(now_ms) else Refusal.FENCE


def checked_namespace(namespace: str) -> str:
    if not namespace or "#" in namespace or len(namespace.encode()) > 200:
        raise DataError(f"namespace {namespace!r}: expected 1 to 200 bytes without '#'")
    return namespace


def claim_id(namespace: str, key: str) -> str:
    """The partition key of a claim; of a key that is too long for one the sha256 stands in.

    :raises DataError: the key is no text, or empty
    """
    if not isinstance(key, str) or not key:
        raise DataError(f"the key of a claim: expected a text that is not empty, found {key!r}")
    try:
        content = key.encode()
    except UnicodeEncodeError:
        raise DataError(f"the key of a claim: expected text that UTF-8 can hold, found {key!r}") from None
    if len(content) > MAX_KEY_BYTES:
        key = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return f"claim#{namespace}#{key}"


def fence_id(namespace: str) -> str:
    return f"fence#{namespace}"


def fingerprint_of(payload: Any) -> str:
    """The sha256 of a payload as canonical JSON: the order of keys in an object does not count, ``1`` and ``1.0`` differ.

    :raises NotJson: the payload holds what JSON can not, such as bytes, a datetime or NaN
    """
    return hashlib.sha256(to_json(payload, "payload", sort_keys=True).encode()).hexdigest()


def to_json(value: Any, what: str, *, sort_keys: bool = False) -> str:
    """Compact JSON that UTF-8 can hold.

    :raises NotJson: names the kind of the error, not the content
    """
    try:
        text = json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise NotJson(f"the {what}: expected text that UTF-8 can hold, found half of a surrogate pair") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"the {what}: expected what JSON can hold, found other: {_without_content(error)}") from None
    return text


def _without_content(error: Exception) -> str:
    """json's own words; they name types, and no values but those of floats."""
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)

"""What has become of the items that a replay has touched: decided by what the index and the table hold.

How a document shows that the stream record of a touch, or a later one of its item, has reached the index:

============== =====================================================================================================================
version scheme shown by
============== =====================================================================================================================
attribute      its version: at least that of the item after the touch. Where it is equal, and the touch has not raised it, the document was
               there before; the marker in the document tells one that the replay has mended
once           being there
sequence,      the marker: this replay's or a later one. UpdateItem does not tell the sequence number of the record that it makes, so a
ingestion,     stored one can not be compared with it; but a document that bears the marker was written from that record or from a later
none           one. An item that the application has put anew since bears none: its document has to be equal to it, or it is missing
============== =====================================================================================================================

A tombstone shows nothing, whatever its version: the item is gone, or it is there and the index hides it.

An item that is missing is touched again under a *follow-up id*, because a second touch under the id that it bears would change nothing and
make no record. ``<replay id>.01`` is later than the replay's own id and earlier than the next replay's, so the condition of a touch stays as
it is: each round makes at most one more record of an item, an item that a later replay has touched is covered by that, and a round that died
half way is ended without a second one. So one replay makes at most one record of an item that arrives, and one a round of an item that was
shown not to have arrived although its consumer had read beyond it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum, StrEnum
from typing import Any, Self

import orjson

from searchops.core.bulk.dynamodb_json import to_plain
from searchops.core.bulk.scheme import FIELD, Deletes, Scheme, VersionScheme
from searchops.core.errors import DataError
from searchops.core.replay.model import AttributeValue
from searchops.core.replay.records import REPLAY_ID
from searchops.core.replay.selection import encoded
from searchops.core.replay.touch import expired
from searchops.core.replay.touched import MAX_ROUND, Written

BY_MARKER = frozenset({VersionScheme.SEQUENCE, VersionScheme.INGESTION, VersionScheme.NONE})
"""The schemes under which the marker alone shows that a record has arrived."""
MOST_AGAIN = 1_000
MOST_AGAIN_SHARE = 0.1
"""More than both of them missing is the consumer's fault, not that of single records: nothing is sent again before it is mended."""


class Arrival(StrEnum):
    """The end of an item that was touched, as far as one look can tell. Each has exactly one."""

    ARRIVED = "arrived"
    """The index holds what the touch has sent, or something newer."""
    ALREADY_THERE = "already_there"
    """The index has held it before: a document of an equal version is not written again."""
    DELETED = "deleted"
    """The application has deleted the item since, and no document is left of it but a tombstone."""
    EXPIRED = "expired"
    """The item's TTL has passed since."""
    HANDED_OVER = "handed_over"
    """The consumer has read its record and handed the document over; a redrive or Firehose brings it."""
    REJECTED = "rejected"
    """The consumer has set its record aside: the index does not take it."""
    LATE = "late"
    """The consumer has not come as far, by its lag; or the item was deleted and its document is not yet."""
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How many of the touched items have which end. ``again`` of them were touched more than once; they have their end all the same."""

    arrived: int = 0
    already_there: int = 0
    deleted: int = 0
    expired: int = 0
    handed_over: int = 0
    rejected: int = 0
    late: int = 0
    missing: int = 0
    again: int = 0

    @classmethod
    def of(cls, ends: Iterable[Arrival], *, again: int = 0) -> Self:
        counted = Counter(ends)
        return cls(**{end.value: counted[end] for end in Arrival}, again=again)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """:raises DataError: these are no arrivals"""
        try:
            return cls(**{field.name: int(values[field.name]) for field in fields(cls)})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"expected the arrivals of a replay, found {str(values)[:80]!r}", reason=str(error)) from error

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    def __add__(self, other: Arrivals) -> Arrivals:
        return Arrivals(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def touched(self) -> int:
        return sum(getattr(self, end.value) for end in Arrival)

    @property
    def consumed(self) -> int:
        """Items whose records the consumer has read."""
        return self.touched - self.late

    @property
    def in_index(self) -> int:
        return self.arrived + self.already_there

    @property
    def gone(self) -> int:
        """Items that need not be in the index any more."""
        return self.deleted + self.expired

    @property
    def waiting(self) -> int:
        """What may still come by itself."""
        return self.late + self.handed_over

    @property
    def short(self) -> int:
        """What the index has to hold and does not."""
        return self.touched - self.in_index - self.gone

    def __str__(self) -> str:
        named = ("already_there", "deleted", "expired", "handed_over", "rejected", "late", "missing")
        others = [f"{name.replace('_', ' ')} {number:,}" for name in named if (number := getattr(self, name))]
        parts = [f"touched {self.touched:,}", f"consumed {self.consumed:,}", f"in the index {self.in_index:,}", *others]
        return ", ".join([*parts, *([f"sent again {self.again:,}"] if self.again else [])])


@dataclass(frozen=True, slots=True)
class Proof:
    """How a document shows that a touch has arrived; see the table above.

    :param marker: the attribute that a touch sets
    :param adds_version: the touch adds 1 to the version attribute (``version_owner: shared``)
    """

    scheme: Scheme
    marker: str
    replay_id: str
    adds_version: bool = False

    @property
    def fields(self) -> str:
        """What of a document is needed beside its version."""
        return f"{self.marker},{FIELD}.deleted"

    def of(self, touch: Written, held: Mapping[str, Any]) -> Arrival | None:
        """
        :param held: what ``_mget`` answers of the document
        :return: ARRIVED or ALREADY_THERE; None where it is not shown: by a tombstone never, since the item may be there
        """
        if not is_alive(held):
            return None
        marked = self._marked(held)
        match self.scheme.version:
            case VersionScheme.ONCE:
                return Arrival.ARRIVED if marked else Arrival.ALREADY_THERE
            case VersionScheme.ATTRIBUTE if touch.version is not None:
                return self._by_version(touch.version, int(held.get("_version", -1)), marked)
            case _:
                return Arrival.ARRIVED if marked else None

    @property
    def compares(self) -> bool:
        """Items and documents have to be compared where the marker is not in the document."""
        return self.scheme.version in BY_MARKER

    def is_equal(self, item: Mapping[str, AttributeValue], held: Mapping[str, Any]) -> bool:
        """The document is what the item is now. Where a pipeline changes documents, it is not."""
        if not (self.compares and held.get("found")):
            return False
        source = {name: value for name, value in (held.get("_source") or {}).items() if name != FIELD}
        # By the numbers of JSON: 1.10 is 1.1.
        return bool(source == json.loads(orjson.dumps(to_plain(encoded(item)))))

    def _by_version(self, sent: int, held: int, marked: bool) -> Arrival | None:
        if held < sent:
            return None
        return Arrival.ARRIVED if held > sent or marked or self.adds_version else Arrival.ALREADY_THERE

    def _marked(self, held: Mapping[str, Any]) -> bool:
        found = (held.get("_source") or {}).get(self.marker)
        return isinstance(found, str) and REPLAY_ID.fullmatch(found) is not None and found >= self.replay_id


def follow_up(replay_id: str, round: int) -> str:
    """The id under which what is missing is touched again.

    :param round: 1 for the first time, at most 99
    """
    if not 1 <= round <= MAX_ROUND:
        raise ValueError(f"expected round 1 to {MAX_ROUND}, found {round}")
    return f"{replay_id}.{round:02d}"


def end_of_unproved(
    held: Mapping[str, Any],
    item: Mapping[str, AttributeValue] | None,
    *,
    deletes: Deletes,
    ttl_attribute: str | None,
    now: int,
    equal: bool,
    handed_over: bool,
    rejected: bool,
) -> Arrival:
    """The end of an item whose record the consumer has read, by its lag, and whose document does not show it.

    :param item: as the table has it now, None where it has none
    :param now: epoch seconds
    :param equal: `Proof.is_equal`
    """
    if item is None:
        return Arrival.LATE if is_alive(held) and deletes is not Deletes.NEVER else Arrival.DELETED
    if ttl_attribute and expired(item.get(ttl_attribute), now):
        return Arrival.EXPIRED
    if equal:
        return Arrival.ARRIVED
    if handed_over:
        return Arrival.HANDED_OVER
    return Arrival.REJECTED if rejected else Arrival.MISSING


def is_alive(held: Mapping[str, Any]) -> bool:
    """There is a document, and it is no tombstone."""
    return bool(held.get("found")) and not is_tombstone(held)


def is_tombstone(held: Mapping[str, Any]) -> bool:
    own = (held.get("_source") or {}).get(FIELD)
    return bool(held.get("found")) and isinstance(own, Mapping) and own.get("deleted") is True


class Step(Enum):
    DONE = "done"
    WAIT = "wait"
    AGAIN = "again"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has found.

    :param sendable: how many of the missing can be touched again
    :param first: up to 20 of the keys that are missing, as text; for a log, not for a chat
    """

    arrivals: Arrivals
    sendable: int = 0
    first: tuple[str, ...] = ()


def next_step(look: Look, *, patient: bool) -> Step:
    """What to do after a look.

    :param patient: there is time left to wait. It is counted anew once something was sent again
    """
    if not look.arrivals.short:
        return Step.DONE
    if look.arrivals.waiting:
        return Step.WAIT if patient else Step.FAIL
    return Step.AGAIN if 0 < look.sendable <= most_again(look.arrivals) else Step.FAIL


def most_again(arrivals: Arrivals) -> int:
    return max(MOST_AGAIN, int(arrivals.touched * MOST_AGAIN_SHARE))

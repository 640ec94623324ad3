"""The words of a replay: keys as DynamoDB has them, what became of each item, and the sums of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from searchops.core.errors import DataError

AttributeValue = Mapping[str, Any]
"""As the low-level client has it: ``{"S": "a"}``, ``{"N": "1"}``, ``{"B": b"…"}``: numbers stay exact, binary stays bytes."""
Key = Mapping[str, AttributeValue]


class Outcome(StrEnum):
    """What became of an item that was selected. Each has exactly one."""

    TOUCHED = "touched"
    """The item bears this replay's id; a stream record was made."""
    OURS_BEFORE = "before"
    """It bore this replay's id already: the answer of the touch was lost, or an earlier try had come as far."""
    COVERED = "covered"
    """It bears the id of a later replay, which made a record after this one began."""
    DELETED = "deleted"
    """It is not there any more."""
    EXPIRED = "expired"
    """Its TTL has passed: DynamoDB may remove it at any time, and a touch would show it once more to the consumers."""
    TOO_LARGE = "too_large"
    """There is no room for the marker: an item has at most 400 KB, an item collection with local indexes 10 GB."""
    MARKER_MISUSED = "marker_misused"
    """The marker attribute holds something that no replay has written; it is left alone."""
    VERSION_MISUSED = "version_misused"
    """``version_owner: shared``, and the version attribute is no number that 1 can be added to."""


REACHED = (Outcome.TOUCHED, Outcome.OURS_BEFORE)
"""The ends of an item that has a stream record of this replay."""


@dataclass(frozen=True, slots=True)
class Units:
    """Write capacity units of a table and of its indexes together."""

    table: float = 0.0
    index: float = 0.0

    @property
    def total(self) -> float:
        return self.table + self.index

    def __add__(self, other: Units) -> Units:
        return Units(self.table + other.table, self.index + other.index)


@dataclass(frozen=True, slots=True)
class Touched:
    """``version``: of the item after the touch (or as it was found), where the version attribute is known and a whole number."""

    key: Key
    outcome: Outcome
    units: Units
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """``selected`` is the sum of the outcomes. ``read``: items that DynamoDB looked at, those that a filter left out included."""

    selected: int = 0
    touched: int = 0
    before: int = 0
    covered: int = 0
    deleted: int = 0
    expired: int = 0
    too_large: int = 0
    marker_misused: int = 0
    version_misused: int = 0
    read: int = 0
    read_units: float = 0.0
    table_units: float = 0.0
    index_units: float = 0.0

    @classmethod
    def of(cls, touches: Iterable[Touched], *, read: int = 0, read_units: float = 0.0) -> Self:
        ends = dict.fromkeys(Outcome, 0)
        units = Units()
        for touch in touches:
            ends[touch.outcome] += 1
            units += touch.units
        sums = {outcome.value: number for outcome, number in ends.items()}
        return cls(
            selected=sum(ends.values()),
            read=read,
            read_units=read_units,
            table_units=units.table,
            index_units=units.index,
            **sums,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """
        :raises DataError: these are no counts
        """
        try:
            found = {name: values.get(name, 0) for name in _COUNTS}
            numbers: dict[str, Any] = {name: float(n) if name.endswith("units") else int(n) for name, n in found.items()}
            return cls(**numbers)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"expected the counts of a replay, found {str(values)[:80]!r}", reason=str(error)) from error

    def to_json(self) -> dict[str, int | float]:
        return asdict(self)

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in _COUNTS))

    @property
    def reached(self) -> int:
        """Items with a stream record of this replay."""
        return self.touched + self.before

    @property
    def skipped(self) -> dict[str, int]:
        """Items that could not take the marker, by reason; none that are 0."""
        rest = [outcome for outcome in Outcome if outcome not in (*REACHED, Outcome.COVERED)]
        return {outcome.value: number for outcome in rest if (number := getattr(self, outcome.value))}


_COUNTS = tuple(field.name for field in fields(Counts))

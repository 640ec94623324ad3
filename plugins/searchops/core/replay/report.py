"""The report of one replay: what was selected, where it got to, and what it cost.

The funnel ``selected -> touched -> consumed -> in the index`` says of each step what did not come through it, by reason, and always adds up.
Its last line is what counts: *short* is what the index has to hold and does not. A report names no keys and no values of items, because
it goes to a chat; what is missing by key is in S3 (`touched.MissingPages`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from searchops.core.bulk.bucket import Bucket
from searchops.core.errors import DataError
from searchops.core.replay.arrivals import Arrivals
from searchops.core.replay.model import Counts
from searchops.core.replay.selection import All, ByDate, ByKey, ByKeys, Sample, Selection
from searchops.core.replay.touched import replay_prefix
from searchops.core.report import Fact

FORMAT = "searchops.replay/1"
_BAR = 24
_SHORTEST = 0.001
"""Seconds; of less there is no rate."""
_WORDS = {
    "covered": "covered by a later run",
    "deleted_since": "deleted since",
    "expired_since": "expired since",
    "too_large": "too large (400 KB)",
    "marker_misused": "marker misused",
    "version_misused": "version misused",
    "handed_over": "handed over",
    "unlisted": "not on the list of touched keys",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """``lost``: what of the stage before did not come as far, by reason; none that are 0."""

    name: str
    count: int
    lost: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """
    :param table: its name in AWS
    :param selection: in `words`
    :param counts: of all tries of the replay
    :param seconds: of touching, all tries together
    :param throttled: how often DynamoDB refused a touch, by what was short of capacity: ``table``, ``index`` or ``partition``
    :param arrivals: None where nothing was compared: no index is known, or touching has not ended
    """

    table: str
    replay_id: str
    selection: str
    counts: Counts
    seconds: float = 0.0
    throttled: Mapping[str, int] = field(default_factory=dict)
    index: str = ""
    arrivals: Arrivals | None = None

    @property
    def beside(self) -> int:
        """Items on the list of touched keys that no count has.

        A page that is done again after a crash may hold other items than before; those that it held then were touched all the same.
        """
        return max(0, self.arrivals.touched - self.counts.reached) if self.arrivals else 0

    @property
    def unlisted(self) -> int:
        """Items that were touched and are not on the list: nothing can be said of them."""
        return max(0, self.counts.reached - self.arrivals.touched) if self.arrivals else 0

    @property
    def short(self) -> int | None:
        """What the index has to hold and does not; None where it was not asked."""
        return self.arrivals.short + self.unlisted if self.arrivals else None

    @property
    def touches_per_second(self) -> float:
        return self.counts.touched / self.seconds if self.seconds >= _SHORTEST else 0.0

    @property
    def units(self) -> float:
        """Write capacity units of the table and its indexes."""
        return self.counts.table_units + self.counts.index_units

    @property
    def units_per_second(self) -> float:
        return self.units / self.seconds if self.seconds >= _SHORTEST else 0.0

    def funnel(self) -> tuple[Stage, ...]:
        """The stages in their order; each has what the one before has, less what it has lost."""
        counts, touched = self.counts, self.counts.reached + self.beside
        stages = (
            Stage("selected", counts.selected + self.beside),
            Stage("touched", touched, _some({"covered": counts.covered, **counts.skipped})),
        )
        if (arrivals := self.arrivals) is None:
            return stages
        consumed = {"late": arrivals.late, "unlisted": self.unlisted}
        lost = {
            "deleted_since": arrivals.deleted,
            "expired_since": arrivals.expired,
            "handed_over": arrivals.handed_over,
            "rejected": arrivals.rejected,
            "missing": arrivals.missing,
        }
        return (
            *stages,
            Stage("consumed", arrivals.consumed, _some(consumed)),
            Stage("in the index", arrivals.in_index, _some(lost)),
        )

    @property
    def title(self) -> str:
        """One line for a log, or a chat."""
        stages = " -> ".join(f"{stage.name} {stage.count:,}" for stage in self.funnel())
        end = "not compared with an index" if self.short is None else f"{self.short:,} short"
        return f"{self.table}: replay {self.replay_id} of {self.selection}: {stages}: {end}"

    def text(self) -> str:
        """All of it, for a log."""
        stages = self.funnel()
        most = max(stage.count for stage in stages)
        lines = [self.title, *(_line(stage, most) for stage in stages)]
        if self.arrivals and self.arrivals.already_there:
            lines.append(f"{self.arrivals.already_there:,} documents were there before: an equal version is not written again")
        if self.arrivals and self.arrivals.again:
            lines.append(f"{self.arrivals.again:,} items were missing and touched again")
        return "\n".join([*lines, self._cost()])

    def _cost(self) -> str:
        counts = self.counts
        throttled = (
            f"throttled {sum(self.throttled.values()):,} times ({_listed(self.throttled)})" if self.throttled else "not throttled"
        )
        return (
            f"{self.units:,.1f} write units (table {counts.table_units:,.1f}, indexes {counts.index_units:,.1f}) and "
            f"{counts.read_units:,.1f} read units in {self.seconds:,.1f} s: {self.touches_per_second:,.0f} touches/s, "
            f"{self.units_per_second:,.0f} units/s, {throttled}"
        )

    @property
    def facts(self) -> dict[str, Fact]:
        """For the report of a task (`core.report`), and so for a chat."""
        counts, arrivals = self.counts, self.arrivals
        found: dict[str, Fact] = {
            "Table": self.table,
            "Replay": self.replay_id,
            "Selection": self.selection,
            **{stage.name.capitalize(): stage.count for stage in self.funnel()},
            "Short": "not compared with an index" if self.short is None else self.short,
            "Covered by a later run": counts.covered,
            "Skipped": _listed(counts.skipped) or "none",
        }
        if arrivals:
            found |= {
                "Index": self.index,
                "Already there": arrivals.already_there,
                "Gone since": _listed(_some({"deleted": arrivals.deleted, "expired": arrivals.expired})) or "none",
                "Touched again": arrivals.again,
            }
            if self.short:
                found["Not in the index"] = _listed({**self.funnel()[2].lost, **self._lost_in_index()})
        return found | {"Cost": self._cost()}

    def _lost_in_index(self) -> dict[str, int]:
        gone = ("deleted_since", "expired_since")
        return {reason: number for reason, number in self.funnel()[3].lost.items() if reason not in gone}

    def to_json(self) -> bytes:
        values = {
            "format": FORMAT,
            "table": self.table,
            "replay_id": self.replay_id,
            "selection": self.selection,
            "index": self.index,
            "counts": self.counts.to_json(),
            "arrivals": self.arrivals.to_json() if self.arrivals else None,
            "seconds": round(self.seconds, 3),
            "throttled": dict(self.throttled),
            # For whoever reads the object; `from_json` makes them anew.
            "funnel": [{"stage": stage.name, "count": stage.count, "lost": dict(stage.lost)} for stage in self.funnel()],
            "short": self.short,
            "touches_per_second": round(self.touches_per_second, 1),
            "units_per_second": round(self.units_per_second, 1),
        }
        return json.dumps(values, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """:raises DataError: this is no report of a replay"""
        try:
            values = json.loads(content)
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']!r}, expected {FORMAT!r}")
            texts = {name: str(values[name]) for name in ("table", "replay_id", "selection", "index")}
            return cls(
                **texts,
                counts=Counts.from_json(values["counts"]),
                arrivals=Arrivals.from_json(values["arrivals"]) if values["arrivals"] else None,
                seconds=float(values["seconds"]),
                throttled={str(name): int(number) for name, number in values["throttled"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError("expected the report of a replay, found none", reason=f"{type(error).__name__}: {error}") from error


def words(selection: Selection) -> str:
    """What was selected, without a value of any key."""
    match selection:
        case ByDate():
            said = f"the day {selection.day}"
        case ByKey():
            said = f"{len(selection.keys):,} partition key{'s' if len(selection.keys) > 1 else ''}"
        case ByKeys():
            said = f"the keys of {selection.url}"
        case Sample():
            said = f"a sample of {selection.count:,}"
        case All():
            said = "the whole table"
    return f"{said}, filtered" if selection.filter else said


def report_key(table: str, replay_id: str) -> str:
    return f"{replay_prefix(table, replay_id)}report.json"


def write_report(bucket: Bucket, report: ReplayReport) -> str:
    """Put the report of a replay, over an earlier one.

    :return: its URI
    """
    key = report_key(report.table, report.replay_id)
    bucket.put(key, report.to_json())
    return f"s3://{bucket.name}/{key}"


def read_report(bucket: Bucket, table: str, replay_id: str) -> ReplayReport | None:
    """
    :raises DataError: what is there is no report
    """
    content = bucket.get(report_key(table, replay_id))
    return None if content is None else ReplayReport.from_json(content)


def _some(numbers: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if number}


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{_WORDS.get(name, name)} {number:,}" for name, number in numbers.items())


def _line(stage: Stage, most: int) -> str:
    full = round(_BAR * stage.count / most) if most else 0
    lost = f"  {_listed(stage.lost)}" if stage.lost else ""
    return f"{stage.name:<12} {stage.count:>13,} [{'#' * full}{'.' * (_BAR - full)}]{lost}"

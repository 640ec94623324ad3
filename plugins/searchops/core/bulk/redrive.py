"""Send again what waits in the spool, and what Firehose could not deliver.

One pass over the objects. An object is removed when every line of it has an end: the index holds it or a newer write, or it is kept
with its reason under ``rejected/``. A process that dies before that loses nothing, and two passes at once do the same twice, which the
versions make one: an older write changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol

from searchops.core.bulk import places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.delivery import Blocked, IndexClosed, NotDone
from searchops.core.bulk.envelope import Unusable
from searchops.core.bulk.indexer import Written
from searchops.core.bulk.manifests import SPOOL
from searchops.core.bulk.model import End, Operation, Rejected
from searchops.core.bulk.remedies import remedy
from searchops.core.bulk.scheme import Scheme
from searchops.core.bulk.stores import RejectedObjects
from searchops.core.bulk.undelivered import UNREADABLE, BrokenObject, Line, Undelivered, failed, lines_of, spooled
from searchops.core.errors import DataError, SearchOpsError, TransientError

LONGEST_WAIT_SECONDS = 86_400.0
"""Passes are made every hour; a cluster that takes nothing for a whole day has no quiet hour."""
_LINES, _BYTES = 1_000, 3 * 2**20
"""Of one writing: about a request."""
_SHARE = 0.1

log = logging.getLogger(__name__)


class Writer(Protocol):
    """`BulkIndexer`, made without hand-over and with little patience."""

    def write(self, operations: Sequence[Operation]) -> Written: ...


class Fate(Enum):
    """What became of a line in one pass. The first four are ends."""

    INDEXED = "indexed"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    UNREADABLE = "unreadable, moved to rejected/"
    NOT_TAKEN = "not taken"
    NOT_CHOSEN = "not chosen"
    OTHER_INDEX = "of another index"


_ENDS = frozenset({Fate.INDEXED, Fate.SUPERSEDED, Fate.REJECTED, Fate.UNREADABLE})
_BY_END = {End.INDEXED: Fate.INDEXED, End.SUPERSEDED: Fate.SUPERSEDED, End.REJECTED: Fate.REJECTED}


@dataclass(frozen=True, slots=True)
class Choice:
    """What to send.

    :param kinds: kinds of failure, as a pass names them; empty: every kind
    :param run: only the spool of this run; what Firehose could not deliver is of no run, and then left alone
    :param min_age_seconds, max_age_seconds: of the hand-over, as far as it is known
    :param send: False: look only
    """

    kinds: Collection[str] = ()
    run: str | None = None
    min_age_seconds: float | None = None
    max_age_seconds: float | None = None
    send: bool = True

    def takes(self, line: Line, now: float) -> bool:
        age = now - line.at
        return (
            self.send
            and (not self.kinds or line.kind in self.kinds)
            and (self.min_age_seconds is None or age >= self.min_age_seconds)
            and (self.max_age_seconds is None or age <= self.max_age_seconds)
        )


@dataclass(slots=True)
class Group:
    """The lines of one kind of failure. ``first``: object and line of the first, for people who may see documents."""

    kind: str
    fates: Counter[Fate] = field(default_factory=Counter)
    oldest: float = 0.0
    newest: float = 0.0
    first: str = ""

    def add(self, line: Line, fate: Fate, key: str) -> None:
        self.fates[fate] += 1
        self.oldest = min(self.oldest or line.at, line.at)
        self.newest = max(self.newest, line.at)
        self.first = self.first or f"{key}:{line.number + 1}"

    @property
    def count(self) -> int:
        return self.fates.total()

    @property
    def remedy(self) -> str:
        return remedy(self.kind)

    def __str__(self) -> str:
        fates = ", ".join(f"{count} {fate.value}" for fate, count in self.fates.items())
        return f"{self.kind}: {self.count} ({fates}), {_time(self.oldest)} to {_time(self.newest)}: {self.remedy}"


@dataclass(slots=True)
class Outcome:
    """What a pass found and did.

    :param removed: objects all of whose lines have ended
    :param broken: objects that can not be read to their end, and are kept
    :param cut_short: why not every object was looked at; empty when each was
    :param left_since: when the oldest was handed over that is left because the cluster did not take it, or because the pass was cut short
        before it (epoch seconds); None where there is none
    """

    index: str
    groups: dict[str, Group] = field(default_factory=dict)
    objects: int = 0
    removed: int = 0
    broken: list[str] = field(default_factory=list)
    cut_short: str = ""
    left_since: float | None = None

    def leave(self, since: float) -> None:
        self.left_since = since if self.left_since is None else min(since, self.left_since)

    def add(self, line: Line, fate: Fate, key: str) -> None:
        """:param key: of the object that has the line"""
        self.groups.setdefault(line.kind, Group(line.kind)).add(line, fate, key)

    def count(self, *fates: Fate) -> int:
        return sum(group.fates[fate] for group in self.groups.values() for fate in fates)

    @property
    def largest_first(self) -> list[Group]:
        return sorted(self.groups.values(), key=lambda group: -group.count)

    @property
    def title(self) -> str:
        total = sum(group.count for group in self.groups.values())
        fates = [f"{count} {fate.value}" for fate in Fate if (count := self.count(fate))]
        found = f"{self.index}: {total} documents in {self.objects} objects{': ' if fates else ''}{', '.join(fates)}"
        return f"{found}; not all objects were looked at: {self.cut_short}" if self.cut_short else found

    @property
    def facts(self) -> dict[str, str | int]:
        of_groups = {group.kind: str(group).removeprefix(f"{group.kind}: ") for group in self.largest_first}
        return {"Index": self.index, "Objects": self.objects, "Removed": self.removed, **of_groups}

    def as_json(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "objects": self.objects,
            "removed": self.removed,
            "broken": self.broken,
            "cut_short": self.cut_short,
            "groups": [
                {
                    "kind": group.kind,
                    "count": group.count,
                    "fates": {fate.value: count for fate, count in group.fates.items()},
                    "oldest": _time(group.oldest),
                    "newest": _time(group.newest),
                    "first": group.first,
                    "remedy": group.remedy,
                }
                for group in self.largest_first
            ],
        }

    def problem(self, now: float) -> SearchOpsError | None:
        """What a person has to see to. That a busy cluster does not take documents is none before some have waited for a day.

        :param now: epoch seconds
        """
        if self.left_since is not None and now - self.left_since > LONGEST_WAIT_SECONDS:
            return TransientError(
                f"index {self.index}: documents that were handed over at {_time(self.left_since)} still wait, because the cluster does not "
                f"take them ({self.count(Fate.NOT_TAKEN)} in this pass{f'; {self.cut_short}' if self.cut_short else ''}): they are kept; "
                "give the cluster room, or run it at an hour when it is less busy",
                facts=self.facts,
            )
        rejected, unreadable, elsewhere = (self.count(fate) for fate in (Fate.REJECTED, Fate.UNREADABLE, Fate.OTHER_INDEX))
        if rejected or unreadable or elsewhere or self.broken:
            return DataError(
                f"index {self.index}: {rejected} documents were rejected and {unreadable} lines unreadable (kept under "
                f"{places.rejected_prefix(self.index)}), {elsewhere} lines are of another index and {len(self.broken)} objects can not "
                "be read to their end (both left where they are): mend the cause of each kind",
                facts=self.facts,
            )
        return None


@dataclass(slots=True)
class _Reading:
    """One object of a pass."""

    item: Undelivered
    all_ended: bool = True
    rejected: list[Rejected] = field(default_factory=list)

    def end(self, line: Line, fate: Fate) -> None:
        self.all_ended = self.all_ended and fate in _ENDS

    def reject(self, line: Line, kind: str, reason: str) -> None:
        id = line.envelope.id if line.envelope is not None else ""
        self.rejected.append(Rejected(line.number, id, kind, reason, line.raw, f"{self.item.key}:{line.number + 1}"))


class Redrive:
    """Passes over what waits for one index.

    :param writer: without hand-over, or what can not be written would wait for the next redrive for ever; with a patience of 0 it
        leaves a busy cluster alone soonest
    :param scheme: of the index
    :param refused_share: a pass ends when more than this of a writing is not taken
    """

    def __init__(
        self,
        writer: Writer,
        s3: Any,
        bucket: str,
        *,
        index: str,
        scheme: Scheme,
        refused_share: float = _SHARE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = writer
        self._s3 = s3
        self._bucket = Bucket(s3, bucket)
        self._index = index
        self._scheme = scheme
        self._share = refused_share
        self._clock = clock

    def run(self, choice: Choice) -> Outcome:
        """Look at every object that is there when the pass begins, and send what is chosen.

        :raises SearchOpsError: the index takes no writes, or the bucket can not be used; what was sent until then stays sent
        """
        outcome = Outcome(self._index)
        for item in self._objects(choice):
            if outcome.cut_short:
                outcome.leave(item.modified_at)
                continue
            content = self._bucket.get(item.key)
            if content is None:  # another pass was faster
                continue
            outcome.objects += 1
            self._drive(item, content, choice, outcome)
        log.info("%s", outcome.title)
        return outcome

    def _objects(self, choice: Choice) -> Iterator[Undelivered]:
        # Whole lists, because objects are removed on the way.
        yield from list(spooled(self._bucket, self._index, choice.run))
        if choice.run is None:
            yield from list(failed(self._bucket, self._index))

    def _drive(self, item: Undelivered, content: bytes, choice: Choice, outcome: Outcome) -> None:
        reading = _Reading(item)
        try:
            for lines in _portions(lines_of(item, content)):
                chosen = [line for line in lines if self._chosen(line, choice, reading, outcome)]
                if chosen and not outcome.cut_short:
                    self._write(chosen, reading, outcome)
                elif chosen:
                    self._note(chosen, Fate.NOT_TAKEN, reading, outcome)
        except BrokenObject as error:
            log.warning("%s: can not be read to its end: %s", item.key, error)
            outcome.broken.append(item.key)
            return
        if reading.all_ended and choice.send:
            self._remove(reading)
            outcome.removed += 1

    def _chosen(self, line: Line, choice: Choice, reading: _Reading, outcome: Outcome) -> bool:
        """Whether a line is to be sent; if not, it has its fate here."""
        if line.envelope is not None and line.envelope.index != self._index:
            fate = Fate.OTHER_INDEX
        elif not choice.takes(line, self._clock()):
            fate = Fate.NOT_CHOSEN
        elif line.envelope is None:
            fate = Fate.UNREADABLE
            reading.reject(line, UNREADABLE, line.words)
        else:
            return True
        self._note([line], fate, reading, outcome)
        return False

    def _note(self, lines: Iterable[Line], fate: Fate, reading: _Reading, outcome: Outcome) -> None:
        for line in lines:
            outcome.add(line, fate, reading.item.key)
            reading.end(line, fate)
            if fate is Fate.NOT_TAKEN:
                outcome.leave(line.at)

    def _write(self, lines: Sequence[Line], reading: _Reading, outcome: Outcome) -> None:
        sent, operations = [], []
        for line in lines:
            try:
                operations.append(line.envelope.operation(self._scheme))  # type: ignore[union-attr]
                sent.append(line)
            except Unusable as error:
                reading.reject(line, "other_scheme", str(error))
                self._note([line], Fate.REJECTED, reading, outcome)
        try:
            written = self._writer.write(operations)
        except NotDone as error:
            written = error.written
            left = written.ends.count(None)
            log.info("%s: %d of %d documents were not taken: %s", self._index, left, len(operations), error)
            if isinstance(error.__cause__, Blocked | IndexClosed):  # the next object would fare no better
                raise error.__cause__ from None
            if left > self._share * len(operations):
                outcome.cut_short = f"the cluster did not take {left} of {len(operations)} documents"
        for rejected in written.rejected:
            reading.reject(sent[rejected.position], rejected.kind, rejected.reason)
        for line, end in zip(sent, written.ends, strict=True):
            self._note([line], Fate.NOT_TAKEN if end is None else _BY_END[end], reading, outcome)

    def _remove(self, reading: _Reading) -> None:
        item = reading.item
        if reading.rejected:
            run = item.run if item.lane == SPOOL else places.REDRIVEN_FAILURES
            name = places.REDRIVE + hashlib.sha256(item.key.encode()).hexdigest()[:16]
            RejectedObjects(self._s3, self._bucket.name, index=self._index, run=run, input=name).keep(0, reading.rejected)
        self._bucket.delete(item.key)


def _portions(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Lines in parts for one writing; what was read before the object breaks comes before the error."""
    part: list[Line] = []
    size = 0
    try:
        for line in lines:
            if part and (len(part) >= _LINES or size + len(line.raw) > _BYTES):
                yield part
                part, size = [], 0
            part.append(line)
            size += len(line.raw)
    except BrokenObject:
        if part:
            yield part
        raise
    if part:
        yield part


def not_found(choice: Choice, outcome: Outcome) -> Mapping[str, str]:
    """Kinds of failure that were chosen and that no line has."""
    return {kind: "no document of this kind waits" for kind in choice.kinds if kind not in outcome.groups}


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") if moment else "?"

"""The ledger of a run: which inputs it has, where their documents have ended, and whether what was handed over has been proved.

``ledger/<index>/<run>.json`` is written before the first document is, so that whoever sweeps tombstones sees a load that is under way.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Self

from searchops.core.bulk import places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.ledger import Unbalanced, check
from searchops.core.bulk.model import Counts
from searchops.core.errors import DataError, TransientError

_FORMAT = 1
_NOTE_TRIES = 6
"""Of a write that meets those of other tasks of the load: a few at a time, each of milliseconds."""


class State(Enum):
    OPEN = "open"
    """Documents may still be written."""
    CLOSED = "closed"
    """Every document has its end; some are on manifests."""
    SETTLED = "settled"
    """Nothing is on a manifest any more."""
    ABANDONED = "abandoned"
    """A person has said that nothing writes for it any more: it never came to its end. What it handed over is still proved."""


@dataclass(frozen=True, slots=True)
class Input:
    """
    :param source: for a person: its URI, and which part of it
    :param counts: of one that is not complete as far as its checkpoint, as its last try has told; a try that was killed tells nothing
    :param replaced: a later plan of the run does not have it any more, e.g. because the file was uploaded again; it is kept to be seen
    """

    source: str
    counts: Counts = field(default_factory=Counts)
    complete: bool = False
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """``began_at`` and ``changed_at`` are epoch seconds."""

    index: str
    run: str
    state: State
    began_at: float
    changed_at: float
    inputs: Mapping[str, Input]
    target_uuid: str = ""
    """Of the index that the run was planned for; "" where nobody has said it."""
    tasks: int = 1
    """So many load at once."""

    @property
    def counts(self) -> Counts:
        """Of the inputs that the run has; not of those that were replaced."""
        total = Counts()
        for part in self.inputs.values():
            if not part.replaced:
                total.add(part.counts)
        return total

    def check_target(self, uuid: str) -> None:
        """
        :param uuid: of the index that a write would go to now
        :raises DataError: it is not the one that the run was planned for: what the run has written is not in it
        """
        if self.target_uuid and uuid != self.target_uuid:
            raise DataError(
                f"index {self.index}, run {self.run}: expected the index that the load began with ({self.target_uuid}), found another "
                f"one of that name ({uuid}): it was made anew, or the alias was moved. It lacks what the load wrote into the other: "
                "start a new run"
            )

    def to_json(self) -> bytes:
        inputs = {
            name: {"source": part.source, "counts": part.counts.to_dict(), "complete": part.complete}
            | ({"replaced": True} if part.replaced else {})
            for name, part in self.inputs.items()
        }
        head = {"format": _FORMAT, "index": self.index, "run": self.run, "state": self.state.value}
        times = {"began_at": self.began_at, "changed_at": self.changed_at}
        planned = {"target_uuid": self.target_uuid, "tasks": self.tasks}
        return json.dumps({**head, **times, **planned, "counts": self.counts.to_dict(), "inputs": inputs}, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """:raises DataError: it is no ledger of ours"""
        try:
            values: dict[str, Any] = json.loads(content)
            if values["format"] != _FORMAT:
                raise ValueError(f"format {values['format']}")
            inputs = {
                name: Input(
                    str(part["source"]),
                    Counts.from_dict(part["counts"]),
                    bool(part["complete"]),
                    bool(part.get("replaced", False)),
                )
                for name, part in values["inputs"].items()
            }
            return cls(
                str(values["index"]),
                str(values["run"]),
                State(values["state"]),
                float(values["began_at"]),
                float(values["changed_at"]),
                inputs,
                str(values.get("target_uuid", "")),
                int(values.get("tasks", 1)),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"expected a ledger that searchops wrote, found {content[:80]!r}", reason=str(error)) from error


class Ledgers:
    """The ledgers of one index."""

    def __init__(self, bucket: Bucket, index: str) -> None:
        self._bucket = bucket
        self._index = index

    def read(self, run: str) -> Run | None:
        """:raises DataError: there is one that can not be read"""
        content = self._bucket.get(places.ledger_key(self._index, run))
        return Run.from_json(content) if content is not None else None

    def open(self, run: str, sources: Mapping[str, str], now: float, *, target_uuid: str = "", tasks: int = 1) -> Run:
        """Begin a run, or take up one that was begun: it keeps the time at which it began and what its inputs had come to.

        :param sources: of each input, by its name. Another one that has counts stays, as replaced: its documents are in the index
        """
        before = self.read(run)
        if before is not None:
            before.check_target(target_uuid)
        known = before.inputs if before else {}
        inputs = {name: replace(known.get(name, Input(source)), replaced=False) for name, source in sources.items()}
        gone = {name: part for name, part in known.items() if name not in sources and part.counts.accepted}
        inputs |= {name: replace(part, replaced=True) for name, part in gone.items()}
        began_at = before.began_at if before else now
        return self._write(Run(self._index, run, State.OPEN, began_at, now, inputs, target_uuid, tasks))

    def note(self, run: str, name: str, counts: Counts, now: float, *, complete: bool) -> bool:
        """Write what one input of an open run has come to, so that it is known also of a run that never ends.

        :return: whether it was written: the run is open and has such an input, and others did not write all the time
        """
        for attempt in range(1, _NOTE_TRIES + 1):
            found = self._bucket.get_tagged(places.ledger_key(self._index, run))
            before = Run.from_json(found[0]) if found else None
            if found is None or before is None or before.state is not State.OPEN or name not in before.inputs:
                return False
            noted = replace(before.inputs[name], counts=counts, complete=complete)
            if self._write_over(replace(before, changed_at=now, inputs={**before.inputs, name: noted}), found[1]):
                return True
            time.sleep(random.uniform(0.05, 0.2) * attempt)  # noqa: S311 - no secret
        return False

    def close(self, run: str, counts: Mapping[str, Counts], now: float) -> Run:
        """Write the books of all inputs.

        :param counts: of each input that has come to its end
        :raises Unbalanced: an input has not, or its ends do not add up
        :raises DataError: the run was never opened
        """
        before = self.read(run)
        if before is None:
            raise DataError(f"index {self._index}, run {run}: expected a ledger, found none: was it removed by hand?")
        expected = {name: part for name, part in before.inputs.items() if not part.replaced}
        if missing := sorted(set(expected) - set(counts)):
            names = ", ".join(expected[name].source for name in missing[:3])
            raise Unbalanced(f"run {run}: {len(missing)} of {len(expected)} inputs have not come to their end, e.g. {names}")
        for part in counts.values():
            check(part)
        ended = {name: Input(part.source, counts[name], complete=True) for name, part in expected.items()}
        closed = self._write(replace(before, state=State.CLOSED, changed_at=now, inputs={**before.inputs, **ended}))
        # Behind the write: a settling that has proved all of it found the run open, and will not come back to it.
        return self.settle(run, now) or closed

    def settle(self, run: str, now: float, *, going: str | None = None) -> Run | None:
        """Note that nothing of a closed run is on a manifest any more; otherwise nothing is done.

        The manifests are listed when the ledger has been read as closed, because nothing adds to them from then on; a run that is
        opened again in between has another ledger, which is not written over.

        :param going: key of a manifest that is proved and about to be removed
        :return: the ledger; None where there is none, as for a function that keeps no books
        """
        found = self._bucket.get_tagged(places.ledger_key(self._index, run))
        if found is None:
            return None
        before = Run.from_json(found[0])
        if before.state is not State.CLOSED or self.has_manifests(run, going):
            return before
        settled = replace(before, state=State.SETTLED, changed_at=now)
        return settled if self._write_over(settled, found[1]) else self.read(run)

    def abandon(self, run: str, now: float) -> Run:
        """Note that nothing writes for an open run any more, though it never came to its end; one that did is left as it is.

        :raises DataError: there is no such run
        :raises TransientError: it is being written
        """
        found = self._bucket.get_tagged(places.ledger_key(self._index, run))
        if found is None:
            raise DataError(
                f"index {self._index}, run {run!r}: expected the ledger of a load, found none: take the run's name as the report of its "
                "plan has it"
            )
        before = Run.from_json(found[0])
        if before.state is not State.OPEN:
            return before
        abandoned = replace(before, state=State.ABANDONED, changed_at=now)
        if not self._write_over(abandoned, found[1]):
            raise TransientError(
                f"index {self._index}, run {run!r}: its ledger was written at the same moment: look who loads for it"
            )
        return abandoned

    def has_manifests(self, run: str, but: str | None = None) -> bool:
        """
        :param but: the key of one that does not count
        """
        return any(stored.key != but for stored in self._bucket.list(places.manifests_prefix(self._index, run)))

    def all(self) -> Iterator[Run]:
        """Every run that is known, in the order of their names."""
        for stored in self._bucket.list(places.ledgers_prefix(self._index)):
            content = self._bucket.get(stored.key)
            if content is not None:
                yield Run.from_json(content)

    def _write_over(self, run: Run, etag: str) -> bool:
        return self._bucket.put_if(places.ledger_key(self._index, run.run), run.to_json(), etag)

    def _write(self, run: Run) -> Run:
        self._bucket.put(places.ledger_key(self._index, run.run), run.to_json())
        return run

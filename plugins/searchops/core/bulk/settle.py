"""Prove what was handed over: each entry of each manifest, by the version that the index holds.

An entry ends as proved or rejected; a manifest all of whose entries have ended is removed. What is not proved yet waits as long as a
lane may still bring it. After that it is missing, which a person has to be told: nothing is removed then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from searchops.core.bulk import places
from searchops.core.bulk.answers import Verdict, error_type, judge_request
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.connection import IndexConnection
from searchops.core.bulk.delivery import IndexClosed
from searchops.core.bulk.envelope import Unusable
from searchops.core.bulk.envelope import read as read_envelope
from searchops.core.bulk.manifests import Entry, Manifest, Manifests
from searchops.core.bulk.scheme import FIELD, SEQUENCE_DIGITS, Scheme, VersionScheme
from searchops.core.bulk.stores import read_rejected
from searchops.core.bulk.undelivered import BrokenObject, failed, lines_of, spooled
from searchops.core.errors import DataError, SearchOpsError, TransientError

FIREHOSE_SECONDS = 900.0 + 7_200.0 + 900.0
"""How long Firehose may have a record: its longest buffer, its longest retries (API reference, BufferingHints and RetryOptions), and time
for it to write to S3 what has failed."""
MOST_NAMED = 10
_CLOCKS_SECONDS = 60.0
"""How far the clock of who hands over, and that of S3, may differ."""
_DOCUMENTS = 1_000
"""Of one ``_mget``."""
_MANIFESTS = 64
_THREADS = 8

log = logging.getLogger(__name__)


class NotArrived(DataError):
    """Documents were handed over and are nowhere to be found."""


@dataclass(slots=True)
class RunState:
    """The hand-overs of one run, as one pass found them. ``waiting`` is what a lane may still bring: ``spooled`` and ``failed`` of it
    wait for a redrive, the others for Firehose."""

    run: str
    proved: int = 0
    rejected: int = 0
    waiting: int = 0
    spooled: int = 0
    failed: int = 0
    missing: int = 0
    missing_ids: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Why a manifest can not be read."""

    @property
    def settled(self) -> bool:
        return not (self.waiting or self.missing or self.unreadable)

    def __str__(self) -> str:
        return (
            f"{self.proved} proved, {self.rejected} rejected, {self.waiting} waiting ({self.spooled} in the spool, {self.failed} among "
            f"Firehose's failures), {self.missing} missing{f', {len(self.unreadable)} manifests unreadable' if self.unreadable else ''}"
        )


@dataclass(slots=True)
class Settlement:
    index: str
    runs: dict[str, RunState] = field(default_factory=dict)

    def of(self, run: str) -> RunState:
        return self.runs.setdefault(run, RunState(run))

    @property
    def settled(self) -> bool:
        return all(state.settled for state in self.runs.values())

    @property
    def to_redrive(self) -> int:
        """How many documents wait in the spool, or among Firehose's failures, to be sent again."""
        return sum(state.spooled + state.failed for state in self.runs.values())

    @property
    def facts(self) -> dict[str, str | int]:
        return {"Index": self.index, **{f"Run {state.run}": str(state) for state in self.runs.values()}}

    def as_json(self) -> dict[str, Any]:
        names = ("proved", "rejected", "waiting", "spooled", "failed", "missing", "missing_ids", "unreadable", "settled")
        return {
            "index": self.index,
            "runs": {run: {name: getattr(state, name) for name in names} for run, state in self.runs.items()},
        }

    def problem(self) -> SearchOpsError | None:
        """What a person has to see to."""
        lost = [state for state in self.runs.values() if state.missing]
        if not lost:
            broken = [words for state in self.runs.values() for words in state.unreadable]
            return DataError(broken[0], facts=self.facts) if broken else None
        named = "; ".join(f"run {state.run}: {state.missing}, e.g. {', '.join(state.missing_ids)}" for state in lost)
        return NotArrived(
            f"index {self.index}: {sum(state.missing for state in lost)} documents were handed over and are neither in the index nor in "
            f"the spool nor among Firehose's failures ({named}): look whether somebody emptied the bucket, deleted documents, or changed "
            "the stream's destination; then load the run's input again, which indexes what is missing and changes nothing else",
            facts=self.facts,
        )


@dataclass(slots=True)
class _Open:
    """A manifest, and what of it has no end yet."""

    key: str
    manifest: Manifest
    rest: dict[int, Entry] = field(default_factory=dict)
    """By position."""


@dataclass(slots=True)
class _Pass:
    """What one pass knows.

    ``last`` is one manifest of each run that can go; it goes when all others of the run have been looked at.
    """

    result: Settlement
    failures: _Failures
    rejected: _Rejected
    last: dict[str, str] = field(default_factory=dict)


class Settler:
    """Passes over the manifests of one index. Two at once do no harm.

    :param client: an opensearch-py client
    :param scheme: of the index
    :param firehose_seconds: how long after a hand-over Firehose may still bring it
    :param settled: told the name of a run when all that was found of it is proved; before its last manifest goes, whose key it is
        given, and once more after (None), so that neither a process that dies nor a load that ends in between leaves it unmarked. A
        load may have handed over more meanwhile: it has to look whether the run is closed, and then whether there is another manifest
    """

    def __init__(
        self,
        client: Any,
        s3: Any,
        bucket: str,
        *,
        index: str,
        scheme: Scheme,
        firehose_seconds: float = FIREHOSE_SECONDS,
        settled: Callable[[str, str | None], object] = lambda run, going: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = IndexConnection(client, index)
        self._bucket = Bucket(s3, bucket)
        self._manifests = Manifests(self._bucket, index)
        self._index = index
        self._by_sequence = scheme.version is VersionScheme.SEQUENCE
        self._firehose_seconds = firehose_seconds
        self._settled = settled
        self._clock = clock

    def settle(self, run: str | None = None) -> Settlement:
        """One pass over the manifests that there are; where there is none, it is one call.

        :param run: only this one; it is told to be settled also when it has no manifest (any more)
        :raises IndexClosed, TransientError: the index can not be asked now; what is not proved is kept
        """
        known = _Pass(Settlement(self._index), _Failures(self._bucket, self._index), _Rejected(self._bucket, self._index))
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="settle") as pool:
            for keys in _chunks(self._manifests.keys(run), _MANIFESTS):
                items = [item for item in pool.map(partial(self._read, known.result), keys) if item is not None]
                self._look(known.result, items)
                self._examine(known, items)
                self._remove(known, items, pool)
        for name, key in known.last.items():
            self._remove_last(known.result.of(name), key)
        if run is not None and run not in known.result.runs:
            self._settled(run, None)
        for state in known.result.runs.values():
            log.info("%s: run %s: %s", self._index, state.run, state)
        return known.result

    def _read(self, result: Settlement, key: str) -> _Open | None:
        try:
            manifest = self._manifests.read(key)
        except DataError as error:
            result.of(places.place_of(key).run).unreadable.append(f"{error} ({error.reason})")
            return None
        return None if manifest is None else _Open(key, manifest)

    def _look(self, result: Settlement, items: Sequence[_Open]) -> None:
        """Ask the index for every entry of some manifests."""
        entries = [(item, entry) for item in items for entry in item.manifest.entries]
        for (item, entry), proved in zip(entries, self._proved([entry for _, entry in entries]), strict=True):
            if proved:
                result.of(item.manifest.run).proved += 1
            else:
                item.rest[entry.position] = entry

    def _proved(self, entries: Sequence[Entry]) -> list[bool]:
        proved: list[bool] = []
        for first in range(0, len(entries), _DOCUMENTS):
            part = entries[first : first + _DOCUMENTS]
            held = self._ask(part)
            proved += [self._holds(document, entry) for document, entry in zip(held, part, strict=True)]
        return proved

    def _ask(self, entries: Sequence[Entry]) -> list[Any]:
        wanted = [{"_id": entry.id} | ({} if entry.routing is None else {"routing": entry.routing}) for entry in entries]
        answer = self._connection.get(wanted, fields=f"{FIELD}.sequence" if self._by_sequence else "")
        documents: list[Any] | None = answer.body.get("docs") if answer.status == 200 and isinstance(answer.body, dict) else None
        if answer.status in (401, 403) and judge_request(answer.status, answer.error) is Verdict.FORBIDDEN:
            raise DataError(
                f"index {self._index}: the cluster does not let these credentials read documents (HTTP {answer.status}): "
                "check the connection and its role",
                reason=error_type(answer.error),
            )
        errors = {error_type(document["error"]) for document in documents or () if document.get("error")} | {
            error_type(answer.error)
        }
        if "index_closed_exception" in errors:
            raise IndexClosed(f"index {self._index} is closed, so nothing can be proved: open it; what was handed over is kept")
        if documents is None or len(documents) != len(entries) or errors != {""}:
            raise TransientError(
                f"index {self._index}: expected an answer for each of {len(entries)} documents, found "
                f"{', '.join(sorted(filter(None, errors))) or answer.words or f'HTTP {answer.status}'}: nothing can be proved now; what "
                "was handed over is kept"
            )
        return documents

    def _holds(self, document: dict[str, Any], entry: Entry) -> bool:
        """A document that is not found has not arrived: where documents are handed over, a delete leaves a tombstone."""
        if not document.get("found"):
            return False
        if self._by_sequence:
            held = ((document.get("_source") or {}).get(FIELD) or {}).get("sequence") or ""
            return bool(held) and held >= str(entry.sequence).zfill(SEQUENCE_DIGITS)
        return entry.version is not None and int(document.get("_version", -1)) >= entry.version

    def _examine(self, known: _Pass, items: Sequence[_Open]) -> None:
        """Find out of what is not proved where it is.

        In this order, because documents move on meanwhile: first where they may wait, then the index again, then what was rejected.
        Whatever leaves the first is in one of the others before.
        """
        now = self._clock()
        suspects: list[tuple[_Open, Entry]] = []
        young: list[tuple[_Open, Entry]] = []
        for item in items:
            over = now >= item.manifest.written_at + self._firehose_seconds
            for entry in item.rest.values():
                (suspects if over or entry.spool else young).append((item, entry))
        if young:
            known.rejected.read(places.REDRIVEN_FAILURES, since=now - 2 * self._firehose_seconds)
        for item, entry in young:
            if known.rejected.holds(item.manifest, entry):
                self._end_rejected(known.result, item, entry)
            else:
                known.result.of(item.manifest.run).waiting += 1
        if suspects and (gone := self._without_those_that_wait(known, suspects)):
            self._look_again(known, gone)

    def _without_those_that_wait(self, known: _Pass, suspects: Sequence[tuple[_Open, Entry]]) -> list[tuple[_Open, Entry]]:
        kept = {item.key for item in spooled(self._bucket, self._index)} if any(entry.spool for _, entry in suspects) else set()
        lost = []
        for item, entry in suspects:
            if entry.spool in kept:
                state = known.result.of(item.manifest.run)
                state.waiting += 1
                state.spooled += 1
            else:
                lost.append((item, entry))
        if not lost:
            return []
        known.failures.read()
        gone = []
        for item, entry in lost:
            if _name(entry.id, entry.version, entry.sequence) in known.failures.documents:
                state = known.result.of(item.manifest.run)
                state.waiting += 1
                state.failed += 1
            else:
                gone.append((item, entry))
        return gone

    def _look_again(self, known: _Pass, gone: Sequence[tuple[_Open, Entry]]) -> None:
        proved = self._proved([entry for _, entry in gone])
        for run in {places.REDRIVEN_FAILURES, *(item.manifest.run for item, _ in gone)}:
            known.rejected.read(run)
        for (item, entry), arrived in zip(gone, proved, strict=True):
            state = known.result.of(item.manifest.run)
            if arrived:
                state.proved += 1
                del item.rest[entry.position]
            elif known.rejected.holds(item.manifest, entry):
                self._end_rejected(known.result, item, entry)
            else:
                state.missing += 1
                if len(state.missing_ids) < MOST_NAMED:
                    state.missing_ids.append(entry.id)

    def _end_rejected(self, result: Settlement, item: _Open, entry: Entry) -> None:
        result.of(item.manifest.run).rejected += 1
        del item.rest[entry.position]

    def _remove(self, known: _Pass, items: Sequence[_Open], pool: ThreadPoolExecutor) -> None:
        ended = [item for item in items if not item.rest]
        keys = [item.key for item in ended if known.last.setdefault(item.manifest.run, item.key) != item.key]
        list(pool.map(self._manifests.remove, keys))

    def _remove_last(self, state: RunState, key: str) -> None:
        if state.settled:
            self._settled(state.run, key)
        self._manifests.remove(key)
        if state.settled:
            self._settled(state.run, None)


class _Failures:
    """The documents that are in the objects of what Firehose could not deliver, those included that left them during the pass."""

    def __init__(self, bucket: Bucket, index: str) -> None:
        self._bucket = bucket
        self._index = index
        self._keys: set[str] = set()
        self.documents: set[str] = set()

    def read(self) -> None:
        """Read what has come since the last time."""
        for item in failed(self._bucket, self._index):
            if item.key in self._keys:
                continue
            try:
                for line in lines_of(item, self._bucket.get(item.key) or b""):
                    if (read := line.envelope) is not None and read.index == self._index:
                        self.documents.add(_name(read.id, read.version, read.sequence))
            except BrokenObject:
                log.warning("%s: can not be read to its end", item.key)
            self._keys.add(item.key)


class _Rejected:
    """The documents that were handed over and rejected later: by a redrive, or by a load that was done again from its checkpoint.

    With the time of the last rejection: one that is older than the hand-over says nothing of it. The mapping was mended since, and the
    file loaded again.
    """

    def __init__(self, bucket: Bucket, index: str) -> None:
        self._bucket = bucket
        self._index = index
        self._seen: set[tuple[str, float]] = set()
        self._at: dict[str | tuple[str, str, int], float] = {}
        """By the write, and by run, input and position."""

    def read(self, run: str, *, since: float = 0.0) -> None:
        """Read what has come since the last time, as far as it was written since a moment (epoch seconds)."""
        for stored in self._bucket.list(places.rejected_prefix(self._index, run)):
            if stored.modified_at < since or (stored.key, stored.modified_at) in self._seen:
                continue
            input = places.place_of(stored.key).input
            for document in read_rejected(self._bucket.get(stored.key) or b""):
                if not input.startswith(places.REDRIVE):
                    self._note((run, input, document.position), stored.modified_at)
                    continue
                with suppress(Unusable):
                    read = read_envelope(document.line)
                    self._note(_name(read.id, read.version, read.sequence), stored.modified_at)
            self._seen.add((stored.key, stored.modified_at))

    def _note(self, name: str | tuple[str, str, int], at: float) -> None:
        self._at[name] = max(at, self._at.get(name, at))

    def holds(self, manifest: Manifest, entry: Entry) -> bool:
        names = ((manifest.run, manifest.input, entry.position), _name(entry.id, entry.version, entry.sequence))
        return any(self._at.get(name, 0.0) >= manifest.written_at - _CLOCKS_SECONDS for name in names)


def _name(id: str, version: int | None, sequence: str | None) -> str:
    """A write, as one text: sets of them may be large."""
    return f"{version if sequence is None else sequence} {id}"


def _chunks(keys: Iterator[str], size: int) -> Iterator[list[str]]:
    while chunk := list(islice(keys, size)):
        yield chunk

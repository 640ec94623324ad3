"""Prove what was handed over: each entry of each manifest, by the version that the index holds.

An entry ends as proved or rejected; a manifest all of whose entries have ended is removed. What is not proved yet waits as long as a
lane may still bring it. After that it is missing, which a person has to be told: nothing is removed then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
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
from searchops.core.bulk.manifests import FIREHOSE, Entry, Manifest, Manifests
from searchops.core.bulk.scheme import FIELD, SEQUENCE_DIGITS, Scheme, VersionScheme
from searchops.core.bulk.stores import read_rejected
from searchops.core.bulk.undelivered import BrokenObject, failed, lines_of, spooled
from searchops.core.errors import DataError, SearchOpsError, TransientError

FIREHOSE_SECONDS = 900.0 + 7_200.0 + 900.0
"""How long Firehose may have a record: its longest buffer, its longest retries (API reference, BufferingHints and RetryOptions), and time
for it to write to S3 what has failed."""
MOST_NAMED = 10
_DOCUMENTS = 1_000
"""Of one ``_mget``."""
_MANIFESTS = 64
_THREADS = 8
_SMALL = 100
"""Entries of a manifest that is not written anew for what is left of it."""

Order = tuple[int | None, str | None]
"""Version and sequence; one of them is None."""

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
    """A manifest of which something is not proved."""

    key: str
    manifest: Manifest
    rest: dict[int, Entry]
    """By position."""


@dataclass(slots=True)
class _Elsewhere:
    """Where documents are that are not in the index, as far as it concerns those that are looked for."""

    keys: set[str]
    failed: set[tuple[str, Order]]


class Settler:
    """Passes over the manifests of one index. Two at once do no harm.

    :param client: an opensearch-py client
    :param scheme: of the index
    :param firehose_seconds: how long after a hand-over Firehose may still bring it
    :param settled: told the name of a run when nothing of it is left; before its last manifest goes and once more after, so that
        neither a process that dies nor a load that ends in between leaves it unmarked. It has to look whether the run is closed
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
        settled: Callable[[str], None] = lambda run: None,
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
        """One pass over the manifests that there are when it begins; where there is none, it is one call.

        :raises IndexClosed, TransientError: the index can not be asked now; what is not proved is kept
        """
        result = Settlement(self._index)
        remaining: list[_Open] = []
        done: dict[str, list[str]] = {}
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="settle") as pool:
            for keys in _chunks(self._manifests.keys(run), _MANIFESTS):
                read = [item for item in pool.map(partial(self._read, result), keys) if item is not None]
                self._look(result, read)
                for item in read:
                    if item.rest:
                        remaining.append(item)
                    else:
                        done.setdefault(item.manifest.run, []).append(item.key)
            self._examine(result, remaining)
            self._finish(result, remaining, done, pool)
        for state in result.runs.values():
            log.info("%s: run %s: %s", self._index, state.run, state)
        return result

    def _read(self, result: Settlement, key: str) -> _Open | None:
        try:
            manifest = self._manifests.read(key)
        except DataError as error:
            result.of(places.place_of(key).run).unreadable.append(f"{error} ({error.reason})")
            return None
        return None if manifest is None else _Open(key, manifest, {})

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

    def _examine(self, result: Settlement, remaining: Sequence[_Open]) -> None:
        """Find out of what is not proved where it is.

        In this order, because documents move on meanwhile: first where they may wait, then the index again, then what was rejected.
        Whatever leaves the first is in one of the others before.
        """
        now = self._clock()
        suspects: list[tuple[_Open, Entry]] = []
        for item in remaining:
            young = now < item.manifest.written_at + self._firehose_seconds
            for entry in item.rest.values():
                if entry.lane == FIREHOSE and young:
                    result.of(item.manifest.run).waiting += 1
                else:
                    suspects.append((item, entry))
        if not suspects:
            return
        waits = self._waiting({entry.id for _, entry in suspects}, spool=any(entry.spool for _, entry in suspects))
        lost: list[tuple[_Open, Entry]] = []
        for item, entry in suspects:
            state = result.of(item.manifest.run)
            spooled, failing = entry.spool in waits.keys, (entry.id, _order(entry)) in waits.failed
            state.spooled += spooled
            state.failed += failing and not spooled
            state.waiting += spooled or failing
            if not (spooled or failing):
                lost.append((item, entry))
        self._look_again(result, lost)

    def _waiting(self, ids: set[str], *, spool: bool) -> _Elsewhere:
        keys = {item.key for item in spooled(self._bucket, self._index)} if spool else set()
        failing: set[tuple[str, Order]] = set()
        for item in failed(self._bucket, self._index):
            content = self._bucket.get(item.key)
            try:
                for line in lines_of(item, content or b""):
                    if line.envelope is not None and line.envelope.id in ids and line.envelope.index == self._index:
                        failing.add((line.envelope.id, (line.envelope.version, line.envelope.sequence)))
            except BrokenObject:
                log.warning("%s: can not be read to its end", item.key)
        return _Elsewhere(keys, failing)

    def _look_again(self, result: Settlement, lost: Sequence[tuple[_Open, Entry]]) -> None:
        proved = self._proved([entry for _, entry in lost])
        rejected: dict[str, _Refused] = {}
        for (item, entry), arrived in zip(lost, proved, strict=True):
            run, state = item.manifest.run, result.of(item.manifest.run)
            if arrived:
                state.proved += 1
                del item.rest[entry.position]
                continue
            if run not in rejected:
                rejected[run] = _Refused.read(self._bucket, self._index, run)
            if rejected[run].holds(item.manifest.input, entry):
                state.rejected += 1
                del item.rest[entry.position]
                continue
            state.missing += 1
            if len(state.missing_ids) < MOST_NAMED:
                state.missing_ids.append(entry.id)

    def _finish(self, result: Settlement, remaining: list[_Open], done: dict[str, list[str]], pool: ThreadPoolExecutor) -> None:
        for item in remaining:
            if not item.rest:
                done.setdefault(item.manifest.run, []).append(item.key)
            elif len(item.manifest.entries) >= _SMALL and len(item.rest) * 2 <= len(item.manifest.entries):
                self._manifests.write(replace(item.manifest, entries=tuple(item.rest.values())))
                done.setdefault(item.manifest.run, []).append(item.key)
        for run, keys in done.items():
            over = result.of(run).settled
            if over:
                self._settled(run)
            list(pool.map(self._manifests.remove, keys))
            if over:
                self._settled(run)


@dataclass(slots=True)
class _Refused:
    """What of a run was rejected: by its loads, by position; by redrives, as what was handed over."""

    positions: set[tuple[str, int]] = field(default_factory=set)
    redriven: set[tuple[str, Order]] = field(default_factory=set)

    @classmethod
    def read(cls, bucket: Bucket, index: str, run: str) -> _Refused:
        refused = cls()
        for prefix in (places.rejected_prefix(index, run), places.rejected_prefix(index, places.REDRIVEN_FAILURES)):
            for stored in bucket.list(prefix):
                place = places.place_of(stored.key)
                for document in read_rejected(bucket.get(stored.key) or b""):
                    if place.input.startswith(places.REDRIVE):
                        refused.redriven.update(_order_of_line(document.line))
                    elif place.run == run:
                        refused.positions.add((place.input, document.position))
        return refused

    def holds(self, input: str, entry: Entry) -> bool:
        return (input, entry.position) in self.positions or (entry.id, _order(entry)) in self.redriven


def _order(entry: Entry) -> Order:
    return (entry.version, entry.sequence)


def _order_of_line(line: bytes) -> Iterator[tuple[str, Order]]:
    try:
        envelope = read_envelope(line)
    except Unusable:
        return
    yield envelope.id, (envelope.version, envelope.sequence)


def _chunks(keys: Iterator[str], size: int) -> Iterator[list[str]]:
    while chunk := list(islice(keys, size)):
        yield chunk

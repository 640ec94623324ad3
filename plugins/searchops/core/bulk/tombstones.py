"""Sweep tombstones that nothing older can come after any more.

A tombstone keeps an older write of its document out; once it is gone, such a write would bring the document back. So it goes only when
it is old enough, and when whatever is still on its way is younger than it. What is loaded later from files that are older than the
tombstones that were swept is not known here.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from searchops.core.bulk import places
from searchops.core.bulk.answers import error_words
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.node import ask, documents, path
from searchops.core.bulk.runs import Run, State
from searchops.core.bulk.scheme import FIELD, Deletes, Scheme, VersionScheme
from searchops.core.bulk.target import check_target
from searchops.core.errors import DataError, TransientError

log = logging.getLogger(__name__)

DAY = 86_400.0
MIN_DAYS = 2
MARGIN_SECONDS = MIN_DAYS * DAY
"""What is handed over now may have been written by the application so long ago: a record waits in a stream, and then in Firehose, for up
to 24 hours each."""
FORGOTTEN_SECONDS = 7 * DAY
"""A load that is open for longer is named: nothing is swept until somebody ends it."""
PAGE = 1000

Replays = Callable[[], Sequence[str]]
"""The replays of the index that are under way, in words."""


@dataclass(frozen=True, slots=True)
class Way:
    """What is still on its way to an index.

    :param oldest: when the oldest manifest, spooled object or failure of Firehose was written (epoch seconds); None where there is none
    :param open: loads and replays, in words; any of them keeps every tombstone
    :param forgotten: those of them that are open for more than a week
    """

    oldest: float | None = None
    open: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()

    def cutoff(self, now: float, days: int) -> float:
        """Tombstones that were written before this moment may go (epoch seconds)."""
        by_age = now - days * DAY
        return by_age if self.oldest is None else min(by_age, self.oldest - MARGIN_SECONDS)


@dataclass(slots=True)
class Sweep:
    """What a sweep has done.

    ``found`` tombstones were old enough; ``kept`` of them were written anew meanwhile, ``gone`` were swept by somebody else.
    """

    cutoff: float
    held_by: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
    found: int = 0
    deleted: int = 0
    kept: int = 0
    gone: int = 0

    def as_json(self) -> dict[str, Any]:
        counts = {"found": self.found, "deleted": self.deleted, "kept": self.kept, "gone": self.gone}
        return {"cutoff": self.cutoff, **counts, "held_by": list(self.held_by), "forgotten": list(self.forgotten)}


class Tombstones:
    """
    :param client: an opensearch-py client
    :param index: the name that the inventory has
    :param replays: tells the replays of the index that are under way
    """

    def __init__(
        self, client: Any, bucket: Bucket, index: str, scheme: Scheme, *, days: int, replays: Replays, page: int = PAGE
    ) -> None:
        if days < MIN_DAYS:
            raise DataError(f"index {index}: tombstone_days: expected at least {MIN_DAYS}, found {days}")
        self._client, self._bucket, self._index, self._scheme = client, bucket, index, scheme
        self._days, self._replays, self._page = days, replays, page
        self._ledgers: dict[str, tuple[float, Run | None]] = {}

    def sweep(self, now: float, *, dry_run: bool = False) -> Sweep:
        """
        :param now: epoch seconds
        :raises TransientError: the node pushes back, or a document could not be removed; what was removed stays removed
        :raises DataError: the index or a ledger is not as it has to be
        """
        way = self.way(now)
        result = Sweep(way.cutoff(now, self._days), way.open, way.forgotten)
        if self._scheme.deletes is not Deletes.TOMBSTONE:
            return result
        concrete = check_target(self._client, self._index, self._scheme).concrete
        if way.open or dry_run:
            result.found = self._count(concrete, result.cutoff)
            return result
        for hits in self._pages(concrete, result.cutoff):
            result.found += len(hits)
            # A load that began meanwhile may hold anything.
            if began := self._open_loads():
                result.held_by = tuple(str(load) for load in began)
                break
            self._remove(concrete, hits, result)
        return result

    def way(self, now: float) -> Way:
        """What is still under way to the index."""
        prefixes = (
            places.manifests_prefix(self._index),
            places.spool_prefix(self._index),
            places.firehose_failed_prefix(self._index),
        )
        written = [stored.modified_at for prefix in prefixes for stored in self._bucket.list(prefix)]
        loads = self._open_loads()
        forgotten = tuple(str(load) for load in loads if now - load.run.began_at > FORGOTTEN_SECONDS)
        return Way(min(written, default=None), (*map(str, loads), *self._replays()), forgotten)

    def _open_loads(self) -> list[_OpenLoad]:
        """Loads that may still write, or whose hand-overs are not settled: what they hold may be as old as their files.

        Asked before each page: a ledger is read again only when it was written again.
        """
        found = []
        for stored in self._bucket.list(places.ledgers_prefix(self._index)):
            at, run = self._ledgers.get(stored.key, (None, None))
            if at != stored.modified_at or run is None or run.state is not State.SETTLED:
                content = self._bucket.get(stored.key)
                run = Run.from_json(content) if content is not None else None
                self._ledgers[stored.key] = (stored.modified_at, run)
            if run is not None and self._may_write(run):
                found.append(_OpenLoad(run))
        return found

    def _may_write(self, run: Run) -> bool:
        if run.state is State.ABANDONED:
            return next(self._bucket.list(places.manifests_prefix(self._index, run.run)), None) is not None
        return run.state is not State.SETTLED

    def _query(self, cutoff: float) -> dict[str, Any]:
        old = {"range": {f"{FIELD}.deleted_at": {"lt": int(cutoff * 1000), "format": "epoch_millis"}}}
        return {"bool": {"filter": [{"term": {f"{FIELD}.deleted": True}}, old]}}

    def _count(self, concrete: str, cutoff: float) -> int:
        return int(ask(self._client, "GET", path(concrete, "_count"), body={"query": self._query(cutoff)})["count"])

    def _pages(self, concrete: str, cutoff: float) -> Iterator[list[Mapping[str, Any]]]:
        search = {"query": self._query(cutoff), "version": True, "seq_no_primary_term": True, "_source": False}
        hits = documents(self._client, concrete, search, page=self._page)
        try:
            while page := list(itertools.islice(hits, self._page)):
                yield page
        finally:
            hits.close()

    def _remove(self, concrete: str, hits: Sequence[Mapping[str, Any]], result: Sweep) -> None:
        body = b"".join(orjson.dumps({"delete": removal(hit, self._scheme)}) + b"\n" for hit in hits)
        answer = ask(self._client, "POST", path(concrete, "_bulk"), body=body)
        failed = []
        for item in answer["items"]:
            status = int(item["delete"]["status"])
            if status == 200:
                result.deleted += 1
            elif status == 409:
                result.kept += 1
            elif status == 404:
                result.gone += 1
            else:
                failed.append((status, error_words(item["delete"].get("error"))))
        if failed or len(answer["items"]) != len(hits):
            status, words = failed[0] if failed else (0, "fewer answers than tombstones")
            raise TransientError(
                f"index {self._index}: {len(failed)} of {len(hits)} tombstones could not be removed ({status}); {result.deleted} were",
                reason=words,
            )


@dataclass(frozen=True, slots=True)
class _OpenLoad:
    run: Run

    def __str__(self) -> str:
        does = "is open" if self.run.state is State.OPEN else "has hand-overs that are not settled"
        return f"load {self.run.run} {does}"


def removal(hit: Mapping[str, Any], scheme: Scheme) -> dict[str, Any]:
    """The delete of a tombstone exactly as it was found: one that was written anew since answers 409.

    Under external versions by the version itself. A delete by ``if_seq_no`` counts the version up by one, and for ``index.gc_deletes``
    (60 s) the node would refuse the next true version of the document: version 8 of an item that was deleted at 7 (measured on 3.8).
    """
    named = {"_id": hit["_id"], **({"routing": hit["_routing"]} if "_routing" in hit else {})}
    if scheme.version is VersionScheme.SEQUENCE:
        return {**named, "if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}
    return {**named, "version": hit["_version"], "version_type": "external_gte"}

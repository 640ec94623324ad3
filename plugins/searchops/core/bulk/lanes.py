"""Hand documents over: to Firehose, what it does not take to the spool in S3, and all of it onto a manifest."""

from __future__ import annotations

import gzip
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from searchops.core.bulk import envelope, places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.effects import NotHandedOver
from searchops.core.bulk.firehose import FirehoseLane, fits
from searchops.core.bulk.manifests import FIREHOSE, SPOOL, Entry, Manifest, Manifests
from searchops.core.bulk.model import HandedOver
from searchops.core.errors import SearchOpsError

SPOOL_BYTES = 8 * 2**20
"""Of the lines of one object, before compression; a single longer line has an object of its own."""
LIMIT_SECONDS = 30.0
"""How long a load waits for Firehose to take a batch, which at 1 MiB/s is 3 s of its quota."""

log = logging.getLogger(__name__)


def cut(lines: Sequence[bytes], most_bytes: int = SPOOL_BYTES) -> Iterator[range]:
    """Consecutive lines, each with its line break, in parts of at most so many bytes, or of one line."""
    first, size = 0, 0
    for place, line in enumerate(lines):
        if size and size + len(line) + 1 > most_bytes:
            yield range(first, place)
            first, size = place, 0
        size += len(line) + 1
    if lines:
        yield range(first, len(lines))


class SpoolLane:
    """``spool/<index>/<run>/<sha256 of the lines>.ndjson.gz``: written once, removed by the redrive."""

    def __init__(self, bucket: Bucket, index: str, run: str) -> None:
        self._bucket = bucket
        self._index = index
        self._run = run

    def put(self, lines: Sequence[bytes]) -> list[str]:
        """
        :return: for each line the key of the object that holds it
        :raises TransientError, DataError: an object could not be written
        """
        keys = []
        for part in cut(lines):
            content = b"".join(lines[place] + b"\n" for place in part)
            key = places.spool_key(self._index, self._run, hashlib.sha256(content).hexdigest())
            self._bucket.put_once(key, gzip.compress(content, 1, mtime=0))
            keys += [key] * len(part)
        return keys


class HandOverLanes:
    """The lanes of one input of a run; `effects.HandOver`.

    A document by sequence goes to the spool: the pipeline of the landing index can set a version, but compares nothing. So does one that is too
    large for Firehose, or not known to be JSON.

    :param firehose: shared by all inputs that use the stream; None where the index has no stream
    :param limit_seconds: how long to wait for Firehose to take a batch; 0, for the request path: nothing waits
    """

    def __init__(
        self,
        s3: Any,
        bucket: str,
        *,
        index: str,
        run: str,
        input: str,
        firehose: FirehoseLane | None = None,
        limit_seconds: float = LIMIT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        kept = Bucket(s3, bucket)
        self._firehose = firehose
        self._spool = SpoolLane(kept, index, run)
        self._manifests = Manifests(kept, index)
        self._index, self._run, self._input = index, run, input
        self._limit = limit_seconds
        self._clock = clock

    def hand_over(self, batch: int, documents: Sequence[HandedOver]) -> Mapping[str, int]:
        lines = [envelope.write(self._index, document) for document in documents]
        spooled = self._offer(documents, lines)
        try:
            keys = dict(zip(spooled, self._spool.put([lines[place] for place in spooled]), strict=True))
            entries = [_entry(document, keys.get(place)) for place, document in enumerate(documents)]
            self._manifests.write(Manifest(self._index, self._run, self._input, batch, self._clock(), entries))
        except SearchOpsError as error:
            raise NotHandedOver(
                f"{len(documents)} documents could not be handed over: Firehose left {len(spooled)}, and the bucket does not take "
                f"them or their manifest: {error}",
                reason=error.reason,
                facts={"Index": self._index, "Run": self._run, "Batch": batch},
            ) from error
        taken = {FIREHOSE: len(documents) - len(spooled), SPOOL: len(spooled)}
        log.info("%s: batch %d handed over: %d by Firehose, %d by the spool", self._index, batch, *taken.values())
        return {lane: count for lane, count in taken.items() if count}

    def _offer(self, documents: Sequence[HandedOver], lines: Sequence[bytes]) -> list[int]:
        """Offer to Firehose what may go there; return the places of the rest."""
        if self._firehose is None:
            return list(range(len(lines)))
        may = [place for place, line in enumerate(lines) if _may_go(documents[place], line)]
        left = {may[place] for place in self._firehose.put([lines[place] for place in may], self._limit)} if may else set()
        went = set(may) - left
        return [place for place in range(len(lines)) if place not in went]


def _may_go(document: HandedOver, line: bytes) -> bool:
    return document.sequence is None and fits(line) and envelope.is_document(document.source)


def _entry(document: HandedOver, key: str | None) -> Entry:
    lane = SPOOL if key else FIREHOSE
    return Entry(document.position, document.id, lane, document.version, document.routing, document.sequence, key)

"""Index many documents so that each has exactly one known end.

from searchops.core.bulk import BulkIndexer, Deletes, Scheme, VersionScheme, index

scheme = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")
with BulkIndexer(client, "products", scheme) as indexer:
    counts = indexer.run(index(row["pk"], row, version=row["revision"]) for row in rows)
print(counts)
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from types import TracebackType
from typing import Any, Self

from searchops.core.bulk.batch import BATCH_BYTES, BATCH_DOCUMENTS, MAX_REQUEST_BYTES, Batch, Batcher, Sizes, Wait
from searchops.core.bulk.connection import IndexConnection
from searchops.core.bulk.delivery import Delivery, NotDone, Rules, Stopped
from searchops.core.bulk.effects import CheckpointStore, HandOver, RejectedStore
from searchops.core.bulk.encode import Encoder
from searchops.core.bulk.ledger import Ledger
from searchops.core.bulk.model import BatchResult, Counts, End, Operation, Rejected, Unreadable
from searchops.core.bulk.pressure import Pressure
from searchops.core.bulk.progress import Listener, Meter
from searchops.core.bulk.scheme import Scheme, VersionScheme
from searchops.core.bulk.target import Target, compare_target
from searchops.core.errors import TransientError

Operations = Iterable[Operation | Unreadable] | Callable[[int], Iterable[Operation | Unreadable]]
"""The input, or a function of the position from which it is wanted. Read twice, it has to give the same."""
CHECKPOINT_SECONDS = 1.0
TOLD_REJECTED = 5
"""Rejected documents that `BulkIndexer.run` names where nobody keeps them."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Written:
    """The ends of a few documents, in their order; None where one has none (then `NotDone` was raised)."""

    ends: list[End | None]
    rejected: list[Rejected]
    counts: Counts


class BulkIndexer:
    """Writes to one index, from few threads. Thread-safe for `write`; one `stream` or `run` at a time, and none beside `write` where
    something is handed over or rejected documents are kept: both number their batches from 0.

    Memory is bounded by the batches under way: at most ``ceiling + 1`` of about ``batch_bytes``, for inputs of any length.

    The first `run`, `stream` or `write` looks whether the index is there and has this scheme (`compare_target`). Where ``index`` is an
    alias, no index is made in its place when it goes away later; where it is the name of an index, the cluster may do that.

    :param client: an opensearch-py client; its connections are used, never its retries
    :param index: name or alias
    :param target: what `check_target` has just found, for who has called it; nothing is looked at then
    :param patience_seconds: how long documents that are not taken are tried again before they are handed over; 0: one attempt
    :param hand_over: where they go then; without one, or where the scheme forbids it, the load fails from its checkpoint
    :param hand_over_unknown: hand over also what may or may not have been written (no answer, 5xx), not only what got a 429
    :param rejected: keeps documents that can not be indexed, with their reasons; without one they are in the results of `stream` and
        `write` alone, and `run` names the first few in the log
    :param concurrency: least and most requests under way
    :param timeout_seconds, refresh: see `IndexConnection`
    :param on_progress: called every ``progress_seconds``
    """

    def __init__(
        self,
        client: Any,
        index: str,
        scheme: Scheme,
        *,
        target: Target | None = None,
        patience_seconds: float = 120.0,
        hand_over: HandOver | None = None,
        hand_over_unknown: bool = True,
        rejected: RejectedStore | None = None,
        concurrency: tuple[int, int] = (1, 8),
        batch_bytes: int = BATCH_BYTES,
        batch_documents: int = BATCH_DOCUMENTS,
        request_bytes: int = MAX_REQUEST_BYTES,
        timeout_seconds: float | Callable[[], float] = 60.0,
        refresh: str | None = None,
        gzip: bool = False,
        on_progress: Listener | None = None,
        progress_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        results = scheme.version is VersionScheme.SEQUENCE
        self._encoder = Encoder(scheme, clock)
        self._sizes = Sizes(min(batch_bytes, request_bytes), batch_documents, request_bytes)
        self._pressure = Pressure(*concurrency)
        self._numbers = count()
        self._closed = threading.Event()
        self._streaming = threading.Event()
        self.concurrency = concurrency
        self._threads = concurrency[1]
        self._listener = on_progress
        self._progress_seconds = progress_seconds
        self._client, self._index, self._scheme = client, index, scheme
        self._comparing = threading.Lock()
        self._connection = IndexConnection(
            client, index, timeout_seconds=timeout_seconds, refresh=refresh, gzip=gzip, results=results
        )
        self._keeps_rejected = rejected is not None
        self._target: Target | None = None
        if target is not None:
            self._meet(target)
        self._delivery = Delivery(
            self._connection,
            self._encoder,
            self._pressure,
            self._sizes,
            Rules(patience_seconds, hand_over_unknown),
            hand_over=hand_over,
            rejected=rejected,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End what waits for another attempt; may be called from any thread, or from a signal handler."""
        self._closed.set()
        self._streaming.set()

    def run(
        self, operations: Operations, *, checkpoints: CheckpointStore | None = None, input: str = "", expected: int | None = None
    ) -> Counts:
        """Index the whole input.

        :param checkpoints: goes on where an earlier try of the same input was
        :param input: what the input is, e.g. its URI and ETag; a checkpoint of another one is refused
        :param expected: how many documents it holds, for the progress
        :raises Unbalanced: the ends do not add up
        :raises TransientError: it goes on from the checkpoint when it is run again
        :raises DataError: it would fail again
        """
        ledger, untold = Ledger(checkpoints, input), TOLD_REJECTED
        for result in self._stream(operations, ledger, expected):
            if result.rejected and not self._keeps_rejected:
                self._name(result.rejected[:untold])
                untold = max(0, untold - len(result.rejected))
        return ledger.checkpoint.counts

    def stream(
        self, operations: Operations, *, checkpoints: CheckpointStore | None = None, input: str = "", expected: int | None = None
    ) -> Iterator[BatchResult]:
        """The same, batch by batch in the order in which they end. Who takes the results slowly slows the input.

        A result is behind a checkpoint only when the next one has been asked for.
        """
        return self._stream(operations, Ledger(checkpoints, input), expected)

    def write(
        self, operations: Sequence[Operation | Unreadable], *, older: Mapping[str, Sequence[Operation]] | None = None
    ) -> Written:
        """Index a few documents now, from this thread.

        :param older: by id, older writes of the same documents, which need not be sent once the index has taken the newer ones. Of a
            document that is handed over nobody knows yet whether the index takes it, so these are handed over with it
        :raises NotDone: some have no end; its ``written`` says which have
        """
        self._compare()
        written = Written([], [], Counts())
        failure: TransientError | None = None
        batcher = Batcher(iter(operations), self._encoder, self._sizes, under_way=frozenset(), numbers=self._numbers)
        while isinstance(batch := batcher.next(), Batch):
            batch.older = older or {}
            if failure is None:
                try:
                    self._delivery.deliver(batch, self._closed)
                except TransientError as error:
                    failure = error
            written.ends += batch.ends
            written.rejected += batch.rejected
            written.counts.add(batch.counts)
        counts = written.counts
        counts.accepted = len(written.ends)
        for end in End:
            setattr(counts, end.value, written.ends.count(end))
        if failure is not None:
            raise NotDone.of(failure, written)
        return written

    def _name(self, documents: Sequence[Rejected]) -> None:
        """Without the reasons: they quote values."""
        for document in documents:
            log.warning(
                "%s: rejected: position %d, id %s, %s; its reason is in the results of stream(), or give a store as rejected=",
                self._index,
                document.position,
                document.id,
                document.kind,
            )

    def _compare(self) -> None:
        with self._comparing:
            if self._target is None:
                self._meet(compare_target(self._client, self._index, self._scheme))

    def _meet(self, target: Target) -> None:
        self._target = target
        if target.alias is not None:
            self._connection.require_alias()

    def _stream(self, operations: Operations, ledger: Ledger, expected: int | None) -> Iterator[BatchResult]:
        checkpoint = ledger.checkpoint
        if checkpoint.complete:
            return
        self._compare()
        meter = Meter(self._listener, every_seconds=self._progress_seconds, expected=expected)
        meter.begin(ledger.counts)

        def look(*, last: bool = False) -> None:
            meter.look(ledger.counts, self._pressure.under_way, self._pressure.limit, last=last)

        self._streaming = self._closed if self._closed.is_set() else threading.Event()
        work = _Work(self._delivery, self._threads, look, self._streaming)
        batcher = Batcher(
            iter(_from(operations, checkpoint.position)),
            self._encoder,
            self._sizes,
            under_way=work.ids,
            position=checkpoint.position,
            numbers=count(checkpoint.batch),
        )
        try:
            yield from _taken(work.through(batcher), ledger, look)
        except Exception:
            with suppress(Exception):  # the first error is the one to tell of
                yield from _taken(work.rest(), ledger, look)
                look(last=True)
            raise
        finally:
            work.close()
            with suppress(Exception):  # without it a little more is done again
                ledger.save()
        ledger.close()
        look(last=True)


def _taken(results: Iterator[BatchResult], ledger: Ledger, look: Callable[[], None]) -> Iterator[BatchResult]:
    """Pass results on, and book each when it was taken."""
    saved = time.monotonic()
    for result in results:
        yield result
        ledger.take(result)
        if time.monotonic() - saved >= CHECKPOINT_SECONDS:
            ledger.save()
            saved = time.monotonic()
        look()


class _Work:
    """The batches under way."""

    def __init__(self, delivery: Delivery, threads: int, idle: Callable[[], None], stop: threading.Event) -> None:
        self._delivery = delivery
        self._threads = threads
        self._idle = idle
        self._stop = stop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bulk")
        self._done: queue.SimpleQueue[tuple[Batch, BatchResult | BaseException]] = queue.SimpleQueue()
        self._under_way = 0
        self.ids: set[str] = set()

    def through(self, batcher: Batcher) -> Iterator[BatchResult]:
        """Deliver all batches; one is read ahead while all threads are busy."""
        while (batch := batcher.next()) is not None:
            if isinstance(batch, Wait):
                yield self._next()
                continue
            while self._under_way >= self._threads:
                yield self._next()
            self._begin(batch)
            while not self._done.empty():
                yield self._next()
        while self._under_way:
            yield self._next()

    def rest(self) -> Iterator[BatchResult]:
        """After a failure: try nothing again, and give what comes to its end."""
        self._stop.set()
        while self._under_way:
            result: BatchResult | None = None
            with suppress(Exception):
                result = self._next()
            if result is not None:
                yield result

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True)

    def _begin(self, batch: Batch) -> None:
        self._pool.submit(self._deliver, batch)
        self._under_way += 1
        self.ids |= batch.ids

    def _deliver(self, batch: Batch) -> None:
        try:
            self._delivery.deliver(batch, self._stop)
            self._done.put((batch, batch.result()))
        except BaseException as error:  # whoever waits for this batch would wait for ever
            self._done.put((batch, error))

    def _next(self) -> BatchResult:
        while True:
            try:
                batch, result = self._done.get(timeout=1.0)
                break
            except queue.Empty:
                self._idle()  # all of them wait for the cluster
        self._under_way -= 1
        self.ids -= batch.ids
        if isinstance(result, BaseException):
            raise result
        return result


def _from(operations: Operations, position: int) -> Iterable[Operation | Unreadable]:
    if callable(operations):
        return operations(position)
    return islice(operations, position, None)


__all__ = ["BulkIndexer", "Operations", "Stopped", "Written"]

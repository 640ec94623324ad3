"""A stream's way from its buffer to the node and to S3."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from local.simulators.firehose.documents import (
    Answer,
    End,
    Outcome,
    Record,
    S3Object,
    Target,
    backup_object,
    bulk_requests,
    failure_object,
    malformed,
    outcomes,
)
from local.simulators.firehose.settings import Settings


class Node(Protocol):
    def bulk(self, body: bytes) -> Answer:
        """Send a bulk request; a connection that fails is an answer of status 0."""


class Bucket(Protocol):
    def put(self, written: S3Object) -> None:
        """Write an object.

        :raises OSError: it cannot be written
        """


@dataclass(slots=True)
class Counts:
    """Records, but for ``attempts``, ``retried`` (sent once more) and ``objects`` (written to S3)."""

    taken: int = 0
    taken_bytes: int = 0
    refused: int = 0
    delivered: int = 0
    failed: int = 0
    retried: int = 0
    attempts: int = 0
    backed_up: int = 0
    objects: int = 0


@dataclass(slots=True)
class _Batch:
    """Records that are sent together; ``began`` when they were sent first."""

    records: list[Record]
    due: float
    began: float
    attempts: int = 0


class Delivery:
    """One stream's buffer and what is being done about it.

    ``step`` does one thing that is due and is called from one thread only; everything else may be called from any. Nothing waits behind
    a batch that is tried again, but while S3 cannot be written nothing goes on (guide, "Handle data delivery failures").
    """

    def __init__(self, target: Target, node: Node, bucket: Bucket, settings: Callable[[], Settings]) -> None:
        self.changed = threading.Condition()
        self.counts = Counts()
        self._target = target
        self._node = node
        self._bucket = bucket
        self._settings = settings
        self._buffer: deque[Record] = deque()
        self._buffer_bytes = 0
        self._retries: list[_Batch] = []
        self._under_way: list[Record] = []
        self._objects: deque[S3Object] = deque()
        self._write_again = 0.0
        self._flush = 0
        self._paused = False
        self._stopped = False

    # From any thread

    def add(self, records: Sequence[Record], refused: int = 0) -> None:
        with self.changed:
            self._append(records)
            self.counts.refused += refused
            self.counts.taken += len(records)
            self.counts.taken_bytes += sum(len(record.data) for record in records)

    def aim(self, target: Target) -> None:
        with self.changed:
            self._target = target
            self.changed.notify_all()

    def flush(self) -> None:
        """Let all that is in the buffer or to be sent again be due now."""
        with self.changed:
            self._flush = len(self._buffer)
            for batch in self._retries:
                batch.due = 0.0
            self._write_again = 0.0
            self.changed.notify_all()

    def pause(self, paused: bool) -> None:
        """Stop to deliver, or go on; a request that is under way is not held back."""
        with self.changed:
            self._paused = paused
            self.changed.notify_all()

    def stop(self) -> None:
        with self.changed:
            self._stopped = True
            self.changed.notify_all()

    def wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait until every record taken has its end; false when that takes longer."""
        with self.changed:
            return self.changed.wait_for(lambda: not (self._buffer or self._under_way or self._retries or self._objects), seconds)

    def state(self, now: float) -> dict[str, float | bool | None]:
        with self.changed:
            waiting = self._open()
            return {
                "buffered": len(self._buffer),
                "buffered_bytes": self._buffer_bytes,
                "under_way": len(waiting) - len(self._buffer),
                "unwritten_objects": len(self._objects),
                "oldest_seconds": now - min(record.arrival for record in waiting) if waiting else None,
                "paused": self._paused,
            }

    # From the courier's thread

    def run(self, clock: Callable[[], float] = time.time) -> None:
        """Deliver until the stream is stopped."""
        while True:
            try:
                due = self.step(clock())
            except Exception:  # the simulator's own: what is under way is lost, which shows, but the stream goes on
                traceback.print_exc()
                due = clock() + 1
            with self.changed:
                # A put between the step and here has notified nobody: look at the clock again, do not sleep on an old answer.
                if not self._stopped and (wait := min(due, self._next_due()) - clock()) > 0:
                    self.changed.wait(None if wait == math.inf else wait)
                if self._stopped:
                    return

    def step(self, now: float) -> float:
        """Do one thing that is due; the moment at which there is more to do."""
        with self.changed:
            if self._next_due() > now or self._stopped:
                return self._next_due()
            batch, target, settings = self._next_batch(now), self._target, self._settings()
        if batch is None:
            self._write(now)
        else:
            self._attempt(batch, target, settings, now)
        with self.changed:
            self.changed.notify_all()
            return self._next_due()

    def _next_due(self) -> float:
        if self._paused:
            return math.inf
        if self._objects:
            return self._write_again
        return min([self._buffer_due(), *(batch.due for batch in self._retries)])

    def _buffer_due(self) -> float:
        if not self._buffer:
            return math.inf
        if self._flush or self._buffer_bytes >= self._target.buffer_bytes:
            return 0.0
        return self._buffer[0].arrival + self._target.buffer_seconds / self._settings().speed

    def _next_batch(self, now: float) -> _Batch | None:
        """The next records to send; none when S3 is to be written first."""
        if self._objects:
            return None
        batch = min(self._retries, key=lambda batch: batch.due, default=None)
        if batch and batch.due <= now:
            self._retries.remove(batch)
        else:
            batch = _Batch(self._take_buffer(), now, now)
        self._under_way = batch.records
        return batch

    def _take_buffer(self) -> list[Record]:
        taken: list[Record] = []
        size = 0
        while self._buffer and (not taken or size + len(self._buffer[0].data) <= self._target.buffer_bytes):
            taken.append(self._buffer.popleft())
            size += len(taken[-1].data)
        self._buffer_bytes -= size
        self._flush = max(0, self._flush - len(taken))
        return taken

    def _attempt(self, batch: _Batch, target: Target, settings: Settings, now: float) -> None:
        """Send a batch once and see to each of its records."""
        results: list[tuple[Record, Outcome]] = []
        well_formed = batch.records
        if batch.attempts == 0:
            results = [(record, outcome) for record in batch.records if (outcome := malformed(record))]
            bad = {record.id for record, _ in results}
            well_formed = [record for record in batch.records if record.id not in bad]
        for part, body in bulk_requests(well_formed, target):
            answer = self._node.bulk(body)
            attempted = [record.attempted() for record in part]
            results += zip(attempted, outcomes(answer, len(part), settings.conflict), strict=True)
        self._settle(batch, results, target, settings, now)

    def _settle(
        self, batch: _Batch, results: list[tuple[Record, Outcome]], target: Target, settings: Settings, now: float
    ) -> None:
        end = batch.began + target.retry_seconds / settings.speed
        over = now >= end
        wait = min(settings.retry_first_seconds * 2**batch.attempts, settings.retry_max_seconds) / settings.speed
        again = [] if over else [record for record, outcome in results if outcome.end is End.RETRY]
        delivered = [record for record, outcome in results if outcome.end is End.DELIVERED]
        failed = [
            (record, outcome) for record, outcome in results if outcome.end is End.FAILED or (over and outcome.end is End.RETRY)
        ]
        objects = [failure_object(failed, target, now, settings)] if failed else []
        if target.all_documents and batch.attempts == 0:
            objects.append(backup_object(batch.records, target, now))
        with self.changed:
            self._under_way = []
            self._objects.extend(objects)
            if again:
                self._retries.append(_Batch(again, min(now + wait, end), batch.began, batch.attempts + 1))
            self._append([replace(record, again=record.again - 1, attempts=0) for record in delivered if record.again])
            self.counts.attempts += 1
            self.counts.retried += len(again)
            self.counts.delivered += len(delivered)
            self.counts.failed += len(failed)
            self.counts.backed_up += len(batch.records) if target.all_documents and batch.attempts == 0 else 0

    def _write(self, now: float) -> None:
        try:
            self._bucket.put(self._objects[0])
        except OSError as error:
            print(f"firehose: {self._target.stream}: {error}", flush=True)
            with self.changed:
                self._write_again = now + self._settings().retry_first_seconds / self._settings().speed
            return
        with self.changed:
            self._objects.popleft()
            self._write_again = 0.0
            self.counts.objects += 1

    def _append(self, records: Sequence[Record]) -> None:
        self._buffer.extend(records)
        self._buffer_bytes += sum(len(record.data) for record in records)
        self.changed.notify_all()

    def _open(self) -> list[Record]:
        """The records that have no end yet."""
        return [*self._buffer, *self._under_way, *(record for batch in self._retries for record in batch.records)]

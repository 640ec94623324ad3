"""The threads of a mapping: one reader a shard, and lanes that call the function."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from local.simulators.streams.batches import (
    Answer,
    Batch,
    Condition,
    after,
    failure,
    first_records,
    lane_of,
    wait_seconds,
    without_expired,
)
from local.simulators.streams.destinations import invocation_record, object_key
from local.simulators.streams.effects import MOST_RECORDS, Stream, StreamShard, unique
from local.simulators.streams.mapping import StreamMapping
from local.simulators.streams.orders import Order, Orders
from local.simulators.streams.progress import SHARD_END, Checkpoints, Progress
from local.simulators.streams.records import Record, read_record

# Lambda polls each shard four times a second.
POLL_SECONDS, SHORTEST_POLL_SECONDS = 0.25, 0.1
LIST_SHARDS_SECONDS = 5.0
AGAIN_SECONDS = 0.5
MOST_UNREAD_AHEAD = 20_000
# GetRecords gives up to 1000 records or 1 MB: an answer below half of both was not cut.
HALF_AN_ANSWER_BYTES = 500_000


class Invoker(Protocol):
    def invoke(self, function: str, event: str) -> Answer:
        """Call the function.

        :raises NotInvoked: it was not called
        """

    def invoke_together(self, function: str, event: str) -> Answer: ...

    def kill(self, function: str, after_seconds: float, ended: threading.Event) -> None: ...


class HandsOver(Protocol):
    def hand_over(self, arn: str, record: Mapping[str, Any], event: str, object_key: str) -> None: ...


class Measures(Protocol):
    def iterator_age(self, function: str, seconds: float) -> None: ...

    def invoked(self, function: str, *, failed: bool) -> None: ...


@dataclass(slots=True)
class Pace:
    """What may be changed while the poller runs, and is read anew each time.

    :param speed: how many times faster than Lambda's windows, waits and ages pass
    :param paused: names of functions that get nothing; an empty name: none gets anything
    :param held: by name of the function: records are delivered when they are that many seconds old
    """

    speed: float = 1.0
    paused: set[str] = field(default_factory=set)
    held: dict[str, float] = field(default_factory=dict)

    @property
    def poll_seconds(self) -> float:
        return max(SHORTEST_POLL_SECONDS, POLL_SECONDS / self.speed)

    def is_paused(self, function: str) -> bool:
        return bool(self.paused & {"", function})

    def hold_seconds(self, function: str) -> float:
        return max(self.held.get("", 0.0), self.held.get(function, 0.0))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all mappings share."""

    stream: Callable[[str], Stream]
    functions: Invoker
    destinations: HandsOver
    metrics: Measures
    checkpoints: Checkpoints
    orders: Orders
    pace: Pace
    region: str


class MappingPoller:
    """One mapping at work, from its checkpoints on, until it is stopped."""

    def __init__(self, mapping: StreamMapping, around: Surroundings) -> None:
        self.mapping = mapping
        self.around = around
        self.changed = threading.Condition()
        self.counts: Counter[str] = Counter()
        self.problems: dict[str, str] = {}
        self.stopped = False
        self._stream = around.stream(mapping.stream)
        self._shards: dict[str, ShardPoller] = {}
        self._listed_at = -math.inf
        self._list_now = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"mapping {mapping.function_name}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; invocations under way are ended and counted."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    @property
    def alive(self) -> bool:
        with self.changed:
            return self._thread.is_alive() or any(shard.alive for shard in self._shards.values())

    def wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def wait_until_caught_up(self, deadline: float) -> bool:
        """Wait until all that was in the stream when we were asked is done; False when that is not so at the deadline."""
        asked = time.monotonic()
        targets: dict[str, int] = {}

        def caught_up() -> bool:
            found = [shard.is_caught_up(asked, targets) for shard in self._shards.values()]
            return self.stopped or (self._listed_at > asked and all(found))

        with self.changed:
            self._list_now = True
            self.changed.notify_all()
            return self.changed.wait_for(caught_up, max(0.0, deadline - time.monotonic())) and not self.stopped

    def state(self, now: float) -> dict[str, Any]:
        with self.changed:
            shards = [shard.state(now) for shard in self._shards.values()]
            return {
                "uuid": self.mapping.uuid,
                "function": self.mapping.function_name,
                "stream": self.mapping.stream,
                "table": self.mapping.table,
                "problem": "; ".join(self.problems.values()),
                "paused": self.around.pace.is_paused(self.mapping.function_name),
                "open": sum(shard["open"] for shard in shards),
                "iterator_age_seconds": max((shard["iterator_age_seconds"] for shard in shards), default=0.0),
                "shards": shards,
                "counts": dict(self.counts),
            }

    def tell(self, about: str, problem: str = "") -> None:
        """Say what keeps us from going on, or that nothing does any more."""
        if problem and self.problems.get(about) != problem:
            print(f"streams: {self.mapping.function_name}: {problem}", flush=True)
        with self.changed:
            self.problems.pop(about, None)
            if problem:
                self.problems[about] = problem

    def count(self, name: str, number: int = 1) -> None:
        with self.changed:
            self.counts[name] += number

    def _run(self) -> None:
        while not self.stopped:
            began = time.monotonic()
            with self.changed:
                self._list_now = False
            try:
                self._follow(self._stream.shards())
                self._listed_at = began
                self.tell("shards")
            except Exception as error:
                self.tell("shards", f"{self.mapping.stream}: {type(error).__name__}: {error}")
            with self.changed:
                self.changed.notify_all()
                self.changed.wait_for(lambda: self.stopped or self._list_now, LIST_SHARDS_SECONDS)

    def _follow(self, shards: list[StreamShard]) -> None:
        """Start on the shards whose parents are done."""
        checkpoints = self.around.checkpoints.of(self.mapping.uuid)
        if checkpoints is None:
            self.around.checkpoints.keep(self.mapping.uuid, self._beginning(shards))
            checkpoints = self.around.checkpoints.of(self.mapping.uuid) or {}
        there = {shard.id for shard in shards}
        with self.changed:
            for shard in shards:
                waits = shard.parent in there and checkpoints.get(shard.parent or "") != SHARD_END
                if shard.id in self._shards or waits or checkpoints.get(shard.id) == SHARD_END or self.stopped:
                    continue
                self._shards[shard.id] = ShardPoller(self, self._stream, shard.id, checkpoints.get(shard.id))
                self._shards[shard.id].start()

    def _beginning(self, shards: list[StreamShard]) -> dict[str, str]:
        """Where a new mapping begins: an empty answer is the oldest record."""
        if self.mapping.start != "LATEST":
            return {}
        found = {shard.id: SHARD_END if shard.closed else self._stream.last_sequence(shard.id) for shard in shards}
        return {shard: sequence for shard, sequence in found.items() if sequence}

    def shard_ended(self) -> None:
        with self.changed:
            self._list_now = True
            self.changed.notify_all()


class ShardPoller:
    """One shard of a mapping: what is read waits in the lanes."""

    def __init__(self, owner: MappingPoller, stream: Stream, shard: str, checkpoint: str | None) -> None:
        self.id = shard
        self._owner = owner
        self._stream = stream
        self._reader = stream.reader(shard, checkpoint)
        self._last_taken = checkpoint
        self._progress = Progress(checkpoint)
        self._lanes = [Lane(owner, self) for _ in range(owner.mapping.lanes)]
        self._looked_at, self._read_by_then = -math.inf, 0
        self._is_done = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"reader {shard}")

    def start(self) -> None:
        self._thread.start()
        for lane in self._lanes:
            lane.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() or any(lane.alive for lane in self._lanes)

    @property
    def is_done(self) -> bool:
        """No record is open and none will come."""
        return self._is_done

    # The condition of the mapping is held.

    def is_caught_up(self, asked: float, targets: dict[str, int]) -> bool:
        """Tell whether all is done that had been written by then; ``targets`` keeps, by shard, how many records that were."""
        if self.id not in targets and self._looked_at > asked:
            targets[self.id] = self._read_by_then
        return self._is_done or (self.id in targets and self._progress.done_count >= targets[self.id])

    def state(self, now: float) -> dict[str, Any]:
        oldest = self._progress.oldest
        age = max(0.0, now - oldest.created) * self._owner.around.pace.speed if oldest else 0.0
        return {
            "shard": self.id,
            "open": self._progress.open_count,
            "checkpoint": self._progress.checkpoint,
            "iterator_age_seconds": age,
            "done": self._is_done,
        }

    # Of the reader's thread

    def _run(self) -> None:
        while not self._owner.stopped and not self._is_done:
            began = time.monotonic()
            try:
                found = self._reader.read()
                self._take(found, began)
                self._owner.tell("reading")
            except Exception as error:
                found = []
                self._reader = self._stream.reader(self.id, self._last_taken)  # what was read and not taken is read again
                self._owner.count("failed_reads")
                self._owner.tell("reading", f"{self._owner.mapping.stream}: {type(error).__name__}: {error}")
            if not found:
                with self._owner.changed:
                    self._owner.changed.wait_for(lambda: self._owner.stopped, self._owner.around.pace.poll_seconds)

    def _take(self, found: list[dict[str, Any]], began: float) -> None:
        owner, now = self._owner, time.time()
        mapping = owner.mapping
        records = [read_record(entry, mapping.stream, owner.around.region, now, mapping.filters) for entry in found]
        with owner.changed:
            self._progress.add(records)
            self._last_taken = records[-1].local if records else self._last_taken
            for record in records:
                if record.wanted:
                    self._lanes[lane_of(record.key, mapping.lanes)].queue.append(record)
            owner.counts["read"] += len(records)
            unwanted = [record for record in records if not record.wanted]
            owner.counts["filtered"] += len(unwanted)
            if len(records) < MOST_RECORDS // 2 and sum(record.size for record in records) < HALF_AN_ANSWER_BYTES:
                self._looked_at, self._read_by_then = began, self._progress.read_count
            owner.changed.notify_all()
        self.settle(unwanted)
        with owner.changed:
            owner.changed.wait_for(lambda: owner.stopped or self._progress.open_count < MOST_UNREAD_AHEAD)

    def settle(self, records: list[Record]) -> None:
        """Count records as done, keep the checkpoint, and end when there is nothing more."""
        owner = self._owner
        with owner.changed:
            moved = self._progress.done(records)
            ends = self._reader.ended and not self._progress.open_count and not self._is_done
            if ends or (moved and self._progress.checkpoint):
                checkpoint = SHARD_END if ends else str(self._progress.checkpoint)
                owner.around.checkpoints.keep(owner.mapping.uuid, {self.id: checkpoint})
            self._is_done = self._is_done or ends
            owner.changed.notify_all()
        if ends:
            owner.shard_ended()


class Lane:
    """Delivers the records of some items of a shard, one batch after the other."""

    def __init__(self, owner: MappingPoller, shard: ShardPoller) -> None:
        self.queue: deque[Record] = deque()
        self._owner = owner
        self._shard = shard
        self._again: deque[Batch] = deque()
        self._failures = 0
        self._answer: Answer | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"lane {shard.id}")

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._deliver(batch)
            except Exception as error:  # not the function's: the batch is not done, so it is delivered again
                self._put_back(batch, f"{type(error).__name__}: {error}")

    def _next(self) -> Batch | None:
        """Wait for a batch that is due; None when the mapping is stopped or the shard is done."""
        owner = self._owner
        with owner.changed:
            while not owner.stopped and not self._shard.is_done:
                wait = self._due() - time.time()
                if wait <= 0:
                    return self._again.popleft() if self._again else self._form()
                owner.changed.wait(None if wait == math.inf else wait)
        return None

    def _due(self) -> float:
        """When the next batch may be delivered."""
        mapping, pace = self._owner.mapping, self._owner.around.pace
        if pace.is_paused(mapping.function_name) or not (self._again or self.queue):
            return math.inf
        hold = pace.hold_seconds(mapping.function_name) / pace.speed
        if self._again:
            return self._again[0].records[0].created + hold if hold else 0.0
        first = self.queue[0]
        is_full = len(self.queue) >= mapping.batch_size or len(first_records(self.queue, mapping.batch_size)) < len(self.queue)
        window_ends = 0.0 if is_full or not mapping.window_seconds else first.read + mapping.window_seconds / pace.speed
        return max(window_ends, first.created + hold if hold else 0.0)

    def _form(self) -> Batch:
        pace = self._owner.around.pace
        held_until = time.time() - pace.hold_seconds(self._owner.mapping.function_name) / pace.speed
        records = first_records(self.queue, self._owner.mapping.batch_size)
        old_enough = [record for record in records if record.created <= held_until]
        batch = Batch(tuple(old_enough or records[:1]))
        for _ in batch.records:
            self.queue.popleft()
        return batch

    def _deliver(self, batch: Batch) -> None:
        owner = self._owner
        mapping = owner.mapping
        fresh = without_expired(batch, mapping, time.time(), owner.around.pace.speed)
        if fresh.discarded:
            self._discard(fresh.discarded, "RecordAgeExceeded")
            self._repeat(fresh.again)
            return
        self._measure(batch)
        self._answer = self._invoke(batch.event)
        owner.tell("function")
        batch = Batch(batch.records, batch.retries, batch.invocations + 1)
        failed = failure(self._answer, batch, report_failures=mapping.report_failures)
        self._count(self._answer, failed is not None)
        step = after(batch, mapping, failed)
        self._shard.settle(list(step.done))
        owner.count("done", len(step.done))
        if step.discarded:
            self._discard(step.discarded, "RetryAttemptsExhausted")
        self._repeat(step.again)
        self._failures = self._failures + 1 if failed and not step.done else 0
        if step.again and self._failures:
            self._rest(wait_seconds(self._failures) / owner.around.pace.speed)

    def _repeat(self, batches: Iterable[Batch]) -> None:
        """Deliver these next, in this order."""
        with self._owner.changed:
            self._again.extendleft(reversed(tuple(batches)))

    def _measure(self, batch: Batch) -> None:
        """Lambda's IteratorAge: of the last record of the batch, when it is sent."""
        age = max(0.0, time.time() - batch.records[-1].created) * self._owner.around.pace.speed
        self._owner.around.metrics.iterator_age(self._owner.mapping.function_name, age)

    def _invoke(self, event: str) -> Answer:
        owner = self._owner
        functions, function = owner.around.functions, owner.mapping.function
        order = owner.around.orders.draw(owner.mapping.function_name)
        if order is None:
            return functions.invoke(function, event)
        owner.count(order.kind)
        if order.kind == "together":
            return functions.invoke_together(function, event)
        if order.kind == "kill_handler":
            return self._invoke_and_kill(event, order)
        functions.invoke(function, event)
        return functions.invoke(function, event)

    def _invoke_and_kill(self, event: str, order: Order) -> Answer:
        functions, function = self._owner.around.functions, self._owner.mapping.function
        ended = threading.Event()
        killer = threading.Thread(target=functions.kill, args=(function, order.seconds, ended), daemon=True)
        killer.start()
        try:
            return functions.invoke(function, event)
        finally:
            ended.set()
            killer.join()

    def _count(self, answer: Answer, failed: bool) -> None:
        owner = self._owner
        timed_out = answer.failed and isinstance(answer.payload, dict) and answer.payload.get("errorType") == "Sandbox.Timedout"
        with owner.changed:
            owner.counts["invocations"] += 1
            owner.counts["errors"] += answer.failed
            owner.counts["timeouts"] += timed_out
            owner.counts["partial_failures"] += failed and not answer.failed
        owner.around.metrics.invoked(owner.mapping.function_name, failed=answer.failed)

    def _discard(self, batch: Batch, condition: Condition) -> None:
        """Give records up: they count as done whatever becomes of the word to the destination."""
        owner, now = self._owner, time.time()
        mapping = owner.mapping
        answer = self._answer if batch.invocations else None
        try:
            if mapping.destination:
                told = invocation_record(mapping, self._shard.id, batch, condition, answer, now)
                key = object_key(mapping, self._shard.id, now, unique())
                owner.around.destinations.hand_over(mapping.destination, told, batch.event, key)
                owner.count("handed_over", len(batch.records))
        except Exception:
            traceback.print_exc()
            owner.count("destination_failures")
        owner.count("discarded", len(batch.records))
        self._shard.settle(list(batch.records))

    def _put_back(self, batch: Batch, problem: str) -> None:
        self._owner.tell("function", problem)
        self._repeat([batch])
        self._rest(AGAIN_SECONDS)

    def _rest(self, seconds: float) -> None:
        with self._owner.changed:
            self._owner.changed.wait_for(lambda: self._owner.stopped, seconds)

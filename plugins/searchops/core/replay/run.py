"""The loop of a replay: claim the table, find or make the replay's id, then page by page: touch, keep the keys, move the checkpoint.

What a kill can leave behind, and why each is harmless
    *A claim*: it ends with its lease. *An id without a touch*: it is gone on with. *Touches of a page whose checkpoint has not moved*: they
    are tried again, and find their own marker. *Kept keys of such a page*: they are kept again. *All done and not yet finished*: the
    checkpoints say so, and it is finished. Only a task that dies between the replay's end and its own is followed by a second replay,
    because nothing tells such a retry from a person who wants the day replayed again.

A page is in flight while the next ones are read, so that the threads have always something to do; checkpoints move in order.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from searchops.core.errors import SearchOpsError, TransientError
from searchops.core.idempotency.errors import ClaimLost
from searchops.core.idempotency.guard import Claim, Completed, Guard
from searchops.core.replay.calls import THREADS, TRIES, Throttled, pause
from searchops.core.replay.checkpoint import Checkpoint, Checkpoints
from searchops.core.replay.effects import CheckpointStore, Pace, TouchedStore
from searchops.core.replay.identity import Replay, Replays
from searchops.core.replay.model import REACHED, Counts, Key, Outcome, Touched, Units
from searchops.core.replay.select import PAGE_ITEMS, Page, Reader, check
from searchops.core.replay.selection import Selection, encoded
from searchops.core.replay.table import TableFacts
from searchops.core.replay.touch import Touch

NAMESPACE = "replay"
"""Of the claims of tables: one task touches a table at a time, whichever DAG it belongs to."""
AHEAD_KEYS = 3 * PAGE_ITEMS
"""Keys in flight from which on the oldest page is waited for; what is done again after a kill, and the memory that the loop needs."""
AHEAD_PAGES = 64
PATIENCE_SECONDS = 600.0
"""How long one item may be throttled, at an ever slower pace, before the task fails, to be tried again later."""
TOLD_KEYS = 5
"""Items that could not take the marker and are named in the log, of each reason."""

log = logging.getLogger(__name__)


class Interrupted(TransientError):
    """The replay was told to stop; it goes on from its checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is replayed, and with what.

    :param client: boto3's ``dynamodb`` client of the table; `calls.CLIENT` says how it is made best
    :param guard: of the namespace `NAMESPACE`
    :param touched: makes the store of the touched keys of a replay from its id
    :param version_attribute: whose value is kept with the touched keys; ``adds_version``: a touch adds 1 to it
    :param s3: boto3's client, for a list of keys
    """

    client: Any
    facts: TableFacts
    selection: Selection
    marker: str
    guard: Guard
    replays: Replays
    pace: Pace
    checkpoints: CheckpointStore
    touched: Callable[[str], TouchedStore]
    version_attribute: str | None = None
    adds_version: bool = False
    s3: Any = None
    threads: int = THREADS
    clock: Callable[[], float] = time.time
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class PageDone:
    """One more page is touched, kept and behind the checkpoint.

    :param counts: of the whole replay so far, earlier tries included
    :param here: of those, what this try has done
    :param skipped: the items of this page that could not take the marker
    """

    replay: Replay
    part: str
    page: int
    counts: Counts
    here: Counts
    parts_done: int
    parts: int
    skipped: tuple[Touched, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """``counts``: of the whole replay, earlier tries included."""

    replay: Replay
    counts: Counts


def replay(job: Job, on_page: Callable[[PageDone], None] = lambda done: None) -> Done:
    """Touch what is selected, or go on with that, and say what became of each item.

    :param on_page: called from this thread; what it raises ends the replay, as any other error does
    :raises InProgress: another task touches the table
    :raises DataError: the selection does not fit the table, a permission is missing, a consumer is too far behind
    :raises TransientError: DynamoDB throttles or does not answer; the claim was lost; `Interrupted`. A next try goes on from here
    """
    check(job.facts, job.selection)
    claim = job.guard.claim(job.facts.name)
    if isinstance(claim, Completed):  # never: nobody completes it
        raise SearchOpsError(f"the claim of the table {job.facts.name!r} was completed: expected it to be free or in progress")
    try:
        with claim.heartbeat():
            opened = job.replays.open(job.facts.name, job.selection, claim.fence)
            counts = _Run(job, claim, opened, on_page).go()
            claim.check()
            ended = job.replays.finish(opened, counts)
    finally:
        _release(claim)
    log.info("%s: replay %s is done: %s", job.facts.name, ended.replay_id, _words(counts))
    return Done(ended, counts)


@dataclass(frozen=True, slots=True)
class _InFlight:
    part: str
    page: Page
    touches: tuple[Future[list[Touched]], ...]


class _Run:
    """One try of one replay."""

    def __init__(self, job: Job, claim: Claim, opened: Replay, on_page: Callable[[PageDone], None]) -> None:
        self._job = job
        self._claim = claim
        self._replay = opened
        self._on_page = on_page
        self._threads = min(job.threads, _connections(job.client))
        self._touch = Touch(
            job.client,
            job.facts,
            marker=job.marker,
            replay_id=opened.replay_id,
            ttl_attribute=job.facts.ttl_attribute,
            version_attribute=job.version_attribute,
            adds_version=job.adds_version,
            clock=job.clock,
        )
        self._store = job.touched(opened.replay_id)
        self._checkpoints = Checkpoints(job.checkpoints, table=job.facts.name, digest=opened.digest, replay_id=opened.replay_id)
        self._reader = Reader(job.client, job.facts, opened.selection, s3=job.s3)
        self._at = {part: self._checkpoints.load(part) if opened.resumed else Checkpoint(part) for part in self._reader.parts}
        self._parts_done = sum(checkpoint.done for checkpoint in self._at.values())
        self._counts = sum((checkpoint.counts for checkpoint in self._at.values()), Counts())
        self._here = Counts()
        self._flying: deque[_InFlight] = deque()
        self._told: Counter[Outcome] = Counter()

    def go(self) -> Counts:
        self._tell_start()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f"touch {self._job.facts.name}")
        try:
            for part, page in self._turns():
                self._flying.append(_InFlight(part, page, self._begin(pool, page.keys)))
                while sum(len(flight.page.keys) for flight in self._flying) >= AHEAD_KEYS or len(self._flying) >= AHEAD_PAGES:
                    self._settle(self._flying.popleft())
            while self._flying:
                self._settle(self._flying.popleft())
        except BaseException:
            # No touch may follow the release of the claim, and none is worth waiting for.
            self._job.stop.set()
            self._job.pace.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return self._counts

    def _turns(self) -> Iterator[tuple[str, Page]]:
        """A page of each part in turn, so that no partition of the table is read and written for long."""
        reading = deque(
            (part, self._reader.pages(part, checkpoint.cursor)) for part, checkpoint in self._at.items() if not checkpoint.done
        )
        while reading:
            part, left = reading.popleft()
            page = next(left)
            if page.cursor is not None:
                reading.append((part, left))
            yield part, page

    def _begin(self, pool: ThreadPoolExecutor, keys: Sequence[Key]) -> tuple[Future[list[Touched]], ...]:
        share = range(min(self._threads, len(keys)))
        return tuple(pool.submit(self._touch_all, keys[number :: self._threads]) for number in share)

    def _touch_all(self, keys: Sequence[Key]) -> list[Touched]:
        self._claim.check()
        return [self._touch_one(key) for key in keys]

    def _touch_one(self, key: Key) -> Touched:
        """Touch an item, in its turn and as often as it takes."""
        pace, began, throttles, failures = self._job.pace, time.monotonic(), 0, 0
        while True:
            if self._job.stop.is_set():
                raise Interrupted(f"the table {self._job.facts.name!r}: the replay {self._replay.replay_id} was stopped")
            pace.before(1)
            try:
                touched = self._touch(key)
            except Throttled as error:
                pace.after(Units(), throttled=error.scope)
                throttles += 1
                if time.monotonic() - began > PATIENCE_SECONDS:
                    raise
                self._job.stop.wait(pause(throttles))
            except TransientError:
                # It may be written and paid for.
                pace.after(Units(table=1.0))
                failures += 1
                if failures >= TRIES:
                    raise
                self._job.stop.wait(pause(failures))
            else:
                pace.after(touched.units, written=int(touched.outcome is Outcome.TOUCHED))
                return touched

    def _settle(self, flight: _InFlight) -> None:
        """Wait for a page, keep its keys, then move the checkpoint: in this order, so that no touched key is ever unknown."""
        touches = [touched for future in flight.touches for touched in future.result()]
        before = self._at[flight.part]
        reached = [touched for touched in touches if touched.outcome in REACHED]
        if reached:
            self._store.keep(flight.part, before.page, reached)
        counts = Counts.of(touches, read=flight.page.read, read_units=flight.page.units)
        self._at[flight.part] = before.after(counts, flight.page.cursor)
        self._checkpoints.save(self._at[flight.part])
        self._counts += counts
        self._here += counts
        skipped = tuple(touched for touched in touches if touched.outcome not in (*REACHED, Outcome.COVERED))
        self._tell_skipped(skipped)
        done = sum(checkpoint.done for checkpoint in self._at.values())
        self._on_page(PageDone(self._replay, flight.part, before.page, self._counts, self._here, done, len(self._at), skipped))

    def _tell_start(self) -> None:
        replay = self._replay
        if not replay.resumed:
            log.info("%s: replay %s begins, %d parts", replay.table, replay.replay_id, len(self._at))
            return
        log.info(
            "%s: replay %s goes on, which was begun at %s: %d of %d parts done, %s",
            replay.table,
            replay.replay_id,
            replay.created_at.isoformat(),
            self._parts_done,
            len(self._at),
            _words(self._counts),
        )

    def _tell_skipped(self, skipped: Sequence[Touched]) -> None:
        for touched in skipped:
            self._told[touched.outcome] += 1
            if self._told[touched.outcome] <= TOLD_KEYS and touched.outcome not in (Outcome.DELETED, Outcome.EXPIRED):
                log.warning("%s: not touched, %s: %s", self._replay.table, touched.outcome, json.dumps(encoded(touched.key)))


def _connections(client: Any) -> int:
    """How many calls a client can have under way; more would open a connection for each."""
    return max(1, int(client.meta.config.max_pool_connections))


def _release(claim: Claim) -> None:
    try:
        claim.release()
    except ClaimLost as error:
        log.warning("%s", error)
    except SearchOpsError as error:
        log.warning("%s: the claim could not be released, it ends with its lease: %s (%s)", claim.key, error, error.reason)


def _words(counts: Counts) -> str:
    named = {
        "selected": counts.selected,
        "touched": counts.reached,
        "covered by a later replay": counts.covered,
        **counts.skipped,
    }
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in named.items() if number or name == "selected")

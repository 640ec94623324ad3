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
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from searchops.core.replay.checkpoint import Checkpoint, Checkpoints
from searchops.core.replay.effects import CheckpointStore, TouchedStore
from searchops.core.replay.identity import Replay, Replays
from searchops.core.replay.model import REACHED, Counts, Outcome, Touched
from searchops.core.replay.select import PAGE_ITEMS, Page, Reader, check
from searchops.core.replay.selection import Selection, encoded
from searchops.core.replay.toucher import Hands, Toucher, Work

AHEAD_KEYS = 3 * PAGE_ITEMS
"""Keys in flight from which on the oldest page is waited for; what is done again after a kill, and the memory that the loop needs."""
AHEAD_PAGES = 64
TELL_SECONDS = 5.0
"""While a page takes longer, as in a pause, it is told so often that it is waited for."""
TOLD_KEYS = 5
"""Items that could not take the marker and are named in the log, of each reason."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is replayed, and where it is kept how far that is.

    :param touched: makes the store of a replay's touched keys from its id
    :param s3: boto3's client, for a list of keys
    """

    toucher: Toucher
    selection: Selection
    replays: Replays
    checkpoints: CheckpointStore
    touched: Callable[[str], TouchedStore]
    s3: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a replay is: what is touched, kept and behind the checkpoints.

    :param counts: of the whole replay so far, earlier tries included
    :param here: of those, what this try has done
    """

    replay: Replay
    counts: Counts
    here: Counts
    parts_done: int
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDone(Standing):
    """One more page is.

    :param skipped: its items that could not take the marker
    """

    skipped: tuple[Touched, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """``counts``: of the whole replay, earlier tries included."""

    replay: Replay
    counts: Counts


def replay(
    job: Job, on_page: Callable[[PageDone], None] = lambda done: None, on_wait: Callable[[Standing], None] = lambda standing: None
) -> Done:
    """Touch what is selected, or go on with that, and say what became of each item.

    :param on_page: called from this thread; what it raises ends the replay, as any other error does
    :param on_wait: the same, every `TELL_SECONDS` while a page takes longer
    :raises InProgress: another task touches the table
    :raises DataError: the selection does not fit the table, a permission is missing, a consumer is close to losing records
    :raises TransientError: DynamoDB throttles or does not answer; a consumer is too far behind; the claim was lost;
        `toucher.Interrupted`. A next try goes on from here
    """
    toucher, table = job.toucher, job.toucher.facts.name
    check(toucher.facts, job.selection)
    with toucher.claimed() as claim:
        opened = job.replays.open(table, job.selection, claim.fence)
        run = _Run(job, opened, on_page, on_wait)
        with Hands(toucher, claim, opened.replay_id) as hands:
            counts = run.go(hands)
        claim.check()
        ended = job.replays.finish(opened, counts)
    log.info("%s: replay %s is done: %s", table, ended.replay_id, _words(counts))
    return Done(ended, counts)


@dataclass(frozen=True, slots=True)
class _InFlight:
    part: str
    page: Page
    work: Work


class _Run:
    """One try of one replay."""

    def __init__(
        self, job: Job, opened: Replay, on_page: Callable[[PageDone], None], on_wait: Callable[[Standing], None]
    ) -> None:
        facts = job.toucher.facts
        self._replay = opened
        self._on_page, self._on_wait = on_page, on_wait
        self._store = job.touched(opened.replay_id)
        self._checkpoints = Checkpoints(job.checkpoints, table=facts.name, digest=opened.digest, replay_id=opened.replay_id)
        self._reader = Reader(job.toucher.client, facts, opened.selection, s3=job.s3)
        self._at = {part: self._checkpoints.load(part) if opened.resumed else Checkpoint(part) for part in self._reader.parts}
        self._parts_done = sum(checkpoint.done for checkpoint in self._at.values())
        self._counts = sum((checkpoint.counts for checkpoint in self._at.values()), Counts())
        self._here = Counts()
        self._flying: deque[_InFlight] = deque()
        self._told: Counter[Outcome] = Counter()

    def go(self, hands: Hands) -> Counts:
        self._tell_start()
        for part, page in self._turns():
            self._flying.append(_InFlight(part, page, hands.begin(page.keys)))
            while sum(len(flight.page.keys) for flight in self._flying) >= AHEAD_KEYS or len(self._flying) >= AHEAD_PAGES:
                self._settle(self._flying.popleft())
        while self._flying:
            self._settle(self._flying.popleft())
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

    def _settle(self, flight: _InFlight) -> None:
        """Wait for a page, keep its keys, then move the checkpoint: in this order, so that no touched key is ever unknown."""
        while not flight.work.has_ended(TELL_SECONDS):
            self._on_wait(Standing(**self._standing()))
        touches = flight.work.result()
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
        self._parts_done += self._at[flight.part].done
        self._on_page(PageDone(**self._standing(), skipped=skipped))

    def _standing(self) -> dict[str, Any]:
        return {
            "replay": self._replay,
            "counts": self._counts,
            "here": self._here,
            "parts_done": self._parts_done,
            "parts": len(self._at),
        }

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


def _words(counts: Counts) -> str:
    named = {
        "selected": counts.selected,
        "touched": counts.reached,
        "covered by a later replay": counts.covered,
        **counts.skipped,
    }
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in named.items() if number or name == "selected")

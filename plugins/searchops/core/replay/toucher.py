"""Touch many items of a table: under its claim, in their turns, by a few threads, each as often as it takes."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from searchops.core.errors import DataError, SearchOpsError, TransientError
from searchops.core.idempotency.errors import ClaimLost
from searchops.core.idempotency.guard import Claim, Completed, Guard
from searchops.core.replay.calls import THREADS, TRIES, Throttled, pause
from searchops.core.replay.effects import Pace
from searchops.core.replay.model import Key, Outcome, Touched, Units
from searchops.core.replay.partiql import MOST_STATEMENTS, Answer, BatchTouch
from searchops.core.replay.selection import encoded
from searchops.core.replay.table import TableFacts
from searchops.core.replay.touch import StrangeMarker, Touch, replay_id_of

NAMESPACE = "replay"
"""Of the claims of tables: one task touches a table at a time, whichever DAG it belongs to."""
PATIENCE_SECONDS = 600.0
"""How long one item may be throttled, at an ever slower pace, before the task fails, to be tried again later."""

log = logging.getLogger(__name__)


class Interrupted(TransientError):
    """The replay was told to stop; it goes on from its checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toucher:
    """Who touches a table.

    :param client: boto3's ``dynamodb`` client of the table; `calls.CLIENT` says how it is made best
    :param guard: of the namespace `NAMESPACE`; its client may try again by itself
    :param version_attribute: whose value is kept with the touched keys; ``adds_version``: a touch adds 1 to it
    :param batches: touch 25 items a request, which the pace can not hold within a budget: give it one without (`partiql`)
    :param stop: set from outside, it ends all work, as after an error; call `Pace.stop` as well
    """

    client: Any
    facts: TableFacts
    marker: str
    guard: Guard
    pace: Pace
    version_attribute: str | None = None
    adds_version: bool = False
    threads: int = THREADS
    batches: bool = False
    clock: Callable[[], float] = time.time
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.batches and self.adds_version:
            raise DataError(
                f"the table {self.facts.name!r}: expected touches one by one, as they add 1 to {self.version_attribute}, found batches, "
                "which can not: replay it paced"
            )

    @contextmanager
    def claimed(self) -> Iterator[Claim]:
        """Hold the claim of the table, with a heartbeat. It is let go whatever happens: a table is never done once and for all.

        :raises InProgress: another task touches the table
        """
        claim = self.guard.claim(self.facts.name)
        if isinstance(claim, Completed):  # nobody completes it
            raise SearchOpsError(
                f"the claim of the table {self.facts.name!r}: expected it free or in progress, found it completed"
            )
        try:
            with claim.heartbeat():
                yield claim
        finally:
            _release(claim)

    def again(self, keys: Sequence[Key], follow_up_id: str) -> list[Touched]:
        """Touch items of a replay once more, whose records have not arrived; `reconcile.Again`.

        :raises InProgress: another task touches the table
        """
        with self.claimed() as claim, Hands(self, claim, follow_up_id) as hands:
            return hands.begin(keys).result()


@dataclass(frozen=True, slots=True)
class Work:
    """Touches that are under way."""

    futures: tuple[Future[list[Touched]], ...]

    def has_ended(self, seconds: float | None = None) -> bool:
        """Wait until all are made, or one has met an error.

        :param seconds: at most; None: as long as it takes
        """
        return not wait(self.futures, seconds, FIRST_EXCEPTION).not_done or any(map(_failed, self.futures))

    def result(self) -> list[Touched]:
        """Wait for all of them; the first error, if there is one, as soon as it is met."""
        self.has_ended()
        return [touched for future in sorted(self.futures, key=_failed, reverse=True) for touched in future.result()]


def _failed(future: Future[list[Touched]]) -> bool:
    return future.done() and future.exception() is not None


class Hands:
    """The threads of a toucher, for one replay. None of them touches any more when the block has ended."""

    def __init__(self, toucher: Toucher, claim: Claim, replay_id: str) -> None:
        self._toucher = toucher
        self._claim = claim
        self._replay_id = replay_id
        self._threads = min(toucher.threads, _connections(toucher.client))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f"touch {toucher.facts.name}")
        self._touch = Touch(
            toucher.client,
            toucher.facts,
            marker=toucher.marker,
            replay_id=replay_id,
            newest=replay_id_of(claim.fence),
            ttl_attribute=toucher.facts.ttl_attribute,
            version_attribute=toucher.version_attribute,
            adds_version=toucher.adds_version,
            clock=toucher.clock,
        )
        self._batch = BatchTouch(toucher.client, toucher.facts, self._touch) if toucher.batches else None

    def begin(self, keys: Sequence[Key]) -> Work:
        """Have items touched; returns at once."""
        count = min(self._threads, len(keys) if self._batch is None else math.ceil(len(keys) / MOST_STATEMENTS))
        shares = (keys[number::count] for number in range(count))
        return Work(tuple(self._pool.submit(self._touch_all, share) for share in shares))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._toucher.stop.set()
            self._toucher.pace.stop()
        self._pool.shutdown(cancel_futures=True)

    def _touch_all(self, keys: Sequence[Key]) -> list[Touched]:
        at_once: Iterable[Sequence[Key]] = [(key,) for key in keys] if self._batch is None else _different(keys, MOST_STATEMENTS)
        return [touched for some in at_once for touched in self._persist(some)]

    def _persist(self, keys: Sequence[Key]) -> list[Touched]:
        """Touch items in their turn, and those that met an error again, as often as it takes."""
        toucher, done, tries, failures = self._toucher, list[Touched](), 0, 0
        refused_at: float | None = None  # what was waited for the first turn says nothing of the table
        while True:
            if toucher.stop.is_set():
                raise Interrupted(f"the table {toucher.facts.name!r}: the replay {self._replay_id} was stopped")
            toucher.pace.before(len(keys))
            self._claim.check()  # behind the wait, which may have been longer than the lease
            answers = self._send(keys)
            done += (touched := [answer for answer in answers if isinstance(answer, Touched)])
            errors = [answer for answer in answers if isinstance(answer, SearchOpsError)]
            self._tell(touched, errors)
            if not errors:
                return done
            tries += 1
            failures += any(not isinstance(error, Throttled) for error in errors)
            now = time.monotonic()
            refused_at = now if refused_at is None else refused_at
            if failures >= TRIES or now - refused_at > PATIENCE_SECONDS:
                raise errors[0]
            toucher.stop.wait(pause(tries))
            keys = [key for key, answer in zip(keys, answers, strict=True) if isinstance(answer, SearchOpsError)]

    def _send(self, keys: Sequence[Key]) -> Sequence[Answer]:
        """
        :return: for each key what became of the item, or the error after which it may be tried again
        :raises SearchOpsError: an error that another try does not mend
        """
        try:
            answers: Sequence[Answer] = [self._touch(keys[0])] if self._batch is None else self._batch(keys)
            for answer in answers:
                if isinstance(answer, SearchOpsError) and not isinstance(answer, TransientError):
                    raise answer
        except TransientError as error:
            return [error] * len(keys)
        except StrangeMarker:
            self._claim.extend()  # tells that it is lost, where the marker is that of a successor
            raise
        return answers

    def _tell(self, touched: Sequence[Touched], errors: Sequence[SearchOpsError]) -> None:
        pace = self._toucher.pace
        if touched:
            written = sum(answer.outcome is Outcome.TOUCHED for answer in touched)
            pace.after(sum((answer.units for answer in touched), Units()), touches=len(touched), written=written)
        for error in errors:
            if isinstance(error, Throttled):
                pace.after(Units(), throttled=error.scope)
            else:
                pace.after(Units(table=1.0))  # it may be written, and paid for


def _different(keys: Sequence[Key], most: int) -> Iterator[Sequence[Key]]:
    """The keys in groups of which none holds a key twice: DynamoDB takes an item once a batch."""
    left = list(keys)
    while left:
        named = {json.dumps(encoded(key, normal=True), sort_keys=True): number for number, key in reversed(list(enumerate(left)))}
        chosen = set(sorted(named.values())[:most])
        yield [left[number] for number in sorted(chosen)]
        left = [key for number, key in enumerate(left) if number not in chosen]


def _connections(client: Any) -> int:
    """How many calls a client can have under way; for more of them it would open a connection each time."""
    return max(1, int(client.meta.config.max_pool_connections))


def _release(claim: Claim) -> None:
    try:
        claim.release()
    except ClaimLost as error:
        log.warning("%s", error)
    except SearchOpsError as error:
        log.warning("%s: the claim could not be released, it ends with its lease: %s (%s)", claim.key, error, error.reason)

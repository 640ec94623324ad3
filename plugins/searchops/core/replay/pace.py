"""How fast a replay touches: no faster than its budget of capacity units, than the table takes, and than the consumers read.

The budget is a token bucket in write capacity units, of the table and its indexes together. What a touch costs is known when it is
answered, so the running average is taken from the bucket before, and the difference afterwards. Whoever asks has a turn: touches go in the
order in which they asked, each when what was granted covers all that went before.

What is promised of any 10 s
    At most 105 % of the limit, and at least 90 % after the slow start when there is enough to do, for items up to 1 % of what 10 s
    allow. The bucket is filled with 95 %; a full bucket is 1.5 % more. The rest is for what can not be foreseen: eight touches under
    way at once, each of them of the largest after small ones, are 8 %. Up to 400 units a second there are no more threads
    (`threads_for`); above, the budget lets so many be under way at 800 units a second and 10 ms an answer, and a change of sizes
    that meets more of them can exceed it once.

Slow start, throttling
    It begins with a tenth of the limit and grows evenly to the whole in 30 s, so that a hot partition, an index that is too small
    and a slow consumer show while little is under way. An answer that the table, an index or a partition has had enough takes it down
    to 0.7 of what it was, once a second at most; then it grows as at the start.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from searchops.core.errors import DataError, SearchOpsError, TransientError
from searchops.core.replay.lag import Advice, Step
from searchops.core.replay.model import Units

FILL = 0.95
BURST_SECONDS = 0.15
"""What the bucket holds: a page of keys that is late by less costs nothing of the pace."""
START, WARM_UP_SECONDS = 0.1, 30.0
LOWERED, LOWER_EVERY_SECONDS, LEAST = 0.7, 1.0, 0.01
FIRST_UNITS = 1.0
"""The least that a write costs, and what is expected of the first."""
WEIGHT = 0.1
"""Of the newest touch in the running average."""
UNHELD_UNITS = 1e9
"""A limit that holds nothing back, for batches (`partiql`). What pauses and stops a replay for its consumers does so all the same."""
LEAST_THREADS, MOST_THREADS, ANSWER_SECONDS = 8, 32, 0.02
LOOK_SECONDS = 30.0
"""Between two looks at the lag; CloudWatch has a figure a minute."""
LONGEST_SLEEP_SECONDS, PAUSE_SECONDS = 0.1, 1.0
"""A turn comes sooner when what was before it has cost less than expected."""
TELL_SECONDS = 60.0
_BOUND_WEIGHT = 0.05

log = logging.getLogger(__name__)


class Stopped(TransientError):
    """`Pacer.stop` was called while a touch waited for its turn; it was not made."""


class Watched(Protocol):
    """The lag of a table's consumers; `lag.Watch` is one. Asked by one thread at a time."""

    def look(self, *, writing: bool) -> Advice:
        """
        :param writing: records have been made since the last look
        :raises SearchOpsError: the replay has to stop
        """


def threads_for(limit_units_per_second: float) -> int:
    """How many threads use a limit up: with items of 1 KB, and answers that take 20 ms, which is several times what is usual."""
    return max(LEAST_THREADS, min(MOST_THREADS, math.ceil(limit_units_per_second * ANSWER_SECONDS)))


class Budget:
    """The bucket, on a clock that is handed in. Not safe for threads.

    :param share: of the limit, by slow start and throttling; ``brake``: what the consumers' lag leaves of that
    """

    def __init__(self, limit: float, now: float) -> None:
        self.limit = limit
        self.share = START
        self.brake = 1.0
        self.average = FIRST_UNITS
        self._seen = 0
        self._now = now
        self._lowered_at = -math.inf
        # All that was ever granted, taken before, and put right afterwards: so a turn is one number.
        self._granted = self._taken = self._corrected = 0.0
        self._open_touches, self._open_units = 0, 0.0

    @property
    def per_second(self) -> float:
        return self.limit * FILL * self.share * self.brake

    def pass_to(self, now: float) -> None:
        """Let time pass: fill the bucket, and grow."""
        seconds = max(0.0, now - self._now)
        self._now += seconds
        full = self._taken + self._corrected + BURST_SECONDS * self.limit
        self._granted = max(self._granted, min(full, self._granted + seconds * self.per_second))
        self.share = min(1.0, self.share + seconds * (1 - START) / WARM_UP_SECONDS)

    def take(self, touches: int) -> float:
        """Take the expected cost of touches, and give their turn."""
        turn, expected = self._taken, touches * self.average
        self._taken += expected
        self._open_touches += touches
        self._open_units += expected
        return turn

    def seconds_until(self, turn: float) -> float:
        """How long this turn has to wait, as things stand; infinite while nothing is granted."""
        if not self.brake:
            return math.inf
        missing = turn + self._corrected - self._granted
        # Below a microsecond's worth sums of floats are not exact.
        return missing / self.per_second if missing > self.limit * 1e-6 else 0.0

    def put_right(self, units: float, touches: int) -> None:
        """Replace what was expected of touches by what they cost; which of the open ones they are does not matter to the sum."""
        expected = self._open_units * min(1.0, touches / self._open_touches) if self._open_touches else 0.0
        self._open_touches = max(0, self._open_touches - touches)
        self._open_units -= expected
        self._corrected += units - expected

    def learn(self, units: float, touches: int) -> None:
        """Move the running average; that of the first touches is their mean."""
        self._seen += touches
        weight = max(touches / self._seen, 1 - (1 - WEIGHT) ** touches)
        self.average = max(FIRST_UNITS, self.average + weight * (units / touches - self.average))

    def lower(self) -> None:
        """Take it down, once for all the touches that were under way together."""
        if not self.lowered_within(LOWER_EVERY_SECONDS):
            self._lowered_at = self._now
            self.share = max(LEAST, self.share * LOWERED)

    def lowered_within(self, seconds: float) -> bool:
        return self._now - self._lowered_at < seconds

    def seconds_for(self, units: float) -> float:
        """How long so many units take, growth included; infinite while nothing is granted."""
        if not self.brake:
            return math.inf
        growth = (1 - START) / WARM_UP_SECONDS
        at_full = units / (self.limit * FILL * self.brake)
        growing = (1 - self.share) / growth
        in_growth = growing * (1 + self.share) / 2
        if at_full >= in_growth:
            return growing + at_full - in_growth
        return (math.sqrt(self.share**2 + 2 * growth * at_full) - self.share) / growth


class Pacer:
    """`effects.Pace` for one task that touches one table; safe for threads.

    :param limit_units_per_second: write capacity units of the table and its indexes together
    :param lag: of the consumers; None watches nobody
    :param clock: monotonic seconds
    :raises DataError: the limit is no number above 0
    """

    def __init__(
        self,
        limit_units_per_second: float,
        *,
        lag: Watched | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        if not (limit_units_per_second > 0 and math.isfinite(limit_units_per_second)):
            raise DataError(
                f"pace: expected more than 0 write capacity units a second, found {limit_units_per_second:g}: correct "
                "`replay.wcu_per_second` of the table in include/searchops.yaml"
            )
        self._lag = lag
        self._clock, self._sleep = clock, sleep
        self._look_seconds = look_seconds
        # Of one thread more than once: `stop` may come from a signal, while the thread that gets it holds the lock.
        self._lock, self._look_lock = threading.RLock(), threading.Lock()
        self._look_at = -math.inf
        self._advice = Advice(Step.RUN, 1.0, "")
        self._failure: SearchOpsError | None = None
        self._budget = Budget(limit_units_per_second, clock())
        self._consumed = Units()
        self._touches = 0
        self._writing = False
        self._bound = 0.0
        self._throttled = ""
        self._told_at: dict[str, float] = {}
        self.throttles: Counter[str] = Counter()
        """Touches that were refused, by what refused them."""

    def before(self, touches: int = 1) -> None:
        """Wait until the budget and the consumers take so many touches.

        :raises ConsumerBehind, ConsumerLate: and the further errors of `lag.Watch.look`, in every thread
        :raises Stopped: `stop` was called
        """
        with self._lock:
            self._budget.pass_to(self._clock())
            turn = self._budget.take(touches)
        waited = False
        while True:
            self._look()
            with self._lock:
                if self._failure:
                    raise self._failure
                self._budget.pass_to(self._clock())
                seconds = self._budget.seconds_until(turn)
                if not seconds:
                    self._bound += _BOUND_WEIGHT * (waited - self._bound)
                    return
            waited = True
            self._sleep(PAUSE_SECONDS if math.isinf(seconds) else min(seconds, LONGEST_SLEEP_SECONDS))

    def after(self, units: Units, *, touches: int = 1, throttled: str | None = None, written: int | None = None) -> None:
        """Say what touches have cost.

        :param throttled: what refused them: ``table``, ``index`` or ``partition``
        :param written: how many of them made a record; None: all. Others cost as much, and say nothing of the consumers.
        """
        with self._lock:
            self._budget.pass_to(self._clock())
            self._budget.put_right(units.total, touches)
            self._consumed += units
            if throttled:
                self._slow_down(throttled)
                return
            self._touches += touches
            self._budget.learn(units.total, touches)
            self._writing = self._writing or written is None or written > 0

    def stop(self) -> None:
        """Let no touch begin any more, and end the waits of those that have asked."""
        with self._lock:
            self._failure = self._failure or Stopped("the replay was stopped; it goes on from its checkpoint")

    @property
    def consumed(self) -> Units:
        """What all touches together have cost."""
        return self._consumed

    @property
    def per_second(self) -> float:
        """The units a second that are granted at the moment."""
        return self._budget.per_second

    @property
    def said(self) -> str:
        """Why it is slower than its limit, for people; empty when it is not."""
        with self._lock:
            reasons = [self._advice.reason] if self._advice.step is not Step.RUN else []
            if self._budget.lowered_within(TELL_SECONDS):
                reasons.append(f"throttled by {_words(self._throttled)}")
            if not reasons:
                return ""
            step = "paused" if self._advice.step is Step.PAUSE else "slowed"
            return f"{step}: {'; '.join(reasons)}"

    def seconds_for(self, touches: int) -> float | None:
        """How long so many more touches take at this pace; infinite while it is paused.

        None where something else than the budget decides: the machine, the time of an answer, or a table that throttles.
        """
        with self._lock:
            if not self._budget.brake:
                return math.inf
            if self._bound < 0.5 or not self._touches or self._budget.lowered_within(TELL_SECONDS):
                return None
            return self._budget.seconds_for(touches * self._consumed.total / self._touches)

    def _look(self) -> None:
        """Ask for the lag when it is time; nobody touches before the first answer, and later nobody waits for one."""
        if self._lag is None or self._clock() < self._look_at:
            return
        if not self._look_lock.acquire(blocking=self._look_at == -math.inf):
            return
        try:
            if self._clock() >= self._look_at:
                self._take_advice(self._lag)
        finally:
            self._look_lock.release()

    def _take_advice(self, lag: Watched) -> None:
        with self._lock:
            if self._failure:
                return
            writing, self._writing = self._writing, False
        try:
            advice = lag.look(writing=writing)
        except SearchOpsError as error:
            with self._lock:
                self._failure = error
            return
        with self._lock:
            now = self._clock()
            self._budget.pass_to(now)
            self._advice, self._budget.brake = advice, advice.factor
            self._look_at = now + self._look_seconds

    def _slow_down(self, throttled: str) -> None:
        """Take the pace down, and tell of each reason once a minute."""
        self.throttles[throttled] += 1
        self._throttled = throttled
        self._budget.lower()
        now = self._clock()
        if now - self._told_at.get(throttled, -math.inf) >= TELL_SECONDS:
            self._told_at[throttled] = now
            granted, limit = self._budget.per_second, self._budget.limit
            slowed = f": slowed to {granted:.1f} of {limit:g} units a second" if limit < UNHELD_UNITS else ""
            log.warning("Throttled by %s%s", _words(throttled), slowed)


def _words(throttled: str) -> str:
    """What a person can do something about."""
    return {
        "table": "the table, whose capacity is used up",
        "index": "an index, whose capacity is used up",
        "partition": "a partition: too much goes to one key, as to one day of a date index",
    }.get(throttled, throttled)

"""How fast a replay touches, in any ten seconds, whatever the items, the answers and the consumers are like."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchops.core.errors import DataError
from searchops.core.replay.lag import Advice, ConsumerBehind, ConsumerLate, Step
from searchops.core.replay.model import Units
from searchops.core.replay.pace import FILL, LOOK_SECONDS, START, UNHELD_UNITS, WARM_UP_SECONDS, Budget, Pacer, Stopped
from searchops.core.replay.progress import Estimate
from tests.unit.core.replay.virtual_time import SimpleTime, VirtualTime

WINDOW = 10.0
LEAST, MOST = 0.005, 0.1
"""Of a second's limit: the largest item is 1 % of what 10 s allow."""
# With these answers the budget has at most eight of the smallest items under way, however many threads there are.
LONGEST_ANSWER = 0.035

sizes = st.floats(LEAST, MOST)
limits = st.floats(100, 5000)
threads = st.integers(1, 16)
answers = st.floats(0.001, LONGEST_ANSWER)


@dataclass
class Table:
    """Consumes what it is asked for at some moment between question and answer, and says so with the answer.

    :param cost: of the next touch, as a share of a second's limit
    """

    limit: float
    cost: Callable[[], float]
    answer_seconds: float
    time: VirtualTime = field(default_factory=VirtualTime)
    consumed: list[tuple[float, float]] = field(default_factory=list)
    dice: Random = field(default_factory=lambda: Random(7))

    def touch(self, pacer: Pacer) -> None:
        pacer.before(1)
        units = max(1.0, self.limit * self.cost())
        seconds = self.answer_seconds * self.dice.uniform(0.2, 1.0)
        self.consumed.append((self.time.now + seconds * self.dice.random(), units))
        self.time.sleep(seconds)
        pacer.after(Units(units * 0.5, units * 0.5), touches=1)

    def pacer(self) -> Pacer:
        return Pacer(self.limit, clock=self.time.clock, sleep=self.time.sleep)

    def replay(self, thread_count: int, seconds: float) -> None:
        pacer = self.pacer()

        def work() -> None:
            while self.time.now < seconds:
                self.touch(pacer)

        assert self.time.run(*[work] * thread_count) == []

    def windows(self, since: float, until: float) -> Iterator[float]:
        """What each window within these times has consumed, as a share of the limit: those that begin behind a touch, and end with one."""
        times, units = zip(*sorted(self.consumed), strict=True)
        sums = [0.0, *itertools.accumulate(units)]
        first = last = 0
        for place, end in enumerate(times):
            while times[first] <= end - WINDOW:
                first += 1
            if since + WINDOW <= end <= until:
                yield (sums[place + 1] - sums[first]) / (WINDOW * self.limit)
        for place, start in enumerate(times):
            while last < len(times) and times[last] < start + WINDOW:
                last += 1
            if since <= start and start + WINDOW <= until:
                yield (sums[last] - sums[place + 1]) / (WINDOW * self.limit)


def enough_for(limit: float, least: float, answer_seconds: float) -> int:
    """Threads with which the answers do not hold it up."""
    return math.ceil(2 * answer_seconds * limit / max(1.0, least * limit))


@settings(max_examples=25)
@given(limits, st.lists(st.tuples(st.lists(sizes, min_size=1, max_size=3), st.integers(5, 300)), min_size=1), threads, answers)
def test_no_ten_seconds_consume_more_than_the_limit_and_a_twentieth_however_sizes_change(
    limit: float, phases: Sequence[tuple[Sequence[float], int]], thread_count: int, answer_seconds: float
) -> None:
    sequence = itertools.cycle([size for palette, count in phases for size in itertools.islice(itertools.cycle(palette), count)])
    table = Table(limit, lambda: next(sequence), answer_seconds)

    table.replay(thread_count, 45)

    assert max(table.windows(0, 45)) <= 1.05


@settings(max_examples=20)
@given(limits, st.lists(sizes, min_size=1, max_size=6), threads, answers, st.integers())
def test_every_ten_seconds_consume_nine_tenths_of_the_limit_when_there_is_enough_to_do(
    limit: float, palette: Sequence[float], thread_count: int, answer_seconds: float, seed: int
) -> None:
    dice = Random(seed)
    table = Table(limit, lambda: dice.choice(palette), answer_seconds)

    table.replay(max(thread_count, enough_for(limit, min(palette), answer_seconds)), WARM_UP_SECONDS + 25)

    assert min(table.windows(WARM_UP_SECONDS + 2, WARM_UP_SECONDS + 25)) >= 0.9
    assert max(table.windows(0, WARM_UP_SECONDS + 25)) <= 1.05


def test_items_larger_than_the_promise_is_for_are_paid_off_before_the_next() -> None:
    table = Table(10.0, lambda: 40.0, 0.02)  # 400 units each, the largest that there is

    table.replay(4, 600)

    assert sum(units for _, units in table.consumed) <= 600 * 10.0 + 4 * 400
    assert len(table.consumed) >= 10


def test_it_begins_with_a_tenth_and_grows_evenly_to_the_whole() -> None:
    table = Table(1000.0, lambda: LEAST, 0.005)

    table.replay(8, WARM_UP_SECONDS)

    def share(since: float, until: float) -> float:
        return sum(units for at, units in table.consumed if since <= at < until) / ((until - since) * table.limit)

    assert share(0, 1) == pytest.approx(FILL * 0.115, rel=0.15)
    assert share(14, 16) == pytest.approx(FILL * 0.55, rel=0.05)
    assert share(29, 30) == pytest.approx(FILL * 0.985, rel=0.05)


@given(st.floats(1, 1e6), st.floats(0.01, 1), st.floats(0.1, 1), st.floats(0.01, 100))
def test_the_time_for_units_is_when_the_budget_has_granted_them(limit: float, share: float, brake: float, seconds: float) -> None:
    budget = Budget(limit, 0.0)
    budget.share, budget.brake = share, brake
    units, step = limit * seconds, 0.001 + seconds / 1000

    foretold = budget.seconds_for(units)

    granted = now = 0.0
    while granted < units:
        granted += step * budget.per_second
        now += step
        budget.pass_to(now)
    assert foretold == pytest.approx(now, rel=0.03, abs=2 * step)


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 50)), min_size=1))
def test_when_all_are_answered_the_next_waits_for_what_they_have_cost_whatever_was_expected(
    touches: list[tuple[int, float]],
) -> None:
    budget = Budget(10, 0.0)
    for count, units in touches:
        budget.take(count)
        budget.learn(units, count)
    for count, units in touches:
        budget.put_right(units, count)

    waits = budget.seconds_until(budget.take(1))

    assert waits == pytest.approx(sum(units for _, units in touches) / budget.per_second, abs=1e-3)


# What the table says


def test_a_throttled_answer_slows_down_once_for_all_that_were_under_way_and_then_it_grows_again() -> None:
    time = SimpleTime()
    pacer = Pacer(100, clock=time.clock, sleep=time.sleep)
    time.now = WARM_UP_SECONDS
    pacer.before(5)
    for _ in range(5):
        pacer.after(Units(), touches=1, throttled="table")

    assert pacer.per_second == pytest.approx(100 * FILL * 0.7)
    time.now += 1
    pacer.before(1)
    assert pacer.per_second == pytest.approx(100 * FILL * (0.7 + (1 - START) / WARM_UP_SECONDS))
    pacer.after(Units(), touches=1, throttled="index")
    assert pacer.per_second < 100 * FILL * 0.55
    assert pacer.throttles == {"table": 5, "index": 1}


def test_a_table_that_refuses_everything_is_still_asked_now_and_then() -> None:
    time = SimpleTime()
    pacer = Pacer(100, clock=time.clock, sleep=time.sleep)
    for _ in range(50):
        pacer.before(1)
        pacer.after(Units(), touches=1, throttled="partition")
        time.now += 1

    assert 0.5 <= pacer.per_second <= 10


def test_what_throttles_is_told_by_its_name_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    time = SimpleTime()
    pacer = Pacer(100, clock=time.clock, sleep=time.sleep)
    with caplog.at_level(logging.WARNING):
        for _ in range(90):
            pacer.before(1)
            pacer.after(Units(), touches=1, throttled="partition")
            time.now += 1

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["Throttled by a partition"] * 2
    assert pacer.said == "slowed: throttled by a partition: too much goes to one key, as to one day of a date index"
    time.now += 120
    pacer.before(1)
    assert pacer.said == ""


def test_a_pace_that_holds_nothing_back_names_no_limit_when_the_table_throttles(caplog: pytest.LogCaptureFixture) -> None:
    pacer = Pacer(UNHELD_UNITS)
    with caplog.at_level(logging.WARNING):
        pacer.before(1000)
        pacer.after(Units(), touches=1000, throttled="table")

    assert [record.getMessage() for record in caplog.records] == ["Throttled by the table, whose capacity is used up"]


def test_a_refused_touch_costs_nothing_and_teaches_nothing() -> None:
    budget = Budget(100, 0.0)
    turn = budget.take(1)
    budget.put_right(0.0, 1)

    assert budget.seconds_until(turn) == 0
    assert budget.seconds_until(budget.take(1)) == 0


# The consumers


@dataclass
class Consumers:
    """Advice in an order, the last one for ever; an error is raised."""

    advice: list[Advice | Exception]
    looks: list[bool] = field(default_factory=list)
    on_look: Callable[[], None] = lambda: None

    def look(self, *, writing: bool) -> Advice:
        self.looks.append(writing)
        self.on_look()
        found = self.advice.pop(0) if len(self.advice) > 1 else self.advice[0]
        if isinstance(found, Exception):
            raise found
        return found


RUN, PAUSE = Advice(Step.RUN, 1.0, "up to date"), Advice(Step.PAUSE, 0.0, "too late")
HALF = Advice(Step.SLOW, 0.5, "late")


def touch(pacer: Pacer, time: SimpleTime, until: float) -> int:
    """Touch items of one unit one by one; how many."""
    for count in itertools.count():
        if time.now >= until:
            return count
        pacer.before(1)
        pacer.after(Units(1.0), touches=1)
    raise AssertionError


def test_a_consumer_that_is_late_halves_the_pace() -> None:
    counts = []
    for advice in (RUN, HALF):
        time = SimpleTime()
        pacer = Pacer(100, lag=Consumers([advice]), clock=time.clock, sleep=time.sleep)
        touch(pacer, time, WARM_UP_SECONDS)
        counts.append(touch(pacer, time, WARM_UP_SECONDS + 20))

    assert counts == [pytest.approx(20 * 100 * FILL, rel=0.02), pytest.approx(10 * 100 * FILL, rel=0.02)]


def test_nothing_is_touched_while_a_consumer_is_too_late_and_it_goes_on_when_that_is_over() -> None:
    time = SimpleTime()
    consumers = Consumers([RUN, PAUSE, PAUSE, PAUSE, RUN])
    pacer = Pacer(100, lag=consumers, clock=time.clock, sleep=time.sleep)
    touch(pacer, time, LOOK_SECONDS)
    pacer.before(1)

    assert 4 * LOOK_SECONDS <= time.now <= 4 * LOOK_SECONDS + 4
    assert consumers.looks[:2] + consumers.looks[3:] == [False, True, False, False]
    assert touch(pacer, time, time.now + 5) > 5 * 100 * FILL * 0.9


def test_a_pause_says_why_and_knows_no_end() -> None:
    time = SimpleTime()
    pacer = Pacer(100, lag=Consumers([PAUSE]), clock=time.clock, sleep=lambda seconds: pacer.stop())
    with pytest.raises(Stopped):
        pacer.before(1)

    assert pacer.said == "paused: too late"
    assert pacer.seconds_for(5) == math.inf


def test_a_consumer_near_the_end_of_the_stream_stops_every_thread() -> None:
    time = VirtualTime()
    behind = ConsumerBehind("20 h")
    pacer = Pacer(10, lag=Consumers([RUN, behind]), clock=time.clock, sleep=time.sleep)

    def work() -> None:
        while True:
            pacer.before(1)
            time.sleep(0.01)
            pacer.after(Units(1.0), touches=1)

    assert time.run(*[work] * 8) == [behind] * 8
    assert LOOK_SECONDS <= time.now <= LOOK_SECONDS + 3


def test_a_pause_that_lasts_too_long_ends_the_wait_of_every_thread() -> None:
    time = VirtualTime()
    late = ConsumerLate("too late for 10 min")
    pacer = Pacer(10, lag=Consumers([PAUSE, PAUSE, late]), clock=time.clock, sleep=time.sleep)

    assert time.run(*[pacer.before] * 8) == [late] * 8
    assert 2 * LOOK_SECONDS <= time.now <= 2 * LOOK_SECONDS + 3


def test_the_lag_is_asked_for_before_anything_is_touched() -> None:
    time = VirtualTime()
    consumers = Consumers([ConsumerBehind("20 h")])
    pacer = Pacer(1e6, lag=consumers, clock=time.clock, sleep=time.sleep)
    begun: list[int] = []

    def work() -> None:
        pacer.before(1)
        begun.append(1)

    assert len(time.run(*[work] * 4)) == 4
    assert (begun, len(consumers.looks)) == ([], 1)


def test_touches_go_on_while_one_thread_asks_for_the_lag() -> None:
    time = VirtualTime()
    slow_looks: list[tuple[float, float]] = []

    def on_look() -> None:
        if time.now:
            began = time.now
            time.sleep(5)
            slow_looks.append((began, time.now))

    pacer = Pacer(100, lag=Consumers([RUN], on_look=on_look), clock=time.clock, sleep=time.sleep)
    touched: list[float] = []

    def work() -> None:
        while time.now < LOOK_SECONDS + 10:
            pacer.before(1)
            touched.append(time.now)
            time.sleep(0.005)
            pacer.after(Units(1.0), touches=1)

    assert time.run(*[work] * 4) == []
    (began, ended), *_ = slow_looks
    assert sum(began < at < ended for at in touched) > 300


def test_touches_that_made_no_record_are_no_reason_to_expect_a_consumer_at_work() -> None:
    time = SimpleTime()
    consumers = Consumers([RUN])
    pacer = Pacer(100, lag=consumers, clock=time.clock, sleep=time.sleep)
    while time.now < 3.5 * LOOK_SECONDS:
        pacer.before(1)
        pacer.after(Units(1.0), touches=1, written=int(time.now > 2.5 * LOOK_SECONDS))

    assert consumers.looks == [False, False, False, True]


# Beginning and end


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf])
def test_a_pace_that_never_ends_or_has_none_is_refused(limit: float) -> None:
    with pytest.raises(DataError, match=r"expected more than 0 write capacity units a second, found .*wcu_per_second"):
        Pacer(limit)


def test_a_stop_ends_the_waits_that_have_begun() -> None:
    time = VirtualTime()
    pacer = Pacer(1, clock=time.clock, sleep=time.sleep)

    def work() -> None:
        for _ in range(3):
            pacer.before(100)

    def stop() -> None:
        time.sleep(5)
        pacer.stop()

    (raised,) = time.run(work, stop)
    assert isinstance(raised, Stopped)
    assert time.now <= 7


def test_no_unit_is_lost_when_real_threads_touch() -> None:
    pacer = Pacer(50_000)

    def work() -> None:
        for _ in range(200):
            pacer.before(1)
            pacer.after(Units(table=1.0, index=0.5), touches=1)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work) for _ in range(8)]:
            future.result()

    assert pacer.consumed == Units(table=1600.0, index=800.0)


@settings(max_examples=15)
@given(limits, st.tuples(sizes, sizes).map(sorted), st.integers(4, 16), answers, st.integers())
def test_after_a_tenth_the_time_that_is_left_is_known_within_fifteen_in_a_hundred(
    limit: float, range_: Sequence[float], thread_count: int, answer_seconds: float, seed: int
) -> None:
    dice, items = Random(seed), 2000
    table = Table(limit, lambda: dice.uniform(*range_), answer_seconds)
    pacer = table.pacer()
    estimate = Estimate(items, pace=pacer, clock=table.time.clock)
    numbers = iter(range(1, items + 1))
    told: list[tuple[float, float | None]] = []

    def work() -> None:
        for number in numbers:
            table.touch(pacer)
            if number == items // 10:
                told.append((table.time.now, estimate.look(number).seconds_left))

    assert table.time.run(*[work] * max(thread_count, enough_for(limit, range_[0], answer_seconds))) == []
    ((at, seconds_left),) = told
    assert seconds_left == pytest.approx(table.time.now - at, rel=0.15)

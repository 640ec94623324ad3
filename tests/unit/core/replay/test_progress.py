"""What a person sees of a replay: a percentage that is true, and a time that is left."""

from __future__ import annotations

import io
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.replay.model import Units
from searchops.core.replay.progress import WINDOW_SECONDS, Estimate, Meter, Progress, TerminalBar
from tests.unit.core.replay.virtual_time import SimpleTime


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(**values: Any) -> Progress:
    return Progress(**{"done": 12_345, "expected": 100_000, "per_second": 180.4, "seconds_left": 486.2, **values})


def test_a_line_says_how_far_it_is_how_fast_and_how_long_it_takes() -> None:
    assert progress(units_per_second=188.0).line() == "12,345 items of 100,000 (12.3 %), 180/s, 188 units/s, 8:07 left"


def test_a_line_says_what_holds_it_up_and_that_a_number_is_a_guess() -> None:
    line = progress(approximate=True, seconds_left=None, said="paused: indexer is 16 min behind, limit 15 min").line()

    assert line == ("12,345 items of about 100,000 (12.3 %), 180/s, 0 units/s; paused: indexer is 16 min behind, limit 15 min")


def test_without_a_number_to_compare_with_there_is_no_percentage() -> None:
    assert progress(expected=None, seconds_left=None).line() == "12,345 items, 180/s, 0 units/s"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00"), (0.2, "0:01"), (59.5, "1:00"), (3600, "1:00:00"), (36_061, "10:01:01")]
)
def test_the_time_that_is_left_is_rounded_up(seconds: float, words: str) -> None:
    assert progress(seconds_left=seconds).line().endswith(f"{words} left")


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_nothing_is_done_wholly_before_the_end(done: int, expected: int) -> None:
    running, ended = (progress(done=done, expected=expected, last=last) for last in (False, True))

    assert running.share is not None
    assert 0 <= running.share < 1
    assert "100.0 %" not in running.line()
    assert ended.share == 1


def test_the_state_of_a_task_can_hold_it() -> None:
    state = progress().to_json()

    assert json.loads(json.dumps(state)) == state
    assert (state["percent"], state["seconds_left"], state["done"]) == (12.3, 486, 12_345)
    assert progress(expected=None, seconds_left=None).to_json()["percent"] is None


# Estimates


class Pace:
    def __init__(self, seconds_a_touch: float | None = None, said: str = "") -> None:
        self.seconds_a_touch = seconds_a_touch
        self.consumed = Units()
        self.said = said

    def seconds_for(self, touches: int) -> float | None:
        return None if self.seconds_a_touch is None else touches * self.seconds_a_touch


def test_the_rate_of_the_last_half_minute_goes_on_where_the_pace_does_not_decide() -> None:
    time = SimpleTime()
    estimate = Estimate(10_000, clock=time.clock)
    for _ in range(100):
        time.now += 1
        estimate.look(int(time.now))
    for second in range(int(WINDOW_SECONDS) + 1):
        time.now += 1
        found = estimate.look(100 + 50 * (second + 1))

    assert found.per_second == pytest.approx(50, rel=0.01)
    assert found.seconds_left == pytest.approx((10_000 - found.done) / 50, rel=0.01)


def test_where_the_pace_decides_it_tells_the_time() -> None:
    time = SimpleTime()
    estimate = Estimate(1000, pace=Pace(0.5), clock=time.clock)
    time.now += 1

    assert estimate.look(100).seconds_left == 450


@pytest.mark.parametrize(
    ("expected", "pace"), [(None, Pace(0.5)), (1000, Pace(math.inf))], ids=["of nobody knows what", "paused"]
)
def test_the_time_that_is_left_is_told_only_where_it_can_be_known(expected: int | None, pace: Pace) -> None:
    time = SimpleTime()
    estimate = Estimate(expected, pace=pace, clock=time.clock)
    time.now += 1

    assert estimate.look(100).seconds_left is None


def test_items_of_earlier_tries_are_done_and_are_no_part_of_the_rate() -> None:
    time = SimpleTime()
    estimate = Estimate(10_000, done=9_000, clock=time.clock)
    time.now += 10
    found = estimate.look(9_100)

    assert (found.share, found.per_second, found.seconds_left) == (0.91, 10, 90)


def test_a_try_that_has_begun_before_anybody_looked_is_not_taken_for_faster_than_it_is() -> None:
    time = SimpleTime()
    time.now = 50.0
    estimate = Estimate(1000, began=0.0, clock=time.clock)

    assert estimate.look(500).per_second == 10


def test_units_are_counted_as_the_pace_counts_them() -> None:
    time, pace = SimpleTime(), Pace()
    estimate = Estimate(None, pace=pace, clock=time.clock)
    time.now += 10
    pace.consumed = Units(table=40.0, index=60.0)

    assert estimate.look(5).units_per_second == 10


def test_more_items_than_expected_leave_no_time_below_nothing() -> None:
    time = SimpleTime()
    estimate = Estimate(100, clock=time.clock)
    time.now += 1

    assert estimate.look(150).seconds_left == 0


def test_the_first_look_knows_no_rate() -> None:
    found = Estimate(100, clock=SimpleTime().clock).look(0)

    assert (found.per_second, found.seconds_left) == (0, None)


def test_a_look_every_millisecond_keeps_few_samples() -> None:
    time = SimpleTime()
    estimate = Estimate(None, clock=time.clock)
    for number in range(100_000):
        time.now += 0.001
        found = estimate.look(number)

    assert found.per_second == pytest.approx(1000, rel=0.01)
    assert len(estimate._samples) < 100


# Telling


def test_a_listener_hears_of_it_every_so_often_and_at_the_end() -> None:
    time, heard = SimpleTime(), list[Progress]()
    meter = Meter(heard.append, Estimate(100, clock=time.clock), clock=time.clock)
    for _ in range(50):
        time.now += 0.25
        meter.add()
    meter.finish()

    assert [(each.done, each.last) for each in heard] == [(20, False), (40, False), (50, True)]


def test_no_item_is_lost_when_threads_count() -> None:
    heard = list[Progress]()
    meter = Meter(heard.append, Estimate(None), every_seconds=0.0)
    barrier = threading.Barrier(8)

    def count() -> None:
        barrier.wait()
        for _ in range(500):
            meter.add()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(count) for _ in range(8)]:
            future.result()
    meter.finish()

    assert heard[-1].done == 4000
    assert [each.done for each in heard] == sorted(each.done for each in heard)


def test_without_a_listener_nothing_happens() -> None:
    meter = Meter(None, Estimate(1), every_seconds=0.0)
    meter.add()
    meter.finish()


def test_a_terminal_shows_a_bar_and_a_log_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        TerminalBar(stream)(progress(expected=24_690))
        TerminalBar(stream)(progress(last=True))

    assert terminal.getvalue() == (
        f"\r\x1b[K[############............] {progress(expected=24_690).line()}\r\x1b[K[{'#' * 24}] {progress(last=True).line()}\n"
    )
    assert log.getvalue() == f"{progress(expected=24_690).line()}\n{progress(last=True).line()}\n"

"""Additive increase, multiplicative decrease, and no thread that waits for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.pressure import FIRST_SECONDS, LONGEST_SECONDS, Pressure, backoff_seconds

bounds = st.tuples(st.integers(1, 10), st.integers(1, 10)).map(sorted)


@given(bounds, st.none() | st.integers(1, 20), st.lists(st.booleans(), max_size=200))
def test_the_limit_stays_between_floor_and_ceiling(limits: list[int], start: int | None, answers: list[bool]) -> None:
    pressure = Pressure(*limits, start)
    for taken in answers:
        assert limits[0] <= pressure.limit <= limits[1]
        if taken:
            pressure.taken()
        else:
            pressure.refused(time.monotonic())
    assert limits[0] <= pressure.limit <= limits[1]


@given(bounds)
def test_enough_answers_without_a_429_lift_it_to_the_ceiling(limits: list[int]) -> None:
    pressure = Pressure(*limits, start=limits[0])
    for _ in range(sum(range(limits[1] + 1)) + 1):
        pressure.taken()

    assert pressure.limit == limits[1]


def test_it_grows_by_one_in_a_round_of_answers_and_halves_on_a_429() -> None:
    pressure = Pressure(1, 8, start=4)
    for _ in range(5):
        pressure.taken()
    assert 5 <= pressure.limit < 5.2

    pressure.refused(time.monotonic())
    assert 2.5 <= pressure.limit < 2.6


def test_requests_that_were_under_way_together_lower_it_once() -> None:
    pressure = Pressure(1, 8, start=8)
    with ExitStack() as stack:
        began = [stack.enter_context(pressure.slot()) for _ in range(8)]
        for when in began:
            pressure.refused(when)
        assert pressure.limit == 4

    with pressure.slot() as later:
        pressure.refused(later)
    assert pressure.limit == 2


def test_no_more_requests_are_under_way_than_the_limit_allows() -> None:
    pressure = Pressure(1, 3, start=3)
    most, lock, gate = 0, threading.Lock(), threading.Barrier(3)

    def request(number: int) -> None:
        nonlocal most
        with pressure.slot():
            with lock:
                most = max(most, pressure.under_way)
            if number < 3:
                gate.wait(10)  # three are in there at once

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(request, range(40)))

    assert (most, pressure.under_way) == (3, 0)


@given(st.lists(st.sampled_from(["taken", "refused", "neither"]), min_size=1, max_size=60), bounds)
def test_every_request_gets_its_turn_whatever_the_answers_are(answers: list[str], limits: list[int]) -> None:
    pressure = Pressure(*limits)

    def request(answer: str) -> None:
        with pressure.slot() as began:
            if answer == "taken":
                pressure.taken()
            elif answer == "refused":
                pressure.refused(began)

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(request, answer) for answer in answers]
        for each in done:
            each.result(timeout=10)
    assert pressure.under_way == 0


def test_a_place_that_appears_when_the_limit_grows_is_taken_at_once() -> None:
    pressure = Pressure(1, 2, start=1)
    entered = threading.Event()

    def wait() -> None:
        with pressure.slot():
            entered.set()

    with pressure.slot():
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(0.05)
        pressure.taken()  # 1 -> 2
        assert entered.wait(5)
        waiting.join()


def test_a_request_that_fails_gives_its_place_back() -> None:
    pressure = Pressure(1, 1)
    with pytest.raises(OSError, match="lost"), pressure.slot():
        raise OSError("lost")

    assert pressure.under_way == 0


@pytest.mark.parametrize("limits", [(0, 1), (2, 1), (-1, -1)])
def test_limits_that_make_no_sense_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 <= floor <= ceiling"):
        Pressure(*limits)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_wait_doubles_to_its_longest_and_half_of_it_is_chance(attempt: int, chance: float) -> None:
    whole = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(attempt - 1, 20))

    assert whole / 2 <= backoff_seconds(attempt, lambda: chance) <= whole


@given(st.floats(0.001, 10_000))
def test_a_patience_is_long_enough_for_twenty_waits_and_more(patience: float) -> None:
    assert sum(backoff_seconds(attempt, lambda: 1.0, patience_seconds=patience) for attempt in range(1, 21)) <= patience * (
        1 + 1e-9
    )

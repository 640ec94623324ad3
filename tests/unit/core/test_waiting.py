from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.waiting import Cadence

scales = st.sampled_from([1.0, 0.05, 1 / 300])
ages = st.floats(0, 3600, allow_nan=False)


def looks(cadence: Cadence, seconds: float, age: float = 0.0) -> list[float]:
    """The ages at which a wait looks, the last one being the first that is not before the end."""
    found: list[float] = []
    while not found or found[-1] < seconds:
        age += cadence.delay(age)
        found.append(age)
    return found


@pytest.mark.parametrize("scale", [1.0, 0.05, 1 / 300])
@pytest.mark.parametrize(("seconds", "calls"), [(45, 10), (600, 40)])
def test_a_wait_costs_no_more_calls_than_promised(seconds, calls, scale):
    assert len(looks(Cadence(scale=scale), seconds * scale)) <= calls


@given(scales)
def test_the_first_look_comes_after_one_to_two_seconds(scale):
    assert 1 <= Cadence(scale=scale).delay(0) / scale <= 2


@given(ages, scales)
def test_the_next_look_is_never_more_than_thirty_seconds_away(age, scale):
    delay = Cadence(scale=scale).delay(age * scale) / scale

    assert 0 < delay <= 30 * (1 + 1e-9)


def test_a_long_wait_looks_every_thirty_seconds():
    assert Cadence().delay(3600) == 30


@given(ages, ages, scales)
def test_intervals_only_grow_once_the_first_look_is_over(one, other, scale):
    cadence = Cadence(scale=scale)
    early, late = sorted((max(one, 1.5) * scale, max(other, 1.5) * scale))

    assert cadence.delay(early) <= cadence.delay(late) * (1 + 1e-9)


@given(ages, scales)
def test_a_wait_that_is_resumed_at_any_age_costs_no_more_calls_than_one_that_was_not(age, scale):
    cadence = Cadence(scale=scale)
    undisturbed = [moment for moment in looks(cadence, 2 * 3600 * scale) if moment > age * scale]

    assert len(looks(cadence, 2 * 3600 * scale, age * scale)) <= len(undisturbed) + 1


@given(st.floats(2, 900))
def test_a_change_is_seen_within_an_eighth_of_the_time_that_it_took_or_six_seconds(seconds):
    seen = next(moment for moment in looks(Cadence(), seconds) if moment >= seconds)

    assert seen - seconds <= max(6.0, seconds / 8)

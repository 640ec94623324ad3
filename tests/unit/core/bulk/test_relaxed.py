from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.relaxed import REFRESH, REPLICAS, Record, Settings, plan_relaxing, seconds
from searchops.core.errors import DataError

INTERVALS = st.sampled_from([None, "-1", "1s", "500ms", "30s", "1m", "2h"])
COUNTS = st.sampled_from(["0", "1", "2"])
SETTINGS = st.fixed_dictionaries({REFRESH: INTERVALS, REPLICAS: COUNTS})
WISH: Settings = {REFRESH: "30s", REPLICAS: "0"}


def looseness(settings: Settings) -> tuple[float, int]:
    return seconds(settings[REFRESH] or "1s"), -int(settings[REPLICAS] or 0)


@given(SETTINGS, SETTINGS)
def test_a_load_only_ever_loosens_and_remembers_what_it_has_loosened(current: Settings, wish: Settings) -> None:
    before, relaxed = plan_relaxing(current, None, wish)

    after = {**current, **relaxed}
    assert all(old <= new for old, new in zip(looseness(current), looseness(after), strict=True))
    assert before == {name: current[name] for name in relaxed}


@given(SETTINGS, SETTINGS, SETTINGS)
def test_a_second_load_after_a_killed_one_remembers_what_stood_before_the_first(
    current: Settings, first: Settings, second: Settings
) -> None:
    before, relaxed = plan_relaxing(current, None, first)
    left = {**current, **relaxed}

    again, _ = plan_relaxing(left, Record("i", before, relaxed), second)

    assert {name: value for name, value in again.items() if name in before} == {
        name: before[name] for name in again if name in before
    }


def test_what_a_person_has_set_since_counts_as_what_stood_there() -> None:
    record = Record("i", {REFRESH: "1s"}, {REFRESH: "30s"})

    assert plan_relaxing({REFRESH: "5s", REPLICAS: "1"}, record, WISH) == (
        {REFRESH: "5s", REPLICAS: "1"},
        {REFRESH: "30s", REPLICAS: "0"},
    )


@pytest.mark.parametrize(("text", "expected"), [("-1", float("inf")), ("30s", 30), ("500ms", 0.5), ("2m", 120), ("1d", 86400)])
def test_intervals_are_read_as_opensearch_writes_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "30", "s", "-2", "1.5s"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="expected an interval such as 30s"):
        seconds(text)

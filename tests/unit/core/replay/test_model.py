from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.errors import DataError
from searchops.core.replay.model import Counts, Outcome, Touched, Units

touches = st.lists(
    st.builds(
        Touched,
        st.just({"pk": {"S": "a"}}),
        st.sampled_from(Outcome),
        st.builds(Units, st.integers(0, 400).map(float), st.integers(0, 400).map(float)),
    )
)


@given(touches, touches)
def test_every_item_that_was_selected_has_one_end(first, second):
    counts = Counts.of(first) + Counts.of(second)

    assert counts.selected == len(first) + len(second) == sum(getattr(counts, outcome) for outcome in Outcome)
    assert counts.selected == counts.reached + counts.covered + sum(counts.skipped.values())


@given(touches, st.integers(0, 10**9), st.floats(0, 1e9))
def test_counts_that_were_written_down_are_read_as_they_were(some, read, units):
    counts = Counts.of(some, read=read, read_units=units)

    assert Counts.from_json(counts.to_json()) == counts


def test_what_is_no_count_is_refused():
    with pytest.raises(DataError, match="expected the counts of a replay"):
        Counts.from_json({"touched": "many"})

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.replay.model import Outcome, Units
from searchops.core.replay.touch import FIVE_YEARS_SECONDS, expired, judge, replay_id_of, units_of

NOW = 1_800_000_000
OURS = replay_id_of(7)


def judged(item: dict[str, Any] | None, ours: str = OURS) -> Outcome | None:
    return judge(item, marker="replayed", ours=ours, ttl_attribute="gone_at", now=NOW)


def marked(content: Any, type_: str = "S") -> dict[str, Any]:
    return {"pk": {"S": "a"}, "replayed": {type_: content}}


@pytest.mark.parametrize(
    ("item", "outcome"),
    [
        (None, Outcome.DELETED),
        ({}, Outcome.DELETED),
        (marked(OURS), Outcome.OURS_BEFORE),
        (marked(f"{OURS}.01"), Outcome.OURS_BEFORE),
        (marked(replay_id_of(8)), Outcome.COVERED),
        (marked(f"{replay_id_of(8)}.02"), Outcome.COVERED),
        (marked("yes"), Outcome.MARKER_MISUSED),
        (marked("7"), Outcome.MARKER_MISUSED),
        (marked("7" * 20 + "x"), Outcome.MARKER_MISUSED),
        (marked("7", "N"), Outcome.MARKER_MISUSED),
        (marked(True, "BOOL"), Outcome.MARKER_MISUSED),
        ({"pk": {"S": "a"}, "gone_at": {"N": str(NOW)}}, Outcome.EXPIRED),
        ({**marked(replay_id_of(6)), "gone_at": {"N": str(NOW - 1)}}, Outcome.EXPIRED),
        ({**marked(OURS), "gone_at": {"N": str(NOW - 1)}}, Outcome.OURS_BEFORE),
        ({"pk": {"S": "a"}}, None),
        (marked(replay_id_of(6)), None),
    ],
)
def test_what_a_refused_touch_finds_says_why(item, outcome):
    assert judged(item) is outcome


def test_a_follow_up_comes_after_its_replay_and_before_the_next():
    assert judged(marked(OURS), ours=f"{OURS}.01") is None
    assert judged(marked(f"{OURS}.01"), ours=f"{OURS}.01") is Outcome.OURS_BEFORE
    assert judged(marked(replay_id_of(8)), ours=f"{OURS}.99") is Outcome.COVERED


@given(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_ids_compare_as_the_fences_do(one, other):
    assert (replay_id_of(one) < replay_id_of(other)) == (one < other)


@pytest.mark.parametrize("fence", [0, -1, 10**20])
def test_a_fence_that_makes_no_id_is_refused(fence):
    with pytest.raises(ValueError, match="1 to 20 digits"):
        replay_id_of(fence)


@pytest.mark.parametrize(
    ("value", "is_expired"),
    [
        ({"N": str(NOW)}, True),
        ({"N": str(NOW + 1)}, False),
        ({"N": f"{NOW}.5"}, False),
        ({"N": str(NOW - FIVE_YEARS_SECONDS)}, True),
        ({"N": str(NOW - FIVE_YEARS_SECONDS - 1)}, False),
        ({"N": "0"}, False),
        ({"S": str(NOW - 10)}, False),
        (None, False),
    ],
)
def test_an_item_expires_as_dynamodb_lets_it(value, is_expired):
    assert expired(value, NOW) is is_expired


@pytest.mark.parametrize(
    ("told", "units"),
    [
        ({}, Units(1)),
        ({"ConsumedCapacity": {"CapacityUnits": 3.0}}, Units(3)),
        ({"ConsumedCapacity": {"CapacityUnits": 3.0, "Table": {"CapacityUnits": 1.0}}}, Units(1, 2)),
    ],
)
def test_units_are_told_apart_by_table_and_indexes(told, units):
    assert units_of(told) == units

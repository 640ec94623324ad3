"""A plan as a person reads it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from searchops.core.replay.cost import Cost
from searchops.core.replay.findings import error, note
from searchops.core.replay.outlook import Documents
from searchops.core.replay.plan import Plan

PLAN = Plan(
    table="items",
    region="eu-west-1",
    selection={"kind": "date", "day": "2026-11-03"},
    items=1_200,
    exact=True,
    sampled=75,
    bytes=3 * 1024**2,
    gone=0,
    expired=12,
    too_large=1,
    foreign_marker=0,
    read_units=14.5,
    table_units=3_600,
    index_units=0,
    wcu_per_second=200,
    seconds=3_725,
    cost=Cost(0.0045, "eu-west-1", "a list of today"),
    cost_unknown="",
    without_date=7,
    documents=Documents(same=900, older=100, missing=187),
    not_rewritten=900,
    consumers=("function indexer gets 1,187 records, up to 100 at once",),
    findings=(note("expected one", "two"), error("expected a stream", "none", "turn it on")),
)


def test_a_plan_says_what_would_be_done_what_it_takes_and_what_is_in_the_way() -> None:
    assert PLAN.text().splitlines() == [
        'Replay of items: {"kind": "date", "day": "2026-11-03"}',
        "items            1,200, 3.0 MB",
        "left alone       expired 12, too large 1",
        "without the date 7 items of the table, which no replay by date finds",
        "read units       14.5",
        "write units      3,600 of the table, 0 of its indexes",
        "duration         1 h 2 min 5 s at 200 write units a second, if the consumers keep up",
        "cost             0.0045 USD in eu-west-1 (a list of today)",
        "not rewritten    900 documents, which have the version of their item already",
        "consumers        function indexer gets 1,187 records, up to 100 at once",
        "error            expected a stream, found none: turn it on",
        "note             expected one, found two",
        "estimated        from 75 items that were read whole; all numbers but that of the items",
    ]


def test_a_plan_goes_into_an_xcom() -> None:
    found = json.loads(json.dumps(PLAN.to_json()))

    assert (found["touches"], found["cost"]["usd"], found["findings"][1]["level"]) == (1_187, 0.0045, "error")


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59.6, "1 min"), (90_061, "1 d 1 h 1 min 1 s")])
def test_a_duration_is_told_in_the_units_of_people(seconds: float, words: str) -> None:
    assert f"duration         {words} at 200" in replace(PLAN, seconds=seconds).text()


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1_023, "1,023 bytes"), (1_024, "1.0 KB"), (5 * 1024**4, "5.0 TB"), (1024**5, "1,024.0 TB")],
)
def test_a_size_is_told_in_binary_units(size: int, words: str) -> None:
    assert f"items            1,200, {words}\n" in replace(PLAN, bytes=size).text()


@pytest.mark.parametrize(
    ("items", "exact", "words"),
    [
        (0, True, "the selection is empty: the replay succeeds and touches nothing"),
        (0, False, "the filter left none of their items"),
    ],
)
def test_nothing_selected_is_told_from_nothing_seen(items: int, exact: bool, words: str) -> None:
    assert replace(PLAN, items=items, sampled=0, exact=exact).text().endswith(words)

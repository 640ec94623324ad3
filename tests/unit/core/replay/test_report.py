"""The report of a replay: its sums, and what it must not say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.errors import DataError
from searchops.core.replay.arrivals import Arrival, Arrivals
from searchops.core.replay.model import REACHED, Counts, Key, Outcome, Touched, Units
from searchops.core.replay.report import ReplayReport, read_report, words, write_report
from searchops.core.replay.selection import All, ByDate, ByKey, ByKeys, Filter, PartitionKey, Sample, Selection
from searchops.core.replay.touch import replay_id_of
from searchops.core.report import MAX_FACTS, Report
from tests.unit.core.replay.memory_s3 import MemoryS3

KEY: Key = {"pk": {"S": "a"}}
OUTCOMES = st.lists(st.sampled_from(Outcome), max_size=40)


def counts_of(outcomes: list[Outcome]) -> Counts:
    return Counts.of([Touched(KEY, outcome, Units(1.0, 0.5)) for outcome in outcomes], read=len(outcomes), read_units=0.5)


@st.composite
def reports(draw: st.DrawFn) -> ReplayReport:
    """The list of touched keys may have fewer or more than were counted."""
    counts = counts_of(draw(OUTCOMES))
    ends = st.none() | st.lists(st.sampled_from(Arrival), min_size=counts.reached, max_size=counts.reached)
    ends = ends | st.lists(st.sampled_from(Arrival), max_size=40)
    arrivals = draw(ends.map(lambda found: None if found is None else Arrivals.of(found)))
    return ReplayReport(
        "products",
        replay_id_of(42),
        "the whole table",
        counts,
        seconds=draw(st.floats(0, 1e6)),
        throttled=draw(st.dictionaries(st.sampled_from(["table", "index", "partition"]), st.integers(1, 10**6))),
        index="products",
        arrivals=arrivals,
    )


@given(reports())
def test_the_funnel_always_adds_up(report: ReplayReport) -> None:
    stages = report.funnel()

    for before, after in pairwise(stages):
        assert before.count == after.count + sum(after.lost.values())
        assert after.count >= 0
        assert all(number > 0 for number in after.lost.values())
    assert stages[0].count == report.counts.selected + report.beside
    if report.arrivals is None:
        assert (report.short, [stage.name for stage in stages]) == (None, ["selected", "touched"])
    else:
        gone = stages[3].lost.get("deleted_since", 0) + stages[3].lost.get("expired_since", 0)
        assert report.short == stages[1].count - stages[3].count - gone


@given(OUTCOMES)
def test_nothing_is_short_of_a_replay_all_of_which_has_arrived(outcomes: list[Outcome]) -> None:
    reached = sum(outcome in REACHED for outcome in outcomes)
    report = ReplayReport("t", replay_id_of(1), "", counts_of(outcomes), arrivals=Arrivals(arrived=reached))

    assert report.short == 0
    assert [stage.count for stage in report.funnel()] == [len(outcomes), reached, reached, reached]


def test_what_was_touched_and_is_not_on_the_list_is_short() -> None:
    counts = counts_of([Outcome.TOUCHED] * 10)

    report = ReplayReport("t", replay_id_of(1), "", counts, arrivals=Arrivals(arrived=7))

    assert (report.short, report.unlisted, report.funnel()[2].lost) == (3, 3, {"unlisted": 3})


def test_what_is_on_the_list_and_was_not_counted_is_no_mistake() -> None:
    """A page was done, its keys were kept, the process died, and the page held other items when it was done again."""
    report = ReplayReport("t", replay_id_of(1), "", counts_of([Outcome.TOUCHED] * 10), arrivals=Arrivals(arrived=12))

    assert (report.short, report.beside) == (0, 2)
    assert [stage.count for stage in report.funnel()] == [12, 12, 12, 12]


@given(reports())
def test_a_report_is_read_as_it_was_written(report: ReplayReport) -> None:
    s3 = MemoryS3()

    where = write_report(s3.bucket, report)

    assert where == f"s3://b/replays/products/{report.replay_id}/report.json"
    assert read_report(s3.bucket, "products", report.replay_id) == replace(report, seconds=round(report.seconds, 3))
    values = json.loads(s3.objects[where.removeprefix("s3://b/")][0])
    assert [stage["count"] for stage in values["funnel"]] == [stage.count for stage in report.funnel()]
    assert values["short"] == report.short


@given(reports())
def test_its_facts_fit_into_the_report_of_a_task(report: ReplayReport) -> None:
    told = Report(dag_id="d", run_id="r", task_id="t", outcome="succeeded", title=report.title, facts=report.facts)

    assert len(report.facts) <= MAX_FACTS
    assert told.facts == report.facts
    assert told.title == report.title


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": "searchops.report/1"}', b'{"format": "searchops.replay/1"}'])
def test_what_is_no_report_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="report of a replay"):
        ReplayReport.from_json(content)


def test_a_replay_without_a_report_has_none() -> None:
    assert read_report(MemoryS3().bucket, "products", replay_id_of(1)) is None


REPORT = ReplayReport(
    table="products",
    replay_id=replay_id_of(42),
    selection="the day 2026-11-21",
    counts=Counts(
        selected=1_000,
        touched=980,
        before=5,
        covered=5,
        deleted=4,
        expired=5,
        too_large=1,
        read=1_000,
        read_units=12.5,
        table_units=980.0,
        index_units=490.5,
    ),
    seconds=12.5,
    throttled={"index": 2, "partition": 1},
    index="products",
    arrivals=Arrivals(arrived=60, already_there=920, deleted=2, missing=2, late=1, again=3),
)


def test_a_person_sees_where_everything_went_and_what_it_cost() -> None:
    assert REPORT.text().splitlines() == [
        "products: replay 00000000000000000042 of the day 2026-11-21: selected 1,000 -> touched 985 -> consumed 984 -> in the index 980: "
        "3 short",
        "selected             1,000 [########################]",
        "touched                985 [########################]  covered by a later run 5, deleted 4, expired 5, too large (400 KB) 1",
        "consumed               984 [########################]  late 1",
        "in the index           980 [########################]  deleted since 2, missing 2",
        "920 documents were there before: an equal version is not written again",
        "3 items were missing and touched again",
        "1,470.5 write units (table 980.0, indexes 490.5) and 12.5 read units in 12.5 s: 78 touches/s, 118 units/s, "
        "throttled 3 times (index 2, partition 1)",
    ]
    assert REPORT.facts["Not in the index"] == "late 1, missing 2"
    assert REPORT.facts["Skipped"] == "deleted 4, expired 5, too large (400 KB) 1"


def test_an_empty_selection_succeeds_and_says_0() -> None:
    report = ReplayReport("products", replay_id_of(42), "the day 2026-11-22", Counts(), arrivals=Arrivals())

    assert report.short == 0
    assert "selected 0 -> touched 0 -> consumed 0 -> in the index 0: 0 short" in report.title
    assert "0 touches/s, 0 units/s, not throttled" in report.text()


def test_without_an_index_nothing_is_said_of_arrival() -> None:
    report = replace(REPORT, arrivals=None)

    assert report.title.endswith("selected 1,000 -> touched 985: not compared with an index")
    assert report.facts["Short"] == "not compared with an index"


SECRET = "customer-4711"
FILTER = Filter("#c = :c", {"#c": "c"}, {":c": {"S": SECRET}})


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (ByDate("i", "created_ymd", date(2026, 11, 21), ("20261121",)), "the day 2026-11-21"),
        (ByKey((PartitionKey({"S": SECRET}),)), "1 partition key"),
        (ByKey((PartitionKey({"S": SECRET}), PartitionKey({"S": "b"}))), "2 partition keys"),
        (ByKeys("s3://lists/keys.ndjson", "e"), "the keys of s3://lists/keys.ndjson"),
        (Sample(1_000), "a sample of 1,000"),
        (All(8), "the whole table"),
    ],
)
@pytest.mark.parametrize("filter", [None, FILTER])
def test_what_was_selected_is_told_without_a_value_of_an_item(selection: Selection, said: str, filter: Any) -> None:
    told = words(replace(selection, filter=filter))

    assert told == (f"{said}, filtered" if filter else said)
    assert SECRET not in told

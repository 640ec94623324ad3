"""How the benchmarks of bulk indexing compare, judge and report what they saw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bulk import client, documents, ends, foreign, pressure, report, throughput, writer
from benchmarks.bulk.callers import HERE, STREAMING, Learned
from benchmarks.bulk.client import OURS, PARALLEL, READY_MADE, Done
from benchmarks.bulk.ends import Outcome
from benchmarks.bulk.foreign import Load, Sent
from benchmarks.bulk.pressure import AFTER_A_SECOND, AT_ONCE, Arm
from local.results import Measure, write_benchmark

SENT = ("a", "b", "c")


def named(measures: Sequence[Measure]) -> Mapping[str, Measure]:
    return {measure.name: measure for measure in measures}


def done(per_second: float, cpu_microseconds: float = 1.0, peak_mb: float = 100.0) -> Done:
    return Done(1000, 1000 / per_second, cpu_microseconds * 1000 / 1e6, int(peak_mb * 1e6))


# Throughput


def test_clients_are_compared_within_their_round() -> None:
    rounds = [
        {OURS: done(90, 3), client.STREAMING: done(30, 12), PARALLEL: done(45, 15), READY_MADE: done(100, 0)},
        {OURS: done(40, 4), client.STREAMING: done(10, 16), PARALLEL: done(20, 15), READY_MADE: done(80, 0)},
    ]

    found = named(throughput.throughput(rounds))

    assert found[throughput.ratio_name(client.STREAMING)].samples == pytest.approx([3, 4])
    assert found[throughput.ratio_name(READY_MADE)].samples == pytest.approx([0.9, 0.5])
    assert found[throughput.ratio_name(READY_MADE)].holds is False
    assert found[throughput.CPU_RATIO].samples == pytest.approx([0.25, 0.25])


def test_memory_is_what_many_documents_take_more_than_few() -> None:
    found = named(throughput.memory([(done(1, peak_mb=150), done(1, peak_mb=170)), (done(1, peak_mb=150), done(1, peak_mb=145))]))

    assert found[throughput.MEMORY_DIFFERENCE].samples == [20, -5]
    assert found[throughput.MEMORY_DIFFERENCE].holds is True


def test_every_client_has_every_place_in_the_order_equally_often() -> None:
    orders = [throughput.in_turn(number) for number in range(8)]

    assert all(sorted(order) == sorted(throughput.ARMS) for order in orders)
    assert {count for place in zip(*orders, strict=True) for count in Counter(place).values()} == {2}


@given(st.lists(st.text(max_size=50), max_size=40), st.integers(60, 500))
def test_ready_made_bodies_hold_every_document_once_with_its_version(texts: list[str], most_bytes: int) -> None:
    given = [{"id": str(number), "revision": number, "text": text} for number, text in enumerate(texts)]

    bodies = list(client.ready_made_bodies(given, most_bytes))

    lines = [orjson.loads(line) for body, _ in bodies for line in body.splitlines()]
    assert lines[1::2] == given
    assert [line["index"]["version"] for line in lines[::2]] == list(range(len(texts)))
    assert sum(count for _, count in bodies) == len(texts)
    assert all(len(body) <= most_bytes or count == 1 for body, count in bodies)


def test_rounds_read_parts_of_the_documents_that_are_all_of_them_together(tmp_path: Path) -> None:
    path = tmp_path / "documents.ndjson"
    path.write_bytes(b"".join(orjson.dumps({"n": number}) + b"\n" for number in range(10)))

    parts = [[document["n"] for document in documents.read(path, start, 3)] for start in range(3)]

    assert sorted(number for part in parts for number in part) == list(range(10))
    assert [document["n"] for document in documents.read(path, 1, 3, 2)] == [1, 4]
    assert documents.count(path) == 10


# Pressure


def test_ours_is_compared_with_the_better_of_the_others_of_its_round() -> None:
    sent = Sent(100, 10.0, 10, 90)
    rounds = [
        {OURS: Arm(5, 0.75, sent), AT_ONCE: Arm(20, 1, sent, 7), AFTER_A_SECOND: Arm(10, 1, sent, 3)},
        {OURS: Arm(30, 0.25, sent), AT_ONCE: Arm(15, 1, sent, 7), AFTER_A_SECOND: Arm(40, 1, sent, 3)},
    ]

    load = pressure.FOREIGN[0]
    found = named(pressure.figures(rounds, load))

    assert found[pressure.ratio_name(load)].samples == [0.5, 2]
    assert found[pressure.direct_name(load)].samples == [0.75, 0.25]
    assert [measure.samples for name, measure in found.items() if name.startswith(OURS) and "429" in name] == [[0.9, 0.9]]


@given(st.floats(1, 500), st.integers(1, 30), st.floats(0.1, 30))
def test_the_foreign_load_is_sent_at_a_fixed_rate_whatever_the_number_of_threads(
    rate: float, threads: int, seconds: float
) -> None:
    load = Load(rate, 1, 1, seconds, threads)

    times = sorted(at for thread in range(threads) for at in load.times(thread))

    assert times[0] == 0
    assert times[-1] < seconds <= times[-1] + 1 / rate + 1e-6
    assert all(later - earlier == pytest.approx(1 / rate) for earlier, later in pairwise(times))


def test_the_parts_of_the_foreign_load_add_up_and_the_latest_request_counts() -> None:
    whole = foreign.total([Sent(2, 0, 1, 3, 0, 0.5), Sent(3, 0, 2, 4, 1, 0.1)], 5.0)

    assert whole == Sent(5, 5.0, 3, 7, 1, 0.5)
    assert whole.per_second == 1


def test_an_empty_foreign_load_has_no_share() -> None:
    assert Sent().refused_share == 0


# The request path


def test_the_handler_is_allowed_one_call_of_firehose_more() -> None:
    one = writer.Round({writer.TAKEN: [10.0] * 200, writer.REFUSED: [65.0] * 200, writer.PUT: [5.0] * 200})

    measure = named(writer.figures([one]))[writer.GOAL_NAME]

    assert measure.samples == pytest.approx([50])
    assert measure.holds is True


# Ends


@pytest.mark.parametrize(
    ("told", "kept", "stored", "outcome"),
    [
        ({"a": True, "b": True, "c": True}, [], {"a": 1, "b": 1, "c": 1}, Outcome(indexed=3)),
        ({"a": True, "b": False}, [], {"a": 1}, Outcome(indexed=1, refused=1, lost=1)),
        ({"a": True, "b": False}, ["b"], {"a": 1, "c": 1}, Outcome(indexed=1, kept=1, unknown=1)),
        ({"a": False, "b": True}, [], {"a": 1, "c": 2}, Outcome(wrong=2, unknown=1, twice=1)),
    ],
    ids=["all told", "one not sent", "one on a manifest", "told what is not so"],
)
def test_what_is_told_of_a_document_is_held_against_the_index(
    told: dict[str, bool], kept: list[str], stored: dict[str, int], outcome: Outcome
) -> None:
    assert ends.judge(Learned(told, kept), stored, SENT) == outcome
    assert outcome.is_true is (not (outcome.lost or outcome.wrong or outcome.unknown or outcome.twice))


def test_a_document_that_has_already_arrived_although_it_was_handed_over_is_no_contradiction() -> None:
    assert ends.judge(Learned({"a": False}, ["a"]), {"a": 1}, ["a"]) == Outcome(kept=1)


def test_a_caller_that_does_not_come_back_is_not_told_the_truth() -> None:
    outcome = ends.judge(Learned(hangs=True), {"a": 1}, ["a"])

    assert not outcome.is_true
    assert report.cell(outcome) == "**does not come back**; 1 in the index"


def test_ways_are_counted_by_caller_and_only_ours_has_a_goal() -> None:
    found = {"one": {STREAMING: Outcome(lost=3), HERE: Outcome(indexed=3)}, "two": {STREAMING: Outcome(indexed=3)}}

    measures = [measure for measure in ends.figures(found, callers=(STREAMING, HERE)) if measure.unit == "ways"]

    assert [(measure.samples, measure.goal) for measure in measures] == [([1], None), ([0], "== 0")]


# Report


def test_a_cell_says_in_bold_what_the_caller_does_not_know() -> None:
    outcome = Outcome(indexed=290, refused=10, lost=900, raised="BulkIndexError naming 10")

    assert report.cell(outcome) == "290 indexed; 10 refused and named; **900 not indexed, not named**; `BulkIndexError`"


def test_a_table_goes_between_its_markers_and_leaves_the_rest_alone() -> None:
    page = "before\n<!-- figures: bulk -->\nold\n<!-- /figures -->\n<!-- figures: ends -->\nkept\n<!-- /figures -->\nafter\n"

    after = report.filled(page, {"bulk": "new \\1\n"})

    assert after == page.replace("old", "new \\1")
    assert report.filled(after, {"bulk": "new \\1\n"}) == after


@pytest.mark.parametrize(
    ("value", "words"),
    [(123456.0, "123,000"), (932.4, "932"), (12.345, "12.3"), (0.27444, "0.274"), (3, "3"), (-113.3, "-113"), (1999.6, "2,000")],
)
def test_a_figure_has_three_digits_that_count(value: float, words: str) -> None:
    assert report.figure(value) == words


def test_goals_come_first_in_the_table_and_a_missed_one_is_said(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "x.json", "x", [Measure("rate", "ms", [10, 30, 20]), Measure("r", "ratio", [0.5], ">= 2")])

    lines = report.table(json.loads((tmp_path / "x.json").read_text())).splitlines()

    assert lines[2:4] == ["| r | 0.5 |  | >= 2 | **missed** |", "| rate | 20 ms | 10 to 30 |  |  |"]


def test_the_pages_have_the_markers_that_the_report_fills() -> None:
    page = (report.DOCS / "performance.md").read_text(encoding="utf-8")
    pages = "".join(path.read_text(encoding="utf-8") for path in report.DOCS.glob("*.md"))

    assert all(f"<!-- figures: {name} -->" in page for name in ("picture", "bulk", "pressure", "writer"))
    assert pages.count("<!-- figures: ends -->") == 1


def test_without_figures_there_is_nothing_to_report(tmp_path: Path, capsys: Any) -> None:
    assert report.main(tmp_path, tmp_path, tmp_path / "x.png") == 1
    assert "make bench NAME=bulk" in capsys.readouterr().err

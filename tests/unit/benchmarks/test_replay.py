"""How the benchmarks of replays compare clients, and what they make of what was consumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.replay import pacing, report, sizes, table, touches
from benchmarks.replay.client import BARE, LOOP, OURS, Done
from benchmarks.replay.pacing import WINDOW_SECONDS
from benchmarks.replay.touches import LATE, NEAR
from local.results import Measure, write_benchmark


def named(measures: Sequence[Measure]) -> Mapping[str, Measure]:
    return {measure.name: measure for measure in measures}


def done(per_second: float = 100.0, items: int = 1000, **values: Any) -> Done:
    seconds = items / per_second
    return Done(
        **{"items": items, "seconds": seconds, "cpu_seconds": 0.5, "start_bytes": 100, "peak_bytes": 100, "mark": "1", **values}
    )


def test_clients_are_compared_within_their_round_and_their_latency() -> None:
    rounds = [
        {NEAR: {OURS: done(900), LOOP: done(300), BARE: done()}, LATE: {OURS: done(800), LOOP: done(100), BARE: done()}},
        {NEAR: {OURS: done(400), LOOP: done(400), BARE: done()}, LATE: {OURS: done(500), LOOP: done(100), BARE: done()}},
    ]

    found = named(touches.figures(rounds))

    assert found[touches.ratio_name(NEAR)].samples == [3, 1]
    assert found[touches.ratio_name(LATE)].samples == [8, 5]
    assert found[touches.ratio_name(LATE)].holds is True
    assert found[touches.cpu_name(OURS, NEAR)].samples == [500, 500]


def windows_of(consumed: Sequence[tuple[float, float]], starts: Sequence[float]) -> list[float]:
    return [sum(units for at, units in consumed if start < at <= start + WINDOW_SECONDS) for start in starts]


@given(
    st.lists(st.tuples(st.integers(0, 480).map(lambda eighths: eighths / 8), st.integers(1, 50)), min_size=1, max_size=60),
    st.sampled_from([0.0, 7.5]),
)
def test_no_window_consumes_more_or_less_than_those_that_are_looked_at(consumed: list[tuple[float, float]], since: float) -> None:
    last = max(at for at, _ in consumed)
    found = list(pacing.windows(consumed, since))
    starts = [since + step * 0.25 for step in range(240) if since + step * 0.25 + WINDOW_SECONDS <= last]

    assert bool(found) == (last - WINDOW_SECONDS >= since)
    for total in windows_of(consumed, starts):
        assert min(found) <= total <= max(found)


def test_the_time_that_is_told_after_a_tenth_is_held_against_what_it_took() -> None:
    told = [(5.0, 90, 1.0), (10.0, 100, 99.0), (20.0, 200, 80.0)]

    assert pacing.left_error(done(per_second=10, told=told)) == pytest.approx(0.1)
    assert pacing.left_error(done(per_second=10, told=[(10.0, 100, None)])) == 1


def test_a_paced_replay_is_held_against_its_limit() -> None:
    consumed = [(second / 10, 9.5 if second > 300 else 1.0) for second in range(1000)]
    found = pacing.figures([done(per_second=10, consumed=consumed, told=[(10.0, 100, 90.0)])], 100.0)

    assert [measure.samples for measure in found[:3]] == [[pytest.approx(0.95, rel=0.02)], [pytest.approx(0.95, rel=0.02)], [0]]
    assert all(measure.holds for measure in found[:3])


def test_the_largest_item_of_a_paced_replay_is_a_hundredth_of_ten_seconds() -> None:
    found = pacing.item_sizes(5_000, seed=1)

    assert max(found) / 1000 == pacing.WINDOW_SECONDS * pacing.LIMIT / 100
    assert 50 < found.count(max(found)) < 150
    assert pacing.item_sizes(5_000, seed=2) != found


def test_time_is_linear_when_many_items_take_no_longer_each_and_memory_is_that_over_the_start() -> None:
    rounds = [
        {10: done(100, peak_bytes=30_000_100), 1000: done(80, peak_bytes=50_000_100)},
        {10: done(100, peak_bytes=10), 1000: done(100, peak_bytes=200)},
    ]

    ratio, memory, *_ = sizes.figures(rounds)

    assert ratio.samples == [1.25, 1]
    assert memory.samples == [50, pytest.approx(1e-4)]


def test_items_have_the_size_that_was_asked_for() -> None:
    entry = table.item(next(table.days()), 7, 5_000)

    assert abs(sum(len(name) + len(*value.values()) for name, value in entry.items()) - 5_000) < 50


def test_tables_go_between_their_markers_with_the_client_that_was_measured(tmp_path: Any) -> None:
    write_benchmark(tmp_path / "replay_pace.json", "replay_pace", [Measure("x", "ratio", [0.95], ">= 0.9")])
    page = tmp_path / "page.md"
    page.write_text("<!-- figures: replay_pace -->\nold\n<!-- /figures -->\n")

    assert report.main(tmp_path, tmp_path, tmp_path / "x.png") == 0
    assert "| x | 0.95 |  | >= 0.9 | yes |" in page.read_text()
    assert "boto3 1." in page.read_text()


def test_without_figures_there_is_nothing_to_report(tmp_path: Any, capsys: Any) -> None:
    assert report.main(tmp_path, tmp_path, tmp_path / "x.png") == 1
    assert "make bench NAME=replay" in capsys.readouterr().err

"""How benchmarks turn what they saw into figures, keep them and say what they mean."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import charts, runs
from benchmarks.rounds import Round
from benchmarks.waiting import Content, Wait
from benchmarks.waits import FIXED, OURS, RATIO, overheads
from local.results import Measure, write_benchmark
from local.simulators.packages.model import Transition

CONTENT = Content("F1", "0" * 64, "v2")


def package(time: float, after: str, version: str, id: str = "F1") -> Transition:
    return Transition(time, id, None, None, after, version)


def association(time: float, after: str, version: str, domain: str = "search") -> Transition:
    return Transition(time, "F1", domain, None, after, version)


HISTORY = [
    package(1, "AVAILABLE", "v1"),
    package(2, "COPYING", "v1"),
    package(12, "VALIDATING", "v1"),
    package(17, "AVAILABLE", "v2"),
    package(18, "AVAILABLE", "v2", id="F2"),
    association(20, "ASSOCIATING", "v1"),
    association(64, "ACTIVE", "v2", domain="other"),
    association(65, "ACTIVE", "v2"),
]


@pytest.mark.parametrize(("domain", "changed_at"), [(None, 17), ("search", 65)])
def test_a_wait_is_as_late_as_the_change_of_its_own_package_domain_and_version(domain: str | None, changed_at: float) -> None:
    assert Wait(CONTENT, domain, seen_at=70.0, requests=1).late(HISTORY) == 70 - changed_at


def test_a_wait_for_what_never_came_has_no_overhead() -> None:
    with pytest.raises(ValueError, match="found 0"):
        Wait(Content("F1", "0" * 64, "v3"), None, 70.0, 1).late(HISTORY)


def test_rounds_are_compared_pair_by_pair_over_all_their_waits() -> None:
    def round_(late: float) -> Round:
        return Round(60.0, (Wait(CONTENT, None, 17 + late, 1),), (Wait(CONTENT, "search", 65 + late, 1),))

    measures = {m.name: m for m in overheads({OURS: [round_(1), round_(2)], FIXED: [round_(10), round_(4)]}, HISTORY)}

    assert measures[RATIO].samples == [0.1, 0.5]
    assert measures[RATIO].holds is True


def test_a_gap_between_tasks_begins_at_the_last_end_before_it() -> None:
    spans = [(0.0, 2.0, "plan"), (3.0, 9.0, "verify"), (3.5, 5.0, "open_indexes"), (9.25, 10.0, "plan")]

    assert runs.gaps(spans) == [1.0, 1.5, 0.25]


def test_the_service_is_at_work_from_the_first_state_in_transit_to_rest() -> None:
    work = runs.service_work(HISTORY)

    assert work == [(2, 17), (20, 65)]
    assert runs.overlap(work, 10, 30) == 7 + 10


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "DIRECTORY", tmp_path / "bench")
    write_benchmark(tmp_path / "bench" / "x.json", "x", [Measure("old", "s", [1])])

    def run(benchmark: Any) -> tuple[int, str]:
        monkeypatch.setattr(command, "BENCHMARKS", {"x": benchmark})
        out = io.StringIO()
        return command.run(Console(file=out, width=200), "x"), out.getvalue()

    return run


def test_a_missed_goal_is_said_and_is_no_failure(run: Any, tmp_path: Path) -> None:
    code, said = run(lambda _: [Measure("late", "s", [2, 3], "<= 1"), Measure("calls", "calls", [4], "<= 4")])

    assert code == 0
    assert "1 of 2 goals missed: late" in said
    assert "MISSED" in said
    assert [m["holds"] for m in json.loads((tmp_path / "bench" / "x.json").read_text())["measures"]] == [False, True]


def test_a_benchmark_that_can_not_run_fails_and_leaves_no_older_figures(run: Any, tmp_path: Path) -> None:
    def broken(directory: Path) -> Sequence[Measure]:
        raise RuntimeError("no engine")

    code, said = run(broken)

    assert code == 1
    assert "no engine" in said
    assert not (tmp_path / "bench" / "x.json").exists()


def figures() -> Mapping[str, Any]:
    names = [
        charts.overhead_name(what, name) for what in (charts.PACKAGE, charts.ASSOCIATION, charts.ROUND) for name in (OURS, FIXED)
    ]
    measures = [{"name": name, "samples": [1.0, 2.0 + place, 3.5], "median": 2.0 + place} for place, name in enumerate(names)]
    return {"measures": [*measures, {"name": RATIO, "samples": [0.2, 0.3], "median": 0.25, "goal": "<= 0.333"}]}


def test_the_chart_shows_every_sample_within_the_picture_and_says_the_medians() -> None:
    root = ElementTree.fromstring(charts.svg(figures()))  # noqa: S314 - our own text
    space = "{http://www.w3.org/2000/svg}"
    dots = [float(dot.attrib["cx"]) for dot in root.iter(f"{space}circle")]
    words = [element.text or "" for element in root.iter(f"{space}text")]

    assert len(dots) == 6 * 3
    assert charts.LEFT < min(dots) <= max(dots) < charts.RIGHT
    assert {"2.0 s", "7.0 s"} <= set(words)
    assert any("0.25" in word for word in words)

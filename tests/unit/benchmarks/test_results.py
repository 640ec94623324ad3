"""The files that a demo and a benchmark leave, in the formats that others read."""

from __future__ import annotations

import json
import math
import operator
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.results import Act, Measure, meets, write_benchmark, write_demo

COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}
numbers = st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e12, 1e12))
signs = st.sampled_from(sorted(COMPARISONS))


@given(numbers, signs, numbers)
def test_a_goal_compares_as_it_reads(value: float, sign: str, limit: float) -> None:
    assert meets(value, f"{sign} {limit}") is COMPARISONS[sign](value, float(limit))


@given(numbers, signs)
def test_a_value_at_the_limit_meets_the_goals_that_include_it(limit: float, sign: str) -> None:
    assert meets(float(limit), f"{sign} {limit}") is ("=" in sign)


@given(st.text().filter(lambda text: text.partition(" ")[0] not in COMPARISONS))
def test_a_goal_without_a_comparison_is_refused_with_what_was_expected(goal: str) -> None:
    with pytest.raises(ValueError, match="expected one of <=, >=, <, >, =="):
        meets(1.0, goal)


@pytest.mark.parametrize("goal", ["<=", "<= ", "<= a third", "<=0.33", "≤ 1", "<= 1 s", "<= nan", "0.33"])
def test_a_goal_without_a_number_is_refused(goal: str) -> None:
    with pytest.raises(ValueError, match="goal"):
        meets(1.0, goal)


@given(st.lists(numbers, min_size=1), st.none() | st.builds("{} {}".format, signs, numbers))
def test_a_measure_holds_when_its_median_meets_the_goal_and_says_nothing_without_one(
    samples: list[float], goal: str | None
) -> None:
    measure = Measure("x", "s", samples, goal)

    assert measure.median == statistics.median(samples)
    assert measure.holds is (None if goal is None else meets(measure.median, goal))


def test_a_measure_without_samples_is_refused() -> None:
    with pytest.raises(statistics.StatisticsError):
        Measure("x", "s", [])


def read(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@settings(max_examples=25)  # each reads the versions of installed packages
@given(samples=st.lists(numbers, min_size=1, max_size=5))
def test_a_benchmark_is_read_back_with_exactly_the_agreed_keys(
    tmp_path_factory: pytest.TempPathFactory, samples: list[float]
) -> None:
    path = tmp_path_factory.mktemp("bench") / "deeper" / "waits.json"

    write_benchmark(path, "waits", [Measure("with", "ratio", samples, "<= 0.333"), Measure("without", "s", tuple(samples))])

    found = read(path)
    assert set(found) == {"name", "machine", "versions", "measures"}
    assert found["name"] == "waits"
    assert found["versions"]["apache-airflow"]
    assert found["machine"]["cores"] >= 1
    goal, none = found["measures"]
    assert set(goal) == set(none) == {"name", "unit", "samples", "median", "goal", "holds"}
    assert goal["samples"] == none["samples"] == samples
    assert goal == {**goal, "goal": "<= 0.333", "holds": statistics.median(samples) <= 0.333}
    assert none == {**none, "goal": None, "holds": None}


@pytest.mark.parametrize("sample", [math.nan, math.inf, -math.inf])
def test_a_figure_that_json_can_not_hold_is_refused_and_the_earlier_file_stays(tmp_path: Path, sample: float) -> None:
    path = tmp_path / "waits.json"
    write_benchmark(path, "waits", [Measure("x", "s", [1])])

    with pytest.raises(ValueError, match="not JSON compliant"):
        write_benchmark(path, "waits", [Measure("x", "s", [sample])])

    assert read(path)["measures"][0]["samples"] == [1]


def test_the_demo_is_read_back_with_exactly_the_agreed_keys(tmp_path: Path) -> None:
    path = tmp_path / "build" / "demo.json"

    write_demo(path, "searchops", [Act("1 new words go live", True, 12.5, {"a word": "東京スカイツリー"})])

    act = {"name": "1 new words go live", "passed": True, "seconds": 12.5, "facts": {"a word": "東京スカイツリー"}}
    assert read(path) == {"name": "searchops", "acts": [act]}


def test_nothing_but_the_finished_file_is_left(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "waits.json", "waits", [Measure("x", "s", [1])])

    assert [file.name for file in tmp_path.iterdir()] == ["waits.json"]

"""Which runs Airflow makes of a backfill and of the form, by its own code and database; tests/system/test_replays.py runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.airflow import create_stack
from local.cloud import ROOT

TASKS = ["plan", "replay.reconcile", "replay.touch"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    base = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SEARCHOPS"))}
    stack = create_stack(tmp_path_factory.mktemp("backfills"), ROOT / "dags", ROOT / "plugins", base)
    python = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}
    environment = {**stack.environment, **python, "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}

    def run(*command: str) -> str:
        done = subprocess.run(command, env=environment, cwd=stack.home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    if not stack.restore_database():
        run(str(Path(sys.executable).with_name("airflow")), "db", "migrate")
    output = run(sys.executable, "-m", "tests.integration.replay.airflow_database")
    return dict(json.loads(output.splitlines()[-1]))


def starts(runs: list[dict[str, Any]]) -> list[str]:
    return [run["start"] for run in runs]


def test_nothing_is_ever_scheduled_and_it_is_not_paused_where_new_dags_are(found: dict[str, Any]) -> None:
    expected = {"is_paused": False, "next": None, "schedule": "backfill only, 0 0 * * *"}

    assert found["dag"] == found["dag afterwards"] == expected


def test_a_backfill_is_a_run_with_all_tasks_for_each_day_of_the_range(found: dict[str, Any]) -> None:
    runs = found["three days"]

    assert starts(runs) == [f"2026-11-{day}T15:00:00+00:00" for day in (10, 11, 12)]
    assert [(run["type"], run["tasks"], run["conf"]) for run in runs] == [("backfill", TASKS, {"dry_run": True})] * 3


def test_all_runs_alone_does_a_day_again_that_was_done(found: dict[str, Any]) -> None:
    assert (starts(found["none"]), starts(found["failed"])) == ([], [])
    assert starts(found["completed"]) == ["2026-11-10T15:00:00+00:00"]
    assert starts(found["failed, of a failed run"]) == ["2026-11-10T15:00:00+00:00"]


def test_a_run_that_is_done_again_keeps_its_parameters_unless_they_are_given(found: dict[str, Any]) -> None:
    assert [run["conf"] for run in found["completed"]] == [{"dry_run": True}]
    assert [run["conf"] for run in found["completed, with parameters"]] == [{"dry_run": False}]


def test_a_range_that_is_given_in_utc_begins_with_the_day_that_begins_next_in_tokyo(found: dict[str, Any]) -> None:
    assert starts(found["in UTC"]) == ["2026-10-01T15:00:00+00:00", "2026-10-02T15:00:00+00:00"]


def test_a_run_that_the_form_triggers_for_the_present_time_has_all_tasks(found: dict[str, Any]) -> None:
    assert (found["form"]["type"], found["form"]["tasks"]) == ("manual", TASKS)

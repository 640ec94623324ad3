"""Every failure reaches a person once a run, however it came about."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from local.demo.acts import Run
from tests.system.company import Company
from tests.system.stories import REFUSALS, Stories

Failed = Mapping[str, Run]


@pytest.fixture(scope="module")
def failed(stories: Stories) -> Failed:
    runs: Failed = stories["failing"].result()
    return runs


@pytest.mark.parametrize("dag_id", ["process_dies", "worker_dies"])
def test_a_killed_task_is_told_once_as_a_process_that_died(company: Company, failed: Failed, dag_id: str) -> None:
    run = failed[dag_id]

    assert run.failed() == ["killed"]
    [message] = company.told(run.run_id)
    assert "killed" in message
    assert "the process died" in message


def test_twelve_failed_tasks_are_told_in_one_message(company: Company, failed: Failed) -> None:
    run = failed["twelve_fail"]

    assert len(run.failed()) == 12
    [message] = company.told(run.run_id)
    assert "12 tasks failed" in message
    assert "number 0 is wrong" in message
    assert "the process died" not in message


def test_a_slack_that_fails_at_first_gets_the_messages_later(company: Company, failed: Failed) -> None:
    assert company.slack is not None
    for run in failed.values():
        company.told(run.run_id)

    assert [call["status"] for call in company.slack.calls()].count(500) == REFUSALS

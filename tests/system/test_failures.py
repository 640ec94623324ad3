"""Every failure reaches a person once a run, however it came about."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from local.demo.acts import Run
from local.simulators.slack import Fault
from tests.system.company import Company

REFUSALS = 3


@pytest.fixture(scope="module")
def failed(company: Company) -> Mapping[str, Run]:
    """Runs of the DAGs that fail, while Slack takes nothing at first."""
    assert company.slack is not None
    company.slack.fail(Fault(count=REFUSALS, status=500))
    started = {dag_id: company.airflow.trigger(dag_id) for dag_id in ("worker_dies", "process_dies", "twelve_fail")}
    return {dag_id: company.finish_dag(dag_id, run_id) for dag_id, run_id in started.items()}


@pytest.mark.parametrize("dag_id", ["process_dies", "worker_dies"])
def test_a_killed_task_is_told_once_as_a_process_that_died(company: Company, failed: Mapping[str, Run], dag_id: str) -> None:
    run = failed[dag_id]

    assert run.failed() == ["killed"]
    [message] = company.told(run.run_id)
    assert "killed" in message
    assert "the process died" in message


def test_twelve_failed_tasks_are_told_in_one_message(company: Company, failed: Mapping[str, Run]) -> None:
    run = failed["twelve_fail"]

    assert len(run.failed()) == 12
    [message] = company.told(run.run_id)
    assert "12 tasks failed" in message
    assert "number 0 is wrong" in message
    assert "the process died" not in message


def test_a_slack_that_fails_at_first_gets_the_messages_later(company: Company, failed: Mapping[str, Run]) -> None:
    assert company.slack is not None
    for run in failed.values():
        company.told(run.run_id)

    assert [call["status"] for call in company.slack.calls()].count(500) == REFUSALS

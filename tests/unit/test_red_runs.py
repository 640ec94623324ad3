"""Airflow calls a run successful when the last task of every path is; the tasks that a plan skips must not hide a failure there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations

import pytest
from airflow.sdk import DAG, TriggerRule

from searchops.inventory import Domain, inventory
from searchops.task_groups.dictionary import STEPS, sync_dictionary

BEFORE: tuple[tuple[str, ...], ...] = (("publish", "associate"), ("associate",), ())
AFTER = ("apply", "reopen", "rebuild", "report")


def plans() -> Iterator[tuple[str, ...]]:
    """The steps that a plan can find to do."""
    yield ("drift",)
    for before in BEFORE:
        for count in range(len(AFTER) + 1):
            yield from (before + after for after in combinations(AFTER, count))


@pytest.fixture(scope="module")
def dag() -> DAG:
    domain = inventory().domains["products-search"]
    assert isinstance(domain, Domain)
    with DAG(dag_id="red", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        sync_dictionary(domain, domain.packages[0])
    return dag


@pytest.mark.parametrize("steps", plans(), ids=lambda steps: "+".join(steps) or "nothing")
def test_whichever_task_fails_the_run_is_red(dag: DAG, steps: Sequence[str]) -> None:
    group = next(iter(dag.task_group.children))
    needed = {f"{group}.{task}" for step in steps for task in STEPS[step]}

    green = states(dag, group, needed, failing="")
    assert is_red(dag, green) is False
    for failing in [f"{group}.plan", *needed]:
        assert is_red(dag, states(dag, group, needed, failing)), f"{failing} fails and the run is green"


def states(dag: DAG, group: str, needed: set[str], failing: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    waiting = {task.task_id: task for task in dag.tasks}
    while waiting:
        task = next(task for task in waiting.values() if task.upstream_task_ids <= found.keys())
        before = {found[task_id] for task_id in task.upstream_task_ids}
        setups_fine = all(found[setup.task_id] == "success" for setup in task.get_upstreams_only_setups())
        # The plan skips what is not needed, but only when it succeeds.
        if task.task_id not in {*needed, f"{group}.plan"} and found[f"{group}.plan"] == "success":
            state = "skipped"
        elif task.trigger_rule is TriggerRule.ALL_DONE_SETUP_SUCCESS:
            state = "success" if setups_fine else "upstream_failed"
        elif before & {"failed", "upstream_failed"}:
            state = "upstream_failed"
        elif task.trigger_rule is TriggerRule.ALL_SUCCESS and "skipped" in before:
            state = "skipped"
        else:
            state = "success"
        found[task.task_id] = "failed" if task.task_id == failing and state == "success" else state
        del waiting[task.task_id]
    assert failing in ("", *(task for task, state in found.items() if state == "failed"))
    return found


def is_red(dag: DAG, found: Mapping[str, str]) -> bool:
    """As ``DagRun.update_state`` of airflow-core 3.3 decides it once all tasks have ended."""
    leaves = [
        task
        for task in dag.tasks
        if all(below.is_teardown and not below.on_failure_fail_dagrun for below in task.downstream_list)
        and (not task.is_teardown or task.on_failure_fail_dagrun)
    ]
    return any(found[task.task_id] in ("failed", "upstream_failed") for task in leaves)

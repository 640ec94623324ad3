"""Airflow calls a run successful when the last task of every path is; the tasks that a plan skips must not hide a failure there.

Every way through a run is tried: what each plan can find, and each subset of its tasks that fails. What a failure does to the tasks after it, and
which tasks decide the run's state, is asked of Airflow's own scheduler code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.dep_context import DepContext
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep
from airflow.utils.state import State

from searchops.core.dictionary.model import Remedy
from searchops.core.dictionary.plan import Plan, Step
from searchops.core.dictionary.sync import Decision
from searchops.inventory import Domain, inventory, project_root
from searchops.task_groups.dictionary import STEPS, sync_dictionary

FIRST = "user-dictionary"

# Private, but the one place where Airflow says which tasks decide a run's state.
_tis_for_dagrun_state: Any = DagRun._tis_for_dagrun_state


@pytest.fixture
def one() -> DAG:
    domain = inventory().domains["products-search"]
    assert isinstance(domain, Domain)
    with DAG(dag_id="one", schedule=None) as dag:
        sync_dictionary(domain, domain.packages[0])
    return dag


@pytest.fixture
def two() -> DAG:
    return DagBag(project_root() / "dags" / "dictionary_sync.py").dags["dictionary_sync_products-search"]


@pytest.fixture(params=[1, 2], ids=["one dictionary", "two dictionaries"])
def dag(request: pytest.FixtureRequest) -> DAG:
    dag: DAG = request.getfixturevalue({1: "one", 2: "two"}[request.param])
    assert sum(task.label == "plan" for task in dag.tasks) == request.param
    return dag


def test_whichever_tasks_fail_the_run_is_red_and_it_is_green_otherwise(dag: DAG) -> None:
    for end in ends(dag):
        assert end.red == bool(end.failing), end


@pytest.mark.parametrize("before", ["wait_for_domain", "apply"])
def test_without_an_edge_into_verify_a_failure_would_go_unseen(dag: DAG, before: str) -> None:
    hidden = f"{FIRST}.{before}"
    cut(dag, hidden, f"{FIRST}.verify")

    assert [end for end in ends(dag) if end.failing == {hidden} and not end.red]


def test_without_a_teardown_that_can_fail_the_run_an_index_that_stays_closed_would_go_unseen(one: DAG) -> None:
    teardown: Any = one.get_task(f"{FIRST}.open_indexes")
    teardown.on_failure_fail_dagrun = False

    assert [end for end in ends(one) if end.failing == {teardown.task_id} and not end.red]


def cut(dag: DAG, before: str, after: str) -> None:
    dag.get_task(before).downstream_task_ids.remove(after)
    dag.get_task(after).upstream_task_ids.remove(before)


# -- every way through a run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How far a run has come: the states that tasks yet to come look at, whether it will be red, and one example of how it came there."""

    states: frozenset[tuple[str, str]]
    red: bool
    failing: frozenset[str]
    found: tuple[tuple[str, ...], ...]  # what the plans found to do, a plan each


class TaskInstance:
    """As much of one as Airflow's rules look at."""

    map_index = -1

    def __init__(self, task: Any, state: str | None = None) -> None:
        self.task, self.task_id, self.state = task, task.task_id, state

    def get_dagrun(self, session: None) -> None:
        return None

    def set_state(self, state: Any, session: None) -> bool:
        self.state = state.value
        return True


def ends(dag: DAG) -> list[Way]:
    """Every end of a run, those that tasks yet to come can not tell apart taken together, with an example of each."""
    airflows: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag))  # as the scheduler has it
    waiting = {task.task_id: task for task in airflows.tasks}
    tis = [TaskInstance(task) for task in waiting.values()]
    deciding = {ti.task_id for ti in _tis_for_dagrun_state(None, dag=airflows, tis=tis)}
    ways = [Way(frozenset(), False, frozenset(), ())]
    while waiting:
        task = next(task for task in waiting.values() if not task.upstream_task_ids & waiting.keys())
        del waiting[task.task_id]
        looked_at = waiting.keys() | {before for later in waiting.values() for before in later.upstream_task_ids}
        merged: dict[Any, Way] = {}
        for way in chain.from_iterable(on(task, way, airflows.get_task) for way in ways):
            states = dict(way.states)
            red = way.red or (task.task_id in deciding and states[task.task_id] in State.failed_states)
            kept = frozenset((task_id, state) for task_id, state in states.items() if task_id in looked_at)
            # One failure is told from another; of several, one example is kept.
            failing = way.failing if len(way.failing) <= 1 else "several"
            merged.setdefault((kept, red, failing), replace(way, states=kept, red=red))
        ways = list(merged.values())
    return ways


def on(task: Any, way: Way, get_task: Callable[[str], Any]) -> Iterator[Way]:
    """The ways on from here: the task does not run, it fails, or it succeeds, a plan with each thing that it can find."""
    states = dict(way.states)
    if task.task_id in states:  # a plan skipped it
        yield way
    elif state := state_without_running(task, states, get_task):
        yield replace(way, states=way.states | {(task.task_id, state)})
    else:
        failing = way.failing | {task.task_id}
        yield replace(way, states=way.states | {(task.task_id, "failed")}, failing=failing)
        done = replace(way, states=way.states | {(task.task_id, "success")})
        if task.label != "plan":
            yield done
            return
        for steps, names in plans().items():
            skipped = {f"{task.task_group.group_id}.{name}" for name in {*chain(*STEPS.values())} - names}
            yield replace(done, states=done.states | {(name, "skipped") for name in skipped}, found=(*way.found, steps))


def state_without_running(task: Any, states: Mapping[str, str], get_task: Callable[[str], Any]) -> str | None:
    """The state that Airflow's trigger rules give the task, None when it is to run."""
    ti: Any = TaskInstance(task)
    finished: Any = [TaskInstance(get_task(name), state) for name, state in states.items()]
    no_session: Any = None  # it is needed for mapped tasks only
    context = DepContext(flag_upstream_failed=True, finished_tis=finished)
    statuses = list(TriggerRuleDep().get_dep_statuses(ti, context, session=no_session))
    assert ti.state or all(status.passed for status in statuses), f"{task.task_id} waits for ever: {statuses}"
    return str(ti.state) if ti.state else None


def plans() -> Mapping[tuple[str, ...], Set[str]]:
    """The tasks that a plan leaves to do, by the steps that it can find; none in a dry run or for a dictionary that was not chosen."""
    remedies = list(chain.from_iterable(combinations(Remedy, count) for count in range(len(Remedy) + 1)))
    found: dict[tuple[str, ...], Set[str]] = {(): frozenset()}
    for step in Step:
        for needed in remedies:
            decision = Decision(Plan(step, ""), "f", "F1", "v1", index_use={remedy.value: ["items"] for remedy in needed})
            steps = [step.value for step in decision.steps] + ["reopen"] * (Remedy.REOPEN in needed)
            found[tuple(steps)] = {name for step_name in steps for name in STEPS.get(step_name, ())}
    return found

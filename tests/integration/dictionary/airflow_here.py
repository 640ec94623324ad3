"""Runs a DAG of the project in this process, task by task: Airflow's own rendering, trigger rules and retries, without a scheduler."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, BaseOperator, RetryAction, TriggerRule
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.sdk.execution_time.context import OutletEventAccessors

from local.cloud import ROOT
from searchops.hooks.dictionary import DomainClients
from searchops.operators.dictionary import DictionaryOperator

RETRY_SECONDS = 0.2
"""In place of the product's 30 s, as the simulator's clock is faster than AWS's."""

_numbers = itertools.count(1)
_PARSING = threading.Lock()  # a DagBag keeps what it parses in globals


@dataclass(slots=True, repr=False)
class Run:
    """What became of a DAG run. ``states`` holds success, failed, upstream_failed or skipped by task id.

    ``leaves`` are the tasks by which Airflow judges a run: it is as red as the last task of each path.
    """

    leaves: frozenset[str] = frozenset()
    states: dict[str, str] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    asset_events: list[Mapping[str, Any]] = field(default_factory=list)
    clients: DomainClients | None = None

    @property
    def green(self) -> bool:
        green = not any(self.states[leaf] in ("failed", "upstream_failed") for leaf in self.leaves)
        assert green is not bool(self.errors), f"Airflow would call this run {'green' if green else 'red'}: {self}"
        return green

    @property
    def failed(self) -> list[str]:
        return sorted(self.errors)

    @property
    def done(self) -> list[str]:
        """The tasks that did something, in their order."""
        return [task_id for task_id, state in self.states.items() if state == "success"]

    def value(self, task_id: str) -> Any:
        return self.xcoms.get((task_id, "return_value"))

    def error(self, task_id: str) -> str:
        return str(self.errors[task_id])

    def __repr__(self) -> str:
        return "; ".join([*(f"{task}: {state}" for task, state in self.states.items()), *map(repr, self.errors.values())])


class _TaskInstance:
    """As much of a task instance as operators and templates use."""

    def __init__(self, run: Run, task: BaseOperator, run_id: str, try_number: int) -> None:
        self._run = run
        self.task = task
        self.task_id, self.dag_id, self.run_id = task.task_id, task.dag_id, run_id
        self.map_index, self.try_number = -1, try_number

    def xcom_push(self, key: str, value: Any) -> None:
        self._run.xcoms[self.task_id, key] = value

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self._run.xcoms.get((task_ids, key))

    def get_task_states(self, dag_id: str, run_ids: Sequence[str], task_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return {self.run_id: {task_id: self._run.states[task_id] for task_id in task_ids if task_id in self._run.states}}


def run_domain(domain: str, before: Mapping[str, Callable[[], object]] | None = None, **params: Any) -> Run:
    """Run ``dictionary_sync_<domain>`` of the installed inventory.

    :param before: what happens right before a task's first try
    :param params: of the DAG, in place of their defaults
    """
    with _PARSING:
        bag = DagBag(ROOT / "dags" / "dictionary_sync.py")
    assert bag.import_errors == {}
    dag = bag.dags[f"dictionary_sync_{domain}"]
    events = before or {}
    assert set(events) <= set(dag.task_ids)
    values = {name: dag.params[name] for name in dag.params} | params
    return _run(dag, values, f"here__{next(_numbers)}", events)


def _run(dag: DAG, params: Mapping[str, Any], run_id: str, before: Mapping[str, Callable[[], object]]) -> Run:
    run = Run(frozenset(task.task_id for task in dag.tasks if _is_leaf(task)))
    waiting = list(dag.tasks)
    while waiting:
        task = next(task for task in waiting if task.upstream_task_ids <= run.states.keys())
        waiting.remove(task)
        # What an earlier task skipped has its state already.
        state = run.states.pop(task.task_id, None) or _before(task, run.states)
        if state is None:
            before.get(task.task_id, lambda: None)()
            state = _execute(task, run, params, run_id)
        run.states[task.task_id] = state
    return run


def _is_leaf(task: BaseOperator) -> bool:
    """As in Airflow's ``DagRun._tis_for_dagrun_state``: a teardown counts where it is told to, and hides nothing before it otherwise."""
    counts = [not task.is_teardown or task.on_failure_fail_dagrun for task in (task, *task.downstream_list)]
    return counts[0] and not any(counts[1:])


def _before(task: BaseOperator, states: Mapping[str, str]) -> str | None:
    """The state that a task gets from those before it, None when it runs."""
    before = {task_id: states[task_id] for task_id in task.upstream_task_ids}
    broken = any(state in ("failed", "upstream_failed") for state in before.values())
    match task.trigger_rule:
        case TriggerRule.NONE_FAILED:
            return "upstream_failed" if broken else None
        case TriggerRule.ALL_SUCCESS:
            return "upstream_failed" if broken else "skipped" if "skipped" in before.values() else None
        case TriggerRule.ALL_DONE_SETUP_SUCCESS:
            setups = [states[other.task_id] for other in task.get_upstreams_only_setups()]
            return None if all(state == "success" for state in setups) else "upstream_failed"
    raise NotImplementedError(task.trigger_rule)


def _execute(task: BaseOperator, run: Run, params: Mapping[str, Any], run_id: str) -> str:
    for try_number in itertools.count(1):
        run.tries[task.task_id] = try_number
        try:
            _try(task.prepare_for_execution(), run, params, run_id, try_number)
        except DownstreamTasksSkipped as skipped:
            run.states |= {str(task_id): "skipped" for task_id in skipped.tasks}
            return "success"
        except Exception as error:
            if not _is_tried_again(task, error, try_number):
                run.errors[task.task_id] = error
                return "failed"
            time.sleep(RETRY_SECONDS)
        else:
            return "success"
    raise AssertionError


def _try(task: BaseOperator, run: Run, params: Mapping[str, Any], run_id: str, try_number: int) -> None:
    ti = _TaskInstance(run, task, run_id, try_number)
    events = OutletEventAccessors()
    context: Any = {"ti": ti, "task_instance": ti, "task": task, "params": params, "run_id": run_id, "outlet_events": events}
    if isinstance(task, DictionaryOperator):
        task.deferrable = False
        # A task of Airflow makes its own, which takes longer than what it does with them.
        run.clients = task.__dict__["clients"] = run.clients or task.clients
    task.render_template_fields(context)
    # What the task runner passes so that an operator runs in a task only.
    value = task.execute(context, **{f"{type(task).__name__}__sentinel": ExecutorSafeguard.sentinel_value})
    ti.xcom_push("return_value", value)
    for alias in task.outlets:
        run.asset_events += [{"asset": event.dest_asset_key.name, **event.extra} for event in events[alias].asset_alias_events]


def _is_tried_again(task: BaseOperator, error: Exception, try_number: int) -> bool:
    action = RetryAction.DEFAULT
    if task.retry_policy is not None:
        action = task.retry_policy.evaluate(error, try_number, task.retries).action
    return action is not RetryAction.FAIL and try_number <= task.retries


def tasks(group: str, names: Sequence[str]) -> list[str]:
    return [f"{group}.{name}" for name in names]

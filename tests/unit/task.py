"""As much of a running task as an operator uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.context import OutletEventAccessors

from searchops.operators.dictionary import run_here


class TaskInstance:
    """Keeps what is pushed; ``states`` is what Airflow tells of the run's tasks."""

    dag_id, run_id, map_index = "dictionary_sync_products", "manual__1", -1

    def __init__(self, task: BaseOperator, *, try_number: int = 1, states: Mapping[str, str] | None = None) -> None:
        self.task, self.task_id, self.try_number = task, task.task_id, try_number
        self.states = dict(states or {})
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get_task_states(self, dag_id: str, run_ids: list[str], task_ids: list[str]) -> Mapping[str, Mapping[str, str]]:
        return {self.run_id: {task_id: state for task_id, state in self.states.items() if task_id in task_ids}}


class Running:
    """A task of a test, run step by step as Airflow does it."""

    def __init__(self, task: BaseOperator, **ti: Any) -> None:
        self.task, self.ti = task, TaskInstance(task, **ti)
        self.outlet_events = OutletEventAccessors()
        self.context: Any = {"ti": self.ti, "task": task, "outlet_events": self.outlet_events}

    def execute(self) -> Any:
        return self.task.execute(self.context, **{f"{type(self.task).__name__}__sentinel": ExecutorSafeguard.sentinel_value})

    def deferred(self) -> TaskDeferred:
        """Execute a task that is going to wait."""
        try:
            value = self.execute()
        except TaskDeferred as deferred:
            return deferred
        raise AssertionError(f"the task did not wait, it returned {value}")

    def resumed(self, deferred: TaskDeferred, event: Mapping[str, Any] | None) -> Any:
        return getattr(self.task, deferred.method_name)(self.context, event=event, **(deferred.kwargs or {}))

    def to_the_end(self) -> Any:
        """Execute, with every wait in this process."""
        step: Any = self.execute
        while True:
            try:
                return step()
            except TaskDeferred as deferred:
                event, pending = run_here(deferred.trigger), deferred

                def step(event: Any = event, pending: TaskDeferred = pending) -> Any:
                    return self.resumed(pending, event)

    @contextmanager
    def fails(self, family: type[Exception]) -> Iterator[Any]:
        with pytest.raises(family) as caught:
            yield caught

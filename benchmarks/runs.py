"""What whole runs of the DAG cost besides the service's work: a full sync, and one that finds nothing to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.environment import client_of
from local.demo.acts import PACKAGES, WRITES, Run, run
from local.demo.world import DOMAIN, World, demo_cloud
from local.results import Measure
from local.simulators.packages.model import Transition

SPEED = 5
"""Of the simulator: what Airflow and the tasks themselves take is measured here. At 20 a version is available before the scheduler has noted that its
task was deferred; it then tries that task again, which does not happen in the times of the service."""
IN_TRANSIT = ("COPYING", "VALIDATING", "ASSOCIATING")
STEPS = ("plan", "publish", "associate", "wait_for_domain", "apply", "verify", "open_indexes")


def measure(directory: Path) -> list[Measure]:
    with demo_cloud(directory) as cloud:
        world = World(cloud)
        world.furnish()
        world.packages.speed(SPEED)
        full = run(world)
        full.require("success")
        again = run(world)
        again.require("success")
        tasks = cloud.airflow.task_instances(full.dag_id, full.run_id)
        return [*task_overhead(full, again, tasks, world.packages.transitions()), *unchanged(world)]


def task_overhead(full: Run, again: Run, tasks: Sequence[Mapping[str, Any]], transitions: Sequence[Transition]) -> list[Measure]:
    """Of the tasks that ran: from the end of the task before to the start, and what each took while the service was idle."""
    spans = sorted(
        (_epoch(task["start_date"]), _epoch(task["end_date"]), task["task_id"]) for task in tasks if task["state"] == "success"
    )
    working = service_work(transitions)
    own = {step: [e - b - overlap(working, b, e) for b, e, id in spans if id.rpartition(".")[2] == step] for step in STEPS}
    return [
        Measure("task overhead: from the end of the task before to the start", "s", gaps(spans)),
        *(Measure(f"task overhead: {step} without the service's work", "s", seconds) for step, seconds in own.items() if seconds),
        Measure("task overhead: tasks that were tried again", "tasks", [sum(task["try_number"] > 1 for task in tasks)]),
        Measure(f"full sync of two dictionaries at {SPEED} times the service's pace", "s", [full.seconds]),
        Measure("of it the service at work", "s", [overlap(working, spans[0][0], spans[-1][1])]),
        Measure("run that finds nothing to do", "s", [again.seconds]),
    ]


Span = tuple[float, float]


def gaps(spans: Sequence[tuple[float, float, str]]) -> list[float]:
    """From the last end before a task's start to that start; the first task has no task before it."""
    ends = [end for _, end, _ in spans]
    return [start - max(end for end in ends if end <= start) for start, _, _ in spans if any(end <= start for end in ends)]


def service_work(transitions: Sequence[Transition]) -> list[Span]:
    """When a package or an association was in transit."""
    began: dict[tuple[str, str | None], float] = {}
    spans = []
    for row in transitions:
        key = (row.package_id, row.domain)
        if row.after in IN_TRANSIT:
            began.setdefault(key, row.time)
        elif key in began:
            spans.append((began.pop(key), row.time))
    return spans


def overlap(spans: Sequence[Span], start: float, end: float) -> float:
    return sum(max(0.0, min(end, till) - max(start, since)) for since, till in spans)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def unchanged(world: World) -> list[Measure]:
    """The one task that runs for a dictionary that is live already, here in this process, so that its calls to S3 can be counted too."""
    hostless = '{"conn_type": "opensearch", "extra": {"use_ssl": false}}'  # the endpoint has to be looked up
    with client_of(world.cloud, AIRFLOW_CONN_PRODUCTS_SEARCH=hostless):
        counts = [_plan(world, package) for package in PACKAGES]
    rows = {name: [count[name] for count in counts] for name in counts[0]}
    return [
        Measure("unchanged dictionary: calls to the opensearch API", "calls", rows["api"], "<= 4"),
        Measure("unchanged dictionary: writes", "calls", rows["writes"], "== 0"),
        Measure("unchanged dictionary: deferrals", "deferrals", rows["deferrals"], "== 0"),
        Measure("unchanged dictionary: calls to S3", "calls", rows["s3"]),
        Measure("unchanged dictionary: calls to the node", "calls", rows["node"]),
    ]


def _plan(world: World, package: str) -> dict[str, int]:
    from airflow.sdk.exceptions import TaskDeferred

    from searchops.inventory import load
    from searchops.operators.dictionary import OpenSearchDictionaryPlanOperator

    domain = load(world.project.inventory).domains[DOMAIN]
    operator = OpenSearchDictionaryPlanOperator(task_id="plan", domain=domain.model_dump(mode="json"), package=package)
    requests: list[str] = []
    operator.clients.s3.meta.events.register("before-send", lambda event_name, **_: requests.append(event_name))
    world.packages.reset_calls()
    deferrals = 0
    try:
        context: Any = {"ti": SimpleNamespace(xcom_push=lambda **_: None)}
        planned = operator.execute(context)
        if planned["step"] != "nothing":
            raise RuntimeError(f"expected nothing to do for {package}, found {planned}")
    except TaskDeferred:
        deferrals = 1
    called = world.packages.calls()
    return {
        "api": sum(called.values()),
        "writes": sum(called.get(operation, 0) for operation in WRITES) + sum("Put" in name for name in requests),
        "deferrals": deferrals,
        "s3": len(requests),
        "node": operator.sync.node.calls,
    }

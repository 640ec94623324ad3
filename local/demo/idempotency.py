"""The acts of the idempotency demo: the shipped function in real processes, its claims in DynamoDB Local, objects in moto's S3."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from local.demo.checks import Facts, require
from local.demo.functions import SHORT_LEASE, ObjectFunction, wait_until
from local.demo.world import World
from local.simulators.functions.control import FunctionsControl

TABLE = "searchops-claims"
FILE = "東京タワー, 芝の塔\n".encode()
BAD_FILE = "東京タワー,東京 タワー,トウキョウ タワー\n".encode()  # a user dictionary's entry has four fields


def five_at_once(world: World) -> Facts:
    """The table is made by its DAG; one event comes five times at the same moment."""
    set_up = made(world)
    with deployed(world, "object-once-five") as function:
        event = function.put("five.txt", FILE)
        began = time.monotonic()
        results = function.together(*[event] * 5)
        seconds = time.monotonic() - began
        later = answer(function.together(event)[0])
        answers = Counter(answer(result)["outcome"] for result in results if not result["failed"])
        successes = sum(answers.values())
        runs, effects = function.runs("five.txt"), function.effects("five.txt")
    require(successes == 5, "five successes", results)
    require(answers["done"] == 1, "one of them to have done the work", dict(answers))
    require((runs, len(effects)) == (1, 1), "one run of the work and one effect", (runs, effects))
    require(later["outcome"] == "duplicate", "a later delivery to get the stored result", later)
    return {
        "searchops_setup": set_up,
        "deliveries at the same moment": len(results),
        "successes": successes,
        "answers": dict(answers),
        "runs of the work": runs,
        "effects": effects,
        "a sixth delivery": f"{later['outcome']}, with the result of the first: {later['result']['entries']} entry",
        "seconds with the start of the processes": round(seconds, 1),
    }


def bad_three_times(world: World) -> Facts:
    """An event whose data is refused comes three times."""
    with deployed(world, "object-once-bad") as function:
        event = function.put("bad.csv", BAD_FILE)
        answers = [answer(function.together(event)[0]) for _ in range(3)]
        runs, record = function.runs("bad.csv"), function.record("bad.csv")
    outcomes = [given["outcome"] for given in answers]
    require(outcomes == ["rejected"] * 3, "three answers that it is rejected", outcomes)
    require(runs == 1, "one attempt", runs)
    require(record["status"]["S"] == "FAILED_PERMANENT", "the failure to be recorded for good", record["status"])
    return {
        "answers": outcomes,
        "attempts": runs,
        "recorded": f"{record['status']['S']}: {record['reason']['S']}",
    }


def killed(world: World) -> Facts:
    """A worker dies after its effect, before its completion. Lambda's own retries bring the event back; nobody else does."""
    # With retries every try is the event itself and no copy, so one that comes while the lease still runs has to come again.
    options = {"timeout_seconds": 1, "environment": {"SEARCHOPS_IN_PROGRESS": "retry"}}
    with deployed(world, "object-once-killed", **options) as function:
        worker = held(function, "killed.txt", retries=2)
        first = function.record("killed.txt")
        os.kill(worker.pid, signal.SIGKILL)
        died = time.monotonic()
        function.let_go("killed.txt")
        (early,) = function.together(worker.event)
        wait_until(lambda: function.delivery(worker.request)["state"] not in ("running", "waiting"), "Lambda is through")
        seconds, delivery = time.monotonic() - died, function.delivery(worker.request)
        record, runs, effects = function.record("killed.txt"), function.runs("killed.txt"), function.effects("killed.txt")
    lease = (int(first["lease_until"]["N"]) - int(first["claimed_at"]["N"])) / 1000
    require(early["payload"].get("errorType") == "InProgress", "a copy to be told that the event is in progress", early)
    require(delivery["state"] == "succeeded", "one of Lambda's retries to succeed", delivery)
    require(json.loads(record["result"]["S"])["pid"] != worker.pid, "another process to have done it", record)
    require(record["status"]["S"] == "COMPLETED" and record["attempts"]["N"] == "2", "a completion by the second attempt", record)
    require((runs, len(effects)) == (2, 1), "two runs and, because the effect compares, one effect", (runs, effects))
    return {
        "killed": f"process {worker.pid}, by SIGKILL, after its effect",
        "a copy at once": f"{early['payload']['errorType']}: Lambda is to try it again",
        "lease seconds": lease,
        "brought back by": f"Lambda's own try number {delivery['attempts']}",
        "done after seconds": round(seconds, 1),
        "fences": f"{first['fence']['N']}, then {record['fence']['N']} (a process takes a million at once)",
        "runs of the work": runs,
        "effects": effects,
    }


def late(world: World) -> Facts:
    """A worker is paused for longer than its lease, and goes on when another, which a copy of the event started, has taken over."""
    with deployed(world, "object-once-late", handler=SHORT_LEASE, environment={"LEASE_SECONDS": "2"}) as function:
        worker = held(function, "late.txt")
        owner = function.record("late.txt")["owner"]["S"]
        os.kill(worker.pid, signal.SIGSTOP)
        paused = time.monotonic()
        function.let_go("late.txt")
        seconds = taken_over(function, worker.event, paused)
        before = function.record("late.txt")
        os.kill(worker.pid, signal.SIGCONT)
        told = function.failure(worker.queue)["responsePayload"]
        after, effects = function.record("late.txt"), function.effects("late.txt")
    require(told["errorType"] == "ClaimLost", "the late worker to be told that it lost", told)
    require(before == after and after["owner"]["S"] != owner, "the successor's completion to stand", after)
    require(len(effects) == 1, "one effect", effects)
    return {
        "paused": f"process {worker.pid}, by SIGSTOP, with a lease of 2 s",
        "taken over after seconds": round(seconds, 1),
        "the late completion": f"{told['errorType']}: {told['errorMessage']}",
        "recorded before and after it": f"{after['status']['S']} by owner {after['owner']['S']}",
        "effects": effects,
    }


def made(world: World) -> str:
    """Run the DAG that makes the table of claims, and return what it made."""
    airflow = world.cloud.airflow
    run_id = airflow.trigger("searchops_setup", {"indexes": []})
    state = airflow.wait("searchops_setup", run_id, timeout=120)
    require(state == "success", "searchops_setup to be green", state)
    return "; ".join(airflow.xcom("searchops_setup", run_id, "apply")["changes"]) or "nothing was missing"


@contextmanager
def deployed(world: World, name: str, **options: Any) -> Iterator[ObjectFunction]:
    control = FunctionsControl(world.cloud.endpoints["functions"])
    function = ObjectFunction(world.client, control, table=TABLE, name=name, **options)
    try:
        yield function
    finally:
        function.delete()
        control.close()


@dataclass(frozen=True)
class Worker:
    """A process that waits between its effect and its completion; ``queue``: the URL of the one that its event goes to when it fails."""

    pid: int
    event: Any
    request: str
    queue: str


def held(function: ObjectFunction, key: str, retries: int = 0) -> Worker:
    """Invoke the function as S3 does and wait for its effect."""
    queue = function.retry(retries)
    event = function.put(key, FILE)
    function.hold(key)
    request = function.invoke_later(event)
    wait_until(lambda: function.effects(key), "the worker has had its effect")
    (pid,) = function.control.running(function.name)
    return Worker(pid, event, request, queue)


def taken_over(function: ObjectFunction, event: Any, since: float) -> float:
    """Deliver copies of the event until one does the work; the seconds since then."""
    while (given := answer(function.together(event)[0]))["outcome"] != "done":
        require(time.monotonic() < since + 60, "the event to be taken over", given["outcome"])
        time.sleep(0.2)
    return time.monotonic() - since


def answer(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the function answered to an invocation with one event."""
    require(not result["failed"], "a success", result["payload"])
    return dict(result["payload"]["answers"][0])


ACTS: Mapping[str, Callable[[World], Facts]] = {
    "7 an event comes five times at once": five_at_once,
    "8 bad data comes three times": bad_three_times,
    "9 a worker is killed": killed,
    "10 a worker is late": late,
}

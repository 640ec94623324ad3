"""Waits in Airflow's own trigger runner, without a metadata database: the process that `benchmarks.many.run` starts.

Reads an order from standard input. The last line of standard output is a ``Run``, written when all waits have told their end or the time
is over.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from typing import Any

import psutil
from airflow.executors.workloads.trigger import RunTrigger
from airflow.jobs.triggerer_job_runner import TriggerRunnerSupervisor
from airflow.models.trigger import Trigger
from airflow.triggers.base import BaseTrigger, TriggerEvent

from benchmarks.many import Run, Sample
from searchops.triggers.dictionary import PackageAssociatedTrigger, _PollingTrigger


class OwnClient(PackageAssociatedTrigger):
    """The same wait with a client of its own, as the triggers of the Amazon provider have it."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async with await self._hook().get_async_conn() as self._client:  # type: ignore[no-untyped-call]
            async for event in _PollingTrigger.run(self):
                yield event


class ClientCounter(BaseTrigger):
    """Tells how many clients of aiobotocore the process has that runs it, some seconds after its own begin."""

    def __init__(self, after_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.after_seconds = after_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        # The program is __main__ here, and benchmarks.triggerer where the trigger runs.
        return "benchmarks.triggerer.ClientCounter", {"after_seconds": self.after_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from aiobotocore.client import AioBaseClient

        await asyncio.sleep(self.after_seconds)
        yield TriggerEvent({"clients": sum(isinstance(one, AioBaseClient) for one in gc.get_objects())})


class Supervisor(TriggerRunnerSupervisor):
    """Airflow's, fed by hand: what it does in the database is left out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.found: dict[int, Mapping[str, Any]] = {}
        self.samples: list[Sample] = []

    def hand_over(self, trigger_id: int, classpath: str, kwargs: Mapping[str, Any]) -> None:
        encrypted = Trigger.encrypt_kwargs(dict(kwargs))
        self.creating_triggers.append(RunTrigger(id=trigger_id, classpath=classpath, encrypted_kwargs=encrypted))

    def until(self, condition: Callable[[], bool], deadline: float) -> None:
        """Do Airflow's own loop until something is true, or the time is over."""
        while time.time() < deadline and not condition():
            if not self.is_alive():
                raise RuntimeError("expected the trigger runner to run on, found it dead")
            self.run_once()

    def load_triggers(self) -> None:
        self.samples.append(self.sample())

    def sample(self) -> Sample:
        process = psutil.Process(self.pid)
        cpu = process.cpu_times()
        return Sample(time.time(), process.memory_info().rss, cpu.user + cpu.system)

    def on_trigger_event(self, trigger_id: int, event: TriggerEvent) -> None:
        self.found[trigger_id] = event.payload

    def on_trigger_failure(self, trigger_id: int, exc: list[str] | None) -> None:
        raise RuntimeError(f"wait {trigger_id} failed: {''.join(exc or [])}")

    def clean_unused(self) -> None: ...

    def heartbeat(self) -> None: ...

    def emit_metrics(self) -> None: ...


def main() -> None:
    order = json.load(sys.stdin)
    classpath, waits, end = order["classpath"], order["waits"], time.time() + order["seconds"]

    def hand_over(position: int) -> None:
        supervisor.hand_over(position, classpath, waits[position] | {"started_at": time.time() - order["age_seconds"]})

    supervisor = Supervisor.start(capacity=len(waits) + 1)
    try:
        hand_over(0)
        supervisor.until(lambda: False, time.time() + order["warm_seconds"])
        warm = supervisor.sample()
        for position in range(1, len(waits)):
            hand_over(position)
        supervisor.hand_over(len(waits), *ClientCounter(order["count_after_seconds"]).serialize())
        supervisor.until(lambda: not supervisor.creating_triggers, end)
        began = time.time()
        supervisor.until(lambda: len(supervisor.found) > len(waits), end)
    finally:
        supervisor.kill(escalation_delay=10, force=True)
    clients = supervisor.found.pop(len(waits), {}).get("clients", 0)
    print(json.dumps(asdict(Run(supervisor.found, warm, began, supervisor.samples, clients)), default=dict))


if __name__ == "__main__":
    main()

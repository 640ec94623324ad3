"""Runs a pass over failed events in a process of its own that can be told to die right after one of its calls."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.httpsession import URLLib3Session

from searchops.core.functions import queue as failed_queue
from searchops.core.functions.queue import FailedEventQueue
from searchops.core.functions.redrive import Choice, Redrive
from searchops.core.idempotency.guard import Guard
from tests.integration.forked import forked

LEASE = timedelta(seconds=1)
HOLD_SECONDS = 1
NAMESPACE = "redrive-f"

_processes = forked(__name__)


@dataclass(frozen=True, slots=True)
class Life:
    """How a pass in a process of its own ended; ``calls`` are those that were answered."""

    killed: bool
    calls: tuple[str, ...]


def live(environment: Mapping[str, str], folder: Path, *, function: str, queue: str, table: str, die_after: int) -> Life:
    """Send every failed event, until SIGKILL right after the n-th answer."""
    calls = folder / "calls"
    calls.write_text("")
    process = _processes.Process(target=_run, args=(dict(environment), calls, function, queue, table, die_after))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return Life(process.exitcode == -signal.SIGKILL, tuple(calls.read_text().splitlines()))


def a_pass(client: Callable[[str], Any], function: str, queue: str, table: str) -> Redrive:
    guard = Guard(client("dynamodb"), table=table, namespace=NAMESPACE, lease=LEASE)
    return Redrive(
        FailedEventQueue(client("sqs"), queue), client("lambda"), guard, function=function, least_hold_seconds=HOLD_SECONDS
    )


def _run(environment: Mapping[str, str], calls: Path, function: str, queue: str, table: str, die_after: int) -> None:
    os.environ.update(environment)
    failed_queue.WAIT_SECONDS = 0
    log, send = calls.open("a", buffering=1), URLLib3Session.send
    answered = 0

    def then_die(self: Any, request: Any) -> Any:
        nonlocal answered
        answer = send(self, request)
        target = request.headers.get("X-Amz-Target", request.url)
        log.write(f"{target.decode() if isinstance(target, bytes) else target}\n")
        answered += 1
        if answered == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    URLLib3Session.send = then_die  # type: ignore[method-assign]
    a_pass(boto3.client, function, queue, table).run(Choice())

"""The processes that functions run in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNTIME = Path(__file__).with_name("runtime.py")


@dataclass(frozen=True, slots=True)
class Function:
    """A function as it is to run now; one whose code or settings have changed is another value and gets other processes."""

    name: str
    arn: str
    folder: Path
    handler: str
    timeout_seconds: float
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What an invocation gave: the handler's answer, or the error as Lambda puts it."""

    request_id: str
    failed: bool
    payload: Any


class Sandbox:
    """One process, which handles one event at a time."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self._timed_out = False
        # In our session, so that whoever stops the simulator stops its sandboxes too.
        self._process = subprocess.Popen(
            [sys.executable, str(RUNTIME)],
            cwd=function.folder,
            env={
                **os.environ,
                **dict(function.environment),
                "_HANDLER": function.handler,
                "AWS_LAMBDA_FUNCTION_NAME": function.name,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Return when the handler is imported, or when it is certain that it will not be."""
        self._read()

    def invoke(self, request_id: str, event: Any) -> Result:
        function = self.function
        order = {
            "request_id": request_id,
            "function": function.name,
            "arn": function.arn,
            "timeout_seconds": function.timeout_seconds,
            "event": event,
        }
        timer = threading.Timer(function.timeout_seconds, self._time_out)
        timer.start()
        try:
            answer = self._ask(order)
        finally:
            timer.cancel()
        if answer:
            return Result(request_id, answer["failed"], answer["payload"])
        self._process.wait()
        return Result(request_id, True, self._exit_payload(request_id))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        with suppress(OSError):  # it has ended: reading tells so too
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        """The next line as JSON; nothing when the process has ended."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line.endswith("\n") else {}

    def _time_out(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _exit_payload(self, request_id: str) -> dict[str, str]:
        if self._timed_out:
            seconds = f"{self.function.timeout_seconds:.2f}"
            return {
                "errorType": "Sandbox.Timedout",
                "errorMessage": f"RequestId: {request_id} Error: Task timed out after {seconds} seconds",
            }
        code = self._process.returncode
        how = "signal: killed" if code == -9 else f"exit status {code}"
        return {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {request_id} Error: Runtime exited with error: {how}",
        }


class Sandboxes:
    """All processes of all functions, safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Function, list[Sandbox]] = defaultdict(list)
        self._running: dict[str, Sandbox] = {}

    def running(self) -> list[dict[str, Any]]:
        """The invocations under way, with the process of each."""
        with self._lock:
            return [
                {"request_id": request_id, "function": sandbox.function.name, "pid": sandbox.pid}
                for request_id, sandbox in self._running.items()
            ]

    def invoke(self, function: Function, request_id: str, event: Any) -> Result:
        with self._taken(function, 1) as (sandbox,):
            return self._run(sandbox, request_id, event)

    def invoke_together(self, function: Function, events: Sequence[tuple[str, Any]]) -> list[Result]:
        """Run each (request id, event) in a process of its own, all at the same moment: none begins before all are there."""
        results: list[Result | None] = [None] * len(events)
        together = threading.Barrier(len(events))
        with self._taken(function, len(events)) as sandboxes:

            def run(number: int) -> None:
                together.wait()
                results[number] = self._run(sandboxes[number], *events[number])

            threads = [threading.Thread(target=run, args=(number,)) for number in range(len(events))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return [result for result in results if result]

    def close(self) -> None:
        with self._lock:
            sandboxes = [*self._running.values(), *(sandbox for idle in self._idle.values() for sandbox in idle)]
        for sandbox in sandboxes:
            sandbox.close()

    def _run(self, sandbox: Sandbox, request_id: str, event: Any) -> Result:
        run_id = request_id
        with self._lock:
            while run_id in self._running:  # another delivery of the same event
                run_id += "+"
            self._running[run_id] = sandbox
        try:
            return sandbox.invoke(request_id, event)
        finally:
            with self._lock:
                del self._running[run_id]

    def forget(self, name: str, keep: Function | None = None) -> None:
        """End the idle processes of a function, of its earlier code and settings at least."""
        with self._lock:
            outdated = [function for function in self._idle if function.name == name and function != keep]
            sandboxes = [sandbox for function in outdated for sandbox in self._idle.pop(function)]
        for sandbox in sandboxes:
            sandbox.close()

    @contextmanager
    def _taken(self, function: Function, count: int) -> Iterator[list[Sandbox]]:
        self.forget(function.name, keep=function)
        with self._lock:
            idle = [sandbox for sandbox in self._idle.pop(function, []) if sandbox.alive]
            taken, self._idle[function] = idle[:count], idle[count:]
        fresh = [Sandbox(function) for _ in range(count - len(taken))]
        for sandbox in fresh:
            sandbox.wait_until_ready()
        try:
            yield taken + fresh
        finally:
            with self._lock:
                self._idle[function] += [sandbox for sandbox in taken + fresh if sandbox.alive]

"""One process that owns all services of a local cloud: starts them, brings some of them back, stops them in reverse order."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from local.processes import Child, Service, StartFailed, adopt_orphans, kill_and_wait, stop_together

log = logging.getLogger(__name__)
_TICK_SECONDS = 0.1


class StopRequested(Exception):
    """A signal, or the end of the owner, asks us to stop while something is being waited for."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What `status` tells of one process; `exit_code` is None while it runs."""

    name: str
    pid: int
    restarts: int
    exit_code: int | None
    log: str


class Supervisor:
    """Owns child processes. Use it from the main thread of a process of its own: it takes over the signals.

    :param owner: pid of our parent, at whose end everything is stopped; None to run until SIGTERM
    :param on_change: called whenever a process was started or has ended
    """

    def __init__(self, *, owner: int | None = None, on_change: Callable[[], None] = lambda: None) -> None:
        self._owner = owner
        self._on_change = on_change
        self._stages: list[list[Child]] = []
        self._restarts: dict[str, int] = {}
        self._ended: set[int] = set()
        self._stop_requested = False
        adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._request_stop)

    def states(self) -> list[ProcessState]:
        return [
            ProcessState(
                name=child.service.name,
                pid=child.pid,
                restarts=self._restarts.get(child.service.name, 0),
                exit_code=child.exit_code,
                log=str(child.service.log),
            )
            for child in self._children()
            if not child.service.one_shot
        ]

    def start(self, *services: Service) -> None:
        """Start the services of one stage; what they use belongs into an earlier stage, which is stopped after them."""
        if not services:
            return
        stage: list[Child] = []
        self._stages.append(stage)
        for service in services:
            child = Child(service)
            child.start()
            stage.append(child)
            log.info("%s started, pid %d", service.name, child.pid)
        self._on_change()

    def run(self, command: Service) -> None:
        """Run a one-shot command to its end; nothing else is waited for.

        :raises StartFailed: it failed
        :raises StopRequested: we are asked to stop
        """
        self.start(command)
        self._wait_for(self._stages[-1])

    def wait_until_ready(self) -> None:
        """Block until every service that was started answers.

        :raises StartFailed: one has ended or does not answer in its time
        :raises StopRequested: we are asked to stop
        """
        self._wait_for(self._children())

    def _wait_for(self, children: Sequence[Child]) -> None:
        started = time.monotonic()
        waiting = list(children)
        while waiting:
            self._tick()
            for child in list(waiting):
                if child.check_ready():
                    log.info("%s is ready after %.1f s", child.service.name, time.monotonic() - started)
                    waiting.remove(child)
                elif time.monotonic() - started > child.service.ready_seconds:
                    raise StartFailed(child.failure(f"did not answer within {child.service.ready_seconds:.0f} s"))

    def watch(self) -> None:
        """Block until we are asked to stop; bring back what ends and may be restarted, report the rest."""
        with contextlib.suppress(StopRequested):
            while True:
                self._tick()
                for child in self._children():
                    if child.exit_code is not None and child.pid not in self._ended and not child.service.one_shot:
                        self._revive(child)

    def stop(self) -> None:
        """Stop everything, stage by stage: who uses a service goes before the service, the processes of a stage go together."""
        for stage in reversed(self._stages):
            started = time.monotonic()
            stop_together(stage)
            log.info("%s stopped after %.1f s", ", ".join(child.service.name for child in stage), time.monotonic() - started)
        kill_and_wait(psutil.Process().children(recursive=True))

    def _children(self) -> list[Child]:
        return [child for stage in self._stages for child in stage]

    def _revive(self, child: Child) -> None:
        name = child.service.name
        self._ended.add(child.pid)
        log.error("%s", child.failure(f"ended with exit code {child.exit_code}"))
        if self._restarts.get(name, 0) < child.service.restarts:
            child.kill()  # its tasks too: what it left behind would work beside the new one
            child.start()
            self._restarts[name] = self._restarts.get(name, 0) + 1
            log.info("%s started again, pid %d", name, child.pid)
        self._on_change()

    def _tick(self) -> None:
        if self._stop_requested:
            raise StopRequested
        if self._owner is not None and os.getppid() != self._owner:
            log.info("the owner (pid %d) has ended", self._owner)
            raise StopRequested
        time.sleep(_TICK_SECONDS)

    def _request_stop(self, number: int, frame: object) -> None:
        self._stop_requested = True

"""Start child processes so that none outlives its owner, wait until they answer, and stop them."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import http.client
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
LOG_LINES_SHOWN = 30
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TICK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process to run: how it is started, when it counts as ready, how long it may take to stop.

    :param is_ready: asked several times a second; True when the process does its work
    :param user: name of the user it runs as; None for our own
    :param stop_seconds: time between SIGTERM and SIGKILL of the process and of everything it started
    :param restarts: how often it is started again after it ended by itself
    :param one_shot: a command that does its work and ends; ready when it has ended with exit code 0
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    directory: Path
    is_ready: Callable[[], bool] = lambda: True
    ready_seconds: float = 90
    stop_seconds: float = 8
    user: str | None = None
    restarts: int = 0
    one_shot: bool = False


class StartFailed(RuntimeError):
    """A process did not become ready; the message holds its name, its exit code and the end of its log."""


class Child:
    """A running Service, in a session of its own, so that a Ctrl-C in the terminal reaches only us."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.service.name} was not started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the process. Call it from the main thread: Linux ties the death signal to the thread that started the child."""
        service = self.service
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("ab") as log:
            self._process = subprocess.Popen(
                service.command,
                cwd=service.directory,
                env=dict(service.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=functools.partial(_die_with, os.getpid()),
                user=service.user,
                group=pwd.getpwnam(service.user).pw_gid if service.user else None,
                extra_groups=[] if service.user else None,
            )

    def wait_until_ready(self) -> None:
        """Block until the service answers.

        :raises StartFailed: it ended, or did not answer within `ready_seconds`
        """
        deadline = time.monotonic() + self.service.ready_seconds
        while not self.check_ready():
            if time.monotonic() > deadline:
                raise StartFailed(self.failure(f"did not answer within {self.service.ready_seconds:.0f} s"))
            time.sleep(_TICK_SECONDS)

    def check_ready(self) -> bool:
        """Ask once whether the service answers.

        :raises StartFailed: the process has ended
        """
        code = self.exit_code
        if code is None:
            return not self.service.one_shot and self.service.is_ready()
        if code == 0 and self.service.one_shot:
            return True
        raise StartFailed(self.failure(f"ended with exit code {code}"))

    def failure(self, what: str) -> str:
        return f"{self.service.name} {what}; the end of {self.service.log}:\n{last_lines(self.service.log)}"

    def stop(self) -> None:
        """End the process and everything in its session: SIGTERM first, SIGKILL after `stop_seconds`."""
        stop_together([self])

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait for the end of the process, but no longer than that."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, seconds))

    def kill(self) -> None:
        """End at once what is left of the process and of its session."""
        if self._process is not None:
            kill_and_wait(session_members(self._process.pid))
            self.wait(5)


def stop_together(children: Sequence[Child]) -> None:
    """Ask all of them to end, then wait for each its `stop_seconds` and kill what is left of its session."""
    for child in children:
        child.terminate()
    asked = time.monotonic()
    for child in children:
        child.wait(child.service.stop_seconds - (time.monotonic() - asked))
        child.kill()


def session_members(session: int) -> list[psutil.Process]:
    """Return the processes of a session, those included whose parent has ended."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) == session:
                members.append(process)
    return members


def kill_and_wait(processes: Sequence[psutil.Process], seconds: float = 5) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=seconds)


def free_port() -> int:
    """Return a TCP port of the loopback interface that nothing listens on.

    Below 32768, where Linux begins to take the source ports of outgoing connections: a port that the kernel hands out (bind to 0)
    can be taken by a client's connection before the service starts, or while it is started again. None is returned twice: the service
    that is to have it may not listen yet.
    """
    while True:
        port = random.randrange(20000, 32000)
        if port in _given:
            continue
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            candidate.bind((LOOPBACK, port))
            _given.add(port)
            return port


_given: set[int] = set()


def answers(url: str) -> bool:
    """Tell whether a GET of the URL is answered with a 2xx status."""
    return get(url) is not None


def get(url: str) -> bytes | None:
    """Return the body of a 2xx answer of a loopback URL, None for everything else; no proxy of the environment is asked."""
    try:
        with _DIRECT.open(url, timeout=5) as response:
            body: bytes = response.read()
            return body
    except (OSError, http.client.HTTPException):  # OSError: refused, reset, timed out, and urllib's HTTPError
        return None


def last_lines(log: Path, count: int = LOG_LINES_SHOWN) -> str:
    if not log.exists():
        return "(no log)"
    with log.open(encoding="utf-8", errors="replace") as lines:
        return "".join(deque(lines, maxlen=count)).rstrip() or "(empty)"


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that they can still be found and stopped (Linux only)."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _die_with(parent: int) -> None:
    """Runs in the child, after the change of user (which would clear the death signal): ask for SIGTERM when the parent dies."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    _LIBC.prctl(option, value, 0, 0, 0)


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_LIBC = ctypes.CDLL(None)

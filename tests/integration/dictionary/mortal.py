"""Runs a domain's DAG in a process of its own that can be told to die between two of its steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import botocore.session
from aiobotocore.httpsession import AIOHTTPSession
from botocore.httpsession import URLLib3Session
from botocore.loaders import create_loader
from requests import Session

from local.aws import VARIABLES_TO_UNSET
from searchops.core.waiting import Cadence
from searchops.triggers import dictionary as triggers
from tests.integration.dictionary.airflow_here import run_domain
from tests.integration.forked import forked

CADENCE = Cadence(first_seconds=0.005, even_seconds=0.02, cap_seconds=0.05)

_LOADER = create_loader()
_one_reader = threading.Lock()
_processes = forked(
    __name__,
    "searchops.task_groups.dictionary",
    "searchops.notifications.slack",
    "opensearchpy",
    "airflow.providers.amazon.aws.hooks.base_aws",
)


@dataclass(frozen=True, slots=True)
class Life:
    """How a run in a process of its own ended: ``calls`` are the answers that it got from outside, in their order."""

    killed: bool
    green: bool
    calls: tuple[str, ...]
    said: str

    def __str__(self) -> str:
        return f"{'killed' if self.killed else 'green' if self.green else 'red'} after {len(self.calls)} calls: {self.said}"


def live(environment: Mapping[str, str], domain: str, folder: Path, die_after: int | None = None) -> Life:
    """Run ``dictionary_sync_<domain>`` to its end, or until SIGKILL right after the n-th answer from outside."""
    calls, said = folder / "calls", folder / "said"
    for file in (calls, said):
        file.write_text("")
    process = _processes.Process(target=_run, args=(dict(environment), domain, calls, said, die_after))
    # Both starting and joining read how processes ended, those of other threads too, and two readers at once lose it.
    with _one_reader:
        process.start()
    wait([process.sentinel])
    with _one_reader:
        process.join()
    ended = process.exitcode
    return Life(ended == -signal.SIGKILL, ended == 0, tuple(calls.read_text().splitlines()), said.read_text())


def _run(environment: Mapping[str, str], domain: str, calls: Path, said: Path, die_after: int | None) -> None:
    for name in VARIABLES_TO_UNSET:
        os.environ.pop(name, None)
    os.environ.update(environment)
    triggers.CADENCE = CADENCE
    botocore.session.create_loader = lambda *_: _LOADER
    _count_answers(_Fate(calls, die_after))
    try:
        run = run_domain(domain)
        said.write_text(str(run))
        os._exit(0 if run.green else 3)
    except BaseException as error:
        said.write_text(repr(error))
        os._exit(4)


class _Fate:
    def __init__(self, log: Path, die_after: int | None) -> None:
        self._log = log.open("a", buffering=1)
        self._left = die_after

    def answered(self, method: str, url: str) -> None:
        self._log.write(f"{method} {url}\n")
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _count_answers(fate: _Fate) -> None:
    """Everything that the product says to the outside goes through one of three HTTP clients."""
    URLLib3Session.send = _then(URLLib3Session.send, fate)  # type: ignore[method-assign]
    Session.send = _then(Session.send, fate)  # type: ignore[method-assign]
    AIOHTTPSession.send = _then_async(AIOHTTPSession.send, fate)  # type: ignore[method-assign]


def _then(send: Callable[..., Any], fate: _Fate) -> Callable[..., Any]:
    def sent(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        answer = send(self, request, *args, **kwargs)
        fate.answered(request.method, request.url)
        return answer

    return sent


def _then_async(send: Callable[..., Any], fate: _Fate) -> Callable[..., Any]:
    async def sent(self: Any, request: Any) -> Any:
        answer = await send(self, request)
        fate.answered(request.method, request.url)
        return answer

    return sent

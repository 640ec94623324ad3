"""The local cloud as its users see it: start it, ask where everything is, stop it.

    with Cloud(directory, services=("opensearch", "aws", "packages")) as cloud:
        boto3 = subprocess.run([...], env=cloud.full_environment())

A process of its own, the supervisor (``local.supervise``), owns all services; it stops them when it is told to or when we are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from local.airflow_client import AirflowClient
from local.aws import without_inherited_settings
from local.processes import last_lines
from local.supervisor import ProcessState

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("opensearch", "aws", "dynamodb", "functions", "streams", "firehose", "packages", "slack", "airflow")
# Only started when they are named.
OPTIONAL_SERVICES = ("proxy", "dynamodb_proxy")
REQUIRES = {
    "functions": ("aws",),
    "streams": ("aws", "dynamodb", "functions"),
    "firehose": ("opensearch", "aws"),
    "packages": ("opensearch", "aws"),
    "proxy": ("opensearch",),
    "dynamodb_proxy": ("dynamodb",),
}
EXIT_ALREADY_UP = 3
# Airflow takes 20-30 s on 2 cores, more while other things run.
_START_SECONDS = 300
_STOP_SECONDS = 120


class CloudError(RuntimeError):
    """The local cloud could not be started or stopped; the message says which process failed and how its log ends."""


class AlreadyUp(CloudError):
    """A cloud runs in this directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a cloud runs and reads.

    :param inventory: exported as SEARCHOPS_INVENTORY; None leaves the repository's own
    :param pools: file of the Airflow pools; not imported when it does not exist
    :param speed: how many times faster than AWS the clocks of the package, function, stream and Firehose simulators run; None for their default
    :param extra_environment: further variables for every process, and for the clients
    :param opensearch_settings: further lines of the node's opensearch.yml, e.g. ``{"thread_pool.write.queue_size": 1}``
    """

    services: tuple[str, ...] = SERVICES
    inventory: Path | None = None
    pools: Path = ROOT / "include" / "pools.json"
    dags: Path = ROOT / "dags"
    speed: float | None = None
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    opensearch_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := set(self.services) - {*SERVICES, *OPTIONAL_SERVICES}:
            raise CloudError(f"unknown services {sorted(unknown)}: there are {', '.join(SERVICES + OPTIONAL_SERVICES)}")
        for service in self.services:
            if missing := set(REQUIRES.get(service, ())) - set(self.services):
                raise CloudError(f"service {service} needs {', '.join(sorted(missing))}: add them to services")

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        for name in ("inventory", "pools", "dags"):
            values[name] = Path(values[name]).absolute() if values[name] else None
        return cls(**values | {"services": tuple(values["services"])})


@dataclass(frozen=True, slots=True)
class State:
    """What the supervisor writes to state.json; `status` is starting, ready, stopped or failed."""

    pid: int
    created: float
    status: str = "starting"
    error: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    analyzers_dir: str = ""
    user: str = ""
    password: str = ""
    processes: Sequence[ProcessState] = ()

    def write(self, directory: Path) -> None:
        """Replace state.json in one step; it holds passwords, so only its owner may read it."""
        unfinished = directory / ".state.json"
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        unfinished.rename(directory / "state.json")

    @classmethod
    def read(cls, directory: Path) -> State | None:
        try:
            values = json.loads((directory / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        state = cls(**values)
        return replace(state, processes=tuple(ProcessState(**process) for process in values["processes"]))

    def supervisor(self) -> psutil.Process | None:
        """Return the process that wrote this, None when it has ended (a process that was given its pid since does not count)."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


class Cloud:
    """A local cloud in a directory. As a context manager it lives as long as the block, and not longer than this process.

    :param directory: holds state.json, environment, logs/ and airflow/; whatever an earlier cloud left there is replaced
    :param options: the fields of Options
    """

    def __init__(self, directory: Path, services: Sequence[str] = SERVICES, **options: Any) -> None:
        self.directory = directory.absolute()
        self._options = Options(services=tuple(services), **options)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._airflow: AirflowClient | None = None

    @property
    def state(self) -> State:
        state = State.read(self.directory)
        if state is None:
            raise CloudError(f"no cloud was started in {self.directory}")
        return state

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Base URL by service name."""
        return self.state.endpoints

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that a client needs on top of its own environment."""
        return self.state.environment

    @property
    def analyzers_dir(self) -> Path:
        """The node's config/analyzers folder: a file `<PackageID>` in it is an associated package."""
        return Path(self.state.analyzers_dir)

    @property
    def airflow(self) -> AirflowClient:
        """The REST API of the cloud's Airflow, logged in."""
        if self._airflow is None:
            state = self.state
            self._airflow = AirflowClient(state.endpoints["airflow"], state.password, state.user)
        return self._airflow

    def full_environment(self) -> dict[str, str]:
        """Return the environment of a client process: ours without settings of another AWS or Airflow, plus `environment`."""
        return without_inherited_settings(os.environ) | dict(self.environment)

    def process(self, name: str) -> psutil.Process:
        """Return a service's process, e.g. to kill it: `cloud.process("airflow-triggerer").kill()`."""
        return psutil.Process(next(process.pid for process in self.state.processes if process.name == name))

    def start(self, *, detached: bool = False) -> None:
        """Start everything and wait until it answers.

        :param detached: leave it running when this process ends; `stop_cloud` stops it
        :raises AlreadyUp: a cloud runs in the directory
        :raises CloudError: a process did not start; nothing is left running
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        arguments = [str(self.directory), "--options", self._options.to_json()]
        if not detached:
            arguments += ["--owner", str(os.getpid())]
        with (self.directory / "supervisor.log").open("ab") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "local.supervise", *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._supervisor)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything that `start` started and wait for its end."""
        if self._airflow is not None:
            self._airflow.close()
            self._airflow = None
        if self._supervisor is not None:
            self._supervisor.terminate()
            self._supervisor.wait(_STOP_SECONDS)
            self._supervisor = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _wait_until_ready(self, supervisor: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            ended = supervisor.poll()
            state = State.read(self.directory)
            if ended == EXIT_ALREADY_UP:
                raise AlreadyUp(f"a cloud runs in {self.directory} already")
            if ended is not None:
                reason = state.error if state and state.error else last_lines(self.directory / "supervisor.log")
                raise CloudError(f"the local cloud did not start: {reason}")
            if state and state.pid == supervisor.pid and state.status == "ready":
                return
            if time.monotonic() > deadline:
                raise CloudError(f"the local cloud is not ready after {_START_SECONDS} s: see {self.directory}/logs")
            time.sleep(0.1)


def stop_cloud(directory: Path) -> bool:
    """Stop the cloud of a directory, whoever started it; False when there is none.

    :raises CloudError: it does not end
    """
    state = State.read(directory)
    supervisor = state.supervisor() if state else None
    if supervisor is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        supervisor.terminate()
    try:
        supervisor.wait(_STOP_SECONDS)
    except psutil.TimeoutExpired as error:
        raise CloudError(f"the supervisor (pid {supervisor.pid}) has not ended after {_STOP_SECONDS} s") from error
    return True


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; the kernel gives it back however the holder ends.

    :raises AlreadyUp: somebody holds it
    """
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyUp(f"a cloud runs in {directory} already") from error
        yield

"""Small Python programs stand for the services: what is tested is how they are started, watched and stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local.cloud import ROOT, AlreadyUp, CloudError, Options, State, only_one, stop_cloud
from local.processes import Child, Service, StartFailed, free_port, last_lines
from local.supervisor import ProcessState

# A service that reports its pid and that of a child of its own, and that a SIGTERM does not end.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print(os.getpid(), child.pid, file=open(sys.argv[1] + ".new", "w"), flush=True)
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""

# A supervisor of two services, as the local cloud runs one.
SUPERVISOR = """
import os, sys
from pathlib import Path
from local.processes import Service
from local.supervisor import StopRequested, Supervisor

directory, owner, program = Path(sys.argv[1]), int(sys.argv[2]) or None, sys.argv[3]
def service(name):
    pids = directory / name
    return Service(
        name=name, command=[sys.executable, "-c", program, str(pids)], environment=dict(os.environ), log=directory / f"{name}.log",
        directory=directory, is_ready=pids.exists, stop_seconds=0.5, restarts=1 if name == "second" else 0,
    )
supervisor = Supervisor(owner=owner, on_change=(directory / "changed").touch)
supervisor.start(service("first"))
supervisor.start(service("second"))
try:
    supervisor.wait_until_ready()
    (directory / "ready").touch()
    supervisor.watch()
finally:
    supervisor.stop()
"""


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def service(directory: Path, program: str, *arguments: str, **changes: object) -> Service:
    values: dict[str, object] = {
        "name": "sample",
        "command": [sys.executable, "-c", program, *arguments],
        "environment": dict(os.environ),
        "log": directory / "logs" / "sample.log",
        "directory": directory,
        "stop_seconds": 0.5,
    }
    return Service(**(values | changes))  # type: ignore[arg-type]


def pids_of(*files: Path) -> list[int]:
    return [int(pid) for file in files for pid in file.read_text(encoding="utf-8").split()]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(pids: list[int]) -> bool:
    return all(is_gone(pid) for pid in pids)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor with two stubborn services; its pid files are in tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path), "0", STUBBORN], cwd=ROOT)
    try:
        wait_until((tmp_path / "ready").exists)
        yield process
    finally:
        process.terminate()
        process.wait(20)


class TestOneProcess:
    def test_stopping_ends_the_process_and_what_it_started_even_when_they_ignore_the_signal(self, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        child = Child(service(tmp_path, STUBBORN, str(pids), is_ready=pids.exists))
        child.start()
        child.wait_until_ready()

        child.stop()

        assert len(pids_of(pids)) == 2
        assert all_gone(pids_of(pids))

    def test_a_process_that_ends_at_its_start_shows_the_end_of_its_log(self, tmp_path: Path) -> None:
        program = "import sys; [print('line', n) for n in range(40)]; sys.exit(7)"
        child = Child(service(tmp_path, program, is_ready=lambda: False))
        child.start()

        with pytest.raises(StartFailed) as failure:
            child.wait_until_ready()

        lines = str(failure.value).splitlines()
        assert lines[0].startswith("sample ended with exit code 7; the end of ")
        assert lines[1:] == [f"line {number}" for number in range(10, 40)]

    def test_a_process_that_never_answers_is_given_up(self, tmp_path: Path) -> None:
        child = Child(service(tmp_path, "import time; time.sleep(60)", is_ready=lambda: False, ready_seconds=0.2))
        child.start()
        try:
            with pytest.raises(StartFailed, match="sample did not answer within"):
                child.wait_until_ready()
        finally:
            child.stop()

    def test_a_command_is_ready_when_it_has_ended_well(self, tmp_path: Path) -> None:
        good = Child(service(tmp_path, "print('done')", one_shot=True))
        bad = Child(service(tmp_path, "raise SystemExit(3)", one_shot=True))
        good.start()
        bad.start()

        good.wait_until_ready()
        with pytest.raises(StartFailed, match="exit code 3"):
            bad.wait_until_ready()

    @pytest.mark.skipif(
        sys.platform != "linux", reason="the death signal is Linux's; elsewhere the supervisor's watch is all there is"
    )
    def test_a_process_ends_when_the_one_that_started_it_is_killed(self, tmp_path: Path) -> None:
        program = """
import os, sys, time
from pathlib import Path
from local.processes import Child, Service
child = Child(Service(name="s", command=[sys.executable, "-c", "import time; time.sleep(600)"], environment=dict(os.environ),
                      log=Path(sys.argv[1], "s.log"), directory=Path(sys.argv[1])))
child.start()
Path(sys.argv[1], "new").write_text(str(child.pid))
Path(sys.argv[1], "new").rename(Path(sys.argv[1], "pids"))
time.sleep(600)
"""
        starter = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT)
        wait_until((tmp_path / "pids").exists)

        starter.kill()
        starter.wait()

        wait_until(lambda: all_gone(pids_of(tmp_path / "pids")))


class TestSupervisor:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_stops_every_process(
        self, tmp_path: Path, supervisor: subprocess.Popen[bytes], number: signal.Signals
    ) -> None:
        pids = pids_of(tmp_path / "first", tmp_path / "second")

        supervisor.send_signal(number)

        assert supervisor.wait(20) == 0
        assert len(pids) == 4
        assert all_gone(pids)

    def test_everything_stops_when_the_owner_is_killed(self, tmp_path: Path) -> None:
        program = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2], str(os.getpid()), sys.argv[3]], start_new_session=True)
time.sleep(600)
"""
        owner = subprocess.Popen([sys.executable, "-c", program, SUPERVISOR, str(tmp_path), STUBBORN], cwd=ROOT)
        wait_until((tmp_path / "ready").exists)
        (supervisor,) = psutil.Process(owner.pid).children()
        pids = pids_of(tmp_path / "first", tmp_path / "second")

        owner.kill()
        owner.wait()

        wait_until(lambda: all_gone([supervisor.pid, *pids]))

    def test_a_process_that_dies_is_started_again_without_what_it_left_behind(
        self, tmp_path: Path, supervisor: subprocess.Popen[bytes]
    ) -> None:
        before = pids_of(tmp_path / "second")
        (tmp_path / "second").unlink()

        os.kill(before[0], signal.SIGKILL)

        wait_until((tmp_path / "second").exists)
        assert all_gone(before)
        assert not all_gone(pids_of(tmp_path / "second"))

    def test_a_process_that_may_not_be_started_again_leaves_the_others_alone(
        self, tmp_path: Path, supervisor: subprocess.Popen[bytes]
    ) -> None:
        first = pids_of(tmp_path / "first")
        (tmp_path / "changed").unlink()

        os.kill(first[0], signal.SIGKILL)

        wait_until((tmp_path / "changed").exists)
        assert supervisor.poll() is None
        assert not all_gone(pids_of(tmp_path / "second"))


class TestState:
    def test_the_state_comes_back_as_it_was_written_and_only_its_owner_reads_it(self, tmp_path: Path) -> None:
        process = ProcessState(name="aws", pid=1234, restarts=1, exit_code=None, log="aws.log")
        state = State(
            pid=os.getpid(), created=12.5, status="ready", endpoints={"aws": "http://127.0.0.1:1"}, processes=(process,)
        )

        state.write(tmp_path)

        assert State.read(tmp_path) == state
        assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600

    def test_a_process_that_was_given_the_pid_of_a_dead_supervisor_is_not_signalled(self, tmp_path: Path) -> None:
        State(pid=os.getpid(), created=psutil.Process().create_time() - 3600, status="ready").write(tmp_path)

        assert stop_cloud(tmp_path) is False

    def test_nothing_runs_where_nothing_was_started(self, tmp_path: Path) -> None:
        assert stop_cloud(tmp_path) is False

    def test_a_directory_is_used_by_one_cloud_at_a_time(self, tmp_path: Path) -> None:
        with only_one(tmp_path), pytest.raises(AlreadyUp), only_one(tmp_path):
            pass

        with only_one(tmp_path):
            pass

    def test_options_reach_the_supervisor_unchanged(self) -> None:
        options = Options(services=("aws",), inventory=Path("/some/inventory.yaml"), speed=20.0, extra_environment={"A": "b c"})

        assert Options.from_json(options.to_json()) == options

    def test_a_service_without_what_it_needs_is_refused(self) -> None:
        with pytest.raises(CloudError, match="packages needs aws, opensearch"):
            Options(services=("packages",))


def test_a_free_port_is_not_one_that_a_client_may_be_given() -> None:
    assert free_port() < 32768


def test_a_free_port_is_given_once_though_nobody_listens_on_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    drawn = iter([first, first, first + 1, first + 2, first + 3])
    monkeypatch.setattr(random, "randrange", lambda *_: next(drawn))

    assert free_port() > first


def test_the_last_lines_of_a_missing_or_empty_log_say_so(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()

    assert last_lines(tmp_path / "missing.log") == "(no log)"
    assert last_lines(tmp_path / "empty.log") == "(empty)"

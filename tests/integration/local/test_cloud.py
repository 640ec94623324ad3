"""The life of a cloud, tried with its light services: whatever ends it, nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from local.cloud import ROOT, AlreadyUp, Cloud, CloudError, State

LIGHT = ("aws", "slack")
# A program that owns a cloud, says so and waits. Tests that run in the background of a shell hand on that Ctrl-C is ignored.
OWNER = """
import signal, sys, time
from pathlib import Path
from local.cloud import Cloud
signal.signal(signal.SIGINT, signal.default_int_handler)
with Cloud(Path(sys.argv[1]), services=("aws", "slack")):
    Path(sys.argv[1], "entered").touch()
    time.sleep(600)
"""


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def local(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local", "--directory", str(directory), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def processes_of(directory: Path) -> list[psutil.Process]:
    """Return the supervisor and its services with everything that they started."""
    state = State.read(directory)
    assert state is not None
    supervisor = psutil.Process(state.pid)
    return [supervisor, *supervisor.children(recursive=True)]


@pytest.fixture
def owner(tmp_path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    wait_until((tmp_path / "entered").exists)
    return process


def test_a_client_reaches_the_cloud_whatever_aws_settings_its_shell_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/file")
    program = "import boto3; print(boto3.client('sns').create_topic(Name='topic')['TopicArn'])"

    with Cloud(tmp_path, services=("aws",)) as cloud:
        client = subprocess.run(
            [sys.executable, "-c", program], env=cloud.full_environment(), capture_output=True, text=True, check=False
        )

    assert client.stdout.strip() == "arn:aws:sns:ap-northeast-1:123456789012:topic", client.stderr


def test_a_cloud_ends_with_its_owner_even_when_that_is_killed(tmp_path: Path, owner: subprocess.Popen[bytes]) -> None:
    running = processes_of(tmp_path)

    owner.kill()
    owner.wait()

    assert len(running) == 1 + len(LIGHT)
    assert not psutil.wait_procs(running, timeout=30)[1]


def test_a_cloud_ends_with_ctrl_c(tmp_path: Path, owner: subprocess.Popen[bytes]) -> None:
    running = processes_of(tmp_path)

    os.killpg(owner.pid, signal.SIGINT)

    assert owner.wait(30) != 0
    assert not psutil.wait_procs(running, timeout=1)[1]


def test_up_status_and_down_leave_nothing_behind(tmp_path: Path) -> None:
    up = local(tmp_path, "up", "--services", *LIGHT)
    running = processes_of(tmp_path)
    status = local(tmp_path, "status")
    down = local(tmp_path, "down")

    assert up.returncode == 0, up.stderr
    assert "source " in up.stdout
    assert status.returncode == 0
    assert [line.split()[0] for line in status.stdout.splitlines()] == ["supervisor", *LIGHT]
    assert down.returncode == 0
    assert not [process for process in running if process.is_running()]
    assert local(tmp_path, "status").returncode == 1


def test_a_second_up_says_that_it_is_up_already_and_starts_nothing(tmp_path: Path) -> None:
    with Cloud(tmp_path, services=LIGHT):
        before = processes_of(tmp_path)
        second = local(tmp_path, "up", "--services", *LIGHT)

        assert second.returncode == 0
        assert "up already" in second.stdout
        assert processes_of(tmp_path) == before
        with pytest.raises(AlreadyUp):
            Cloud(tmp_path, services=LIGHT).start()


def test_down_is_content_when_nothing_runs(tmp_path: Path) -> None:
    assert local(tmp_path, "down").returncode == 0


def test_the_environment_file_makes_a_shell_a_client(tmp_path: Path) -> None:
    with Cloud(tmp_path, services=("aws",), extra_environment={"QUOTED": "a 'b' $c"}) as cloud:
        script = 'set -eu; source "$1/environment"; echo "$AWS_ENDPOINT_URL"; echo "$QUOTED"; echo "${AWS_PROFILE-unset}"'
        shell = subprocess.run(
            ["bash", "-c", script, "-", str(tmp_path)],
            env={"PATH": os.environ["PATH"], "AWS_PROFILE": "production"},
            capture_output=True,
            text=True,
            check=True,
        )

        assert shell.stdout.splitlines() == [cloud.endpoints["aws"], "a 'b' $c", "unset"]


def test_a_service_that_cannot_start_is_named_with_the_end_of_its_log_and_the_others_are_stopped(tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "moto"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('this moto is broken')", encoding="utf-8")
    cloud = Cloud(tmp_path / "cloud", services=LIGHT, extra_environment={"PYTHONPATH": str(broken.parent)})

    with pytest.raises(CloudError, match=r"(?s)aws ended with exit code 1.*RuntimeError: this moto is broken"):
        cloud.start()

    assert not [process for process in cloud.state.processes if psutil.pid_exists(process.pid)]


def test_the_cloud_never_passes_on_a_real_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.setenv(name, "from-a-real-account")

    with Cloud(tmp_path, services=("aws",)) as cloud:
        environment = cloud.process("aws").environ()

    assert "from-a-real-account" not in environment.values()
    assert "from-a-real-account" not in cloud.full_environment().values()

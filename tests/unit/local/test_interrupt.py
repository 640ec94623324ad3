"""Ctrl-C while the local cloud starts; a program that never answers stands for the node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.cloud import ROOT, State
from local.engines import OPENSEARCH_VERSION


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """A cache with an OpenSearch that starts and never answers, and a JDK; reachable for the user that root runs it as."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        distribution = cache / f"opensearch-{OPENSEARCH_VERSION}"
        (distribution / "config").mkdir(parents=True)
        (distribution / "config" / "jvm.options").touch()
        for program, text in ((distribution / "bin" / "opensearch", "#!/bin/sh\nexec sleep 600\n"), (cache / "jdk/bin/java", "")):
            program.parent.mkdir(parents=True)
            program.write_text(text)
            program.chmod(0o755)
        (cache / "jdk" / "release").write_text('JAVA_VERSION="21.0.2"\n')
        yield os.environ | {"SEARCHOPS_CACHE": folder, "OPENSEARCH_JAVA_HOME": str(cache / "jdk")}


def test_ctrl_c_while_it_starts_is_answered_at_once_and_stops_everything(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "local", "--directory", str(tmp_path), "up", "--services", "opensearch"]
    up = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert up.stderr
    try:
        deadline = time.monotonic() + 60
        while not ((state := State.read(tmp_path)) and state.processes):
            assert time.monotonic() < deadline, (tmp_path / "supervisor.log").read_text()
            assert up.poll() is None, up.stderr.read()
            time.sleep(0.05)
        node = psutil.Process(state.processes[0].pid)

        up.send_signal(signal.SIGINT)

        assert (up.stderr.readline(), up.stderr.readline()) == ("\n", "Stopping ...\n")
        up.send_signal(signal.SIGINT)  # an impatient second one
        assert up.wait(60) == 130
        assert up.stderr.read() == ""
        assert not node.is_running()
        stopped = State.read(tmp_path)
        assert stopped
        assert stopped.supervisor() is None
    finally:
        up.kill()
        up.communicate()

"""No engine and no process: Airflow's home is a folder of the test run, S3 is moto in this process."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import HealthCheck, settings

from searchops.core.waiting import Cadence
from tests.unit.small_world import SmallWorld

# Before any test file imports airflow: the first one reads the configuration, and writes one where there is none.
_HOME = tempfile.mkdtemp(prefix="searchops-unit-airflow-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(Path(__file__).resolve().parents[2] / "plugins")

_loader = cache(create_loader)

settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """S3 in this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def quick_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test makes its clients anew; reading the models of the services anew takes most of that."""
    monkeypatch.setattr(botocore.session, "create_loader", _loader)


@pytest.fixture
def world(s3_url: str, quick_clients: None) -> Iterator[SmallWorld]:
    """A package service, S3 and a data plane on a clock that the test moves."""
    with SmallWorld(s3_url) as world:
        yield world


@pytest.fixture
def running_world(s3_url: str, quick_clients: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallWorld]:
    """The same on a fast real clock; hooks of this process speak to it, and waits look as often as its speed asks for."""
    with SmallWorld(s3_url, running=True) as world:
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(
            "searchops.triggers.dictionary.CADENCE", Cadence(first_seconds=0.01, even_seconds=0.03, cap_seconds=0.1)
        )
        yield world

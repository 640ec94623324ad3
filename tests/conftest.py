"""Clouds that the tests share: started when the first test asks, stopped at the end. An engine that is missing is an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.aws import VARIABLES_TO_UNSET
from local.cloud import Cloud

# Twenty times the service's pace: copying, validating and associating a dictionary take 3 s instead of a minute.
SPEED = 20.0


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Every engine and simulator, without Airflow."""
    with Cloud(tmp_path_factory.mktemp("cloud"), services=("opensearch", "aws", "packages", "slack"), speed=SPEED) as cloud:
        yield cloud


@pytest.fixture
def cloud_environment(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Lead the boto3 clients and the hooks of this process to the shared cloud, for one test."""
    for name in VARIABLES_TO_UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    return cloud

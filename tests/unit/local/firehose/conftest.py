"""A simulator without engines, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local.simulators.firehose.api import application
from local.simulators.firehose.control import FirehoseControl
from local.simulators.http import Server
from tests.unit.local.firehose.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with Server(application(world.service)) as server:
        yield server


@pytest.fixture
def control(server: Server) -> Iterator[FirehoseControl]:
    control = FirehoseControl(server.url)
    yield control
    control.close()


@pytest.fixture
def client(server: Server) -> Any:
    """A client that tries once and does not check what it sends: the simulator has to."""
    return boto3.client(
        "firehose",
        endpoint_url=server.url,
        region_name="ap-northeast-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5, parameter_validation=False),
    )

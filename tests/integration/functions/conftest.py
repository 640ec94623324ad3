"""The shipped function in real processes, DynamoDB Local, moto's S3 and SQS."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.cloud import Cloud
from local.demo.functions import ObjectFunction
from local.simulators.functions.control import FunctionsControl
from searchops.core.idempotency.table import create_claims_table
from tests.conftest import aws_client

TABLE = "searchops-claims-of-functions"
SYNONYMS = "東京タワー, 芝の塔\n".encode()

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def table(dynamodb: Any) -> str:
    create_claims_table(dynamodb, TABLE)
    return TABLE


@pytest.fixture(scope="session")
def control(dynamodb_cloud: Cloud) -> Iterator[FunctionsControl]:
    control = FunctionsControl(dynamodb_cloud.endpoints["functions"])
    yield control
    control.close()


def _deployed(cloud: Cloud, control: FunctionsControl, **options: Any) -> ObjectFunction:
    name = f"object-once-{next(_numbers)}"
    return ObjectFunction(lambda service: aws_client(cloud, service), control, **{"table": TABLE, "name": name} | options)


@pytest.fixture
def deploy(dynamodb_cloud: Cloud, control: FunctionsControl, table: str) -> Iterator[Callable[..., ObjectFunction]]:
    """Deploy the function under a name of its own, with what options it needs."""
    deployed: list[ObjectFunction] = []

    def deploy(**options: Any) -> ObjectFunction:
        deployed.append(_deployed(dynamodb_cloud, control, **options))
        return deployed[-1]

    yield deploy
    for function in deployed:
        function.delete()


@pytest.fixture
def half_minutes(control: FunctionsControl) -> Iterator[None]:
    """Let each minute that Lambda waits between two attempts last two seconds."""
    before = control.speed(30)
    yield
    control.speed(before)


@pytest.fixture(scope="session")
def function(dynamodb_cloud: Cloud, control: FunctionsControl, table: str) -> Iterator[ObjectFunction]:
    """The function with its default settings. Tests that share it are spared the seconds in which its processes start."""
    function = _deployed(dynamodb_cloud, control)
    yield function
    function.delete()

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config

from local.cloud import Cloud
from local.simulators.dynamodb_faults.control import DynamoDBProxy
from searchops.core.bulk.bucket import Bucket
from searchops.core.idempotency.table import create_claims_table
from searchops.core.replay.calls import CLIENT
from tests.conftest import aws_client
from tests.integration.replay.world import CLAIMS, Replayed, Table, at, new_table


@pytest.fixture(scope="session")
def claims(dynamodb: Any) -> str:
    create_claims_table(dynamodb, CLAIMS)
    return CLAIMS


@pytest.fixture(scope="session")
def replay_bucket(dynamodb_cloud: Cloud) -> Bucket:
    s3 = aws_client(dynamodb_cloud, "s3")
    s3.create_bucket(Bucket="replays-of-tests", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    return Bucket(s3, "replays-of-tests")


@pytest.fixture(scope="session")
def streams(dynamodb_cloud: Cloud) -> Any:
    return at(dynamodb_cloud.endpoints["dynamodb"], "dynamodbstreams")


@pytest.fixture
def tables(dynamodb: Any) -> Iterator[Callable[..., Table]]:
    """Makes tables that are gone after the test."""
    made: list[str] = []

    def new(**settings: Any) -> Table:
        table = new_table(dynamodb, **settings)
        made.append(table.name)
        return table

    yield new
    for name in made:
        dynamodb.delete_table(TableName=name)


@pytest.fixture
def proxy(dynamodb_cloud: Cloud) -> Iterator[DynamoDBProxy]:
    with DynamoDBProxy(dynamodb_cloud.endpoints["dynamodb"]) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: DynamoDBProxy) -> Any:
    """A client of touches that asks through the proxy."""
    return at(proxy.url, "dynamodb", config=Config(**{**CLIENT, "read_timeout": 2}))


@pytest.fixture
def replayed(dynamodb: Any, claims: str, replay_bucket: Bucket) -> Replayed:
    return Replayed(dynamodb, claims, replay_bucket)

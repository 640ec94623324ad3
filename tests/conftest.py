"""Clouds that the tests share: started when the first test asks, stopped at the end. An engine that is missing is an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local.aws import VARIABLES_TO_UNSET
from local.cloud import Cloud
from local.opensearch import OpenSearchNode

# Twenty times the service's pace: copying, validating and associating a dictionary take 3 s instead of a minute.
SPEED = 20.0


def aws_client(cloud: Cloud, service: str, **options: Any) -> Any:
    """A boto3 client of a cloud that this process's environment does not lead to."""
    variables = cloud.environment
    specific = f"AWS_ENDPOINT_URL_{service.upper()}"
    return boto3.session.Session().client(
        service,
        region_name=variables["AWS_REGION"],
        endpoint_url=variables.get(specific, variables["AWS_ENDPOINT_URL"]),
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        **options,
    )


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Every engine and simulator, without Airflow."""
    services = ("opensearch", "aws", "dynamodb", "functions", "packages", "slack")
    with Cloud(tmp_path_factory.mktemp("cloud"), services=services, speed=SPEED) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def dynamodb_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """DynamoDB Local, moto's services, and functions whose asynchronous retries come after 0.1 s and 0.2 s."""
    with Cloud(tmp_path_factory.mktemp("dynamodb"), services=("aws", "dynamodb", "functions"), speed=600) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def dynamodb(dynamodb_cloud: Cloud) -> Any:
    """A boto3 client of DynamoDB Local, for up to 100 threads at once."""
    return aws_client(dynamodb_cloud, "dynamodb", config=Config(max_pool_connections=100))


@pytest.fixture
def cloud_environment(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Lead the boto3 clients and the hooks of this process to the shared cloud, for one test."""
    for name in VARIABLES_TO_UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    return cloud


@pytest.fixture(scope="session")
def small_queue_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearchNode]:
    """A node that writes with one thread and lets one request wait: under a few clients its 429s are real."""
    settings = {"thread_pool.write.size": 1, "thread_pool.write.queue_size": 1}
    with OpenSearchNode(tmp_path_factory.mktemp("small_queue"), settings=settings) as node:
        yield node


@pytest.fixture(scope="session")
def bulk_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """What bulk indexing and stream consumers need. A Firehose buffer of 60 s is delivered after 1 s, retries of 300 s end after 5 s."""
    services = ("opensearch", "aws", "dynamodb", "functions", "streams", "firehose")
    with Cloud(tmp_path_factory.mktemp("bulk"), services=services, speed=60) as cloud:
        yield cloud

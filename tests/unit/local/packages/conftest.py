"""A simulator without an engine, on a clock that the test moves."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config

from local.simulators.http import Server
from local.simulators.packages.api import application
from local.simulators.packages.control import PackagesControl
from tests.unit.local.packages.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world):
    with Server(application(world.service)) as server:
        yield server


@pytest.fixture
def control(server) -> PackagesControl:
    return PackagesControl(server.url)


@pytest.fixture
def client(server):
    return boto3.client(
        "opensearch",
        endpoint_url=server.url,
        region_name="ap-northeast-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5),
    )


@pytest.fixture
def publish(world, client):
    """Make a package, or a new version of one, and wait until it is available."""

    def publish(name: str = "synonyms", content: bytes = b"a, b\n", package_id: str | None = None, message: str = "") -> str:
        world.bucket.objects["object"] = content
        source = {"S3BucketName": "bucket", "S3Key": "object"}
        if package_id is None:
            answer = client.create_package(PackageName=name, PackageType="TXT-DICTIONARY", PackageSource=source)
        else:
            answer = client.update_package(PackageID=package_id, PackageSource=source, CommitMessage=message)
        world.pass_time(20)
        return answer["PackageDetails"]["PackageID"]

    return publish

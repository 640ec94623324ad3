"""A simulator without an engine, on a clock that the test moves."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config

from local.simulators.http import Server
from local.simulators.packages.api import application
from local.simulators.packages.control import PackagesControl
from local.simulators.packages.model import Domain
from local.simulators.packages.objects import CopyFailed
from local.simulators.packages.service import PackageService
from local.simulators.packages.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """Objects in memory; one that is not there cannot be copied."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def fetch(self, bucket: str, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError as error:
            raise CopyFailed(f"s3://{bucket}/{key}: Not Found") from error


class World:
    """A service, its clock and its bucket; ``pass_time`` does what the ticker of the running simulator does."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = Clock()
        self.bucket = Bucket()
        self.service = PackageService(self.bucket, None, settings, self.clock)

    def settle(self) -> None:
        self.service.advance()
        while not self.service.commands.empty():
            self.service.perform(self.service.commands.get())
            self.service.advance()

    def pass_time(self, seconds: float) -> None:
        self.settle()
        self.clock.now += seconds
        self.settle()

    def domain(self, name: str, *, serial_only: bool = True) -> None:
        self.service.put_domain(Domain(name, None, serial_only))


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

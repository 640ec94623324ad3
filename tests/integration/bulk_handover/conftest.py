"""Indexes, each with a bucket, a stream into the landing index, and all that works on what is handed over for it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import boto3
import pytest
from botocore.config import Config
from opensearchpy import OpenSearch

from local.cloud import Cloud
from local.demo.functions import wait_until
from local.simulators.firehose.control import FirehoseControl
from local.simulators.node_faults.control import FaultProxy
from searchops.core.bulk import BulkIndexer, Deletes, Scheme, VersionScheme
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.firehose import FirehoseLane
from searchops.core.bulk.landing import LANDING_INDEX, install_landing
from searchops.core.bulk.lanes import HandOverLanes
from searchops.core.bulk.manifests import Manifest, Manifests
from searchops.core.bulk.model import HandedOver
from searchops.core.bulk.places import firehose_failed_prefix
from searchops.core.bulk.redrive import Choice, Outcome, Redrive
from searchops.core.bulk.scheme import PROPERTIES
from searchops.core.bulk.settle import FIREHOSE_SECONDS, Settlement, Settler
from tests.unit.core.bulk.small_s3 import SmallS3

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision")
ONCE = Scheme(VersionScheme.ONCE, Deletes.NEVER)
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE)
ROLE = "arn:aws:iam::123456789012:role/firehose"
RUN, INPUT = "manual__2026-11-21T10:00:00+09:00", "0a1b"
_numbers = itertools.count(1)


class Place:
    """An index under a scheme. ``settled`` are the runs that were told to be settled."""

    def __init__(self, url: str, client: Callable[[str], Any], control: FirehoseControl, scheme: Scheme = ATTRIBUTE) -> None:
        self.alias = f"handover-{next(_numbers)}"
        self.index = f"{self.alias}-1"
        self.scheme = scheme
        self.url = url
        self.node = OpenSearch(self.url, max_retries=0, timeout=30)
        self.client = self.node
        self.control = control
        self.s3 = SmallS3(client("s3"))
        self.firehose = client("firehose")
        self.settled: list[str] = []

    def create(self) -> None:
        declared = {"searchops": {"scheme": self.scheme.to_meta()}}
        mappings = {"_meta": declared, "properties": {"n": {"type": "integer"}, **PROPERTIES}}
        settings = {"number_of_shards": 2, "number_of_replicas": 0}
        body = {"settings": settings, "mappings": mappings, "aliases": {self.alias: {}}}
        self.node.indices.create(index=self.index, body=body)
        install_landing(self.node, self.alias)

    def create_stream(self, compression: str = "UNCOMPRESSED") -> None:
        self.firehose.create_delivery_stream(
            DeliveryStreamName=self.alias,
            AmazonopensearchserviceDestinationConfiguration={
                "RoleARN": ROLE,
                "DomainARN": "arn:aws:es:ap-northeast-1:123456789012:domain/search",
                "IndexName": LANDING_INDEX,
                "IndexRotationPeriod": "NoRotation",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
                "RetryOptions": {"DurationInSeconds": 300},
                "S3Configuration": {
                    "RoleARN": ROLE,
                    "BucketARN": f"arn:aws:s3:::{self.s3.bucket}",
                    "Prefix": firehose_failed_prefix(self.alias),
                    "CompressionFormat": compression,
                },
            },
        )
        wait_until(lambda: self._status() == "ACTIVE", f"{self.alias} is active")

    def _status(self) -> str:
        answer = self.firehose.describe_delivery_stream(DeliveryStreamName=self.alias)
        return str(answer["DeliveryStreamDescription"]["DeliveryStreamStatus"])

    def lanes(self, *, run: str = RUN, stream: bool = True, limit: float = 5, ago: float = 0) -> HandOverLanes:
        lane = FirehoseLane(self.firehose, self.alias) if stream else None
        return HandOverLanes(
            self.s3.client,
            self.s3.bucket,
            index=self.alias,
            run=run,
            input=INPUT,
            firehose=lane,
            limit_seconds=limit,
            clock=lambda: time.time() - ago,
        )

    def spool(self, documents: Sequence[HandedOver], *, run: str = RUN, batch: int = 0) -> None:
        assert self.lanes(run=run, stream=False).hand_over(batch, documents) == {"spool": len(documents)}

    def settle(self, run: str | None = None, **options: Any) -> Settlement:
        return Settler(
            self.client,
            self.s3.client,
            self.s3.bucket,
            index=self.alias,
            scheme=self.scheme,
            **{"settled": lambda run, going: self.settled.append(run), **options},
        ).settle(run)

    def redrive(self, choice: Choice | None = None) -> Outcome:
        with BulkIndexer(self.client, self.alias, self.scheme, patience_seconds=0) as writer:
            return Redrive(writer, self.s3.client, self.s3.bucket, index=self.alias, scheme=self.scheme).run(choice or Choice())

    def deliver(self) -> None:
        assert self.control.flush(self.alias)

    def manifests(self) -> list[Manifest]:
        kept = Manifests(Bucket(self.s3.client, self.s3.bucket), self.alias)
        return [manifest for key in list(kept.keys()) if (manifest := kept.read(key))]

    def held(self) -> dict[str, tuple[int, Any]]:
        """Version and source of each document of the index itself, tombstones too."""
        self.node.indices.refresh(index=self.index)
        found = self.node.search(index=self.index, body={"size": 10_000, "version": True, "query": {"match_all": {}}})
        return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in found["hits"]["hits"]}

    def close(self) -> None:
        self.node.indices.delete(index=self.index, ignore_unavailable=True)
        if self.alias in self.control.streams():
            self.firehose.delete_delivery_stream(DeliveryStreamName=self.alias)
        self.node.close()


def documents(count: int, first: int = 0, version: int = 5) -> list[HandedOver]:
    return [HandedOver(place, f"id-{place}", b'{"n":%d}' % place, version) for place in range(first, first + count)]


@pytest.fixture(scope="session")
def control(bulk_cloud: Cloud) -> Iterator[FirehoseControl]:
    control = FirehoseControl(bulk_cloud.endpoints["firehose"])
    yield control
    control.close()


MakePlace = Callable[..., Place]


@pytest.fixture(scope="session")
def client(bulk_cloud: Cloud) -> Callable[[str], Any]:
    """Makes clients of one session, which reads the model of a service once."""
    session = boto3.session.Session()
    variables = bulk_cloud.environment
    return lambda service: session.client(
        service,
        region_name=variables["AWS_REGION"],
        endpoint_url=variables.get(f"AWS_ENDPOINT_URL_{service.upper()}", variables["AWS_ENDPOINT_URL"]),
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=20),
    )


@pytest.fixture
def make_place(bulk_cloud: Cloud, client: Callable[[str], Any], control: FirehoseControl) -> Iterator[MakePlace]:
    made: list[Place] = []

    def make(scheme: Scheme = ATTRIBUTE, *, stream: bool = False, compression: str = "UNCOMPRESSED") -> Place:
        place = Place(bulk_cloud.endpoints["opensearch"], client, control, scheme)
        made.append(place)
        place.create()
        if stream:
            place.create_stream(compression)
        return place

    yield make
    control.clear_faults()
    for place in made:
        place.close()


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    """One without a stream."""
    return make_place()


@pytest.fixture
def proxy(place: Place) -> Iterator[FaultProxy]:
    """Before the node, for what settles and redrives."""
    with FaultProxy(place.url) as proxy:
        place.client = OpenSearch(proxy.url, max_retries=0, timeout=5)
        yield proxy
        place.client.close()


OVER = FIREHOSE_SECONDS + 1

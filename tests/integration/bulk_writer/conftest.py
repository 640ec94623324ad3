"""The request path's function: in this process against the fault proxy, or deployed from its zip."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.loaders import create_loader
from opensearchpy import OpenSearch

from local.aws import VARIABLES_TO_UNSET
from local.cloud import Cloud
from local.demo.functions import role_of, wait_until
from local.demo.writer import load_handler, writer_zip
from local.simulators.firehose.control import FirehoseControl
from local.simulators.functions.control import FunctionsControl
from local.simulators.node_faults.control import FaultProxy
from searchops.core.bulk import BulkIndexer, Deletes, Scheme, VersionScheme
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.landing import LANDING_INDEX, install_landing
from searchops.core.bulk.manifests import Manifest, Manifests
from searchops.core.bulk.redrive import Choice, Redrive
from searchops.core.bulk.scheme import PROPERTIES
from searchops.core.bulk.settle import Settler
from tests.conftest import aws_client

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision")
IMMEDIATE = Scheme(VersionScheme.ATTRIBUTE, Deletes.IMMEDIATE, "revision")
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE)
ROLE = "arn:aws:iam::123456789012:role/firehose"
SHARED = "bulk-writer"
_names = itertools.count(1)
_loader = cache(create_loader)


class Invocation:
    """What Lambda tells a function of one invocation."""

    def __init__(self, remaining_seconds: float = 30.0) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._remaining = remaining_seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._remaining * 1000)


class Writer:
    """The function for a new index, with a stream that all share; ``environment`` are its settings."""

    def __init__(self, node: OpenSearch, s3: Any, proxy: FaultProxy, control: FirehoseControl, scheme: Scheme) -> None:
        self.alias = f"bulk-writer-{next(_names)}"
        self.index = f"{self.alias}-1"
        self.node, self.s3, self.scheme, self.proxy, self.control = node, s3, scheme, proxy, control
        self.environment = {
            "SEARCHOPS_ENDPOINT": proxy.url,
            "SEARCHOPS_INDEX": self.alias,
            "SEARCHOPS_VERSION_SCHEME": scheme.version.value,
            "SEARCHOPS_VERSION_ATTRIBUTE": scheme.attribute,
            "SEARCHOPS_DELETES": scheme.deletes.value,
            "SEARCHOPS_BUCKET": SHARED,
            "SEARCHOPS_STREAM": SHARED,
            "SEARCHOPS_REFRESH": "true",
        }
        self._handler: Any = None

    def __call__(self, event: Any, remaining_seconds: float = 30.0) -> dict[str, Any]:
        """Invoke it, in the same execution environment as before."""
        if self._handler is None:
            self._handler = load_handler()
        return dict(self._handler.handler(event, Invocation(remaining_seconds)))

    def create(self) -> None:
        body = {
            "settings": {"number_of_shards": 1, "number_of_replicas": 0},
            "mappings": {"properties": {"n": {"type": "integer"}, **PROPERTIES}},
            "aliases": {self.alias: {}},
        }
        self.node.indices.create(index=self.index, body=body)
        self._taken_before = self.control.stream(SHARED).taken

    def declare(self, scheme: Scheme) -> None:
        """Write a scheme into the index, as searchops_setup does."""
        self.node.indices.put_mapping(index=self.index, body={"_meta": {"searchops": {"scheme": scheme.to_meta()}}})

    def searched(self) -> set[str]:
        """The ids that a search finds now, without a refresh of ours."""
        found = self.node.search(index=self.index, body={"size": 1000, "_source": False})
        return {hit["_id"] for hit in found["hits"]["hits"]}

    def held(self) -> dict[str, dict[str, Any]]:
        """The documents of the index by id, tombstones too."""
        self.node.indices.refresh(index=self.index)
        found = self.node.search(index=self.index, body={"size": 1000, "version": True})
        return {hit["_id"]: hit for hit in found["hits"]["hits"]}

    def versions(self) -> dict[str, int]:
        return {id: hit["_version"] for id, hit in self.held().items()}

    def manifests(self) -> list[Manifest]:
        kept = Manifests(Bucket(self.s3, SHARED), self.alias)
        return [manifest for key in list(kept.keys()) if (manifest := kept.read(key))]

    def lanes(self) -> dict[str, str]:
        """The lane of each document that is on a manifest."""
        return {entry.id: entry.lane for manifest in self.manifests() for entry in manifest.entries}

    def taken(self) -> int:
        """How many records the stream has got since the index is there."""
        return self.control.stream(SHARED).taken - self._taken_before

    def deliver(self) -> None:
        """Let the stream deliver what it holds, once the landing index leads to this index."""
        install_landing(self.node, self.alias)
        self.control.resume(SHARED)
        assert self.control.flush(SHARED)
        self.control.pause(SHARED)

    def settle(self) -> None:
        Settler(self.node, self.s3, SHARED, index=self.alias, scheme=self.scheme).settle()

    def redrive(self) -> None:
        with BulkIndexer(self.node, self.alias, self.scheme, patience_seconds=0) as indexer:
            Redrive(indexer, self.s3, SHARED, index=self.alias, scheme=self.scheme).run(Choice())

    def close(self) -> None:
        self.node.indices.delete(index=self.index, ignore_unavailable=True)


MakeWriter = Callable[..., Writer]


@pytest.fixture(scope="session")
def firehose_control(bulk_cloud: Cloud) -> Iterator[FirehoseControl]:
    control = FirehoseControl(bulk_cloud.endpoints["firehose"])
    yield control
    control.close()


@pytest.fixture(scope="session")
def node_proxy(bulk_cloud: Cloud) -> Iterator[FaultProxy]:
    with FaultProxy(bulk_cloud.endpoints["opensearch"]) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def node(bulk_cloud: Cloud) -> Iterator[OpenSearch]:
    with OpenSearch(bulk_cloud.endpoints["opensearch"], max_retries=0, timeout=30) as node:
        yield node


@pytest.fixture(scope="session")
def s3(bulk_cloud: Cloud, firehose_control: FirehoseControl) -> Any:
    """S3 with a bucket, and a stream into the landing index beside it."""
    s3, firehose = aws_client(bulk_cloud, "s3"), aws_client(bulk_cloud, "firehose")
    s3.create_bucket(Bucket=SHARED, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    firehose.create_delivery_stream(
        DeliveryStreamName=SHARED,
        AmazonopensearchserviceDestinationConfiguration={
            "RoleARN": ROLE,
            "DomainARN": "arn:aws:es:ap-northeast-1:123456789012:domain/search",
            "IndexName": LANDING_INDEX,
            "IndexRotationPeriod": "NoRotation",
            "RetryOptions": {"DurationInSeconds": 0},  # what other tests left for indexes that are gone
            "S3Configuration": {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{SHARED}"},
        },
    )
    wait_until(lambda: firehose_control.stream(SHARED).status == "ACTIVE", "the stream is active")
    firehose_control.pause(SHARED)  # else it could deliver before the landing index is there
    return s3


@pytest.fixture
def make_writer(
    bulk_cloud: Cloud,
    node: OpenSearch,
    s3: Any,
    firehose_control: FirehoseControl,
    node_proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MakeWriter]:
    """Make the function for a new index."""
    # Every test makes its clients anew; reading the models of the services anew takes most of that.
    monkeypatch.setattr(botocore.session, "create_loader", _loader)
    for name in VARIABLES_TO_UNSET:
        monkeypatch.delenv(name, raising=False)
    writers: list[Writer] = []

    def make(scheme: Scheme = ATTRIBUTE, declared: Scheme | None = None, **settings: str) -> Writer:
        writer = Writer(node, s3, node_proxy, firehose_control, scheme)
        writers.append(writer)
        writer.create()
        writer.declare(declared or scheme)
        writer.environment |= settings
        for name, value in {**bulk_cloud.environment, **writer.environment}.items():
            monkeypatch.setenv(name, value)
        return writer

    yield make
    firehose_control.clear_faults()
    node_proxy.clear()
    for writer in writers:
        writer.close()


@pytest.fixture
def writer(make_writer: MakeWriter) -> Writer:
    return make_writer()


class Deployed:
    """The function from its zip, in processes of its own."""

    def __init__(self, cloud: Cloud, environment: Mapping[str, str]) -> None:
        self.name = f"bulk-writer-{next(_names)}"
        self._lambda = aws_client(cloud, "lambda")
        self._lambda.create_function(
            FunctionName=self.name,
            Runtime="python3.13",
            Role=role_of(aws_client(cloud, "iam")),
            Handler="handler.handler",
            Code={"ZipFile": writer_zip()},
            Timeout=30,
            Environment={"Variables": dict(environment)},
        )
        self._control = FunctionsControl(cloud.endpoints["functions"])

    def invoke(self, event: Any) -> tuple[bool, Any]:
        """Whether it failed, and what it answered."""
        answer = self._lambda.invoke(FunctionName=self.name, Payload=json.dumps(event).encode())
        return "FunctionError" in answer, json.loads(answer["Payload"].read())

    def close(self) -> None:
        self._lambda.delete_function(FunctionName=self.name)
        self._control.close()


@pytest.fixture
def deploy(bulk_cloud: Cloud) -> Iterator[Callable[[Writer], Deployed]]:
    made: list[Deployed] = []

    def deploy(writer: Writer) -> Deployed:
        made.append(Deployed(bulk_cloud, writer.environment))
        return made[-1]

    yield deploy
    for function in made:
        function.close()


def operations(count: int, version: int = 5, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"op": "index", "id": f"id-{number}", "version": version, "document": {"n": number}}
        for number in range(first, first + count)
    ]


def ends(answer: Mapping[str, Any]) -> list[str]:
    return [document["end"] for document in answer["documents"]]


def again(sent: Sequence[Any], answer: Mapping[str, Any]) -> list[Any]:
    """What a caller sends again."""
    return [sent[document["position"]] for document in answer["retriable"]]

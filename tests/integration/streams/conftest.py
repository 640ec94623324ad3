"""A table, its stream, the deployed consumer and its index: real but for the poller between stream and function."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from botocore.config import Config
from opensearchpy import OpenSearch

from local.cloud import Cloud
from local.demo.indexer import IndexerFunction
from local.simulators.node_faults.control import FaultProxy
from local.simulators.streams.control import StreamsControl
from searchops.core.bulk import BulkIndexer, Deletes, Scheme, VersionScheme
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.ids import document_id
from searchops.core.bulk.manifests import Manifest, Manifests
from searchops.core.bulk.model import Rejected
from searchops.core.bulk.places import rejected_prefix
from searchops.core.bulk.redrive import Choice, Redrive
from searchops.core.bulk.scheme import FIELD, PROPERTIES
from searchops.core.bulk.settle import Settler
from searchops.core.bulk.stores import read_rejected
from tests.conftest import aws_client

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision", "pk")
IMMEDIATE = Scheme(VersionScheme.ATTRIBUTE, Deletes.IMMEDIATE, "revision", "pk")
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE, id="pk")
ONCE = Scheme(VersionScheme.ONCE, Deletes.NEVER, id="pk")
BUCKET = "stream-indexer"
_names = itertools.count(1)


class Stage:
    """A new table whose stream goes to a new index, once it is mapped.

    :param view: of the stream
    :param mapping: of the index, beside what the scheme needs
    :param environment: settings of the function over those that follow from the scheme
    """

    def __init__(
        self,
        client: Callable[[str], Any],
        node: OpenSearch,
        proxy: FaultProxy,
        control: StreamsControl,
        scheme: Scheme = ATTRIBUTE,
        *,
        view: str = "NEW_AND_OLD_IMAGES",
        mapping: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = f"streamed-{next(_names)}"
        self.node, self.proxy, self.control, self.scheme = node, proxy, control, scheme
        self.s3, self.dynamodb = client("s3"), client("dynamodb")
        self._create_index({} if mapping is None else mapping)
        self.stream = self._create_table(view)
        variables = {
            "SEARCHOPS_ENDPOINT": proxy.url,
            "SEARCHOPS_INDEX": self.name,
            "SEARCHOPS_ID": scheme.id,
            "SEARCHOPS_VERSION_SCHEME": scheme.version.value,
            "SEARCHOPS_VERSION_ATTRIBUTE": scheme.attribute,
            "SEARCHOPS_DELETES": scheme.deletes.value,
            "SEARCHOPS_BUCKET": BUCKET,
            **(environment or {}),
        }
        self.function = IndexerFunction(client, name=self.name, environment=variables)

    def map(self, **settings: Any) -> None:
        self.function.map(self.stream, **settings)

    def put(self, pk: str, revision: int, **attributes: Any) -> None:
        typed = {name: {"N" if isinstance(value, int) else "S": str(value)} for name, value in attributes.items()}
        item = {"pk": {"S": pk}, "revision": {"N": str(revision)}, **typed}
        self.dynamodb.put_item(TableName=self.name, Item=item)

    def delete(self, pk: str) -> None:
        self.dynamodb.delete_item(TableName=self.name, Key={"pk": {"S": pk}})

    def caught_up(self, **options: Any) -> None:
        self.control.wait_until_caught_up(self.name, **options)

    def counts(self) -> Any:
        return self.control.counts(self.name)

    def held(self) -> dict[str, dict[str, Any]]:
        """The documents of the index by id, tombstones too."""
        self.node.indices.refresh(index=self.name)
        found = self.node.search(index=f"{self.name}-1", body={"size": 5000, "version": True})
        return {hit["_id"]: hit for hit in found["hits"]["hits"]}

    def documents(self) -> dict[str, dict[str, Any]]:
        """What searches find: without tombstones, and without what is ours in a document."""
        sources = {id: dict(hit["_source"]) for id, hit in self.held().items()}
        own = {id: source.pop(FIELD, {}) for id, source in sources.items()}
        return {id: source for id, source in sources.items() if not own[id].get("deleted")}

    def items(self) -> dict[str, dict[str, Any]]:
        """The table's items as documents, whose numbers are whole here."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        plain = {"S": str, "N": int}
        return {
            document_id([item["pk"]["S"]]): {
                name: plain[type_](value) for name, typed in item.items() for type_, value in typed.items()
            }
            for page in pages
            for item in page["Items"]
        }

    def versions(self) -> dict[str, int]:
        return {id: hit["_version"] for id, hit in self.held().items()}

    def rejected(self) -> list[Rejected]:
        bucket = Bucket(self.s3, BUCKET)
        stored = list(bucket.list(rejected_prefix(self.name)))
        return [document for item in stored for document in read_rejected(bucket.get(item.key) or b"")]

    def manifests(self) -> list[Manifest]:
        kept = Manifests(Bucket(self.s3, BUCKET), self.name)
        return [manifest for key in list(kept.keys()) if (manifest := kept.read(key))]

    def redrive(self) -> None:
        with BulkIndexer(self.node, self.name, self.scheme, patience_seconds=0) as indexer:
            Redrive(indexer, self.s3, BUCKET, index=self.name, scheme=self.scheme).run(Choice())

    def settle(self) -> None:
        Settler(self.node, self.s3, BUCKET, index=self.name, scheme=self.scheme).settle()

    def close(self) -> None:
        self.function.delete()
        self.dynamodb.delete_table(TableName=self.name)
        self.node.indices.delete(index=f"{self.name}-1", ignore_unavailable=True)

    def _create_index(self, mapping: Mapping[str, Any]) -> None:
        properties = {"n": {"type": "integer"}, **mapping.get("properties", {}), **PROPERTIES}
        mappings = {**mapping, "properties": properties, "_meta": {"searchops": {"scheme": self.scheme.to_meta()}}}
        body = {"settings": {"number_of_shards": 1, "number_of_replicas": 0}, "mappings": mappings, "aliases": {self.name: {}}}
        self.node.indices.create(index=f"{self.name}-1", body=body)

    def _create_table(self, view: str) -> str:
        made = self.dynamodb.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )
        return str(made["TableDescription"]["LatestStreamArn"])


MakeStage = Callable[..., Stage]


def sequences_of(rejected: Sequence[Rejected]) -> list[str]:
    return [document.where.rpartition(":")[2] for document in rejected]


@pytest.fixture(scope="session")
def clients(bulk_cloud: Cloud) -> Callable[[str], Any]:
    made = {
        name: aws_client(bulk_cloud, name, config=Config(max_pool_connections=20)) for name in ("s3", "dynamodb", "lambda", "iam")
    }
    made["s3"].create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    return made.__getitem__


@pytest.fixture(scope="session")
def node(bulk_cloud: Cloud) -> Iterator[OpenSearch]:
    with OpenSearch(bulk_cloud.endpoints["opensearch"], max_retries=0, timeout=30) as node:
        yield node


@pytest.fixture(scope="session")
def node_proxy(bulk_cloud: Cloud) -> Iterator[FaultProxy]:
    with FaultProxy(bulk_cloud.endpoints["opensearch"]) as proxy:
        yield proxy


@pytest.fixture
def control(bulk_cloud: Cloud) -> Iterator[StreamsControl]:
    control = StreamsControl(bulk_cloud.endpoints["streams"])
    yield control
    control.clear()
    control.close()


@pytest.fixture
def make_stage(
    clients: Callable[[str], Any], node: OpenSearch, node_proxy: FaultProxy, control: StreamsControl
) -> Iterator[MakeStage]:
    stages: list[Stage] = []

    def make(scheme: Scheme = ATTRIBUTE, **options: Any) -> Stage:
        stages.append(Stage(clients, node, node_proxy, control, scheme, **options))
        return stages[-1]

    yield make
    node_proxy.clear()
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage()

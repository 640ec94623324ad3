"""Loads of an index of its own, task by task: the operators with their hooks, the real node, S3, and what Airflow keeps for a task."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.loaders import create_loader
from opensearchpy import OpenSearch

from local.aws import VARIABLES_TO_UNSET
from local.cloud import Cloud
from local.simulators.node_faults.control import FaultProxy
from searchops.core.bulk.runs import Run
from searchops.core.bulk.scheme import PROPERTIES, Deletes, Scheme, VersionScheme
from searchops.core.report import ReportStore
from searchops.hooks.load import LoadClients
from searchops.operators.bulk import (
    OpenSearchBulkLoadFinishOperator,
    OpenSearchBulkLoadOperator,
    OpenSearchBulkLoadPlanOperator,
    OpenSearchIndexRelaxOperator,
    OpenSearchIndexRestoreOperator,
    OpenSearchSettleOperator,
)
from searchops.sensors.bulk import OpenSearchLoadSettledSensor
from tests.conftest import aws_client
from tests.unit.task import Running

REGION = "ap-northeast-1"
_loader = cache(create_loader)
_numbers = itertools.count(1)


class Store(dict[str, Any]):
    """A task's state store: what its tries share. JSON only, as Airflow's."""

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(super().get(key, json.dumps(default)))

    def set(self, key: str, value: Any) -> None:
        self[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Loads:
    """An index, its inventory entry, a bucket, and the tasks that work on them."""

    def __init__(self, cloud: Cloud, node: OpenSearch, scheme: Scheme, hand_over: Mapping[str, Any] | None) -> None:
        self.name = f"load-{next(_numbers)}"
        self.concrete = f"{self.name}-1"
        self.node, self.scheme = node, scheme
        self.s3 = aws_client(cloud, "s3")
        self.bucket = f"bulk-{self.name}"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.stores: dict[int, Store] = {}
        self.entry: dict[str, Any] = {
            "name": self.name,
            "domain": "search",
            "domain_name": "search",
            "opensearch_conn_id": "load_search",
            "region": REGION,
            "aws_conn_id": "aws_default",
            "slack_conn_id": "slack_default",
            "bucket": self.bucket,
            "home": {"bucket": self.bucket, "region": REGION},
            "body_path": None,
            "id": {"attributes": ["id"]},
            "version": {"scheme": scheme.version.value, **({"attribute": scheme.attribute} if scheme.attribute else {})},
            "deletes": scheme.deletes.value,
            "tombstone_days": 8 if scheme.deletes is Deletes.TOMBSTONE else None,
            "hand_over": hand_over,
        }
        self.create_index()

    def create_index(self) -> None:
        properties = {"id": {"type": "keyword"}, "n": {"type": "integer"}, **PROPERTIES}
        body = {
            "settings": {"number_of_shards": 1, "number_of_replicas": 1, "refresh_interval": "1s"},
            "mappings": {"properties": properties, "_meta": {"searchops": {"scheme": self.scheme.to_meta()}}},
            "aliases": {self.name: {}},
        }
        self.node.indices.create(index=self.concrete, body=body)

    def put(self, key: str, body: bytes) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def keys(self, prefix: str) -> list[str]:
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])]

    def running(self, kind: Callable[..., Any], *, map_index: int = -1, try_number: int = 1, **arguments: Any) -> Running:
        running = Running(kind(task_id="task", index=self.entry, **arguments), try_number=try_number)
        running.ti.map_index = map_index
        running.context["task_state_store"] = self.stores.setdefault(map_index, Store())
        return running

    def plan(self, files: Sequence[str], **arguments: Any) -> list[list[dict[str, Any]]]:
        return self.running(OpenSearchBulkLoadPlanOperator, files=json.dumps(list(files)), **arguments).execute()

    def load(self, share: Sequence[Mapping[str, Any]], map_index: int = 0, try_number: int = 1) -> dict[str, dict[str, int]]:
        return self.running(OpenSearchBulkLoadOperator, inputs=share, map_index=map_index, try_number=try_number).execute()

    def finish(self, loaded: Sequence[Any], **arguments: Any) -> dict[str, Any]:
        return self.running(OpenSearchBulkLoadFinishOperator, loaded=loaded, **arguments).execute()

    def whole(self, files: Sequence[str], **arguments: Any) -> dict[str, Any]:
        shares = self.plan(files)
        return self.finish([self.load(share, number) for number, share in enumerate(shares)], **arguments)

    def relax(self, **arguments: Any) -> Any:
        return self.running(OpenSearchIndexRelaxOperator, **arguments).execute()

    def restore(self) -> Any:
        return self.running(OpenSearchIndexRestoreOperator).execute()

    def settle(self, **arguments: Any) -> Any:
        return self.running(OpenSearchSettleOperator, **{"only_plan": False, **arguments}).execute()

    def settled(self, run: str) -> bool:
        sensor = self.running(OpenSearchLoadSettledSensor, run=run)
        return bool(sensor.task.poke(sensor.context))

    @property
    def clients(self) -> LoadClients:
        return self.running(OpenSearchIndexRestoreOperator).task.clients

    def ledger(self) -> Run:
        (ledger,) = self.clients.ledgers.all()
        return ledger

    def checkpoint(self, map_index: int = 0) -> dict[str, Any] | None:
        """How far the only input of a task is."""
        kept = [self.stores[map_index].get(key) for key in self.stores[map_index] if key.startswith("checkpoint_")]
        return json.loads(kept[0]) if kept else None

    def held(self) -> dict[str, tuple[int, Any]]:
        """Version and source of each document of the index itself."""
        self.node.indices.refresh(index=self.concrete)
        found = self.node.search(index=self.concrete, body={"size": 10_000, "version": True, "query": {"match_all": {}}})
        return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in found["hits"]["hits"]}

    def settings(self) -> dict[str, Any]:
        return self.node.indices.get_settings(index=self.concrete)[self.concrete]["settings"]["index"]

    def report(self) -> Any:
        """What the last task had to say."""
        (report,) = ReportStore(self.s3, self.bucket).read_run("dictionary_sync_products", "manual__1")
        return report


@pytest.fixture(scope="session")
def node(bulk_cloud: Cloud) -> Iterator[OpenSearch]:
    client = OpenSearch(bulk_cloud.endpoints["opensearch"], max_retries=0, timeout=30)
    yield client
    client.close()


@pytest.fixture
def connections(bulk_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Leads the hooks of this process to the cloud; called with the URL of a node, to that one."""
    for name in VARIABLES_TO_UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in bulk_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws"}))
    monkeypatch.setattr(botocore.session, "create_loader", _loader)

    def lead_to(url: str) -> None:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        connection = {"conn_type": "opensearch", "host": host, "port": int(port), "extra": {"use_ssl": False}}
        monkeypatch.setenv("AIRFLOW_CONN_LOAD_SEARCH", json.dumps(connection))

    lead_to(bulk_cloud.endpoints["opensearch"])
    return lead_to


MakeLoads = Callable[..., Loads]


@pytest.fixture
def make_loads(bulk_cloud: Cloud, node: OpenSearch, connections: object) -> Iterator[MakeLoads]:
    made: list[Loads] = []

    def make(
        version: VersionScheme = VersionScheme.ATTRIBUTE,
        deletes: Deletes = Deletes.TOMBSTONE,
        hand_over: Mapping[str, Any] | None = None,
    ) -> Loads:
        attribute = "revision" if version is VersionScheme.ATTRIBUTE else ""
        made.append(Loads(bulk_cloud, node, Scheme(version, deletes, attribute, "id"), hand_over))
        return made[-1]

    yield make
    for loads in made:
        node.indices.delete(index=loads.concrete, ignore_unavailable=True)


@pytest.fixture
def loads(make_loads: MakeLoads) -> Loads:
    return make_loads()


@pytest.fixture
def proxy(bulk_cloud: Cloud, connections: Callable[[str], None]) -> Iterator[FaultProxy]:
    """Before the node, for the hooks of this process."""
    with FaultProxy(bulk_cloud.endpoints["opensearch"]) as proxy:
        connections(proxy.url)
        yield proxy

"""An index of its own for each test, reached through a proxy that fails as ordered; lanes that keep what they take in a folder."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from local.cloud import Cloud
from local.simulators.node_faults.control import FaultProxy
from searchops.core.bulk import BulkIndexer, Deletes, Operation, Scheme, VersionScheme
from searchops.core.bulk.effects import NotHandedOver
from searchops.core.bulk.model import HandedOver, Rejected
from searchops.core.bulk.scheme import PROPERTIES
from searchops.core.bulk.target import read_target
from searchops.core.errors import TransientError

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")
REAL_DELETES = Scheme(VersionScheme.ATTRIBUTE, Deletes.IMMEDIATE, attribute="revision")
ONCE = Scheme(VersionScheme.ONCE, Deletes.NEVER)
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE)
REAL_SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.IMMEDIATE)
NONE = Scheme(VersionScheme.NONE, Deletes.IMMEDIATE)
_numbers = itertools.count()


class Place:
    """An index, and indexers that reach it through the proxy."""

    def __init__(self, node: OpenSearch, proxy: FaultProxy) -> None:
        self.node = node
        self.proxy = proxy
        self.index = f"indexer-{next(_numbers)}"
        properties = {"n": {"type": "long"}, **PROPERTIES}
        settings = {"number_of_shards": 2, "number_of_replicas": 0}
        node.indices.create(index=self.index, body={"settings": settings, "mappings": {"properties": properties}})
        self.client = OpenSearch(proxy.url, max_retries=3)
        self._opened: list[BulkIndexer] = []

    def indexer(self, scheme: Scheme = ATTRIBUTE, *, client: OpenSearch | None = None, **options: Any) -> BulkIndexer:
        # The index says no scheme, so that one place serves tests of all of them.
        found = read_target(self.node, self.index)
        given = {"target": found, "patience_seconds": 30.0, "batch_documents": 50, "timeout_seconds": 20.0, **options}
        indexer = BulkIndexer(client or self.client, self.index, scheme, **given)
        self._opened.append(indexer)
        return indexer

    def declare(self, scheme: Scheme) -> None:
        """Have the index say its scheme, as `searchops_setup` does."""
        self.node.indices.put_mapping(index=self.index, body={"_meta": {"searchops": {"scheme": scheme.to_meta()}}})

    def held(self) -> dict[str, tuple[int, dict[str, Any]]]:
        """Version and content of every document, tombstones included."""
        self.node.indices.refresh(index=self.index)
        hits = self.node.search(index=self.index, body={"size": 10_000, "version": True})["hits"]["hits"]
        return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in hits}

    def contents(self) -> dict[str, int]:
        return {id: source["n"] for id, (_, source) in self.held().items()}

    def close(self) -> None:
        for indexer in self._opened:
            indexer.close()
        self.client.close()


class Folder:
    """Lane and store of rejected documents: a file for each batch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.down = False
        self._lock = threading.Lock()

    def hand_over(self, batch: int, documents: Sequence[HandedOver]) -> Mapping[str, int]:
        if self.down:
            raise NotHandedOver("the folder is gone")
        lines = [{**document._asdict(), "source": json.loads(document.source)} for document in documents]
        self._write(f"handed-{batch}", lines)
        return {"folder": len(documents)}

    def keep(self, batch: int, documents: Sequence[Rejected]) -> None:
        if self.down:
            raise TransientError("the folder is gone")
        self._write(f"rejected-{batch}", [{**document._asdict(), "line": document.line.decode()} for document in documents])

    def handed_over(self) -> list[dict[str, Any]]:
        return self._read("handed-*")

    def rejected(self) -> list[dict[str, Any]]:
        return self._read("rejected-*")

    def _write(self, name: str, lines: list[dict[str, Any]]) -> None:
        with self._lock:
            (self.path / name).write_text(json.dumps(lines))

    def _read(self, pattern: str) -> list[dict[str, Any]]:
        found = [line for path in self.path.glob(pattern) for line in json.loads(path.read_text())]
        return sorted(found, key=lambda line: line["position"])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture(scope="session")
def node(bulk_cloud: Cloud) -> Iterator[OpenSearch]:
    client = OpenSearch(bulk_cloud.endpoints["opensearch"], max_retries=0, timeout=30)
    yield client
    client.close()


@pytest.fixture(scope="session")
def session_proxy(bulk_cloud: Cloud) -> Iterator[FaultProxy]:
    with FaultProxy(bulk_cloud.endpoints["opensearch"]) as proxy:
        yield proxy
        proxy.clear()


@pytest.fixture
def proxy(session_proxy: FaultProxy) -> Iterator[FaultProxy]:
    yield session_proxy
    session_proxy.clear()


@pytest.fixture
def place(node: OpenSearch, proxy: FaultProxy) -> Iterator[Place]:
    place = Place(node, proxy)
    yield place
    place.close()
    proxy.clear()
    node.indices.delete(index=place.index, ignore_unavailable=True)


@pytest.fixture
def documents() -> Callable[..., list[Operation]]:
    """Index operations of version 1 with ids d0, d1…"""

    def make(count: int, version: int = 1) -> list[Operation]:
        from searchops.core.bulk import index

        return [index(f"d{n}", {"n": n}, version=version, sequence=str(version)) for n in range(count)]

    return make

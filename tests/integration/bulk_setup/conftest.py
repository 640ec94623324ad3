"""A node on which nothing is set up yet, and indexes of one test."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from opensearchpy import NotFoundError, OpenSearch

from local.cloud import Cloud
from searchops.core.bulk.landing import LANDING_INDEX, PIPELINE

_numbers = itertools.count(1)
MakeIndex = Callable[..., str]


@pytest.fixture(scope="session")
def node(bulk_cloud: Cloud) -> Iterator[OpenSearch]:
    client = OpenSearch(bulk_cloud.endpoints["opensearch"], max_retries=0, timeout=30)
    yield client
    client.close()


@pytest.fixture
def bare_node(node: OpenSearch) -> Iterator[OpenSearch]:
    """Without landing index and pipeline, before and after."""
    _clear(node)
    yield node
    _clear(node)


def _clear(node: OpenSearch) -> None:
    node.indices.delete(index=f"{LANDING_INDEX},searchops-probe-*", ignore_unavailable=True)
    with contextlib.suppress(NotFoundError):
        node.ingest.delete_pipeline(id=PIPELINE)


@pytest.fixture
def make_index(node: OpenSearch) -> Iterator[MakeIndex]:
    """Make an index behind an alias and return the alias; the index is called ``<alias>-1``."""
    made: list[str] = []

    def make(
        documents: Sequence[Mapping[str, Any]] = (),
        *,
        mappings: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        alias: Mapping[str, Any] | None = None,
    ) -> str:
        name = f"setup-{next(_numbers)}"
        made.append(f"{name}-1")
        body = {
            "settings": {"number_of_shards": 2, "number_of_replicas": 0, **(settings or {})},
            "mappings": dict(mappings or {}),
            "aliases": {name: dict(alias or {"is_write_index": True})},
        }
        node.indices.create(index=f"{name}-1", body=body)
        write(node, name, documents)
        return name

    yield make
    for index in made:
        node.indices.delete(index=index, ignore_unavailable=True)


def write(node: OpenSearch, index: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """Each ``{"id": …, "version": …, …}``: the version is external where there is one, the rest is the document."""
    for document in documents:
        source = {name: value for name, value in document.items() if name not in ("id", "version")}
        external = {"version": document["version"], "version_type": "external"} if "version" in document else {}
        node.index(index=index, id=document["id"], body=source, **external)
    node.indices.refresh(index=index)

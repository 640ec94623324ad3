"""The clients that the benchmarks of bulk indexing compare, and the callers that they judge, on the real node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from opensearchpy import OpenSearch

from benchmarks.bulk import client, documents, ends, foreign, writer
from benchmarks.bulk.callers import HERE, STREAMING
from benchmarks.bulk.client import ARMS, OURS, Order
from benchmarks.bulk.ends import Outcome, Way
from benchmarks.environment import client_of
from local.cloud import Cloud
from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import Fault, Kind
from tests.conftest import aws_client

BUCKET, COUNT = "bench-clients", 300


@pytest.fixture(scope="module")
def bulk(bulk_cloud: Cloud) -> Iterator[Cloud]:
    """The cloud with a bucket; child processes are its clients."""
    aws_client(bulk_cloud, "s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    with client_of(bulk_cloud):
        yield bulk_cloud


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("documents") / "documents.ndjson"
    lines = [
        {"id": f"d{number}", "revision": 1 + number % 5, "dictionary": "jmdict", "glosses": [f"gloss {number}"]}
        for number in range(COUNT)
    ]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return path


def held(node: OpenSearch, index: str) -> dict[str, tuple[int, Any]]:
    """Version and content by id."""
    node.indices.refresh(index=index)
    hits = node.search(index=index, body={"size": 1000, "version": True})["hits"]["hits"]
    return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in hits}


def test_what_the_request_path_is_measured_with_is_ready_when_the_clock_starts(bulk: Cloud) -> None:
    writer.furnish(bulk)

    stream = aws_client(bulk, "firehose").describe_delivery_stream(DeliveryStreamName=writer.STREAM)
    assert stream["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE"


@pytest.mark.parametrize(("arm", "in_memory"), [*((arm, True) for arm in ARMS), (OURS, False)])
def test_every_client_writes_the_same_documents_with_the_same_versions(
    bulk: Cloud, file: Path, arm: str, in_memory: bool
) -> None:
    url, index = bulk.endpoints["opensearch"], f"bench-{list(ARMS).index(arm)}-{int(in_memory)}"
    with OpenSearch(url) as node:
        node.indices.create(index=index, body=documents.INDEX_BODY)

        done = client.run(Order(arm, url, index, str(file), start=1, step=2, in_memory=in_memory, bucket=BUCKET))

        given = list(documents.read(file, 1, 2))
        assert held(node, index) == {document["id"]: (document["revision"], document) for document in given}
        node.indices.delete(index=index)
    assert done.documents == len(given)
    assert min(done.seconds, done.cpu_seconds, done.peak_bytes) > 0


def test_a_client_that_fails_is_no_figure(bulk: Cloud, file: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 1"):
        client.run(Order("streaming_bulk", "http://127.0.0.1:9", "nowhere", str(file)))


def test_a_caller_of_ours_knows_the_end_of_each_document_where_one_of_streaming_bulk_does_not(bulk: Cloud) -> None:
    way = Way("", [Fault(Kind.ITEM_429, after=2, share=0.1)], documents=500)
    with FaultProxy(bulk.endpoints["opensearch"]) as proxy, OpenSearch(bulk.endpoints["opensearch"]) as node:
        bench = ends.Bench(node, proxy, BUCKET)

        assert bench.outcome(way, HERE) == Outcome(indexed=500)
        assert bench.outcome(way, STREAMING) == Outcome(indexed=290, refused=10, lost=200, raised="BulkIndexError naming 10")


def test_what_no_attempt_brings_in_is_on_a_manifest(bulk: Cloud) -> None:
    way = Way("", [Fault(Kind.ITEM_429, times=None, share=1.0)], documents=200)
    with FaultProxy(bulk.endpoints["opensearch"]) as proxy, OpenSearch(bulk.endpoints["opensearch"]) as node:
        assert ends.Bench(node, proxy, BUCKET).outcome(way, HERE) == Outcome(kept=200)


def test_a_caller_that_does_not_come_back_is_ended(bulk: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "LIMIT_SECONDS", 3.0)
    with FaultProxy(bulk.endpoints["opensearch"]) as proxy, OpenSearch(bulk.endpoints["opensearch"]) as node:
        way = Way("", [Fault(Kind.SLOW, seconds=30)], documents=100)

        outcome = ends.Bench(node, proxy, BUCKET).outcome(way, STREAMING)

    assert outcome.hangs


def test_the_foreign_load_sends_what_it_was_told_to_although_most_of_it_is_refused(bulk: Cloud) -> None:
    load = foreign.Load(requests_per_second=50, documents=10, shards=1, seconds=1.0, threads=4)
    with FaultProxy(bulk.endpoints["opensearch"]) as proxy, OpenSearch(bulk.endpoints["opensearch"]) as node:
        node.indices.create(index="others", body={"settings": {"number_of_shards": 1, "number_of_replicas": 0}})
        proxy.order(Fault(Kind.ITEM_429, times=None, share=0.9))

        with foreign.running(proxy.url, "others", load) as others:
            others.process.wait(timeout=60)

        node.indices.delete(index="others")
    assert (others.sent.requests, others.sent.taken, others.sent.refused, others.sent.others) == (50, 50, 450, 0)

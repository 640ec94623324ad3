"""What a stream does with the real node behind it, and with S3 for what the node does not take."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from local.cloud import Cloud
from local.demo.functions import wait_until
from local.simulators.firehose.control import FirehoseControl
from tests.conftest import aws_client

ROLE = "arn:aws:iam::123456789012:role/firehose"
# Gives a document the id and the external version that its envelope names, as a landing index does.
VERSIONED = """
ctx._id = ctx.meta.id; ctx._version = ctx.meta.version; ctx._version_type = 'external'; ctx.remove('meta');
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def node(bulk_cloud: Cloud) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=bulk_cloud.endpoints["opensearch"], trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def firehose(bulk_cloud: Cloud) -> Any:
    return aws_client(bulk_cloud, "firehose", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture(scope="module")
def s3(bulk_cloud: Cloud) -> Any:
    return aws_client(bulk_cloud, "s3")


@pytest.fixture
def control(bulk_cloud: Cloud) -> Iterator[FirehoseControl]:
    control = FirehoseControl(bulk_cloud.endpoints["firehose"])
    yield control
    control.clear_faults()
    control.close()


Create = Callable[..., str]


@pytest.fixture
def create(node: httpx.Client, firehose: Any, s3: Any) -> Iterator[Create]:
    """Make an index, a bucket and a stream of one name, wait until the stream is active, and return the name."""
    names: list[str] = []

    def create(settings: dict[str, Any] | None = None, retry_seconds: int = 300, compression: str = "UNCOMPRESSED") -> str:
        name = f"firehose-{next(_numbers)}"
        names.append(name)
        node.put(f"/{name}", json={"settings": {"number_of_replicas": 0} | (settings or {})}).raise_for_status()
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
        firehose.create_delivery_stream(
            DeliveryStreamName=name,
            AmazonopensearchserviceDestinationConfiguration={
                "RoleARN": ROLE,
                "DomainARN": "arn:aws:es:ap-northeast-1:123456789012:domain/search",
                "IndexName": name,
                "IndexRotationPeriod": "NoRotation",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
                "RetryOptions": {"DurationInSeconds": retry_seconds},
                "S3Configuration": {
                    "RoleARN": ROLE,
                    "BucketARN": f"arn:aws:s3:::{name}",
                    "Prefix": "overflow/",
                    "CompressionFormat": compression,
                },
            },
        )
        wait_until(lambda: status(firehose, name) == "ACTIVE", f"{name} is active")
        return name

    yield create
    for name in names:
        firehose.delete_delivery_stream(DeliveryStreamName=name)
        node.delete(f"/{name}").raise_for_status()


def status(firehose: Any, name: str) -> str:
    description = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    return str(description["DeliveryStreamStatus"])


def put(firehose: Any, name: str, documents: Sequence[Any]) -> list[dict[str, Any]]:
    records = [{"Data": json.dumps(document).encode()} for document in documents]
    return list(firehose.put_record_batch(DeliveryStreamName=name, Records=records)["RequestResponses"])


def indexed(node: httpx.Client, name: str) -> dict[str, Any]:
    """The documents of an index by their ids."""
    node.post(f"/{name}/_refresh").raise_for_status()
    found = node.get(f"/{name}/_search", params={"size": 1000}).raise_for_status().json()
    return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}


def failures(s3: Any, name: str) -> list[dict[str, Any]]:
    """The lines of the objects that tell of what failed."""
    found = []
    for row in s3.list_objects_v2(Bucket=name).get("Contents", []):
        assert row["Key"].startswith("overflow/AmazonOpenSearchService_failed/20")
        body = s3.get_object(Bucket=name, Key=row["Key"])["Body"].read()
        found += (gzip.decompress(body) if row["Key"].endswith(".gz") else body).splitlines()
    return [json.loads(line) for line in found]


def raw(failure: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(failure["rawData"]))


def test_records_become_documents_with_ids_of_firehoses_own(
    node: httpx.Client, firehose: Any, s3: Any, control: FirehoseControl, create: Create
) -> None:
    name = create()
    put(firehose, name, [{"id": "mine", "n": n} for n in range(500)])

    assert control.wait_until_empty(name)

    documents = indexed(node, name)
    assert sorted(document["n"] for document in documents.values()) == list(range(500))
    assert "mine" not in documents
    assert failures(s3, name) == []


def test_a_pipeline_gives_a_document_its_own_id_and_a_late_one_fails_with_409(
    node: httpx.Client, firehose: Any, s3: Any, control: FirehoseControl, create: Create
) -> None:
    node.put("/_ingest/pipeline/firehose-versioned", json={"processors": [{"script": {"source": VERSIONED}}]}).raise_for_status()
    name = create({"default_pipeline": "firehose-versioned"})
    for version in (2, 1):
        put(firehose, name, [{"meta": {"id": "a", "version": version}, "n": version}])
        assert control.flush(name)

    (failure,) = failures(s3, name)
    assert indexed(node, name) == {"a": {"n": 2}}
    assert (failure["errorCode"], raw(failure)["n"], failure["attemptsMade"]) == ("409", 1, 1)


def test_a_record_delivered_twice_is_one_document(
    node: httpx.Client, firehose: Any, control: FirehoseControl, create: Create
) -> None:
    name = create()
    control.fault("twice", stream=name)
    put(firehose, name, [{"n": 1}])

    assert control.wait_until_empty(name)

    assert list(indexed(node, name).values()) == [{"n": 1}]
    assert control.stream(name).delivered == 2


def block(node: httpx.Client, name: str, blocked: bool) -> None:
    """What the node does to its indexes when the disk is full: every write is a 429."""
    settings = {"index.blocks.read_only_allow_delete": blocked or None}
    node.put(f"/{name}/_settings", json=settings).raise_for_status()


def test_a_429_is_tried_again_until_the_node_takes_the_documents(
    node: httpx.Client, firehose: Any, s3: Any, control: FirehoseControl, create: Create
) -> None:
    name = create(retry_seconds=7200)
    block(node, name, True)
    put(firehose, name, [{"n": 1}, {"n": 2}])
    wait_until(lambda: control.stream(name).attempts >= 3, "three attempts")

    block(node, name, False)
    assert control.flush(name)

    assert sorted(document["n"] for document in indexed(node, name).values()) == [1, 2]
    assert failures(s3, name) == []


def test_a_429_that_does_not_end_is_written_to_s3(
    node: httpx.Client, firehose: Any, s3: Any, control: FirehoseControl, create: Create
) -> None:
    name = create(retry_seconds=60, compression="GZIP")
    block(node, name, True)
    put(firehose, name, [{"n": 1}, {"n": 2}])

    assert control.flush(name)
    block(node, name, False)

    found = failures(s3, name)
    assert [raw(failure) for failure in found] == [{"n": 1}, {"n": 2}]
    assert {failure["errorCode"] for failure in found} == {"429"}
    assert "cluster_block_exception" in found[0]["errorMessage"]
    assert found[0]["attemptsMade"] > 2


def test_a_document_that_the_mapping_refuses_and_one_for_a_closed_index_fail_at_once(
    node: httpx.Client, firehose: Any, s3: Any, control: FirehoseControl, create: Create
) -> None:
    name = create()
    put(firehose, name, [{"n": 1}, {"n": {"not": "a number"}}])
    assert control.flush(name)
    node.post(f"/{name}/_close").raise_for_status()
    put(firehose, name, [{"n": 3}])
    assert control.flush(name)
    node.post(f"/{name}/_open?wait_for_active_shards=1").raise_for_status()

    assert list(indexed(node, name).values()) == [{"n": 1}]
    assert [(failure["errorCode"], failure["attemptsMade"]) for failure in failures(s3, name)] == [("400", 1)] * 2


def test_who_sends_again_only_what_failed_gets_every_document_once(
    node: httpx.Client, firehose: Any, control: FirehoseControl, create: Create
) -> None:
    name = create()
    control.fault("fail_records", stream=name, share=0.5, seed=7)
    left = [{"n": n} for n in range(200)]
    calls = 0
    while left:
        calls += 1
        left = [document for document, told in zip(left, put(firehose, name, left), strict=True) if "ErrorCode" in told]
    assert control.flush(name)

    assert calls > 3
    assert sorted(document["n"] for document in indexed(node, name).values()) == list(range(200))


def test_an_answer_that_is_lost_makes_a_document_of_each_try(
    node: httpx.Client, firehose: Any, control: FirehoseControl, create: Create
) -> None:
    name = create()
    control.fault("reset_after", "PutRecordBatch", stream=name, last=1)
    with pytest.raises(BotoCoreError):
        put(firehose, name, [{"n": 1}])
    put(firehose, name, [{"n": 1}])
    assert control.flush(name)

    assert list(indexed(node, name).values()) == [{"n": 1}, {"n": 1}]


def test_what_cannot_be_written_to_s3_waits_for_its_bucket(
    firehose: Any, s3: Any, control: FirehoseControl, create: Create
) -> None:
    name = create()
    s3.delete_bucket(Bucket=name)
    firehose.put_record(DeliveryStreamName=name, Record={"Data": b"no JSON"})
    assert not control.flush(name, wait_seconds=0.5)
    assert control.stream(name).unwritten_objects == 1

    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    assert control.wait_until_empty(name)

    assert [failure["errorCode"] for failure in failures(s3, name)] == ["ES.MalformedData"]

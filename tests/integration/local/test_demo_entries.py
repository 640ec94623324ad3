"""The demo's table: what its stream shows of what is written, and that the function brings that to the index."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from opensearchpy import OpenSearch

from local.cloud import Cloud
from local.demo import entries
from local.simulators.streams.control import StreamsControl
from tests.conftest import aws_client

BUCKET = "demo-entries"


def entry(number: int, **attributes: Any) -> dict[str, Any]:
    return {"pk": str(number), "sk": "entry", "revision": 1, "headword": f"語{number}", "reading": ["ご"], **attributes}


@pytest.fixture(scope="module")
def node(bulk_cloud: Cloud) -> Iterator[OpenSearch]:
    client = partial(aws_client, bulk_cloud)
    node = OpenSearch(bulk_cloud.endpoints["opensearch"])
    client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    entries.furnish(client, node, bulk_cloud.endpoints["opensearch"], BUCKET, [entry(number) for number in range(30)])
    yield node
    for mapping in client("lambda").list_event_source_mappings(FunctionName=entries.FUNCTION)["EventSourceMappings"]:
        client("lambda").delete_event_source_mapping(UUID=mapping["UUID"])
    client("lambda").delete_function(FunctionName=entries.FUNCTION)
    client("dynamodb").delete_table(TableName=entries.NAME)
    node.indices.delete(index=f"{entries.NAME}-1")
    node.close()


def test_the_index_gets_what_is_written_from_now_on_and_nothing_of_what_is_put_as_it_is(
    bulk_cloud: Cloud, node: OpenSearch
) -> None:
    dynamodb, streams = aws_client(bulk_cloud, "dynamodb"), StreamsControl(bulk_cloud.endpoints["streams"])
    same, changed = [entry(number) for number in range(20)], [entry(number, revision=2) for number in (20, 21)]

    entries.put(dynamodb, entries.items(same))
    entries.put(dynamodb, entries.items(changed))
    streams.wait_until_caught_up(entries.NAME)
    node.indices.refresh(index=entries.NAME)
    hits = node.search(index=entries.NAME, body={"version": True})["hits"]["hits"]

    assert {hit["_id"]: hit["_version"] for hit in hits} == {"20|entry": 2, "21|entry": 2}
    assert streams.counts(entries.NAME)["read"] == 2
    streams.close()


def test_the_days_of_the_table_are_in_its_index_by_date(bulk_cloud: Cloud, node: OpenSearch) -> None:
    answer = aws_client(bulk_cloud, "dynamodb").query(
        TableName=entries.NAME,
        IndexName=entries.DATE_INDEX,
        KeyConditionExpression="created_ymd = :day",
        ExpressionAttributeValues={":day": {"S": "20261101"}},
        Select="COUNT",
    )

    assert answer["Count"] == 30

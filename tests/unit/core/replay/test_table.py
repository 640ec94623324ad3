"""What DynamoDB's description of a table means."""

from __future__ import annotations

from typing import Any

import pytest

from searchops.core.replay.table import facts_of

DESCRIBED: dict[str, Any] = {
    "TableName": "items",
    "TableArn": "arn:aws:dynamodb:ap-northeast-1:123456789012:table/items",
    "TableStatus": "ACTIVE",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "B"},
        {"AttributeName": "day", "AttributeType": "N"},
    ],
    "ProvisionedThroughput": {"WriteCapacityUnits": 7, "ReadCapacityUnits": 5},
    "ItemCount": 3,
    "TableSizeBytes": 300,
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-day",
            "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["title"]},
            "IndexStatus": "CREATING",
            "ProvisionedThroughput": {"WriteCapacityUnits": 2, "ReadCapacityUnits": 5},
            "ItemCount": 2,
            "IndexSizeBytes": 40,
        }
    ],
    "LocalSecondaryIndexes": [
        {
            "IndexName": "local",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "day", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}


def test_a_provisioned_table_with_indexes_and_without_a_stream() -> None:
    found = facts_of(DESCRIBED, {"TimeToLiveStatus": "DISABLED"})

    assert found.keys == ("pk", "sk")
    assert found.key_types == {"pk": "S", "sk": "B", "day": "N"}
    assert (found.billing, found.write_units, found.most_write_units) == ("PROVISIONED", 7, None)
    assert (found.stream_arn, found.stream_view, found.ttl_attribute) == (None, "", None)
    assert (found.items, found.size_bytes, found.average_bytes) == (3, 300, 100)
    day, local = found.indexes
    assert (day.is_global, day.status, day.write_units, day.items, day.included) == (True, "CREATING", 2, 2, ("title",))
    assert (local.is_global, local.status, local.write_units, local.keys) == (False, "ACTIVE", None, ("pk", "day"))
    assert found.index("by-day") is day
    assert found.index("other") is None


def test_an_on_demand_table_with_a_stream_ttl_and_replicas() -> None:
    described = {
        **DESCRIBED,
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"WriteCapacityUnits": 0, "ReadCapacityUnits": 0},
        "OnDemandThroughput": {"MaxWriteRequestUnits": 500, "MaxReadRequestUnits": -1},
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        "LatestStreamArn": "arn:stream",
        "Replicas": [{"RegionName": "eu-west-1", "ReplicaStatus": "ACTIVE"}],
        "TableClassSummary": {"TableClass": "STANDARD_INFREQUENT_ACCESS"},
    }

    found = facts_of(described, {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"})

    assert (found.billing, found.write_units, found.most_write_units) == ("PAY_PER_REQUEST", None, 500)
    assert (found.stream_arn, found.stream_view, found.ttl_attribute) == ("arn:stream", "NEW_IMAGE", "expires")
    assert (found.replicas, found.table_class) == (("eu-west-1",), "STANDARD_INFREQUENT_ACCESS")


def test_the_arn_of_a_stream_that_was_turned_off_is_not_that_of_one_that_is_on() -> None:
    found = facts_of({**DESCRIBED, "LatestStreamArn": "arn:old", "StreamSpecification": {"StreamEnabled": False}}, {})

    assert found.stream_arn is None


@pytest.mark.parametrize(
    ("projection", "included", "written"),
    [("ALL", (), True), ("KEYS_ONLY", (), False), ("INCLUDE", ("title",), False), ("INCLUDE", ("title", "marker"), True)],
)
def test_an_index_is_written_by_a_touch_where_it_projects_the_marker(
    projection: str, included: tuple[str, ...], written: bool
) -> None:
    (index,) = facts_of(DESCRIBED, {}).indexes[:1]
    index = type(index)("by-day", True, "day", None, projection, included)

    assert index.is_written_by("marker", "revision") is written

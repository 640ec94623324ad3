"""The demo's table: JMdict's entries by the day on which they came, its stream, the function that reads it and the index that it writes.

The stream is turned on when the entries are there already, and a stream shows only what comes later: the index is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from local.demo.indexer import IndexerFunction
from searchops.core.bulk.scheme import ALIVE, PROPERTIES, Deletes, Scheme, VersionScheme
from searchops.core.replay.records import MARKER

NAME = "entries"
"""Of the table, of its entry in the inventory, and of its index."""
FUNCTION = "stream-indexer"
DATE_INDEX, DATE = "created_ymd-index", "created_ymd"
FORMAT = "%Y%m%d"
"""Of days; one of those that ISO 8601 has."""
TIMEZONE = ZoneInfo("Asia/Tokyo")
FIRST_DAY, DAYS, PER_DAY = date(2026, 11, 1), 5, 1_500
WCU_PER_SECOND = 400
SCHEME = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision", "pk|sk")
_BATCH = 25
"""Of BatchWriteItem: DynamoDB's own limit."""

Item = Mapping[str, Any]


def day_of(number: int) -> date:
    """The day with a number from 0 on."""
    return FIRST_DAY + timedelta(days=number)


def items(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the table holds, as plain values: so many entries a day."""
    chosen = documents[: DAYS * PER_DAY]
    return [{**document, DATE: day_of(number // PER_DAY).strftime(FORMAT)} for number, document in enumerate(chosen)]


def to_dynamodb(item: Item) -> dict[str, Any]:
    to_value = TypeSerializer().serialize
    return {name: to_value(value) for name, value in item.items()}


def from_dynamodb(image: Mapping[str, Any]) -> dict[str, Any]:
    """Its numbers are decimals, which are equal to those that the item was made of."""
    from_value = TypeDeserializer().deserialize
    return {name: from_value(value) for name, value in image.items()}


def furnish(client: Callable[[str], Any], node: Any, endpoint: str, bucket: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """
    :param client: makes a boto3 client by the name of the service
    :param endpoint: of the node, as the function reaches it
    """
    dynamodb = client("dynamodb")
    _create_table(dynamodb)
    put(dynamodb, items(documents))
    changed = dynamodb.update_table(
        TableName=NAME, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    node.indices.create(index=f"{NAME}-1", body=index_body())
    function = IndexerFunction(client, name=FUNCTION, environment=function_settings(endpoint, bucket))
    function.map(changed["TableDescription"]["LatestStreamArn"])


def _create_table(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName=NAME,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", DATE)],
        GlobalSecondaryIndexes=[
            {
                "IndexName": DATE_INDEX,
                "KeySchema": [{"AttributeName": DATE, "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def put(dynamodb: Any, items: Sequence[Item]) -> None:
    """Write whole items, as a script would."""
    for start in range(0, len(items), _BATCH):
        left: Mapping[str, Any] = {NAME: [{"PutRequest": {"Item": to_dynamodb(item)}} for item in items[start : start + _BATCH]]}
        while left:
            left = dynamodb.batch_write_item(RequestItems=left)["UnprocessedItems"]


def index_body() -> dict[str, Any]:
    """The index with what searchops_setup would write, so that the function can begin before anybody has run that."""
    fields = {
        "headword": "keyword",
        "reading": "keyword",
        "gloss": "text",
        "revision": "long",
        DATE: "keyword",
        MARKER: "keyword",
    }
    return {
        "settings": {"index": {"number_of_shards": 1, "number_of_replicas": 0}},
        "mappings": {
            "_meta": {"searchops": {"scheme": SCHEME.to_meta()}},
            "dynamic": False,
            "properties": {**PROPERTIES, **{name: {"type": type_} for name, type_ in fields.items()}},
        },
        "aliases": {NAME: {"filter": ALIVE, "is_write_index": True}},
    }


def function_settings(endpoint: str, bucket: str) -> dict[str, str]:
    return {
        "SEARCHOPS_ENDPOINT": endpoint,
        "SEARCHOPS_INDEX": NAME,
        "SEARCHOPS_ID": SCHEME.id,
        "SEARCHOPS_VERSION_SCHEME": SCHEME.version.value,
        "SEARCHOPS_VERSION_ATTRIBUTE": SCHEME.attribute,
        "SEARCHOPS_DELETES": SCHEME.deletes.value,
        "SEARCHOPS_BUCKET": bucket,
    }

"""The tables that are replayed: items of known sizes, each with a day that an index finds them by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from itertools import islice
from typing import Any

INDEX, DAY, MARKER, LOOPED = "by-day", "created_ymd", "searchops_replay", "touched_at"
CLAIMS, BUCKET = "claims", "bench"
BATCH = 25  # of BatchWriteItem
_FRAME_BYTES = 80
"""What an item has beside its text, about."""


def days() -> Iterator[date]:
    """One after the other, without end."""
    day = date(2026, 1, 1)
    while True:
        yield day
        day += timedelta(days=1)


def value(day: date) -> str:
    return day.strftime("%Y%m%d")


def create(client: Any, name: str, *, stream: bool = True, projection: str = "ALL") -> None:
    """
    :param projection: of the index
    """
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("id", DAY)],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {
                "IndexName": INDEX,
                "KeySchema": [{"AttributeName": DAY, "KeyType": "HASH"}],
                "Projection": {"ProjectionType": projection},
            }
        ],
        **({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}} if stream else {}),
    )


def fill(client: Any, name: str, day: date, sizes: Iterable[int], threads: int = 4) -> int:
    """Write an item of each size, in bytes; how many these are."""
    items = (item(day, number, size) for number, size in enumerate(sizes))
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(partial(_write, client, name), _batches(items)))


def _batches(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(items, BATCH)):
        yield batch


def item(day: date, number: int, size_bytes: int) -> dict[str, Any]:
    return {
        "id": {"S": f"{value(day)}-{number:07}"},
        DAY: {"S": value(day)},
        "revision": {"N": "1"},
        "text": {"S": "x" * max(1, size_bytes - _FRAME_BYTES)},
    }


def count(client: Any, name: str, day: date, attribute: str, expected: str) -> int:
    """How many items of a day have this text in an attribute, read from the table itself."""
    pages = client.get_paginator("scan").paginate(
        TableName=name,
        FilterExpression="#day = :day AND #attribute = :expected",
        ExpressionAttributeNames={"#day": DAY, "#attribute": attribute},
        ExpressionAttributeValues={":day": {"S": value(day)}, ":expected": {"S": expected}},
        Select="COUNT",
        ConsistentRead=True,
    )
    return sum(int(page["Count"]) for page in pages)


def _write(client: Any, name: str, items: Sequence[dict[str, Any]]) -> int:
    requests = [{"PutRequest": {"Item": entry}} for entry in items]
    while requests:
        requests = client.batch_write_item(RequestItems={name: requests})["UnprocessedItems"].get(name, [])
    return len(items)

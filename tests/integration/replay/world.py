"""Tables of DynamoDB Local, replays of them, and what stands in their streams."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import boto3

from searchops.core.bulk.bucket import Bucket
from searchops.core.idempotency.guard import Guard
from searchops.core.replay.checkpoint import TableCheckpoints
from searchops.core.replay.identity import Replays
from searchops.core.replay.model import Key
from searchops.core.replay.pace import Pacer
from searchops.core.replay.run import Done, Job, PageDone, Standing, replay
from searchops.core.replay.selection import Selection
from searchops.core.replay.table import TableFacts, read_table
from searchops.core.replay.touched import TouchedPages, name_of
from searchops.core.replay.toucher import NAMESPACE, Toucher

CLAIMS = "claims-of-replays"
MARKER = "replayed"
DAY = "20261121"
_numbers = itertools.count(1)
_SESSION = boto3.session.Session()  # it has read the models of the services when the second client is made


def at(url: str, service: str, **options: Any) -> Any:
    """A client of DynamoDB Local, or of the proxy before it."""
    return _SESSION.client(
        service,
        endpoint_url=url,
        region_name="ap-northeast-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        **options,
    )


@dataclass(frozen=True)
class Table:
    """A table with the keys ``pk`` and ``sk``, and the index ``by_day`` on ``day``."""

    client: Any
    facts: TableFacts

    @property
    def name(self) -> str:
        return self.facts.name

    def put(self, items: Iterable[dict[str, Any]]) -> list[Key]:
        """Write items, and return their keys."""
        keys = []
        for some in _chunks(items, 25):
            requests = [{"PutRequest": {"Item": item}} for item in some]
            left = self.client.batch_write_item(RequestItems={self.name: requests})["UnprocessedItems"]
            assert not left
            keys += [self.facts.key_of(item) for item in some]
        return keys

    def items(self) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def get(self, key: Key) -> dict[str, Any] | None:
        return self.client.get_item(TableName=self.name, Key=key, ConsistentRead=True).get("Item")


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while some := list(itertools.islice(left, size)):
        yield some


def new_table(
    client: Any,
    *,
    pk: str = "S",
    sk: str | None = "N",
    day: str = "S",
    projection: dict[str, Any] | None = None,
    ttl: str | None = None,
) -> Table:
    name = f"replayed-{os.getpid()}-{next(_numbers)}"
    types = {"pk": pk, "day": day} | ({"sk": sk} if sk else {})
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, *([{"AttributeName": "sk", "KeyType": "RANGE"}] if sk else [])],
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": type_} for attribute, type_ in types.items()],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_day",
                "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
                "Projection": projection or {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    if ttl:
        client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl})
    return Table(client, read_table(client, name))


def item(pk: str, sk: int, **more: Any) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"N": str(sk)}, "day": {"S": DAY}, "revision": {"N": "1000"}, **more}


def some_items(count: int) -> list[dict[str, Any]]:
    """Of seven partitions."""
    return [item(f"p{number % 7}", number) for number in range(count)]


@dataclass(frozen=True)
class Replayed:
    """Replays of tables, whose claims, checkpoints and touched keys are kept."""

    dynamodb: Any
    claims: str
    bucket: Bucket

    def job(
        self,
        table: Table,
        selection: Selection,
        *,
        client: Any = None,
        home: Any = None,
        bucket: Bucket | None = None,
        ahead: float | Callable[[], float] = 0,
        pace: Pacer | None = None,
        **toucher: Any,
    ) -> Job:
        """
        :param client: that touches; ``home``: the one of claims, ids and checkpoints
        :param ahead: seconds that the clock of the claims is ahead, to be past the lease of a dead task
        """
        home = home or self.dynamodb
        seconds = ahead if callable(ahead) else lambda: ahead
        guard = Guard(
            home, table=self.claims, namespace=NAMESPACE, lease=timedelta(seconds=60), clock=lambda: time.time() + seconds()
        )
        kept = bucket or self.bucket
        return Job(
            toucher=Toucher(
                client=client or self.dynamodb,
                facts=table.facts,
                marker=MARKER,
                guard=guard,
                pace=pace or Pacer(1e7),
                **{"threads": 8, "version_attribute": "revision", "adds_version": True, **toucher},
            ),
            selection=selection,
            replays=Replays(home, self.claims),
            checkpoints=TableCheckpoints(home, self.claims, table.name),
            touched=lambda replay_id: TouchedPages(kept, table.name, replay_id),
            s3=self.bucket._s3,
        )

    def run(
        self,
        table: Table,
        selection: Selection,
        on_page: Callable[[PageDone], None] = lambda page: None,
        on_wait: Callable[[Standing], None] = lambda standing: None,
        **job: Any,
    ) -> Done:
        return replay(self.job(table, selection, **job), on_page, on_wait)

    def kept(self, table: Table, replay_id: str) -> Counter[str]:
        """The names of the keys that are on the list of a replay."""
        pages = TouchedPages(self.bucket, table.name, replay_id)
        return Counter(name_of(entry.key) for page in pages.pages() for entry in pages.read(page))


def records(streams: Any, table: Table) -> list[dict[str, Any]]:
    """All that stands in the stream of a table, in the order of its shards."""
    found = []
    arn = table.facts.stream_arn
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        next_ = iterator["ShardIterator"]
        while next_:
            answer = streams.get_records(ShardIterator=next_, Limit=1000)
            found += answer["Records"]
            next_ = answer.get("NextShardIterator") if answer["Records"] else None
    return found


def touches(found: Sequence[dict[str, Any]], replay_id: str) -> Counter[str]:
    """By the name of its key, how many records say that an item has got the id of a replay."""

    def marker(image: dict[str, Any]) -> Any:
        return image.get(MARKER, {}).get("S")

    return Counter(
        name_of(record["dynamodb"]["Keys"])
        for record in found
        if marker(record["dynamodb"].get("NewImage", {})) == replay_id != marker(record["dynamodb"].get("OldImage", {}))
    )

"""The clients that the benchmarks of replays compare, on DynamoDB Local."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import date
from typing import Any

import boto3
import pytest

from benchmarks.delay import delayed
from benchmarks.environment import client_of
from benchmarks.replay import client, table
from benchmarks.replay.client import ARMS, LOOP, OURS, Order
from local.cloud import Cloud
from searchops.core.idempotency.table import create_claims_table
from tests.conftest import aws_client

COUNT, TABLE = 60, "bench-replay"
_days = itertools.islice(table.days(), 100)


@pytest.fixture(scope="module")
def bench(dynamodb_cloud: Cloud, dynamodb: Any) -> Iterator[str]:
    """The URL of an engine with table, claims and bucket; child processes are its clients."""
    s3 = aws_client(dynamodb_cloud, "s3")
    s3.create_bucket(Bucket=table.BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    create_claims_table(dynamodb, table.CLAIMS)
    table.create(dynamodb, TABLE)
    with client_of(dynamodb_cloud):
        yield dynamodb_cloud.endpoints["dynamodb"]


@pytest.fixture
def day(bench: str, dynamodb: Any) -> date:
    day = next(_days)
    assert table.fill(dynamodb, TABLE, day, [500] * COUNT) == COUNT
    return day


@pytest.mark.parametrize("arm", ARMS)
def test_every_client_leaves_its_mark_on_every_item_of_the_day(bench: str, dynamodb: Any, day: date, arm: str) -> None:
    done = client.run(Order(arm, bench, TABLE, day.isoformat(), COUNT))

    assert table.count(dynamodb, TABLE, day, table.LOOPED if arm == LOOP else table.MARKER, done.mark) == COUNT
    assert min(done.seconds, done.cpu_seconds, done.start_bytes, done.peak_bytes) > 0


def test_a_paced_client_notes_what_every_answer_says_and_what_is_told(bench: str, day: date) -> None:
    done = client.run(Order(OURS, bench, TABLE, day.isoformat(), COUNT, limit=500.0, watched=True))

    assert sum(units for _, units in done.consumed) >= COUNT
    assert len(done.consumed) == COUNT
    assert done.told[-1][1] == COUNT


def test_a_client_that_touches_other_items_than_expected_is_no_figure(bench: str, day: date) -> None:
    with pytest.raises(RuntimeError, match=f"expected {COUNT + 1} items of {day} touched, found {COUNT}"):
        client.run(Order(LOOP, bench, TABLE, day.isoformat(), COUNT + 1))


def test_a_relay_gives_the_same_answers_but_none_before_its_time(bench: str, dynamodb: Any) -> None:
    with delayed(bench, 0.2) as late:
        client = boto3.client("dynamodb", endpoint_url=late)
        began = time.monotonic()
        found = [client.describe_table(TableName=TABLE)["Table"] for _ in range(3)]

    assert time.monotonic() - began >= 3 * 0.2
    assert found == [dynamodb.describe_table(TableName=TABLE)["Table"]] * 3

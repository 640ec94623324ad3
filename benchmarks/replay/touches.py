"""Touches a second and CPU a touch of a replay, beside the loop that queries a day and puts its items one by one.

Each arm has a day of its own, of items that are alike; they take turns in an order that goes round, without and with 5 ms added to each answer
by a relay before DynamoDB Local. The index has all attributes, so that the loop need not read each item once more. A warm-up round is not
counted. What is compared are the arms of one round; that all items bear what the client has written is looked up in the table.

A third arm sends the same updates bare, without a signature, a pace or anything kept: it says what the engine can take at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.delay import delayed
from benchmarks.environment import client_of
from benchmarks.replay import client, table
from benchmarks.replay.client import BARE, LOOP, OURS, Done, Order
from local.cloud import Cloud
from local.results import Measure
from searchops.core.idempotency.table import create_claims_table

ROUNDS = 9
ITEMS, ITEMS_LATE = 3_000, 1_500
ITEM_BYTES = 500
LATENCY_SECONDS = 0.005
TABLE = "bench"
ARMS = (OURS, LOOP, BARE)
NEAR, LATE = "", ", 5 ms added to each answer"
GOALS = {NEAR: ">= 2", LATE: ">= 6"}

Round = Mapping[str, Mapping[str, Done]]
"""By what is added to the answers, by arm."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done; the defaults are what is published."""

    rounds: int = ROUNDS
    items: int = ITEMS
    items_late: int = ITEMS_LATE


def measure(directory: Path, sizes: Sizes | None = None) -> list[Measure]:
    sizes = sizes or Sizes()
    with furnished(directory) as cloud, delayed(cloud.endpoints["dynamodb"], LATENCY_SECONDS) as late:
        bench = Bench(engine(cloud), {NEAR: cloud.endpoints["dynamodb"], LATE: late}, {NEAR: sizes.items, LATE: sizes.items_late})
        rounds = [bench.round(number) for number in range(sizes.rounds + 1)][1:]
    return figures(rounds)


@contextmanager
def furnished(directory: Path) -> Iterator[Cloud]:
    """An engine, a bucket and a table of claims; this process and those that it starts are clients of them."""
    import boto3

    with Cloud(directory, services=("aws", "dynamodb")) as cloud, client_of(cloud):
        s3: Any = boto3.client("s3")
        s3.create_bucket(Bucket=table.BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
        create_claims_table(engine(cloud), table.CLAIMS)
        yield cloud


def engine(cloud: Cloud) -> Any:
    import boto3

    return boto3.client("dynamodb", endpoint_url=cloud.endpoints["dynamodb"])


class Bench:
    """One table, with a day for each arm and each latency."""

    def __init__(self, engine: Any, urls: Mapping[str, str], items: Mapping[str, int]) -> None:
        self._engine = engine
        self._urls = urls
        table.create(self._engine, TABLE)
        places = [(added, arm) for added in items for arm in ARMS]
        self._days: dict[tuple[str, str], date] = dict(zip(places, table.days(), strict=False))
        self._items = items
        for (added, _), day in self._days.items():
            table.fill(self._engine, TABLE, day, [ITEM_BYTES] * items[added])

    def round(self, number: int) -> Round:
        arms = ARMS[number % len(ARMS) :] + ARMS[: number % len(ARMS)]
        return {added: {arm: self._touch(added, arm) for arm in arms} for added in self._items}

    def _touch(self, added: str, arm: str) -> Done:
        day = self._days[added, arm]
        done = client.run(Order(arm, self._urls[added], TABLE, day.isoformat(), self._items[added]))
        attribute = table.LOOPED if arm == LOOP else table.MARKER
        found = table.count(self._engine, TABLE, day, attribute, done.mark)
        if found != done.items:
            raise RuntimeError(f"{arm}: expected {done.items} items with {attribute} {done.mark}, found {found}")
        return done


def figures(rounds: Sequence[Round]) -> list[Measure]:
    measures = [
        Measure(ratio_name(added), "ratio", [one[added][OURS].per_second / one[added][LOOP].per_second for one in rounds], goal)
        for added, goal in GOALS.items()
    ]
    for added in GOALS:
        for arm in ARMS:
            measures.append(Measure(rate_name(arm, added), "1/s", [one[added][arm].per_second for one in rounds]))
            measures.append(Measure(cpu_name(arm, added), "µs", [one[added][arm].cpu_microseconds for one in rounds]))
        measures.append(Measure(f"items a round{added}", "items", [one[added][OURS].items for one in rounds]))
    return measures


def ratio_name(added: str) -> str:
    return f"touches a second, {OURS} to the loop{added}"


def rate_name(arm: str, added: str) -> str:
    return f"touches a second, {arm}{added}"


def cpu_name(arm: str, added: str) -> str:
    return f"client CPU a touch, {arm}{added}"

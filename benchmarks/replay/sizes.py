"""Time, memory and CPU of a replay of 10 k, 100 k and 300 k items, without a limit to its pace.

Items of 500 bytes in one table, a day for each size; the sizes take turns in an order that goes round. The table has no stream: DynamoDB Local
would keep every record in the memory that it shares with us.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.replay import client, table
from benchmarks.replay.client import OURS, Done, Order
from benchmarks.replay.touches import ITEM_BYTES, engine, furnished
from local.results import Measure

ROUNDS = 3
COUNTS = (10_000, 100_000, 300_000)
TABLE = "bench"
LINEAR, MEMORY = "<= 1.15", "<= 60"


def measure(directory: Path, counts: Sequence[int] = COUNTS, rounds: int = ROUNDS) -> list[Measure]:
    with furnished(directory) as cloud:
        dynamodb, url = engine(cloud), cloud.endpoints["dynamodb"]
        table.create(dynamodb, TABLE, stream=False, projection="KEYS_ONLY")
        days = dict(zip(counts, table.days(), strict=False))
        for count, day in days.items():
            table.fill(dynamodb, TABLE, day, [ITEM_BYTES] * count)
        found = []
        for number in range(rounds):
            turn = [*counts[number % len(counts) :], *counts[: number % len(counts)]]
            found.append({count: client.run(Order(OURS, url, TABLE, days[count].isoformat(), count)) for count in turn})
    return figures(found)


def figures(rounds: Sequence[Mapping[int, Done]]) -> list[Measure]:
    counts = sorted(rounds[0])
    few, many = counts[0], counts[-1]
    ratios = [one[few].per_second / one[many].per_second for one in rounds]
    grown = [max(done.grown_bytes for done in one.values()) / 1e6 for one in rounds]
    measures = [
        Measure(f"time a touch, {many:,} items to {few:,}", "ratio", ratios, LINEAR),
        Measure("memory over that of the start, the size with most", "MB", grown, MEMORY),
    ]
    for count in counts:
        done = [one[count] for one in rounds]
        measures.append(Measure(seconds_name(count), "s", [one.seconds for one in done]))
        measures.append(Measure(memory_name(count), "MB", [one.grown_bytes / 1e6 for one in done]))
        measures.append(Measure(f"client CPU a touch, {count:,} items", "µs", [one.cpu_microseconds for one in done]))
    return measures


def seconds_name(count: int) -> str:
    return f"time of {count:,} items"


def memory_name(count: int) -> str:
    return f"memory over that of the start, {count:,} items"

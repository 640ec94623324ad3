"""What a paced replay consumes in any 10 s, and how true the time is that is told to be left after the first tenth.

Items of 1 to 10 KB, and one in fifty of 50 KB: 1 % of what 10 s allow at 500 write units a second. What is consumed is what DynamoDB Local's
answers say, noted by an event of boto3 and not by the pace itself, at the time of the answer. The windows that are looked for the least begin when
the slow start is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.replay import client, table
from benchmarks.replay.client import OURS, Done, Order
from benchmarks.replay.touches import engine, furnished
from local.results import Measure
from searchops.core.replay.pace import WARM_UP_SECONDS

ROUNDS = 5
ITEMS = 5_000
LIMIT = 500.0
WINDOW_SECONDS = 10.0
LARGEST_BYTES = 50_000
TABLE = "bench"
MOST, LEAST, LEFT = "<= 1.05", ">= 0.9", "<= 0.15"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done; the defaults are what is published."""

    rounds: int = ROUNDS
    items: int = ITEMS
    limit: float = LIMIT


def measure(directory: Path, sizes: Sizes | None = None) -> list[Measure]:
    sizes = sizes or Sizes()
    with furnished(directory) as cloud:
        dynamodb, url = engine(cloud), cloud.endpoints["dynamodb"]
        table.create(dynamodb, TABLE, projection="KEYS_ONLY")
        done = []
        for number, day in zip(range(sizes.rounds), table.days(), strict=False):
            table.fill(dynamodb, TABLE, day, item_sizes(sizes.items, number))
            done.append(client.run(Order(OURS, url, TABLE, day.isoformat(), sizes.items, sizes.limit, watched=True)))
    return figures(done, sizes.limit)


def item_sizes(items: int, seed: int) -> list[int]:
    """In bytes, in an order of chance."""
    dice = Random(seed)
    return [LARGEST_BYTES if dice.random() < 0.02 else dice.randrange(1_000, 10_000) for _ in range(items)]


def windows(consumed: Sequence[tuple[float, float]], since: float = 0.0) -> Iterator[float]:
    """The units of windows between ``since`` and the last answer: of all that there are none has more than the most of these, or less."""
    answers = sorted(consumed)
    if answers[-1][0] - WINDOW_SECONDS >= since:
        yield sum(units for at, units in answers if since < at <= since + WINDOW_SECONDS)
    inside: deque[tuple[float, float]] = deque()
    total = 0.0
    for at, units in answers:
        while inside and inside[0][0] <= at - WINDOW_SECONDS:
            total -= inside.popleft()[1]
        inside.append((at, units))
        total += units
        if at - WINDOW_SECONDS >= since:
            yield total - units  # just before this answer
            yield total


def left_error(done: Done) -> float:
    """By how much of the truth the time was wrong that was told when a tenth was done."""
    at, left = next((at, left) for at, items, left in done.told if items >= done.items / 10)
    truth = done.seconds - at
    return abs((left if left is not None else 0.0) - truth) / truth


def figures(rounds: Sequence[Done], limit: float) -> list[Measure]:
    budget = WINDOW_SECONDS * limit
    largest = [max(units for _, units in one.consumed) / budget for one in rounds]
    return [
        Measure(
            "units in the 10 s with most, to the limit", "ratio", [max(windows(one.consumed)) / budget for one in rounds], MOST
        ),
        Measure(
            "units in the 10 s with fewest after the slow start, to the limit",
            "ratio",
            [min(windows(one.consumed, WARM_UP_SECONDS)) / budget for one in rounds],
            LEAST,
        ),
        Measure("time left as told after a tenth, wrong by", "share", [left_error(one) for one in rounds], LEFT),
        Measure("the largest touch, to the units of 10 s", "ratio", largest),
        Measure("seconds of a replay", "s", [one.seconds for one in rounds]),
    ]

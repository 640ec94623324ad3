"""What is replayed in a run, and what goes wrong in it, from its seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from local.faults.replay.items import DAY_INDEX, DAYS, Scheme, Task, partition
from local.faults.scenario import OF_S3, Kill, drawn
from local.simulators.dynamodb_faults.faults import Fault
from local.simulators.dynamodb_faults.faults import Kind as DynamoDBKind
from local.simulators.node_faults.faults import Kind as NodeKind

ITEMS = 300
_SCHEMES = tuple(Scheme)
_THROTTLES = (DynamoDBKind.THROTTLE_TABLE, DynamoDBKind.THROTTLE_INDEX, DynamoDBKind.THROTTLE_PARTITION)
# A permission that is missing is no fault that passes: the task fails, and is not tried again.
_OF_DYNAMODB = tuple(kind for kind in DynamoDBKind if kind is not DynamoDBKind.ACCESS_DENIED)
# A 413 says of a small request that it is too large, and what is done twice is tried by the deliveries.
_OF_NODE = (
    NodeKind.ITEM_429,
    NodeKind.STATUS_429,
    NodeKind.STATUS_503,
    NodeKind.RESET_BEFORE,
    NodeKind.RESET_AFTER,
    NodeKind.LATE_502,
    NodeKind.SLOW,
)
_DELIVERIES = ("deliver_twice", "deliver_together", "kill_handler", "kill_handler")


@dataclass(frozen=True, slots=True)
class Delivery:
    """An order for the poller, by the name of its method.

    A handler takes some 3 to 60 ms: what kills it within 40 ms comes before, between or behind its effect and its answer.
    """

    order: str
    times: int
    after: int
    options: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    :param shards: over which a day is spread in the index of days
    :param groups: tasks that run side by side, group after group
    :param kills: of the processes that replay, one a process
    :param page_items: of a page, so that there are many
    :param batches: touch 25 items a request
    :param dynamodb, bucket, node: probabilities of faults before DynamoDB (the application is past them), S3 and the node
    :param orders: of DynamoDB, beside what is drawn
    :param rate: of the application, writes a second
    """

    seed: int
    scheme: Scheme
    count: int
    shards: int
    groups: Sequence[Sequence[Task]]
    kills: Sequence[Kill]
    page_items: int
    threads: int
    batches: bool
    dynamodb: Mapping[DynamoDBKind, float]
    orders: Sequence[Fault]
    bucket: Mapping[NodeKind, float]
    node: Mapping[NodeKind, float]
    deliveries: Sequence[Delivery]
    rate: float

    @classmethod
    def draw(cls, seed: int, count: int = ITEMS) -> Self:
        """Half of the seeds is killed, two fifths have two replays of one day at once, most replay a day again."""
        random = Random(f"replay {seed}")
        scheme = _SCHEMES[seed % len(_SCHEMES)]
        return cls(
            seed=seed,
            scheme=scheme,
            count=count,
            shards=random.choice((0, 0, 3)),
            groups=_groups(random, at_once=seed % 5 < 2),
            kills=[_kill(random) for _ in range(random.randint(1, 4))] if seed % 2 == 0 else (),
            page_items=random.choice((5, 20, 60)),
            threads=random.choice((1, 4, 16)),
            batches=not scheme.touches_raise_version and random.random() < 0.2,
            dynamodb=drawn(random, _OF_DYNAMODB, random.choice((0.0, 0.02, 0.1, 0.2))),
            orders=_orders(random),
            bucket=drawn(random, OF_S3, random.choice((0.0, 0.0, 0.05, 0.1))),
            node=drawn(random, _OF_NODE, random.choice((0.0, 0.1, 0.3))),
            deliveries=_deliveries(random),
            rate=random.choice((10.0, 40.0, 100.0)),
        )

    @property
    def tasks(self) -> list[Task]:
        return [task for group in self.groups for task in group]


def _groups(random: Random, *, at_once: bool) -> list[list[Task]]:
    """A backfill of three days, of which one is asked for twice; a day replayed again; and something else than a day."""
    first, *others = (Task(day) for day in random.sample(DAYS, len(DAYS)))
    groups = [[first] * (2 if at_once else 1), others]
    if random.random() < 0.7:
        groups.append([first])
    keys = Task(partitions=tuple(partition(number) for number in random.sample(range(7), 2)))
    groups.append([random.choice((keys, Task()))])
    return groups


def _orders(random: Random) -> list[Fault]:
    orders = []
    if random.random() < 0.6:  # for a while nothing gets through
        kind, times, after = random.choice(_THROTTLES), random.randint(5, 60), random.randint(0, 100)
        orders.append(Fault(kind, times=times, after=after, index=DAY_INDEX))
    if random.random() < 0.5:  # answers that are lost, one after the other
        kind = random.choice((DynamoDBKind.RESET_AFTER, DynamoDBKind.TIMEOUT, DynamoDBKind.CUT))
        orders.append(Fault(kind, times=random.randint(1, 8), after=random.randint(0, 150), seconds=0.1))
    return orders


def _deliveries(random: Random) -> list[Delivery]:
    found = []
    for order in random.sample(_DELIVERIES, random.randint(1, 3)):
        options: dict[str, Any] = {"seconds": random.uniform(0.0, 0.04)} if order == "kill_handler" else {}
        found.append(Delivery(order, random.randint(1, 4), random.randint(0, 4), options))
    return found


def _kill(random: Random) -> Kill:
    return Kill(random.randint(1, 110), random.choice(("before", "after", "within")), random.random() * 0.02)

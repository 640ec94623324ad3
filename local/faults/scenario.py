"""What goes wrong in a run, from its seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Self, TypeVar

from local.faults.documents import Scheme
from local.simulators.node_faults.faults import Fault, Kind

DOCUMENTS = 1_000
_K = TypeVar("_K")
_SCHEMES = (
    Scheme.TOMBSTONES,
    Scheme.ONCE,
    Scheme.TOMBSTONES,
    Scheme.SEQUENCE,
    Scheme.TOMBSTONES,
    Scheme.NEVER,
    Scheme.TOMBSTONES,
)
_OF_ITEMS = tuple(kind for kind in Kind if kind.of_items)
# A 413 is drawn for the larger requests only: one that strikes a single document says that this one is too large.
_OF_REQUESTS = tuple(kind for kind in Kind if not kind.of_items and kind not in (Kind.STATUS_413, Kind.STATUS_413_HTML))
# Of S3: what is answered, and what is lost. The others are words of a node.
OF_S3 = (Kind.STATUS_500, Kind.STATUS_503, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.LATE_502, Kind.SLOW)
_FIREHOSE: Sequence[Mapping[str, Any]] = (
    {"kind": "throttle", "operation": "PutRecordBatch", "share": 0.3},
    {"kind": "fail_records", "share": 0.4},
    {"kind": "fail_records", "share": 0.3, "taken": True},
    {"kind": "server_error", "operation": "PutRecordBatch", "share": 0.3, "status": 500},
    {"kind": "server_error_after", "operation": "PutRecordBatch", "share": 0.3, "status": 503},
    {"kind": "reset", "operation": "PutRecordBatch", "share": 0.3},
    {"kind": "reset_after", "operation": "PutRecordBatch", "share": 0.3},
    {"kind": "twice", "share": 0.5},
    {
        "kind": "error",
        "operation": "PutRecordBatch",
        "code": "AccessDeniedException",
        "message": "by order",
        "first": 3,
        "last": 8,
    },
    {"kind": "server_error", "status": 503, "code": "ServiceUnavailable", "first": 2, "last": 12},
)


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL at the n-th request that a process makes, whatever to: before it, behind its answer, or ``seconds`` after it was begun."""

    request: int
    moment: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    :param node, delivery, bucket: probabilities of faults before the node, before it for Firehose, and before S3
    :param orders: of the node, beside what is drawn
    :param firehose: faults of its API, as the simulator takes them
    :param kills: of the process that loads, one a life; ``kill_settling`` of the one that settles
    :param reopened: the load's requests at which the index is closed; with any, it is closed in the settling and before the redrive as well
    :param closed_seconds: how long it stays closed
    :param settled_between: a pass of the settling, with a redrive, comes between the lives of the load
    """

    seed: int
    scheme: Scheme
    count: int
    patience_seconds: float
    concurrency: tuple[int, int]
    gzip: bool
    with_stream: bool
    node: Mapping[Kind, float]
    orders: Sequence[Fault]
    delivery: Mapping[Kind, float]
    bucket: Mapping[Kind, float]
    firehose: Sequence[Mapping[str, Any]]
    kills: Sequence[Kill]
    kill_settling: Kill | None
    reopened: Sequence[int]
    closed_seconds: float
    settled_between: bool

    @classmethod
    def draw(cls, seed: int, count: int = DOCUMENTS) -> Self:
        """A fifth of the seeds is killed, half of them has its index closed."""
        random = Random(f"scenario {seed}")
        # By other primes than the schemes, so that all come together.
        killed, reopened = seed % 5 == 0, seed % 2 == 0
        return cls(
            seed=seed,
            scheme=_SCHEMES[seed % len(_SCHEMES)],
            count=count,
            patience_seconds=random.choice((0.0, 0.05, 0.2, 0.5)),
            concurrency=random.choice(((1, 1), (1, 4), (2, 8))),
            gzip=random.random() < 0.2,
            with_stream=random.random() < 0.8,
            node=drawn(random, _OF_ITEMS, random.uniform(0, 0.4)) | drawn(random, _OF_REQUESTS, random.uniform(0.05, 0.5)),
            orders=_orders(random),
            delivery=drawn(random, (Kind.ITEM_429, *_OF_REQUESTS), random.choice((0.0, 0.3))),
            bucket=drawn(random, OF_S3, random.choice((0.0, 0.0, 0.05, 0.1))),
            firehose=[{**order, "seed": seed} for order in random.sample(_FIREHOSE, random.randint(0, 3))],
            kills=[_kill(random, 90) for _ in range(random.randint(1, 3))] if killed else (),
            kill_settling=_kill(random, 20) if killed else None,
            reopened=sorted(random.sample(range(2, 50), random.randint(1, 2))) if reopened else (),
            closed_seconds=random.choice((0.05, 0.3)),
            settled_between=random.random() < 0.5,
        )


def drawn(random: Random, kinds: Sequence[_K], total: float) -> dict[_K, float]:
    """Some of the kinds, which together come to that probability."""
    if not total:
        return {}
    some = random.sample(kinds, random.randint(1, min(8, len(kinds))))
    weights = [random.random() + 0.1 for _ in some]
    return {kind: total * weight / sum(weights) for kind, weight in zip(some, weights, strict=True)}


def _orders(random: Random) -> list[Fault]:
    orders = []
    if random.random() < 0.3:
        kind = random.choice((Kind.STATUS_413, Kind.STATUS_413_HTML))
        orders.append(Fault(kind, times=random.randint(1, 6), after=random.randint(0, 10), min_bytes=4_000))
    if random.random() < 0.7:  # nothing gets through for a while: what is handed over is then a good part
        kind = random.choice((Kind.ITEM_429, Kind.STATUS_429, Kind.STATUS_429_TEXT, Kind.STATUS_503))
        orders.append(Fault(kind, times=random.randint(5, 40), after=random.randint(0, 20), share=1.0))
    return orders


def _kill(random: Random, most: int) -> Kill:
    return Kill(random.randint(1, most), random.choice(("before", "after", "within")), random.random() * 0.02)

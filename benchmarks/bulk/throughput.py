"""Documents a second, CPU a document and memory of the indexer, beside the helpers of opensearch-py and the node's own limit.

All arms of a round write the same documents with the same ids and external versions to a fresh index of one real node on this machine;
they take turns in an order that goes round. A warm-up round is not counted. What is compared are the arms of one round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.bulk import client, documents
from benchmarks.bulk.client import OURS, PARALLEL, READY_MADE, STREAMING, Done, Order
from benchmarks.environment import client_of
from local.cloud import Cloud
from local.results import Measure

ROUNDS = 9
STEP = 5
"""A round takes every fifth document, 186,563 of them, beginning with another one each time."""
MEMORY_PAIRS = 3
FEW, MANY = 200_000, 900_000
INDEX, BUCKET = "bench", "bench"
ARMS = (OURS, STREAMING, PARALLEL, READY_MADE)
RATIOS: Sequence[tuple[str, str]] = ((STREAMING, ">= 2"), (PARALLEL, ">= 1.5"), (READY_MADE, ">= 0.75"))
CPU_GOAL, MEMORY_GOAL = "<= 0.25", "<= 30"

Round = Mapping[str, Done]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done; the defaults are what is published."""

    rounds: int = ROUNDS
    step: int = STEP
    memory_pairs: int = MEMORY_PAIRS
    few: int = FEW
    many: int = MANY


def measure(directory: Path, sizes: Sizes | None = None) -> list[Measure]:
    import boto3
    from opensearchpy import OpenSearch

    sizes = sizes or Sizes()
    path = documents.file()
    with Cloud(directory, services=("opensearch", "aws")) as cloud, client_of(cloud):
        s3: Any = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
        bench = Bench(OpenSearch(cloud.endpoints["opensearch"], timeout=60), cloud.endpoints["opensearch"], path)
        rounds = [bench.round(number, sizes.step) for number in range(sizes.rounds + 1)][1:]
        pairs = [bench.memory(sizes.few, sizes.many, number) for number in range(sizes.memory_pairs)]
    return [*throughput(rounds), *memory(pairs)]


class Bench:
    """One node, one index that is made anew for each arm."""

    def __init__(self, node: Any, url: str, path: Path) -> None:
        self._node = node
        self._order = Order("", url, INDEX, str(path), bucket=BUCKET)
        self._total = documents.count(path)

    def round(self, number: int, step: int) -> Round:
        expected = len(range(number % step, self._total, step))
        order = replace(self._order, start=number % step, step=step)
        return {arm: self._load(replace(order, arm=arm), expected) for arm in in_turn(number)}

    def memory(self, few: int, many: int, number: int) -> tuple[Done, Done]:
        """Ours with few and with many documents, read while they are indexed; which comes first goes round."""
        counts = (few, many) if number % 2 == 0 else (many, few)
        order = replace(self._order, arm=OURS, in_memory=False)
        done = {count: self._load(replace(order, limit=count), min(count, self._total)) for count in counts}
        return done[few], done[many]

    def _load(self, order: Order, expected: int) -> Done:
        self._node.indices.delete(index=INDEX, ignore_unavailable=True)
        self._node.indices.create(index=INDEX, body=documents.INDEX_BODY)
        done = client.run(order)
        self._node.indices.refresh(index=INDEX)
        found = self._node.count(index=INDEX)["count"]
        if not found == done.documents == expected:
            raise RuntimeError(
                f"{order.arm}: expected {expected} documents, found {done.documents} confirmed and {found} in the index"
            )
        self._check_versions(order)
        return done

    def _check_versions(self, order: Order) -> None:
        sample = list(documents.read(Path(order.path), order.start, order.step, 100))
        answer = self._node.mget(index=INDEX, body={"ids": [document["id"] for document in sample]}, _source=False)
        wrong = [
            d["id"] for d, found in zip(sample, answer["docs"], strict=True) if found.get("_version") != documents.version(d)
        ]
        if wrong:
            raise RuntimeError(f"{order.arm}: expected the external versions of the documents, found others for {wrong[:5]}")


def in_turn(number: int) -> tuple[str, ...]:
    """The arms in the order of a round: each comes first, second, third and last equally often."""
    place = number % len(ARMS)
    return ARMS[place:] + ARMS[:place]


def throughput(rounds: Sequence[Round]) -> list[Measure]:
    measures = [
        Measure(ratio_name(other), "ratio", [one[OURS].per_second / one[other].per_second for one in rounds], goal)
        for other, goal in RATIOS
    ]
    cpu = [one[OURS].cpu_microseconds / one[STREAMING].cpu_microseconds for one in rounds]
    measures.append(Measure(CPU_RATIO, "ratio", cpu, CPU_GOAL))
    for arm in ARMS:
        measures.append(Measure(rate_name(arm), "1/s", [one[arm].per_second for one in rounds]))
        measures.append(Measure(cpu_name(arm), "µs", [one[arm].cpu_microseconds for one in rounds]))
    measures.append(Measure("documents a round", "documents", [one[OURS].documents for one in rounds]))
    return measures


def memory(pairs: Sequence[tuple[Done, Done]]) -> list[Measure]:
    more = [(many.peak_bytes - few.peak_bytes) / 1e6 for few, many in pairs]
    measures = [Measure(MEMORY_DIFFERENCE, "MB", more, MEMORY_GOAL)]
    for place in (0, 1):
        done = [pair[place] for pair in pairs]
        name = f"{done[0].documents:,} documents from a file, {OURS}"
        measures.append(Measure(f"peak memory, {name}", "MB", [one.peak_bytes / 1e6 for one in done]))
        measures.append(Measure(f"documents a second, {name}", "1/s", [one.per_second for one in done]))
    return measures


CPU_RATIO = f"client CPU a document, {OURS} to {STREAMING}"
MEMORY_DIFFERENCE = "peak memory, many documents less few"


def ratio_name(other: str) -> str:
    return f"documents a second, {OURS} to {other}"


def rate_name(arm: str) -> str:
    return f"documents a second, {arm}"


def cpu_name(arm: str) -> str:
    return f"client CPU a document, {arm}"

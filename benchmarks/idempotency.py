"""What a claim costs beside aws-lambda-powertools' on the same table of DynamoDB Local, and who wins when 64 threads want the same keys.

DynamoDB Local is in memory and on this machine, so the times compare two clients; they are no figures of AWS.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import client_of
from local.cloud import Cloud
from local.results import Measure
from searchops.core.idempotency.errors import InProgress
from searchops.core.idempotency.guard import Claim, Completed, Guard
from searchops.core.idempotency.table import create_claims_table

TABLE = "claims"
ROUNDS, CALLS, WARM_UP = 10, 200, 100
THREADS, KEYS = 64, 2000
OURS, POWERTOOLS = "searchops", "aws-lambda-powertools"
REMAINING_MS = 60_000
Step = Callable[[str], object]


def measure(directory: Path) -> list[Measure]:
    import boto3
    from botocore.config import Config

    with Cloud(directory, services=("aws", "dynamodb")) as cloud, client_of(cloud):
        client = boto3.client("dynamodb", config=Config(max_pool_connections=THREADS))
        create_claims_table(client, TABLE)
        return [*writes(), *times(client), *winners(client)]


def writes() -> list[Measure]:
    """Counted as they are sent, botocore's own retries included."""
    import boto3

    client, sent = boto3.client("dynamodb"), Counter[str]()
    client.meta.events.register("before-send.dynamodb", lambda request, **_: sent.update([_operation(request)]))
    guard = Guard(client, table=TABLE, namespace="writes")
    guard.run("first", lambda claim: None)
    reserved = sent.total() - 2
    counts = []
    for key in range(CALLS):
        before = sent.total()
        guard.run(str(key), lambda claim: None)
        counts.append(sent.total() - before)
    if set(sent) != {"UpdateItem"}:
        raise RuntimeError(f"expected nothing but UpdateItem, found {dict(sent)}")
    return [
        Measure("writes of the guard a claim and its completion", "writes", counts, "<= 2"),
        Measure("writes to reserve the fences of a process, once in an hour", "writes", [reserved]),
    ]


def _operation(request: Any) -> str:
    target = request.headers["X-Amz-Target"]
    return (target.decode() if isinstance(target, bytes) else str(target)).rpartition(".")[2]


@dataclass(frozen=True)
class Subject:
    """One library: how it takes a key, how it records the result of one that it took, how it answers a duplicate."""

    claim: Step
    complete: Step
    duplicate: Step
    claim_ms: list[float] = field(default_factory=list)
    complete_ms: list[float] = field(default_factory=list)
    duplicate_ms: list[float] = field(default_factory=list)

    def round(self, name: str) -> None:
        for number in range(CALLS):
            key = f"{name}-{number}"
            self.claim_ms.append(timed(self.claim, key))
            self.complete_ms.append(timed(self.complete, key))
            self.duplicate_ms.append(timed(self.duplicate, key))


def timed(step: Step, key: str) -> float:
    began = time.perf_counter()
    step(key)
    return (time.perf_counter() - began) * 1000


def times(client: Any) -> list[Measure]:
    """The libraries take turns, each in its own order, so that what the machine does meanwhile is felt by both."""
    subjects = {OURS: ours(client), POWERTOOLS: powertools(client)}
    for name, subject in subjects.items():
        for number in range(WARM_UP):
            subject.claim(f"warm-up-{name}-{number}")
    for number in range(ROUNDS):
        for name in random.sample(list(subjects), len(subjects)):
            subjects[name].round(f"{name}-{number}")
    return [measure for name, subject in subjects.items() for measure in figures(name, subject)]


def figures(name: str, subject: Subject) -> list[Measure]:
    steps: Mapping[str, Sequence[float]] = {
        "claim": subject.claim_ms,
        "completion": subject.complete_ms,
        "answer to a duplicate": subject.duplicate_ms,
    }
    measures = []
    for step, samples in steps.items():
        measures.append(Measure(f"{step}, {name}", "ms", samples))
        measures.append(Measure(f"{step}, p99, {name}", "ms", [statistics.quantiles(samples, n=100)[98]]))
    return measures


def ours(client: Any) -> Subject:
    guard, claims = Guard(client, table=TABLE, namespace="times"), dict[str, Claim]()

    def claim(key: str) -> None:
        found = guard.claim(key, {"key": key})
        if not isinstance(found, Claim):
            raise RuntimeError(f"{key}: expected a claim, found {found}")
        claims[key] = found

    def duplicate(key: str) -> None:
        found = guard.claim(key, {"key": key})
        if not isinstance(found, Completed):
            raise RuntimeError(f"{key}: expected a stored result, found {found}")

    return Subject(claim, lambda key: claims.pop(key).complete({"key": key}), duplicate)


def powertools(client: Any) -> Subject:
    """Its persistence layer, as its handler calls it; the payload is compared, as ours is."""
    from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
    from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyItemAlreadyExistsError

    layer = DynamoDBPersistenceLayer(TABLE, boto3_client=client)
    config = IdempotencyConfig(event_key_jmespath="key", payload_validation_jmespath="@")
    layer.configure(config, function_name="times")

    def duplicate(key: str) -> None:
        try:
            layer.save_inprogress({"key": key}, REMAINING_MS)
        except IdempotencyItemAlreadyExistsError as error:
            if error.old_data_record and error.old_data_record.response_json_as_dict() == {"key": key}:
                return
        raise RuntimeError(f"{key}: expected a stored result")

    return Subject(
        lambda key: layer.save_inprogress({"key": key}, REMAINING_MS),
        lambda key: layer.save_success({"key": key}, {"key": key}),
        duplicate,
    )


def winners(client: Any) -> list[Measure]:
    """Every thread wants every key, all of them in the same order from the same moment."""
    guard, won = Guard(client, table=TABLE, namespace="winners"), Counter[str]()
    barrier = threading.Barrier(THREADS)

    def want_all() -> list[str]:
        barrier.wait()
        return [key for key in map(str, range(KEYS)) if wins(guard, key)]

    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(want_all) for _ in range(THREADS)]:
            won.update(future.result())
    seconds = time.monotonic() - began
    found = [won[str(key)] for key in range(KEYS)]
    return [
        Measure(f"winners of a key that {THREADS} threads want, {KEYS} keys", "winners", found, "== 1"),
        Measure("the same, the key with most", "winners", [max(found)], "== 1"),
        Measure("the same, the key with fewest", "winners", [min(found)], "== 1"),
        Measure(f"tries to claim with {THREADS} threads", "1/s", [THREADS * KEYS / seconds]),
    ]


def wins(guard: Guard, key: str) -> bool:
    try:
        return isinstance(guard.claim(key), Claim)
    except InProgress:
        return False

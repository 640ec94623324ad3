"""`python -m benchmarks.replay.client`: one client that touches the items of a day, in a process of its own: its time, CPU, memory.

An order (`Order`, JSON) comes by stdin, what was measured (`Done`, JSON) goes to stdout. Interpreter, imports, clients and the first connection
are ready before the clock starts; it stops when the last answer is there and, with ours, when all is kept that a next try would need.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.replay.table import BUCKET, CLAIMS, DAY, INDEX, LOOPED, MARKER, value
from local.cloud import ROOT

OURS, LOOP, BARE = "searchops", "query, put one by one", "bare requests"
BARE_CONNECTIONS = 16
"""From 2 to 16, DynamoDB Local does as much a second."""
UNPACED = 1e6
"""Write units a second, far above what the engine takes."""
TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Order:
    """
    :param arm: which client
    :param url: of DynamoDB, or of a proxy before it
    :param day: in ISO form
    :param limit: write units a second
    :param watched: note what each answer says of the units, and what is told of the time that is left
    """

    arm: str
    url: str
    table: str
    day: str
    items: int
    limit: float = UNPACED
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """
    :param mark: what the touched items bear now
    :param start_bytes: resident before the clock started, ``peak_bytes``: the most at any time
    :param consumed: of each answer, seconds since the start and write units
    :param told: seconds since the start, items done by then, seconds left
    """

    items: int
    seconds: float
    cpu_seconds: float
    start_bytes: int
    peak_bytes: int
    mark: str
    consumed: list[tuple[float, float]] = field(default_factory=list)
    told: list[tuple[float, int, float | None]] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.items / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """Of a touch."""
        return self.cpu_seconds / self.items * 1e6

    @property
    def grown_bytes(self) -> int:
        return max(0, self.peak_bytes - self.start_bytes)


@dataclass(slots=True)
class Notes:
    """What is noted while a client is at work; the clock starts with `began`."""

    began: float = 0.0
    consumed: list[tuple[float, float]] = field(default_factory=list)
    told: list[tuple[float, int, float | None]] = field(default_factory=list)

    def answered(self, parsed: Mapping[str, Any], **_: Any) -> None:
        """One answer of UpdateItem, as botocore has read it."""
        units = parsed.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
        self.consumed.append((time.perf_counter() - self.began, units))


Touch = Callable[[], tuple[int, str]]
"""Touches all items of the day: how many, and what they bear now."""


def run(order: Order) -> Done:
    """Let a process of its own carry out the order; its environment is ours."""
    command = [sys.executable, "-m", "benchmarks.replay.client"]
    given = json.dumps(asdict(order))
    done = subprocess.run(command, input=given, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    if done.returncode:
        raise RuntimeError(
            f"{order.arm}: expected the client to end by itself, found exit code {done.returncode}: {done.stderr[-4000:]}"
        )
    found = Done(**json.loads(done.stdout.splitlines()[-1]))
    if found.items != order.items:
        raise RuntimeError(f"{order.arm}: expected {order.items} items of {order.day} touched, found {found.items}")
    return found


def main() -> None:
    order = Order(**json.load(sys.stdin))
    print(json.dumps(asdict(carry_out(order))))


def carry_out(order: Order) -> Done:
    notes = Notes()
    touch = ARMS[order.arm](order, notes)
    gc.collect()
    start = _status_bytes("VmRSS")
    cpu, notes.began = _cpu_seconds(), time.perf_counter()
    items, mark = touch()
    seconds, cpu = time.perf_counter() - notes.began, _cpu_seconds() - cpu
    return Done(items, seconds, cpu, start, _status_bytes("VmHWM"), mark, notes.consumed, notes.told)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _status_bytes(name: str) -> int:
    """Not ru_maxrss, which begins with what the parent had when it forked."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def loop(order: Order, _: Notes) -> Touch:
    """The script that one finds everywhere: read a day by its index, put each item again with an attribute that makes it another one."""
    import boto3

    client = boto3.client("dynamodb", endpoint_url=order.url)
    client.describe_table(TableName=order.table)  # the first connection
    pages = client.get_paginator("query")

    def touch() -> tuple[int, str]:
        items, now = 0, str(time.time_ns())
        for page in pages.paginate(
            TableName=order.table,
            IndexName=INDEX,
            KeyConditionExpression="#day = :day",
            ExpressionAttributeNames={"#day": DAY},
            ExpressionAttributeValues={":day": {"S": value(date.fromisoformat(order.day))}},
        ):
            for item in page["Items"]:
                client.put_item(TableName=order.table, Item={**item, LOOPED: {"S": now}})
                items += 1
        return items, now

    return touch


def ours(order: Order, notes: Notes) -> Touch:
    """As a task runs it: claim, identity, checkpoints in DynamoDB, touched keys in S3."""
    import boto3
    from botocore.config import Config

    from searchops.core.bulk.bucket import Bucket
    from searchops.core.idempotency.guard import Guard
    from searchops.core.replay.calls import CLIENT
    from searchops.core.replay.checkpoint import TableCheckpoints
    from searchops.core.replay.identity import Replays
    from searchops.core.replay.pace import Pacer
    from searchops.core.replay.progress import Estimate
    from searchops.core.replay.run import Job, PageDone, replay
    from searchops.core.replay.selection import ByDate
    from searchops.core.replay.table import read_table
    from searchops.core.replay.touched import TouchedPages
    from searchops.core.replay.toucher import NAMESPACE, Toucher

    client = boto3.client("dynamodb", endpoint_url=order.url, config=Config(**CLIENT))
    claims, s3 = boto3.client("dynamodb", endpoint_url=order.url), boto3.client("s3")
    facts, pacer, day = read_table(client, order.table), Pacer(order.limit), date.fromisoformat(order.day)
    guard = Guard(claims, table=CLAIMS, namespace=NAMESPACE)
    job = Job(
        toucher=Toucher(client=client, facts=facts, marker=MARKER, guard=guard, pace=pacer),
        selection=ByDate(INDEX, DAY, day, (value(day),)),
        replays=Replays(claims, CLAIMS),
        checkpoints=TableCheckpoints(claims, CLAIMS, order.table),
        touched=lambda replay_id: TouchedPages(Bucket(s3, BUCKET), order.table, replay_id),
    )
    if order.watched:
        client.meta.events.register("after-call.dynamodb.UpdateItem", notes.answered)

    def touch() -> tuple[int, str]:
        estimate = Estimate(order.items, pace=pacer)

        def tell(done: PageDone) -> None:
            found = estimate.look(done.counts.selected)
            notes.told.append((time.perf_counter() - notes.began, found.done, found.seconds_left))

        ended = replay(job, tell if order.watched else lambda done: None)
        return ended.counts.touched, ended.replay.replay_id

    return touch


def bare(order: Order, _: Notes) -> Touch:
    """The updates of ours, and nothing else: no signature, which DynamoDB Local does not look at, no claim, no pace, nothing kept."""
    import http.client
    from concurrent.futures import ThreadPoolExecutor
    from urllib.parse import urlsplit

    import boto3

    client, at, mark = boto3.client("dynamodb", endpoint_url=order.url), urlsplit(order.url), f"{time.time_ns():020}"
    keys = [
        {"id": item["id"]}
        for page in client.get_paginator("query").paginate(
            TableName=order.table,
            IndexName=INDEX,
            KeyConditionExpression="#day = :day",
            ExpressionAttributeNames={"#day": DAY},
            ExpressionAttributeValues={":day": {"S": value(date.fromisoformat(order.day))}},
        )
        for item in page["Items"]
    ]
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "DynamoDB_20120810.UpdateItem",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/20260101/{client.meta.region_name}/dynamodb/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        "X-Amz-Date": "20260101T000000Z",
    }
    request = {
        "TableName": order.table,
        "UpdateExpression": "SET #marker = :id",
        "ConditionExpression": "attribute_exists(#pk) AND (attribute_not_exists(#marker) OR #marker < :id)",
        "ExpressionAttributeNames": {"#marker": MARKER, "#pk": "id"},
        "ExpressionAttributeValues": {":id": {"S": mark}},
        "ReturnConsumedCapacity": "INDEXES",
    }

    def share(number: int) -> int:
        connection, done = http.client.HTTPConnection(str(at.hostname), at.port), 0
        for key in keys[number::BARE_CONNECTIONS]:
            connection.request("POST", "/", json.dumps({**request, "Key": key}), headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise RuntimeError(f"bare requests: expected 200, found {answer.status}: {answer.read()!r}")
            answer.read()
            done += 1
        return done

    def touch() -> tuple[int, str]:
        with ThreadPoolExecutor(BARE_CONNECTIONS) as pool:
            return sum(pool.map(share, range(BARE_CONNECTIONS))), mark

    return touch


ARMS: Mapping[str, Callable[[Order, Notes], Touch]] = {OURS: ours, LOOP: loop, BARE: bare}

if __name__ == "__main__":
    main()

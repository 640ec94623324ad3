"""The processes that are judged: each replays one selection, as a task does, and may be killed at any of its requests."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from urllib3.connectionpool import HTTPConnectionPool

from local.faults.place import REGION, aws
from local.faults.replay.items import DAY_INDEX, MARKER, Task, day_values
from local.faults.replay.place import Place
from local.faults.replay.scenario import Scenario
from local.faults.scenario import Kill
from searchops.core.bulk.bucket import Bucket
from searchops.core.errors import TransientError
from searchops.core.idempotency.errors import InProgress
from searchops.core.idempotency.guard import Guard
from searchops.core.replay import calls, run, select
from searchops.core.replay.checkpoint import TableCheckpoints
from searchops.core.replay.identity import Replays
from searchops.core.replay.pace import Pacer
from searchops.core.replay.report import ReplayReport, words, write_report
from searchops.core.replay.run import Done, Job
from searchops.core.replay.selection import All, ByDate, ByKey, PartitionKey, Selection
from searchops.core.replay.table import read_table
from searchops.core.replay.touched import TouchedPages
from searchops.core.replay.toucher import NAMESPACE, Toucher

AGAIN = 75
"""Exit code of a process that would be started again, as a task is retried (EX_TEMPFAIL)."""
LEASE = timedelta(seconds=1.5)
"""Of the claim of a table: what is killed keeps the others waiting for so long."""
UNITS_PER_SECOND = 1e6
_REFUSED_SECONDS = 0.1
ANSWER_SECONDS = 2.0
_S3_ATTEMPTS = 3
# Made where the processes are forked from, so that each finds the models of the services read; a process connects by itself.
_SESSION = boto3.session.Session()
for _name in ("dynamodb", "s3"):
    aws(_name, "http://127.0.0.1:9", session=_SESSION)


@dataclass(frozen=True, slots=True)
class Order:
    """
    :param number: of the task in its scenario
    :param journal: a file that gets a line for each replay that has ended
    """

    scenario: Scenario
    place: Place
    number: int
    journal: Path
    kill: Kill | None = None

    @property
    def task(self) -> Task:
        return self.scenario.tasks[self.number]


class Worker:
    """What is judged, put together as a task puts it together. Tests derive workers with a defect from it."""

    def __init__(self, order: Order) -> None:
        self.order, self.place, self.scenario = order, order.place, order.scenario
        self.dynamodb = _dynamodb(self.place, **calls.CLIENT)
        self.home = _dynamodb(self.place, retries={"total_max_attempts": 5})
        self.bucket = Bucket(aws("s3", self.place.s3_url, session=_SESSION, attempts=_S3_ATTEMPTS), self.place.bucket)
        # The description of the table is what a person has seen before: its faults are tried by other tests.
        self.facts = read_table(aws("dynamodb", self.place.true_dynamodb_url, session=_SESSION), self.place.table)

    def replay(self) -> Done:
        return run.replay(self.job())

    def job(self) -> Job:
        return Job(
            toucher=self.toucher(),
            selection=selection_of(self.order.task, self.scenario),
            replays=Replays(self.home, self.place.claims),
            checkpoints=TableCheckpoints(self.home, self.place.claims, self.facts.name),
            touched=lambda replay_id: TouchedPages(self.bucket, self.facts.name, replay_id),
        )

    def toucher(self) -> Toucher:
        scheme = self.scenario.scheme
        return Toucher(
            client=self.dynamodb,
            facts=self.facts,
            marker=MARKER,
            guard=Guard(self.home, table=self.place.claims, namespace=NAMESPACE, lease=LEASE),
            pace=Pacer(UNITS_PER_SECOND),
            version_attribute=None if scheme.by_sequence else "revision",
            adds_version=scheme.touches_raise_version,
            threads=self.scenario.threads,
            batches=self.scenario.batches,
        )

    def report(self, done: Done) -> None:
        """Leave what people see, and a line for the referee."""
        replay, counts = done.replay, done.counts
        write_report(self.bucket, ReplayReport(replay.table, replay.replay_id, words(replay.selection), counts))
        line = {
            "task": self.order.number,
            "replay_id": replay.replay_id,
            "resumed": replay.resumed,
            "began_at": replay.created_at.timestamp(),
            "counts": counts.to_json(),
        }
        with self.order.journal.open("ab", buffering=0) as journal:
            journal.write(json.dumps(line).encode() + b"\n")


def _dynamodb(place: Place, **config: Any) -> Any:
    """As the hooks make their clients: botocore's own way to try again is the default one."""
    given = {"endpoint_url": place.dynamodb_url, "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return _SESSION.client("dynamodb", region_name=REGION, config=Config(**config | {"read_timeout": ANSWER_SECONDS}), **given)


def selection_of(task: Task, scenario: Scenario) -> Selection:
    if task.day:
        day = date.fromisoformat(task.day)
        return ByDate(DAY_INDEX, "day", day, tuple(day_values(task.day, scenario.shards)))
    if task.partitions:
        return ByKey(tuple(PartitionKey({"S": value}) for value in task.partitions))
    return All(segments=3)


def work(kind: type[Worker], order: Order, told: Connection) -> None:
    """Main of a process: one try of a task.

    :param told: gets what happens, and the reason of a failure
    """
    calls._FIRST_PAUSE, calls._LONGEST_PAUSE = 0.002, 0.02  # the waits of the product are of no interest here
    select.PAGE_ITEMS, run.AHEAD_KEYS = order.scenario.page_items, 3 * order.scenario.page_items
    _watch(order.kill)
    try:
        worker = kind(order)
        done = _as_soon_as_free(worker.replay, told)
        worker.report(done)
        told.send(("done", done.replay.replay_id))
    except TransientError as error:
        told.send(("transient", type(error).__name__))
        os._exit(AGAIN)
    except BaseException:
        told.send(("failed", traceback.format_exc()))
        os._exit(1)


def _as_soon_as_free(replay: Callable[[], Done], told: Connection) -> Done:
    refused = False
    while True:
        try:
            return replay()
        except InProgress:
            if not refused:
                told.send(("refused",))
            refused = True
        time.sleep(_REFUSED_SECONDS)


def _watch(kill: Kill | None) -> None:
    """Count the requests of this process, whatever to, and die at one of them."""
    send, lock, count = HTTPConnectionPool.urlopen, threading.Lock(), 0

    def counted(pool: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        with lock:
            count += 1
            now = kill is not None and count == kill.request
        if now and kill is not None and kill.moment == "before":
            _die()
        if now and kill is not None and kill.moment == "within":
            threading.Timer(kill.seconds, _die).start()
        answer = send(pool, *arguments, **options)
        if now and kill is not None and kill.moment == "after":
            _die()
        return answer

    HTTPConnectionPool.urlopen = counted  # type: ignore[assignment, method-assign]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

"""The processes that are judged: one loads, one settles and sends again. Each may be killed at any of its requests."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3
from opensearchpy import OpenSearch
from urllib3.connectionpool import HTTPConnectionPool

from local.faults.documents import BATCH_BYTES, REQUEST_BYTES, Flaw, Sent, documents, source_bytes
from local.faults.place import Place, aws
from local.faults.scenario import Kill, Scenario
from local.faults.world import scheme_of
from searchops.core.bulk import BulkIndexer, Operation, Unreadable, firehose, indexer, pressure
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.effects import HandOver
from searchops.core.bulk.firehose import FirehoseLane
from searchops.core.bulk.lanes import HandOverLanes
from searchops.core.bulk.ledger import Checkpoint
from searchops.core.bulk.model import BatchResult, Kind
from searchops.core.bulk.redrive import Choice, Outcome, Redrive
from searchops.core.bulk.runs import Ledgers
from searchops.core.bulk.settle import Settlement, Settler
from searchops.core.bulk.stores import RejectedObjects, S3Checkpoints
from searchops.core.errors import TransientError

AGAIN = 75
"""Exit code of a process that would be started again, as a task is retried (EX_TEMPFAIL)."""
FIREHOSE_SECONDS = 60.0
"""In the first pass of the settling: Firehose may still bring what it has. Before the others the run sees to it that it has nothing."""
# Made where the processes are forked from, so that each finds the models of the services read; a process connects by itself.
_SESSION = boto3.session.Session()
for _name in ("s3", "firehose"):
    aws(_name, "http://127.0.0.1:9", session=_SESSION)


@dataclass(frozen=True, slots=True)
class Job:
    """
    :param life: how many lives came before
    :param journal: a file that gets a line for each batch that has ended
    :param reopened: requests of this process at which the run is told to close and open the index
    """

    scenario: Scenario
    place: Place
    life: int
    journal: Path
    kill: Kill | None = None
    reopened: Sequence[int] = ()


@dataclass(slots=True)
class _Requests:
    """Counts the requests of this process, whatever to; dies at one of them, and lets the run do something at others.

    :param run: a connection to the run
    """

    job: Job
    run: Connection
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self) -> None:
        send = HTTPConnectionPool.urlopen

        def counted(pool: Any, *arguments: Any, **options: Any) -> Any:
            with self.lock:
                self.count += 1
                number = self.count
            if number in self.job.reopened:
                # Not waited for: what other threads send meanwhile meets the closed index.
                threading.Thread(target=self.ask, args=("reopen", number), daemon=True).start()
            self._die(number, "before")
            self._die_later(number)
            answer = send(pool, *arguments, **options)
            self._die(number, "after")
            return answer

        HTTPConnectionPool.urlopen = counted  # type: ignore[assignment, method-assign]

    def tell(self, what: str, *facts: Any) -> None:
        with self.lock:
            self.run.send((what, *facts))

    def ask(self, what: str, *facts: Any) -> Any:
        self.tell(what, *facts)
        return self.run.recv()

    def tried(self, act: Callable[[], Any]) -> Any:
        """None for what passes: it is tried again."""
        try:
            return act()
        except TransientError as error:
            self.tell("transient", type(error).__name__)
            return None

    def _die(self, number: int, moment: str) -> None:
        kill = self.job.kill
        if kill and kill.request == number and kill.moment == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def _die_later(self, number: int) -> None:
        kill = self.job.kill
        if kill and kill.request == number and kill.moment == "within":
            threading.Timer(kill.seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


class Writer:
    """What is judged, put together as a load puts it together. Tests derive writers with a defect from it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.place, self.scenario = job.place, job.scenario
        self.scheme = scheme_of(job.scenario.scheme)
        self.s3 = aws("s3", job.place.s3_url, session=_SESSION, attempts=1)
        self.client = OpenSearch(job.place.node_url, timeout=30)
        self._kept: dict[str, Any] = {"index": self.place.alias, "run": self.place.run, "input": self.place.input}
        self.bucket = Bucket(self.s3, self.place.bucket)
        self._ledgers = Ledgers(self.bucket, self.place.alias)

    # Loading

    def load(self) -> None:
        """Index everything; goes on where the life before was."""
        self._ledgers.open(self.place.run, {self.place.input: "seed"}, time.time())
        checkpoints = self.checkpoints()
        with self.indexer(self.lanes(), patience=self.scenario.patience_seconds) as writing:
            for result in writing.stream(self.operations, checkpoints=checkpoints, input=self.place.input):
                self.note(result)
        ended = Checkpoint.from_json(checkpoints.load() or b"", self.place.input)
        self._ledgers.close(self.place.run, {self.place.input: ended.counts}, time.time())

    def operations(self, position: int) -> Iterator[Operation | Unreadable]:
        scenario = self.scenario
        return map(operation, documents(scenario.seed, scenario.scheme, scenario.count)[position:])

    def indexer(self, lanes: HandOver | None, *, patience: float) -> BulkIndexer:
        return BulkIndexer(
            self.client,
            self.place.alias,
            self.scheme,
            patience_seconds=patience,
            hand_over=lanes,
            rejected=RejectedObjects(self.s3, self.place.bucket, **self._kept) if lanes else None,
            concurrency=self.scenario.concurrency,
            batch_bytes=BATCH_BYTES,
            request_bytes=REQUEST_BYTES,
            timeout_seconds=1.0,
            gzip=self.scenario.gzip,
        )

    def lanes(self) -> HandOver:
        lane = None
        if self.scenario.with_stream:
            lane = FirehoseLane(aws("firehose", self.place.firehose_url, session=_SESSION), self.place.stream)
        return HandOverLanes(self.s3, self.place.bucket, firehose=lane, limit_seconds=0.3, **self._kept)

    def checkpoints(self) -> S3Checkpoints:
        return S3Checkpoints(self.s3, self.place.bucket, **self._kept)

    def note(self, result: BatchResult) -> None:
        """Write down what we were told, for the referee."""
        line = {"life": self.job.life, "first": result.first, "ends": [end.value for end in result.ends]}
        with self.job.journal.open("ab", buffering=0) as journal:
            journal.write(json.dumps(line).encode() + b"\n")

    # Settling

    def settle(self, firehose_seconds: float, run: str | None = None) -> Settlement:
        settler = Settler(
            self.client,
            self.s3,
            self.place.bucket,
            index=self.place.alias,
            scheme=self.scheme,
            firehose_seconds=firehose_seconds,
            settled=lambda run, going: self._ledgers.settle(run, time.time(), going=going),
        )
        return settler.settle(run)

    def redrive(self) -> Outcome:
        with self.indexer(None, patience=0) as writing:
            redrive = Redrive(writing, self.s3, self.place.bucket, index=self.place.alias, scheme=self.scheme)
            return redrive.run(Choice())


def operation(sent: Sent) -> Operation | Unreadable:
    if sent.flaw is Flaw.UNREADABLE:
        return Unreadable("no document", b"{nonsense", "input:1")
    by_sequence = sent.order is None or isinstance(sent.order, str)
    source = source_bytes(sent) if sent.raw and sent.source is not None else sent.source
    version, sequence = (None, sent.order) if by_sequence else (sent.order, None)
    return Operation(Kind(sent.kind), sent.id, source, version, sent.routing, sequence)


def load(kind: type[Writer], job: Job, run: Connection) -> None:
    """Main of the loading process."""
    _live(_Requests(job, run), lambda: kind(job).load())


def settle(kind: type[Writer], job: Job, run: Connection) -> None:
    """Main of the settling process: passes, and redrives between them, until nothing is left. The run is told before each."""
    requests = _Requests(job, run)
    ask = requests.ask

    def passes() -> None:
        writer = kind(job)
        while True:
            # By its name, as who waits for a load: one whose hand-overs were proved while it was open has no manifest any more.
            found = requests.tried(partial(writer.settle, FIREHOSE_SECONDS if ask("pass") else 0.0, job.place.run))
            if found is not None and found.settled:
                break
            if found is not None and (missing := sum(state.missing for state in found.runs.values())):
                ask("missing", missing)
            redrive()
        # A lane may still hold what is proved: it had arrived before, or there is a newer version of it.
        while not ask("end"):
            redrive()

    def redrive() -> None:
        ask("redrive")
        outcome = requests.tried(kind(job).redrive)
        if outcome is not None:
            ask("redriven", sum(group.count for group in outcome.groups.values()))

    _live(requests, passes)


def settle_once(kind: type[Writer], job: Job, run: Connection) -> None:
    """Main of a settling that comes by its schedule while a load is open: one pass, and one redrive."""
    requests = _Requests(job, run)

    def act() -> None:
        requests.tried(lambda: kind(job).settle(FIREHOSE_SECONDS))
        requests.tried(kind(job).redrive)

    _live(requests, act)


def _live(requests: _Requests, act: Callable[[], None]) -> None:
    # The waits of the product, of 0.1 s to 10 s, are of no interest here.
    pressure.FIRST_SECONDS, pressure.LONGEST_SECONDS = 0.01, 0.05
    indexer.CHECKPOINT_SECONDS = 0.02
    firehose._REST_SECONDS = 0.3
    requests.watch()
    try:
        act()
    except TransientError as error:
        requests.tell("transient", type(error).__name__)
        os._exit(AGAIN)
    except BaseException:
        requests.tell("failed", traceback.format_exc())
        os._exit(1)

"""`python -m benchmarks.bulk.client`: one client that indexes, in a process of its own, so that its time, CPU and memory are its alone.

An order (`Order`, JSON) comes by stdin, what was measured (`Done`, JSON) goes to stdout. Documents are in memory before the clock starts,
and the clock stops when the last answer is there; interpreter, imports and clients are ready before it, too.
"""

from __future__ import annotations

import http.client
import json
import queue
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from benchmarks.bulk import documents
from benchmarks.bulk.documents import Document
from local.cloud import ROOT

OURS, STREAMING, PARALLEL, READY_MADE = "searchops", "streaming_bulk", "parallel_bulk", "ready-made bodies"
PARALLEL_THREADS = 4
RAW_CONNECTIONS, RAW_BYTES = 4, 2**20
"""Eight connections came to the same rate as four when the node's limit was looked for on 2 cores."""
TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Order:
    """
    :param arm: which client
    :param start: every ``step``-th document of the file from this one, at most ``limit``
    :param in_memory: read before the clock starts; False reads them while they are indexed, one after the other
    :param bucket: where ours keeps checkpoints and what is rejected
    """

    arm: str
    url: str
    index: str
    path: str
    start: int = 0
    step: int = 1
    limit: int | None = None
    in_memory: bool = True
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """``peak_bytes`` is the process's largest resident set, the interpreter and its modules included."""

    documents: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def per_second(self) -> float:
        return self.documents / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """Of a document."""
        return self.cpu_seconds / self.documents * 1e6


Load = Callable[[Iterable[Document]], int]
"""Indexes the documents and says how many the node has confirmed."""


def run(order: Order) -> Done:
    """Let a process of its own carry out the order; its environment is ours."""
    command = [sys.executable, "-m", "benchmarks.bulk.client"]
    given = json.dumps(asdict(order))
    done = subprocess.run(command, input=given, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    if done.returncode:
        raise RuntimeError(
            f"{order.arm}: expected the client to end by itself, found exit code {done.returncode}: {done.stderr[-4000:]}"
        )
    return Done(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    order = Order(**json.load(sys.stdin))
    print(json.dumps(asdict(carry_out(order))))


def carry_out(order: Order) -> Done:
    read: Iterable[Document] = documents.read(Path(order.path), order.start, order.step, order.limit)
    if order.in_memory:
        read = list(read)
    load = ARMS[order.arm](order, read)
    began, cpu = time.perf_counter(), _cpu_seconds()
    indexed = load(read)
    return Done(indexed, time.perf_counter() - began, _cpu_seconds() - cpu, _peak_bytes())


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_bytes() -> int:
    """Not ru_maxrss, which begins with what the parent had when it forked."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _client(order: Order) -> Any:
    from opensearchpy import OpenSearch

    client = OpenSearch(order.url, timeout=60)
    client.info()  # the first connection
    return client


def ours(order: Order, _: Iterable[Document]) -> Load:
    """As a load runs it: ledger, checkpoints in S3, a store for what is rejected."""
    import boto3

    from searchops.core.bulk import BulkIndexer, Deletes, Scheme, VersionScheme, index
    from searchops.core.bulk.stores import RejectedObjects, S3Checkpoints

    client, s3 = _client(order), boto3.client("s3")
    place = {"index": order.index, "run": f"bench-{time.time_ns()}", "input": "documents"}
    checkpoints = S3Checkpoints(s3, order.bucket, **place)
    scheme = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")
    indexer = BulkIndexer(client, order.index, scheme, rejected=RejectedObjects(s3, order.bucket, **place))

    def load(read: Iterable[Document]) -> int:
        operations = (index(document["id"], document, version=document["revision"]) for document in read)
        with indexer:
            return indexer.run(operations, checkpoints=checkpoints, input=order.path).indexed

    return load


def _actions(order: Order, read: Iterable[Document]) -> Iterator[Mapping[str, Any]]:
    for document in read:
        yield {
            "_index": order.index,
            "_id": document["id"],
            "version": document["revision"],
            "version_type": "external",
            "_source": document,
        }


def streaming_bulk(order: Order, _: Iterable[Document]) -> Load:
    """Its defaults: 500 documents a request."""
    from opensearchpy import helpers

    client = _client(order)
    return lambda read: sum(ok for ok, _ in helpers.streaming_bulk(client, _actions(order, read)))


def parallel_bulk(order: Order, _: Iterable[Document]) -> Load:
    from opensearchpy import helpers

    client = _client(order)
    return lambda read: sum(ok for ok, _ in helpers.parallel_bulk(client, _actions(order, read), thread_count=PARALLEL_THREADS))


def ready_made(order: Order, read: Iterable[Document]) -> Load:
    """No client at all: bodies made before the clock starts, sent over bare connections, answers read and not parsed."""
    bodies: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
    for body in ready_made_bodies(read, RAW_BYTES):
        bodies.put(body)
    for _ in range(RAW_CONNECTIONS):
        bodies.put(None)
    connections = [_connection(order.url) for _ in range(RAW_CONNECTIONS)]
    return lambda _: _send_all(order.index, connections, bodies)


def ready_made_bodies(read: Iterable[Document], most_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Bulk requests with the number of their documents."""
    lines: list[bytes] = []
    size = count = 0
    for document in read:
        action = {"index": {"_id": document["id"], "version": document["revision"], "version_type": "external"}}
        line = orjson.dumps(action) + b"\n" + orjson.dumps(document) + b"\n"
        if size + len(line) > most_bytes and lines:
            yield b"".join(lines), count
            lines, size, count = [], 0, 0
        lines.append(line)
        size += len(line)
        count += 1
    if lines:
        yield b"".join(lines), count


def _connection(url: str) -> http.client.HTTPConnection:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.connect()
    return connection


def _send_all(index: str, connections: Sequence[http.client.HTTPConnection], bodies: Any) -> int:
    counts: list[int] = []

    def send(connection: http.client.HTTPConnection) -> None:
        count = 0
        while (given := bodies.get()) is not None:
            body, documents_in_it = given
            connection.request("POST", f"/{index}/_bulk?filter_path=errors", body, {"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse().read()
            if answer != b'{"errors":false}':
                raise RuntimeError(f"expected no errors, found {answer[:300]!r}")
            count += documents_in_it
        counts.append(count)

    threads = [threading.Thread(target=partial(send, connection)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


ARMS: Mapping[str, Callable[[Order, Iterable[Document]], Load]] = {
    OURS: ours,
    STREAMING: streaming_bulk,
    PARALLEL: parallel_bulk,
    READY_MADE: ready_made,
}

if __name__ == "__main__":
    main()

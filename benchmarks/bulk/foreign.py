"""`python -m benchmarks.bulk.foreign`: the load of somebody else, at a fixed rate whatever the node answers (an open loop).

Each thread has its own times at which to send; one that is late sends at once, so that the rate holds. An order (`Load`, JSON) comes by
stdin; a line goes to stdout with the first request, another with what happened (`Sent`, JSON) at the end, or at the end of stdin.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from local.cloud import ROOT

_OK = (200, 201)


@dataclass(frozen=True, slots=True)
class Load:
    """``requests_per_second`` bulk requests of ``documents`` documents of about ``document_bytes``, for so many seconds.

    :param shards: of the index that it writes; the node cuts each request in so many tasks of its write pool
    :param threads: enough that one is always free when a request is due
    """

    requests_per_second: float
    documents: int
    shards: int
    seconds: float = 30.0
    threads: int = 24
    document_bytes: int = 200

    def times(self, thread: int) -> Iterator[float]:
        """When a thread sends, in seconds from the begin."""
        number = thread
        while (at := number / self.requests_per_second) < self.seconds:
            yield at
            number += self.threads


@dataclass(slots=True)
class Sent:
    """What came of it. ``late_seconds``: how far behind its time a request went out at most."""

    requests: int = 0
    seconds: float = 0.0
    taken: int = 0
    refused: int = 0
    others: int = 0
    late_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def refused_share(self) -> float:
        items = self.taken + self.refused + self.others
        return self.refused / items if items else 0.0


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[str]
    sent: Sent = field(default_factory=Sent)

    def stop(self) -> None:
        """End it if it still goes on, and learn what it did."""
        out, error = self.process.communicate(timeout=60)
        if self.process.returncode:
            raise RuntimeError(f"the foreign load ended with exit code {self.process.returncode}: {error[-2000:]}")
        self.sent = Sent(**json.loads(out.splitlines()[-1]))


@contextmanager
def running(url: str, index: str, load: Load) -> Iterator[_Running]:
    """Put the load on a node from the begin of the block, to its end at most; ``sent`` is known behind the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bulk.foreign"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps({"url": url, "index": index, "load": asdict(load)}) + "\n")
    process.stdin.flush()
    found = _Running(process)
    try:
        process.stdout.readline()
        yield found
    except BaseException:
        process.kill()
        process.wait()
        raise
    found.stop()


def main() -> None:
    order = json.loads(sys.stdin.readline())
    load, stop = Load(**order["load"]), threading.Event()
    bodies = [_body(load, thread) for thread in range(load.threads)]
    begin = time.monotonic() + 0.2
    found = [Sent() for _ in bodies]
    threads = [
        threading.Thread(target=_send, args=(order, load, thread, bodies[thread], begin, stop, found[thread]), daemon=True)
        for thread in range(load.threads)
    ]
    for thread in threads:
        thread.start()
    print("begun", flush=True)
    threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    for thread in threads:
        thread.join()
    print(json.dumps(asdict(total(found, time.monotonic() - begin))), flush=True)


def _stop_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def total(parts: list[Sent], seconds: float) -> Sent:
    whole = Sent(seconds=seconds)
    for part in parts:
        for name in ("requests", "taken", "refused", "others"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.late_seconds = max(whole.late_seconds, part.late_seconds)
    return whole


def _body(load: Load, thread: int) -> bytes:
    text = f"somebody else's words {thread} " * (load.document_bytes // 24)
    line = b'{"index":{}}\n' + orjson.dumps({"words": text[: load.document_bytes]}) + b"\n"
    return line * load.documents


def _send(order: Any, load: Load, thread: int, body: bytes, begin: float, stop: threading.Event, sent: Sent) -> None:
    address = urlsplit(order["url"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    for at in load.times(thread):
        if stop.wait(max(0.0, begin + at - time.monotonic())):
            return
        sent.late_seconds = max(sent.late_seconds, time.monotonic() - begin - at)
        sent.requests += 1
        _count(_answer(connection, order["index"], body), load.documents, sent)


def _answer(connection: http.client.HTTPConnection, index: str, body: bytes) -> tuple[int, bytes]:
    path = f"/{index}/_bulk?filter_path=items.*.status"
    connection.request("POST", path, body, {"Content-Type": "application/x-ndjson"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _count(answer: tuple[int, bytes], documents: int, sent: Sent) -> None:
    status, text = answer
    statuses = [item["index"]["status"] for item in orjson.loads(text)["items"]] if status == 200 else [status] * documents
    refused, taken = statuses.count(429), sum(status in _OK for status in statuses)
    sent.refused += refused
    sent.taken += taken
    sent.others += len(statuses) - refused - taken


if __name__ == "__main__":
    main()

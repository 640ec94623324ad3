"""An application that goes on writing while a replay runs: seeded puts, updates and deletes of a table's items, with a log.

    python -m local.demo.application --table products --keys keys.ndjson --log writes.ndjson --seed 7 --rate 50

One write after the other, numbered from 1. A write sets ``app`` to its number and ``revision`` to a thousand times that (plus
``--first-revision``): every write is newer than the ones before, and than what a thousand touches could add in between. A put replaces the
whole item, as applications do, and with it a replay's marker.

Each write is two lines of the log, before it is sent and when it is answered, so that the log of a killed writer says which one is in
doubt. It ends after ``--count`` writes, or at SIGTERM with the write that is under way.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import boto3

Operation = Literal["put", "update", "delete"]
OPERATIONS: Mapping[Operation, int] = {"put": 4, "update": 4, "delete": 2}
STEP = 1000


@dataclass(frozen=True, slots=True)
class Write:
    """One write.

    :param key: in DynamoDB's JSON
    :param at: when it was sent, in epoch seconds
    """

    number: int
    operation: Operation
    key: Mapping[str, Any]
    revision: int
    at: float = 0.0


def writes(keys: Sequence[Mapping[str, Any]], seed: int, first_revision: int = 0) -> Iterator[Write]:
    """What the application does, without end; it follows from the arguments."""
    dice = random.Random(seed)
    number = 0
    while True:
        number += 1
        (operation,) = dice.choices(list(OPERATIONS), list(OPERATIONS.values()))
        yield Write(number, operation, dice.choice(keys), first_revision + number * STEP)


class Application:
    """Sends writes to a table and logs them.

    :param attributes: that a put gives to every item beside its key, in DynamoDB's JSON
    """

    def __init__(self, dynamodb: Any, table: str, log: TextIO, attributes: Mapping[str, Any]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._log = log
        self._attributes = attributes

    def send(self, write: Write) -> None:
        self._note({**asdict(write), "at": time.time()})
        marks = {"app": {"N": str(write.number)}, "revision": {"N": str(write.revision)}}
        if write.operation == "put":
            self._dynamodb.put_item(TableName=self._table, Item={**self._attributes, **marks, **write.key})
        elif write.operation == "update":
            self._dynamodb.update_item(
                TableName=self._table,
                Key=write.key,
                UpdateExpression="SET app = :app, revision = :revision",
                ExpressionAttributeValues={f":{name}": value for name, value in marks.items()},
            )
        else:
            self._dynamodb.delete_item(TableName=self._table, Key=write.key)
        self._note({"number": write.number, "done": True})

    def _note(self, line: Mapping[str, Any]) -> None:
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


@dataclass(frozen=True, slots=True)
class Last:
    """The last write of an item that is known to be done, and a later one that was sent but never answered."""

    done: Write | None = None
    in_doubt: Write | None = None


def last_writes(log: Path) -> dict[str, Last]:
    """What a log says of each item, by `name_of` its key."""
    sent: dict[int, Write] = {}
    done: set[int] = set()
    for line in log.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        if "done" in found:
            done.add(found["number"])
        else:
            sent[found["number"]] = Write(**found)
    last: dict[str, Last] = {}
    for write in sent.values():
        name = name_of(write.key)
        last[name] = Last(write) if write.number in done else Last(last.get(name, Last()).done, write)
    return last


def name_of(key: Mapping[str, Any]) -> str:
    """A key as text."""
    return json.dumps(key, sort_keys=True)


def _run(application: Application, planned: Iterator[Write], rate: float, count: int | None, stop: threading.Event) -> None:
    began = time.monotonic()
    for write in planned:
        if stop.wait(max(0.0, began + (write.number - 1) / rate - time.monotonic())):
            return
        application.send(write)
        if write.number == count:
            return


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.demo.application", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", required=True)
    parser.add_argument("--keys", type=Path, required=True, help="a key in DynamoDB's JSON a line; bytes are not supported")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=20.0, help="writes a second")
    parser.add_argument("--count", type=int, help="ends after so many writes")
    parser.add_argument("--first-revision", type=int, default=0)
    parser.add_argument("--attributes", type=json.loads, default={}, help="of every put, in DynamoDB's JSON")
    parser.add_argument("--endpoint", help="past AWS_ENDPOINT_URL_DYNAMODB")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    keys = [json.loads(line) for line in options.keys.read_text(encoding="utf-8").splitlines()]
    client = boto3.client("dynamodb", endpoint_url=options.endpoint)
    with options.log.open("w", encoding="utf-8") as log:
        application = Application(client, options.table, log, options.attributes)
        _run(application, writes(keys, options.seed, options.first_revision), options.rate, options.count, stop)


if __name__ == "__main__":
    main()

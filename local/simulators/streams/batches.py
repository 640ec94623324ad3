"""Decide what becomes of a batch: done, delivered again, split, or discarded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal
from zlib import crc32

from local.simulators.streams.mapping import FOREVER, StreamMapping
from local.simulators.streams.records import Record

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 1.0, 30.0

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are sent together.

    :param retries: how much of the quota is used
    :param invocations: how often the function was called with these records, in whatever company
    """

    records: tuple[Record, ...]
    retries: int = 0
    invocations: int = 0

    @property
    def event(self) -> str:
        return f'{{"Records":[{",".join(record.text for record in self.records)}]}}'


@dataclass(frozen=True, slots=True)
class Answer:
    """What an invocation gave; ``failed``: the function raised, died or timed out."""

    request_id: str
    failed: bool
    payload: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """Position of the first record that has to come again; ``whole``: nothing of the batch counts as done."""

    position: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What follows: records that are done, what is given up, what is to be delivered next and in this order."""

    done: tuple[Record, ...] = ()
    discarded: Batch | None = None
    again: tuple[Batch, ...] = ()


def failure(answer: Answer, batch: Batch, *, report_failures: bool) -> Failure | None:
    """Read an answer (developer guide, "Configuring partial batch response": success and failure conditions)."""
    if answer.failed:
        return Failure(0, whole=True)
    reported = answer.payload.get("batchItemFailures") if isinstance(answer.payload, dict) else None
    if not report_failures or reported is None or reported == []:
        return None
    positions = {record.sequence: position for position, record in enumerate(batch.records)}
    try:
        return Failure(min(positions[entry["itemIdentifier"]] for entry in reported), whole=False)
    except (TypeError, KeyError):
        return Failure(0, whole=True)


def after(batch: Batch, mapping: StreamMapping, failed: Failure | None) -> Step:
    """Decide after an invocation that has been counted in ``batch``."""
    if failed is None:
        return Step(done=batch.records)
    done, rest = batch.records[: failed.position], batch.records[failed.position :]
    if mapping.bisect and done:
        return Step(done, again=(Batch(rest, batch.retries, batch.invocations),))
    if mapping.bisect and failed.whole and len(rest) > 1:
        middle = (len(rest) + 1) // 2
        halves = tuple(Batch(part, batch.retries, batch.invocations) for part in (rest[:middle], rest[middle:]))
        return Step(done, again=halves)
    if mapping.retries != FOREVER and batch.retries >= mapping.retries:
        return Step(done, discarded=Batch(rest, batch.retries, batch.invocations))
    return Step(done, again=(Batch(rest, batch.retries + 1, batch.invocations),))


def without_expired(batch: Batch, mapping: StreamMapping, now: float, speed: float) -> Step:
    """Give up the records that are too old to be sent; the rest, if any, is what is to be delivered."""
    if mapping.max_age_seconds == FOREVER:
        return Step(again=(batch,))
    oldest = now - mapping.max_age_seconds / speed
    expired = tuple(record for record in batch.records if record.created < oldest)
    if not expired:
        return Step(again=(batch,))
    rest = tuple(record for record in batch.records if record.created >= oldest)
    discarded = Batch(expired, batch.retries, batch.invocations)
    return Step(discarded=discarded, again=(Batch(rest, batch.retries, batch.invocations),) if rest else ())


def first_records(queue: Iterable[Record], batch_size: int) -> tuple[Record, ...]:
    """As many as a batch and its 6 MB take, and one at least."""
    size = 0
    taken: list[Record] = []
    for record in islice(queue, batch_size):
        size += record.size
        if taken and size > MAX_PAYLOAD_BYTES:
            break
        taken.append(record)
    return tuple(taken)


def lane_of(key: str, lanes: int) -> int:
    """Which of the lanes an item's records take, one behind the other."""
    return crc32(key.encode()) % lanes


def wait_seconds(failures: int) -> float:
    """How long to wait after that many failures in succession."""
    return float(min(FIRST_WAIT_SECONDS * 2 ** (failures - 1), MAX_WAIT_SECONDS))

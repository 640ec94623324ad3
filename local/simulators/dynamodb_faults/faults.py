"""What can go wrong between a client and DynamoDB, when it does, and what did."""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Self

WRITES = ("UpdateItem",)


class Kind(StrEnum):
    """One way to fail, as the client meets it."""

    THROTTLE_TABLE = "throttle_table"
    """ProvisionedThroughputExceededException of the table; nothing happens."""
    THROTTLE_INDEX = "throttle_index"
    """The same of an index, ``Fault.index``."""
    THROTTLE_PARTITION = "throttle_partition"
    """The same of a partition: one key range of the table gets too much."""
    INTERNAL_ERROR = "internal_error"
    """HTTP 500 InternalServerError; nothing happens."""
    UNAVAILABLE = "unavailable"
    """HTTP 503 ServiceUnavailable; nothing happens."""
    ACCESS_DENIED = "access_denied"
    """AccessDeniedException; nothing happens."""
    RESET_BEFORE = "reset_before"
    """The connection is reset when the request has been read; the engine never sees it."""
    DELAYED = "delayed"
    """The connection is reset, and the engine gets the request after ``Fault.seconds``: maybe behind newer ones."""

    INTERNAL_ERROR_AFTER = "internal_error_after"
    """HTTP 500 after the engine has done the work."""
    RESET_AFTER = "reset_after"
    """The engine has done the work, its answer is lost."""
    TIMEOUT = "timeout"
    """The engine has done the work; nothing comes for ``Fault.seconds``, then the connection ends."""
    CUT = "cut"
    """The engine has done the work; the headers and half of the body, then the connection ends."""
    BAD_CHECKSUM = "bad_checksum"
    """The engine has done the work; x-amz-crc32 does not fit the answer."""
    SLOW = "slow"
    """The engine's answer, ``Fault.seconds`` late."""

    @property
    def takes_effect(self) -> bool:
        """True when the engine does what it was asked, at once or later."""
        return self not in _REFUSED


_REFUSED = frozenset(
    {
        Kind.THROTTLE_TABLE,
        Kind.THROTTLE_INDEX,
        Kind.THROTTLE_PARTITION,
        Kind.INTERNAL_ERROR,
        Kind.UNAVAILABLE,
        Kind.ACCESS_DENIED,
        Kind.RESET_BEFORE,
    }
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a client, by its X-Amz-Target; ``table`` is empty where the body names none."""

    operation: str
    table: str
    body: bytes

    @property
    def is_write(self) -> bool:
        return self.operation in _OF_WRITING


_OF_WRITING = frozenset(
    {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems", "ExecuteStatement", "BatchExecuteStatement"}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What calls meet.

    :param operations: which calls; empty: every one
    :param table: only calls of this table; empty: of any
    :param times: how many calls meet it; None for all until it is withdrawn
    :param after: how many of these calls pass before, those counted that meet another fault
    :param seconds: for the kinds that take time
    :param index: that THROTTLE_INDEX names
    """

    kind: Kind
    operations: tuple[str, ...] = WRITES
    table: str = ""
    times: int | None = 1
    after: int = 0
    seconds: float = 1.0
    index: str = "by_date"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """
        :raises ValueError: not a fault
        """
        try:
            operations = tuple(values.get("operations", WRITES))
            return cls(**{**values, "kind": Kind(values["kind"]), "operations": operations})
        except (TypeError, KeyError) as error:
            raise ValueError(f"a fault is {list(cls.__dataclass_fields__)}, found {values!r}: {error}") from error

    def strikes(self, call: Call) -> bool:
        return _fits(call, self.operations, self.table)


@dataclass(frozen=True, slots=True)
class Plan:
    """Faults drawn at random, at most one a call.

    What a call meets follows from the seed, its operation, its body and how many of that body came before: so it is the same whatever
    order the threads of a client send in.

    :param probabilities: by kind; at most 1 in all
    :param seconds: the longest that a kind that takes time may take
    """

    seed: int
    probabilities: Mapping[Kind, float] = field(default_factory=dict)
    operations: tuple[str, ...] = WRITES
    table: str = ""
    seconds: float = 0.2
    index: str = "by_date"

    def __post_init__(self) -> None:
        total = sum(self.probabilities.values())
        if total > 1 + 1e-9 or any(share < 0 for share in self.probabilities.values()):
            raise ValueError(f"probabilities: expected at most 1 in all, found {total:g} in {dict(self.probabilities)}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """
        :raises ValueError: not a plan
        """
        try:
            probabilities = {Kind(kind): share for kind, share in values["probabilities"].items()}
            operations = tuple(values.get("operations", WRITES))
            return cls(**{**values, "probabilities": probabilities, "operations": operations})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"a plan is {list(cls.__dataclass_fields__)}, found {values!r}: {error}") from error

    def draw(self, call: Call, seen: int) -> Fault | None:
        """
        :param seen: how often this call came, this one counted
        """
        if not _fits(call, self.operations, self.table):
            return None
        random = Random(f"{self.seed}:{call.operation}:{zlib.crc32(call.body)}:{seen}")
        point, seconds = random.random(), random.random() * self.seconds
        for kind, probability in self.probabilities.items():
            if (point := point - probability) < 0:
                return Fault(kind, seconds=seconds, index=self.index)
        return None


def _fits(call: Call, operations: tuple[str, ...], table: str) -> bool:
    return (not operations or call.operation in operations) and table in ("", call.table)


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault as it happened, at a time in epoch seconds."""

    time: float
    kind: Kind
    operation: str
    table: str


@dataclass(slots=True)
class _Order:
    fault: Fault
    passed: int = 0
    done: int = 0

    def is_due(self, call: Call) -> bool:
        """Count a call and say whether it is one to strike."""
        if not self.fault.strikes(call):
            return False
        self.passed += 1
        return self.passed > self.fault.after

    @property
    def is_used_up(self) -> bool:
        return self.fault.times is not None and self.done >= self.fault.times


class Faults:
    """What was ordered and what has happened, safe for threads. ``latency`` is added to every answer, in seconds."""

    def __init__(self) -> None:
        self.latency = 0.0
        self._lock = threading.Lock()
        self._orders: list[_Order] = []
        self._plan = Plan(seed=0)
        self._seen: Counter[tuple[str, int]] = Counter()
        self._journal: list[Injection] = []
        self._released = threading.Event()

    def order(self, fault: Fault) -> None:
        with self._lock:
            self._orders.append(_Order(fault))

    def follow(self, plan: Plan) -> None:
        """Draw from now on by this plan, as if no call had come before."""
        with self._lock:
            self._plan = plan
            self._seen.clear()

    def clear(self) -> None:
        """Withdraw orders, plan and latency, forget what happened and let go what is held."""
        with self._lock:
            self.latency = 0.0
            self._orders.clear()
            self._plan = Plan(seed=0)
            self._seen.clear()
            self._journal.clear()
        self.release()

    def draw(self, call: Call) -> Fault | None:
        """Say what a call meets. Of several orders the oldest that strikes wins, and any order a plan."""
        with self._lock:
            found = None
            for order in self._orders:
                if order.is_due(call) and found is None:
                    found = order.fault
                    order.done += 1
            self._orders = [order for order in self._orders if not order.is_used_up]
            if not self._plan.probabilities:
                return found
            same = (call.operation, zlib.crc32(call.body))
            self._seen[same] += 1
            return found or self._plan.draw(call, self._seen[same])

    def happened(self, kind: Kind, call: Call) -> None:
        with self._lock:
            self._journal.append(Injection(time.time(), kind, call.operation, call.table))

    def journal(self) -> list[Injection]:
        with self._lock:
            return list(self._journal)

    def counts(self) -> Counter[Kind]:
        """How many calls met each kind."""
        return Counter(injection.kind for injection in self.journal())

    @property
    def released(self) -> threading.Event:
        """Set when what is held now is let go."""
        return self._released

    def release(self) -> None:
        """Let go what is held or delayed now."""
        with self._lock:
            held, self._released = self._released, threading.Event()
        held.set()

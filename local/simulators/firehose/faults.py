"""What a test can order to go wrong.

A fault has a ``kind`` and applies to the calls ``first`` … ``last`` (from 1, both included; ``last`` null: for ever) among those that
fit it since it was ordered: calls of ``operation`` ("*": every one that the kind can concern), on ``stream`` when it is given. Of these
calls it takes a ``share`` (1: all) at random; the same ``seed`` takes the same calls, and the same records of them.

====================  ==========================================================================================================
throttle              ServiceUnavailableException, HTTP 500, "Slow down.", nothing is taken
server_error          InternalFailure, HTTP ``status`` (500, 503, …), nothing happens
error                 ``code``, ``message`` and ``status`` (400) as they are given, e.g. AccessDeniedException
reset                 the connection is reset, nothing happens
slow                  the call is looked at ``seconds`` later
server_error_after    the call takes effect, then the answer is that of ``server_error``
reset_after           the call takes effect, then the connection is reset instead of the answer
slow_after            the call takes effect, the answer comes ``seconds`` later
fail_records          PutRecordBatch: HTTP 200, but the records at ``positions`` (from 0; null: a ``share`` of them at random, while the
                      fault then takes every call) fail with ``code`` (ServiceUnavailableException); with ``taken`` they are taken
                      nevertheless, as the answer only says that they "might have failed"
twice                 PutRecord, PutRecordBatch: what is taken is delivered twice, under the same id
====================  ==========================================================================================================

``server_error`` without an end is the whole service down.
"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

PUTS = frozenset({"PutRecord", "PutRecordBatch"})
OPERATIONS = PUTS | {
    "CreateDeliveryStream",
    "DeleteDeliveryStream",
    "DescribeDeliveryStream",
    "ListDeliveryStreams",
    "ListTagsForDeliveryStream",
    "TagDeliveryStream",
    "UntagDeliveryStream",
    "UpdateDestination",
}
_ANY = ("throttle", "server_error", "error", "reset", "slow", "server_error_after", "reset_after", "slow_after")
_KINDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(_ANY, OPERATIONS),
    "fail_records": frozenset({"PutRecordBatch"}),
    "twice": PUTS,
}


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    operation: str = "*"
    stream: str | None = None
    first: int = 1
    last: int | None = None
    share: float = 1.0
    seed: int = 0
    seconds: float = 0.0
    status: int | None = None
    code: str | None = None
    message: str | None = None
    positions: Sequence[int] | None = None
    taken: bool = False

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Fault:
        """Read one fault of the control API.

        :raises ValueError: an unknown name, kind, operation, a kind that cannot concern the operation, or a share that is none
        """
        if unknown := set(values) - {field.name for field in fields(cls)}:
            raise ValueError(f"fault {dict(values)}: unknown {', '.join(sorted(unknown))}")
        if values.get("kind") not in _KINDS:
            raise ValueError(f"fault {dict(values)}: expected a kind of {', '.join(_KINDS)}")
        fault = cls(**values)
        if fault.operation != "*" and fault.operation not in _KINDS[fault.kind]:
            raise ValueError(
                f"fault {dict(values)}: {fault.kind} concerns {', '.join(sorted(_KINDS[fault.kind]))}, not {fault.operation}"
            )
        if not 0 <= fault.share <= 1:
            raise ValueError(f"fault {dict(values)}: expected a share from 0 to 1")
        return fault

    def fits(self, operation: str, stream: str | None) -> bool:
        return operation in _KINDS[self.kind] and self.operation in ("*", operation) and self.stream in (None, stream)


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault and the number of the call that it concerns."""

    fault: Fault
    call: int

    def records(self, count: int) -> set[int]:
        """Positions of the records that fail."""
        if self.fault.positions is not None:
            return {position for position in self.fault.positions if position < count}
        dice = random.Random(f"{self.fault.seed}/{self.call}")
        return {position for position in range(count) if dice.random() < self.fault.share}


@dataclass(frozen=True, slots=True)
class CallFaults:
    """The faults of one call."""

    struck: Sequence[Struck] = ()

    def find(self, *kinds: str) -> Fault | None:
        return next((struck.fault for struck in self.struck if struck.fault.kind in kinds), None)

    def seconds(self, kind: str) -> float:
        return sum(struck.fault.seconds for struck in self.struck if struck.fault.kind == kind)

    def failing_records(self, count: int) -> dict[int, Fault]:
        """What goes wrong with which record of a call."""
        return {
            position: struck.fault
            for struck in self.struck
            if struck.fault.kind == "fail_records"
            for position in struck.records(count)
        }


@dataclass(slots=True)
class _Order:
    fault: Fault
    calls: int = 0

    def strikes(self) -> bool:
        """Count a call that fits; true when it is one of those that go wrong."""
        self.calls += 1
        fault = self.fault
        if not fault.first <= self.calls <= (fault.last or math.inf):
            return False
        every = fault.kind == "fail_records" or fault.share >= 1
        return every or random.Random(f"{fault.seed}/{self.calls}").random() < fault.share


@dataclass(slots=True)
class FaultBook:
    """The faults that are ordered, how many calls each has seen, and how many calls met each kind."""

    _orders: list[_Order] = field(default_factory=list)
    _happened: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def order(self, faults: Sequence[Fault]) -> None:
        with self._lock:
            self._orders.extend(_Order(fault) for fault in faults)

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()
            self._happened.clear()

    def happened(self) -> dict[str, int]:
        """How many calls met each kind since the faults were last cleared."""
        with self._lock:
            return dict(self._happened)

    def ordered(self) -> list[Fault]:
        with self._lock:
            return [order.fault for order in self._orders]

    def for_call(self, operation: str, stream: str | None) -> CallFaults:
        with self._lock:
            struck = [
                Struck(order.fault, order.calls)
                for order in self._orders
                if order.fault.fits(operation, stream) and order.strikes()
            ]
            self._happened.update(one.fault.kind for one in struck)
            return CallFaults(struck)

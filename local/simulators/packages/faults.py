"""What a test can order to go wrong.

A fault has a ``kind`` and applies to the calls ``first`` … ``last`` (from 1, both included; ``last`` null: for ever) among those that
fit it since it was ordered: calls of ``operation`` ("*": every one that the kind can concern), and of ``package_id`` or ``domain_name``
when they are given.

====================  ==========================================================================================================
throttle              ThrottlingException, HTTP 429
server_error          ``status`` (500, 503, …); InternalException or ServiceUnavailable
access_denied         AccessDeniedException, HTTP 403
reset                 the connection is reset, nothing happens
reset_after           the call takes effect, then the connection is reset instead of the answer
slow                  the answer comes ``seconds`` later, on the wall whatever the speed
lag                   a read shows the state of ``seconds`` ago, divided by the speed
stay                  what the call starts never leaves ``state`` (default: the first it enters) until the faults are cleared
slow_state            ``state`` (default: all) lasts ``factor`` times as long
copy_failed           CreatePackage, UpdatePackage: COPY_FAILED
validation_failed     CreatePackage, UpdatePackage: VALIDATION_FAILED
association_failed    AssociatePackage: ASSOCIATION_FAILED
skip_reload           AssociatePackage: ACTIVE on the right version, but nothing is reloaded
====================  ==========================================================================================================

``code`` and ``message`` replace those of an error. The ``…_failed`` kinds carry ErrorDetails with ``error_type`` ("" is allowed) and
``error_message``; with ``details`` false they carry none.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from local.simulators.packages.model import AssociationStatus, Course, ErrorDetails, PackageStatus
from local.simulators.packages.settings import Settings

PUBLISHING = frozenset({"CreatePackage", "UpdatePackage"})
READING = frozenset(
    {
        "DescribePackages",
        "ListDomainsForPackage",
        "ListPackagesForDomain",
        "GetPackageVersionHistory",
        "DescribeDomain",
    }
)
OPERATIONS = PUBLISHING | READING | {"AssociatePackage", "DissociatePackage"}

_KINDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("throttle", "server_error", "access_denied", "reset", "reset_after", "slow"), OPERATIONS),
    "lag": READING,
    **dict.fromkeys(("stay", "slow_state"), OPERATIONS - READING),
    **dict.fromkeys(("copy_failed", "validation_failed"), PUBLISHING),
    **dict.fromkeys(("association_failed", "skip_reload"), frozenset({"AssociatePackage"})),
}

_FAILING_STATE = {
    "copy_failed": PackageStatus.COPYING,
    "validation_failed": PackageStatus.VALIDATING,
    "association_failed": AssociationStatus.ASSOCIATING,
}


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    operation: str = "*"
    first: int = 1
    last: int | None = None
    package_id: str | None = None
    domain_name: str | None = None
    seconds: float = 0.0
    factor: float = 1.0
    state: str | None = None
    status: int = 500
    code: str | None = None
    message: str | None = None
    details: bool = True
    error_type: str = "SimulatedError"
    error_message: str = "Ordered by a test"

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Fault:
        """Read one fault of the control API.

        :raises ValueError: an unknown name, kind, operation, or a kind that cannot concern the operation
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
        return fault

    def fits(self, operation: str, parameters: Mapping[str, Any]) -> bool:
        return (
            operation in _KINDS[self.kind]
            and self.operation in ("*", operation)
            and self.package_id in (None, parameters.get("PackageID"))
            and self.domain_name in (None, parameters.get("DomainName"))
        )

    @property
    def error(self) -> ErrorDetails | None:
        return ErrorDetails(self.error_type, self.error_message) if self.details else None


@dataclass(frozen=True, slots=True)
class CallFaults:
    """The faults of one call."""

    faults: Sequence[Fault] = ()

    def find(self, *kinds: str) -> Fault | None:
        return next((fault for fault in self.faults if fault.kind in kinds), None)

    def seconds(self, kind: str) -> float:
        return sum(fault.seconds for fault in self.faults if fault.kind == kind)

    def course(self, settings: Settings, *states: str) -> Course:
        """How the change that the call starts will go through its states."""
        failing = self.find("copy_failed", "validation_failed", "association_failed")
        return Course(
            seconds={state: self._seconds(state, states[0], settings) for state in states},
            fails_in=_FAILING_STATE[failing.kind] if failing else None,
            error=failing.error if failing else None,
            reload=self.find("skip_reload") is None,
        )

    def _seconds(self, state: str, entered_first: str, settings: Settings) -> float:
        seconds = getattr(settings.durations, state.lower()) / settings.speed
        for fault in self.faults:
            if fault.kind == "stay" and state == (fault.state or entered_first):
                return math.inf
            if fault.kind == "slow_state" and fault.state in (None, state):
                seconds *= fault.factor
        return float(seconds)


@dataclass(slots=True)
class _Order:
    fault: Fault
    calls: int = 0

    def counts(self) -> bool:
        """Count a call that fits; true when it is one of those that go wrong."""
        self.calls += 1
        return self.fault.first <= self.calls <= (self.fault.last or math.inf)


@dataclass(slots=True)
class FaultBook:
    """The faults that are ordered, and how many calls each has seen."""

    _orders: list[_Order] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def order(self, faults: Sequence[Fault]) -> None:
        with self._lock:
            self._orders.extend(_Order(fault) for fault in faults)

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def ordered(self) -> list[Fault]:
        with self._lock:
            return [order.fault for order in self._orders]

    def for_call(self, operation: str, parameters: Mapping[str, Any]) -> CallFaults:
        with self._lock:
            return CallFaults(
                [order.fault for order in self._orders if order.fault.fits(operation, parameters) and order.counts()]
            )

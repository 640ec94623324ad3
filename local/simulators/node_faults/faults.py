"""What can go wrong between a client and a node, when it does, and what did."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Self

BULK = "_bulk"
EVERY_PATH = "*"


class Kind(StrEnum):
    """One way to fail, as the client meets it."""

    ITEM_429 = "item_429"
    """A share of the items is refused by a full write queue; the others are done."""
    ITEM_BLOCK_429 = "item_block_429"
    """cluster_block_exception of a full disk, which has the status of back-pressure."""
    ITEM_BLOCK_403 = "item_block_403"
    """cluster_block_exception of an index that is blocked for writing."""
    ITEM_INDEX_CLOSED = "item_index_closed"
    """index_closed_exception, status 400."""

    STATUS_429 = "status_429"
    """The node refuses the whole request, in JSON."""
    STATUS_429_TEXT = "status_429_text"
    """What stands before a domain refuses the request, in a line of text."""
    STATUS_413 = "status_413"
    """The service's answer to a body over its limit; with ``Fault.min_bytes`` for the larger ones only."""
    STATUS_413_HTML = "status_413_html"
    STATUS_500 = "status_500"
    STATUS_502 = "status_502"
    STATUS_503 = "status_503"
    STATUS_504 = "status_504"
    RESET_BEFORE = "reset_before"
    """The connection is reset when the request has been read; the node never sees it."""
    RESET_DURING = "reset_during"
    """The connection is reset when half of the body has been read; the node never sees it."""
    DELAYED = "delayed"
    """The connection is reset, and the node gets the request after ``Fault.seconds``: maybe behind newer ones."""

    LATE_502 = "late_502"
    """Answered 502 after the node has done the work."""
    LATE_504 = "late_504"
    RESET_AFTER = "reset_after"
    """The node has done the work, its answer is lost."""
    TIMEOUT = "timeout"
    """The node has done the work; nothing comes for ``Fault.seconds``, then the connection ends."""
    CUT = "cut"
    """The headers and half of the answer's body, then the connection ends."""
    SHORT = "short"
    """Valid JSON that lacks a share of the items, the last ones."""
    NOT_JSON = "not_json"
    """Status 200 with a page of HTML, after the node has done the work."""
    SLOW = "slow"
    """The node's answer, ``Fault.seconds`` late."""
    DUPLICATE = "duplicate"
    """The node gets the request twice; the client sees the first answer."""
    DUPLICATE_LAST = "duplicate_last"
    """The node gets the request twice; the client sees the second answer."""

    @property
    def of_items(self) -> bool:
        """True for what strikes some items of a bulk request, False for what strikes the request."""
        return self in _OF_ITEMS


_OF_ITEMS = frozenset({Kind.ITEM_429, Kind.ITEM_BLOCK_429, Kind.ITEM_BLOCK_403, Kind.ITEM_INDEX_CLOSED})


@dataclass(frozen=True, slots=True)
class Fault:
    """What the requests to a path meet.

    :param times: how many requests meet it; None for all until it is withdrawn
    :param after: how many requests pass before, those counted that meet another fault
    :param path: end of the paths that it strikes: ``_bulk`` is ``/_bulk`` and ``/products/_bulk``, ``*`` is every path
    :param share: of the items, for the kinds that strike items and for `SHORT`; at least one item is struck
    :param seconds: for the kinds that take time
    :param min_bytes: a request with a shorter body passes, and does not count for `after`
    """

    kind: Kind
    times: int | None = 1
    after: int = 0
    path: str = BULK
    share: float = 0.5
    seconds: float = 1.0
    min_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: expected 0 to 1, found {self.share}")
        if self.kind.of_items and self.path.rpartition("/")[2] != BULK:
            raise ValueError(f"path: {self.kind} strikes items of {BULK} only, found {self.path}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """
        :raises ValueError: not a fault
        """
        try:
            return cls(**{**values, "kind": Kind(values["kind"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"a fault is {list(cls.__dataclass_fields__)}, found {values!r}: {error}") from error

    def strikes(self, path: str, size: int) -> bool:
        return size >= self.min_bytes and _ends_with(path, self.path)


@dataclass(frozen=True, slots=True)
class Plan:
    """Faults drawn at random: of each request one for its items and one for the whole, or none.

    What a request meets follows from the seed, the end of its path, the length of its body and how many of that length came before:
    so it is the same whatever order the threads of a client send in, and for indexes whose names differ but not in length.

    :param probabilities: by kind; those of items may add up to 1, and so may the others
    :param seconds: the longest that a kind that takes time may take
    """

    seed: int
    probabilities: Mapping[Kind, float] = field(default_factory=dict)
    seconds: float = 0.2
    paths: tuple[str, ...] = (BULK,)

    def __post_init__(self) -> None:
        for of_items in (True, False):
            total = sum(share for kind, share in self.probabilities.items() if kind.of_items is of_items)
            if total > 1 + 1e-9 or any(share < 0 for share in self.probabilities.values()):
                raise ValueError(f"probabilities: expected at most 1 in all, found {total:g} in {dict(self.probabilities)}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """
        :raises ValueError: not a plan
        """
        try:
            probabilities = {Kind(kind): share for kind, share in values["probabilities"].items()}
            return cls(**{**values, "probabilities": probabilities, "paths": tuple(values.get("paths", (BULK,)))})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"a plan is {list(cls.__dataclass_fields__)}, found {values!r}: {error}") from error

    def draw(self, path: str, random: Random) -> list[Fault]:
        struck = next((end for end in self.paths if _ends_with(path, end)), None)
        if struck is None:
            return []
        drawn = []
        for of_items in (True, False):
            point, share, seconds = random.random(), random.random(), random.random() * self.seconds
            for kind, probability in self.probabilities.items():
                if kind.of_items is of_items and (point := point - probability) < 0:
                    if not of_items or _ends_with(path, BULK):
                        drawn.append(Fault(kind, path=struck, share=share, seconds=seconds))
                    break
        return drawn


@dataclass(frozen=True, slots=True)
class Draw:
    """What one request meets; `random` chooses the items."""

    items: Fault | None = None
    whole: Fault | None = None
    random: Random = field(default_factory=Random)


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault as it happened: at what time (epoch seconds), to a body of how many bytes, to how many items (0: to the whole)."""

    time: float
    kind: Kind
    path: str
    bytes: int
    items: int = 0


@dataclass(slots=True)
class _Order:
    fault: Fault
    passed: int = 0
    done: int = 0

    def is_due(self, path: str, size: int) -> bool:
        """Count a request and say whether it is one to strike."""
        if not self.fault.strikes(path, size):
            return False
        self.passed += 1
        return self.passed > self.fault.after

    @property
    def is_used_up(self) -> bool:
        return self.fault.times is not None and self.done >= self.fault.times


class Faults:
    """What was ordered and what has happened, safe for threads."""

    def __init__(self) -> None:
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
        """Draw from now on by this plan, as if no request had come before."""
        with self._lock:
            self._plan = plan
            self._seen.clear()

    def clear(self) -> None:
        """Withdraw orders and plan, forget what happened and let go what is held."""
        with self._lock:
            self._orders.clear()
            self._plan = Plan(seed=0)
            self._seen.clear()
            self._journal.clear()
        self.release()

    def draw(self, path: str, size: int) -> Draw | None:
        """Say what a request meets, None for nothing. Of several orders the oldest that strikes wins, and any order a plan."""
        with self._lock:
            if not self._orders and not self._plan.probabilities:
                return None
            name = path.rpartition("/")[2]
            self._seen[name, size] += 1
            random = Random(f"{self._plan.seed}:{name}:{size}:{self._seen[name, size]}")
            found: dict[bool, Fault] = {}
            for order in self._orders:
                if order.is_due(path, size) and order.fault.kind.of_items not in found:
                    found[order.fault.kind.of_items] = order.fault
                    order.done += 1
            self._orders = [order for order in self._orders if not order.is_used_up]
            for fault in self._plan.draw(path, random):
                found.setdefault(fault.kind.of_items, fault)
            return Draw(found.get(True), found.get(False), random) if found else None

    def happened(self, kind: Kind, path: str, size: int, items: int = 0) -> None:
        with self._lock:
            self._journal.append(Injection(time.time(), kind, path, size, items))

    def journal(self) -> list[Injection]:
        with self._lock:
            return list(self._journal)

    def counts(self) -> Counter[Kind]:
        """How many requests met each kind."""
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


def _ends_with(path: str, end: str) -> bool:
    return end == EVERY_PATH or path.endswith("/" + end.strip("/"))

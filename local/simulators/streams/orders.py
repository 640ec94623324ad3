"""Faults of delivery that a test can order.

=================  ==========================================================================================
``twice``          the batch is delivered, and once more when the function has answered; the second answer counts
``together``       the batch is delivered to two handlers at the same moment; the first one's answer counts
``kill_handler``   every process of the function that runs ``seconds`` after the delivery is killed with SIGKILL
=================  ==========================================================================================

A poller that dies is no order: kill its process. Neither is one that waits: see ``StreamsControl.pause`` and ``hold``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

Kind = Literal["twice", "together", "kill_handler"]


@dataclass(frozen=True, slots=True)
class Order:
    """What the next batches meet.

    :param function: name; empty: every function
    :param times: how many deliveries meet it
    :param after: how many pass before
    """

    kind: Kind
    function: str = ""
    times: int = 1
    after: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """
        :raises ValueError: not an order
        """
        try:
            order = cls(**values)
        except TypeError as error:
            raise ValueError(f"an order is {list(cls.__dataclass_fields__)}, found {dict(values)!r}") from error
        if order.kind not in get_args(Kind):
            raise ValueError(f"kind: expected one of {', '.join(get_args(Kind))}, found {order.kind!r}")
        return order


class Orders:
    """What was ordered, safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[list[Any]] = []

    def add(self, order: Order) -> None:
        with self._lock:
            self._orders.append([order, 0])

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def draw(self, function: str) -> Order | None:
        """What the next delivery to a function meets; every order that fits counts it, and the oldest that is due strikes."""
        with self._lock:
            struck = None
            for entry in self._orders:
                order, passed = entry
                if order.function not in ("", function):
                    continue
                if passed >= order.after and struck is not None:
                    continue
                entry[1] += 1
                if passed >= order.after:
                    struck = order
            self._orders = [entry for entry in self._orders if entry[1] < entry[0].after + entry[0].times]
            return struck

"""How many requests are under way at once: more while the cluster takes them, half when it answers 429, 5xx or not in time."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST_SECONDS = 0.05
LONGEST_SECONDS = 5.0
WAITS_A_PATIENCE = 20
"""So many of the longest waits are at least in a patience: a write queue that is full is free again within milliseconds."""


def backoff_seconds(attempt: int, jitter: Callable[[], float] = random.random, *, patience_seconds: float = math.inf) -> float:
    """How long to wait before the next attempt: 0.05 s doubling to 5 s or a twentieth of the patience, half of it left to chance.

    :param attempt: 1 after the first failure, and after one that took a part
    """
    longest = min(LONGEST_SECONDS, patience_seconds / WAITS_A_PATIENCE)
    whole = min(longest, FIRST_SECONDS * 2.0 ** min(attempt - 1, 10))
    return whole * (0.5 + 0.5 * jitter())


class Pressure:
    """Additive increase, multiplicative decrease, between a floor and a ceiling.

    Requests that were under way when one was refused say nothing new: of them only the first lowers the limit.
    """

    def __init__(self, floor: int = 1, ceiling: int = 8, start: int | None = None) -> None:
        if not 1 <= floor <= ceiling:
            raise ValueError(f"expected 1 <= floor <= ceiling, found {floor} and {ceiling}")
        self._floor, self._ceiling = floor, ceiling
        self._limit = float(max(floor, min(ceiling, start if start is not None else 4)))
        self._under_way = 0
        self._lowered = 0.0
        self._changed = threading.Condition()

    @property
    def limit(self) -> float:
        return self._limit

    @property
    def under_way(self) -> int:
        return self._under_way

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Wait for a place. Gives the time at which it was taken, for `refused`."""
        with self._changed:
            while self._under_way >= int(self._limit):
                self._changed.wait()
            self._under_way += 1
        try:
            yield time.monotonic()
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def taken(self) -> None:
        """A request was answered, without a 429."""
        with self._changed:
            self._limit = min(self._ceiling, self._limit + 1 / self._limit)
            self._changed.notify()  # it has grown by 1 at most, so that one more can begin

    def refused(self, began: float) -> None:
        """A request that began then was answered with 429, for all of it or a part, or with 5xx, or not at all."""
        with self._changed:
            if began >= self._lowered:
                self._limit = max(self._floor, self._limit / 2)
                self._lowered = time.monotonic()

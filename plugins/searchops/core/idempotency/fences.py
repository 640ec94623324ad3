"""Numbers that only grow, without a write for each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

BLOCK = 1_000_000
"""Numbers that a process reserves with one write. 63 bits, OpenSearch's largest version, last for 9 million million blocks."""
MAX_AGE_SECONDS = 3600.0

log = logging.getLogger(__name__)


class Fences:
    """Hand out the numbers of reserved blocks.

    A claim is granted only with a number above the last one of its key, so numbers need not be in order between processes, nor be
    handed out once: a process that was forked, or restored from a snapshot, may hand out those of its twin. That comparison fails
    where TTL has removed the last record; hence a block is thrown away long before a record made after it can be gone. Its age is the
    larger one by the wall clock and the monotonic clock, because the one can be set and the other stands still while a machine sleeps.

    :param add: counts on by that many and returns the counter
    :param keep_seconds: the shortest life of a record
    """

    def __init__(self, add: Callable[[int], int], keep_seconds: float, clock: Callable[[], float]) -> None:
        self._add = add
        self._max_age = min(MAX_AGE_SECONDS, keep_seconds / 4)
        self._clock = clock
        self._lock = Lock()
        self._next, self._last = 1, 0
        self._reserved = (0.0, 0.0)

    def take(self, above: int = 0) -> int:
        """A number that this object never gave before, above ``above``."""
        with self._lock:
            if self._next > self._last or self._next <= above or self._too_old():
                self._reserve(above)
            self._next += 1
            return self._next - 1

    def _too_old(self) -> bool:
        wall, monotonic = self._reserved
        by_wall = self._clock() - wall
        return by_wall < 0 or max(by_wall, time.monotonic() - monotonic) > self._max_age

    def _reserve(self, above: int) -> None:
        reserved = (self._clock(), time.monotonic())  # before the request: the age counts from there at the latest
        last = self._add(BLOCK)
        if last - BLOCK < above:
            log.warning("the counter of fences stood at %d, below the fence %d of a key: it is set above", last - BLOCK, above)
            last = self._add(above + BLOCK)
        self._next, self._last, self._reserved = last - BLOCK + 1, last, reserved

"""Threads on a clock that jumps: time passes only while all of them sleep, so a minute takes a fraction of a second, always the same."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable


class SimpleTime:
    """For one thread: sleeping is nothing but the passing of time."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class VirtualTime:
    """For several threads, of which one is awake at any time: the one whose sleep ends first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._lock = threading.Lock()
        self._awake = 0
        self._sleeping: list[tuple[float, int, threading.Event]] = []
        self._numbers = itertools.count()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        woken = threading.Event()
        with self._lock:
            heapq.heappush(self._sleeping, (self.now + seconds, next(self._numbers), woken))
            self._one_less()
        woken.wait()

    def run(self, *workers: Callable[[], None]) -> list[BaseException]:
        """Run each in a thread of its own until all have ended; what they raised, in that order."""
        raised: list[BaseException] = []

        def body(number: int, worker: Callable[[], None]) -> None:
            try:
                self.sleep(number * 1e-9)  # they begin in this order, whenever the system starts them
                worker()
            except BaseException as error:
                raised.append(error)
            finally:
                with self._lock:
                    self._one_less()

        self._awake = len(workers)
        threads = [threading.Thread(target=body, args=entry, daemon=True) for entry in enumerate(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return raised

    def _one_less(self) -> None:
        self._awake -= 1
        if not self._awake and self._sleeping:
            self.now, _, woken = heapq.heappop(self._sleeping)
            self._awake = 1
            woken.set()

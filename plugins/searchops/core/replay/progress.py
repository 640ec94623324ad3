"""How a replay is getting on, for a log, a task's state, a terminal."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from searchops.core.replay.model import Units
from searchops.core.terminal import show

WINDOW_SECONDS = 30.0
"""The rate is that of the last so many seconds."""
_SAMPLES = 60
_NEVER_QUITE = 0.999


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` and ``expected`` count selected items, those of earlier tries included; the rates are of this process.

    :param approximate: ``expected`` is an estimate, as DynamoDB's own count of a table is, which is up to six hours old
    :param units_per_second: write units consumed
    :param said: why it is slower than it might be
    :param last: nothing comes after it
    """

    done: int
    expected: int | None
    per_second: float
    seconds_left: float | None
    approximate: bool = False
    units_per_second: float = 0.0
    said: str = ""
    last: bool = False

    @property
    def share(self) -> float | None:
        """From 0 to 1; 1 only at the end, also where more is found than was expected. None where nothing is expected."""
        if self.last:
            return 1.0
        if self.expected is None:
            return None
        return min(_NEVER_QUITE, self.done / self.expected) if self.expected else 0.0

    def line(self) -> str:
        about = "about " if self.approximate else ""
        of = "" if self.expected is None or self.last else f" of {about}{self.expected:,}"
        share = "" if self.share is None else f" ({math.floor(self.share * 1000) / 10:.1f} %)"
        parts = [f"{self.done:,} items{of}{share}", f"{self.per_second:,.0f}/s", f"{self.units_per_second:,.0f} units/s"]
        if self.seconds_left is not None and not self.last:
            parts.append(f"{_clock(self.seconds_left)} left")
        return ", ".join(parts) + (f"; {self.said}" if self.said else "")

    def to_json(self) -> dict[str, Any]:
        """For the task's state; a few numbers."""
        return {
            "done": self.done,
            "expected": self.expected,
            "approximate": self.approximate,
            "percent": None if self.share is None else math.floor(self.share * 1000) / 10,
            "per_second": round(self.per_second, 1),
            "units_per_second": round(self.units_per_second, 1),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
            "said": self.said,
        }


def _clock(seconds: float) -> str:
    whole = math.ceil(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


class Forecast(Protocol):
    """What the pace knows of the time that is left; `pace.Pacer` does."""

    @property
    def consumed(self) -> Units: ...

    @property
    def said(self) -> str: ...

    def seconds_for(self, touches: int) -> float | None:
        """How long so many more touches take; infinite: nobody knows; None: the pace does not decide."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    done: int
    units: float


class Estimate:
    """How fast it is, and how long it will take. Not safe for threads.

    The pace tells the time that is left where it decides, slow start and the consumers' lag included; else the rate of the last half
    minute goes on.

    :param expected: how many items there are in all; None: that is not known
    :param done: by earlier tries
    :param began: when this try began, by the clock; None: now
    """

    def __init__(
        self,
        expected: int | None,
        *,
        done: int = 0,
        approximate: bool = False,
        pace: Forecast | None = None,
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = expected
        self._approximate = approximate
        self._pace = pace
        self._clock = clock
        self._samples = deque([_Sample(clock() if began is None else began, done, 0.0)])

    def look(self, done: int, *, last: bool = False) -> Progress:
        """
        :param done: items that are dealt with, those of earlier tries included
        """
        newest = _Sample(self._clock(), done, self._pace.consumed.total if self._pace else 0.0)
        self._keep(newest)
        oldest = self._samples[0]
        seconds = newest.at - oldest.at
        per_second = (done - oldest.done) / seconds if seconds > 0 else 0.0
        return Progress(
            done,
            self._expected,
            per_second,
            self._seconds_left(done, per_second),
            approximate=self._approximate,
            units_per_second=(newest.units - oldest.units) / seconds if seconds > 0 else 0.0,
            said=self._pace.said if self._pace and not last else "",
            last=last,
        )

    def _keep(self, newest: _Sample) -> None:
        """Keep about one sample a half second; the oldest is that from which the window's rate is taken."""
        if newest.at - self._samples[-1].at >= WINDOW_SECONDS / _SAMPLES:
            self._samples.append(newest)
        while len(self._samples) > 1 and newest.at - self._samples[1].at >= WINDOW_SECONDS:
            self._samples.popleft()

    def _seconds_left(self, done: int, per_second: float) -> float | None:
        if self._expected is None:
            return None
        left = max(0, self._expected - done)
        paced = self._pace.seconds_for(left) if self._pace else None
        if paced is not None:
            return None if math.isinf(paced) else paced
        return left / per_second if per_second else None


Listener = Callable[[Progress], None]


class Meter:
    """Counts items and calls a listener every few seconds, from whichever thread counts. Safe for threads.

    :param done: by earlier tries
    """

    def __init__(
        self,
        listener: Listener | None,
        estimate: Estimate,
        *,
        done: int = 0,
        every_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._estimate = estimate
        self._every = every_seconds
        self._clock = clock
        self._done = done
        self._told_at = clock()
        self._lock = threading.Lock()

    def add(self, items: int = 1) -> None:
        with self._lock:
            self._done += items
            if self._clock() - self._told_at >= self._every:
                self._tell()

    def finish(self) -> None:
        """Tell the end. Not for a replay that stops before it."""
        with self._lock:
            self._tell(last=True)

    def _tell(self, *, last: bool = False) -> None:
        self._told_at = self._clock()
        if self._listener:
            self._listener(self._estimate.look(self._done, last=last))


class TerminalBar:
    """A listener that draws one line on a terminal, and writes a line every so often to anything else."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def __call__(self, progress: Progress) -> None:
        show(self._stream, progress.line(), share=progress.share, last=progress.last)

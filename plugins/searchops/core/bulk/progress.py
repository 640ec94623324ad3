"""How a load is getting on, for a log, a task's state, a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from searchops.core.bulk.model import Counts
from searchops.core.terminal import show


@dataclass(frozen=True, slots=True)
class Progress:
    """``counts`` hold the whole input, earlier tries included; the rates are those of this process.

    ``limit`` is how many requests may be under way now, ``under_way`` how many are. ``last``: nothing comes after it.
    """

    counts: Counts
    seconds: float
    documents_per_second: float
    bytes_per_second: float
    under_way: int
    limit: float
    expected: int | None = None
    last: bool = False

    @property
    def refused_share(self) -> float:
        """429s among all answers so far."""
        answered = self.counts.accepted + self.counts.retried
        return self.counts.refused / answered if answered else 0.0

    @property
    def seconds_left(self) -> float | None:
        if not self.expected or not self.documents_per_second:
            return None
        return max(0.0, (self.expected - self.counts.accepted) / self.documents_per_second)

    def line(self) -> str:
        counts = self.counts
        parts = [
            f"{counts.accepted:,} documents" + (f" of {self.expected:,}" if self.expected else ""),
            f"{self.documents_per_second:,.0f}/s",
            f"{self.bytes_per_second / 1e6:.1f} MB/s",
            f"{self.under_way} of {self.limit:.0f} requests under way",
            f"429: {self.refused_share:.0%}",
        ]
        others = ("superseded", "rejected", "handed_over")
        parts += [f"{name.replace('_', ' ')} {number:,}" for name in others if (number := getattr(counts, name))]
        if (left := self.seconds_left) is not None:
            parts.append(f"{int(left) // 60}:{int(left) % 60:02} left")
        return ", ".join(parts)


Listener = Callable[[Progress], None]


class Meter:
    """Calls a listener every few seconds, from the thread that reads the input."""

    def __init__(self, listener: Listener | None, *, every_seconds: float = 5.0, expected: int | None = None) -> None:
        self._listener = listener
        self._every = every_seconds
        self._expected = expected
        self._began = self._told = time.monotonic()
        self._documents = self._bytes = 0

    def begin(self, counts: Counts) -> None:
        self._began = self._told = time.monotonic()
        self._documents, self._bytes = counts.accepted, counts.bytes

    def look(self, counts: Counts, under_way: int, limit: float, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._listener is None or (not last and now - self._told < self._every):
            return
        self._told = now
        seconds = max(now - self._began, 1e-9)
        whole = Counts()
        whole.add(counts)
        self._listener(
            Progress(
                whole,
                seconds,
                (counts.accepted - self._documents) / seconds,
                (counts.bytes - self._bytes) / seconds,
                under_way,
                limit,
                self._expected,
                last,
            )
        )


class TerminalBar:
    """A listener that draws one line on a terminal, and writes a line every so often to anything else."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def __call__(self, progress: Progress) -> None:
        share = progress.counts.accepted / progress.expected if progress.expected else None
        show(self._stream, progress.line(), share=share, last=progress.last)

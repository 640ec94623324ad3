"""How much a stream takes a second."""

from __future__ import annotations

import math
from collections.abc import Sequence

from local.simulators.firehose.settings import Settings


class TokenBucket:
    """Lets ``rate`` tokens a second pass, and ``rate * burst_seconds`` at once after a pause. Without a rate it lets all pass."""

    def __init__(self, rate: float | None, burst_seconds: float, now: float) -> None:
        self._rate = math.inf if rate is None else rate
        self._size = self._rate * burst_seconds if rate is not None else math.inf
        self._tokens = self._size
        self._filled = now

    def take(self, tokens: float, now: float) -> bool:
        """Take tokens if there are as many; a bucket that has fewer keeps them."""
        if self._rate == math.inf:
            return True
        self._tokens = min(self._size, self._tokens + max(0.0, now - self._filled) * self._rate)
        self._filled = now
        if tokens > self._tokens:
            return False
        self._tokens -= tokens
        return True


class Quota:
    """The three quotas of a stream; not safe for threads."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._requests, self._records, self._bytes = (
            TokenBucket(rate, settings.burst_seconds, now)
            for rate in (settings.requests_per_second, settings.records_per_second, settings.bytes_per_second)
        )

    def admit_request(self, now: float) -> bool:
        return self._requests.take(1, now)

    def admit(self, sizes: Sequence[int], now: float) -> list[bool]:
        """Which records of a call are within the quota: a large one that is not does not keep a small one behind it out."""
        return [self._bytes.take(size, now) and self._records.take(1, now) for size in sizes]

"""The first lane: PutRecordBatch into the stream whose destination is the landing index.

The limits are those of the API (Amazon Data Firehose API reference, PutRecordBatch; developer guide, "Quota"). They do not say
whether 4 MiB a call are counted before or after base64, which is how records travel; counted after it, both hold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from searchops.core.bulk.pressure import backoff_seconds
from searchops.core.errors import SearchOpsError, TransientError, classify_client_error, code_of

MAX_RECORDS = 500
MAX_CALL_BYTES = 4 * 2**20
MAX_RECORD_BYTES = 1_024_000
"""Of one record before base64: 1,000 KiB."""
_AROUND_RECORD = len('{"Data":""},')
_AROUND_CALL = 512
"""Room for the name of the stream and what is around the records."""
_THROTTLED = ("ServiceUnavailableException", "ThrottlingException", "LimitExceededException")
_PACED_SECONDS = 60.0
_REST_SECONDS = 10.0
_ONCE_SECONDS = 1.0
"""Without a limit no call begins later than this: a stream that is slow does not eat up the time of the request."""

CLIENT: dict[str, Any] = {"retries": {"total_max_attempts": 1, "mode": "standard"}, "connect_timeout": 2, "read_timeout": 5}
"""For ``botocore.config.Config``: the lane tries again itself, and only what has failed, which botocore can not.
A client that retries all the same takes longer than the limit says, no more."""

log = logging.getLogger(__name__)


class _Throttled(TransientError):
    """The whole call was."""


def call_bytes(record: bytes) -> int:
    """What a record takes of a call's 4 MiB, with the line break that it gets."""
    return 4 * ((len(record) + 1 + 2) // 3) + _AROUND_RECORD


def fits(record: bytes) -> bool:
    """Whether Firehose takes a record of this size (without its line break)."""
    return len(record) + 1 <= MAX_RECORD_BYTES


def next_call(records: Sequence[bytes], left: Sequence[int]) -> int:
    """How many of the records that are left, from the first, go into one call; at least one."""
    size = _AROUND_CALL
    for count, place in enumerate(left[:MAX_RECORDS]):
        size += call_bytes(records[place])
        if size > MAX_CALL_BYTES:
            return count
    return min(len(left), MAX_RECORDS)


class Pace:
    """No faster than a stream's quota, once the stream has said that it is full. Shared by threads.

    The defaults are the quota of a Direct PUT stream in most Regions (developer guide, "Quota"); us-east-1, us-west-2 and eu-west-1
    have five times as much, and more can be asked for. So nothing is held back before the first throttling.
    """

    def __init__(
        self,
        bytes_per_second: float = 2**20,
        calls_per_second: float = 1_000,
        records_per_second: float = 100_000,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if min(bytes_per_second, calls_per_second, records_per_second) <= 0:
            raise ValueError("expected rates above 0")
        self._rates = (bytes_per_second, calls_per_second, records_per_second)
        self._clock = clock
        self._free_at = 0.0
        self._until = 0.0
        self._lock = threading.Lock()

    def throttled(self) -> None:
        with self._lock:
            self._until = self._clock() + _PACED_SECONDS

    def reserve(self, size: int, records: int, deadline: float) -> float | None:
        """Take the time that a call of this size is worth.

        :return: seconds to wait before it; None, and nothing is taken, where it would begin after the deadline
        """
        by_bytes, by_calls, by_records = self._rates
        with self._lock:
            now = self._clock()
            if now >= self._until:
                return 0.0
            begin = max(now, self._free_at)
            if begin > max(now, deadline):
                return None
            self._free_at = begin + max(size / by_bytes, 1 / by_calls, records / by_records)
            return begin - now


class FirehoseLane:
    """Put records into a stream; what it does not take in time comes back. Used by several threads at once.

    A call whose answer was lost is made again: a record that is delivered twice is one document, by its version.

    :param client: a boto3 Firehose client, made with `CLIENT`
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self.stream = stream
        self._pace = pace or Pace(clock=clock)
        self._clock = clock
        self._sleep = sleep
        self._rests_until = 0.0

    def put(self, records: Sequence[bytes], limit_seconds: float) -> list[int]:
        """Put lines that `fits` allows; each gets its line break here.

        :param limit_seconds: no call begins later than this but the first; 0: every record is offered once, and nothing waits
        :return: the places of those that were not taken, in their order
        """
        if limit_seconds <= 0:
            return self._put_once(records)
        left = list(range(len(records)))
        deadline = self._clock() + limit_seconds
        attempt = 0
        while left and self._clock() >= self._rests_until:
            count = next_call(records, left)
            part = left[:count]
            wait = self._pace.reserve(sum(len(records[place]) + 1 for place in part), count, deadline)
            if wait is None:
                break
            if wait:
                self._sleep(wait)
            failed, error = self._call(records, part)
            attempt = 0 if not failed else 1 if len(failed) < count else attempt + 1
            left = failed + left[count:]
            pause = backoff_seconds(attempt) if attempt else 0.0
            over = bool(left) and self._clock() + pause >= deadline
            if error is not None and (not isinstance(error, TransientError) or (over and len(left) == len(records))):
                self._rest(error, len(left))
            if over:
                break
            if pause and left:
                self._sleep(pause)
        return left

    def _put_once(self, records: Sequence[bytes]) -> list[int]:
        """As many calls as the records take, one after another; one that fails as a whole is the last."""
        refused: list[int] = []
        left = list(range(len(records)))
        last = self._clock() + _ONCE_SECONDS
        while left and self._rests_until <= self._clock() <= last:
            count = next_call(records, left)
            part = left[:count]
            if self._pace.reserve(sum(len(records[place]) + 1 for place in part), count, self._clock()) is None:
                break
            failed, error = self._call(records, part)
            refused += failed
            left = left[count:]
            if error is None:
                continue
            # After a throttling the next request's call may well be taken.
            if not isinstance(error, TransientError) or (
                len(refused + left) == len(records) and not isinstance(error, _Throttled)
            ):
                self._rest(error, len(refused + left))
            break
        return refused + left

    def _rest(self, error: SearchOpsError, left: int) -> None:
        """Leave a stream alone that is missing, forbidden or out of reach, so that not every batch waits for it in vain."""
        self._rests_until = self._clock() + _REST_SECONDS
        log.warning(
            "Firehose stream %s: %s (%s); %d records go to the spool, and so does what comes in the next %.0f s",
            self.stream,
            error,
            error.reason,
            left,
            _REST_SECONDS,
        )

    def _call(self, records: Sequence[bytes], places: list[int]) -> tuple[list[int], SearchOpsError | None]:
        """The places that were not taken, and why where the whole call failed."""
        data = [{"Data": records[place] + b"\n"} for place in places]
        try:
            answer = self._client.put_record_batch(DeliveryStreamName=self.stream, Records=data)
        except Exception as error:
            if code_of(error) in _THROTTLED:
                self._pace.throttled()
                told: SearchOpsError = _Throttled(f"stream {self.stream} is throttled", reason=str(error))
            else:
                told = classify_client_error(error)
            if type(told) is SearchOpsError:  # nothing that AWS said
                raise
            return places, told
        said = answer.get("RequestResponses", [])
        if len(said) != len(places):
            return places, TransientError(f"stream {self.stream}: expected {len(places)} answers, found {len(said)}")
        codes = [entry.get("ErrorCode") for entry in said]
        if any(code in _THROTTLED for code in codes):
            self._pace.throttled()
        return [place for place, code in zip(places, codes, strict=True) if code], None

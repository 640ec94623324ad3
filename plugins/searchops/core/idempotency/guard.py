"""Claim a piece of work by its key, so that its result is recorded once.

What is promised
    *One recorded completion a key*, for as long as its record is kept: whoever asks again gets the stored result. An owner that was
    taken over can neither complete nor release what its successor has; it is told so (`ClaimLost`). A data error is recorded and
    not tried again. No key is stuck: what a dead owner left is free when its lease has passed.

What is not promised
    *That the work runs once.* An owner that is slower than its lease, or dies between its effect and `complete`, is followed by
    another that does the work again: effects are at least once. An effect that can compare (a document with external version, an
    object written with If-None-Match under a name that holds the number) gives it ``fence``, which grows with each claim of a key; it
    compares claims of one key, never those of two. Nor is a result kept for longer than ``keep``: after that the key is new.

Clocks
    A lease is written by its owner's clock and read by another's. Clocks that differ by d let a lease end d too early, which costs a
    second run of the work and never a second completion; or d too late, which keeps a dead owner's key closed for d longer. A
    record expires up to d early or late. Fences grow as long as d, and the time a request is under way, stay below half of ``keep``.
    Machines with NTP or Amazon Time Sync are within milliseconds.

In a Lambda function take `lambda_lease` as the lease, and no heartbeat: the function can not outlive its time-out, and a thread stands
still between invocations. A long task elsewhere takes a short lease and `Claim.heartbeat`.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from searchops.core.errors import DataError, SearchOpsError, TransientError, code_of
from searchops.core.idempotency import writes
from searchops.core.idempotency.errors import (
    ClaimEnded,
    ClaimLost,
    FailedBefore,
    InProgress,
    NotJson,
    PayloadMismatch,
    ResultTooLarge,
    TableRefused,
    classified,
)
from searchops.core.idempotency.fences import Fences
from searchops.core.idempotency.model import (
    MAX_REASON_CHARACTERS,
    MAX_RESULT_BYTES,
    Item,
    Record,
    Refusal,
    Status,
    checked_namespace,
    claim_id,
    fence_id,
    fingerprint_of,
    refusal,
    to_json,
)

LEASE = timedelta(seconds=60)
KEEP = timedelta(days=7)
LAMBDA_MARGIN = timedelta(seconds=10)
"""A lease outlives its invocation by this, so that a successor whose clock is ahead by less does not begin before the end."""
_REFUSED = {Refusal.IN_PROGRESS: InProgress, Refusal.FAILED: FailedBefore, Refusal.OTHER_PAYLOAD: PayloadMismatch}
HEARTBEAT_END_SECONDS = 1.0
MAX_TRIES = 10
"""Of a claim that only the key's fence refuses: each time another owner had the key and let it go in between."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completed:
    """The work was done before; ``result`` is what it was completed with."""

    result: Any
    fence: int


class Guard:
    """Claims of one namespace. Make one for a process and keep it: it holds a block of fence numbers. It may be used by threads.

    :param client: boto3's ``dynamodb`` client. Its own retries are welcome: a call whose answer was lost knows itself again
    :param namespace: keeps the keys of one kind of work apart from those of others; all that use it should agree on ``keep``
    :param lease: how long an owner has a key without a sign of life; longer than the work takes, or with `Claim.heartbeat`
    :param keep: how long results, and keys that were let go, are remembered
    """

    def __init__(
        self,
        client: Any,
        *,
        table: str,
        namespace: str,
        lease: timedelta = LEASE,
        keep: timedelta = KEEP,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._table = table
        self._namespace = checked_namespace(namespace)
        self._lease_ms = _milliseconds("lease", lease)
        self._keep_ms = _milliseconds("keep", keep)
        self._clock = clock
        self._fences = Fences(self._count_on, self._keep_ms / 1000, clock)

    def claim(self, key: str, payload: Any = None, *, lease: timedelta | None = None) -> Claim | Completed:
        """Take the key, or say what became of it.

        :param payload: what the work is done with; the same key with another one is an error
        :param lease: in place of the guard's
        :raises InProgress: another owner has it
        :raises FailedBefore: it failed with a data error, and nobody has reset it
        :raises PayloadMismatch: the key is known with another payload
        :raises NotJson: the payload can not be compared
        :raises TableMissing: there is no table of claims
        """
        id_, fingerprint, owner = claim_id(self._namespace, key), fingerprint_of(payload), uuid.uuid4().hex
        lease_ms = self._lease_ms if lease is None else _milliseconds("lease", lease)
        above = 0
        for _ in range(MAX_TRIES):
            fence, now_ms = self._fences.take(above), self._now_ms()
            granted, old = self._write(
                writes.claim(
                    id_,
                    owner=owner,
                    fence=fence,
                    fingerprint=fingerprint,
                    now_ms=now_ms,
                    lease_ms=lease_ms,
                    keep_ms=self._keep_ms,
                )
            )
            if granted:
                _log_claimed(key, fence, old)
                return Claim(self, key, owner, fence, old.attempts + 1 if old else 1, now_ms + lease_ms, lease_ms)
            if old is None:
                continue  # removed after the condition was looked at: nothing is in the way any more
            match refusal(old, owner, fingerprint, now_ms):
                case Refusal.OURS:
                    return Claim(self, key, owner, old.fence, old.attempts, old.lease_until_ms, lease_ms)
                case Refusal.FENCE:
                    above = old.fence
                case Refusal.COMPLETED:
                    return Completed(old.result, old.fence)
                case other:
                    raise _REFUSED[other](key, old)
        raise TransientError(f"{key}: {MAX_TRIES} times another owner had it and let it go in between: try again")

    def run(self, key: str, work: Callable[[Claim], Any], payload: Any = None, *, lease: timedelta | None = None) -> Any:
        """Do the work under a claim and return its result, or the stored one.

        :param work: returns what JSON can hold; a `DataError` from it is recorded (but for a `TableRefused`), any other exception
            lets the key go
        :raises InProgress: and the other errors of `claim`; `ClaimLost`, `ResultTooLarge` and `NotJson` after the work
        """
        match self.claim(key, payload, lease=lease):
            case Completed(result=result):
                return result
            case claim:
                with claim:
                    return claim.complete(work(claim))

    def once(
        self,
        *,
        key: Callable[..., str],
        payload: Callable[..., Any] | None = None,
        lease: timedelta | Callable[..., timedelta] | None = None,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate a function so that it runs under a claim; see `run`.

        ``key``, ``payload`` and ``lease`` are called with the function's own arguments. A function with a parameter named
        ``claim`` gets the claim by that name, for its fence.
        """

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            if inspect.iscoroutinefunction(function):
                raise TypeError(
                    f"{function.__qualname__}: expected a function that does its work before it returns, found a coroutine"
                )
            wants_claim = "claim" in inspect.signature(function).parameters

            @functools.wraps(function)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                return self.run(
                    key(*args, **kwargs),
                    lambda claim: function(*args, **kwargs, **({"claim": claim} if wants_claim else {})),
                    payload(*args, **kwargs) if payload else None,
                    lease=lease(*args, **kwargs) if callable(lease) else lease,
                )

            return guarded

        return decorate

    def look(self, key: str) -> Record | None:
        """The record as it is now; None without one, or when it has expired."""
        try:
            answer = self._client.get_item(
                TableName=self._table, Key={"id": {"S": claim_id(self._namespace, key)}}, ConsistentRead=True
            )
        except Exception as error:
            raise classified(error, self._table, "GetItem") from error
        record = Record.from_item(answer["Item"]) if "Item" in answer else None
        return None if record is None or record.expired(self._now_ms()) else record

    def reset(self, key: str) -> bool:
        """Let a key that failed for ever be tried again, with the same payload; False when there was nothing to reset.

        A read and a write, so that only the failure is reset that is known now.
        """
        failed = self.look(key)
        if failed is None or failed.status is not Status.FAILED_PERMANENT:
            return False
        owner = uuid.uuid4().hex
        request = writes.reset(
            claim_id(self._namespace, key), owner=owner, fence=failed.fence, now_ms=self._now_ms(), keep_ms=self._keep_ms
        )
        done, old = self._write(request)
        return done or (old is not None and old.owner == owner)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _count_on(self, count: int) -> int:
        answer = self._update(writes.reserve(fence_id(self._namespace), count))
        return int(answer["Attributes"]["next"]["N"])

    def _write(self, request: writes.Request) -> tuple[bool, Record | None]:
        """Whether the condition held, and the record as it was before, where DynamoDB told it."""
        try:
            item: Item = self._update(request).get("Attributes", {})
            done = True
        except _Refused as refused:
            done, item = False, refused.item
        return done, Record.from_item(item) if item else None

    def _update(self, request: writes.Request) -> dict[str, Any]:
        try:
            return self._client.update_item(TableName=self._table, **request)  # type: ignore[no-any-return]
        except Exception as error:
            if code_of(error) == "ConditionalCheckFailedException":
                raise _Refused(getattr(error, "response", {}).get("Item", {})) from None
            raise classified(error, self._table, "UpdateItem") from error


class Claim:
    """The right of one owner to do one piece of work, from `Guard.claim`.

    As a context manager it ends itself: with `fail` after a `DataError` that is not the table's own (`TableRefused`), with `release`
    after any other exception, else with ``complete(None)`` where the block did not complete it. ``fence``: see the module.
    ``attempt``: 1 for the first claim of the key. ``status``: what is certain to be recorded of this claim; IN_PROGRESS until then.
    """

    def __init__(self, guard: Guard, key: str, owner: str, fence: int, attempt: int, lease_until_ms: int, lease_ms: int) -> None:
        self.key = key
        self.owner = owner
        self.fence = fence
        self.attempt = attempt
        self.status = Status.IN_PROGRESS
        self._guard = guard
        self._id = claim_id(guard._namespace, key)
        self._lease_until_ms = lease_until_ms
        self._lease_ms = lease_ms
        self._lost: ClaimLost | None = None

    def complete(self, result: Any = None) -> Any:
        """Record the result and return what is recorded, as whoever asks later gets it: a tuple as a list, keys of a mapping as texts.

        An owner whose lease has passed may still complete, as long as nobody took over. One that completes again, because it had
        no answer, gets what it recorded the first time.

        :param result: what JSON can hold, at most 350,000 bytes of it
        :raises ClaimLost: another owner has the key; nothing of it was changed
        :raises ResultTooLarge: the key is now marked as failed, because the work must not be done again for it
        :raises NotJson: likewise
        """
        self._expect_open()
        try:
            text = to_json(result, "result")
            if (size := len(text.encode())) > MAX_RESULT_BYTES:
                raise ResultTooLarge(
                    f"{self.key}: the result has {size:,} bytes as JSON, expected at most {MAX_RESULT_BYTES:,}: "
                    "keep it elsewhere (S3) and return where it is"
                )
        except (NotJson, ResultTooLarge) as error:
            self.fail(f"the work was done, and its result could not be kept: {error}")
            raise
        guard = self._guard
        before = self._end(
            writes.complete(self._id, owner=self.owner, result=text, now_ms=guard._now_ms(), keep_ms=guard._keep_ms),
            Status.COMPLETED,
        )
        return before.result if before else json.loads(text)

    def fail(self, reason: str) -> None:
        """Record that the work can not be done, so that nobody tries it again until `Guard.reset`.

        :raises ClaimLost: another owner has the key
        """
        self._expect_open()
        self._end(writes.fail(self._id, owner=self.owner, reason=_storable(reason)), Status.FAILED_PERMANENT)

    def release(self) -> None:
        """Let the key go, so that it can be claimed at once.

        :raises ClaimLost: another owner has the key
        """
        self._expect_open()
        guard = self._guard
        self._end(writes.release(self._id, owner=self.owner, now_ms=guard._now_ms(), keep_ms=guard._keep_ms), Status.RELEASED)

    def extend(self, lease: timedelta | None = None) -> None:
        """Let the lease begin anew.

        :param lease: in place of the one that it was claimed with
        :raises ClaimLost: another owner has the key
        """
        self._expect_open()
        guard = self._guard
        lease_ms = self._lease_ms if lease is None else _milliseconds("lease", lease)
        now_ms = guard._now_ms()
        done, old = guard._write(
            writes.extend(self._id, owner=self.owner, now_ms=now_ms, lease_ms=lease_ms, keep_ms=guard._keep_ms)
        )
        if not done:
            raise self._losing(old)
        self._lease_until_ms = now_ms + lease_ms

    def check(self) -> None:
        """Ask before an effect whether the claim still holds; costs a request only when the lease has passed, which it then extends.

        :raises ClaimLost: another owner has the key
        """
        if self._lost:
            raise self._lost
        self._expect_open()
        if self._guard._now_ms() >= self._lease_until_ms:
            self.extend()

    @contextmanager
    def heartbeat(self) -> Iterator[Self]:
        """Extend the lease every third of it from a thread, while the block runs.

        A heartbeat that is refused ends itself, and `check` tells; one that gets no answer is tried again. Not for a Lambda function.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(stop,), name=f"heartbeat of {self.key}", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            # Not for as long as botocore tries: what an extension finds that comes after the end is refused.
            thread.join(HEARTBEAT_END_SECONDS)

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(self._lease_ms / 3000):
            try:
                self.extend()
            except (ClaimLost, ClaimEnded):
                if self._lost and not stop.is_set():
                    log.warning("%s", self._lost)
                return
            except SearchOpsError as error:
                log.warning("%s: the lease could not be extended, tried again: %s (%s)", self.key, error, error.reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.status is not Status.IN_PROGRESS:
            return
        if error is None:
            self.complete()
            return
        if self._lost:
            return
        try:
            if isinstance(error, DataError) and not isinstance(error, TableRefused):
                self.fail(f"{error} ({error.reason})" if error.reason else str(error))
            else:
                self.release()
        except SearchOpsError as second:
            # The first error is the one to be told; without the record the lease has to pass before another try.
            error.add_note(f"and the claim could not be ended: {second} ({second.reason})")

    def _end(self, request: writes.Request, status: Status) -> Record | None:
        """The record, where an earlier try of this owner had ended it so already."""
        done, old = self._guard._write(request)
        before = old if not done and old and old.owner == self.owner and old.status is status else None
        if not done and not before:
            raise self._losing(old)
        self.status = status
        log.info("%s: %s, fence %d, attempt %d", self.key, status, self.fence, self.attempt)
        return before

    def _losing(self, found: Record | None) -> ClaimLost:
        lost = ClaimLost(self.key, self.owner, found)
        if not found or found.owner != self.owner:  # else this owner ended it, in another thread or by a call that had no answer
            self._lost = lost
        return lost

    def _expect_open(self) -> None:
        if self._lost:
            raise self._lost
        if self.status is not Status.IN_PROGRESS:
            raise ClaimEnded(f"{self.key}: the claim of owner {self.owner} was ended before: claim the key again")


class _Refused(Exception):
    """The condition of a write did not hold; the item as it is, empty without one."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


def lambda_lease(context: Any) -> timedelta:
    """How long an invocation of a Lambda function can hold a claim at most: the time it has left, and 10 s.

    :param context: the second argument of the handler
    """
    return timedelta(milliseconds=context.get_remaining_time_in_millis()) + LAMBDA_MARGIN


def _log_claimed(key: str, fence: int, before: Record | None) -> None:
    if before and before.status is Status.IN_PROGRESS:
        log.warning("%s: taken over from owner %s, whose lease had passed, fence %d", key, before.owner, fence)
    else:
        log.info("%s: claimed, fence %d", key, fence)


def _storable(reason: str) -> str:
    """Cut to 4,000 characters; half of a surrogate pair, which the name of a file can hold, becomes a question mark."""
    return reason[:MAX_REASON_CHARACTERS].encode(errors="replace").decode()


def _milliseconds(name: str, duration: timedelta) -> int:
    milliseconds = int(duration.total_seconds() * 1000)
    if milliseconds < 1:
        raise DataError(f"{name}: expected a time longer than 0, found {duration}")
    return milliseconds

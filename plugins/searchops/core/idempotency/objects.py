"""Handle each change of an S3 object once, and none that is older than one that came before it.

Per event two conditional writes before the work (its sequencer and its claim) and one after it.

Success means that the outcome is recorded, so that nothing more is to come of the event: done, done before, replaced by a newer one,
refused for its data. What is not recorded fails, so that Lambda tries again or hands it to the on-failure destination: a transient
error, a claim that was lost, an event that cannot be read, a table that is missing.

The one exception is an event that another owner works on. Its success means that this was a copy: the owner's own invocation brings the
event back when the owner dies. That holds where a dead owner's invocation goes to an on-failure destination at once (no retries). Where
Lambda itself tries again, the retry is the event and not a copy, so ``in_progress`` has to be ``retry``. A message of a queue always is
the event: it is given back until its outcome is recorded.

The order is that in which events are begun. Work on an older change that is under way when a newer one arrives is not stopped: an
effect that must not go backwards compares by itself, for instance with the event's sequencer.

Through SQS the event source mapping needs FunctionResponseTypes ReportBatchItemFailures: without it Lambda deletes the whole batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import quote

from searchops.core.errors import DataError, SearchOpsError, TransientError, code_of
from searchops.core.idempotency.errors import (
    FailedBefore,
    InProgress,
    TableRefused,
    classified,
)
from searchops.core.idempotency.guard import KEEP, Claim, Completed, Guard
from searchops.core.idempotency.model import Status
from searchops.core.idempotency.writes import expiry
from searchops.core.object_events import Change, Message, ObjectEvent, is_batch, messages, read

Work = Callable[[ObjectEvent, Claim], Any]
OnInProgress = Literal["success", "retry"]
OnDataError = Literal["success", "failure"]

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    DONE = "done"
    DUPLICATE = "duplicate"
    IN_PROGRESS = "in progress"
    OLDER = "older"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one event; ``key`` is that of its claim, ``result`` what the work gave, now or before."""

    key: str
    outcome: Outcome
    result: Any = None
    reason: str = ""


class Sequencers:
    """The newest change of each object that anybody has begun with, as items of the table of claims.

    They expire after ``keep`` like the claims: a delivery that is later still counts as new.
    """

    def __init__(
        self, client: Any, *, table: str, namespace: str, keep: timedelta = KEEP, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._table = table
        self._namespace = namespace
        self._keep_ms = int(keep.total_seconds() * 1000)
        self._clock = clock

    def advance(self, event: ObjectEvent) -> bool:
        """Note the event as the newest; False when a newer one of the same object is known.

        That a version is gone is neither older nor newer than what is known: it makes no other change superfluous.

        :raises TableMissing: there is no table of claims
        """
        if event.change is Change.VERSION_REMOVED:
            return True
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"id": {"S": sequencer_id(self._namespace, event)}},
                UpdateExpression="SET #sequencer = :sequencer, #expires_at = :expires_at",
                ConditionExpression="attribute_not_exists(#sequencer) OR #sequencer <= :sequencer",
                ExpressionAttributeNames={"#sequencer": "sequencer", "#expires_at": "expires_at"},
                ExpressionAttributeValues={
                    ":sequencer": {"S": event.sequencer},
                    ":expires_at": {"N": str(expiry(int(self._clock() * 1000), self._keep_ms))},
                },
            )
        except Exception as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise classified(error, self._table, "UpdateItem") from error
        return True


class ObjectOnce:
    """Answer the invocations of a function by S3 events.

    :param work: does what is to be done for one event and returns what JSON can hold; a `DataError` is recorded and ends the
        matter, every other exception lets the event be tried again
    :param in_progress: what an invocation is answered while another owner works on its event: ``retry`` fails, so that Lambda delivers
        it again, which a function with retries needs; see the module. A message of a queue is given back in either case
    :param on_data_error: ``failure`` also fails an event that was recorded as refused, so that it reaches the on-failure destination
        (or the queue's dead-letter queue); the work is not tried again for it
    """

    def __init__(
        self,
        guard: Guard,
        sequencers: Sequencers,
        work: Work,
        *,
        in_progress: OnInProgress = "success",
        on_data_error: OnDataError = "success",
    ) -> None:
        _expect("in_progress", in_progress, ("success", "retry"))
        _expect("on_data_error", on_data_error, ("success", "failure"))
        self._guard = guard
        self._sequencers = sequencers
        self._work = work
        self._in_progress = in_progress
        self._on_data_error = on_data_error

    def __call__(self, event: Any, lease: Callable[[], timedelta]) -> dict[str, Any]:
        """Handle what an invocation brought: every event of it, whatever becomes of the others.

        :param lease: asked at each claim, because time passes between the events of a batch
        :return: for a batch of SQS ``batchItemFailures``, else ``answers``, one an event
        :raises Exception: not for a batch: the first error of an event that has to be delivered again
        """
        if is_batch(event):
            failed = [message.id for message in messages(event) if not self._settle(message, lease)]
            return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in failed]}
        answers, errors = self._handle_all(read(event), lease, self._in_progress)
        if errors:
            raise errors[0]
        return {"answers": [asdict(answer) for answer in answers]}

    def handle(self, event: ObjectEvent, lease: timedelta | None = None) -> Answer:
        """Handle one event.

        :raises InProgress: another owner works on it, and ``in_progress`` is ``retry``
        :raises DataError: it is refused, and ``on_data_error`` is ``failure``; or the table of claims can not be used
        :raises PayloadMismatch: the event is not the one that its key was first used for; nothing is recorded of it
        :raises TransientError: and whatever else the work raised; the claim was let go, or its end could not be recorded
        """
        return self._answer(event, lease, self._in_progress)

    def _answer(self, event: ObjectEvent, lease: timedelta | None, in_progress: OnInProgress) -> Answer:
        answer = self._handle(event, lease, in_progress)
        # The reason is in the record: it may cite the data.
        log.log(logging.ERROR if answer.outcome is Outcome.REJECTED else logging.INFO, "%s: %s", answer.key, answer.outcome)
        return answer

    def _handle(self, event: ObjectEvent, lease: timedelta | None, in_progress: OnInProgress) -> Answer:
        key = claim_key(event)
        if not self._sequencers.advance(event):
            return Answer(key, Outcome.OLDER)
        try:
            claim = self._guard.claim(key, asdict(event), lease=lease)
        except InProgress:
            if in_progress == "retry":
                raise
            return Answer(key, Outcome.IN_PROGRESS)
        except FailedBefore as error:
            return self._refused(key, error, error.reason)
        if isinstance(claim, Completed):
            return Answer(key, Outcome.DUPLICATE, claim.result)
        return self._do(event, claim)

    def _do(self, event: ObjectEvent, claim: Claim) -> Answer:
        try:
            with claim:
                return Answer(claim.key, Outcome.DONE, claim.complete(self._work(event, claim)))
        except TableRefused:
            raise
        except DataError as error:
            if claim.status is Status.FAILED_PERMANENT:
                return self._refused(claim.key, error, str(error))
            raise TransientError(
                f"{claim.key}: the work refused the data, and that could not be recorded: the event has to come again",
                reason="; ".join([str(error), *getattr(error, "__notes__", ())]),
            ) from error

    def _refused(self, key: str, error: DataError, reason: str) -> Answer:
        if self._on_data_error == "failure":
            raise error
        return Answer(key, Outcome.REJECTED, reason=reason)

    def _settle(self, message: Message, lease: Callable[[], timedelta]) -> bool:
        """Whether a message of a queue is done with."""
        if message.error:
            log.error("message %s: %s", message.id, message.error)
            return False
        return not self._handle_all(message.events, lease, "retry")[1]

    def _handle_all(
        self, events: tuple[ObjectEvent, ...], lease: Callable[[], timedelta], in_progress: OnInProgress
    ) -> tuple[list[Answer], list[Exception]]:
        answers: list[Answer] = []
        errors: list[Exception] = []
        for event in events:
            try:
                answers.append(self._answer(event, lease(), in_progress))
            except Exception as error:
                _log_failure(claim_key(event), error)
                errors.append(error)
        return answers, errors


def claim_key(event: ObjectEvent) -> str:
    """What names the change: the version; without versions ETag and sequencer, because A, then B, then A again are three changes.

    Of a removal the sequencer too, because a delete marker is a version that is made and can be removed.
    """
    names = {
        "version": event.version_id,
        "etag": None if event.version_id else event.etag or "",
        "sequencer": None if event.version_id and event.change is Change.CREATED else event.sequencer.rstrip("0") or "0",
    }
    identity = ":".join(f"{name}={quote(value, safe='')}" for name, value in names.items() if value is not None)
    return f"{event.change}:{identity}:{event.bucket}/{event.key}"


def sequencer_id(namespace: str, event: ObjectEvent) -> str:
    return f"sequencer#{namespace}#{event.bucket}/{event.key}"


def _expect(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DataError(f"{name}: expected {' or '.join(allowed)}, found {value!r}")


def _log_failure(key: str, error: Exception) -> None:
    """A queue tells nobody why a message was given back, so the log has to."""
    kind, code = type(error).__name__, code_of(error)
    if isinstance(error, SearchOpsError):
        log.error("%s: to be delivered again: %s: %s (%s)", key, kind, error, error.reason or "no more is known")
    elif code:  # without AWS's words: they may cite what was sent
        log.error("%s: to be delivered again: %s: %s by %s", key, kind, code, getattr(error, "operation_name", "AWS"))
    else:
        log.error("%s: to be delivered again: %s", key, kind, exc_info=error)

"""Send events on which a function failed once more.

One pass over the queue. A message is deleted only after Lambda has taken the event, so a process that dies loses nothing; what it held
comes back to the queue when the time is over. A claim of each record keeps two passes, and the two copies that SQS may deliver, from
sending it at the same time and from sending what is known to be sent.

An event may be sent twice all the same: when the process dies after Lambda's answer, when that answer is lost, or when the note of it
could not be written. The function's own claim makes it one effect.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from searchops.core.errors import DataError, SearchOpsError, TransientError, code_of
from searchops.core.functions.failed import FailedEvent, Unreadable, read
from searchops.core.functions.queue import FailedEventQueue, Message
from searchops.core.functions.service import classified, words_of
from searchops.core.idempotency.errors import FailedBefore, InProgress, NotJson, PayloadMismatch
from searchops.core.idempotency.guard import Claim, Completed, Guard
from searchops.core.idempotency.model import Record, Status
from searchops.core.idempotency.objects import claim_key
from searchops.core.object_events import read as read_object_events

KEEP = timedelta(days=15)
"""How long it is remembered that a record was sent: longer than SQS keeps a message (14 days)."""
MOST_NAMED = 3
COUNT_LAG_SECONDS = 60
"""SQS developer guide, "Monitoring Amazon SQS": its counts of messages are right a minute after the last change."""
CLOCKS_APART = timedelta(seconds=5)
"""A lease of the function is written by its clock and read by ours."""

_HOLD_SECONDS_A_MESSAGE = 0.5
_LEAST_HOLD_SECONDS, _MOST_HOLD_SECONDS = 120, 6 * 3600
_SHARE_OF_HOLD = 0.8
# What Lambda says of an event that it will never take.
_REFUSALS = (
    "InvalidRequestContentException",
    "RequestTooLargeException",
    "SerializedRequestEntityTooLargeException",
    "UnsupportedMediaTypeException",
)

_UNUSABLE: Mapping[type[Exception], str] = {
    NotJson: "its requestPayload holds what can not be sent",
    PayloadMismatch: "another event was sent under its requestId",
}

log = logging.getLogger(__name__)


class Fate(Enum):
    """What became of a record in one pass. Only those that were sent leave the queue."""

    NOT_CHOSEN = "not chosen"
    SENT = "sent"
    SENT_BEFORE = "sent before"
    IN_PROGRESS = "in progress"
    NEEDS_RESET = "needs a reset"
    REFUSED = "refused by Lambda"
    CAME_SINCE = "came during this run"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which records to send.

    :param errors: kinds of failure, as a pass names them; empty: every kind
    :param limit: send at most so many; None: all
    :param reset: send what had failed for good, too
    :param send: False: look only
    """

    errors: Collection[str] = ()
    limit: int | None = None
    reset: bool = False
    send: bool = True

    def takes(self, event: FailedEvent, sent: int) -> bool:
        return self.send and (not self.errors or event.error in self.errors) and (self.limit is None or sent < self.limit)


@dataclass(slots=True)
class Group:
    """The records of one kind of failure; ``requests`` are the first few request ids, by which CloudWatch Logs finds them."""

    error: str
    fates: Counter[Fate] = field(default_factory=Counter)
    oldest: str = ""
    newest: str = ""
    requests: list[str] = field(default_factory=list)

    def add(self, event: FailedEvent, fate: Fate) -> None:
        self.fates[fate] += 1
        if event.timestamp:
            self.oldest = min(self.oldest or event.timestamp, event.timestamp)
            self.newest = max(self.newest, event.timestamp)
        if len(self.requests) < MOST_NAMED:
            self.requests.append(event.request_id)

    @property
    def count(self) -> int:
        return self.fates.total()

    def __str__(self) -> str:
        fates = ", ".join(f"{count} {fate.value}" for fate, count in self.fates.items())
        return f"{self.error}: {self.count} ({fates}), {self.oldest or '?'} to {self.newest or '?'}, requests {', '.join(self.requests)}"


@dataclass(slots=True)
class Outcome:
    """What a pass found and did, without anything of the events themselves.

    :param unreadable: messages that are kept, by what is wrong with them
    :param elsewhere: messages that another reader holds; approximate
    :param cut_short: why not every message that could be had was looked at; empty when each was
    """

    queue: str
    groups: dict[str, Group] = field(default_factory=dict)
    unreadable: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    cut_short: str = ""

    def add(self, event: FailedEvent, fate: Fate) -> None:
        self.groups.setdefault(event.error, Group(event.error)).add(event, fate)

    def count(self, *fates: Fate) -> int:
        return sum(group.fates[fate] for group in self.groups.values() for fate in fates)

    @property
    def facts(self) -> dict[str, str | int]:
        """For a report: the largest groups first."""
        groups = sorted(self.groups.values(), key=lambda group: -group.count)
        of_groups = {group.error: str(group).removeprefix(f"{group.error}: ") for group in groups}
        looked_at = {"Looked at": f"not all messages: {self.cut_short}"} if self.cut_short else {}
        counts = {"Unreadable": self.unreadable.total(), "Held by another reader": self.elsewhere}
        return {"Queue": self.queue, **looked_at, **counts, **of_groups}

    @property
    def title(self) -> str:
        total = sum(group.count for group in self.groups.values())
        fates = [f"{count} {fate.value}" for fate in Fate if (count := self.count(fate))]
        found = f"{total} failed events{': ' if fates else ''}{', '.join(fates)}; {self.unreadable.total()} unreadable messages"
        return f"{found}; not all messages were looked at: {self.cut_short}" if self.cut_short else found

    def as_json(self) -> dict[str, Any]:
        return {
            "queue": self.queue,
            "groups": [
                {
                    "error": group.error,
                    "count": group.count,
                    "fates": {fate.value: count for fate, count in group.fates.items()},
                    "oldest": group.oldest,
                    "newest": group.newest,
                    "requests": group.requests,
                }
                for group in sorted(self.groups.values(), key=lambda group: -group.count)
            ],
            "unreadable": dict(self.unreadable),
            "held_by_another_reader": self.elsewhere,
            "cut_short": self.cut_short,
        }

    def problem(self) -> SearchOpsError | None:
        """Why the pass has not done what it was asked for, if it has not."""
        waiting = self.count(Fate.IN_PROGRESS)
        if waiting or self.elsewhere or self.cut_short:
            return TransientError(
                f"not all of {self.queue} could be sent: {self.elsewhere} messages are held by another reader (a try that was killed, "
                f"or another run), {waiting} events are in progress (another run sends them, or the function has a claim whose lease "
                f"has not ended){f', and {self.cut_short}' if self.cut_short else ''}; what was sent stays sent: run again",
                facts=self.facts,
            )
        needing, refused = self.count(Fate.NEEDS_RESET), self.count(Fate.REFUSED)
        if needing or refused:
            return DataError(
                f"{needing + refused} chosen events were not sent and stay in {self.queue}: {needing} had failed for good "
                f"(mend the cause, then run with `reset`), {refused} were refused by Lambda",
                facts=self.facts,
            )
        return None


class _PayloadRefused(DataError):
    """Lambda will never take this event; recorded in its claim."""


class Redrive:
    """Passes over the failed events of one function.

    :param client: boto3's ``lambda`` client; one that does not repeat Invoke by itself, and gives up before a claim's lease ends
    :param guard: claims of the records, by request id
    :param events: claims that the function itself keeps, and their keys for a payload. A key that failed for good there would be
        refused by the function again, and one whose lease has not ended be answered as a duplicate, both without a trace in the queue
    """

    def __init__(
        self,
        queue: FailedEventQueue,
        client: Any,
        guard: Guard,
        *,
        function: str,
        events: tuple[Guard, Callable[[Any], Sequence[str]]] | None = None,
        least_hold_seconds: int = _LEAST_HOLD_SECONDS,
        count_lag_seconds: float = COUNT_LAG_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._client = client
        self._guard = guard
        self._function = function
        self._events = events
        self._least_hold = least_hold_seconds
        self._count_lag = count_lag_seconds
        self._clock = clock
        self._wall_clock = wall_clock
        self._began_at = 0.0
        self._stopped = False

    def stop(self) -> None:
        """Let a pass end after the message that it is at, and give back what it holds. Safe in a signal handler."""
        self._stopped = True

    def run(self, choice: Choice) -> Outcome:
        """Look at every message once, and send what is chosen.

        :raises SearchOpsError: the queue or the function can not be used; what was sent until then stays sent
        """
        size = self._queue.size()
        hold = min(max(self._least_hold, int(size.visible * _HOLD_SECONDS_A_MESSAGE)), _MOST_HOLD_SECONDS)
        self._began_at = self._wall_clock()
        began = self._clock()
        certain = began + (self._count_lag if choice.send else 0)
        outcome = Outcome(self._queue.arn, elsewhere=size.held)
        held: dict[str, Message] = {}
        try:
            while not (over := self._over(began + hold * _SHARE_OF_HOLD)):
                messages = self._queue.receive(hold)
                if not messages and self._known_elsewhere(outcome, certain):
                    break
                new = [message for message in messages if message.id not in held]
                held |= {message.id: message for message in messages}
                for message in new:
                    if self._stopped:
                        break
                    if self._handle(message, choice, outcome):
                        self._queue.delete(message)
                        del held[message.id]
            outcome.cut_short = over
        finally:
            self._queue.release(list(held.values()))
        return outcome

    def _over(self, end: float) -> str:
        if self._stopped:
            return "it was told to end"
        return "" if self._clock() < end else "its time was over"

    def _known_elsewhere(self, outcome: Outcome, certain: float) -> bool:
        """Whether it is certain by now how many messages another reader holds: the first count may be that of a run just before."""
        if outcome.elsewhere:
            outcome.elsewhere = min(outcome.elsewhere, self._queue.size().held)
        return not outcome.elsewhere or self._clock() >= certain

    def _handle(self, message: Message, choice: Choice, outcome: Outcome) -> bool:
        """Whether the message is done with."""
        try:
            event = read(message.body, self._function)
            if message.sent_at >= self._began_at:
                # A function that still fails gives back in seconds what it was sent: one pass sends an event once.
                outcome.add(event, Fate.CAME_SINCE)
                return False
            chosen = choice.takes(event, outcome.count(Fate.SENT))
            fate = self._send(event, choice.reset) if chosen else Fate.NOT_CHOSEN
        except (Unreadable, NotJson, PayloadMismatch) as error:
            reason = _UNUSABLE.get(type(error)) or str(error)
            log.warning("Message %s is kept: %s", message.id, reason)
            outcome.unreadable[reason] += 1
            return False
        outcome.add(event, fate)
        return fate in (Fate.SENT, Fate.SENT_BEFORE)

    def _send(self, event: FailedEvent, reset: bool) -> Fate:
        try:
            claim = self._claim(event, reset)
        except FailedBefore:
            return Fate.NEEDS_RESET
        except InProgress:
            return Fate.IN_PROGRESS
        if isinstance(claim, Completed):
            return Fate.SENT_BEFORE
        try:
            with ExitStack() as until_taken:
                # Only a DataError is recorded for good, and that is none of the event's own: what ends the pass lets the key go.
                until_taken.enter_context(claim)
                if fate := self._fate_in_function(event, reset):
                    claim.release()
                    return fate
                self._invoke(event)
                until_taken.pop_all()  # Lambda has the event: whatever comes now, nobody else is to send it
        except _PayloadRefused:
            return Fate.REFUSED
        except _Stopped as stopped:
            raise stopped.error from stopped.error.__cause__
        log.info("Sent again: request %s, %s", event.request_id, event.error)
        self._note(claim)
        return Fate.SENT

    def _note(self, claim: Claim) -> None:
        """Never raises: Lambda has the event, so its message goes, which leaves the note to a second copy alone."""
        try:
            claim.complete({"sent": True})
        except SearchOpsError as error:
            log.warning("Request %s was sent, which could not be noted: %s (%s)", claim.key, error, error.reason)

    def _claim(self, event: FailedEvent, reset: bool) -> Claim | Completed:
        try:
            return self._guard.claim(event.request_id, payload=event.payload)
        except FailedBefore:
            if not reset:
                raise
        self._guard.reset(event.request_id)
        return self._guard.claim(event.request_id, payload=event.payload)

    def _fate_in_function(self, event: FailedEvent, reset: bool) -> Fate | None:
        """What keeps the function from trying the event; None when nothing does."""
        if self._events is None:
            return None
        guard, keys_of = self._events
        try:
            records = {key: record for key in keys_of(event.payload) if (record := guard.look(key))}
            if any(map(_leased, records.values())):
                return Fate.IN_PROGRESS
            failed = [key for key, record in records.items() if record.status is Status.FAILED_PERMANENT]
            for key in failed if reset else ():
                guard.reset(key)
        except DataError as error:
            raise _Stopped(error) from error
        return Fate.NEEDS_RESET if failed and not reset else None

    def _invoke(self, event: FailedEvent) -> None:
        qualifier = {"Qualifier": event.qualifier} if event.qualifier else {}
        try:
            self._client.invoke(FunctionName=self._function, InvocationType="Event", Payload=event.body(), **qualifier)
        except Exception as error:
            if code_of(error) in _REFUSALS:
                raise _PayloadRefused("Lambda does not take the event", reason=words_of(error)) from error
            told = classified(error)
            raise _Stopped(told) from error


class _Stopped(Exception):
    """Ends the pass. Not a DataError, whatever its cause is, so that no event is recorded as failed for it."""

    def __init__(self, error: SearchOpsError) -> None:
        super().__init__(str(error))
        self.error = error


def object_keys(payload: Any) -> list[str]:
    """The keys of the claims that a function has which handles each change of an object once; none where S3 tells of no change."""
    try:
        return [claim_key(event) for event in read_object_events(payload)]
    except DataError:
        return []


def _leased(record: Record) -> bool:
    return record.leased(int((time.time() - CLOCKS_APART.total_seconds()) * 1000))


def not_found(choice: Choice, outcome: Outcome) -> Mapping[str, str]:
    """Kinds of failure that were chosen and that no record has."""
    return {error: "no failed event of this kind" for error in choice.errors if error not in outcome.groups}

"""Bring one batch to its end: send, judge, split, ask, wait and send again, hand over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Self

from searchops.core.bulk.answers import FATAL, RETRIABLE, Verdict, error_type, error_words, judge_found, judge_item, judge_request
from searchops.core.bulk.batch import Batch, Sizes
from searchops.core.bulk.connection import Answer, IndexConnection
from searchops.core.bulk.effects import HandOver, NotHandedOver, RejectedStore
from searchops.core.bulk.encode import Encoder, Unencodable, pad_sequence
from searchops.core.bulk.model import End, HandedOver, Operation
from searchops.core.bulk.pressure import Pressure, backoff_seconds
from searchops.core.bulk.resolve import asked_fields, resolve
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.errors import DataError, SearchOpsError, TransientError

_SAME_REFUSAL = 16
"""So many documents of a request, each refused alone (for anything but its size), and none taken: are they all like that? Others are tried, from
the end of the request; after as many again it is not the documents."""
_TAKEN = (End.INDEXED, End.SUPERSEDED)


class Blocked(TransientError):
    """The index takes no writes: a block, whatever status it came with (a full disk answers 429)."""


class IndexClosed(TransientError):
    """The index was closed for longer than the patience."""


class NotDone(TransientError):
    """Documents are left without an end; whoever sent them sends them again.

    ``written`` tells of all of them where they were given as a list (`BulkIndexer.write`).
    """

    written: Any = None

    @classmethod
    def of(cls, cause: SearchOpsError, written: Any) -> Self:
        error = cls(str(cause), reason=cause.reason, facts=cause.facts)
        error.written = written
        error.__cause__ = cause
        return error


class Stopped(SearchOpsError):
    """The indexer was told to stop while documents were waiting for another attempt."""


@dataclass(frozen=True, slots=True)
class Rules:
    """
    :param patience_seconds: how long a document that is not taken is tried again; 0 for one attempt
    :param hand_over_unknown: also what may or may not have been written (no answer, 5xx), not only what was refused with 429
    """

    patience_seconds: float
    hand_over_unknown: bool = True


@dataclass(slots=True)
class _Waiting:
    """The documents of a batch that have no end yet: why, by their place in the batch."""

    reasons: dict[int, Verdict] = field(default_factory=dict)
    words: str = ""
    doubtful: set[int] = field(default_factory=set)
    """Those that are sent once more to see whether they are to blame, whatever the patience."""

    def add(self, places: Iterable[int], verdict: Verdict, words: str = "") -> None:
        self.reasons.update(dict.fromkeys(places, verdict))
        self.words = words or self.words


class Delivery:
    """Used by several threads at once, each with a batch of its own."""

    def __init__(
        self,
        connection: IndexConnection,
        encoder: Encoder,
        pressure: Pressure,
        sizes: Sizes,
        rules: Rules,
        *,
        hand_over: HandOver | None = None,
        rejected: RejectedStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._encoder = encoder
        self._pressure = pressure
        self._sizes = sizes
        self._rules = rules
        self._hand_over = hand_over
        self._rejected = rejected
        self._clock = clock

    def deliver(self, batch: Batch, stop: threading.Event) -> None:
        """Give every document of the batch its end.

        :param stop: when it is set, no document is tried another time
        :raises TransientError: some have none (Blocked, IndexClosed, NotDone, NotHandedOver); those of the others are in the batch
        :raises DataError: no document of this load can be written: credentials, a missing index
        :raises Stopped:
        """
        try:
            self._bring(batch, stop)
        except TransientError:
            self._keep(batch)  # those who send the others again do not send these
            raise
        self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        if self._rejected is None or not batch.rejected:
            return
        try:
            self._rejected.keep(batch.number, batch.rejected)
        except TransientError:
            batch.forget_rejected()
            raise

    def _bring(self, batch: Batch, stop: threading.Event) -> None:
        failed_since, attempt = 0.0, 0
        left = batch.pending()
        doubted: set[int] = set()
        while left:
            waiting = self._round(batch, left, doubted)
            doubted |= waiting.doubtful
            before, left = len(left), sorted(waiting.reasons)
            if not left:
                break
            attempt = attempt + 1 if len(left) == before else 1
            failed_since = failed_since or self._clock()
            if self._clock() - failed_since >= self._rules.patience_seconds and not waiting.doubtful:
                self._out_of_patience(batch, waiting)
                break
            if stop.wait(backoff_seconds(attempt, patience_seconds=self._rules.patience_seconds)):
                raise Stopped(f"stopped while {len(left)} documents waited for another attempt")
            batch.counts.retried += len(left)

    def _round(self, batch: Batch, places: Sequence[int], doubted: Set[int]) -> _Waiting:
        """One attempt for each of the documents, in as many requests as it takes.

        :param doubted: documents that have had their doubtful answer
        """
        waiting, conflicts, alone = _Waiting(), [], 0
        parts = self._sizes.split(batch, places)
        parts.reverse()
        while parts:
            part = parts.pop()
            verdict, answer = self._send(batch, part)
            if verdict is Verdict.DONE:
                conflicts += self._items(batch, part, answer, waiting, doubted)
            elif verdict in RETRIABLE:
                waiting.add(part, verdict, _words(answer))
            elif verdict in FATAL:
                raise _fatal(verdict, answer)
            elif len(part) > 1:
                parts += self._halves(batch, part, verdict)
            elif verdict is Verdict.TOO_LARGE:
                size = len(batch.lines[part[0]])
                batch.reject(part[0], "too_large", f"{size:,} bytes alone are too large a request for the cluster (HTTP 413)")
            else:
                alone += 1
                batch.reject(part[0], error_type(answer.error) or f"http_{answer.status}", error_words(answer.error))
                if alone in (_SAME_REFUSAL, 2 * _SAME_REFUSAL) and not any(end in _TAKEN for end in batch.ends):
                    if alone > _SAME_REFUSAL:
                        raise _refused_all(alone, answer)
                    parts.reverse()
        if conflicts:
            self._resolve(batch, conflicts, waiting)
        return waiting

    def _halves(self, batch: Batch, part: list[int], verdict: Verdict) -> list[list[int]]:
        if verdict is Verdict.TOO_LARGE:
            self._sizes.too_large(batch.size_of(part))
        middle = len(part) // 2
        return [part[middle:], part[:middle]]

    def _send(self, batch: Batch, places: Sequence[int]) -> tuple[Verdict, Answer]:
        body = b"".join(batch.lines if len(places) == len(batch.lines) else [batch.lines[place] for place in places])
        with self._pressure.slot() as began:
            answer = self._connection.bulk(body)
        batch.counts.requests += 1
        batch.counts.bytes += len(body)
        if answer.status == 0:
            self._pressure.refused(began)
            return Verdict.UNAVAILABLE, answer
        if answer.status >= 300:
            verdict = judge_request(answer.status, answer.error)
            if verdict in (Verdict.REFUSED, Verdict.UNAVAILABLE):
                self._pressure.refused(began)
            if verdict is Verdict.REFUSED:
                batch.counts.refused += len(places)
            return verdict, answer
        items = _items_of(answer)
        found = answer.taken if answer.taken is not None else len(items)
        if found != len(places):
            return Verdict.UNAVAILABLE, Answer(0, words=f"expected {len(places)} answers, found {found}")
        if any(item.get("status") in (429, 503) for item in items):
            self._pressure.refused(began)
        else:
            self._pressure.taken()
        return Verdict.DONE, replace(answer, body=items)

    def _items(self, batch: Batch, places: Sequence[int], answer: Answer, waiting: _Waiting, doubted: Set[int]) -> list[int]:
        """Give their ends to the documents that have one; return the places of those in conflict with what the index holds.

        :param answer: one that was taken for whole; its body is the items
        """
        if answer.taken is not None:
            batch.end_all(places, End.INDEXED)
            return []
        conflicts = []
        for place, item in zip(places, answer.body, strict=True):
            verdict = judge_item(batch.kind(place), item)
            if verdict is Verdict.DONE:
                batch.end(place, End.INDEXED)
            elif verdict is Verdict.CONFLICT and self._encoder.scheme.version is VersionScheme.ONCE:
                batch.end(place, End.INDEXED)  # it is there already, and never changes
            elif verdict in (Verdict.CONFLICT, Verdict.NOOP):
                conflicts.append(place)
            elif verdict in RETRIABLE:
                batch.counts.refused += verdict is Verdict.REFUSED
                waiting.add([place], verdict, error_type(item.get("error")))
                if verdict is Verdict.BLOCKED:
                    waiting.words = error_words(item.get("error"))
            elif verdict is Verdict.DOUBTFUL and place not in doubted:
                waiting.add([place], Verdict.UNAVAILABLE, error_type(item.get("error")))
                waiting.doubtful.add(place)
            elif verdict in FATAL:
                raise _fatal(verdict, Answer(item["status"], {"error": item.get("error")}))
            else:
                batch.reject(place, error_type(item.get("error")) or f"http_{item['status']}", error_words(item.get("error")))
        return conflicts

    def _resolve(self, batch: Batch, places: Sequence[int], waiting: _Waiting) -> None:
        """Ask what the index holds. Of a write whose answer was lost and that was sent again it is our own."""
        asked = [_document(batch, place) for place in places]
        answer = self._connection.get(asked, fields=asked_fields(self._encoder.scheme))
        found = answer.body.get("docs") if answer.status == 200 and isinstance(answer.body, Mapping) else None
        if not isinstance(found, list) or len(found) != len(places):
            verdict = judge_request(answer.status, answer.error) if answer.status >= 300 else Verdict.UNAVAILABLE
            if verdict in FATAL:
                raise _fatal(verdict, answer)
            waiting.add(places, verdict if verdict in RETRIABLE else Verdict.UNAVAILABLE, _words(answer))
            return
        for place, document in zip(places, found, strict=True):
            if error := document.get("error"):
                verdict = judge_found(error)
                if verdict in FATAL:
                    raise _fatal(verdict, Answer(answer.status, {"error": error}))
                waiting.add([place], verdict, error_type(error))
                continue
            end, reason = resolve(self._encoder, batch.operation(place), document)
            if end is None:
                waiting.add([place], Verdict.UNAVAILABLE, reason)
            elif end is End.REJECTED:
                batch.reject(place, "version_conflict_engine_exception", reason)
            else:
                batch.end(place, end)

    def _for_so_long(self) -> str:
        patience = self._rules.patience_seconds
        return f" for {patience:.0f} s" if patience else ""

    def _out_of_patience(self, batch: Batch, waiting: _Waiting) -> None:
        reasons = set(waiting.reasons.values())
        if Verdict.BLOCKED in reasons:
            raise Blocked(f"the index takes no writes{self._for_so_long()}", reason=waiting.words)
        if Verdict.CLOSED in reasons:
            raise IndexClosed(f"the index has been closed{self._for_so_long()}: open it; the load then goes on where it is")
        documents = [
            self._document(batch.first + place, batch.operation(place))
            for place, reason in sorted(waiting.reasons.items())
            if self._may_leave(reason)
        ]
        ready = [document for document in documents if document is not None]
        if ready and self._hand_over is not None:
            lanes = self._hand_over.hand_over(batch.number, [*self._older(batch, ready), *ready])
            for document in ready:
                place = document.position - batch.first
                batch.end(place, End.HANDED_OVER)
                del waiting.reasons[place]
            for lane, count in lanes.items():
                batch.lanes[lane] = batch.lanes.get(lane, 0) + count
        if waiting.reasons:
            way = "there is no lane to hand them over to" if self._hand_over is None else "they may not be handed over"
            raise NotDone(
                f"{len(waiting.reasons)} documents were not taken within {self._rules.patience_seconds:.0f} s, and {way}: "
                "they are to be sent again",
                reason=waiting.words,
            )

    def _may_leave(self, reason: Verdict) -> bool:
        scheme = self._encoder.scheme
        return scheme.hands_over() and (self._rules.hand_over_unknown or reason is Verdict.REFUSED)

    def _older(self, batch: Batch, documents: Sequence[HandedOver]) -> list[HandedOver]:
        """The older writes of documents. Their positions are behind those of the batch: a manifest has each once."""
        operations = [operation for document in documents for operation in batch.older.get(document.id, ())]
        found = [
            self._document(position, operation) for position, operation in enumerate(operations, batch.first + len(batch.ends))
        ]
        return [document for document in found if document is not None]

    def _document(self, position: int, operation: Operation) -> HandedOver | None:
        sequence = self._encoder.scheme.version is VersionScheme.SEQUENCE
        try:
            source = self._encoder.content(operation)
        except Unencodable:
            return None
        return HandedOver(
            position,
            operation.id,
            source,
            self._encoder.version(operation),
            operation.routing,
            pad_sequence(operation.sequence) if sequence else None,
        )


def _fatal(verdict: Verdict, answer: Answer) -> DataError:
    words = error_words(answer.error) or f"HTTP {answer.status}"
    if verdict is Verdict.MISSING:
        return DataError(
            "the index does not exist (any more), or its alias: create them, and run the DAG searchops_setup for them",
            reason=words,
        )
    if verdict is Verdict.FORBIDDEN:
        return DataError(
            f"the cluster refuses the credentials (HTTP {answer.status}): check the connection and what its user or role may write",
            reason=words,
        )
    return DataError(
        f"expected a cluster that takes bulk requests, found an answer HTTP {answer.status}: check host and path of the connection",
        reason=words,
    )


def _refused_all(documents: int, answer: Answer) -> DataError:
    return DataError(
        f"{documents} documents of a request are refused, each alone, with HTTP {answer.status}, and none is taken, so it is not the "
        "documents: check the connection and the index",
        reason=error_type(answer.error) or f"HTTP {answer.status}",
    )


def _document(batch: Batch, place: int) -> dict[str, Any]:
    operation = batch.operation(place)
    routing = {} if operation.routing is None else {"routing": operation.routing}
    return {"_id": operation.id, **routing}


def _items_of(answer: Answer) -> list[Mapping[str, Any]]:
    """The inner objects of ``items``; none where the answer is not that of a bulk request."""
    items = answer.body.get("items") if isinstance(answer.body, Mapping) else None
    if not isinstance(items, list) or not all(isinstance(entry, dict) and entry for entry in items):
        return []
    inner = [next(iter(entry.values())) for entry in items]
    return inner if all(isinstance(item, dict) for item in inner) else []


def _words(answer: Answer) -> str:
    return answer.words or error_type(answer.error) or f"HTTP {answer.status}"


__all__ = ["Blocked", "Delivery", "IndexClosed", "NotDone", "NotHandedOver", "Rules", "Stopped"]

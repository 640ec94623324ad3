"""Bring a batch of stream records to its end.

A record has its end when the index holds its change or a newer one, when it is durable elsewhere (handed over, or set aside with the
reason why it can not be indexed), or when the index has taken a newer record of the same document in the batch. The batch comes again from
the first record that has none, with all behind it, whose writes are then found to be there: no claim is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

from searchops.core.bulk.delivery import NotDone
from searchops.core.bulk.ids import Unfit
from searchops.core.bulk.indexer import Written
from searchops.core.bulk.model import Counts, End, Operation
from searchops.core.bulk.request_path import why
from searchops.core.errors import TransientError
from searchops.core.streams.records import StreamRecord
from searchops.core.streams.writes import Rule, Write, by_document

UNREADABLE = "unreadable"
"""The kind of a record that gives no write at all; the others have the index's word for it."""


class Writer(Protocol):
    """`BulkIndexer`, made without patience."""

    def write(self, operations: Sequence[Operation], *, older: Mapping[str, Sequence[Operation]]) -> Written:
        """
        :param older: by id, what is handed over with a document that is
        :raises TransientError: some have no end, or nothing is known of any
        :raises DataError: none can be written
        """


class DeadLetter(NamedTuple):
    """A record that can not be indexed as it is.

    :param position: in its batch
    :param id: of its document, "" where it gives none
    """

    position: int
    record: StreamRecord
    id: str
    kind: str
    reason: str


class DeadLetters(Protocol):
    def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Keep records with their reasons. Doing it again for the same records is harmless.

        :raises TransientError: they could not be kept; they come again
        :raises DataError: nothing can be kept there
        """


class Fate(Enum):
    """The end of a record."""

    INDEXED = "indexed"
    SUPERSEDED = "superseded"
    """The index holds a newer write of this document."""
    MERGED = "merged"
    """Not sent: the index has a newer record of this document from the same batch."""
    REJECTED = "rejected"
    """Set aside with the reason."""
    HANDED_OVER = "handed_over"
    """Itself, or with a newer record of this document: whether the index takes that one is not known yet."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch.

    :param fates: by position; None where a record has to come again
    :param why: why some have to; "" where none has
    """

    records: Sequence[StreamRecord]
    fates: list[Fate | None] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    why: str = ""

    @classmethod
    def nothing(cls, records: Sequence[StreamRecord], why: str = "") -> Outcome:
        """No record has its end."""
        return cls(records, [None] * len(records), [], why)

    @property
    def first_open(self) -> StreamRecord | None:
        """Where the batch has to come again from."""
        return next((record for record, fate in zip(self.records, self.fates, strict=True) if fate is None), None)

    @property
    def counts(self) -> Counter[str]:
        """How many records have which end; those that have none are ``open``."""
        return Counter(fate.value if fate else "open" for fate in self.fates)

    def answer(self) -> dict[str, Any]:
        """What the event source mapping reads, with FunctionResponseTypes ReportBatchItemFailures.

        One identifier says it all: the mapping sends everything from the lowest sequence number on again (Lambda developer guide,
        "Configuring partial batch response with DynamoDB and Lambda").
        """
        first = self.first_open
        return {"batchItemFailures": [{"itemIdentifier": first.sequence}] if first else []}

    def reject(self, position: int, id: str, kind: str, reason: str) -> None:
        self.fates[position] = Fate.REJECTED
        self.letters.append(DeadLetter(position, self.records[position], id, kind, reason))


_FATES = {
    End.INDEXED: Fate.INDEXED,
    End.SUPERSEDED: Fate.SUPERSEDED,
    End.REJECTED: Fate.REJECTED,
    End.HANDED_OVER: Fate.HANDED_OVER,
}


def consume(records: Sequence[StreamRecord], rule: Rule, writer: Writer, dead_letters: DeadLetters) -> Outcome:
    """Give every record its end, as far as that goes now.

    Of each document the newest write is sent alone. Where the index rejects it, the one before it is sent; where it is handed over, the
    index may still reject it, so all before it are handed over as well: what the index holds in the end must not depend on which
    records came in one batch.

    :raises DataError: the stream, the index or the place of dead letters has to be mended; nothing is known of the batch then
    """
    outcome = Outcome.nothing(records)
    left = by_document(_writes(records, rule, outcome))
    while left and not outcome.why:
        left = _write(left, writer, outcome)
    if outcome.letters:
        _keep(outcome, dead_letters)
    return outcome


def _writes(records: Sequence[StreamRecord], rule: Rule, outcome: Outcome) -> list[Write]:
    writes = []
    for position, record in enumerate(records):
        try:
            writes.append(Write(position, rule.operation(record)))
        except Unfit as error:
            outcome.reject(position, "", UNREADABLE, str(error))
    return writes


def _write(left: list[list[Write]], writer: Writer, outcome: Outcome) -> list[list[Write]]:
    """Send the newest write of each document; return the older ones of those that were rejected."""
    older = {last.operation.id: [write.operation for write in before] for *before, last in left if before}
    written = _written(writer, [writes[-1].operation for writes in left], older, outcome)
    rejected = {document.position: document for document in written.rejected}
    left_over = []
    for place, (writes, end) in enumerate(zip(left, written.ends, strict=True)):
        *before, last = writes
        if end is End.REJECTED:
            told = rejected[place]
            outcome.reject(last.position, last.operation.id, told.kind, told.reason)
            if before:
                left_over.append(before)
        elif end is not None:
            outcome.fates[last.position] = _FATES[end]
            for write in before:
                outcome.fates[write.position] = Fate.HANDED_OVER if end is End.HANDED_OVER else Fate.MERGED
    return left_over


def _written(
    writer: Writer, operations: Sequence[Operation], older: Mapping[str, Sequence[Operation]], outcome: Outcome
) -> Written:
    try:
        return writer.write(operations, older=older)
    except TransientError as error:
        outcome.why = why(error)
        known: Written | None = error.written if isinstance(error, NotDone) else None
        return known or Written([None] * len(operations), [], Counts())


def _keep(outcome: Outcome, dead_letters: DeadLetters) -> None:
    outcome.letters.sort(key=lambda letter: letter.position)
    try:
        dead_letters.keep(outcome.letters)
    except TransientError as error:
        outcome.why = outcome.why or why(error)
        for letter in outcome.letters:
            outcome.fates[letter.position] = None
        outcome.letters = []

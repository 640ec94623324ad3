"""An index in memory that compares as OpenSearch does, takes what a test lets it take, and a place for dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from searchops.core.bulk.delivery import NotDone
from searchops.core.bulk.encode import Encoder
from searchops.core.bulk.indexer import Written
from searchops.core.bulk.model import Counts, End, Kind, Operation, Rejected
from searchops.core.bulk.scheme import Scheme
from searchops.core.errors import TransientError
from searchops.core.streams.consumer import DeadLetter


class SmallIndex:
    """
    :param hands_over: what is refused is handed over until `redrive`; otherwise it has no end
    """

    def __init__(self, scheme: Scheme, *, hands_over: bool = False) -> None:
        self.held: dict[str, tuple[int, Any]] = {}
        """Version and document by id; a tombstone is None."""
        self.sent: list[list[str]] = []
        self.refused: set[str] = set()
        self.away = False
        self.handed_over: list[Operation] = []
        self._hands_over = hands_over
        self._encoder = Encoder(scheme)

    def write(self, operations: Sequence[Operation], *, older: Mapping[str, Sequence[Operation]]) -> Written:
        if self.away:
            raise TransientError("the domain does not answer")
        self.sent.append([operation.id for operation in operations])
        written = Written([], [], Counts())
        for position, operation in enumerate(operations):
            written.ends.append(self._one(operation))
            if written.ends[-1] is End.HANDED_OVER:
                self.handed_over += [*older.get(operation.id, ()), operation]
            if written.ends[-1] is End.REJECTED:
                written.rejected.append(Rejected(position, operation.id, "mapper_parsing_exception", "failed to parse [n]", b""))
        if None in written.ends:
            raise NotDone.of(TransientError("429"), written)
        return written

    def redrive(self) -> None:
        """Take what was handed over, or reject it, the last first: no lane keeps an order."""
        self.refused = set()
        while self.handed_over:
            self._one(self.handed_over.pop())

    def _one(self, operation: Operation) -> End | None:
        if operation.id in self.refused:
            return End.HANDED_OVER if self._hands_over else None
        document = orjson.loads(self._encoder.content(operation)) if operation.kind is Kind.INDEX else None
        if document and "poison" in document:
            return End.REJECTED
        version = operation.version if operation.version is not None else int(operation.sequence or 0)
        if version < self.held.get(operation.id, (-1, None))[0]:
            return End.SUPERSEDED
        self.held[operation.id] = (version, document)
        return End.INDEXED


class Letters:
    """Keeps dead letters by sequence number."""

    def __init__(self) -> None:
        self.kept: dict[str, DeadLetter] = {}
        self.away = False

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        if self.away:
            raise TransientError("the bucket does not answer")
        self.kept |= {letter.record.sequence: letter for letter in letters}

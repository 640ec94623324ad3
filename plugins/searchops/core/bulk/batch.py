"""Cut the input into batches: by bytes, by count, and so that two writes of one id are never under way together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from itertools import count, islice

from searchops.core.bulk.encode import Encoder, Unencodable, encode_source
from searchops.core.bulk.manifests import SPOOL
from searchops.core.bulk.model import BatchResult, Counts, End, Kind, Operation, Rejected, Unreadable

MAX_REQUEST_BYTES = 10 * 2**20
"""Payload limit of the smaller instance types of Amazon OpenSearch Service (developer guide, "Quotas"): HTTP 413 beyond it."""
BATCH_BYTES = 3 * 2**20
"""Developer guide, "Operational best practices": begin with 3 to 5 MiB a request."""
BATCH_DOCUMENTS = 5_000
"""OpenSearch's guide to the _bulk API: 1,000 to 5,000 operations a request."""
_SMALLEST = 64 * 1024
_INDEX = Kind.INDEX


@dataclass(slots=True)
class Batch:
    """Consecutive lines of the input, until each has its end. ``lines[i]`` is empty where it had its end before it was sent.

    Of an index operation nothing but its lines is kept, from which `Encoder.operation` makes it again: thousands of objects that live for
    a while would have Python's collector go through all objects of the program again and again (a fifth of our time, measured).

    :param ids: of the documents that are sent
    :param older: by id, writes of these documents that are handed over with them (`BulkIndexer.write`)
    """

    number: int
    first: int
    encoder: Encoder
    ids: set[str] = field(default_factory=set)
    lines: list[bytes] = field(default_factory=list)
    ends: list[End | None] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    lanes: dict[str, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    size: int = 0
    older: Mapping[str, Sequence[Operation]] = field(default_factory=dict)
    _others: dict[int, Operation] = field(default_factory=dict)
    """What is no index operation, by its place."""

    def add(self, operation: Operation, line: bytes) -> None:
        if operation.kind is not _INDEX:
            self._others[len(self.ends)] = operation
        self.ids.add(operation.id)
        self.lines.append(line)
        self.ends.append(None)
        self.size += len(line)

    def kind(self, place: int) -> Kind:
        other = self._others.get(place)
        return _INDEX if other is None else other.kind

    def operation(self, place: int) -> Operation:
        """One of those that are sent; the source of an index operation as bytes."""
        return self._others.get(place) or self.encoder.operation(self.lines[place])

    def add_rejected(self, id: str, kind: str, reason: str, line: bytes = b"", where: str = "") -> None:
        """A document that ends here, before anything is sent."""
        self.rejected.append(Rejected(self.first + len(self.ends), id, kind, reason, line, where))
        self.lines.append(b"")
        self.ends.append(End.REJECTED)
        self.size += len(line)

    def pending(self) -> list[int]:
        return [place for place, end in enumerate(self.ends) if end is None]

    def size_of(self, places: Sequence[int]) -> int:
        return sum(len(self.lines[place]) for place in places)

    def end(self, place: int, end: End) -> None:
        self.ends[place] = end

    def end_all(self, places: Sequence[int], end: End) -> None:
        if len(places) == len(self.ends):
            self.ends = [end] * len(places)
            return
        for place in places:
            self.ends[place] = end

    def reject(self, place: int, kind: str, reason: str) -> None:
        operation = self.operation(place)
        self.rejected.append(Rejected(self.first + place, operation.id, kind, reason, _as_text(operation)))
        self.ends[place] = End.REJECTED

    def forget_rejected(self) -> None:
        """They could not be kept, so they have no end yet."""
        for document in self.rejected:
            self.ends[document.position - self.first] = None
        self.rejected.clear()

    def result(self) -> BatchResult:
        """
        :raises RuntimeError: a document has no end
        """
        counts, ends = self.counts, [end for end in self.ends if end is not None]
        if len(ends) != len(self.ends):
            raise RuntimeError(f"batch {self.number}: {len(self.ends) - len(ends)} of {len(self.ends)} documents have no end")
        counts.accepted = len(ends)
        counts.indexed = ends.count(End.INDEXED)
        counts.superseded = ends.count(End.SUPERSEDED)
        counts.rejected = ends.count(End.REJECTED)
        counts.handed_over = ends.count(End.HANDED_OVER)
        counts.spooled = self.lanes.get(SPOOL, 0)
        rejected = sorted(self.rejected, key=lambda document: document.position)
        return BatchResult(self.number, self.first, ends, counts, rejected, dict(self.lanes))


def _as_text(operation: Operation) -> bytes:
    """The document for whoever mends it."""
    if operation.source is None:
        return b""
    if isinstance(operation.source, bytes):
        return operation.source
    try:
        return encode_source(operation.source)
    except Unencodable:
        return repr(operation.source).encode("utf-8", "backslashreplace")


class Sizes:
    """How large a request may be. What the cluster found too large (413) is remembered.

    :param batch_bytes: what a batch aims at
    :param request_bytes: what no request passes
    """

    def __init__(
        self, batch_bytes: int = BATCH_BYTES, documents: int = BATCH_DOCUMENTS, request_bytes: int = MAX_REQUEST_BYTES
    ) -> None:
        if not 1 <= batch_bytes <= request_bytes or documents < 1:
            raise ValueError(
                f"expected 1 <= batch_bytes <= request_bytes and documents >= 1, found {batch_bytes}, {request_bytes}, {documents}"
            )
        self.bytes = batch_bytes
        self.documents = documents
        self.request_bytes = request_bytes

    def too_large(self, size: int) -> None:
        """A request of this size was answered with 413."""
        self.bytes = max(min(self.bytes, size // 2), min(_SMALLEST, self.bytes))

    def split(self, batch: Batch, places: Sequence[int]) -> list[list[int]]:
        """The documents in parts that are no larger than what is allowed now."""
        parts: list[list[int]] = []
        size = 0
        for place in places:
            length = len(batch.lines[place])
            if not parts or size + length > self.bytes:
                parts.append([])
                size = 0
            parts[-1].append(place)
            size += length
        return parts


class Wait(Enum):
    """Instead of a batch: the next document's id is under way."""

    ID = "id"


class Batcher:
    """Read the input as far as the next batch.

    :param under_way: ids of the batches that have not ended
    :param numbers: of the batches; without it 0, 1, 2…
    """

    def __init__(
        self,
        operations: Iterator[Operation | Unreadable],
        encoder: Encoder,
        sizes: Sizes,
        *,
        under_way: AbstractSet[str],
        position: int = 0,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._operations = operations
        self._encoder = encoder
        self._sizes = sizes
        self._under_way = under_way
        self._position = position
        self._numbers = count() if numbers is None else numbers
        self._kept: tuple[Operation, bytes] | None = None

    def next(self) -> Batch | Wait | None:
        """The next batch; `Wait` when it can only begin after another has ended; None at the end of the input."""
        batch = Batch(-1, self._position, self._encoder)
        if self._kept is not None:
            if self._kept[0].id in self._under_way:
                return Wait.ID
            batch.add(*self._kept)
            self._kept = None
        self._fill(batch)
        if not batch.ends:
            return Wait.ID if self._kept else None
        self._position += len(batch.ends)
        batch.number = next(self._numbers)
        return batch

    def _fill(self, batch: Batch) -> None:
        """Every document passes here: what is looked up is looked up once."""
        encode, under_way, largest = self._encoder.lines, self._under_way, self._sizes.request_bytes
        ids, lines, ends, others = batch.ids, batch.lines, batch.ends, batch._others
        size, limit = batch.size, self._sizes.bytes
        if size >= limit:
            return
        for operation in islice(self._operations, self._sizes.documents - len(ends)):
            try:
                if type(operation) is not Operation:
                    raise _unreadable(operation)
                line = encode(operation)
                length = len(line)
                if length > largest:
                    raise Unencodable("too_large", f"{length:,} bytes, a request may have {largest:,}")
            except Unencodable as error:
                size += _refuse(batch, operation, error)
            else:
                id = operation.id
                if id in ids or id in under_way or (size + length > limit and ends):
                    self._kept = (operation, line)
                    break
                if operation.kind is not _INDEX:
                    others[len(ends)] = operation
                ids.add(id)
                lines.append(line)
                ends.append(None)
                size += length
            if size >= limit:
                break
        batch.size = size


def _unreadable(line: Operation | Unreadable) -> Unencodable:
    if isinstance(line, Unreadable):
        return Unencodable("unreadable", line.reason)
    raise TypeError(f"expected an Operation, made by index, create, update or delete, found {type(line).__name__}")


def _refuse(batch: Batch, operation: Operation | Unreadable, error: Unencodable) -> int:
    """Return how much of the memory that a batch may have it takes."""
    if isinstance(operation, Unreadable):
        id, line, where = "", operation.line, operation.where
    else:
        id, line, where = operation.id, _as_text(operation), ""
    batch.add_rejected(id if isinstance(id, str) else repr(id), error.kind, error.reason, line, where)
    return len(line)

"""The words of bulk indexing: what goes in, what comes out, and the one end that each document has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, NamedTuple, Self

Source = bytes | Mapping[str, Any]
"""A document: JSON as bytes, which is passed on unparsed, or a mapping."""


class Kind(Enum):
    """What is done to a document: the actions of the _bulk API."""

    INDEX = "index"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


_INDEX = Kind.INDEX


class Operation(NamedTuple):
    """One line of input. Made by `index`, `create`, `update` and `delete`.

    ``version`` is a whole number 0…2^63-1 under the scheme `attribute`; ``sequence`` a stream record's sequence number, as text,
    under `sequence`. Both are None under the others.
    """

    kind: Kind
    id: str
    source: Source | None = None
    version: int | None = None
    routing: str | None = None
    sequence: str | None = None


class Unreadable(NamedTuple):
    """A line of input that is no document; it ends as rejected.

    ``where`` names the place for a person (``products.ndjson:17``); ``line`` is what stands there.
    """

    reason: str
    line: bytes
    where: str = ""


def index(
    id: str, source: Source, *, version: int | None = None, routing: str | None = None, sequence: str | None = None
) -> Operation:
    return Operation(_INDEX, id, source, version, routing, sequence)


def create(id: str, source: Source, *, routing: str | None = None) -> Operation:
    return Operation(Kind.CREATE, id, source, None, routing)


def update(id: str, source: Source, *, routing: str | None = None) -> Operation:
    """:param source: the body of an update: ``{"doc": …}`` or ``{"script": …}``"""
    return Operation(Kind.UPDATE, id, source, None, routing)


def delete(id: str, *, version: int | None = None, routing: str | None = None, sequence: str | None = None) -> Operation:
    return Operation(Kind.DELETE, id, None, version, routing, sequence)


class End(Enum):
    """Where a document has ended. Each has exactly one end."""

    INDEXED = "indexed"
    """The index holds this write (a delete: it is gone)."""
    SUPERSEDED = "superseded"
    """The index holds a newer write of this document."""
    REJECTED = "rejected"
    """It can not be indexed as it is; kept with the reason."""
    HANDED_OVER = "handed_over"
    """Durable elsewhere and on a manifest; to be settled."""


class Rejected(NamedTuple):
    """``position`` counts the lines of the input from 0; ``line`` is the document as it was, for whoever mends it."""

    position: int
    id: str
    kind: str
    """What refused it, e.g. mapper_parsing_exception; failures are grouped by it."""
    reason: str
    line: bytes
    where: str = ""


class HandedOver(NamedTuple):
    """A document on its way through a lane: the content of an index operation. Exactly one of version and sequence is set."""

    position: int
    id: str
    source: bytes
    version: int | None
    routing: str | None = None
    sequence: str | None = None


@dataclass(slots=True)
class Counts:
    """How many documents have which end; ``accepted`` is their sum once nothing is under way.

    ``spooled`` of those that were handed over went to the spool, the others to Firehose. ``retried`` counts documents each time they are
    sent again, ``refused`` the answers 429, ``bytes`` what the requests' bodies held.
    """

    accepted: int = 0
    indexed: int = 0
    superseded: int = 0
    rejected: int = 0
    handed_over: int = 0
    spooled: int = 0
    retried: int = 0
    refused: int = 0
    requests: int = 0
    bytes: int = 0

    @property
    def ended(self) -> int:
        return self.indexed + self.superseded + self.rejected + self.handed_over

    def add(self, other: Counts) -> None:
        for name in _COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in _COUNTED}

    @classmethod
    def from_dict(cls, values: Mapping[str, int]) -> Self:
        return cls(**{name: int(values.get(name, 0)) for name in _COUNTED})


_COUNTED = tuple(item.name for item in fields(Counts))


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A batch all of whose documents have ended. The positions are ``first`` … ``first + len(ends) - 1``."""

    number: int
    first: int
    ends: Sequence[End]
    counts: Counts
    rejected: Sequence[Rejected] = ()
    lanes: Mapping[str, int] = field(default_factory=dict)
    """How many documents each lane took."""

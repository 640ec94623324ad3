"""How a document travels: one line of JSON that says into which index, under which id and as which version it goes.

The source comes last and is cut out by bytes, never parsed and written again: 1.10 and numbers of more than 64 bits stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from searchops.core.bulk.model import HandedOver, Operation, index
from searchops.core.bulk.scheme import MAX_VERSION, Scheme, VersionScheme

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
# No text of JSON can hold it: within one, a quotation mark comes after a backslash.
_SOURCE = b',"source":'


class Unusable(ValueError):
    """Not an envelope, or none that can be sent to this index; says what is wrong without quoting the document."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """``source`` are the bytes as they were handed over, which need not be JSON. Exactly one of version and sequence is set."""

    index: str
    id: str
    source: bytes
    version: int | None
    routing: str | None = None
    sequence: str | None = None

    def operation(self, scheme: Scheme) -> Operation:
        """What sends it again.

        :raises Unusable: it was handed over under another scheme than the index has now
        """
        by_sequence = scheme.version is VersionScheme.SEQUENCE
        if not scheme.hands_over() or by_sequence is (self.sequence is None):
            has = "a version" if self.sequence is None else "a sequence"
            raise Unusable(f"it has {has}, the index has version scheme {scheme.version.value}, deletes {scheme.deletes.value}")
        version = None if scheme.version is VersionScheme.ONCE else self.version
        return index(self.id, self.source, version=version, routing=self.routing, sequence=self.sequence)


def write(index: str, document: HandedOver) -> bytes:
    """The line, without a line break in it or after it."""
    header: dict[str, Any] = {"index": index, "id": document.id}
    if document.routing is not None:
        header["routing"] = document.routing
    if document.sequence is not None:
        header["sequence"] = document.sequence
    else:
        header["version"] = document.version
    # Outside of texts, where JSON knows none, a line break means as much as a space.
    return orjson.dumps(header)[:-1] + _SOURCE + document.source.translate(_LINE_BREAKS) + b"}"


def read(line: bytes) -> Envelope:
    """
    :raises Unusable: it is not what `write` makes, or only half of it
    """
    line = line.strip()
    header, mark, rest = line.partition(_SOURCE)
    if not mark or not rest.endswith(b"}"):
        raise Unusable(f"expected a line of JSON that ends with its source, found {len(line)} other bytes")
    try:
        values = orjson.loads(header + b"}")
    except orjson.JSONDecodeError as error:
        raise Unusable(f"what comes before the source is not JSON: {error}") from error
    id, target, routing = values.get("id"), values.get("index"), values.get("routing")
    version, sequence = values.get("version"), values.get("sequence")
    if not isinstance(id, str) or not isinstance(target, str) or not isinstance(routing, str | None):
        raise Unusable("expected index, id and routing as texts")
    if sequence is None and (type(version) is not int or not 0 <= version <= MAX_VERSION):
        raise Unusable(f"version: expected a whole number from 0 to {MAX_VERSION}, found {version!r}")
    if sequence is not None and (not isinstance(sequence, str) or version is not None):
        raise Unusable("expected a version, or a sequence as text")
    return Envelope(target, id, rest[:-1], version, routing, sequence)


def is_document(source: bytes) -> bool:
    """Whether it is certain to be a JSON object; Firehose takes nothing else, and OpenSearch takes more."""
    try:
        return isinstance(orjson.loads(source), dict)
    except orjson.JSONDecodeError:
        return False

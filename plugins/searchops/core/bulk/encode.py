"""Turn operations into the lines of a ``_bulk`` request, by the scheme of the index.

What the cluster would refuse with the whole request (a long id, a version over 63 bits, a version on an update: facts measured on
OpenSearch 3.8) is refused here, alone.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson

from searchops.core.bulk.envelope import is_document
from searchops.core.bulk.model import Kind, Operation, Source
from searchops.core.bulk.scheme import FIELD, MAX_ID_BYTES, MAX_VERSION, SEQUENCE_DIGITS, Deletes, Scheme, VersionScheme
from searchops.core.errors import DataError

# Replaces the document unless it holds an equal or later sequence. ``params.delete`` is an immediate delete.
_BY_SEQUENCE = (
    f"def s = ctx._source.{FIELD}; def there = s == null ? null : s.sequence;"
    " if (there != null && there.compareTo(params.sequence) >= 0) { ctx.op = 'none' }"
    " else if (params.delete) { ctx.op = ctx.op == 'create' ? 'none' : 'delete' }"
    " else { ctx._source.clear(); ctx._source.putAll(params.source);"
    f" def own = ctx._source.{FIELD}; if (own == null) {{ own = new HashMap(); ctx._source.{FIELD} = own }}"
    " own.sequence = params.sequence }"
)
_SCRIPT = orjson.dumps(_BY_SEQUENCE)
_BEFORE_SEQUENCE = (
    b'{"scripted_upsert":true,"upsert":{},"script":{"lang":"painless","source":' + _SCRIPT + b',"params":{"sequence":"'
)
_AFTER_SEQUENCE = b'","delete":false,"source":'
_AFTER_SOURCE = b"}}}\n"
_MOST_DIGITS = 126
"""Of a whole number that is written out: DynamoDB's greatest has so many."""


_INDEX = Kind.INDEX


class Unencodable(Exception):
    """A document that no request can carry; it ends as rejected, alone."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Encoder:
    """Two lines of a request, or one for a real delete, for each operation.

    :param clock: epoch seconds, for ``searchops.deleted_at`` of tombstones
    :raises DataError: an index that an Ingestion pipeline writes has no other writer; tombstones need a version
    """

    def __init__(self, scheme: Scheme, clock: Callable[[], float] = time.time) -> None:
        if scheme.version is VersionScheme.INGESTION:
            raise DataError(
                "version scheme ingestion: the pipeline is the only writer of this index; send old items by replay or export"
            )
        if scheme.version is VersionScheme.NONE and scheme.deletes is Deletes.TOMBSTONE:
            raise DataError(
                "version scheme none: expected deletes immediate or never: a tombstone without a version keeps nothing out"
            )
        self.scheme = scheme
        self._name = scheme.attribute
        self._clock = clock
        self.lines: Callable[[Operation], bytes] = {
            VersionScheme.ATTRIBUTE: self._attribute,
            VersionScheme.ONCE: self._once,
            VersionScheme.SEQUENCE: self._sequence,
            VersionScheme.NONE: self._unversioned,
        }[scheme.version]
        """The lines of an operation; raises Unencodable."""

    def operation(self, lines: bytes) -> Operation:
        """The index operation whose lines these are."""
        action, _, body = lines.partition(b"\n")
        (head,) = orjson.loads(action).values()
        version, sequence, source = None, None, body[:-1]
        if self.scheme.version is VersionScheme.ATTRIBUTE:
            version = head["version"]
        elif self.scheme.version is VersionScheme.SEQUENCE:
            sequence = body[len(_BEFORE_SEQUENCE) : len(_BEFORE_SEQUENCE) + SEQUENCE_DIGITS].decode()
            source = body[len(_BEFORE_SEQUENCE) + SEQUENCE_DIGITS + len(_AFTER_SEQUENCE) : -len(_AFTER_SOURCE)]
        return Operation(Kind.INDEX, head["_id"], source, version, head.get("routing"), sequence)

    def content(self, operation: Operation) -> bytes:
        """The document that the index would hold, as a lane carries it.

        :raises Unencodable: there is none (an immediate delete)
        """
        if operation.kind is Kind.DELETE:
            if self.scheme.deletes is not Deletes.TOMBSTONE:
                raise Unencodable("unsupported_operation", "a delete has no content")
            return self._tombstone()
        return encode_source(operation.source)

    def version(self, operation: Operation) -> int | None:
        """The external version under which the operation is written; None under `sequence` and `none`."""
        if self.scheme.version is VersionScheme.ATTRIBUTE:
            return operation.version
        return 1 if self.scheme.version is VersionScheme.ONCE else None

    def _attribute(self, operation: Operation) -> bytes:
        kind, id, source, version, routing, _ = operation
        if type(version) is not int or not 0 <= version <= MAX_VERSION:
            raise Unencodable("bad_version", f"version: expected a whole number from 0 to {MAX_VERSION}, found {version!r}")
        if kind is _INDEX:
            if type(source) is dict and type(own := source.get(self._name, version)) is int and own != version:
                raise Unencodable("bad_version", f"version: expected that of the document's {self._name}, {own}, found {version}")
            body = encode_source(source)
        elif kind is Kind.DELETE:
            self._refuse_delete_if_never()
            if self.scheme.deletes is Deletes.IMMEDIATE:
                action = b'{"delete":{"_id":%b%b,"version":%d,"version_type":"external"}}\n'
                return action % (_id(id), _routing(routing), version)
            body = self._tombstone()
        else:
            raise _unsupported(kind, "attribute", "no external version goes with it")
        action = b'{"index":{"_id":%b%b,"version":%d,"version_type":"external"}}\n%b\n'
        return action % (_id(id), b"" if routing is None else _routing(routing), version, body)

    def _once(self, operation: Operation) -> bytes:
        kind, id, source, _, routing, _ = operation
        if kind is not Kind.INDEX and kind is not Kind.CREATE:
            raise _unsupported(kind, "once", "its documents never change")
        action = b'{"index":{"_id":%b%b,"version":1,"version_type":"external"}}\n%b\n'
        return action % (_id(id), _routing(routing), encode_source(source))

    def _sequence(self, operation: Operation) -> bytes:
        kind, id, source, _, routing, sequence = operation
        padded = pad_sequence(sequence)
        if kind is Kind.INDEX:
            body = encode_source(source)
            if isinstance(source, bytes) and not is_document(body):
                # It stands within an object here: what is open or closed too early would make another request of it.
                raise Unencodable("not_a_document", "expected a JSON object")
        elif kind is Kind.DELETE:
            self._refuse_delete_if_never()
            body = b"{}" if self.scheme.deletes is Deletes.IMMEDIATE else self._tombstone()
        else:
            raise _unsupported(kind, "sequence", "only whole documents can be compared by sequence")
        really = kind is Kind.DELETE and self.scheme.deletes is Deletes.IMMEDIATE
        # Sent again by the node itself when two writers meet at one document: the script looks again.
        action = b'{"update":{"_id":%b%b,"retry_on_conflict":3}}\n' % (_id(id), _routing(routing))
        between = _AFTER_SEQUENCE.replace(b"false", b"true ") if really else _AFTER_SEQUENCE
        return action + _BEFORE_SEQUENCE + padded.encode() + between + body + _AFTER_SOURCE

    def _unversioned(self, operation: Operation) -> bytes:
        kind, id, source, _, routing, _ = operation
        if kind is Kind.DELETE:
            self._refuse_delete_if_never()
            return b'{"delete":{"_id":%b%b}}\n' % (_id(id), _routing(routing))
        name = kind.value.encode()
        return b'{"%b":{"_id":%b%b}}\n%b\n' % (name, _id(id), _routing(routing), encode_source(source))

    def _refuse_delete_if_never(self) -> None:
        if self.scheme.deletes is Deletes.NEVER:
            raise Unencodable("unsupported_operation", "delete: the index is declared to have none (deletes: never)")

    def _tombstone(self) -> bytes:
        return b'{"%b":{"deleted":true,"deleted_at":%d}}' % (FIELD.encode(), int(self._clock() * 1000))


def encode_source(source: Source | None) -> bytes:
    """A document as one line of JSON; bytes are passed on as they are.

    :raises Unencodable: it holds what JSON can not hold
    """
    if type(source) is not dict:  # asking for the type of each costs a tenth of the time
        if isinstance(source, bytes):
            # A line break would end the document in the middle of the request.
            return source if source and b"\n" not in source else _one_line(source)
        if not isinstance(source, Mapping):
            raise Unencodable("not_a_document", f"expected a JSON object, found {type(source).__name__}")
    try:
        data = orjson.dumps(source, _plain)
    except (TypeError, ValueError) as error:  # orjson.JSONEncodeError is a TypeError; a lone surrogate is one of its cases
        raise Unencodable("not_encodable", str(error.__cause__ or error)) from error
    if b"null" in data and _holds_nan(source):  # orjson writes NaN as null
        raise Unencodable("not_encodable", "NaN and Infinity are no JSON numbers")
    return data


def pad_sequence(sequence: str | None) -> str:
    """:raises Unencodable: it is no sequence number of a stream"""
    if sequence is None or not sequence.isascii() or not sequence.isdigit() or len(sequence) > SEQUENCE_DIGITS:
        raise Unencodable("bad_version", f"sequence: expected 1 to {SEQUENCE_DIGITS} digits, found {sequence!r}")
    return sequence.zfill(SEQUENCE_DIGITS)


def _one_line(source: bytes) -> bytes:
    line = source.strip()
    if line and b"\n" not in line:
        return line
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Unencodable("not_a_document", f"expected a JSON object: {error}") from error
    # In JSON a line break stands between tokens alone. Parsing and writing it anew would round numbers.
    return line.replace(b"\n", b" ")


def _plain(value: Any) -> Any:
    """What orjson does not know but an item of DynamoDB, or a mapping of another type than dict, holds."""
    if isinstance(value, Decimal):
        return orjson.Fragment(_digits(value))
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} is no JSON")


def _digits(number: Decimal) -> str:
    """All digits: a float would keep 17 of the 38 that DynamoDB stores, an int of orjson no more than 64 bits."""
    if not number.is_finite():
        raise TypeError(f"{number} is no JSON number")
    # 1E+2 would be a float to the mapping of a new field.
    whole = number.adjusted() < _MOST_DIGITS and number == number.to_integral_value()
    return f"{number.to_integral_value():f}" if whole else str(number)


def _holds_nan(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_holds_nan, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_holds_nan, value))
    return dataclasses.is_dataclass(value) and any(_holds_nan(getattr(value, item.name)) for item in dataclasses.fields(value))


def _id(id: str) -> bytes:
    """The id as JSON."""
    try:
        quoted: bytes = orjson.dumps(id)
    except TypeError as error:
        raise Unencodable("bad_id", f"id: {error}") from error
    # Escaping only makes it longer, so most are known to fit without being measured.
    if isinstance(id, str) and (2 < len(quoted) <= MAX_ID_BYTES + 2 or 1 <= len(id.encode()) <= MAX_ID_BYTES):
        return quoted
    found = f"{len(id.encode())} bytes" if isinstance(id, str) else repr(id)
    raise Unencodable("bad_id", f"id: expected a text of 1 to {MAX_ID_BYTES} bytes, found {found}")


def _routing(routing: str | None) -> bytes:
    if routing is None:
        return b""
    try:
        quoted = orjson.dumps(routing)
    except TypeError as error:
        raise Unencodable("bad_routing", f"routing: {error}") from error
    if not isinstance(routing, str):
        raise Unencodable("bad_routing", f"routing: expected a text, found {routing!r}")
    return b',"routing":' + quoted


def _unsupported(kind: Kind, scheme: str, reason: str) -> Unencodable:
    return Unencodable("unsupported_operation", f"{kind.value}: not under version scheme {scheme}: {reason}")

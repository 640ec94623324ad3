"""What is still in a lane: objects of the spool, and of what Firehose could not deliver, line by line.

Firehose's objects are JSON lines (developer guide, "Handle data delivery failures"): attemptsMade, arrivalTimestamp, errorCode,
errorMessage, attemptEndingTimestamp, rawData (base64), esDocumentId, esIndexName; compressed or not, as the stream is set.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from searchops.core.bulk import envelope, places
from searchops.core.bulk.bucket import Bucket, Stored
from searchops.core.bulk.envelope import Envelope, Unusable
from searchops.core.bulk.manifests import FIREHOSE, SPOOL

SPOOLED = "spooled"
"""The kind of what no cluster has refused: it waits in the spool to be sent."""
UNREADABLE = "unreadable"
_TYPE = re.compile(r"\b[a-z]+(?:_[a-z]+)*_exception\b")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_GZIP = b"\x1f\x8b"


class BrokenObject(Exception):
    """The object ends in the middle of its compression; what came before it has been read."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """An object with documents that wait. ``run`` is empty for what Firehose wrote: it knows of none."""

    key: str
    lane: str
    modified_at: float
    run: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """
    :param number: from 0, within its object
    :param raw: the envelope as it was handed over; for a line that can not be read, all of the line
    :param envelope: None where it can not be read; ``words`` says why then, else what the cluster said
    :param kind: of failure: the code and the type of the error
    :param at: epoch seconds of the hand-over, as far as it is known
    """

    number: int
    raw: bytes
    envelope: Envelope | None
    kind: str
    words: str
    at: float


def spooled(bucket: Bucket, index: str, run: str | None = None) -> Iterator[Undelivered]:
    """The objects of the spool, in the order of their runs."""
    for stored in bucket.list(places.spool_prefix(index, run)):
        yield Undelivered(stored.key, SPOOL, stored.modified_at, places.place_of(stored.key).run)


def failed(bucket: Bucket, index: str) -> Iterator[Undelivered]:
    """The objects of what Firehose could not deliver, in any of the folders it is known to use."""
    for stored in bucket.list(places.firehose_failed_prefix(index)):
        if _in_failure_folder(stored, index):
            yield Undelivered(stored.key, FIREHOSE, stored.modified_at)


def _in_failure_folder(stored: Stored, index: str) -> bool:
    return stored.key.removeprefix(places.firehose_failed_prefix(index)).startswith(
        tuple(f"{name}/" for name in places.FAILURE_FOLDERS)
    )


def lines_of(item: Undelivered, content: bytes) -> Iterator[Line]:
    """
    :raises BrokenObject: after the lines that could be read
    """
    read = _spool_line if item.lane == SPOOL else _failure_line
    for number, raw in enumerate(_split(content)):
        yield read(number, raw, item.modified_at)


def _split(content: bytes) -> Iterator[bytes]:
    stream: Any = gzip.GzipFile(fileobj=io.BytesIO(content)) if content.startswith(_GZIP) else io.BytesIO(content)
    try:
        for line in stream:
            if stripped := line.strip():
                yield stripped
    except (OSError, EOFError, zlib.error) as error:
        raise BrokenObject(str(error)) from error


def _spool_line(number: int, raw: bytes, at: float) -> Line:
    try:
        return Line(number, raw, envelope.read(raw), SPOOLED, "", at)
    except Unusable as error:
        return Line(number, raw, None, UNREADABLE, str(error), at)


def _failure_line(number: int, raw: bytes, at: float) -> Line:
    try:
        values = orjson.loads(raw)
        record = base64.b64decode(values["rawData"], validate=True).strip()
    except (orjson.JSONDecodeError, KeyError, TypeError, binascii.Error) as error:
        words = f"expected a line of Firehose's with rawData in base64: {type(error).__name__}"
        return Line(number, raw, None, UNREADABLE, words, at)
    arrived = values.get("arrivalTimestamp")
    at = arrived / 1000 if isinstance(arrived, int | float) else at
    try:
        read = envelope.read(record)
    except Unusable as error:
        return Line(number, raw, None, UNREADABLE, f"its record is no envelope: {error}", at)
    return Line(number, record, read, kind_of(values), str(values.get("errorMessage") or ""), at)


def kind_of(values: Mapping[str, Any]) -> str:
    """Of single words: a message may quote the document. The status comes first, and then the type, where the message names one."""
    code = _CODE.fullmatch(str(values.get("errorCode") or ""))
    words = str(values.get("errorMessage") or "")
    try:
        named = orjson.loads(words)
        kind = str(named.get("type") or "") if isinstance(named, dict) else ""
    except orjson.JSONDecodeError:
        kind = ""
    found = _TYPE.search(kind or words)
    return " ".join(filter(None, (code[0] if code else "", found[0] if found else ""))) or "unknown"

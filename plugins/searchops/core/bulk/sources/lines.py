"""Lines of a file of any length, with memory for a block and one line, and the documents that stand on them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import orjson

from searchops.core.bulk.ids import Unfit
from searchops.core.bulk.model import Operation, Unreadable
from searchops.core.bulk.sources.model import KEPT_BYTES, MAX_LINE_BYTES, BadInput, Input, Make

GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib: a gzip header and its checksum
_UNZIPPED_BYTES = 2**20
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Parse = Callable[[bytes, int], Operation]
"""Reads a line that is at a position. Raises ValueError (orjson) or Unfit for a line that is no document."""


class TooLong(NamedTuple):
    """A line over the limit; nobody has held it whole."""

    begins: bytes
    size: int


def read_lines(given: Input, blocks: Iterator[bytes], parse: Parse, start: int) -> Iterator[Operation | Unreadable]:
    """The operations of a file of lines from a position on. Blank lines are no documents, but people count them as lines.

    What comes before the position is read again and not parsed: a gzip file can be entered at its beginning only.

    :raises BadInput: half a gzip file, after the documents that could be read; or fewer or more documents than planned
    """
    number = position = 0
    for lines in split(plain(given.uri, blocks)):
        for line in lines:
            number += 1
            if isinstance(line, bytes) and (not line or line.isspace()):
                continue
            if position >= start:
                yield _read(given.uri, line, number, position, parse)
            position += 1
    if given.documents is not None and position != given.documents:
        raise BadInput(
            f"{given.where}: expected {given.documents:,} documents, as its manifest says, found {position:,}: the file is not whole"
        )


def _read(uri: str, line: bytes | TooLong, number: int, position: int, parse: Parse) -> Operation | Unreadable:
    if isinstance(line, TooLong):
        reason = f"a line of {line.size:,} bytes, at most {MAX_LINE_BYTES:,} are taken"
        return Unreadable(reason, line.begins, f"{uri}:{number}")
    try:
        return parse(line, position)
    except (ValueError, Unfit) as error:
        return Unreadable(str(error), line, f"{uri}:{number}")


def json_parser(make: Make) -> Parse:
    """For a line that is the document: its bytes are passed on as they are."""
    loads = orjson.loads

    def parse(line: bytes, position: int) -> Operation:
        values = loads(line)
        if type(values) is not dict:
            raise Unfit(f"expected a JSON object, found a {type(values).__name__}")
        return make(values, line, position)

    return parse


def split(blocks: Iterable[bytes], max_bytes: int = MAX_LINE_BYTES) -> Iterator[list[bytes | TooLong]]:
    """The lines of blocks, some at a time, without their ends (``\\n`` or ``\\r\\n``); the last one needs no end."""
    held: list[bytes] = []
    size = 0
    for block in blocks:
        first, *rest = block.split(b"\n")
        size += len(first)
        # Of a line that is too long already only the size is still of interest.
        if size <= max_bytes or not held:
            held.append(first)
        elif sum(map(len, held)) > KEPT_BYTES:
            held = [b"".join(held)[:KEPT_BYTES]]
        if not rest:
            continue
        last = rest.pop()
        yield [_line(held, size, max_bytes), *_trimmed(rest, max_bytes)]
        held, size = [last], len(last)
    if size:
        yield [_line(held, size, max_bytes)]


def _line(held: list[bytes], size: int, max_bytes: int) -> bytes | TooLong:
    whole = b"".join(held)
    return whole.removesuffix(b"\r") if size <= max_bytes else TooLong(whole[:KEPT_BYTES], size)


def _trimmed(lines: list[bytes], max_bytes: int) -> list[bytes | TooLong]:
    return [
        (line.removesuffix(b"\r") if len(line) <= max_bytes else TooLong(line[:KEPT_BYTES], len(line)))
        if len(line) > max_bytes or line.endswith(b"\r")
        else line
        for line in lines
    ]


def plain(uri: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The text of a file that may be gzip, without a byte order mark.

    :raises BadInput: half a gzip file, or text in UTF-16
    """
    blocks = _with_beginning(blocks, len(_BOM))
    first = next(blocks, b"")
    text = chain([first], blocks)
    if first.startswith(GZIP):
        text = _with_beginning(gunzip(uri, text), len(_BOM))  # type: ignore[assignment]
        first = next(text, b"")
        text = chain([first], text)
    if first.startswith(_UTF16):
        raise BadInput(f"{uri}: expected UTF-8, found UTF-16: convert the file")
    yield next(text).removeprefix(_BOM)
    yield from text


def _with_beginning(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes, with a first block of at least that size where there are as many."""
    first = b""
    for block in blocks:
        first += block
        if len(first) >= size:
            break
    yield first
    yield from blocks


def gunzip(uri: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a gzip file of one or more members, in blocks of bounded size.

    :raises BadInput: the file ends in the middle, or its bytes are damaged; what was whole has been given before
    """
    member = zlib.decompressobj(_GZIP_WBITS)
    read = 0
    try:
        for block in blocks:
            read += len(block)
            data = block
            while data:
                if member.eof:
                    data = data.lstrip(b"\0")  # padding, as gzip itself allows
                    if not data:
                        break
                    member = zlib.decompressobj(_GZIP_WBITS)
                more = True
                while more:
                    piece = member.decompress(data, _UNZIPPED_BYTES)
                    data = member.unconsumed_tail
                    more = bool(data) or len(piece) == _UNZIPPED_BYTES
                    if piece:
                        yield piece
                data = member.unused_data
    except zlib.error as error:
        raise BadInput(f"{uri}: damaged gzip data in the first {read:,} bytes ({error}): upload the file again") from None
    if not member.eof:
        raise BadInput(
            f"{uri}: half a gzip file: it ends in the middle after {read:,} bytes; upload it whole and start a new run. "
            "Documents that stand before that may be in the index"
        )

"""The bytes of an object in S3, or of a local file: in order as blocks, or anywhere, and always of the version that was planned."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from searchops.core.bulk.sources.model import BadInput, split_uri
from searchops.core.errors import SearchOpsError, TransientError, classify_client_error

BLOCK_BYTES = 2**20
TRIES = 5
"""How often reading is taken up again without a byte in between. botocore's own tries come on top of each."""
_FIRST_PAUSE = 0.25


class Bytes(Protocol):
    """A file whose content is fixed: reading it fails when it is no longer the one that was planned."""

    @property
    def uri(self) -> str: ...

    @property
    def size(self) -> int: ...

    def blocks(self) -> Iterator[bytes]:
        """:raises BadInput: it is gone or another; TransientError: it can not be read now"""

    def read(self, start: int, length: int) -> bytes:
        """Bytes from anywhere, as many as there are up to ``length``."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is there, written at ``modified_at`` (epoch seconds)."""

    uri: str
    etag: str
    bytes: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object by its ETag. A connection that breaks is taken up where it broke, by Range.

    Between blocks the reader may be held up for minutes by a cluster that refuses; S3 closes such a connection.

    :param s3: a boto3 client
    """

    s3: Any
    uri: str
    etag: str
    size: int
    pause: Callable[[float], None] = time.sleep

    def blocks(self) -> Iterator[bytes]:
        at = failures = 0
        while at < self.size:
            body = None
            try:
                body = self._open(at, self.size)
                while block := body.read(BLOCK_BYTES):
                    at, failures = at + len(block), 0
                    yield block
                if at < self.size:
                    raise TransientError(f"{self.uri}: the connection ended after {at:,} of {self.size:,} bytes")
            except Exception as error:
                failures += 1
                self._go_on_or_raise(error, failures, at)
            finally:
                if body is not None:
                    body.close()

    def read(self, start: int, length: int) -> bytes:
        end, failures, got = min(start + length, self.size), 0, b""
        while start + len(got) < end:
            try:
                body = self._open(start + len(got), end)
                try:
                    while block := body.read(BLOCK_BYTES):
                        got, failures = got + block, 0
                finally:
                    body.close()
            except Exception as error:
                failures += 1
                self._go_on_or_raise(error, failures, start + len(got))
        return got

    def _open(self, start: int, end: int) -> Any:
        bucket, key = split_uri(self.uri)
        answer = self.s3.get_object(Bucket=bucket, Key=key, IfMatch=self.etag, Range=f"bytes={start}-{end - 1}")
        if answer["ETag"].strip('"') != self.etag:
            raise changed(self.uri)
        return answer["Body"]

    def _go_on_or_raise(self, error: Exception, failures: int, at: int) -> None:
        told = of_s3(error, self.uri)
        if not isinstance(told, TransientError):
            raise told from error
        if failures >= TRIES:
            raise TransientError(
                f"{self.uri}: not readable from byte {at:,} on after {failures} tries", reason=told.reason
            ) from error
        self.pause(_FIRST_PAUSE * 2 ** (failures - 1))


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine; its ETag is made of size and time of the last change."""

    uri: str
    etag: str
    size: int

    def blocks(self) -> Iterator[bytes]:
        with self._open() as file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def read(self, start: int, length: int) -> bytes:
        with self._open() as file:
            file.seek(start)
            return bytes(file.read(length))

    def _open(self) -> Any:
        if find_local(self.uri).etag != self.etag:
            raise changed(self.uri)
        return Path(self.uri).open("rb")


class Seekable(io.RawIOBase):
    """A file object over `Bytes`, for readers that seek."""

    def __init__(self, content: Bytes) -> None:
        super().__init__()
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        block = self._content.read(self._at, len(buffer))
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)


def open_bytes(s3: Any, uri: str, etag: str, size: int) -> Bytes:
    return S3Object(s3, uri, etag, size) if uri.startswith("s3://") else LocalFile(uri, etag, size)


def find(s3: Any, uri: str) -> Found:
    """:raises BadInput: it is not there"""
    if not uri.startswith("s3://"):
        return find_local(uri)
    bucket, key = split_uri(uri)
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except Exception as error:
        raise of_s3(error, uri) from error
    return Found(uri, head["ETag"].strip('"'), head["ContentLength"], head["LastModified"].timestamp())


def find_local(path: str) -> Found:
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise BadInput(f"{path}: expected a file, found none that can be read ({error.strerror})") from None
    return Found(path, f"{stat.st_mtime_ns:x}-{stat.st_size:x}", stat.st_size, stat.st_mtime)


def find_below(s3: Any, uri: str) -> list[Found]:
    """The objects below a prefix (or the files of a folder) in the order of their names, folders' own objects left out."""
    if not uri.startswith("s3://"):
        return [find_local(str(path)) for path in sorted(Path(uri).rglob("*")) if path.is_file()]
    bucket, prefix = split_uri(uri, prefix=True)
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        entries = [entry for page in pages for entry in page.get("Contents", ())]
    except Exception as error:
        raise of_s3(error, uri) from error
    files = [entry for entry in entries if not entry["Key"].endswith("/")]
    return [
        Found(f"s3://{bucket}/{entry['Key']}", entry["ETag"].strip('"'), entry["Size"], entry["LastModified"].timestamp())
        for entry in files
    ]


def changed(uri: str) -> BadInput:
    return BadInput(
        f"{uri}: another object than the one that was planned (its ETag differs): start a new run for the new content"
    )


def of_s3(error: Exception, uri: str) -> SearchOpsError:
    """An error while reading ``uri``, in the words of whoever wants to load it."""
    answer = getattr(error, "response", None) or {}
    code = str(answer.get("Error", {}).get("Code", ""))
    if code in ("NoSuchKey", "NoSuchBucket", "NotFound", "404"):
        return BadInput(
            f"{uri}: expected an object, found none ({code}): look at the names of bucket and object; a prefix ends with /"
        )
    if code in ("PreconditionFailed", "412", "InvalidRange", "416"):
        return changed(uri)
    return classify_client_error(error)

"""What was handed over: one manifest a hand-over, kept until each of its entries is proved in the index.

A manifest is written once and never changed, so nobody can take away what another one has just added: its key holds a digest of its
content, and a batch that is handed over again has another one.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import orjson

from searchops.core.bulk import places
from searchops.core.bulk.bucket import Bucket
from searchops.core.errors import DataError

FORMAT = 1
FIREHOSE = "firehose"
SPOOL = "spool"


class Entry(NamedTuple):
    """A document that a lane took. Exactly one of version and sequence is set; ``spool`` is the key of its object there."""

    position: int
    id: str
    lane: str
    version: int | None = None
    routing: str | None = None
    sequence: str | None = None
    spool: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """:param written_at: epoch seconds"""

    index: str
    run: str
    input: str
    batch: int
    written_at: float
    entries: Sequence[Entry]

    def to_json(self) -> bytes:
        entries = [{name: value for name, value in entry._asdict().items() if value is not None} for entry in self.entries]
        head = {"format": FORMAT, "index": self.index, "run": self.run, "input": self.input, "batch": self.batch}
        return orjson.dumps({**head, "written_at": self.written_at, "entries": entries})

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """:raises ValueError: not a manifest of this format"""
        try:
            values: dict[str, Any] = orjson.loads(content)
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']!r}, expected {FORMAT}")
            entries = tuple(Entry(**entry) for entry in values["entries"])
            head = {name: values[name] for name in ("index", "run", "input", "batch", "written_at")}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a manifest: {type(error).__name__}: {error}") from error
        return cls(**head, entries=entries)


class Manifests:
    """The manifests of one index."""

    def __init__(self, bucket: Bucket, index: str) -> None:
        self._bucket = bucket
        self.index = index

    def write(self, manifest: Manifest) -> str:
        """
        :return: its key
        :raises TransientError, DataError: it could not be written
        """
        content = manifest.to_json()
        digest = hashlib.sha256(content).hexdigest()[:16]
        key = places.manifest_key(manifest.index, manifest.run, manifest.input, manifest.batch, digest)
        self._bucket.put_once(key, gzip.compress(content, 1, mtime=0))
        return key

    def keys(self, run: str | None = None) -> Iterator[str]:
        for stored in self._bucket.list(places.manifests_prefix(self.index, run)):
            yield stored.key

    def read(self, key: str) -> Manifest | None:
        """
        :return: None where it is gone: another pass has proved it
        :raises DataError: it can not be read
        """
        content = self._bucket.get(key)
        if content is None:
            return None
        try:
            return Manifest.from_json(gzip.decompress(content))
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise DataError(
                f"s3://{self._bucket.name}/{key}: expected a manifest of hand-overs, found none that can be read: what it names can "
                "not be proved; look at the run's ledger and load its input again, then delete the object",
                reason=str(error),
            ) from error

    def remove(self, key: str) -> None:
        self._bucket.delete(key)

"""What a run keeps in the bucket beside its hand-overs: rejected documents, and how far it is."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from searchops.core.bulk import places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.model import Rejected


class RejectedObjects:
    """``rejected/<index>/<run>/<input>/<batch>.ndjson.gz``, a line a document; `effects.RejectedStore`."""

    def __init__(self, s3: Any, bucket: str, *, index: str, run: str, input: str) -> None:
        self._bucket = Bucket(s3, bucket)
        self._place = (index, run, input)

    def keep(self, batch: int, documents: Sequence[Rejected]) -> None:
        content = b"".join(map(_line, documents))
        self._bucket.put(places.rejected_key(*self._place, batch), gzip.compress(content, 6, mtime=0))

    def forget(self, first: int) -> None:
        """Remove what an earlier try kept of this batch and of later ones: they are done again, and what is rejected then is kept anew."""
        index, run, input = self._place
        least = places.rejected_key(index, run, input, first)
        for stored in list(self._bucket.list(places.rejected_prefix(index, run, input))):
            if stored.key >= least:
                self._bucket.delete(stored.key)


def read_rejected(content: bytes) -> Iterator[Rejected]:
    """The documents of one object; none of one that is gone (no bytes)."""
    for line in gzip.decompress(content).splitlines() if content else ():
        values = orjson.loads(line)
        text = values.get("document")
        raw = base64.b64decode(values["document_base64"]) if text is None else text.encode()
        yield Rejected(values["position"], values["id"], values["kind"], values["reason"], raw, values.get("where", ""))


def _line(document: Rejected) -> bytes:
    values: dict[str, Any] = {
        "position": document.position,
        "id": _writable(document.id),
        "kind": document.kind,
        "reason": _writable(document.reason),
        "where": _writable(document.where),
    }
    try:
        values["document"] = document.line.decode()
    except UnicodeDecodeError:
        values["document_base64"] = base64.b64encode(document.line).decode()
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def _writable(text: str) -> str:
    """An id may be rejected for the very reason that UTF-8 can not hold it."""
    return str(text).encode("utf-8", "backslashreplace").decode()


class S3Checkpoints:
    """``checkpoints/<index>/<run>/<input>.json``; `effects.CheckpointStore`."""

    def __init__(self, s3: Any, bucket: str, *, index: str, run: str, input: str) -> None:
        self._bucket = Bucket(s3, bucket)
        self._key = places.checkpoint_key(index, run, input)

    def load(self) -> bytes | None:
        return self._bucket.get(self._key)

    def save(self, checkpoint: bytes) -> None:
        self._bucket.put(self._key, checkpoint)

"""A load in a process of its own, which a test kills."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from opensearchpy import OpenSearch

from searchops.core.bulk import BulkIndexer, Counts, Deletes, Operation, Scheme, Unreadable, VersionScheme, delete, index
from searchops.core.bulk.checkpoints import FileCheckpoints

SCHEME = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")
LINES = 2_000
IDS = 450


def operations(position: int = 0) -> Iterator[Operation | Unreadable]:
    """The same at every reading: ids that come again, newer and older, deletes, and lines that are none."""
    return islice(_lines(), position, None)


def _lines() -> Iterator[Operation | Unreadable]:
    for n in range(LINES):
        id, version = f"d{n * 37 % IDS}", n * 7 % LINES
        if n % 97 == 0:
            yield Unreadable("no JSON", b"?", f"lines:{n}")
        elif n % 11 == 0:
            yield delete(id, version=version)
        else:
            yield index(id, {"n": version, "text": "x" * 50}, version=version)


def expected() -> dict[str, int | None]:
    """Of each id the content of its greatest version; None where that is a delete."""
    newest: dict[str, Operation] = {}
    for line in _lines():
        if isinstance(line, Operation) and (line.id not in newest or (line.version or 0) > (newest[line.id].version or 0)):
            newest[line.id] = line
    return {id: None if line.source is None else line.version for id, line in newest.items()}


def load(url: str, name: str, checkpoints: str) -> Counts:
    """Small batches and quick checkpoints, so that there is much to lose."""
    from searchops.core.bulk import indexer

    indexer.CHECKPOINT_SECONDS = 0.0
    with (
        OpenSearch(url) as client,
        BulkIndexer(client, name, SCHEME, batch_documents=40, concurrency=(1, 4), patience_seconds=60) as bulk,
    ):
        return bulk.run(operations, checkpoints=FileCheckpoints(checkpoints), input="lines")

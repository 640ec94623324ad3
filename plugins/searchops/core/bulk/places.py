"""Where bulk indexing keeps what: the keys of the bucket.

Index names and run ids are quoted as in the keys of reports: as in a URL, but with ``!``, which S3 calls safe in keys, for ``%``,
because run ids hold ``:`` and ``+``. An input is named by `input_name`; its batches count from 0.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import quote, unquote

SPOOL = "spool/"
MANIFESTS = "manifests/"
REJECTED = "rejected/"
LEDGERS = "ledger/"
CHECKPOINTS = "checkpoints/"
RELAXED = "relaxed/"
FIREHOSE_FAILED = "firehose-failed/"
"""Below it, by index, is the prefix that the streams write what the domain has refused to."""
FAILURE_FOLDERS = ("AmazonOpenSearchService-failed", "AmazonOpenSearchService_failed", "elasticsearch_failed")
"""The folder that Firehose adds to the stream's prefix: as the API model, the developer guide and older streams have it."""

REDRIVE = "redrive-"
"""What the input of rejected documents begins with that a redrive wrote; the digest of the object's key follows."""
REDRIVEN_FAILURES = "firehose-failed"
"""Their run, where the object was Firehose's, which knows of no runs."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a key of a manifest, a spool object or a rejected object says."""

    index: str
    run: str
    input: str = ""


def spool_prefix(index: str, run: str | None = None) -> str:
    return _below(SPOOL, index, run)


def spool_key(index: str, run: str, sha256: str) -> str:
    """:param sha256: of the lines before compression, so that equal lines have one object"""
    return f"{spool_prefix(index, run)}{sha256}.ndjson.gz"


def manifests_prefix(index: str, run: str | None = None) -> str:
    return _below(MANIFESTS, index, run)


def manifest_key(index: str, run: str, input: str, batch: int, digest: str) -> str:
    """:param digest: of the content: a batch that is handed over again has another manifest, none is ever written over"""
    return f"{manifests_prefix(index, run)}{_quote(input)}/{batch:08d}-{digest}.json.gz"


def rejected_prefix(index: str, run: str | None = None, input: str | None = None) -> str:
    return _below(REJECTED, index, run) + ("" if input is None else f"{_quote(input)}/")


def rejected_key(index: str, run: str, input: str, batch: int) -> str:
    return f"{rejected_prefix(index, run)}{_quote(input)}/{batch:08d}.ndjson.gz"


def ledgers_prefix(index: str) -> str:
    return _below(LEDGERS, index, None)


def ledger_key(index: str, run: str) -> str:
    return f"{ledgers_prefix(index)}{_quote(run)}.json"


def checkpoint_key(index: str, run: str, input: str) -> str:
    return f"{_below(CHECKPOINTS, index, run)}{_quote(input)}.json"


def relaxed_key(index: str) -> str:
    """What the settings of an index were before a load relaxed them."""
    return f"{RELAXED}{_quote(index)}.json"


def firehose_failed_prefix(index: str) -> str:
    """The prefix that the stream of an index is configured with."""
    return _below(FIREHOSE_FAILED, index, None)


def place_of(key: str) -> Place:
    """
    :raises ValueError: none of the keys made here that name a run
    """
    parts = key.split("/")
    if len(parts) < 3 or not all(parts):
        raise ValueError(f"{key}: expected <kind>/<index>/<run>…")
    run = parts[2].removesuffix(".json") if len(parts) == 3 else parts[2]
    return Place(_unquote(parts[1]), _unquote(run), _unquote(parts[3]) if len(parts) > 4 else "")


def input_name(source: str, part: str = "") -> str:
    """A short stable name of an input.

    :param source: URI of the file
    :param part: what of it is read, e.g. its row groups
    """
    return hashlib.sha256(f"{source}\n{part}".encode()).hexdigest()[:16]


def _below(kind: str, index: str, run: str | None) -> str:
    return f"{kind}{_quote(index)}/" if run is None else f"{kind}{_quote(index)}/{_quote(run)}/"


def _quote(name: str) -> str:
    return quote(name, safe="").replace("%", "!")


def _unquote(name: str) -> str:
    return unquote(name.replace("!", "%"))

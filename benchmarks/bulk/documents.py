"""All entries of JMdict and JMnedict as documents, from the database that the package ``jamdict-data`` installs.

Both are the property of the Electronic Dictionary Research and Development Group (see `local.demo.jmdict`); their data stay under build/.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from local.cloud import ROOT
from local.demo import jmdict

FILE = ROOT / "build" / "bench" / "documents.ndjson"
Document = dict[str, Any]

INDEX_BODY: Mapping[str, Any] = {
    "settings": {"number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "30s"},
    "mappings": {
        "_meta": {"searchops": {"scheme": {"version": "attribute", "attribute": "revision", "deletes": "tombstone"}}},
        "dynamic": "strict",
        "properties": {
            "id": {"type": "keyword"},
            "revision": {"type": "long"},
            "dictionary": {"type": "keyword"},
            "kanji": {"type": "keyword"},
            "readings": {"type": "keyword"},
            "glosses": {"type": "text"},
            "kinds": {"type": "keyword"},
            "related": {"type": "keyword"},
            "common": {"type": "boolean"},
        },
    },
}
"""What is said beside every figure: 2 shards, no replicas, a refresh every 30 s, no Japanese analysis."""

# In the order of the entries, so that names are read as they are written, without all of them in memory.
_NAMES = """
    SELECT e.idseq,
      (SELECT json_group_array(text) FROM (SELECT text FROM NEKanji WHERE idseq = e.idseq ORDER BY ID)),
      (SELECT json_group_array(text) FROM (SELECT text FROM NEKana WHERE idseq = e.idseq ORDER BY ID)),
      (SELECT json_group_array(g.text) FROM NETranslation t JOIN NETransGloss g ON g.tid = t.ID WHERE t.idseq = e.idseq),
      (SELECT json_group_array(k.text) FROM NETranslation t JOIN NETransType k ON k.tid = t.ID WHERE t.idseq = e.idseq)
    FROM NEEntry e ORDER BY e.idseq
"""


def file(path: Path = FILE) -> Path:
    """The documents, one JSON line each, in a fixed order; written when it is not there (half a minute, 200 MB).

    :raises JMdictError: the database is missing
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        with unfinished.open("wb") as out:
            for document in _all():
                out.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        unfinished.rename(path)
    return path


def count(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def read(path: Path, start: int = 0, step: int = 1, limit: int | None = None) -> Iterator[Document]:
    """Every ``step``-th document from ``start``: a sample of both dictionaries."""
    with path.open("rb") as lines:
        for line in islice(lines, start, None if limit is None else start + step * limit, step):
            yield orjson.loads(line)


def version(document: Document) -> int:
    """External versions, for all who write: 1 to 5."""
    return int(document["revision"])


def _all() -> Iterator[Document]:
    for entry in jmdict.entries():
        yield {
            "id": f"jmdict-{entry.id}",
            "revision": 1 + entry.id % 5,
            "dictionary": "jmdict",
            "kanji": entry.kanji,
            "readings": entry.readings,
            "glosses": entry.glosses,
            "related": entry.related,
            "common": entry.common,
        }
    yield from _names(jmdict.database())


def _names(path: Path) -> Iterator[Document]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        for identity, *columns in connection.execute(_NAMES):
            kanji, readings, glosses, kinds = map(_texts, columns)
            yield {
                "id": f"jmnedict-{identity}",
                "revision": 1 + identity % 5,
                "dictionary": "jmnedict",
                "kanji": kanji,
                "readings": readings,
                "glosses": glosses,
                "kinds": kinds,
            }


def _texts(column: str) -> Sequence[str]:
    texts: list[str] = orjson.loads(column)
    return list(dict.fromkeys(texts))

"""Read JMdict, a Japanese-English dictionary, from the database that the package ``jamdict-data`` installs.

JMdict is the property of the Electronic Dictionary Research and Development Group (EDRDG) and is used in conformance with its
licence, CC BY-SA: https://www.edrdg.org/edrdg/licence.html. Its data stay in the installed package and under ``build/``; the
repository holds none of them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ATTRIBUTION = "JMdict, © Electronic Dictionary Research and Development Group, CC BY-SA, https://www.edrdg.org/edrdg/licence.html"

_KANJI = "SELECT idseq, text FROM Kanji ORDER BY ID"
_READINGS = "SELECT idseq, text FROM Kana ORDER BY ID"
_GLOSSES = "SELECT s.idseq, g.text FROM Sense s JOIN SenseGloss g ON g.sid = s.ID WHERE g.lang = 'eng' ORDER BY s.ID, g.rowid"
_REFERENCES = """
    SELECT s.idseq, r.text
    FROM Sense s JOIN (SELECT sid, text, rowid AS at FROM xref UNION ALL SELECT sid, text, rowid FROM antonym) r ON r.sid = s.ID
    ORDER BY s.ID, r.at, r.text
"""
# ichi1, news1, spec1, gai1: JMdict's marks of the words that dictionaries print as common.
_COMMON = """
    SELECT k.idseq FROM Kanji k JOIN KJP p ON p.kid = k.ID WHERE p.text IN ('ichi1', 'news1', 'spec1', 'gai1')
    UNION SELECT k.idseq FROM Kana k JOIN KNP p ON p.kid = k.ID WHERE p.text IN ('ichi1', 'news1', 'spec1', 'gai1')
"""


class JMdictError(RuntimeError):
    """The database is missing or is not the one of jamdict-data."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``kanji`` may be empty, ``readings`` and ``glosses`` never are; ``related`` are spellings that it refers to."""

    id: int
    kanji: tuple[str, ...]
    readings: tuple[str, ...]
    glosses: tuple[str, ...]
    related: tuple[str, ...] = ()
    common: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        return self.kanji + self.readings

    @property
    def headword(self) -> str:
        return self.spellings[0]


def database() -> Path:
    """The database of the installed package; it holds 191,541 entries in version 1.5.

    :raises JMdictError: the package, or the file in it, is missing
    """
    spec = find_spec("jamdict_data")
    if spec is None or spec.origin is None:
        raise JMdictError(
            "expected the Python package jamdict-data (the demo's words), found none: pip install jamdict-data -c constraints.txt"
        )
    return Path(spec.origin).with_name("jamdict.db")


def entries(path: Path | None = None) -> list[Entry]:
    """All entries that have an English gloss, by id, from ``path`` or from the installed package.

    :raises JMdictError: there is no such database, or it lacks a table
    """
    path = path or database()
    if not path.is_file():
        raise JMdictError(f"expected the SQLite database of jamdict-data at {path}, found none: reinstall jamdict-data")
    try:
        # immutable: no lock and no journal beside a file of an installed package, which may be read-only.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            return _read(connection)
    except sqlite3.DatabaseError as error:
        raise JMdictError(
            f"expected the SQLite database of jamdict-data at {path}, found another file ({error}): reinstall jamdict-data"
        ) from error


def _read(connection: sqlite3.Connection) -> list[Entry]:
    kanji, readings, glosses, references = (_grouped(connection, query) for query in (_KANJI, _READINGS, _GLOSSES, _REFERENCES))
    common = {identity for (identity,) in connection.execute(_COMMON)}
    known = {spelling for table in (kanji, readings) for spellings in table.values() for spelling in spellings}
    return [
        Entry(
            id=identity,
            kanji=tuple(kanji.get(identity, ())),
            readings=tuple(readings[identity]),
            glosses=tuple(glosses[identity]),
            related=_related(references.get(identity, ()), known),
            common=identity in common,
        )
        for identity in sorted(glosses)
        if identity in readings
    ]


def _grouped(connection: sqlite3.Connection, query: str) -> Mapping[int, list[str]]:
    grouped: defaultdict[int, list[str]] = defaultdict(list)
    for identity, text in connection.execute(query):
        grouped[identity].append(text)
    return grouped


def _related(references: Collection[str], known: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(spelling for reference in references if (spelling := referred(reference, known))))


def referred(reference: str, known: Collection[str]) -> str | None:
    """The spelling that a cross reference names, or None when no entry has it.

    A reference is a spelling, then maybe a reading, then maybe the number of a sense, all joined by ``・`` (何処・どこ・1), which
    also stands inside spellings (ジャン・バルジャン): the longest known beginning is meant.
    """
    parts = reference.split("・")
    beginnings = ("・".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((beginning for beginning in beginnings if beginning in known), None)

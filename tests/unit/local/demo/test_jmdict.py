from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.demo.jmdict import Entry, JMdictError, database, entries, referred

SCHEMA = """
CREATE TABLE Kanji (ID INTEGER PRIMARY KEY, idseq INTEGER, text TEXT);
CREATE TABLE Kana (ID INTEGER PRIMARY KEY, idseq INTEGER, text TEXT, nokanji BOOLEAN);
CREATE TABLE KJP (kid INTEGER, text TEXT);
CREATE TABLE KNP (kid INTEGER, text TEXT);
CREATE TABLE Sense (ID INTEGER PRIMARY KEY, idseq INTEGER);
CREATE TABLE SenseGloss (sid INTEGER, lang TEXT, gend TEXT, text TEXT);
CREATE TABLE xref (sid INTEGER, text TEXT);
CREATE TABLE antonym (sid INTEGER, text TEXT);
INSERT INTO Kanji VALUES (1, 20, '会う'), (2, 20, '逢う'), (3, 10, '別れる');
INSERT INTO Kana VALUES (1, 20, 'あう', 0), (2, 10, 'わかれる', 0), (3, 30, 'nicht', 0);
INSERT INTO KJP VALUES (1, 'ichi1'), (3, 'nf01');
INSERT INTO Sense VALUES (1, 20), (2, 10), (3, 20), (4, 30);
INSERT INTO SenseGloss VALUES (1, 'eng', '', 'to meet'), (2, 'eng', '', 'to part'), (3, 'eng', '', 'to suffer'), (4, 'ger', '', 'nicht');
INSERT INTO xref VALUES (1, '別れる・わかれる・1'), (1, '知らない言葉・2');
INSERT INTO antonym VALUES (2, '会う'), (2, '会う・1');
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return path


def test_an_entry_has_its_spellings_readings_and_english_glosses_in_the_order_of_the_dictionary(small: Path) -> None:
    part, meet = entries(small)

    assert meet == Entry(20, ("会う", "逢う"), ("あう",), ("to meet", "to suffer"), related=("別れる",), common=True)
    assert meet.spellings == ("会う", "逢う", "あう")
    assert (part.headword, part.related, part.common) == ("別れる", ("会う",), False)


def test_an_entry_without_an_english_gloss_is_left_out(small: Path) -> None:
    assert [entry.id for entry in entries(small)] == [10, 20]


def test_reading_leaves_nothing_beside_the_database(small: Path) -> None:
    entries(small)

    assert list(small.parent.iterdir()) == [small]


def test_a_missing_database_is_named_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(JMdictError, match=rf"{tmp_path}/none\.db, found none: reinstall jamdict-data"):
        entries(tmp_path / "none.db")


@pytest.mark.parametrize("content", [b"not a database at all", b""])
def test_another_file_than_the_database_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(content)

    with pytest.raises(JMdictError, match="found another file"):
        entries(other)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.demo.jmdict.find_spec", lambda name: None)

    with pytest.raises(JMdictError, match="pip install jamdict-data"):
        database()


SPELLINGS = st.text(st.sampled_from("会逢う・アイ"), min_size=1, max_size=6)


@given(SPELLINGS, st.lists(SPELLINGS, max_size=2))
def test_a_reference_means_the_longest_spelling_that_it_begins_with(spelling: str, rest: list[str]) -> None:
    reference = "・".join([spelling, *rest])

    assert referred(reference, {spelling}) == spelling
    assert referred(reference, {spelling, reference}) == reference
    assert referred(reference, set()) is None

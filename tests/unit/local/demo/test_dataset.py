from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.demo import dataset
from local.demo.dataset import PackageIdMissing, Search, generations, render_body
from local.demo.jmdict import Entry

INCLUDE = Path(__file__).parents[4] / "include"
KNOWN = {"高速", "道路", "料金", "栄養", "営養", "人工", "渋滞"}

TOLL = Entry(10, ("渋滞料金",), ("じゅうたいりょうきん",), ("congestion charge",), related=("高速道路", "道路"))
FEEDING = Entry(20, ("人工栄養",), ("じんこうえいよう",), ("artificial feeding",), related=("料金",))
PLAIN = Entry(30, ("平凡",), ("へいぼん",), ("ordinary",))
HIGHWAY = Entry(40, ("高速道路",), ("こうそくどうろ",), ("highway",), common=True)
ROAD = Entry(50, ("道路",), ("どうろ",), ("road",))
FOOD = Entry(60, ("栄養", "営養"), ("えいよう",), ("nutrition",))
ENTRIES = [TOLL, FEEDING, PLAIN, HIGHWAY, ROAD, FOOD]
DOCUMENTS = [TOLL, FEEDING]


def cut(texts: Sequence[str]) -> list[list[str]]:
    """The longest known word at each place, else a character: what a tokenizer with a small dictionary does."""
    found: list[list[str]] = []
    for text in texts:
        tokens: list[str] = []
        while rest := text[sum(map(len, tokens)) :]:
            tokens.append(max((word for word in KNOWN if rest.startswith(word)), key=len, default=rest[0]))
        found.append(tokens)
    return found


def test_entries_that_refer_to_others_become_documents_first() -> None:
    assert dataset.document_entries(ENTRIES[::-1], 3) == [TOLL, FEEDING, PLAIN]


def test_a_document_holds_the_words_that_its_entry_refers_to_as_terms_but_not_as_text() -> None:
    document = dataset.document(TOLL)

    assert (document["pk"], document["sk"], document["revision"]) == ("10", "entry", 1)
    assert document["terms"] == ["渋滞料金", "じゅうたいりょうきん", "高速道路", "道路"]
    assert document["text"] == "渋滞料金、じゅうたいりょうきん"


def test_a_compound_that_a_document_refers_to_and_the_engine_cuts_becomes_a_word() -> None:
    (search,) = dataset.user_dictionary_searches(ENTRIES, DOCUMENTS, cut)

    assert search == Search("user-dictionary", "高速道路", "10|entry", "高速道路,高速道路,コウソクドウロ,カスタム名詞")


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param([TOLL, HIGHWAY], id="it is the entry of a document"),
        pytest.param([TOLL, Entry(11, ("新高速道路網",), ("x",), ("x",))], id="the text of a document holds it"),
        pytest.param([FEEDING], id="no document refers to it"),
        pytest.param([Entry(12, ("道路の高速化",), ("x",), ("x",), related=("高速道路",))], id="its pieces find the document"),
    ],
)
def test_a_compound_is_no_word_when(documents: list[Entry]) -> None:
    assert dataset.user_dictionary_searches(ENTRIES, documents, cut) == []


def test_another_spelling_of_a_word_in_a_headword_becomes_a_line_and_the_rewritten_headword_its_search() -> None:
    (search,) = dataset.synonym_searches(ENTRIES, DOCUMENTS, cut)

    assert search == Search("synonyms", "人工営養", "20|entry", "栄養, 営養")


@pytest.mark.parametrize(
    ("documents", "avoid"),
    [
        pytest.param([TOLL], [], id="no headword holds one of them"),
        pytest.param([FEEDING, FOOD], [], id="they are the entry of a document"),
        pytest.param([Entry(20, ("人工栄養", "人工営養"), ("x",), ("x",))], [], id="the document has both"),
        pytest.param([FEEDING], ["人工営"], id="the search holds a word of the user dictionary"),
        pytest.param([Entry(21, ("栄養栄養",), ("x",), ("x",))], [], id="the headword holds one twice"),
    ],
)
def test_spellings_are_no_line_when(documents: list[Entry], avoid: list[str]) -> None:
    assert dataset.synonym_searches(ENTRIES, documents, cut, avoid) == []


def test_no_spelling_stands_in_two_lines() -> None:
    other = Entry(61, ("栄養", "滋養"), ("x",), ("x",))

    lines = [search.line for search in dataset.synonym_searches([*ENTRIES, other], DOCUMENTS, cut)]

    assert lines == ["栄養, 営養"]


JAPANESE = st.text(st.characters(min_codepoint=0x3041, max_codepoint=0x3096), min_size=1, max_size=12)


@given(JAPANESE, JAPANESE)
def test_a_line_of_the_user_dictionary_makes_its_word_one_segment_with_one_reading_in_katakana(word: str, reading: str) -> None:
    text, segments, readings, _ = dataset.user_dictionary_line(word, reading).split(",")

    assert text == segments == word
    assert len(readings) == len(reading)
    assert not any("ぁ" <= character <= "ゖ" for character in readings)


def searches(count: int) -> list[Search]:
    return [Search("synonyms", f"search {n}", f"{n}|entry", f"a{n}, b{n}") for n in range(count)]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4, unique=True).map(sorted))
def test_each_generation_contains_the_one_before_and_searches_its_new_lines_only(sizes: list[int]) -> None:
    made = generations(searches(sizes[-1]), sizes)

    assert [len(generation.content.splitlines()) for generation in made] == sizes
    for before, after in pairwise(made):
        assert after.content.startswith(before.content)
    assert [search for generation in made for search in generation.searches] == searches(sizes[-1])


def test_generations_need_more_lines_than_all_but_the_last_hold() -> None:
    with pytest.raises(ValueError, match="expected more than 5 lines for 3 generations, found 5"):
        generations(searches(5), (2, 5, 9))


def test_the_refused_dictionaries_name_the_line_that_is_wrong() -> None:
    words = dataset.refuse_user_dictionary("高速道路,…\n参考書,…\n".encode())
    spellings = dataset.refuse_synonyms("栄養, 営養\n果物, 菓物\n".encode())

    assert (words.line, words.text, words.content.decode().splitlines()[2]) == (3, "高速道路,…", "高速道路,…")
    assert (spellings.line, spellings.text) == (3, "栄養 => 営養 => 栄養")
    assert spellings.content.decode().splitlines()[2] == spellings.text


def test_an_index_body_gets_the_ids_of_its_packages() -> None:
    body = render_body(
        (INCLUDE / "indexes" / "products.json").read_text(encoding="utf-8"), {"user-dictionary": "F1", "synonyms": "F2"}
    )

    assert body["settings"]["analysis"]["tokenizer"]["ja_queries"]["user_dictionary"] == "analyzers/F1"
    assert body["settings"]["analysis"]["filter"]["spellings"]["synonyms_path"] == "analyzers/F2"
    assert body["mappings"]["_meta"] == {"searchops": {}}
    assert "${" not in json.dumps(body)


def test_an_index_body_that_names_an_unknown_package_is_an_error_that_says_which() -> None:
    with pytest.raises(PackageIdMissing, match=r"'synonyms'.*found ids of \['user-dictionary'\]"):
        render_body('{"path": "analyzers/${synonyms}"}', {"user-dictionary": "F1"})

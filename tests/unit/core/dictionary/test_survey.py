from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from searchops.core.dictionary import survey
from searchops.core.dictionary.model import IndexPolicy, Kind, Probe, Remedy, UseMode, sha256
from searchops.core.dictionary.survey import DomainRules

A, B, C = sha256(b"a"), sha256(b"b"), sha256(b"c")
FILE, WORDS = "analyzers/F1", "analyzers/F2"
KINDS = {"synonyms": Kind.SYNONYMS, "words": Kind.KUROMOJI_USER_DICTIONARY, "stop": Kind.STOPWORDS}
MAY_REOPEN = IndexPolicy(on_search_time_use=Remedy.REOPEN, on_index_time_use=Remedy.REOPEN, may_be_closed=True)


def definition(
    recorded: Mapping[str, Any] | None = None, *, updateable: bool = False, aliases: tuple[str, ...] = (), **index: Any
) -> dict[str, Any]:
    """An index with kuromoji, a user dictionary and synonyms on its analyzer ``a``."""
    analysis = {
        "analyzer": {"a": {"tokenizer": "ja", "filter": ["synonyms"]}, "plain": {"tokenizer": "standard"}},
        "tokenizer": {"ja": {"type": "kuromoji_tokenizer", "user_dictionary": WORDS}},
        "filter": {
            "synonyms": {"type": "synonym_graph", "synonyms_path": FILE, **({"updateable": "true"} if updateable else {})}
        },
    }
    mappings = {"_meta": {"searchops": {"dictionaries": recorded}}} if recorded is not None else {}
    return {
        "aliases": {alias: {} for alias in aliases},
        "settings": {"index": {"analysis": analysis, **index}},
        "mappings": mappings,
    }


def uses(definitions: Mapping[str, Any], key: str = "synonyms", path: str = FILE, **policies: IndexPolicy) -> list[Any]:
    return survey.uses(definitions, key, path, DomainRules(KINDS, policies))


@pytest.mark.parametrize(
    ("mode", "policy", "remedy"),
    [
        (UseMode.AUTOMATIC, IndexPolicy(), Remedy.RELOAD),
        (UseMode.AUTOMATIC, MAY_REOPEN, Remedy.RELOAD),
        (UseMode.SEARCH_TIME, IndexPolicy(), Remedy.REPORT),
        (UseMode.SEARCH_TIME, MAY_REOPEN, Remedy.REOPEN),
        (UseMode.SEARCH_TIME, IndexPolicy(on_search_time_use=Remedy.REOPEN), Remedy.REPORT),
        (UseMode.INDEX_TIME, IndexPolicy(), Remedy.REBUILD),
        (UseMode.INDEX_TIME, MAY_REOPEN, Remedy.REOPEN),
        (UseMode.INDEX_TIME, IndexPolicy(on_index_time_use=Remedy.REOPEN), Remedy.REBUILD),
    ],
)
def test_an_index_is_closed_only_where_the_inventory_says_so_and_nothing_forbids_it(mode, policy, remedy):
    assert survey.remedy(mode, policy) is remedy


def test_every_index_that_uses_the_dictionary_is_told_in_the_order_of_its_name():
    found = uses({"b": definition(), "c": {"settings": {}}, "a": definition(updateable=True)})

    assert [(use.index, use.mode, use.analyzers) for use in found] == [
        ("a", UseMode.AUTOMATIC, ("a",)),
        ("b", UseMode.SEARCH_TIME, ("a",)),
    ]


def test_the_inventory_may_name_an_index_by_its_alias():
    definitions = {"products-7": definition(aliases=("products",)), "products-8": definition(), "items": definition()}

    found = uses(definitions, products=MAY_REOPEN, items=MAY_REOPEN)

    assert {use.index: use.remedy for use in found} == {
        "items": Remedy.REOPEN,
        "products-7": Remedy.REOPEN,
        "products-8": Remedy.REPORT,
    }


def test_what_an_index_was_last_given_is_read_from_its_meta():
    (use,) = uses({"items": definition({"synonyms": {"applied": A, "documents": B, "requested": C}})})

    assert (use.applied, use.documents, use.requested) == (A, B, C)


def test_an_index_of_which_nothing_is_recorded_was_given_nothing():
    (use,) = uses({"items": definition()})

    assert (use.applied, use.documents, use.requested, use.beside_now) == (None, None, None, {})
    assert use.pending(A)


@pytest.mark.parametrize("meta", [None, {}, {"owner": "shop"}, {"searchops": None}, {"searchops": {"version": "attribute"}}])
def test_a_meta_without_dictionaries_of_ours_is_no_obstacle(meta):
    index = definition()
    index["mappings"]["_meta"] = meta

    (use,) = uses({"items": index})

    assert use.applied is None


def test_a_user_dictionary_on_the_same_analyzers_is_part_of_what_synonyms_mean():
    recorded = {"synonyms": {"applied": A, "beside": {"words": B}}, "words": {"applied": C, "path": WORDS}}

    (use,) = uses({"items": definition(recorded)})

    assert (use.beside, use.beside_now) == ({"words": B}, {"words": C})
    assert use.pending(A)


def test_a_user_dictionary_means_the_same_whatever_the_synonyms_are():
    recorded = {"synonyms": {"applied": A, "path": FILE}, "words": {"applied": C, "path": WORDS}}

    (use,) = uses({"items": definition(recorded)}, "words", WORDS)

    assert use.beside_now == {}
    assert not use.pending(C)


@pytest.mark.parametrize(
    "record",
    [
        {"words": {"applied": C, "path": "analyzers/F9"}},
        {"words": {"path": WORDS}},
        {"words": {"applied": C}},
        {"stop": {"applied": C, "path": WORDS}},
        {"unknown": {"applied": C, "path": WORDS}},
    ],
    ids=["other file", "never applied", "no path", "no user dictionary", "not in the inventory"],
)
def test_what_is_no_user_dictionary_of_these_analyzers_is_not_beside(record):
    (use,) = uses({"items": definition({"synonyms": {"applied": A}, **record})})

    assert use.beside_now == {}


def test_the_files_of_analyzers_are_those_that_were_applied_to_them():
    recorded = {"synonyms": {"applied": A, "path": FILE}, "words": {"applied": B, "path": WORDS}, "stop": {"applied": C}}
    index = definition(recorded)

    assert survey.files_of(index, ("a",)) == {FILE: "synonyms", WORDS: "words"}
    assert survey.files_of(index, ("plain",)) == {}


def test_a_closed_index_waits_for_nothing():
    (use,) = uses({"items": definition(verified_before_close="true")})

    assert use.closed
    assert not use.pending(A)


def test_an_index_is_ours_to_open_only_where_a_run_of_ours_noted_that_it_closes_it():
    left, closed, never = definition(verified_before_close="true"), definition(verified_before_close="true"), definition({})
    left["mappings"]["_meta"] = {
        "searchops": {"reopening": {"by": "dictionary_sync_products run_1", "at": "2026-01-01T03:00:00+00:00"}}
    }

    assert [survey.left_reopening(index) for index in (left, closed, never)] == [True, False, False]


def test_an_index_is_probed_with_what_is_said_of_its_name_and_of_its_aliases():
    words, more, others = Probe("a", "x", ("y",)), Probe("a", "z", ("z",)), Probe("b", "x", ("y",))
    rules = DomainRules(KINDS, probes={"items": [words], "products": [more], "others": [others]})

    assert rules.probes_of("items", definition(aliases=("products",))) == [words, more]


def test_what_one_of_two_entries_for_an_index_forbids_is_not_done():
    ingested = IndexPolicy(on_search_time_use=Remedy.REOPEN, may_be_closed=False)

    (use,) = uses({"items": definition(aliases=("products", "products-etl"))}, products=MAY_REOPEN, **{"products-etl": ingested})

    assert use.remedy is Remedy.REPORT

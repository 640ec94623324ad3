from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.dictionary.analysis import Use, file_analyzers, inline, splits_compounds, use_of
from searchops.core.dictionary.model import UseMode
from searchops.core.errors import DataError

FILE = "analyzers/F1"
AUTOMATIC, SEARCH_TIME, INDEX_TIME = UseMode.AUTOMATIC, UseMode.SEARCH_TIME, UseMode.INDEX_TIME

UPDATEABLE = {"type": "synonym_graph", "synonyms_path": FILE, "updateable": "true"}
FIXED = {"type": "synonym", "synonyms_path": FILE}
STOP = {"type": "stop", "stopwords_path": FILE}
KUROMOJI = {"type": "kuromoji_tokenizer", "user_dictionary": FILE}


def index(analysis: Mapping[str, Any], mappings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"settings": {"index": {"analysis": dict(analysis)}}, "mappings": dict(mappings or {})}


def searched(reader: Mapping[str, Any], kind: str = "filter", **mappings: Any) -> dict[str, Any]:
    """An index with an analyzer ``a`` that reads the file by a component, and whatever its fields are."""
    analyzer = {"tokenizer": "reader"} if kind == "tokenizer" else {"tokenizer": "standard", kind: ["lowercase", "reader"]}
    return index({"analyzer": {"a": {"type": "custom", **analyzer}}, kind: {"reader": reader}}, mappings)


def holding(**outer: Any) -> dict[str, Any]:
    return index({"analyzer": {"a": {"tokenizer": "standard", "filter": ["outer"]}}, "filter": {"outer": outer, "inner": FIXED}})


TEXT_A = {"type": "text", "analyzer": "a"}
BY_SEARCH = {"type": "text", "analyzer": "standard", "search_analyzer": "a"}

DEFINITIONS: Mapping[str, tuple[UseMode | None, dict[str, Any]]] = {
    "updateable synonyms that only searching uses": (AUTOMATIC, searched(UPDATEABLE, properties={"name": BY_SEARCH})),
    "an updateable flag that is a boolean": (AUTOMATIC, searched({**UPDATEABLE, "updateable": True})),
    "updateable keyword_marker": (AUTOMATIC, searched({"type": "keyword_marker", "keywords_path": FILE, "updateable": "true"})),
    "synonyms that are not updateable": (SEARCH_TIME, searched(FIXED, properties={"name": BY_SEARCH})),
    "updateable false": (SEARCH_TIME, searched({**UPDATEABLE, "updateable": "false"})),
    "a stop filter that calls itself updateable": (SEARCH_TIME, searched({**STOP, "updateable": "true"})),
    "a tokenizer that calls itself updateable": (SEARCH_TIME, searched({**KUROMOJI, "updateable": "true"}, "tokenizer")),
    "a char filter": (SEARCH_TIME, searched({"type": "mapping", "mappings_path": FILE}, "char_filter")),
    "a field's analyzer without a search analyzer": (INDEX_TIME, searched(STOP, properties={"name": TEXT_A})),
    "a field's analyzer beside a search analyzer": (
        INDEX_TIME,
        searched(STOP, properties={"name": {**TEXT_A, "search_analyzer": "standard"}}),
    ),
    "a search_quote_analyzer": (
        SEARCH_TIME,
        searched(STOP, properties={"name": {"type": "text", "analyzer": "standard", "search_quote_analyzer": "a"}}),
    ),
    "an analyzer that no field names": (SEARCH_TIME, searched(STOP, properties={"name": {"type": "text"}})),
    "a sub-field": (INDEX_TIME, searched(STOP, properties={"name": {"type": "keyword", "fields": {"ja": TEXT_A}}})),
    "a field of an object": (INDEX_TIME, searched(STOP, properties={"maker": {"properties": {"name": TEXT_A}}})),
    "a field of a nested object of an object": (
        INDEX_TIME,
        searched(STOP, properties={"a": {"properties": {"b": {"type": "nested", "properties": {"c": TEXT_A}}}}}),
    ),
    "a dynamic template": (
        INDEX_TIME,
        searched(
            STOP, dynamic_templates=[{"ids": {"mapping": {"type": "keyword"}}}, {"texts": {"match": "*", "mapping": TEXT_A}}]
        ),
    ),
    "a sub-field of a dynamic template": (
        INDEX_TIME,
        searched(STOP, dynamic_templates=[{"texts": {"mapping": {"type": "text", "fields": {"ja": TEXT_A}}}}]),
    ),
    "search_as_you_type": (INDEX_TIME, searched(STOP, properties={"name": {"type": "search_as_you_type", "analyzer": "a"}})),
    "the default analyzer of the index": (
        INDEX_TIME,
        index({"analyzer": {"default": {"tokenizer": "standard", "filter": ["reader"]}}, "filter": {"reader": STOP}}),
    ),
    "the default search analyzer of the index": (
        SEARCH_TIME,
        index({"analyzer": {"default_search": {"tokenizer": "standard", "filter": ["reader"]}}, "filter": {"reader": STOP}}),
    ),
    "updateable default search analyzer": (
        AUTOMATIC,
        index(
            {"analyzer": {"default_search": {"tokenizer": "standard", "filter": ["reader"]}}, "filter": {"reader": UPDATEABLE}}
        ),
    ),
    "a filter that is named without a list": (
        SEARCH_TIME,
        index({"analyzer": {"a": {"tokenizer": "standard", "filter": "reader"}}, "filter": {"reader": STOP}}),
    ),
    "filters that are one text with commas": (
        SEARCH_TIME,
        index({"analyzer": {"a": {"tokenizer": "standard", "filter": "lowercase, reader"}}, "filter": {"reader": STOP}}),
    ),
    "an analyzer of the engine with a file of its own": (
        SEARCH_TIME,
        index({"analyzer": {"a": {"type": "kuromoji", "user_dictionary": FILE}}}),
    ),
    "an analyzer of the engine with a file, at index time": (
        INDEX_TIME,
        index({"analyzer": {"a": {"type": "stop", "stopwords_path": FILE}}}, {"properties": {"name": TEXT_A}}),
    ),
    "a condition around the reader": (SEARCH_TIME, holding(type="condition", filter=["inner"], script={"source": "true"})),
    "a multiplexer around the reader": (SEARCH_TIME, holding(type="multiplexer", filters=["lowercase", "trim, inner"])),
    "an updateable and a fixed reader": (
        SEARCH_TIME,
        index(
            {
                "analyzer": {"a": {"tokenizer": "t", "filter": ["one"]}, "b": {"tokenizer": "standard", "filter": ["two"]}},
                "filter": {"one": UPDATEABLE, "two": FIXED},
            }
        ),
    ),
    "a search analyzer and an index analyzer": (
        INDEX_TIME,
        index(
            {
                "analyzer": {
                    "a": {"tokenizer": "standard", "filter": ["one"]},
                    "b": {"tokenizer": "standard", "filter": ["two"]},
                },
                "filter": {"one": UPDATEABLE, "two": FIXED},
            },
            {"properties": {"name": {"type": "text", "analyzer": "b", "search_analyzer": "a"}}},
        ),
    ),
    "an analyzer that reads another package's file": (None, searched({**STOP, "stopwords_path": "analyzers/F11"})),
    "a filter that no analyzer names": (None, index({"analyzer": {"a": {"tokenizer": "standard"}}, "filter": {"reader": STOP}})),
    "a normalizer, which the engine lets read no dictionary": (
        None,
        index({"normalizer": {"n": {"filter": ["lowercase"]}}, "filter": {"reader": STOP}}),
    ),
    "no analysis": (None, {"settings": {"index": {}}, "mappings": {"properties": {"name": {"type": "text"}}}}),
    "nothing": (None, {}),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_how_an_index_uses_a_dictionary_follows_from_its_settings(name):
    mode, definition = DEFINITIONS[name]

    use = use_of(definition, FILE)

    assert (use.mode if use else None) is mode


def test_filters_within_filters_are_found_at_any_depth():
    definition = holding(type="multiplexer", filters=["middle"])
    definition["settings"]["index"]["analysis"]["filter"]["middle"] = {"type": "condition", "filter": ["inner"]}

    assert use_of(definition, FILE) == Use(("a",), SEARCH_TIME)


def test_every_analyzer_that_reads_the_file_is_named():
    analyzers = {name: {"tokenizer": "standard", "filter": ["reader"]} for name in ("one", "two", "three")}

    assert use_of(
        index({"analyzer": {**analyzers, "plain": {"tokenizer": "standard"}}, "filter": {"reader": STOP}}), FILE
    ) == Use(("one", "two", "three"), SEARCH_TIME)


names = st.sampled_from(["other", "second", "third"])
# None reads the file, and no analyzer of theirs has a name that another definition's field uses.
unrelated_analyzers = st.dictionaries(
    names, st.fixed_dictionaries({"tokenizer": st.sampled_from(["standard", "keyword"]), "filter": st.just(["lowercase"])})
)
unrelated_fields = st.recursive(
    st.sampled_from([{"type": "keyword"}, {"type": "text"}, {"type": "text", "analyzer": "english"}, {"type": "date"}]),
    lambda inner: st.builds(lambda fields: {"properties": fields}, st.dictionaries(names, inner, min_size=1)),
    max_leaves=5,
)


@given(st.sampled_from(sorted(DEFINITIONS)), unrelated_analyzers, st.dictionaries(names, unrelated_fields), st.booleans())
def test_what_has_nothing_to_do_with_a_dictionary_changes_nothing_of_its_use(name, analyzers, fields, first):
    definition = deepcopy(DEFINITIONS[name][1])
    before = use_of(definition, FILE)

    analysis = definition.setdefault("settings", {}).setdefault("index", {}).setdefault("analysis", {})
    own = analysis.get("analyzer", {})
    analysis["analyzer"] = {**analyzers, **own} if first else {**own, **analyzers}
    mappings = definition.setdefault("mappings", {})
    mappings["properties"] = {**fields, **mappings.get("properties", {})}

    assert use_of(definition, FILE) == before


# -- inline --------------------------------------------------------------------------------------------------------------------


def test_a_file_is_written_inline_in_its_place_and_everything_else_is_named():
    definition = index(
        {
            "analyzer": {"a": {"tokenizer": "ja", "filter": ["lowercase", "synonyms", "own"], "char_filter": ["html_strip"]}},
            "tokenizer": {"ja": {"type": "kuromoji_tokenizer", "mode": "normal", "user_dictionary": "analyzers/F2"}},
            "filter": {"synonyms": {**UPDATEABLE, "lenient": "true"}, "own": {"type": "stop", "stopwords": ["x"]}},
        }
    )

    assert inline(definition, "a", {FILE: ["a, b", "c => d"]}) == {
        "tokenizer": "ja",
        "filter": ["lowercase", {"type": "synonym_graph", "lenient": "true", "synonyms": ["a, b", "c => d"]}, "own"],
        "char_filter": ["html_strip"],
    }


@pytest.mark.parametrize(
    ("kind", "reader", "setting"),
    [
        ("filter", UPDATEABLE, "synonyms"),
        ("filter", STOP, "stopwords"),
        ("filter", {"type": "keyword_marker", "keywords_path": FILE}, "keywords"),
        ("filter", {"type": "keep", "keep_words_path": FILE}, "keep_words"),
        ("filter", {"type": "common_grams", "common_words_path": FILE}, "common_words"),
        ("tokenizer", KUROMOJI, "user_dictionary_rules"),
    ],
)
def test_each_kind_of_file_has_a_setting_that_takes_its_lines(kind, reader, setting):
    body = inline(searched(reader, kind), "a", {FILE: ["x"]})

    written = body["tokenizer"] if kind == "tokenizer" else body["filter"][1]
    assert written == {"type": reader["type"], setting: ["x"]}


def test_two_files_of_one_analyzer_are_both_written():
    definition = index(
        {
            "analyzer": {"a": {"tokenizer": "ja", "filter": ["synonyms"]}},
            "tokenizer": {"ja": {"type": "kuromoji_tokenizer", "user_dictionary": "analyzers/F2"}},
            "filter": {"synonyms": UPDATEABLE},
        }
    )

    assert inline(definition, "a", {FILE: ["a, b"], "analyzers/F2": []}) == {
        "tokenizer": {"type": "kuromoji_tokenizer", "user_dictionary_rules": []},
        "filter": [{"type": "synonym_graph", "synonyms": ["a, b"]}],
    }


def test_a_file_whose_lines_are_not_given_stays_named_and_is_read_by_the_engine():
    assert inline(searched(UPDATEABLE), "a", {FILE: None}) == {
        "tokenizer": "standard",
        "filter": ["lowercase", {"type": "synonym_graph", "synonyms_path": FILE}],
    }


@pytest.mark.parametrize(
    "definition",
    [
        holding(type="condition", filter=["inner"], script={"source": "true"}),
        holding(type="multiplexer", filters=["trim, inner"]),
    ],
)
def test_a_reader_inside_another_filter_can_not_be_compared_which_is_said_instead_of_comparing_the_old_with_itself(definition):
    with pytest.raises(DataError, match=r"filter outer is of type .* put the filter into the analyzer itself in the index body"):
        inline(definition, "a", {FILE: ["a, b"]})


def test_a_filter_that_holds_no_reader_of_the_dictionary_is_named():
    assert inline(holding(type="multiplexer", filters=["trim, inner"]), "a", {"analyzers/F2": ["x"]})["filter"] == ["outer"]


def test_an_analyzer_of_the_engine_can_not_be_compared_and_the_error_says_what_to_do():
    with pytest.raises(DataError, match=r'analyzer a is of type "kuromoji": expected a custom analyzer .* rewrite it as custom'):
        inline(index({"analyzer": {"a": {"type": "kuromoji", "user_dictionary": FILE}}}), "a", {FILE: []})


def test_what_opening_an_index_builds_is_every_custom_analyzer_with_a_file():
    definition = index(
        {
            "analyzer": {
                "plain": {"tokenizer": "standard"},
                "typed": {"type": "stop", "stopwords_path": FILE},
                "one": {"tokenizer": "standard", "filter": ["synonyms"]},
                "two": {"tokenizer": "ja"},
                "held": {"tokenizer": "standard", "filter": ["outer"]},
            },
            "tokenizer": {"ja": {"type": "kuromoji_tokenizer", "user_dictionary": "analyzers/F2"}},
            "filter": {"synonyms": UPDATEABLE, "outer": {"type": "multiplexer", "filters": ["synonyms"]}},
        }
    )

    assert file_analyzers(definition) == {
        "one": {"tokenizer": "standard", "filter": [{"type": "synonym_graph", "synonyms_path": FILE}]},
        "two": {"tokenizer": {"type": "kuromoji_tokenizer", "user_dictionary": "analyzers/F2"}},
        "held": {"tokenizer": "standard", "filter": ["outer"]},
    }


@pytest.mark.parametrize(
    ("tokenizer", "splits"),
    [
        ({"type": "kuromoji_tokenizer"}, True),
        ({"type": "kuromoji_tokenizer", "mode": "search"}, True),
        ({"type": "kuromoji_tokenizer", "mode": "extended"}, True),
        ({"type": "kuromoji_tokenizer", "mode": "normal"}, False),
        ({"type": "kuromoji_tokenizer", "discard_compound_token": "true"}, False),
        ({"type": "kuromoji_tokenizer", "discard_compound_token": "false"}, True),
        ({"type": "standard"}, False),
    ],
)
def test_kuromoji_splits_compounds_unless_it_is_told_not_to(tokenizer, splits):
    definition = index({"analyzer": {"a": {"tokenizer": "t"}}, "tokenizer": {"t": tokenizer}})

    assert splits_compounds(definition, "a") is splits


def test_the_engines_own_kuromoji_tokenizer_splits_compounds():
    assert splits_compounds(index({"analyzer": {"a": {"tokenizer": "kuromoji_tokenizer"}}}), "a")

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulators.http import Server, json_response
from searchops.core.dictionary import proof
from searchops.core.dictionary.model import Kind, Probe
from searchops.core.dictionary.node import Node, Refused
from searchops.core.dictionary.proof import Effect, Expectation, Mismatch, NotServed
from tests.unit.small_world import SYNONYMS, UPDATEABLE, analysis
from tests.unit.tiny_node import TinyNode

FILE = "analyzers/F100000001"


def definition(tiny: TinyNode, name: str = "items") -> dict:
    return tiny.indexes[name].definition()


@pytest.fixture
def items(tiny: TinyNode) -> TinyNode:
    """An index that opened with one group of synonyms."""
    tiny.files[FILE] = b"a, b\n"
    tiny.index("items", analysis(UPDATEABLE))
    return tiny


def test_what_an_index_has_to_give_comes_from_the_new_lines_and_not_from_the_file(items, node):
    found = proof.expect(node, "items", definition(items), "a", ["a", "c"], {FILE: ["a, b"]}, {FILE: ["a, c"]})

    assert [proof.terms(tokens) for tokens in found.tokens] == [("a", "c"), ("a", "c")]
    assert found.effects == (Effect("a", ("a", "b"), ("a", "c")), Effect("c", ("c",), ("a", "c")))


def test_lines_that_change_nothing_have_no_effect(items, node):
    found = proof.expect(node, "items", definition(items), "a", ["a"], {FILE: ["a, b"]}, {FILE: ["b, a"]})

    assert found.effects == ()


def test_an_index_with_the_new_tokens_has_no_mismatch_and_one_with_the_old_has(items, node):
    expected = proof.expect(node, "items", definition(items), "a", ["x", "a"], {FILE: []}, {FILE: ["a, c"]})

    assert proof.mismatches(node, expected) == [Mismatch("a", ("a", "c"), ("a", "b"))]
    items.install("F100000001", b"a, c\n", reload=True)
    assert proof.mismatches(node, expected) == []


def test_one_of_several_nodes_that_lags_is_found(items):
    items.data_nodes = 2
    answers = [["a", "c"], ["a", "c"], ["a", "c"], ["a", "b"]]  # the second copy answers in the fourth request only
    token = {"start_offset": 0, "end_offset": 1, "position": 0}
    items.application.route(
        "POST", "/items/_analyze", lambda _: json_response({"tokens": [{"token": t, **token} for t in answers.pop(0)]})
    )
    expected = Expectation("items", "a", ("a",), ((("a", 0, 1), ("c", 0, 1)),))

    with Server(items.application) as server:
        from opensearchpy import OpenSearch

        assert proof.mismatches(Node(OpenSearch(server.url, max_retries=0)), expected) == [Mismatch("a", ("a", "c"), ("a", "b"))]


def test_a_mismatch_is_told_with_the_first_text_and_how_many_there_are():
    expected = Expectation("items", "a", ("a", "b", "c"), ())

    with pytest.raises(
        NotServed, match=r"items does not serve .* analyzer a gives other tokens for 2 of 3 texts, e\.g\. for 'b'"
    ):
        proof.require_served([Mismatch("b", ("x",), ("y",)), Mismatch("c", ("x",), ("y",))], expected)
    proof.require_served([], expected)


def test_a_dictionary_that_the_indexs_own_analyzer_refuses_is_told_with_the_engines_reason(items, node):
    with pytest.raises(
        Refused, match=r"^synonyms \(file\): analyzer a of index items does not build: .*explicit mapping: a => b => c$"
    ):
        proof.compile_on(node, "items", definition(items), ["a"], {FILE: ["a => b => c"]}, "synonyms (file)")


@pytest.mark.parametrize(
    ("tokenizer", "hint"),
    [
        ({"type": "kuromoji_tokenizer"}, True),
        ({"type": "kuromoji_tokenizer", "mode": "normal"}, False),
        ({"type": "standard"}, False),
    ],
)
def test_synonyms_behind_a_kuromoji_that_splits_compounds_are_told_what_to_set(tiny, node, tokenizer, hint):
    settings = analysis(SYNONYMS)
    settings["analyzer"]["a"]["tokenizer"] = "t"
    settings["tokenizer"] = {"t": tokenizer}
    tiny.index("items", settings)

    with pytest.raises(Refused) as caught:
        proof.compile_on(node, "items", definition(tiny), ["a"], {FILE: ["a => b => c"]}, "synonyms")

    assert ('set "discard_compound_token": true' in str(caught.value)) is hint


def test_files_that_do_not_build_keep_an_index_from_being_closed(items, node):
    proof.compile_files(node, "items", definition(items))
    items.files[FILE] = b"a => b => c\n"

    with pytest.raises(
        Refused, match="index items is not closed, because it could not be opened again: analyzer a does not build"
    ):
        proof.compile_files(node, "items", definition(items))


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (Kind.SYNONYMS, ["a => b => c"]),
        (Kind.KUROMOJI_USER_DICTIONARY, ["東京,東京,トウキョウ,名詞"] * 2),
        (Kind.STOPWORDS, None),
    ],
)
def test_a_dictionary_that_no_index_uses_yet_is_built_alone(node, kind, bad):
    proof.compile_alone(node, kind, ["東京,東京,トウキョウ,名詞"], "new")
    if bad:
        with pytest.raises(Refused, match="new: the engine does not build it: failed to build"):
            proof.compile_alone(node, kind, bad, "new")


def test_a_probe_asks_the_live_analyzer(items, node):
    proof.check_probe(node, "items", Probe("a", "a", ("a", "b")))

    with pytest.raises(
        NotServed, match=r"probe of index items: analyzer a gives \['a', 'b'\] for 'a', expected it to contain \['c'\]"
    ):
        proof.check_probe(node, "items", Probe("a", "a", ("b", "c")))


tokens = st.lists(st.tuples(st.text(max_size=5), st.integers(0, 9), st.integers(1, 3)), max_size=4).map(tuple)


@given(st.text(), st.text(), st.dictionaries(st.text(), tokens, max_size=30), st.data())
def test_a_wait_is_given_some_of_the_texts_that_are_wrong_with_the_tokens_that_they_should_have(index, analyzer, rows, data):
    expected = Expectation(index, analyzer, tuple(rows), tuple(rows.values()))
    wrong = [
        Mismatch(text, (), ()) for text in data.draw(st.lists(st.sampled_from(list(rows)), unique=True) if rows else st.just([]))
    ]

    kept = proof.expectation_from(json.loads(json.dumps(proof.expectation_to(expected, wrong))))

    assert (kept.index, kept.analyzer) == (index, analyzer)
    assert list(kept.texts) == [mismatch.text for mismatch in wrong][:20]
    assert [rows[text] for text in kept.texts] == list(kept.tokens)


@given(st.integers(0, 1000), st.integers(1, 200))
def test_texts_are_thinned_out_evenly(count, limit):
    found = [int(text) for text in proof.spread([str(number) for number in range(count)], limit)]

    assert len(found) == min(count, limit)
    assert found == sorted(set(found))
    assert not found or (found[0] == 0 and found[-1] >= count - count / limit - 1)

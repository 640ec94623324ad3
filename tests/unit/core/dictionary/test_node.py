from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opensearchpy import OpenSearch

from local.simulators.http import HOST, Application, ConnectionReset, Server, json_response
from searchops.core.dictionary import proof
from searchops.core.dictionary.node import POSITION_GAP, TEXTS_A_REQUEST, Node, Refused, is_closed, split_tokens
from searchops.core.errors import DataError, SearchOpsError, TransientError
from tests.unit.small_world import SYNONYMS, analysis
from tests.unit.tiny_node import TinyNode

PLAIN = {"tokenizer": "whitespace"}

# -- tokens --------------------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
BRANCHES = ("plain", "synonym", "hole", "compound")


def units(text: str) -> int:
    """Length as the engine counts it."""
    return len(text.encode("utf-16-le")) // 2


@st.composite
def analysed(draw: st.DrawFn, text: str) -> list[dict[str, Any]]:
    """Tokens of one text as an engine may give them.

    A char filter may have put anything in the place of what is at an offset, a filter may have taken a token away or put others at its
    position, and a compound has a length.
    """
    tokens, place = [], draw(st.integers(0, 2))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=7)))
    for start, end in itertools.pairwise(cuts):
        term = draw(st.sampled_from(["x", "yy", "東京", text[start:end] or "nothing"]))
        offsets = {"start_offset": units(text[:start]), "end_offset": units(text[:end])}
        branch = draw(st.sampled_from(BRANCHES))
        if branch != "hole":
            tokens.append(
                {"token": term, "position": place, **offsets, **({"positionLength": 2} if branch == "compound" else {})}
            )
        if branch == "synonym":
            tokens.append({"token": "another", "position": place, **offsets})
        place += 1
    return tokens


@given(st.lists(texts.flatmap(lambda text: st.tuples(st.just(text), analysed(text))), max_size=6), st.randoms())
def test_every_text_of_a_request_gets_its_own_tokens_back(rows, random):
    answer, offset, position = [], 0, 0
    for text, tokens in rows:
        answer += [
            {
                **token,
                "start_offset": offset + token["start_offset"],
                "end_offset": offset + token["end_offset"],
                "position": position + token["position"],
            }
            for token in tokens
        ]
        offset += units(text) + 1
        position += POSITION_GAP + max((token["position"] for token in tokens), default=0) + random.randrange(3)

    found = split_tokens([text for text, _ in rows], answer)

    assert found == [split_tokens([text], tokens)[0] for text, tokens in rows]
    assert [len(group) for group in found] == [len(tokens) for _, tokens in rows]


def test_positions_count_from_the_first_token_of_a_text_and_lengths_are_kept():
    tokens = [
        {"token": "東京", "start_offset": 0, "end_offset": 2, "position": 3},
        {"token": "東京駅", "start_offset": 0, "end_offset": 3, "position": 3, "positionLength": 2},
        {"token": "駅", "start_offset": 2, "end_offset": 3, "position": 4},
    ]

    assert split_tokens(["東京駅"], tokens) == [(("東京", 0, 1), ("東京駅", 0, 2), ("駅", 1, 1))]


def test_texts_without_tokens_and_texts_outside_the_basic_plane_shift_nobody(tiny, node):
    tiny.index("items", analysis(SYNONYMS))
    asked = ["", "𠮷野家 😀", "  ", "x", "", "😀😀 y"]

    found = node.analyze(None, PLAIN, asked)

    assert [list(proof.terms(tokens)) for tokens in found] == [[], ["𠮷野家", "😀"], [], ["x"], [], ["😀😀", "y"]]


@settings(max_examples=20)
@given(st.integers(0, 3), st.integers(0, TEXTS_A_REQUEST))
def test_many_texts_are_asked_in_requests_of_a_bounded_size(full, rest):
    sizes: list[int] = []

    class Client:
        def __init__(self) -> None:
            self.transport = self

        def perform_request(self, method: str, path: str, body: Any) -> Any:
            sizes.append(len(body["text"]))
            token = {"token": "x", "position": 0}
            return {"tokens": [{**token, "start_offset": 2 * n, "end_offset": 2 * n + 1} for n in range(len(body["text"]))]}

    asked = ["x"] * (full * TEXTS_A_REQUEST + rest)

    found = Node(Client()).analyze("items", PLAIN, asked)

    assert found == [(("x", 0, 1),)] * len(asked)
    assert sum(sizes) == len(asked)
    assert max(sizes, default=0) <= TEXTS_A_REQUEST


@settings(max_examples=15)
@given(st.lists(st.integers(1, 40), max_size=60))
def test_texts_with_more_tokens_than_a_request_may_have_are_asked_in_smaller_requests(counts):
    tiny = TinyNode()
    tiny.max_tokens = 50
    with Server(tiny.application) as server:
        found = Node(OpenSearch(server.url, max_retries=0)).analyze(None, PLAIN, [" ".join("x" * count) for count in counts])

    assert [len(tokens) for tokens in found] == counts


def test_one_text_with_too_many_tokens_is_refused(tiny, node):
    tiny.max_tokens = 50

    with pytest.raises(Refused, match="exceeded the allowed maximum"):
        node.analyze(None, PLAIN, ["x", " ".join("x" * 51)])


# -- errors --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 408, 429, 502, 503, 504])
def test_what_may_be_otherwise_at_the_next_look_is_transient(tiny, node, status):
    tiny.statuses["GET", "/*"] = status

    with pytest.raises(TransientError, match=rf"GET /\*: not answered \({status}\): ordered by the test"):
        node.definitions()


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_name_the_connection_and_the_role_mapping(tiny, node, status):
    tiny.statuses["GET", "/*"] = status

    with pytest.raises(
        DataError, match=rf"refused our credentials \({status}\).*opensearch_conn_id and the domain's role mapping"
    ):
        node.definitions()


@pytest.mark.parametrize("status", [400, 500])
def test_an_analyzer_that_does_not_build_is_refused_with_the_causes_below_the_reason(node, status):
    lines, user_dictionary = (["a => b => c"], []) if status == 400 else ([], ["東京,a,b,c", "東京,a,b,c"])
    body = {
        "tokenizer": {"type": "kuromoji_tokenizer", "user_dictionary_rules": user_dictionary},
        "filter": [{"type": "synonym", "synonyms": lines}],
    }

    with pytest.raises(Refused) as caught:
        node.analyze(None, body, ["x"])

    reasons = {
        400: "failed to build synonyms; because more than one explicit mapping: a => b => c",
        500: "failed to build; because Found duplicate term in user dictionary",
    }
    assert caught.value.reason == reasons[status]
    assert str(caught.value) == f"POST /_analyze: {reasons[status]}"


def test_a_closed_index_may_be_open_at_the_next_look(tiny, node):
    tiny.index("items", analysis(SYNONYMS)).closed = True

    with pytest.raises(TransientError, match="closed"):
        node.analyze("items", {"analyzer": "a"}, ["x"])


def test_a_connection_that_breaks_is_transient():
    def reset(_: Any) -> Any:
        raise ConnectionReset

    app = Application("breaks")
    app.route("GET", "/*", reset)
    with Server(app) as server, pytest.raises(TransientError, match=r"GET /\*: not answered"):
        Node(OpenSearch(server.url, max_retries=0)).definitions()


def test_a_node_that_is_not_there_is_transient():
    with Server(Application("gone")) as server:
        url = server.url
    assert HOST in url

    with pytest.raises(TransientError, match="not answered"):
        Node(OpenSearch(url, max_retries=0)).definitions()


# -- _meta ---------------------------------------------------------------------------------------------------------------------


def test_what_is_recorded_leaves_everything_else_in_meta_alone(tiny, node):
    meta = {"owner": "shop", "searchops": {"version": "attribute", "dictionaries": {"words": {"applied": "1"}}}}
    tiny.index("items", analysis(SYNONYMS), _meta=meta)

    node.record("items", "synonyms", applied="2", path="analyzers/F1")
    node.record("items", "synonyms", applied="3")

    assert node.meta("items") == {
        "owner": "shop",
        "searchops": {
            "version": "attribute",
            "dictionaries": {"words": {"applied": "1"}, "synonyms": {"applied": "3", "path": "analyzers/F1"}},
        },
    }


@pytest.mark.parametrize("meta", [{}, {"_meta": None}, {"_meta": {"searchops": None}}])
def test_an_index_without_any_meta_gets_one(tiny, node, meta):
    tiny.index("items", analysis(SYNONYMS), **meta)

    node.record("items", "synonyms", applied="2")

    assert node.meta("items")["searchops"] == {"dictionaries": {"synonyms": {"applied": "2"}}}


def test_a_record_that_somebody_overwrites_at_the_same_moment_is_noticed():
    answers = [{"searchops": {}}, {"searchops": {"dictionaries": {"words": {"applied": "theirs"}}}}]
    app = Application("contended")
    app.route("GET", "/items/_mapping", lambda _: json_response({"items": {"mappings": {"_meta": answers.pop(0)}}}))
    app.route("PUT", "/items/_mapping", lambda _: json_response({}))

    with Server(app) as server, pytest.raises(TransientError, match="somebody else writes it too"):
        Node(OpenSearch(server.url, max_retries=0)).record("items", "words", applied="ours")


# -- closing and opening -------------------------------------------------------------------------------------------------------


def test_a_reopened_index_reads_its_files_and_keeps_no_mark(tiny, node):
    tiny.files["analyzers/F100000001"] = b"a, b\n"
    tiny.index("items", analysis(SYNONYMS), _meta={"owner": "shop"})
    tiny.files["analyzers/F100000001"] = b"a, c\n"
    assert tiny.tokens("items", "a", "a") == ["a", "b"]

    reopened = node.reopen("items", by="a test")

    assert tiny.tokens("items", "a", "a") == ["a", "c"]
    assert (reopened.index, reopened.health, reopened.seconds_closed >= 0) == ("items", "green", True)
    assert node.meta("items") == {"owner": "shop", "searchops": {}}


def test_an_index_is_marked_before_it_is_closed_so_that_whoever_comes_after_a_kill_opens_it(tiny, node):
    tiny.index("items", analysis(SYNONYMS))
    tiny.files["analyzers/F100000001"] = b"a => b => c\n"  # it does not open again: as if killed in between

    with pytest.raises(
        Refused, match="index items is closed and the engine does not open it: failed to build synonyms; because more"
    ):
        node.reopen("items", by="dictionary_sync_products run_1")

    assert is_closed(node.definitions()["items"])
    assert node.meta("items")["searchops"]["reopening"]["by"] == "dictionary_sync_products run_1"


def test_an_index_is_opened_again_when_its_close_was_refused(tiny, node):
    tiny.files["analyzers/F100000001"] = b""
    tiny.index("items", analysis(SYNONYMS))
    tiny.statuses["POST", "/items/_close"] = 503

    with pytest.raises(TransientError):
        node.reopen("items", by="a test")

    assert not is_closed(node.definitions()["items"])
    assert "reopening" not in node.meta("items")["searchops"]


def test_an_index_that_stays_unhealthy_after_opening_is_an_error_that_says_where_to_look(tiny, node):
    tiny.files["analyzers/F100000001"] = b""
    tiny.index("items", analysis(SYNONYMS))
    tiny.statuses["GET", "/_cluster/health/items"] = 408  # as the engine says that it was not healthy in time

    with pytest.raises(TransientError, match=r"is not yellow after 7 s: look at GET /_cluster/allocation/explain"):
        node.open("items", timeout_seconds=7)


def test_an_open_index_may_be_opened_again(tiny, node):
    tiny.files["analyzers/F100000001"] = b""
    tiny.index("items", analysis(SYNONYMS))

    assert node.open("items") == "green"
    assert node.open("items") == "green"


def test_calls_are_counted(tiny, node):
    tiny.index("items", analysis(SYNONYMS))
    before = len(tiny.application.log.calls())

    node.definitions()
    node.data_nodes()
    node.meta("items")

    assert node.calls == 3 == len(tiny.application.log.calls()) - before


def test_an_error_that_is_none_of_the_clients_still_is_one_of_ours():
    class Client:
        class transport:
            @staticmethod
            def perform_request(*_: Any, **__: Any) -> Any:
                threading.Event().wait(0)
                raise ValueError("not JSON")

    with pytest.raises(SearchOpsError, match="not JSON"):
        Node(Client()).definitions()

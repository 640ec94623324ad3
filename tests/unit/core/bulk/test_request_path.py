"""What a request says, in each of its forms, and what is answered to it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.encode import Encoder
from searchops.core.bulk.indexer import Written
from searchops.core.bulk.model import Counts, End, Kind, Operation, Rejected, Unreadable
from searchops.core.bulk.request_path import (
    MAX_BODY_BYTES,
    MAX_OPERATIONS,
    BadRequest,
    Outcome,
    WriteRequest,
    answer,
    http_response,
    is_http,
    read_request,
    why,
)
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.errors import TransientError

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision")
ONCE = Scheme(VersionScheme.ONCE, Deletes.NEVER)
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE)
INDEX = {"op": "index", "id": "p1", "version": 7, "routing": "tokyo", "document": {"name": "塔"}}
DELETE = {"op": "delete", "id": "p2", "version": 8}
READ = [Operation(Kind.INDEX, "p1", {"name": "塔"}, 7, "tokyo"), Operation(Kind.DELETE, "p2", None, 8)]


def http(body: str | None, **others: Any) -> dict[str, Any]:
    return {"requestContext": {"http": {"method": "POST"}}, "body": body, "isBase64Encoded": False, **others}


def reason(entry: Any, scheme: Scheme = ATTRIBUTE) -> str:
    """Why an operation is none."""
    (read,) = read_request([entry], scheme).operations
    assert isinstance(read, Unreadable), read
    return read.reason


@pytest.mark.parametrize(
    "event",
    [
        [INDEX, DELETE],
        {"operations": [INDEX, DELETE]},
        http(json.dumps([INDEX, DELETE])),
        http(json.dumps({"operations": [INDEX, DELETE]}, ensure_ascii=False)),
        http(base64.b64encode(json.dumps([INDEX, DELETE]).encode()).decode(), isBase64Encoded=True),
    ],
)
def test_each_form_of_an_event_says_the_same(event: Any) -> None:
    request = read_request(event, ATTRIBUTE)

    assert request == WriteRequest(READ, ["p1", "p2"])


@pytest.mark.parametrize(
    "event",
    [
        {"operations": [], "refresh": "true"},
        http("[]", queryStringParameters={"refresh": "true"}),
        http('{"operations": [], "refresh": "true"}', queryStringParameters={"refresh": "false"}),
    ],
)
def test_a_request_may_say_when_searches_have_to_find_it(event: Any) -> None:
    assert read_request(event, ATTRIBUTE).refresh == "true"


def test_only_an_http_request_is_answered_as_one() -> None:
    assert [is_http(event) for event in (http("[]"), [INDEX], {"operations": []}, None)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("event", "status", "message"),
    [
        (None, 400, "found nothing"),
        ({"Records": []}, 400, "found Records as well"),
        ({"operations": INDEX}, 400, "found an object"),
        ({"operations": [], "refresh": "now"}, 400, "expected one of wait_for, true, false, found 'now'"),
        (http(None), 400, "expected JSON"),
        (http("<html>"), 400, "expected JSON"),
        (http('{"operations": ['), 400, "expected JSON"),
        (http("[" * 100_000), 400, "expected JSON"),
        (http("not base64", isBase64Encoded=True), 400, "expected base64"),
        (http(base64.b64encode(b"\xff\xfe\xff").decode(), isBase64Encoded=True), 400, "expected JSON"),
        (http(" " * (MAX_BODY_BYTES + 1)), 413, "found 6,291,457"),
        ([DELETE] * (MAX_OPERATIONS + 1), 413, "expected at most 2,000 operations, found 2,001"),
    ],
)
def test_a_request_without_operations_is_refused_with_a_reason(event: Any, status: int, message: str) -> None:
    with pytest.raises(BadRequest, match=message) as refused:
        read_request(event, ATTRIBUTE)

    assert refused.value.status == status


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": "indx"}, "op: expected index or delete, found 'indx'"),
        ({"op": "update"}, "op: expected index or delete, found 'update'"),
        ({"id": 5}, "id: expected a text, found a int"),
        ({"id": None}, "id: expected a text, found nothing"),
        ({"verison": 7}, "verison: expected one of"),
        ({"version": None}, "version: expected a whole number, here or in the document's revision, found None"),
        ({"version": "7"}, "found '7'"),
        ({"version": 7.0}, "found 7.0"),
        ({"version": True}, "found True"),
        ({"version": 7, "document": {"revision": 8}}, "expected that of the document's revision, 8, found 7"),
        ({"version": 1, "document": {"revision": True}}, "expected that of the document's revision, True, found 1"),
        ({"sequence": "1"}, "sequence: the index has version scheme attribute"),
        ({"routing": 1}, "routing: expected a text, found a int"),
        ({"document": None}, "document: expected an object, found nothing"),
        ({"document": "{}"}, "document: expected an object, found a text"),
        ({"op": "delete"}, "document: a delete has none"),
    ],
)
def test_an_operation_that_is_none_is_rejected_alone(change: dict[str, Any], message: str) -> None:
    request = read_request([DELETE, INDEX | change, DELETE], ATTRIBUTE)

    before, wrong, after = request.operations
    assert before == after == READ[1]
    assert isinstance(wrong, Unreadable)
    assert message in wrong.reason
    assert len(request.ids) == 3


@pytest.mark.parametrize("entry", [None, 1, "index", [], [INDEX]])
def test_what_is_no_object_is_no_operation(entry: Any) -> None:
    assert reason(entry).startswith("expected an object, found")


def test_the_version_may_stand_in_the_document_alone() -> None:
    entry = {"op": "index", "id": "a", "document": {"revision": 12}}

    (read,) = read_request([entry], ATTRIBUTE).operations

    assert isinstance(read, Operation)
    assert read.version == 12


def test_each_scheme_takes_only_what_it_compares_by() -> None:
    versioned = {"op": "index", "id": "a", "document": {}, "version": 1}
    in_sequence = {"op": "index", "id": "a", "document": {}, "sequence": "6200000000002513011398"}

    assert reason(versioned, ONCE) == "version: the index has version scheme once, which takes none"
    assert reason(versioned, SEQUENCE) == "version: the index has version scheme sequence, which takes none"
    assert reason(in_sequence, ONCE) == "sequence: the index has version scheme once, which takes none"
    assert read_request([in_sequence], SEQUENCE).operations == [
        Operation(Kind.INDEX, "a", {}, None, None, "6200000000002513011398")
    ]


def test_whole_numbers_of_any_length_are_not_made_floats() -> None:
    body = '[{"op": "index", "id": "a", "version": 1, "document": {"n": 123456789012345678901234567890}}]'

    (read,) = read_request(http(body), ATTRIBUTE).operations

    assert isinstance(read, Operation)
    assert read.source == {"n": 123456789012345678901234567890}


@pytest.mark.parametrize("number", ["1.10", "0.1234567890123456789012345678901234", "1.0", "2.50E+3", "-0.0", "1e400"])
def test_a_number_with_a_fraction_goes_on_as_it_stands(number: str) -> None:
    body = f'[{{"op": "index", "id": "a", "version": 1, "document": {{"prices": [{number}]}}}}]'

    (read,) = read_request(http(body), ATTRIBUTE).operations

    assert isinstance(read, Operation)
    assert Encoder(ATTRIBUTE).content(read) == f'{{"prices":[{number}]}}'.encode()


def test_a_version_with_a_fraction_is_none_and_is_told_of() -> None:
    def of(body: str) -> str:
        (read,) = read_request(http(body), ATTRIBUTE).operations
        assert isinstance(read, Unreadable), read
        return read.reason

    assert of('[{"op": "delete", "id": "a", "version": 7.0}]').endswith("found a number with a fraction")
    assert "found 7" in of('[{"op": "index", "id": "a", "version": 7, "document": {"revision": 7.5}}]')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
ENTRY = st.dictionaries(st.sampled_from(["op", "id", "version", "sequence", "routing", "document"]), JSON | st.just("index"))


@given(st.lists(JSON | ENTRY, max_size=5))
def test_whatever_the_list_holds_each_place_of_it_is_answered_for(entries: list[Any]) -> None:
    for event in (entries, http(json.dumps(entries))):
        request = read_request(event, ATTRIBUTE)

        assert len(request.operations) == len(request.ids) == len(entries)
        assert answer(Outcome(request))["counts"]["accepted"] == len(entries)


def outcome(*ends: End | None, why: str = "") -> Outcome:
    ids = [f"id-{position}" for position in range(len(ends))]
    rejected = [
        Rejected(position, "", "unreadable", "op: \ud800" + "x" * 5_000, b"")
        for position, end in enumerate(ends)
        if end is End.REJECTED
    ]
    return Outcome(WriteRequest([], ids), Written(list(ends), rejected, Counts()), why, {"run": "r", "input": "i"})


def test_documents_that_all_have_an_end_are_answered_with_200() -> None:
    told = answer(outcome(End.INDEXED, End.SUPERSEDED, End.REJECTED, End.HANDED_OVER))

    assert told["status"] == 200
    assert told["counts"] == {"accepted": 4, "indexed": 1, "superseded": 1, "rejected": 1, "handed_over": 1, "retriable": 0}
    assert [document["end"] for document in told["documents"]] == ["indexed", "superseded", "rejected", "handed_over"]
    assert told["documents"][2]["kind"] == "unreadable"
    assert told["documents"][2]["reason"] == "op: ?" + "x" * 295
    assert told["manifests"] == {"run": "r", "input": "i"}
    assert "retriable" not in told


def test_documents_without_an_end_are_listed_for_the_caller_to_send_again() -> None:
    told = answer(outcome(End.INDEXED, None, End.INDEXED, None, why="blocked"))

    assert told["status"] == 207
    assert told["retriable"] == [{"position": 1, "id": "id-1"}, {"position": 3, "id": "id-3"}]
    assert told["why"] == "blocked"
    assert "manifests" not in told


def test_a_request_of_which_no_document_has_an_end_is_answered_with_503() -> None:
    unknown = answer(Outcome(WriteRequest([], ["a", "b"]), None, "no answer"))

    assert (answer(outcome(None, None))["status"], unknown["status"]) == (503, 503)
    assert unknown["retriable"] == [{"position": 0, "id": "a"}, {"position": 1, "id": "b"}]


def test_an_empty_request_is_done() -> None:
    assert answer(outcome())["status"] == 200


def test_the_answer_to_an_http_request_is_text_whatever_the_ids_are() -> None:
    request = read_request([{"op": "index", "id": "\ud800語"}], ATTRIBUTE)

    response = http_response(answer(Outcome(request)))

    assert response["statusCode"] == 503
    assert response["headers"] == {"content-type": "application/json", "retry-after": "1"}
    assert json.loads(response["body"])["retriable"] == [{"position": 0, "id": "?語"}]


def test_the_largest_answer_fits_into_what_lambda_lets_a_function_answer() -> None:
    ids = ["語" * 170] * MAX_OPERATIONS
    rejected = [Rejected(position, "", "mapper_parsing_exception", "語" * 1000, b"") for position in range(MAX_OPERATIONS)]
    told = answer(Outcome(WriteRequest([], ids), Written([End.REJECTED] * MAX_OPERATIONS, rejected, Counts())))

    assert len(json.dumps(http_response(told), ensure_ascii=False).encode()) < 6 * 2**20


def test_the_clusters_words_are_told_once() -> None:
    assert why(TransientError("blocked", reason="disk is full")) == "blocked: disk is full"
    assert why(TransientError("blocked: disk is full", reason="disk is full")) == "blocked: disk is full"

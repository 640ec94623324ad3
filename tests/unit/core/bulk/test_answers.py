"""The table of what an answer means; the bodies are those of OpenSearch 3.8 and of the service."""

from __future__ import annotations

from typing import Any

import pytest

from searchops.core.bulk.answers import FATAL, RETRIABLE, Verdict, error_words, judge_found, judge_item, judge_request
from searchops.core.bulk.model import Kind

BLOCK = {"type": "cluster_block_exception", "reason": "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded …];"}
CLOSED = {"type": "index_closed_exception", "reason": "closed"}
MISSING = {"type": "index_not_found_exception", "reason": "no such index [x]"}
PARSING = {"type": "mapper_parsing_exception", "reason": "failed to parse"}
CONFLICT = {
    "type": "version_conflict_engine_exception",
    "reason": "[a]: version conflict, current version [2] is higher or equal",
}


def error(kind: str) -> dict[str, str]:
    return {"type": kind, "reason": "…"}


@pytest.mark.parametrize(
    ("kind", "item", "verdict"),
    [
        (Kind.INDEX, {"status": 201}, Verdict.DONE),
        (Kind.INDEX, {"status": 200}, Verdict.DONE),
        (Kind.UPDATE, {"status": 200, "result": "noop"}, Verdict.NOOP),
        (Kind.UPDATE, {"status": 200, "result": "updated"}, Verdict.DONE),
        (Kind.DELETE, {"status": 200}, Verdict.DONE),
        (Kind.DELETE, {"status": 404}, Verdict.DONE),
        (Kind.DELETE, {"status": 404, "result": "not_found"}, Verdict.DONE),
        (Kind.DELETE, {"status": 404, "error": MISSING}, Verdict.MISSING),
        (Kind.INDEX, {"status": 404, "error": MISSING}, Verdict.MISSING),
        (Kind.UPDATE, {"status": 404, "error": error("document_missing_exception")}, Verdict.REJECTED),
        (Kind.INDEX, {"status": 409, "error": CONFLICT}, Verdict.CONFLICT),
        (Kind.INDEX, {"status": 429, "error": error("rejected_execution_exception")}, Verdict.REFUSED),
        (Kind.INDEX, {"status": 429, "error": error("es_rejected_execution_exception")}, Verdict.REFUSED),
        (Kind.INDEX, {"status": 429, "error": error("circuit_breaking_exception")}, Verdict.REFUSED),
        (Kind.INDEX, {"status": 429, "error": BLOCK}, Verdict.BLOCKED),
        (Kind.INDEX, {"status": 403, "error": BLOCK}, Verdict.BLOCKED),
        (Kind.INDEX, {"status": 400, "error": CLOSED}, Verdict.CLOSED),
        (Kind.INDEX, {"status": 403, "error": error("security_exception")}, Verdict.FORBIDDEN),
        (Kind.INDEX, {"status": 400, "error": PARSING}, Verdict.REJECTED),
        (Kind.INDEX, {"status": 500, "error": error("fail_processor_exception")}, Verdict.REJECTED),
        (Kind.INDEX, {"status": 500, "error": error("find_match")}, Verdict.REJECTED),
        (Kind.INDEX, {"status": 500, "error": error("class_cast_exception")}, Verdict.DOUBTFUL),
        (Kind.INDEX, {"status": 500, "error": error("null_pointer_exception")}, Verdict.DOUBTFUL),
        (Kind.INDEX, {"status": 500, "error": error("i_o_exception")}, Verdict.UNAVAILABLE),
        (Kind.INDEX, {"status": 503, "error": error("unavailable_shards_exception")}, Verdict.UNAVAILABLE),
        (Kind.INDEX, {"status": 503, "error": error("null_pointer_exception")}, Verdict.UNAVAILABLE),
        (Kind.INDEX, {"status": 408, "error": error("timeout_exception")}, Verdict.UNAVAILABLE),
        (Kind.INDEX, {}, Verdict.UNAVAILABLE),
        (Kind.INDEX, {"status": "201"}, Verdict.UNAVAILABLE),
    ],
)
def test_the_answer_to_a_document(kind: Kind, item: dict[str, Any], verdict: Verdict) -> None:
    assert judge_item(kind, item) is verdict


@pytest.mark.parametrize(
    ("status", "answer", "verdict"),
    [
        (429, error("rejected_execution_exception"), Verdict.REFUSED),
        (429, "429 Too Many Requests /_bulk", Verdict.REFUSED),
        (429, BLOCK, Verdict.BLOCKED),
        (403, BLOCK, Verdict.BLOCKED),
        (400, CLOSED, Verdict.CLOSED),
        (404, MISSING, Verdict.MISSING),
        (413, "Request size exceeded 10485760 bytes", Verdict.TOO_LARGE),
        (413, None, Verdict.TOO_LARGE),
        (400, error("illegal_argument_exception"), Verdict.REJECTED),
        (400, "Bad Request", Verdict.REJECTED),
        (401, "Unauthorized", Verdict.FORBIDDEN),
        (403, "User: anonymous is not authorized to perform: es:ESHttpPost", Verdict.FORBIDDEN),
        *((status, "<html>…", Verdict.UNAVAILABLE) for status in (408, 500, 502, 503, 504, 599)),
        *((status, "<html>…", Verdict.NOT_SERVED) for status in (301, 302, 307, 404, 405, 406, 409, 410, 415)),
    ],
)
def test_the_answer_to_a_request(status: int, answer: Any, verdict: Verdict) -> None:
    assert judge_request(status, answer) is verdict


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (CLOSED, Verdict.CLOSED),
        (MISSING, Verdict.MISSING),
        (error("security_exception"), Verdict.FORBIDDEN),
        (error("no_shard_available_action_exception"), Verdict.UNAVAILABLE),
        (None, Verdict.UNAVAILABLE),
    ],
)
def test_the_answer_of_mget(found: Any, verdict: Verdict) -> None:
    assert judge_found(found) is verdict


def test_a_verdict_is_tried_again_or_ends_the_load_or_neither() -> None:
    assert not RETRIABLE & FATAL


def test_words_hold_the_cause_once_and_are_not_endless() -> None:
    assert error_words({"reason": "failed to parse", "caused_by": {"reason": "For input string: x"}}) == (
        "failed to parse: For input string: x"
    )
    assert error_words({"reason": "failed: closed", "caused_by": {"reason": "closed"}}) == "failed: closed"
    assert error_words("Too Many Requests") == "Too Many Requests"
    assert error_words(None) == ""
    assert len(error_words({"reason": "x" * 5000})) == 1000

"""What an answer of the cluster means, item by item and as a whole.

By status, not by name: Elasticsearch and OpenSearch name the same rejection differently, and a full disk answers 429 too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from searchops.core.bulk.model import Kind


class Verdict(Enum):
    """What becomes of a document, or of a request, after an answer."""

    DONE = "done"
    NOOP = "noop"
    """A scripted upsert that changed nothing: an equal or later sequence is there."""
    CONFLICT = "conflict"
    """The index holds an equal or a greater version: which, is asked."""
    REFUSED = "refused"
    """429: not now."""
    UNAVAILABLE = "unavailable"
    """5xx, no answer, half an answer: whether it was written is not known."""
    BLOCKED = "blocked"
    CLOSED = "closed"
    MISSING = "missing"
    """There is no such index."""
    FORBIDDEN = "forbidden"
    TOO_LARGE = "too_large"
    REJECTED = "rejected"


RETRIABLE = frozenset({Verdict.REFUSED, Verdict.UNAVAILABLE, Verdict.BLOCKED, Verdict.CLOSED})
_BLOCK = "cluster_block_exception"
_CLOSED = "index_closed_exception"
_NO_INDEX = "index_not_found_exception"


def judge_item(kind: Kind, item: Mapping[str, Any]) -> Verdict:
    """
    :param item: the inner object of one entry of ``items``: status, and error or result
    """
    status, error = item.get("status"), item.get("error")
    if not isinstance(status, int):
        return Verdict.UNAVAILABLE
    if status < 300:
        return Verdict.NOOP if item.get("result") == "noop" else Verdict.DONE
    if status == 404 and kind is Kind.DELETE and not error:
        return Verdict.DONE
    return _judge(status, error_type(error))


def judge_request(status: int, error: Any) -> Verdict:
    """What an answer other than 2xx to the whole request means.

    :param error: the answer's ``error`` where it is JSON
    """
    verdict = _judge(status, error_type(error))
    return Verdict.FORBIDDEN if status in (401, 403) and verdict is Verdict.REJECTED else verdict


def _judge(status: int, kind: str) -> Verdict:
    if kind == _BLOCK:
        return Verdict.BLOCKED
    if kind == _CLOSED:
        return Verdict.CLOSED
    if kind == _NO_INDEX:
        return Verdict.MISSING
    if status == 409:
        return Verdict.CONFLICT
    if status == 429:
        return Verdict.REFUSED
    if status == 413:
        return Verdict.TOO_LARGE
    if status in (401, 403):
        return Verdict.FORBIDDEN
    # 408 is how the node says that it gave up waiting; 500 may be a shard that is moving.
    if status >= 500 or status == 408:
        return Verdict.UNAVAILABLE
    return Verdict.REJECTED


def error_type(error: Any) -> str:
    return str(error.get("type", "")) if isinstance(error, Mapping) else ""


def error_words(error: Any) -> str:
    """The reason and its cause. It may quote a value of the document: never for a log."""
    if not isinstance(error, Mapping):
        return str(error or "")[:1000]
    words, cause = str(error.get("reason", "")), error.get("caused_by")
    if isinstance(cause, Mapping) and cause.get("reason") and str(cause["reason"]) not in words:
        words = f"{words}: {cause['reason']}"
    return words[:1000]

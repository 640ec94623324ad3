"""What an answer of the cluster means, item by item and as a whole.

By status: Elasticsearch and OpenSearch name the same rejection differently. Only what has a status that misleads goes by its name: a
full disk answers 429, a closed index 400.
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
    DOUBTFUL = "doubtful"
    """An exception that a document may have caused, or the node: it is sent once more, and is to blame when that ends alike."""
    BLOCKED = "blocked"
    CLOSED = "closed"
    MISSING = "missing"
    """There is no such index."""
    FORBIDDEN = "forbidden"
    NOT_SERVED = "not_served"
    """Who answers takes no bulk requests here: a redirection, a wrong host or path."""
    TOO_LARGE = "too_large"
    REJECTED = "rejected"


RETRIABLE = frozenset({Verdict.REFUSED, Verdict.UNAVAILABLE, Verdict.BLOCKED, Verdict.CLOSED})
FATAL = frozenset({Verdict.FORBIDDEN, Verdict.MISSING, Verdict.NOT_SERVED})
"""No document of the load can be written."""
_BY_NAME = {
    "cluster_block_exception": Verdict.BLOCKED,
    "index_closed_exception": Verdict.CLOSED,
    "index_not_found_exception": Verdict.MISSING,
}
_BY_STATUS = {
    401: Verdict.FORBIDDEN,
    403: Verdict.FORBIDDEN,
    409: Verdict.CONFLICT,
    413: Verdict.TOO_LARGE,
    429: Verdict.REFUSED,
}
_OF_THE_DOCUMENT = frozenset({"fail_processor_exception", "find_match"})
"""What pipelines answer with 500 to a document that they do not take (`fail`, `dissect`: OpenSearch 3.8)."""
_DOUBTFUL = frozenset({"class_cast_exception", "null_pointer_exception"})
"""The same (`sort` of mixed values, a script that sets ``_routing`` to a number); nothing in the answer says that a pipeline did it."""


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
    if status == 500 and error_type(error) in _OF_THE_DOCUMENT:
        return Verdict.REJECTED
    if status == 500 and error_type(error) in _DOUBTFUL:
        return Verdict.DOUBTFUL
    return _judge(status, error_type(error))


def judge_request(status: int, error: Any) -> Verdict:
    """What an answer other than 2xx to the whole request means.

    :param error: the answer's ``error`` where it is JSON
    """
    verdict = _judge(status, error_type(error))
    # A document can be at fault for 400 and 413 alone.
    return Verdict.NOT_SERVED if verdict in (Verdict.REJECTED, Verdict.CONFLICT) and status != 400 else verdict


def judge_found(error: Any) -> Verdict:
    """What the ``error`` of one document of ``_mget`` means; it comes without a status."""
    kind = error_type(error)
    return Verdict.FORBIDDEN if kind == "security_exception" else _BY_NAME.get(kind, Verdict.UNAVAILABLE)


def _judge(status: int, kind: str) -> Verdict:
    if kind in _BY_NAME:
        return _BY_NAME[kind]
    # 408 is how the node says that it gave up waiting.
    return Verdict.UNAVAILABLE if status >= 500 or status == 408 else _BY_STATUS.get(status, Verdict.REJECTED)


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

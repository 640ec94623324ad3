"""What is asked of a domain beside bulk requests: its indexes, its pipelines, and documents page by page."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote

from searchops.core.errors import DataError, SearchOpsError, TransientError, reasons_of

_PASSING = (408, 429, 500, 502, 503, 504)
SCROLL_KEEP = "5m"
"""How long the node keeps a scroll after each page."""


class Refused(DataError):
    """The node does not take the request; trying again would not help."""


def ask(client: Any, method: str, path: str, **arguments: Any) -> Any:
    """
    :param client: an opensearch-py client
    :param arguments: params, body
    :raises DataError: refused, or not allowed
    :raises TransientError: not answered, throttled, or blocked
    """
    try:
        return client.transport.perform_request(method, path, **arguments)
    except Exception as error:
        raise classified(error, f"{method} {path}") from error


def find(client: Any, path: str) -> Any:
    """What GET answers, None for 404."""
    try:
        return client.transport.perform_request("GET", path)
    except Exception as error:
        if getattr(error, "status_code", None) == 404:
            return None
        raise classified(error, f"GET {path}") from error


def path(*parts: str) -> str:
    """A path whose parts are names: an index may be called ``%2a``, which must not be read as all indexes."""
    return "".join("/" + quote(part, safe="") for part in parts)


def documents(client: Any, index: str, body: Mapping[str, Any], *, page: int = 1000) -> Generator[Mapping[str, Any]]:
    """The hits of a search, all of them, as they were when the search began.

    By scroll: without a point in time a page could miss what moves, and those exist only from OpenSearch 2.4, their tie-breaker from 3.3.
    """
    search = {"sort": ["_doc"], **body, "size": page}
    answer = ask(client, "POST", path(index, "_search"), params={"scroll": SCROLL_KEEP}, body=search)
    try:
        while True:
            _complete(answer, index)
            if not (hits := answer["hits"]["hits"]):
                return
            yield from hits
            answer = _next_page(client, index, answer["_scroll_id"])
    finally:
        _end_scroll(client, answer)


def _next_page(client: Any, index: str, scroll_id: str) -> Mapping[str, Any]:
    try:
        page: Mapping[str, Any] = ask(client, "POST", "/_search/scroll", body={"scroll": SCROLL_KEEP, "scroll_id": scroll_id})
    except Refused as refused:
        raise TransientError(f"index {index}: the node has lost a search before its end", reason=refused.reason) from refused
    return page


def _complete(answer: Mapping[str, Any], index: str) -> None:
    """A search of which a shard did not answer looks like one that found less."""
    failed = answer.get("_shards", {}).get("failed", 0)
    if failed or answer.get("timed_out"):
        raise TransientError(f"index {index}: {failed} shards did not answer a search that has to see every document")


def _end_scroll(client: Any, answer: Mapping[str, Any]) -> None:
    """It would end by itself; a domain has 500 at once."""
    with contextlib.suppress(Exception):  # whatever the search met is told already
        client.transport.perform_request("DELETE", "/_search/scroll", body={"scroll_id": [answer["_scroll_id"]]})


def classified(error: Exception, what: str) -> SearchOpsError:
    status, info = getattr(error, "status_code", None), getattr(error, "info", None)
    reason = reasons_of(info) or str(error)
    kind = str((info.get("error") or {}).get("type", "")) if isinstance(info, Mapping) and _has_error(info) else ""
    if isinstance(error, SearchOpsError):
        return error
    if not isinstance(status, int) or status in _PASSING or kind in ("cluster_block_exception", "index_closed_exception"):
        return TransientError(f"{what}: not answered ({status}): {reason}", reason=reason)
    if status in (401, 403):
        return DataError(
            f"{what}: the domain refused our credentials ({status}): {reason}; check the connection of opensearch_conn_id "
            "and the domain's role mapping",
            reason=reason,
        )
    return Refused(f"{what}: {reason}", reason=reason)


def _has_error(info: Mapping[str, Any]) -> bool:
    return isinstance(info.get("error"), Mapping)

"""What nodes, the service and load balancers say when they refuse.

The texts of items and of the JSON 429 (of indexing pressure: a full queue refuses items) are OpenSearch 3.8.0's, seen on a node. The line
of text with 429 and the JSON with 413 are what users of the service report ("429 Too Many Requests /_bulk", "Request size exceeded
10485760 bytes").
"""

from __future__ import annotations

from typing import Any

from local.simulators.http import Response, json_response
from local.simulators.node_faults.faults import Kind

_REJECTED = {
    "type": "rejected_execution_exception",
    "reason": "rejected execution of org.opensearch.action.support.replication.TransportWriteAction$1@5f1c2a3e on "
    "OpenSearchThreadPoolExecutor[name = local/write, queue capacity = 1, "
    "org.opensearch.common.util.concurrent.OpenSearchThreadPoolExecutor@1315f1d5"
    "[Running, pool size = 1, active threads = 1, queued tasks = 1, completed tasks = 47]]",
}
_REJECTED_WHOLE = {
    "type": "rejected_execution_exception",
    "reason": "rejected execution of coordinating operation [coordinating_and_primary_bytes=53687000, replica_bytes=0, "
    "all_bytes=53687000, coordinating_operation_bytes=5248, max_coordinating_and_primary_bytes=53687091]",
}
_DISK_FULL = "[TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block]"
_READ_ONLY = "[FORBIDDEN/8/index write (api)]"
_REASONS = {
    413: "Request Entity Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}


def item_refusal(kind: Kind, index: str | None) -> dict[str, Any]:
    """Return status and error of an item that met this kind."""
    if kind is Kind.ITEM_429:
        return {"status": 429, "error": _REJECTED}
    if kind is Kind.ITEM_INDEX_CLOSED:
        return {
            "status": 400,
            "error": {"type": "index_closed_exception", "reason": "closed", "index": index, "index_uuid": "_na_"},
        }
    status, block = (429, _DISK_FULL) if kind is Kind.ITEM_BLOCK_429 else (403, _READ_ONLY)
    return {"status": status, "error": {"type": "cluster_block_exception", "reason": f"index [{index}] blocked by: {block};"}}


def refusal(kind: Kind, path: str) -> Response | None:
    """Return the answer to a whole request that met this kind; None for a kind that is no answer."""
    if kind is Kind.STATUS_429:
        return json_response({"error": {"root_cause": [_REJECTED_WHOLE], **_REJECTED_WHOLE}, "status": 429}, 429)
    if kind is Kind.STATUS_429_TEXT:
        return Response(429, f"429 Too Many Requests {path}".encode(), {"Content-Type": "text/plain;charset=UTF-8"})
    if kind is Kind.STATUS_413:
        return json_response({"Message": "Request size exceeded 10485760 bytes"}, 413)
    if kind is Kind.NOT_JSON:
        return _page(200, "Welcome to nginx!")
    status = _STATUS.get(kind)
    return _page(status, f"{status} {_REASONS[status]}") if status else None


def _page(status: int, title: str) -> Response:
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(status, page.encode(), {"Content-Type": "text/html"})


_STATUS = {
    Kind.STATUS_413_HTML: 413,
    Kind.STATUS_500: 500,
    Kind.STATUS_502: 502,
    Kind.STATUS_503: 503,
    Kind.STATUS_504: 504,
    Kind.LATE_502: 502,
    Kind.LATE_504: 504,
}

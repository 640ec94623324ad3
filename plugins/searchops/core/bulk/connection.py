"""One request is one attempt: the connections of an opensearch-py client without its retries.

``Transport.perform_request`` repeats connection errors, 502, 503 and 504 at once, up to ``max_retries`` times, and no call can ask it
not to (opensearch-py 3.2); a count of what was sent would be wrong, and a write whose answer was lost would be done twice unseen.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from searchops.core.errors import DataError

_ANY_STATUS = range(300, 600)
_SHOWN = (
    "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.type,items.*.error.caused_by.reason"
)

_ALL_WELL = '{"errors":false,"items":[{'


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``status`` 0: nothing did, or half of it; ``words`` says what happened then."""

    status: int
    body: Any = None
    words: str = ""
    taken: int | None = None
    """Of a bulk request: so many items, none with an error; the body is not parsed then."""

    @property
    def error(self) -> Any:
        return self.body.get("error") if isinstance(self.body, Mapping) else self.words


class IndexConnection:
    """The requests of an indexer to one index.

    :param client: an ``opensearchpy.OpenSearch``: its hosts, TLS and credentials are used
    :param timeout_seconds: of each request, or what says it before each; that may refuse with a TransientError
    :param refresh: when searches find what a bulk request wrote: ``true``, ``wait_for`` or ``false``, the cluster's default
    :param results: ask for the result of each item too: whether it was a noop
    :param gzip: compress bodies, at zlib's level 1: a fifth of the size at 100 MB/s a core
    """

    def __init__(
        self,
        client: Any,
        index: str,
        *,
        timeout_seconds: float | Callable[[], float] = 60.0,
        refresh: str | None = None,
        gzip: bool = False,
        results: bool = False,
    ) -> None:
        self._pool = client.transport.connection_pool
        self._path = "/" + quote(index, safe="")
        self._results = results
        self._timeout = timeout_seconds
        self._headers = {"content-type": "application/x-ndjson"}
        self._gzip = gzip
        if gzip:
            self._headers["content-encoding"] = "gzip"
        self._parameters = {"filter_path": f"{_SHOWN},items.*.result" if results else _SHOWN}
        if refresh:
            self._parameters["refresh"] = refresh

    def bulk(self, body: bytes) -> Answer:
        if self._gzip:
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
        return self._send("POST", f"{self._path}/_bulk", self._parameters, body, self._headers)

    def get(self, documents: Sequence[Mapping[str, Any]], *, fields: str = "") -> Answer:
        """``_mget``: versions, and of the documents themselves the named field alone."""
        parameters = {
            "_source": fields or "false",
            "filter_path": "docs._id,docs._version,docs.found,docs.error.type,docs._source",
        }
        body = orjson.dumps({"docs": list(documents)})
        return self._send("POST", f"{self._path}/_mget", parameters, body, {"content-type": "application/json"})

    def _send(self, method: str, path: str, parameters: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> Answer:
        from opensearchpy.exceptions import ConnectionError as NoConnection
        from opensearchpy.exceptions import SSLError

        timeout = self._timeout() if callable(self._timeout) else self._timeout
        connection = self._pool.get_connection()
        try:
            # As a view, because the client writes bodies that are bytes to its log at level DEBUG.
            status, _, text = connection.perform_request(
                method, path, dict(parameters), memoryview(body), timeout, ignore=_ANY_STATUS, headers=dict(headers)
            )
        except SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error.info):
                raise DataError(
                    "the domain's certificate could not be verified: check host and ca_certs of the connection",
                    reason=str(error.info),
                ) from error
            return Answer(0, words=f"no TLS connection: {type(error.info).__name__}")
        except NoConnection as error:
            self._pool.mark_dead(connection)
            return Answer(0, words=f"no answer: {type(error.info).__name__}")
        self._pool.mark_live(connection)
        if status == 200 and not self._results and text.startswith(_ALL_WELL) and text.endswith("]}"):
            # Every item would be parsed to learn that there is nothing to learn: a fifth of our time.
            return Answer(status, taken=text.count('"status":'))
        try:
            return Answer(status, orjson.loads(text))
        except orjson.JSONDecodeError:
            return Answer(status if status >= 300 else 0, words=f"HTTP {status}, no JSON: {text[:200]!r}")

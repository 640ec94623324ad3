"""One request is one attempt: the connections of an opensearch-py client without its retries.

``Transport.perform_request`` repeats connection errors, 502, 503 and 504 at once, up to ``max_retries`` times, and no call can ask it
not to (opensearch-py 3.2); a count of what was sent would be wrong, and a write whose answer was lost would be done twice unseen.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from searchops.core.errors import DataError, classify_client_error

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
        """The cluster's ``error``, or what stands in its place where something before the cluster has answered."""
        if not isinstance(self.body, Mapping):
            return self.words
        return self.body.get("error") or self.body.get("Message") or self.body.get("message")


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
        self._transport = client.transport
        self._path = "/" + quote(index, safe="")
        self._results = results
        self._timeout = timeout_seconds
        self._gzip = gzip
        self._parameters = {"filter_path": f"{_SHOWN},items.*.result" if results else _SHOWN}
        if refresh:
            self._parameters["refresh"] = refresh

    def require_alias(self) -> None:
        """The name is an alias: a write fails when it is gone, where the node would make an index of that name, without its mapping."""
        self._parameters["require_alias"] = "true"

    def bulk(self, body: bytes) -> Answer:
        return self._send("POST", f"{self._path}/_bulk", self._parameters, body, {"content-type": "application/x-ndjson"})

    def get(self, documents: Sequence[Mapping[str, Any]], *, fields: str = "") -> Answer:
        """``_mget``: versions, and of the documents themselves the named field alone, ``true`` for all."""
        parameters = {
            "_source": fields or "false",
            "filter_path": "docs._id,docs._version,docs.found,docs.error.type,docs._source",
        }
        body = orjson.dumps({"docs": list(documents)})
        return self._send("POST", f"{self._path}/_mget", parameters, body, {"content-type": "application/json"})

    def _send(self, method: str, path: str, parameters: Mapping[str, str], body: bytes, headers: dict[str, str]) -> Answer:
        from opensearchpy.exceptions import ConnectionError as NoConnection

        timeout = self._timeout() if callable(self._timeout) else self._timeout
        pool = self._transport.connection_pool
        connection = pool.get_connection()
        if self._gzip and not connection.http_compress:  # a client that compresses would do it again
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
            headers["content-encoding"] = "gzip"
        try:
            with _quietly():
                # As a view, because the client writes bodies that are bytes to its log at level DEBUG.
                status, _, text = connection.perform_request(
                    method, path, dict(parameters), memoryview(body), timeout, ignore=_ANY_STATUS, headers=headers
                )
        except NoConnection as error:
            return _no_answer(error, lambda: pool.mark_dead(connection))
        except Exception as error:
            if refused := _credentials_error(error):
                raise refused from error
            raise
        pool.mark_live(connection)
        return self._read(status, text)

    def _read(self, status: int, text: str) -> Answer:
        if status == 200 and not self._results and text.startswith(_ALL_WELL) and text.endswith("]}"):
            # Every item would be parsed to learn that there is nothing to learn: a fifth of our time.
            return Answer(status, taken=text.count('"status":'))
        try:
            return Answer(status, orjson.loads(text))
        except ValueError:
            if status < 300:  # half an answer: what is there of it may quote a document
                return Answer(0, words=f"HTTP {status}, and {len(text):,} characters that are no JSON")
            return Answer(status, words=f"HTTP {status}, no JSON: {text[:200]!r}")


def _no_answer(error: Any, mark_dead: Callable[[], None]) -> Answer:
    """
    :param error: of opensearch-py; its ``info`` is what happened
    :raises SearchOpsError: that would happen again: an unknown certificate, no credentials to sign with
    """
    from opensearchpy.exceptions import SSLError

    if refused := _credentials_error(error.info):
        raise refused from error
    name = type(error.info).__name__
    if not isinstance(error, SSLError):
        mark_dead()
        return Answer(0, words=f"no answer: {name}")
    if "CERTIFICATE_VERIFY_FAILED" in str(error.info):
        raise DataError(
            "the domain's certificate could not be verified: check host and ca_certs of the connection", reason=str(error.info)
        ) from error
    return Answer(0, words=f"no TLS connection: {name}")


def _credentials_error(error: Any) -> Exception | None:
    """What botocore, which signs requests, has to say; opensearch-py takes it for a lost connection, or lets it pass."""
    return classify_client_error(error) if type(error).__module__.startswith("botocore.") else None


_ours = threading.local()


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep answers out of opensearch-py's log: at level DEBUG it writes them whole, and their reasons quote documents.

    Its line a request and its traceback a lost connection go too: a load has thousands of the one, and tries again after the other.
    """
    _ours.request = True
    try:
        yield
    finally:
        _ours.request = False


def _is_to_be_logged(record: logging.LogRecord) -> bool:
    if not getattr(_ours, "request", False):
        return True
    record.exc_info = None
    return record.levelno >= logging.WARNING


for _name in ("opensearch", "opensearchpy.trace"):
    logging.getLogger(_name).addFilter(_is_to_be_logged)

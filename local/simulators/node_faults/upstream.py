"""The proxy's connection to the node: a request as it came, the answer as it was given."""

from __future__ import annotations

import http.client
import select
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import unquote_plus, urlsplit

# Of one connection, not of the message (RFC 9110 7.6.1); a length is written anew, and the proxy itself asks for the body.
_OF_THE_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "expect", "content-length"}
)
_SECONDS = 300

Headers = Sequence[tuple[str, str]]


class NodeUnreachable(ConnectionError):
    """The node did not take the request, or did not answer it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request: `target` is path and query as they came."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        return next((value for found, value in self.headers if found.lower() == name), "")

    def parameter(self, name: str) -> str | None:
        values = [part.partition("=")[2] for part in self._parameters() if part.partition("=")[0] == name]
        return unquote_plus(values[-1]) if values else None

    def without_parameter(self, name: str) -> Self:
        query = "&".join(part for part in self._parameters() if part.partition("=")[0] != name)
        return replace(self, target=f"{self.path}?{query}" if query else self.path)

    def without_header(self, *names: str) -> Self:
        return replace(self, headers=[(name, value) for name, value in self.headers if name.lower() not in names])

    def _parameters(self) -> list[str]:
        return [part for part in self.target.partition("?")[2].split("&") if part]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; to HEAD the body is empty and `length` what the node says it would be."""

    status: int
    reason: str
    headers: Headers
    body: bytes
    length: str


class Upstream:
    """One kept connection to the node, opened when it is needed; for one thread at a time."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_SECONDS)

    def exchange(self, message: Message) -> Answer:
        """Send a request once and read the whole answer.

        :raises NodeUnreachable: nothing that is a whole answer came; whether the node did the work is not known
        """
        self._drop_if_ended()
        try:
            self._send(message)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NodeUnreachable(f"{message.method} {message.path}: {type(error).__name__}: {error}") from error
        length = response.getheader("Content-Length", "0") if message.method == "HEAD" else str(len(body))
        return Answer(response.status, response.reason, _end_to_end(response.getheaders()), body, length)

    def close(self) -> None:
        self._connection.close()

    def _send(self, message: Message) -> None:
        self._connection.putrequest(message.method, message.target, skip_host=True, skip_accept_encoding=True)
        for name, value in _end_to_end(message.headers):
            self._connection.putheader(name, value)
        if message.body or message.method in ("POST", "PUT"):
            self._connection.putheader("Content-Length", str(len(message.body)))
        self._connection.endheaders(message.body or None)

    def _drop_if_ended(self) -> None:
        """Open anew what the node has closed meanwhile: a client that stood before the node itself would notice, too."""
        socket = self._connection.sock
        if socket is not None and select.select([socket], [], [], 0)[0]:
            self._connection.close()


def _end_to_end(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in _OF_THE_CONNECTION]

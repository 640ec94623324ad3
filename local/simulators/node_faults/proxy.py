"""The proxy: passes every request to the node, but for what a test has ordered to happen to it."""

from __future__ import annotations

import gzip
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from local.simulators.http import Application, BadRequest, HttpServer, Request, RequestHandler, Response, json_response
from local.simulators.node_faults import bulk
from local.simulators.node_faults.answers import item_refusal, refusal
from local.simulators.node_faults.faults import Draw, Fault, Faults, Kind, Plan
from local.simulators.node_faults.upstream import Answer, Message, NodeUnreachable, Upstream

_POLL_SECONDS = 0.05
_NEVER_FORWARDED = (
    Kind.STATUS_429,
    Kind.STATUS_429_TEXT,
    Kind.STATUS_413,
    Kind.STATUS_413_HTML,
    Kind.STATUS_500,
    Kind.STATUS_502,
    Kind.STATUS_503,
    Kind.STATUS_504,
)


class NodeFaults(Application):
    """The control routes, and what the connections share.

    ===============================  ==================================================================================
    ``POST /_control/faults``        orders a ``Fault``
    ``POST /_control/plan``          draws at random by a ``Plan``
    ``DELETE /_control/faults``      withdraws both, forgets the journal, lets go what is held
    ``POST /_control/release``       lets go what is held or delayed
    ``GET /_control/journal``        what has happened, oldest first: a list of ``Injection``
    ``GET /_control/counts``         requests by kind
    ``POST /_control/idle``          waits ``{"seconds": …}`` until all clients have gone and nothing is on its way to the node
    ===============================  ==================================================================================
    """

    def __init__(self, node_url: str) -> None:
        super().__init__("node_faults")
        self.node_url = node_url
        self.faults = Faults()
        self.connections = Connections()
        self.route("POST", "/_control/faults", self._order)
        self.route("POST", "/_control/plan", self._follow)
        self.route("DELETE", "/_control/faults", self._clear)
        self.route("POST", "/_control/release", self._release)
        self.route("GET", "/_control/journal", lambda _: json_response([asdict(entry) for entry in self.faults.journal()]))
        self.route("GET", "/_control/counts", lambda _: json_response(self.faults.counts()))
        self.route("POST", "/_control/idle", self._wait_until_idle)

    def _order(self, request: Request) -> Response:
        self.faults.order(_read(Fault.from_json, request))
        return json_response({})

    def _follow(self, request: Request) -> Response:
        self.faults.follow(_read(Plan.from_json, request))
        return json_response({})

    def _clear(self, _: Request) -> Response:
        self.faults.clear()
        return json_response({})

    def _release(self, _: Request) -> Response:
        self.faults.release()
        return json_response({})

    def _wait_until_idle(self, request: Request) -> Response:
        open_ones = self.connections.wait_until_none(float(request.json().get("seconds", 10)))
        return json_response({"open": open_ones}, 409 if open_ones else 200)


def _read(build: Callable[[Any], Any], request: Request) -> Any:
    try:
        return build(request.json())
    except ValueError as error:
        raise BadRequest(str(error)) from error


class Connections:
    """The connections of clients that are open or still have a request on its way to the node; those of tests' control are not."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()

    def add(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.add(connection)

    def remove(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def wait_until_none(self, seconds: float) -> int:
        """Return how many are left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open, seconds)
            return len(self._open)


class ProxyHandler(RequestHandler):
    """One connection of a client, with a connection of its own to the node."""

    def setup(self) -> None:
        super().setup()
        application = self.server.application
        assert isinstance(application, NodeFaults)
        self._proxy = application
        self._faults = application.faults
        self._node = Upstream(application.node_url)

    def finish(self) -> None:
        self._node.close()
        super().finish()

    def _receive(self) -> None:
        if self.path.startswith("/_control/"):
            self._proxy.connections.remove(self.connection)
            self._handle()
            return
        try:
            if message := self._message():
                self._pass(*message)
        except NodeUnreachable as error:
            print(f"node_faults: {error}", file=sys.stderr, flush=True)
            if self.connection.fileno() != -1:
                self._reset()  # what a client of the node itself would see
        except ConnectionError:
            self.close_connection = True  # the client has gone: nothing is owed to it

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _receive

    def _message(self) -> tuple[Message, Draw] | None:
        """Read a request and draw what it meets; None if nothing is to be passed on."""
        if self.headers.get("Transfer-Encoding"):
            self._refuse(411, "send a Content-Length: the proxy takes no chunks")
            return None
        if self._refuses({name.lower(): value for name, value in self.headers.items()}):
            self.close_connection = True
            return None
        size = int(self.headers.get("Content-Length") or 0)
        path = self.path.partition("?")[0]
        draw = self._faults.draw(path, size) or Draw()
        if draw.whole and draw.whole.kind is Kind.RESET_DURING:
            self.rfile.read(size // 2)
            self._faults.happened(Kind.RESET_DURING, path, size)
            self._reset()
            return None
        body = self.rfile.read(size)
        if len(body) < size:
            self.close_connection = True  # the client ended within its request: half of one must not reach the node
            return None
        return Message(self.command, self.path, self.headers.items(), body), draw

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True
        self._write(json_response({"message": f"node_faults: {why}"}, status))

    def _pass(self, message: Message, draw: Draw) -> None:
        fault = draw.whole
        if fault is None:
            self._give(self._asking(message, draw)())
        elif fault.kind in _NEVER_FORWARDED:
            self._happened(fault, message)
            self._give(_canned(fault.kind, message))
        elif fault.kind is Kind.RESET_BEFORE:
            self._happened(fault, message)
            self._reset()
        elif fault.kind is Kind.DELAYED:
            released = self._faults.released
            self._happened(fault, message)
            self._reset()
            released.wait(fault.seconds)
            self._asking(message, draw)()
        else:
            self._disturb(fault, message, self._asking(message, draw))

    def _disturb(self, fault: Fault, message: Message, ask: Callable[[], Answer]) -> None:
        """Let the node do the work and spoil its answer."""
        released, answer = self._faults.released, ask()
        if fault.kind is Kind.SHORT:
            self._give(self._shortened(fault, message, answer))
            return
        self._happened(fault, message)
        if fault.kind is Kind.RESET_AFTER:
            self._reset()
        elif fault.kind is Kind.TIMEOUT:
            self._hold(released, fault.seconds)
            self.close_connection = True
        elif fault.kind is Kind.CUT:
            self._give(replace(answer, body=answer.body[: len(answer.body) // 2]))
            self.close_connection = True
        elif fault.kind is Kind.SLOW:
            self._hold(released, fault.seconds)
            self._give(answer)
        elif fault.kind in (Kind.DUPLICATE, Kind.DUPLICATE_LAST):
            second = ask()
            self._give(answer if fault.kind is Kind.DUPLICATE else second)
        else:
            self._give(_canned(fault.kind, message))

    def _shortened(self, fault: Fault, message: Message, answer: Answer) -> Answer:
        body = bulk.shortened(answer.body, fault.share)
        if body is None:
            return answer
        self._happened(fault, message)
        return replace(answer, body=body, length=str(len(body)))

    def _asking(self, message: Message, draw: Draw) -> Callable[[], Answer]:
        """Return what asks the node, for the items that are not refused; it can be called twice."""
        if draw.whole and draw.whole.kind is Kind.SHORT:
            message = message.without_header("accept-encoding")  # the answer is to be read
        refusal = _refuse_items(message, draw)
        if refusal is None:
            return lambda: self._node.exchange(message)
        self._faults.happened(refusal.kind, message.path, len(message.body), len(refusal.refused))
        return lambda: refusal.ask(self._node)

    def _give(self, answer: Answer) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", answer.length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _hold(self, released: threading.Event, seconds: float) -> None:
        """Wait, but not for a client that has gone, nor when told to let go."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not released.is_set():
            if select.select([self.connection], [], [], min(left, _POLL_SECONDS))[0]:
                return

    def _happened(self, fault: Fault, message: Message) -> None:
        self._faults.happened(fault.kind, message.path, len(message.body))


class ProxyServer(HttpServer):
    """Counts the connections from the moment they are accepted until nothing of theirs is on its way to the node."""

    request_handler = ProxyHandler

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._connections.remove(request)

    @property
    def _connections(self) -> Connections:
        assert isinstance(self.application, NodeFaults)
        return self.application.connections


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A bulk request some of whose items, by position, the node does not get."""

    kind: Kind
    message: Message
    items: list[bulk.Item]
    refused: dict[int, dict[str, Any]]
    filter_path: str | None

    def ask(self, node: Upstream) -> Answer:
        rest = b"".join(item.data for position, item in enumerate(self.items) if position not in self.refused)
        answer = Answer(200, "OK", [("content-type", "application/json; charset=UTF-8")], b"", "0")
        if rest:
            # Unfiltered, as a filter can leave out the items that went well, and with them the places of the others.
            unfiltered = self.message.without_parameter("filter_path").without_header("accept-encoding", "content-encoding")
            answer = node.exchange(replace(unfiltered, body=rest))
            if answer.status != 200:
                return answer
        body = bulk.merge(answer.body, self.items, self.refused, self.filter_path)
        return replace(answer, body=body, length=str(len(body)))


def _refuse_items(message: Message, draw: Draw) -> _Refusal | None:
    """Choose what is refused; None for nothing, or for a body that the node itself has to judge."""
    if draw.items is None:
        return None
    filter_path = message.parameter("filter_path")
    try:
        items = bulk.split(_plain_body(message), _index_of(message.path))
        bulk.filtered({}, filter_path)
    except ValueError:
        return None
    kind = draw.items.kind
    chosen = bulk.choose(len(items), draw.items.share, draw.random)
    refused = {position: item_refusal(kind, items[position].index) for position in chosen}
    return _Refusal(kind, message, items, refused, filter_path) if refused else None


def _plain_body(message: Message) -> bytes:
    if message.header("content-encoding") != "gzip":
        return message.body
    try:
        return gzip.decompress(message.body)
    except (OSError, EOFError) as error:
        raise bulk.NotBulk(str(error)) from error


def _index_of(path: str) -> str | None:
    index, _, _ = path.strip("/").rpartition("/")
    return index or None


def _canned(kind: Kind, message: Message) -> Answer:
    response = refusal(kind, message.path)
    assert response is not None, f"{kind} is no answer"
    return Answer(response.status, "", list(response.headers.items()), response.body, str(len(response.body)))

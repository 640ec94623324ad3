"""The proxy: passes every request to DynamoDB Local, but for what a test has ordered to happen to it."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from local.simulators.dynamodb_faults.answers import refusal, with_bad_checksum
from local.simulators.dynamodb_faults.faults import Call, Fault, Faults, Kind, Plan
from local.simulators.http import Application, BadRequest, HttpServer, Request, RequestHandler, Response, json_response
from local.simulators.node_faults.proxy import Connections
from local.simulators.node_faults.upstream import Answer, Message, NodeUnreachable, Upstream

_POLL_SECONDS = 0.05


class DynamoDBFaults(Application):
    """The control routes, and what the connections share.

    ===============================  ==================================================================================
    ``POST /_control/faults``        orders a ``Fault``
    ``POST /_control/plan``          draws at random by a ``Plan``
    ``POST /_control/latency``       ``{"seconds": 0.005}``: adds that to every answer
    ``DELETE /_control/faults``      withdraws all three, forgets the journal, lets go what is held
    ``POST /_control/release``       lets go what is held or delayed
    ``GET /_control/journal``        what has happened, oldest first: a list of ``Injection``
    ``GET /_control/counts``         calls by kind
    ``POST /_control/idle``          waits ``{"seconds": …}`` until all clients have gone and nothing is on its way to the engine
    ===============================  ==================================================================================
    """

    def __init__(self, dynamodb_url: str) -> None:
        super().__init__("dynamodb_faults")
        self.dynamodb_url = dynamodb_url
        self.faults = Faults()
        self.connections = Connections()
        self.route("POST", "/_control/faults", lambda request: self._do(self.faults.order, _read(Fault.from_json, request)))
        self.route("POST", "/_control/plan", lambda request: self._do(self.faults.follow, _read(Plan.from_json, request)))
        self.route("POST", "/_control/latency", self._set_latency)
        self.route("DELETE", "/_control/faults", lambda _: self._do(self.faults.clear))
        self.route("POST", "/_control/release", lambda _: self._do(self.faults.release))
        self.route("GET", "/_control/journal", lambda _: json_response([asdict(entry) for entry in self.faults.journal()]))
        self.route("GET", "/_control/counts", lambda _: json_response(self.faults.counts()))
        self.route("POST", "/_control/idle", self._wait_until_idle)

    def _do(self, act: Callable[..., None], *arguments: Any) -> Response:
        act(*arguments)
        return json_response({})

    def _set_latency(self, request: Request) -> Response:
        self.faults.latency = float(request.json()["seconds"])
        return json_response({})

    def _wait_until_idle(self, request: Request) -> Response:
        open_ones = self.connections.wait_until_none(float(request.json().get("seconds", 10)))
        return json_response({"open": open_ones}, 409 if open_ones else 200)


def _read(build: Callable[[Any], Any], request: Request) -> Any:
    try:
        return build(request.json())
    except ValueError as error:
        raise BadRequest(str(error)) from error


class ProxyHandler(RequestHandler):
    """One connection of a client, with a connection of its own to the engine."""

    def setup(self) -> None:
        super().setup()
        application = self.server.application
        assert isinstance(application, DynamoDBFaults)
        self._proxy = application
        self._faults = application.faults
        self._engine = Upstream(application.dynamodb_url)

    def finish(self) -> None:
        self._engine.close()
        super().finish()

    def _receive(self) -> None:
        if self.path.startswith("/_control/"):
            self._proxy.connections.remove(self.connection)
            self._handle()
            return
        if self._refuses({name.lower(): value for name, value in self.headers.items()}):
            self.close_connection = True
            return
        try:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            if len(body) < size:
                self.close_connection = True  # the client ended within its request: half of one must not reach the engine
                return
            self._pass(Message(self.command, self.path, self.headers.items(), body))
        except NodeUnreachable as error:
            print(f"dynamodb_faults: {error}", file=sys.stderr, flush=True)
            if self.connection.fileno() != -1:
                self._reset()  # what a client of the engine itself would see
        except ConnectionError:
            self.close_connection = True  # the client has gone: nothing is owed to it

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _receive

    def _pass(self, message: Message) -> None:
        call = call_of(message)
        fault = self._faults.draw(call)
        if fault is None:
            self._give(self._engine.exchange(message))
            return
        released = self._faults.released
        self._faults.happened(fault.kind, call)
        if fault.kind is Kind.DELAYED:
            self._reset()
            released.wait(fault.seconds)
            self._engine.exchange(message)
        elif fault.kind is Kind.RESET_BEFORE:
            self._reset()
        elif fault.kind.takes_effect:
            self._disturb(fault, call, self._engine.exchange(message), released)
        else:
            self._give(refusal(fault, call))

    def _disturb(self, fault: Fault, call: Call, answer: Answer, released: threading.Event) -> None:
        """Spoil the answer of the engine, which has done the work."""
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
        elif fault.kind is Kind.BAD_CHECKSUM:
            self._give(with_bad_checksum(answer))
        else:
            self._give(refusal(fault, call))

    def _give(self, answer: Answer) -> None:
        if self._faults.latency:
            time.sleep(self._faults.latency)
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


class ProxyServer(HttpServer):
    """Counts the connections from the moment they are accepted until nothing of theirs is on its way to the engine."""

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
        assert isinstance(self.application, DynamoDBFaults)
        return self.application.connections


def call_of(message: Message) -> Call:
    """Read operation and table; of several tables the first."""
    target = message.header("x-amz-target")
    if not target.startswith("DynamoDB_20120810."):
        return Call(target, "", message.body)
    operation = target.partition(".")[2]
    try:
        return Call(operation, _table(json.loads(message.body)), message.body)
    except ValueError:
        return Call(operation, "", message.body)  # the engine says what is wrong with it


def _table(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    if name := body.get("TableName"):
        return str(name)
    if requests := body.get("RequestItems"):
        return str(next(iter(requests)))
    if items := body.get("TransactItems"):
        return str(next(iter(items[0].values())).get("TableName", ""))
    statement = body.get("Statement") or next((entry.get("Statement", "") for entry in body.get("Statements", ())), "")
    return str(statement).partition('"')[2].partition('"')[0]

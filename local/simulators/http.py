"""What every simulator stands on: a threaded HTTP server on 127.0.0.1, routes, JSON, a log of the calls, control routes.

A simulator is an ``Application`` with routes. ``serve`` runs it as a process; ``Server`` runs it in a thread of a test::

    app = Application("slack")
    app.route("POST", "/services/{path+}", receive)
    with Server(app) as server:
        requests.post(f"{server.url}/services/T0/B0/x", json={"text": "hello"})

Every application answers, besides its own routes:

===========================  ==================================================================
``GET /_control/health``     200 ``{"status": "ok", "name": …}`` as soon as the port is open
``GET /_control/calls``      number of calls by operation, control calls not counted
``GET /_control/log``        the calls themselves, oldest first (see ``Call``)
``POST /_control/calls/reset``  forgets both
===========================  ==================================================================
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

_LOOPBACK = "127.0.0.1"
HOST = os.environ.get("SEARCHOPS_SIMULATOR_HOST", _LOOPBACK)
"""Loopback, but in a container that publishes no port (docker-compose.yaml)."""


class ConnectionReset(Exception):
    """Raised by a handler that wants the client to see a TCP reset instead of an answer."""


class BadRequest(ValueError):
    """A request that the application cannot read; answered with HTTP 400 and the message."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; ``path`` is decoded, ``parameters`` are the ``{name}`` parts of the route, header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body as JSON, ``{}`` when there is none.

        :raises BadRequest: the body is not JSON
        """
        if not self.body.strip():
            return {}
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise BadRequest(f"{self.method} {self.path}: expected a JSON body, found {self.body[:80]!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, body, {"Content-Type": "application/json", **(headers or {})})


Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the log keeps it: ``time`` in epoch seconds at its arrival, ``status`` 0 when the connection was reset."""

    time: float
    operation: str
    method: str
    path: str
    status: int
    seconds: float


class CallLog:
    """The calls of a simulator since the last reset, safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def calls(self) -> list[Call]:
        with self._lock:
            return list(self._calls)

    def counts(self) -> dict[str, int]:
        return dict(sorted(Counter(call.operation for call in self.calls()).items()))

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    operation: str
    fixed: int


def _compile(template: str) -> re.Pattern[str]:
    """Turn ``/packages/{PackageID}/history`` into a pattern; ``{name+}`` also takes slashes."""
    parts = re.split(r"\{(\w+\+?)\}", template)
    pattern = "".join(
        re.escape(part) if index % 2 == 0 else f"(?P<{part.rstrip('+')}>{'.+' if part.endswith('+') else '[^/]+'})"
        for index, part in enumerate(parts)
    )
    return re.compile(pattern)


class Application:
    """Routes of one simulator. Of several routes that fit, the one with the longest fixed text wins."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = CallLog()
        self._routes: list[_Route] = []
        self.route("GET", "/_control/health", lambda _: json_response({"status": "ok", "name": name}))
        self.route("GET", "/_control/calls", lambda _: json_response(self.log.counts()))
        self.route("GET", "/_control/log", lambda _: json_response([asdict(call) for call in self.log.calls()]))
        self.route("POST", "/_control/calls/reset", self._reset_calls)

    def route(self, method: str, template: str, handler: Handler, operation: str | None = None) -> None:
        """Add a route; its calls are counted under ``operation`` (default: method and template).

        A route with the method and template of an earlier one takes its place.
        """
        pattern = _compile(template)
        self._routes = [route for route in self._routes if (route.method, route.pattern.pattern) != (method, pattern.pattern)]
        fixed = len(re.sub(r"\{\w+\+?\}", "", template))
        self._routes.append(_Route(method, pattern, handler, operation or f"{method} {template}", fixed))
        self._routes.sort(key=lambda route: -route.fixed)

    def __call__(self, request: Request) -> Response:
        """Answer a request and log the call.

        :raises ConnectionReset: the handler wants the connection reset
        """
        began, operation, status = time.time(), "unknown", 0
        clock = time.perf_counter()
        try:
            route, parameters = self._find(request)
            operation = route.operation if route else operation
            response = self._answer(route, request, parameters)
            status = response.status
            return response
        finally:
            seconds = time.perf_counter() - clock
            if not request.path.startswith("/_control/"):
                self.log.add(Call(began, operation, request.method, request.path, status, round(seconds, 6)))
            outcome = str(status) if status else "reset"
            print(f"{self.name}: {request.method} {request.path} {outcome} {seconds * 1000:.1f} ms", file=sys.stderr, flush=True)

    def _find(self, request: Request) -> tuple[_Route | None, dict[str, str]]:
        for route in self._routes:
            if route.method == request.method and (match := route.pattern.fullmatch(request.path)):
                return route, match.groupdict()
        return None, {}

    def _answer(self, route: _Route | None, request: Request, parameters: Mapping[str, str]) -> Response:
        if route is None:
            return json_response({"message": f"{self.name}: no route for {request.method} {request.path}"}, 404)
        try:
            return route.handler(
                Request(request.method, request.path, request.query, request.headers, request.body, dict(parameters))
            )
        except BadRequest as error:
            return json_response({"message": str(error)}, 400)
        except ConnectionReset:
            raise
        except Exception as error:
            traceback.print_exc()
            return json_response({"message": f"{self.name}: {type(error).__name__}: {error}"}, 500)

    def _reset_calls(self, _: Request) -> Response:
        self.log.clear()
        return json_response({})


def _foreign(headers: Mapping[str, str]) -> str:
    """What is no name of this machine in a request: a web page in its browser sends one. Empty for a client of ours."""
    host, origin = headers.get("host", _LOOPBACK), headers.get("origin", f"http://{_LOOPBACK}")
    names = {host: urlsplit(f"//{host}").hostname, origin: urlsplit(origin).hostname}
    return ", ".join(found for found, name in names.items() if name not in (_LOOPBACK, "localhost"))


class RequestHandler(BaseHTTPRequestHandler):
    """One connection of a client: reads requests and writes what the application answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def _handle(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self._refuses(headers):
            return
        request = Request(self.command, unquote(url.path), parse_qs(url.query, keep_blank_values=True), headers, body)
        try:
            self._write(self.server.application(request))
        except ConnectionReset:
            self._reset()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has gone: nothing is owed to it

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _handle

    def _refuses(self, headers: Mapping[str, str]) -> bool:
        """Answer 403 to what a web page sends, and say whether that was so."""
        found = _foreign(headers) if HOST == _LOOPBACK else ""
        if found:
            self._write(json_response({"message": f"{self.server.application.name}: {found} has no business here"}, 403))
        return bool(found)

    def _write(self, response: Response) -> None:
        self.send_response_only(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def _reset(self) -> None:
        """Close with SO_LINGER 0, which makes the kernel send RST instead of FIN.

        Detached first, so that http.server finds nothing to shut down in an orderly way.
        """
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the application logs one line a request."""


class HttpServer(ThreadingHTTPServer):
    """The listening socket of an application, a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128
    request_handler: type[RequestHandler] = RequestHandler

    def __init__(self, application: Application, port: int) -> None:
        self.application = application
        super().__init__((HOST, port), self.request_handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle of a request is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """An application served from a thread; port 0 takes a free one."""

    def __init__(self, application: Application, port: int = 0, http: type[HttpServer] = HttpServer) -> None:
        self.application = application
        self._http = http(application, port)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name=application.name, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._http.server_address[1]}"

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def serve(application: Application, port: int, http: type[HttpServer] = HttpServer) -> None:
    """Serve until SIGTERM or SIGINT, from the main thread of a process."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Server(application, port, http) as server:
        print(f"{application.name}: listening on {server.url}", file=sys.stderr, flush=True)
        stop.wait()

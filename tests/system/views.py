"""One node seen as one cluster a domain, as it is on AWS, by a proxy that can hold calls back and lose them."""

from __future__ import annotations

import queue
import threading
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from local.simulators.http import Application, Call, ConnectionReset, Request, Response, Server

_GATE_SECONDS = 120


class Gate:
    """Holds calls back until they are lost (they never reach the node, their connection is reset) or let through.

    :param path: how the path of such a call ends, e.g. ``/_open``
    :param times: so many calls are held, later ones pass
    """

    def __init__(self, view: str, path: str, times: int) -> None:
        self.view, self.path = view, path
        self._left = times
        self._lock = threading.Lock()
        self._arrived: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._released = threading.Event()
        self._through = False

    def takes(self, view: str, path: str) -> bool:
        with self._lock:
            taken = self._left > 0 and self.view == view and path.endswith(self.path)
            self._left -= taken
        return taken

    def hold(self, path: str) -> bool:
        """Hold a call; whether it is let through."""
        self._arrived.put(path)
        self._released.wait(_GATE_SECONDS)
        return self._through

    def wait(self, seconds: float) -> str:
        """Block until the next call is held; its path.

        :raises queue.Empty: none came in time
        """
        return self._arrived.get(timeout=seconds)

    def lose(self) -> None:
        self._released.set()

    def let_through(self) -> None:
        self._through = True
        self._released.set()


class NodeViews:
    """``<url>/<view>/…`` is the node, where all indexes (``GET /*``) are those that begin with ``<view>-``."""

    def __init__(self) -> None:
        self.node_url = ""
        self._gates: list[Gate] = []
        self._http = httpx.Client(trust_env=False, timeout=_GATE_SECONDS)
        self._application = Application("views")
        for method in ("GET", "POST", "PUT", "DELETE"):
            self._application.route(method, "/{view}/{path+}", self._forward)
        self._server = Server(self._application)

    @property
    def port(self) -> int:
        return int(self._server.url.rpartition(":")[2])

    def hold(self, view: str, path: str, times: int = 1) -> Gate:
        gate = Gate(view, path, times)
        self._gates.append(gate)
        return gate

    def calls(self, view: str) -> list[Call]:
        """What was asked of a view so far, oldest first."""
        return [call for call in self._application.log.calls() if call.path.startswith(f"/{view}/")]

    def _forward(self, request: Request) -> Response:
        view, path = request.parameters["view"], request.parameters["path"]
        for gate in self._gates:
            if gate.takes(view, f"/{path}") and not gate.hold(f"/{path}"):
                raise ConnectionReset
        path = f"{view}-*" if path == "*" else path
        answer = self._http.request(
            request.method,
            f"{self.node_url}/{quote(path, safe='/*')}",
            params={name: list(values) for name, values in request.query.items()},
            content=request.body,
            headers={"content-type": "application/json"} if request.body else {},
        )
        return Response(answer.status_code, answer.content, {"Content-Type": answer.headers.get("content-type", "text/plain")})

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for gate in self._gates:
            gate.lose()
        self._server.close()
        self._http.close()

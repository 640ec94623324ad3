"""A Slack that keeps what an incoming webhook is sent and fails when told to.

Behaviour after Slack's documentation: "Sending messages using incoming webhooks" (200 with the body ``ok``; 400
``invalid_payload`` and ``no_text``), "Rate limits" (429 with ``Retry-After`` in seconds), "Truncating really long messages" (text
is cut at 40,000 characters). Any path under ``/services/`` is a webhook; its token is not checked.

=============================  ======================================================================================
``POST /services/<anything>``  the webhook
``GET /_control/messages``     what arrived, oldest first: ``[{"time": epoch seconds, "path": …, "body": {…}}]``
``DELETE /_control/messages``  forgets it
``POST /_control/faults``      orders the next ``count`` calls to fail: ``{"count": 3, "kind": "status", "status": 500}``
``DELETE /_control/faults``    withdraws what was ordered and not used up
=============================  ======================================================================================

A fault has a ``kind``: ``status`` answers ``status`` (with ``retry_after`` as a header), ``reset`` resets the connection; both
keep nothing. ``slow`` keeps the message and answers after ``seconds``, so a client that gave up and sends again is seen twice.
Several orders are used up one after the other.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import httpx

from local.simulators.http import Application, BadRequest, ConnectionReset, Request, Response, json_response, serve

MAX_TEXT_CHARACTERS = 40_000


@dataclass(frozen=True, slots=True)
class Fault:
    """What the next ``count`` calls of the webhook get instead of ``ok``."""

    count: int = 1
    kind: Literal["status", "reset", "slow"] = "status"
    status: int = 500
    retry_after: float | None = None
    seconds: float = 0.0

    @classmethod
    def read(cls, order: Any) -> Fault:
        """
        :raises BadRequest: not an order as the module describes it
        """
        try:
            fault = cls(**order)
        except TypeError as error:
            raise BadRequest(f"a fault is {list(cls.__dataclass_fields__)}, found {order!r}: {error}") from error
        if fault.kind not in ("status", "reset", "slow"):
            raise BadRequest(f"kind: expected status, reset or slow, found {fault.kind!r}")
        return fault


class Slack:
    """The state behind the routes, safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []
        self._faults: deque[Fault] = deque()

    def application(self) -> Application:
        app = Application("slack")
        app.route("POST", "/services/{path+}", self._receive, "webhook")
        app.route("GET", "/_control/messages", self._list)
        app.route("DELETE", "/_control/messages", self._clear)
        app.route("POST", "/_control/faults", self._order)
        app.route("DELETE", "/_control/faults", self._withdraw)
        return app

    def _receive(self, request: Request) -> Response:
        arrived = time.time()
        fault = self._next_fault()
        if fault and fault.kind == "reset":
            raise ConnectionReset
        if fault and fault.kind == "status":
            headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            return _text("rate_limited" if fault.status == 429 else "internal_error", fault.status, headers)
        try:
            body = request.json()
        except BadRequest:
            body = None
        if not isinstance(body, dict):
            return _text("invalid_payload", 400)
        if not any(body.get(part) for part in ("text", "blocks", "attachments")):
            return _text("no_text", 400)
        if isinstance(body.get("text"), str):
            body["text"] = body["text"][:MAX_TEXT_CHARACTERS]
        with self._lock:
            self._messages.append({"time": arrived, "path": request.path, "body": body})
        if fault:
            time.sleep(fault.seconds)
        return _text("ok")

    def _next_fault(self) -> Fault | None:
        with self._lock:
            if not self._faults:
                return None
            fault = self._faults.popleft()
            if fault.count > 1:
                self._faults.appendleft(replace(fault, count=fault.count - 1))
            return fault

    def _list(self, _: Request) -> Response:
        with self._lock:
            return json_response(list(self._messages))

    def _clear(self, _: Request) -> Response:
        with self._lock:
            self._messages.clear()
        return json_response({})

    def _order(self, request: Request) -> Response:
        fault = Fault.read(request.json())
        if fault.count > 0:
            with self._lock:
                self._faults.append(fault)
        return json_response(asdict(fault))

    def _withdraw(self, _: Request) -> Response:
        with self._lock:
            self._faults.clear()
        return json_response({})


def _text(body: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, body.encode(), {"Content-Type": "text/html", **(headers or {})})


class SlackControl:
    """The control API of a running simulator, for tests and the demo."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        # Local traffic: a proxy of the user's environment has no business in it.
        self._http = httpx.Client(base_url=self.base_url, trust_env=False, timeout=10)

    def messages(self) -> list[dict[str, Any]]:
        """The bodies that were sent, oldest first."""
        return [message["body"] for message in self._get("/_control/messages")]

    def calls(self) -> list[dict[str, Any]]:
        """Every call of the webhook, those that failed included, as ``local.simulators.http.Call`` has them."""
        return list(self._get("/_control/log"))

    def fail(self, fault: Fault) -> None:
        self._http.post("/_control/faults", json=asdict(fault)).raise_for_status()

    def reset(self) -> None:
        """Forget messages, calls and faults."""
        for method, path in (("DELETE", "messages"), ("DELETE", "faults"), ("POST", "calls/reset")):
            self._http.request(method, f"/_control/{path}").raise_for_status()

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()


def main() -> None:
    parser = argparse.ArgumentParser(description="A Slack incoming webhook that keeps what it is sent.")
    parser.add_argument("--port", type=int, required=True)
    serve(Slack().application(), parser.parse_args().port)


if __name__ == "__main__":
    main()

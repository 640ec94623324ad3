"""All mappings at work, and the control routes.

Control routes besides those of ``local.simulators.http`` (JSON; ``function``: a name, empty for every function):

=====================================  ==============================================================================================
``GET /_control/mappings``             the mappings with their shards, counts, what is open and its age (see ``control.MappingState``)
``POST /_control/wait``                ``{"stream", "wait_seconds"}``: ``{"caught_up": bool}``; stream: an ARN, or a table's name
``POST /_control/pause``               ``{"function", "paused": true}``: delivers nothing more, or goes on
``POST /_control/hold``                ``{"function", "seconds"}``: delivers records only when they are that old; 0 ends it
``POST /_control/orders``              ``orders.Order``: what the next deliveries meet
``DELETE /_control/orders``            withdraws orders, pauses and holds
``POST /_control/speed``               ``{"speed": 60}``: windows, waits and ages pass that much faster; answers with the speed before
=====================================  ==============================================================================================
"""

from __future__ import annotations

import threading
import time

from local.simulators.http import Application, BadRequest, Request, Response, json_response
from local.simulators.streams.effects import Mappings
from local.simulators.streams.mapping import table_of
from local.simulators.streams.orders import Order
from local.simulators.streams.poller import MappingPoller, Surroundings

LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.05


class Pollers:
    """Keeps one poller a mapping that is enabled, and replaces it when the mapping's settings change."""

    def __init__(self, mappings: Mappings, around: Surroundings) -> None:
        self.around = around
        self._mappings = mappings
        self._lock = threading.Lock()
        self._running: dict[str, MappingPoller] = {}
        self._thread = threading.Thread(target=self._run, daemon=True, name="mappings")

    def start(self) -> None:
        self._thread.start()

    def running(self, stream: str | None = None) -> list[MappingPoller]:
        """Of one stream, by its ARN or its table's name, or all."""
        with self._lock:
            found = list(self._running.values())
        return [poller for poller in found if not stream or stream in (poller.mapping.stream, poller.mapping.table)]

    def look(self) -> None:
        """Start, replace and stop pollers as the mappings say now."""
        with self._lock:
            enabled, known = self._mappings.look()
            for uuid, poller in list(self._running.items()):
                if enabled.get(uuid) == poller.mapping and not poller.stopped:
                    continue
                poller.stop()
                if not poller.alive:
                    del self._running[uuid]
            for uuid, mapping in enabled.items():
                if uuid not in self._running:
                    self._running[uuid] = MappingPoller(mapping, self.around)
                    self._running[uuid].start()
            self.around.checkpoints.forget_all_but(known | self._running.keys())

    def wake(self) -> None:
        for poller in self.running():
            poller.wake()

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception as error:
                print(f"streams: event source mappings: {type(error).__name__}: {error}", flush=True)
            time.sleep(LOOK_SECONDS)


def application(pollers: Pollers) -> Application:
    app = Application("streams")
    control = _Control(pollers)
    app.route("GET", "/_control/mappings", control.mappings)
    app.route("POST", "/_control/wait", control.wait)
    app.route("POST", "/_control/pause", control.pause)
    app.route("POST", "/_control/hold", control.hold)
    app.route("POST", "/_control/orders", control.order)
    app.route("DELETE", "/_control/orders", control.clear)
    app.route("POST", "/_control/speed", control.speed)
    return app


class _Control:
    def __init__(self, pollers: Pollers) -> None:
        self._pollers = pollers
        self._pace = pollers.around.pace
        self._orders = pollers.around.orders

    def mappings(self, _: Request) -> Response:
        return json_response([poller.state(time.time()) for poller in self._pollers.running()])

    def wait(self, request: Request) -> Response:
        order = request.json()
        deadline = time.monotonic() + order.get("wait_seconds", 30)
        stream: str = order.get("stream") or ""
        caught_up = False
        while not caught_up and time.monotonic() < deadline:
            self._pollers.look()
            pollers = self._pollers.running(stream)
            if not pollers:
                raise BadRequest(f"expected an enabled event source mapping of {table_of(stream) or 'some table'}, found none")
            caught_up = all(poller.wait_until_caught_up(deadline) for poller in pollers)
            if not caught_up:
                time.sleep(_AGAIN_SECONDS)  # one was stopped meanwhile: look whom the mapping has now
        return json_response({"caught_up": caught_up})

    def pause(self, request: Request) -> Response:
        order = request.json()
        (self._pace.paused.add if order["paused"] else self._pace.paused.discard)(order.get("function", ""))
        return self._changed()

    def hold(self, request: Request) -> Response:
        order = request.json()
        self._pace.held[order.get("function", "")] = float(order["seconds"])
        return self._changed()

    def order(self, request: Request) -> Response:
        try:
            self._orders.add(Order.parse(request.json()))
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return self._changed()

    def clear(self, _: Request) -> Response:
        self._orders.clear()
        self._pace.paused.clear()
        self._pace.held.clear()
        return self._changed()

    def speed(self, request: Request) -> Response:
        before, self._pace.speed = self._pace.speed, float(request.json()["speed"])
        self._pollers.wake()
        return json_response({"speed": before})

    def _changed(self) -> Response:
        self._pollers.wake()
        return json_response({})

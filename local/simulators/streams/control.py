"""A client for the control routes of the stream poller: for tests, the demo and the referee of the fault runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from local.simulators.streams.mapping import table_of

BACK_SECONDS = 30.0
"""How long a poller that was killed is given to be there again."""
_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class MappingState:
    """A mapping as the poller counts it since it was started, or since the mapping was changed.

    :param problem: why nothing can be read or delivered at the moment, if that is so
    :param open: records that are read and not done
    :param iterator_age_seconds: of the oldest of them, in seconds of the service (real ones times the speed)
    :param counts: records: read, filtered, done, discarded, handed_over; deliveries: invocations, errors, timeouts, partial_failures,
        twice, together, kill_handler; others: failed_reads, destination_failures. What is 0 is left out.
    """

    uuid: str
    function: str
    stream: str
    table: str
    problem: str
    paused: bool
    open: int
    iterator_age_seconds: float
    shards: Sequence[Mapping[str, Any]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


class StreamsControl:
    """Disturbs and watches a poller at ``base_url``. A stream is named by its ARN or by its table."""

    def __init__(self, base_url: str) -> None:
        # Local traffic: a proxy of the user's environment has no business in it.
        self._http = httpx.Client(base_url=base_url.rstrip("/"), trust_env=False, timeout=660)

    def mappings(self, stream: str | None = None) -> list[MappingState]:
        found = [MappingState(**row) for row in self._call("GET", "mappings")]
        return [mapping for mapping in found if stream is None or mapping.table == table_of(stream)]

    def wait_until_caught_up(self, stream: str | None = None, *, wait_seconds: float = 30) -> None:
        """Wait until every record that is in the stream now is done, by all functions mapped to it; later ones may be open.

        :raises TimeoutError: that takes longer; says what is open
        :raises ValueError: no mapping of that stream is enabled
        """
        if not self._call("POST", "wait", {"stream": stream, "wait_seconds": wait_seconds})["caught_up"]:
            raise TimeoutError(
                f"expected {stream or 'all streams'} caught up after {wait_seconds:g} s, found {self.mappings(stream)}"
            )

    def iterator_age(self, stream: str | None = None) -> float:
        """Age of the oldest record that is not done, in seconds of the service; 0 when all are."""
        return max((mapping.iterator_age_seconds for mapping in self.mappings(stream)), default=0.0)

    def counts(self, stream: str | None = None) -> Counter[str]:
        """The counts of all mappings of a stream, or of all streams, together."""
        total: Counter[str] = Counter()
        for mapping in self.mappings(stream):
            total.update(mapping.counts)
        return total

    def pause(self, function: str = "") -> None:
        """Deliver nothing more to a function, or to any; what is under way is not held back."""
        self._call("POST", "pause", {"function": function, "paused": True})

    def resume(self, function: str = "") -> None:
        self._call("POST", "pause", {"function": function, "paused": False})

    def hold(self, seconds: float, function: str = "") -> None:
        """Deliver records only when they are that many seconds of the service old, so that the iterator age grows to it."""
        self._call("POST", "hold", {"function": function, "seconds": seconds})

    def deliver_twice(self, function: str = "", *, times: int = 1, after: int = 0) -> None:
        """Deliver each of the next ``times`` batches again when it has been answered, ``after`` that many."""
        self._order("twice", function, times, after)

    def deliver_together(self, function: str = "", *, times: int = 1, after: int = 0) -> None:
        """Deliver each of the next batches to two handlers at the same moment."""
        self._order("together", function, times, after)

    def kill_handler(self, function: str = "", *, times: int = 1, after: int = 0, seconds: float = 0.0) -> None:
        """Kill the handlers of each of the next batches that many seconds (real ones) after they have begun, if they still run."""
        self._order("kill_handler", function, times, after, seconds)

    def clear(self) -> None:
        """Withdraw orders, pauses and holds."""
        self._call("DELETE", "orders")

    def speed(self, factor: float) -> float:
        """Let windows, waits and ages pass that much faster than Lambda's; the factor before."""
        return float(self._call("POST", "speed", {"speed": factor})["speed"])

    def close(self) -> None:
        self._http.close()

    def _order(self, kind: str, function: str, times: int, after: int, seconds: float = 0.0) -> None:
        order = {"kind": kind, "function": function, "times": times, "after": after, "seconds": seconds}
        self._call("POST", "orders", order)

    def _call(self, method: str, path: str, order: Any = None) -> Any:
        response = self._ask(method, f"/_control/{path}", order)
        if response.is_error:
            raise ValueError(f"{method} /_control/{path}: HTTP {response.status_code}: {response.text}")
        return response.json()

    def _ask(self, method: str, path: str, order: Any) -> httpx.Response:
        """Ask a poller that is killed meanwhile again when it is back; what was ordered before is forgotten then."""
        deadline = time.monotonic() + BACK_SECONDS
        while True:
            try:
                return self._http.request(method, path, json=order)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN_SECONDS)

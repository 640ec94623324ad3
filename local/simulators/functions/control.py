"""The control API of a running simulator, for tests and the demo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx


class FunctionsControl:
    def __init__(self, base_url: str) -> None:
        # Local traffic: a proxy of the user's environment has no business in it.
        self._http = httpx.Client(base_url=base_url.rstrip("/"), trust_env=False, timeout=120)

    def together(self, function: str, events: Sequence[Any]) -> list[dict[str, Any]]:
        """Deliver events at the same moment, each to a process of its own; the results in the same order."""
        return list(self._post("together", {"function": function, "events": list(events)}))

    def copies(self, copies: int, count: int = 1) -> None:
        """Deliver each of the next ``count`` asynchronous events that often."""
        self._post("copies", {"copies": copies, "count": count})

    def poll(self, function: str, queue_url: str, *, report_failures: bool = True) -> dict[str, Any]:
        """Hand one batch of a queue to a function."""
        return dict(self._post("poll", {"function": function, "queue_url": queue_url, "report_failures": report_failures}))

    def speed(self, factor: float) -> float:
        """Let the waits between asynchronous attempts pass that much faster than Lambda's; the factor before."""
        return float(self._post("speed", {"speed": factor})["speed"])

    def running(self, function: str) -> list[int]:
        """The process ids of the invocations under way."""
        return [run["pid"] for run in self._get("running") if run["function"] == function]

    def deliveries(self, function: str) -> list[dict[str, Any]]:
        return [delivery for delivery in self._get("deliveries") if delivery["function"] == function]

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str) -> Any:
        return self._http.get(f"/_control/{path}").raise_for_status().json()

    def _post(self, path: str, order: Any) -> Any:
        return self._http.post(f"/_control/{path}", json=order).raise_for_status().json()

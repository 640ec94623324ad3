"""A client for the control routes of the Firehose simulator: for tests, benchmarks and the referee of the fault runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream as the simulator counts it.

    ``taken`` and ``refused`` are records of puts, ``delivered`` and ``failed`` their ends: the sum of both is ``taken`` once nothing is
    open, and more by as many as were ordered to be delivered twice. ``oldest_seconds`` is the age of the oldest record that has no end.
    """

    name: str
    status: str
    taken: int
    taken_bytes: int
    refused: int
    delivered: int
    failed: int
    retried: int
    attempts: int
    backed_up: int
    objects: int
    buffered: int
    buffered_bytes: int
    under_way: int
    unwritten_objects: int
    oldest_seconds: float | None
    paused: bool

    @property
    def is_empty(self) -> bool:
        return not (self.buffered or self.under_way or self.unwritten_objects)


class FirehoseControl:
    """Disturbs and watches a simulator at ``base_url``."""

    def __init__(self, base_url: str) -> None:
        # Local traffic: a proxy of the user's environment has no business in it.
        self._http = httpx.Client(base_url=base_url.rstrip("/"), trust_env=False, timeout=330)

    def streams(self) -> dict[str, StreamState]:
        return {row["name"]: StreamState(**row) for row in self._call("GET", "streams")}

    def stream(self, name: str) -> StreamState:
        return self.streams()[name]

    def flush(self, stream: str | None = None, *, wait_seconds: float = 30) -> bool:
        """Let a stream, or all, deliver at once what they hold; True as soon as every record has its end, False after the time.

        A record that has to be tried again is tried at once, but after that in its own time.
        """
        return bool(self._call("POST", "flush", {"stream": stream, "wait_seconds": wait_seconds})["empty"])

    def wait_until_empty(self, stream: str | None = None, *, wait_seconds: float = 30) -> bool:
        """Wait, without a flush, until every record has its end; False when that takes longer."""
        return bool(self._call("POST", "wait", {"stream": stream, "wait_seconds": wait_seconds})["empty"])

    def pause(self, stream: str | None = None) -> None:
        """Stop to deliver: what is put stays in the buffer."""
        self._call("POST", "pause", {"stream": stream, "paused": True})

    def resume(self, stream: str | None = None) -> None:
        self._call("POST", "pause", {"stream": stream, "paused": False})

    def settings(self, **values: Any) -> dict[str, Any]:
        """Set what ``settings.Settings`` names; all settings come back. The quotas of all streams are full again."""
        return dict(self._call("POST", "settings", values))

    def fault(self, kind: str, operation: str = "*", **options: Any) -> None:
        """Order one fault, e.g. ``fault("throttle", "PutRecordBatch", first=2, last=3)``; the kinds are in ``faults``."""
        self.faults({"kind": kind, "operation": operation, **options})

    def faults(self, *faults: Mapping[str, Any]) -> None:
        self._call("POST", "faults", list(faults))

    def down(self) -> None:
        """Answer every call with HTTP 503 until the faults are cleared."""
        self.fault("server_error", status=503, code="ServiceUnavailable")

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def happened(self) -> dict[str, int]:
        """How many calls met each kind of fault since the faults were last cleared."""
        return dict(self._call("GET", "faults/happened"))

    def calls(self) -> dict[str, int]:
        """Number of calls by operation since the last reset."""
        return dict(self._call("GET", "calls"))

    def reset_calls(self) -> None:
        self._call("POST", "calls/reset")

    def reset(self) -> None:
        """Forget streams with what they hold, faults, calls and settings."""
        self._call("POST", "reset")

    def close(self) -> None:
        self._http.close()

    def _call(self, method: str, path: str, order: Any = None) -> Any:
        response = self._http.request(method, f"/_control/{path}", json=order)
        if response.is_error:
            raise ValueError(f"{method} /_control/{path}: HTTP {response.status_code}: {response.text}")
        return response.json()

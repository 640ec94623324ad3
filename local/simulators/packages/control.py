"""A client for the control routes of the package simulator: for tests, the demo and the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from local.simulators.http import Call
from local.simulators.packages.model import Transition


class PackagesControl:
    """Sets up, disturbs and watches a simulator at ``base_url``."""

    def __init__(self, base_url: str) -> None:
        self._base = base_url.rstrip("/") + "/_control"

    def reset(self) -> None:
        """Forget packages, associations, domains, faults, calls and settings; the next package is F100000001."""
        self._call("POST", "/reset")

    def domain(self, name: str, endpoint: str | None = None, *, serial_only: bool = True) -> None:
        """Make a domain; with an endpoint its associations act on the real node."""
        self._call("POST", "/domains", {"name": name, "endpoint": endpoint, "serial_only": serial_only})

    def speed(self, factor: float) -> None:
        """Make service times pass that much faster, for every state that begins from now on."""
        self._call("POST", "/speed", {"speed": factor})

    def durations(self, **seconds: float) -> None:
        """Set service times: update_visible, copying, validating, associating, dissociating."""
        self._call("POST", "/durations", seconds)

    def settings(self, **values: Any) -> dict[str, Any]:
        """Set what ``settings.Settings`` names; all settings come back."""
        settings: dict[str, Any] = self._call("POST", "/settings", values)
        return settings

    def fault(self, kind: str, operation: str = "*", **options: Any) -> None:
        """Order one fault, e.g. ``fault("throttle", "UpdatePackage", first=2, last=3)``; the kinds are in ``faults``."""
        self.faults({"kind": kind, "operation": operation, **options})

    def faults(self, *faults: Mapping[str, Any]) -> None:
        self._call("POST", "/faults", list(faults))

    def clear_faults(self) -> None:
        """Forget the faults and end the states that were ordered never to end."""
        self._call("DELETE", "/faults")

    def calls(self) -> dict[str, int]:
        """Number of calls by operation since the last reset."""
        calls: dict[str, int] = self._call("GET", "/calls")
        return calls

    def log(self) -> list[Call]:
        """The calls, oldest first."""
        return [Call(**row) for row in self._call("GET", "/log")]

    def reset_calls(self) -> None:
        self._call("POST", "/calls/reset")

    def transitions(self, package_id: str | None = None, domain: str | None = None) -> list[Transition]:
        """Changes of state, oldest first, of everything or of a package, or of an association with a domain."""
        rows = [Transition(**row) for row in self._call("GET", "/transitions")]
        return [row for row in rows if package_id in (None, row.package_id) and domain in (None, row.domain)]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        response = requests.request(method, self._base + path, json=body, timeout=30)
        if not response.ok:
            raise ValueError(f"{method} {self._base}{path}: HTTP {response.status_code}: {response.text}")
        return response.json()

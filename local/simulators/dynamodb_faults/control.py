"""A client for the control routes, and the proxy in a thread of a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import httpx

from local.simulators.dynamodb_faults.faults import Fault, Injection, Kind, Plan
from local.simulators.dynamodb_faults.proxy import DynamoDBFaults, ProxyServer
from local.simulators.http import Server


class DynamoDBFaultControl:
    """Orders and watches the faults of a running proxy; `url` is also where clients send to."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # Local traffic: a proxy of the user's environment has no business in it.
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=10)

    def order(self, fault: Fault) -> None:
        """Order a fault. Of several that strike a call, the first ordered happens."""
        self._call("POST", "faults", asdict(fault))

    def random(self, seed: int, probabilities: Mapping[Kind, float], **options: Any) -> None:
        """Draw faults at random from now on; `options` are the further fields of ``Plan``."""
        self._call("POST", "plan", asdict(Plan(seed, probabilities, **options)))

    def latency(self, seconds: float) -> None:
        """Add that to every answer from now on."""
        self._call("POST", "latency", {"seconds": seconds})

    def clear(self) -> None:
        """Withdraw orders, plan and latency, forget the journal and let go what is held."""
        self._call("DELETE", "faults")

    def release(self) -> None:
        """Let go what is held (SLOW, TIMEOUT) or delayed (DELAYED) now, before its time."""
        self._call("POST", "release")

    def counts(self) -> Counter[Kind]:
        """How many calls met each kind since the last `clear`."""
        return Counter({Kind(kind): count for kind, count in self._call("GET", "counts").items()})

    def journal(self) -> list[Injection]:
        """What happened since the last `clear`, oldest first."""
        return [Injection(**entry | {"kind": Kind(entry["kind"])}) for entry in self._call("GET", "journal")]

    def wait_until_idle(self, seconds: float = 10) -> None:
        """Wait until every client has closed its connections and the engine has had all that they sent, killed clients included.

        :raises TimeoutError: some are open after that many seconds
        """
        answer = self._http.post("/_control/idle", json={"seconds": seconds}, timeout=seconds + 10)
        if answer.status_code == 409:
            raise TimeoutError(
                f"expected no open connection after {seconds:g} s, found {answer.json()['open']}: close the clients"
            )
        answer.raise_for_status()

    def close(self) -> None:
        self._http.close()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, f"/_control/{path}", json=body)
        if answer.is_error:
            raise ValueError(f"{method} {path}: {answer.text}")
        return answer.json()


class DynamoDBProxy(DynamoDBFaultControl):
    """A proxy before DynamoDB Local, in a thread of this process.

    with DynamoDBProxy(cloud.endpoints["dynamodb"]) as proxy:
        proxy.order(Fault(Kind.RESET_AFTER))
        boto3.client("dynamodb", endpoint_url=proxy.url)…
    """

    def __init__(self, dynamodb_url: str, port: int = 0) -> None:
        self._server = Server(DynamoDBFaults(dynamodb_url), port, ProxyServer)
        super().__init__(self._server.url)

    def start(self) -> Self:
        self._server.start()
        return self

    def close(self) -> None:
        super().close()
        self._server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

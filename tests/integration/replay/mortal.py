"""A task that dies at its n-th write: from then on it sends nothing any more."""

from __future__ import annotations

import threading
from typing import Any

from local.cloud import Cloud
from searchops.core.bulk.bucket import Bucket
from tests.integration.replay.world import at

WRITES = ("UpdateItem", "PutItem", "DeleteItem", "PutObject", "DeleteObject")


class Killed(BaseException):
    """No error that anybody handles: as SIGKILL, it ends everything."""


class Mortality:
    """Clients of one task.

    :param kill: ``before`` the n-th write is sent, or ``after`` it has taken effect and before its answer is read
    """

    def __init__(self, cloud: Cloud, number: int, kill: str) -> None:
        self._number = number
        self._kill = kill
        self._lock = threading.Lock()
        self._count = 0
        self._dead = False
        self.dynamodb = self._mortal(at(cloud.endpoints["dynamodb"], "dynamodb"))
        self._s3 = self._mortal(at(cloud.endpoints["aws"], "s3"))

    def bucket(self, bucket: Bucket) -> Bucket:
        return Bucket(self._s3, bucket.name)

    def _mortal(self, client: Any) -> Any:
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register(f"before-send.{service}", self._before)
        client.meta.events.register(f"response-received.{service}", self._after)
        return client

    def _before(self, event_name: str, **_: Any) -> None:
        with self._lock:
            if self._dead:
                raise Killed
            if event_name.rpartition(".")[2] in WRITES:
                self._count += 1
                if self._kill == "before" and self._count == self._number:
                    self._dead = True
                    raise Killed

    def _after(self, event_name: str, **_: Any) -> None:
        with self._lock:
            if self._dead:
                raise Killed
            if self._kill == "after" and self._count >= self._number and event_name.rpartition(".")[2] in WRITES:
                self._dead = True
                raise Killed

"""A stream that keeps the service's limits and answers as a test orders, on a clock that moves when somebody sleeps."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

Answer = Callable[[list[bytes]], dict[str, Any]]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class SmallFirehose:
    """``orders`` are answers of the next calls: a set of places that fail, an exception, or None for a call that takes everything."""

    def __init__(self, clock: Clock | None = None, *, seconds_a_call: float = 0.0) -> None:
        self.clock = clock or Clock()
        self.seconds_a_call = seconds_a_call
        self.calls: list[list[bytes]] = []
        self.taken: list[bytes] = []
        self.orders: list[set[int] | Exception | None] = []
        self.always: Callable[[], set[int] | Exception | None] = lambda: None

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        data = [record["Data"] for record in Records]
        body = json.dumps(
            {"DeliveryStreamName": DeliveryStreamName, "Records": [{"Data": base64.b64encode(d).decode()} for d in data]}
        )
        assert 1 <= len(data) <= 500
        assert len(body) <= 4 * 2**20 + 2 * len(data)  # json.dumps writes ", " between them
        assert all(len(record) <= 1_024_000 for record in data)
        self.calls.append(data)
        self.clock.now += self.seconds_a_call
        order = self.orders.pop(0) if self.orders else self.always()
        if isinstance(order, Exception):
            raise order
        failed = order or set()
        self.taken += [record for place, record in enumerate(data) if place not in failed]
        return {
            "FailedPutCount": len(failed),
            "RequestResponses": [
                {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
                if place in failed
                else {"RecordId": str(place)}
                for place in range(len(data))
            ],
        }


def refusal(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "as ordered"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutRecordBatch")

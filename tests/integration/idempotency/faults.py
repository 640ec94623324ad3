"""Answers that DynamoDB Local never gives, put in its place before a request is sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse


class Requests:
    """What a client sends to DynamoDB, each try counted by its operation. The next ``times`` are answered with an error."""

    def __init__(self, client: Any) -> None:
        self.sent: Counter[str] = Counter()
        self._error: tuple[str, int] = ("", 0)
        client.meta.events.register("before-send.dynamodb", self._on_request)

    def answer(self, code: str, times: int) -> None:
        self._error = (code, times)

    def _on_request(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        target = request.headers["X-Amz-Target"]
        self.sent[(target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]] += 1
        code, times = self._error
        if not times:
            return None
        self._error = (code, times - 1)
        body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": f"{code} by order"}).encode()
        status = 500 if code.startswith("Internal") else 400
        return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0"}, _Body(body))


class _Body(BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()

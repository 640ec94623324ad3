"""A bucket of its own in moto, and the failures that a test orders."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

REGION = "ap-northeast-1"


def client_of(url: str) -> Any:
    session = boto3.session.Session(aws_access_key_id="testing", aws_secret_access_key="testing")
    return session.client("s3", region_name=REGION, endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content


class SmallS3:
    """``fails(operation, key)`` names an error code, or nothing, for each call; it is asked before the call is sent."""

    def __init__(self, client: Any) -> None:
        self.bucket = f"b-{uuid.uuid4().hex[:12]}"
        self.client = client
        self.client.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.fails: Callable[[str, str], str] = lambda operation, key: ""
        self.calls: list[tuple[str, str]] = []
        self.client.meta.events.register("before-send.s3", self._before)

    def _before(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        operation, key = event_name.rpartition(".")[2], request.url.partition(f"/{self.bucket}/")[2].partition("?")[0]
        self.calls.append((operation, key))
        code = self.fails(operation, key)
        if not code:
            return None
        status = {"ConditionalRequestConflict": 409, "AccessDenied": 403, "NoSuchBucket": 404}.get(code, 503)
        body = f"<Error><Code>{code}</Code><Message>as ordered</Message></Error>".encode()
        return AWSResponse(request.url, status, {"Content-Type": "application/xml"}, Body(body))

    def keys(self, prefix: str = "") -> list[str]:
        answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

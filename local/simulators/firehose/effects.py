"""The node and the buckets."""

from __future__ import annotations

from typing import Any

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.simulators.firehose.documents import Answer, S3Object

_TIMEOUT_SECONDS = 60.0


class OpenSearch:
    """The node to which every domain and endpoint leads."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=_TIMEOUT_SECONDS)

    def bulk(self, body: bytes) -> Answer:
        try:
            answer = self._http.post(
                "/_bulk",
                params={"filter_path": "items.*.status,items.*.error.type,items.*.error.reason"},
                content=body,
                headers={"Content-Type": "application/x-ndjson"},
            )
        except httpx.HTTPError as error:
            return Answer(0, reason=f"{type(error).__name__}: {error}")
        return Answer(answer.status_code, answer.content)


class S3:
    """The buckets of an S3 endpoint."""

    def __init__(self, endpoint_url: str) -> None:
        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="firehose-service",
            aws_secret_access_key="firehose-service",
            config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}),
        )

    def put(self, written: S3Object) -> None:
        try:
            self._s3.put_object(Bucket=written.bucket, Key=written.key, Body=written.body)
        except (ClientError, BotoCoreError) as error:
            raise OSError(f"s3://{written.bucket}/{written.key} cannot be written: {error}") from error

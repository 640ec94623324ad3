"""The service's copy of a source object."""

from __future__ import annotations

from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


class CopyFailed(Exception):
    """The object cannot be copied; the text is for ErrorDetails."""


class Objects(Protocol):
    def fetch(self, bucket: str, key: str) -> bytes:
        """The bytes of an object.

        :raises CopyFailed: it is not there, or cannot be read
        """


class S3Objects:
    """Objects of an S3 endpoint.

    An object under SSE-KMS cannot be copied: "OpenSearch Service can't access files in S3 that you protect using an AWS KMS key"
    (developer guide, custom packages). That this shows as COPY_FAILED, and with which words, is [unknown].
    """

    def __init__(self, endpoint_url: str) -> None:
        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="opensearch-service",
            aws_secret_access_key="opensearch-service",
            config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30, retries={"max_attempts": 2}),
        )

    def fetch(self, bucket: str, key: str) -> bytes:
        try:
            answer = self._s3.get_object(Bucket=bucket, Key=key)
            if answer.get("ServerSideEncryption", "").startswith("aws:kms"):
                raise CopyFailed(f"The file s3://{bucket}/{key} is encrypted with an AWS KMS key and cannot be read")
            body: bytes = answer["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise CopyFailed(f"The file s3://{bucket}/{key} cannot be read: {error}") from error
        return body

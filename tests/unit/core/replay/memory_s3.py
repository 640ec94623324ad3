"""As much of S3 as a list of keys needs, in a dictionary: property tests make thousands of calls."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from searchops.core.bulk.bucket import Bucket


class MemoryS3:
    """:param now: epoch seconds; what is written then has them as LastModified"""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.puts = 0

    @property
    def bucket(self) -> Bucket:
        return Bucket(self, "b")

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str = "") -> None:
        if IfNoneMatch and Key in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": ""}}, "PutObject")
        self.puts += 1
        self.objects[Key] = (Body, self.now)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Key][0]), "ETag": "e"}

    def delete_object(self, *, Bucket: str, Key: str) -> None:
        self.objects.pop(Key, None)

    def get_paginator(self, name: str) -> MemoryS3:
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        for key in sorted(self.objects, key=str.encode):
            if key.startswith(Prefix):
                body, at = self.objects[key]
                yield {"Contents": [{"Key": key, "Size": len(body), "LastModified": datetime.fromtimestamp(at, UTC)}]}

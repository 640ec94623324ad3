"""The bucket of bulk indexing: whole objects, and errors of the two families."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from searchops.core.errors import classify_client_error, code_of

_CONFLICT_TRIES = 6
"""How often a conditional write is tried that meets another one of the same object."""


@dataclass(frozen=True, slots=True)
class Stored:
    """``modified_at``: epoch seconds, by the clock of S3."""

    key: str
    size: int
    modified_at: float


class Bucket:
    """
    :param s3: a boto3 S3 client. Its own retries and time-outs are what a call may take
    """

    def __init__(self, s3: Any, name: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._s3 = s3
        self.name = name
        self._sleep = sleep

    def put(self, key: str, body: bytes) -> None:
        """Write an object, over an earlier one.

        :raises TransientError, DataError: it could not be written
        """
        try:
            self._s3.put_object(Bucket=self.name, Key=key, Body=body)
        except Exception as error:
            raise classify_client_error(error) from error

    def put_once(self, key: str, body: bytes) -> None:
        """Write an object whose key follows from its content; one that is there is this one.

        :raises TransientError, DataError: it could not be written
        """
        for attempt in range(1, _CONFLICT_TRIES + 1):
            try:
                self._s3.put_object(Bucket=self.name, Key=key, Body=body, IfNoneMatch="*")
                return
            except Exception as error:
                code = code_of(error)
                if code in ("PreconditionFailed", "412"):
                    return
                if code != "ConditionalRequestConflict" or attempt == _CONFLICT_TRIES:
                    raise classify_client_error(error) from error
            self._sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311 - no secret

    def get(self, key: str) -> bytes | None:
        """
        :return: None where there is no such object
        """
        found = self.get_tagged(key)
        return None if found is None else found[0]

    def get_tagged(self, key: str) -> tuple[bytes, str] | None:
        """
        :return: an object and its ETag, for `put_if`; None where there is no such object
        """
        try:
            answer = self._s3.get_object(Bucket=self.name, Key=key)
            return answer["Body"].read(), str(answer["ETag"])
        except Exception as error:
            if code_of(error) in ("NoSuchKey", "404"):
                return None
            raise classify_client_error(error) from error

    def put_if(self, key: str, body: bytes, etag: str) -> bool:
        """Write over an object, as long as it is still the one that was read.

        :return: whether it was; nothing is written where it is not
        :raises TransientError, DataError: it could not be written
        """
        try:
            self._s3.put_object(Bucket=self.name, Key=key, Body=body, IfMatch=etag)
        except Exception as error:
            if code_of(error) in ("PreconditionFailed", "412", "NoSuchKey", "404", "ConditionalRequestConflict"):
                return False
            raise classify_client_error(error) from error
        return True

    def list(self, prefix: str) -> Iterator[Stored]:
        """The objects below a prefix in the order of their keys: one call for each thousand."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        try:
            for page in pages:
                for entry in page.get("Contents", []):
                    yield Stored(entry["Key"], entry["Size"], entry["LastModified"].timestamp())
        except Exception as error:
            raise classify_client_error(error) from error

    def delete(self, key: str) -> None:
        """Remove an object; one that is gone already is as well."""
        try:
            self._s3.delete_object(Bucket=self.name, Key=key)
        except Exception as error:
            raise classify_client_error(error) from error

"""Dictionaries as objects: the source that somebody edits, and the content-addressed copy that is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from searchops.core.dictionary.model import sha256, short
from searchops.core.dictionary.service import code_of
from searchops.core.errors import DataError, SearchOpsError, classify_client_error

# A dictionary sits in the Java heap of every node (AWS developer guide, custom packages); beyond this somebody named the wrong file.
MAX_BYTES = 256 * 1024 * 1024


def read_source(source: str, path: Path | None, s3: Any) -> bytes:
    """The bytes of ``s3://bucket/key``, or of the local file at ``path``, which ``source`` names for people.

    :raises DataError: there is nothing, or more than 256 MiB
    """
    if path is None:
        parts = urlsplit(source)
        return get_object(s3, parts.netloc, parts.path.lstrip("/"), source)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{source}: {path.stat().st_size:,} bytes, expected at most {MAX_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{source}: expected a dictionary file, found none that can be read ({error.strerror})") from None


def get_object(s3: Any, bucket: str, key: str, where: str) -> bytes:
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] > MAX_BYTES:
            raise DataError(f"{where}: {answer['ContentLength']:,} bytes, expected at most {MAX_BYTES:,}")
        return answer["Body"].read()  # type: ignore[no-any-return]
    except SearchOpsError:
        raise
    except Exception as error:
        if code_of(error) in ("NoSuchKey", "NoSuchBucket", "404"):
            raise DataError(f"{where}: expected an object, found none ({code_of(error)})") from error
        raise classify_client_error(error) from error


class DictionaryStore:
    """``s3://<bucket>/dictionaries/<package>/<sha256>``: each object is written once and never changed."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self.s3 = s3
        self.bucket = bucket

    def key(self, package_key: str, fingerprint: str) -> str:
        return f"dictionaries/{package_key}/{fingerprint}"

    def put(self, package_key: str, content: bytes) -> str:
        """Keep the content and return its key.

        SSE-S3 is named because OpenSearch Service can not read SSE-KMS objects, and a bucket's default may be that.
        """
        fingerprint = sha256(content)
        key = self.key(package_key, fingerprint)
        try:
            self.s3.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=content,
                IfNoneMatch="*",
                ServerSideEncryption="AES256",
                ContentType="text/plain; charset=utf-8",
            )
        except Exception as error:
            if code_of(error) != "PreconditionFailed":
                raise classify_client_error(error) from error
        self.get(package_key, fingerprint)
        return key

    def get(self, package_key: str, fingerprint: str) -> bytes:
        """The content, checked against its fingerprint.

        :raises DataError: the object is missing, or its bytes are others than its name says
        """
        where = f"s3://{self.bucket}/{self.key(package_key, fingerprint)}"
        content = get_object(self.s3, self.bucket, self.key(package_key, fingerprint), where)
        if (found := sha256(content)) != fingerprint:
            raise DataError(
                f"{where}: expected content with that sha256, found {short(found)}: somebody changed the object; delete it and run again"
            )
        return content

    def find(self, package_key: str, fingerprint: str | None) -> bytes | None:
        """The content, or None where it is not kept: content that others published, or a bucket that was emptied."""
        if fingerprint is None:
            return None
        try:
            return self.get(package_key, fingerprint)
        except DataError as error:
            if "found none" in str(error):
                return None
            raise

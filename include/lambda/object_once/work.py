"""What the function does with an object: check a dictionary file and record its fingerprint. Put your own work in its place.

The record is ``s3://<bucket>/checks/<key>/<sha256>.json``; for a key that is too long for that its sha256 stands in. Its name follows
from the content and it is written only where there is none, so work that is done twice, after a crash for instance, leaves one record.
"""

from __future__ import annotations

import csv
import functools
import json
import os
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.exceptions import ClientError

from searchops.core.dictionary.formats import lines
from searchops.core.dictionary.model import Kind, sha256
from searchops.core.errors import DataError
from searchops.core.idempotency.guard import Claim
from searchops.core.object_events import Change, ObjectEvent

PREFIX = "checks/"
MAX_BYTES = 8 * 1024 * 1024  # a file takes about four times its size, and the smallest function has 128 MB of memory
MAX_KEY_BYTES = 900  # of S3's 1,024; the rest is for what the record's name adds
USER_DICTIONARY_FIELDS = 4  # term, its segments, their readings, a part of speech
_GONE = {"NoSuchKey", "NoSuchVersion", "PreconditionFailed", "404", "412"}


@functools.cache
def s3() -> Any:
    return boto3.client("s3")


def work(event: ObjectEvent, claim: Claim) -> dict[str, Any]:
    """Return what the claim keeps as the result.

    :raises DataError: the file is no dictionary; it is not tried again
    :raises ClientError: S3 does not answer, or not us: it is tried again
    """
    if event.key.startswith(PREFIX) or event.change is not Change.CREATED:
        return {"checked": False, "why": "a record of ours" if event.key.startswith(PREFIX) else "removed"}
    content = _content(event)
    if content is None:
        return {"checked": False, "why": "replaced or removed meanwhile: that is an event of its own"}
    found = _check(event.key, content)
    claim.check()
    return {"checked": True, "record": _record(event, found)} | found


def _content(event: ObjectEvent) -> bytes | None:
    """The content that the event tells of, None when that is not there any more."""
    which = {"VersionId": event.version_id} if event.version_id else {"IfMatch": f'"{event.etag}"'}
    try:
        answer = s3().get_object(Bucket=event.bucket, Key=event.key, **which)
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return None
        raise
    if answer["ContentLength"] > MAX_BYTES:
        raise DataError(f"{event.key}: {answer['ContentLength']:,} bytes, expected at most {MAX_BYTES:,}")
    content: bytes = answer["Body"].read()
    return content


def _check(key: str, content: bytes) -> dict[str, Any]:
    """By the name: ``.csv`` is a kuromoji user dictionary, everything else a file of synonyms."""
    kind = Kind.KUROMOJI_USER_DICTIONARY if key.endswith(".csv") else Kind.SYNONYMS
    entries = lines(content, key)
    if not entries:
        raise DataError(f"{key}: expected at least one entry, found none")
    if kind is Kind.KUROMOJI_USER_DICTIONARY:
        _check_fields(key, entries)
    return {"kind": kind.value, "sha256": sha256(content), "entries": len(entries)}


def _check_fields(key: str, entries: Sequence[str]) -> None:
    for number, entry in enumerate(entries, 1):
        try:
            fields = next(csv.reader([entry], strict=True))
        except csv.Error as error:
            raise DataError(f"{key}: entry {number}: expected comma-separated fields, found other: {error}") from None
        if len(fields) != USER_DICTIONARY_FIELDS:
            raise DataError(f"{key}: entry {number}: expected {USER_DICTIONARY_FIELDS} fields, found {len(fields)}")


def _record(event: ObjectEvent, found: dict[str, Any]) -> str:
    bucket = os.environ.get("SEARCHOPS_CHECKS_BUCKET") or event.bucket
    content = event.key.encode()
    source = event.key if len(content) <= MAX_KEY_BYTES else f"sha256-{sha256(content)}"
    key = f"{PREFIX}{source}/{found['sha256']}.json"
    body = json.dumps({"source": f"s3://{event.bucket}/{event.key}"} | found, ensure_ascii=False, sort_keys=True).encode()
    try:
        s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":  # the record of this content is there already
            raise
    return f"s3://{bucket}/{key}"

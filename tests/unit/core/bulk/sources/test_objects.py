from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchops.core.bulk.sources.objects import TRIES, S3Object, Seekable, find, find_below, open_bytes
from searchops.core.errors import DataError, TransientError
from tests.unit.core.bulk.sources.breaking_s3 import BreakingS3

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def breaking() -> Iterator[BreakingS3]:
    with BreakingS3(CONTENT) as s3:
        yield s3


@pytest.fixture
def bucket(s3_url: str, quick_clients: None) -> tuple[Any, str]:
    s3 = boto3.session.Session().client(
        "s3", region_name="us-east-1", endpoint_url=s3_url, aws_access_key_id="x", aws_secret_access_key="x"
    )
    name = f"example-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return s3, name


def opened(s3: BreakingS3, pauses: list[float] | None = None) -> S3Object:
    waited = [] if pauses is None else pauses
    return S3Object(s3.client, "s3://b/k", s3.etag, len(s3.content), pause=waited.append)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.integers(0, len(CONTENT)), max_size=TRIES - 1))
def test_a_body_that_breaks_anywhere_is_read_on_where_it_broke(breaking: BreakingS3, cuts: list[int]) -> None:
    breaking.cuts, breaking.ranges = list(cuts), []

    assert b"".join(opened(breaking).blocks()) == CONTENT

    breaking.cuts = list(cuts)
    assert opened(breaking).read(100, 5000) == CONTENT[100:5100]
    breaking.cuts = []


def test_what_has_been_read_is_not_asked_for_again(breaking: BreakingS3) -> None:
    breaking.cuts, breaking.ranges = [1000, 2000], []

    assert b"".join(opened(breaking).blocks()) == CONTENT
    assert [first for first, _ in breaking.ranges] == [0, 1000, 3000]


def test_an_object_that_stays_unreadable_is_a_transient_error_that_says_where(breaking: BreakingS3) -> None:
    breaking.cuts, pauses = [1000] + [0] * TRIES, []
    got: list[bytes] = []

    with pytest.raises(TransientError, match=f"s3://b/k: not readable from byte 1,000 on after {TRIES} tries"):
        got.extend(opened(breaking, pauses).blocks())

    assert b"".join(got) == CONTENT[:1000]
    assert pauses[1:] == sorted(pauses[1:])
    breaking.cuts = []


def test_a_failure_of_the_service_is_tried_again(breaking: BreakingS3) -> None:
    breaking.statuses = [503, 500]

    assert b"".join(opened(breaking).blocks()) == CONTENT


def test_an_object_that_was_changed_since_it_was_planned_is_not_read(bucket: tuple[Any, str]) -> None:
    s3, name = bucket
    uri = f"s3://{name}/a b?c#d.ndjson"
    s3.put_object(Bucket=name, Key="a b?c#d.ndjson", Body=b"one")
    found = find(s3, uri)
    content = open_bytes(s3, uri, found.etag, found.bytes)
    assert (b"".join(content.blocks()), content.read(1, 99)) == (b"one", b"ne")

    s3.put_object(Bucket=name, Key="a b?c#d.ndjson", Body=b"two, longer")

    for read in (lambda: b"".join(content.blocks()), lambda: content.read(0, 1)):
        with pytest.raises(DataError, match="another object than the one that was planned"):
            read()


def test_a_file_that_was_changed_since_it_was_planned_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    found = find(None, str(path))
    content = open_bytes(None, str(path), found.etag, found.bytes)
    assert (b"".join(content.blocks()), content.read(1, 99)) == (b"one", b"ne")

    path.write_bytes(b"two, longer")

    with pytest.raises(DataError, match="another object than the one that was planned"):
        b"".join(content.blocks())


def test_what_is_missing_is_a_data_error_that_names_it(bucket: tuple[Any, str], tmp_path: Path) -> None:
    s3, name = bucket

    for uri in (f"s3://{name}/missing", "s3://no-such-bucket-of-ours/x"):
        with pytest.raises(DataError, match=f"{uri}: expected an object, found none"):
            find(s3, uri)
        with pytest.raises(DataError, match=f"{uri}: expected an object, found none"):
            b"".join(open_bytes(s3, uri, "etag", 3).blocks())
    with pytest.raises(DataError, match="expected an object, found none"):
        find_below(s3, "s3://no-such-bucket-of-ours/x/")
    with pytest.raises(DataError, match="expected a file, found none that can be read"):
        find(None, str(tmp_path / "missing"))


def test_all_pages_of_a_prefix_are_listed_without_folders(bucket: tuple[Any, str]) -> None:
    s3, name = bucket
    for key in ("in/", "in/b", "in/a", "in/deep/c", "inside", "out"):
        s3.put_object(Bucket=name, Key=key, Body=b"x")

    assert [found.uri for found in find_below(s3, f"s3://{name}/in/")] == [
        f"s3://{name}/in/{key}" for key in ("a", "b", "deep/c")
    ]


@given(st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 3000)), max_size=8))
def test_a_reader_that_seeks_sees_the_object_as_a_file(steps: list[tuple[int, int]]) -> None:
    class Memory:
        uri, size = "memory", len(CONTENT)

        def read(self, start: int, length: int) -> bytes:
            return CONTENT[start : start + length]

        def blocks(self) -> Iterator[bytes]:
            yield CONTENT

    ours, theirs = Seekable(Memory()), io.BytesIO(CONTENT)

    for offset, length in steps:
        assert (ours.seek(offset), ours.read(length), ours.tell()) == (theirs.seek(offset), theirs.read(length), theirs.tell())
    assert (ours.seek(-5, io.SEEK_END), ours.read()) == (theirs.seek(-5, io.SEEK_END), theirs.read())

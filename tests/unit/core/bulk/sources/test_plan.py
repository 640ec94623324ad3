from __future__ import annotations

import gzip
import json
import os
import uuid
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources import Format, Input, Recipe, open_input, plan_inputs, share_out
from searchops.core.errors import DataError
from tests.unit.core.bulk.sources.reading import BY_ATTRIBUTES, ONCE, VERSIONED, documents, read

LINE = b'{"id":"a","revision":1}\n'
INPUTS = st.lists(
    st.builds(
        Input, st.text("abc/", min_size=1).map("s3://b/".__add__), st.just("e"), st.integers(0, 10**9), st.just(Format.NDJSON)
    ),
    unique_by=lambda each: each.uri,
    max_size=30,
)


@pytest.fixture
def bucket(s3_url: str, quick_clients: None) -> tuple[Any, str]:
    s3 = boto3.session.Session().client(
        "s3", region_name="us-east-1", endpoint_url=s3_url, aws_access_key_id="x", aws_secret_access_key="x"
    )
    name = f"example-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return s3, name


def test_files_of_every_format_are_read_from_s3_as_their_names_say(bucket: tuple[Any, str], tmp_path: Path) -> None:
    s3, name = bucket
    parquet.write_table(pa.table({"id": ["c"], "revision": [1]}), tmp_path / "c.parquet")
    item = {"Item": {"id": {"S": "d"}, "revision": {"N": "1"}}}
    objects = {
        "in/a.ndjson": LINE,
        "in/b.jsonl.gz": gzip.compress(LINE.replace(b"a", b"b", 1)),
        "in/c.PARQUET": (tmp_path / "c.parquet").read_bytes(),
        "in/AWSDynamoDB/1/data/d.json.gz": gzip.compress(json.dumps(item).encode()),
        "in/_SUCCESS": b"",
        "in/.hidden": b"x",
        "out/e.ndjson": LINE,
    }
    for key, body in objects.items():
        s3.put_object(Bucket=name, Key=key, Body=body)

    inputs = plan_inputs(s3, [f"s3://{name}/in/", f"s3://{name}/in/a.ndjson"], VERSIONED)

    assert [(each.uri.rpartition("/in/")[2], each.format, each.bytes, each.documents) for each in inputs] == [
        ("AWSDynamoDB/1/data/d.json.gz", Format.DYNAMODB, len(objects["in/AWSDynamoDB/1/data/d.json.gz"]), None),
        ("a.ndjson", Format.NDJSON, len(LINE), None),
        ("b.jsonl.gz", Format.NDJSON, len(objects["in/b.jsonl.gz"]), None),
        ("c.PARQUET", Format.PARQUET, len(objects["in/c.PARQUET"]), 1),
    ]
    read_ids = [operation.id for each in inputs for operation in documents(list(open_input(s3, each, VERSIONED)(0)))]
    assert len(read_ids) == 4


def test_an_input_goes_through_json_and_its_name_follows_content_and_part() -> None:
    whole = Input("s3://b/k", "e1", 5, Format.PARQUET, documents=3)
    part = Input("s3://b/k", "e1", 5, Format.PARQUET, (1, 4), 3)

    assert [Input.from_dict(json.loads(json.dumps(each.to_dict()))) for each in (whole, part)] == [whole, part]
    names = {
        whole.name,
        part.name,
        Input("s3://b/k", "e2", 5, Format.PARQUET).name,
        Input("s3://b/j", "e1", 5, Format.PARQUET).name,
    }
    assert len(names) == 4
    assert whole.name == Input("s3://b/k", "e1", 6, Format.NDJSON).name


def test_a_parquet_file_that_changes_while_it_is_loaded_fails(bucket: tuple[Any, str], tmp_path: Path) -> None:
    s3, name = bucket
    for number, rows in enumerate((2000, 3000)):
        ids = [f"p{row}" for row in range(rows)]
        parquet.write_table(pa.table({"id": ids, "revision": list(range(rows))}), tmp_path / str(number), row_group_size=500)
    s3.put_object(Bucket=name, Key="a.parquet", Body=(tmp_path / "0").read_bytes())
    given, *_, last = plan_inputs(s3, [f"s3://{name}/a.parquet"], VERSIONED, parquet_bytes=1)
    reading = open_input(s3, given, VERSIONED)(0)
    assert next(reading)

    s3.put_object(Bucket=name, Key="a.parquet", Body=(tmp_path / "1").read_bytes())

    with pytest.raises(DataError, match="another object than the one that was planned"):
        list(open_input(s3, last, VERSIONED)(0))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://{bucket}/missing.ndjson", "expected an object, found none"),
        ("s3://{bucket}/nothing/", "expected files below it, found none"),
        ("s3://{bucket}/only-markers/", "expected files below it, found none"),
        ("s3://{bucket}/a.csv", "expected a name that ends with one of .parquet, .ndjson"),
        ("s3://{bucket}/a.ion.gz", "Ion is not read: export the table in the format DYNAMODB_JSON"),
        ("s3://", "expected s3://bucket/key"),
        ("s3:///x", "expected s3://bucket/key"),
        ("nowhere/a.ndjson", "expected a file, found none"),
    ],
)
def test_what_can_not_be_read_fails_when_the_load_is_planned(bucket: tuple[Any, str], uri: str, message: str) -> None:
    s3, name = bucket
    for key in ("a.csv", "a.ion.gz", "only-markers/_SUCCESS"):
        s3.put_object(Bucket=name, Key=key, Body=b"x")

    with pytest.raises(DataError, match=message):
        plan_inputs(s3, [uri.format(bucket=name)], ONCE)


def test_no_files_and_too_many_files_and_an_index_of_a_pipeline_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.ndjson").write_bytes(LINE)

    with pytest.raises(DataError, match="expected at least one file"):
        plan_inputs(None, [], ONCE)
    with pytest.raises(DataError, match="takes no load"):
        plan_inputs(None, [str(tmp_path)], Recipe(BY_ATTRIBUTES, VersionScheme.INGESTION))
    monkeypatch.setattr("searchops.core.bulk.sources.plan.MAX_INPUTS", 2)
    with pytest.raises(DataError, match="expected at most 2 inputs, found 3"):
        plan_inputs(None, [str(tmp_path)], ONCE)


def test_a_format_that_is_named_counts_more_than_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "products.txt").write_bytes(LINE)

    assert [operation.id for operation in documents(read(tmp_path / "products.txt", format=Format.NDJSON))] == ["a"]


@given(INPUTS, st.integers(1, 8))
def test_inputs_are_shared_out_whole_evenly_and_always_alike(inputs: list[Input], tasks: int) -> None:
    shares = share_out(inputs, tasks)

    assert sorted(each.uri for share in shares for each in share) == sorted(each.uri for each in inputs)
    assert len(shares) == min(tasks, len(inputs))
    assert all(shares)
    assert share_out(list(reversed(inputs)), tasks) == shares
    loads = [sum(each.bytes for each in share) for share in shares]
    if loads:
        assert max(loads) - min(loads) <= max(each.bytes for each in inputs)


def test_a_file_that_is_older_than_the_tombstones_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.ndjson"
    path.write_bytes(b"{}")
    os.utime(path, (1_000_000.0, 1_000_000.0))

    with pytest.raises(
        DataError, match="found one of 1970-01-12T13:46:40\\+00:00: documents that were deleted since would come back"
    ):
        plan_inputs(None, [str(path)], VERSIONED, oldest=1_000_001.0)

    assert len(plan_inputs(None, [str(path)], VERSIONED, oldest=1_000_000.0)) == 1
    assert len(plan_inputs(None, [str(path)], VERSIONED)) == 1

from __future__ import annotations

import datetime as dt
import json
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from searchops.core.bulk.model import Kind, Operation, Unreadable
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources import IdRule, IdScheme, Recipe, open_input, plan_inputs
from searchops.core.errors import DataError
from tests.unit.core.bulk.sources.reading import VERSIONED, documents, read, reasons


def table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema | None = None, *, group: int = 1000) -> Path:
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=group)
    return path


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"p{number}", "revision": number, "name": "東京"} for number in range(count)]


def test_a_row_is_a_document_with_id_and_version(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", [{"id": "a", "revision": 7, "name": "東京", "tags": ["x", None], "size": {"cm": 1.5}}])

    assert read(path) == [
        Operation(Kind.INDEX, "a", '{"id":"a","revision":7,"name":"東京","tags":["x",null],"size":{"cm":1.5}}'.encode(), 7)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.integers(0, 1300), st.integers(80, 700), st.integers(0, 1400), st.integers(1, 20_000))
def test_however_a_file_is_shared_and_entered_the_rows_are_the_same(
    tmp_path: Path, count: int, group: int, start: int, share: int
) -> None:
    path = table(
        tmp_path / "a.parquet",
        rows(count),
        pa.schema({"id": pa.string(), "revision": pa.int64(), "name": pa.string()}),
        group=group,
    )
    recipe = Recipe(IdRule(IdScheme.POSITION), VersionScheme.ATTRIBUTE, "revision")
    whole = read(path, recipe)

    inputs = plan_inputs(None, [str(path)], recipe, parquet_bytes=share)

    assert [operation for each in inputs for operation in open_input(None, each, recipe)(0)] == whole
    assert [each.documents for each in inputs] == [len(list(open_input(None, each, recipe)(0))) for each in inputs]
    assert len(whole) == count
    assert len({each.name for each in inputs}) == len(inputs)
    assert list(open_input(None, inputs[-1], recipe)(start)) == list(open_input(None, inputs[-1], recipe)(0))[start:]


def test_values_are_written_as_json_with_all_their_digits(tmp_path: Path) -> None:
    moment = 1_700_000_000_123_456_789
    columns = {
        "id": pa.array(["a"]),
        "revision": pa.array([7], pa.uint64()),
        "nanoseconds": pa.array([moment], pa.timestamp("ns")),
        "zoned": pa.array([moment // 1000], pa.timestamp("us", tz="Asia/Tokyo")),
        "day": pa.array([dt.date(2026, 1, 2)]),
        "price": pa.array([Decimal("12345678901234567890.10")], pa.decimal128(38, 2)),
        "binary": pa.array([b"\x00\x01"]),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "category": pa.array(["x"]).dictionary_encode(),
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")

    (operation,) = documents(read(tmp_path / "a.parquet"))

    assert isinstance(operation.source, bytes)
    assert b'"price":12345678901234567890.10' in operation.source
    found = json.loads(operation.source)
    assert {name: found[name] for name in ("nanoseconds", "zoned", "day", "binary", "map", "category")} == {
        "nanoseconds": "2023-11-14T22:13:20.123456789",
        "zoned": "2023-11-14T22:13:20.123456Z",
        "day": "2026-01-02",
        "binary": "AAE=",
        "map": {"k": 1},
        "category": "x",
    }


def test_a_row_that_is_no_document_is_named_by_file_and_row(tmp_path: Path) -> None:
    bad = [
        {"id": None, "revision": 1, "price": 1.0},
        {"id": "", "revision": 1, "price": 1.0},
        {"id": "a", "revision": None, "price": 1.0},
        {"id": "a", "revision": -1, "price": 1.0},
        {"id": "a", "revision": 1, "price": float("nan")},
        {"id": "a", "revision": 1, "price": float("inf")},
    ]
    good = {"id": "good", "revision": 1, "price": 1.0}
    path = table(tmp_path / "a.parquet", [good, *bad, good])

    got = read(path)

    assert len(documents(got)) == 2
    unreadable = [operation for operation in got if isinstance(operation, Unreadable)]
    assert [operation.where for operation in unreadable] == [f"{path}: row {number}" for number in range(2, 8)]
    assert "column price: nan is no JSON number" in reasons(got)[4]
    assert all(operation.line for operation in unreadable)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"revision": [1]}, "expected the columns id, revision for id and version, found no id"),
        ({"id": ["a"]}, "found no revision"),
        ({"id": [1.5], "revision": [1]}, "column id: an id is made of text, whole numbers or decimals, found double"),
        ({"id": [b"a"], "revision": [1]}, "column id: an id is made of"),
        ({"id": ["a"], "revision": [1.0]}, "column revision: a version is made of whole numbers, found double"),
        ({"id": ["a"], "revision": ["1"]}, "column revision: a version is made of whole numbers, found string"),
    ],
)
def test_columns_that_give_no_id_or_version_fail_when_the_load_is_planned(tmp_path: Path, columns: Any, message: str) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")

    with pytest.raises(DataError, match=message):
        plan_inputs(None, [str(tmp_path / "a.parquet")], VERSIONED)


def test_what_is_told_of_values_that_json_can_not_hold_quotes_none_of_them(tmp_path: Path) -> None:
    twice = pa.array([[("secret-7", 1), ("secret-7", 2)]], pa.map_(pa.string(), pa.int64()))
    parquet.write_table(pa.table({"id": ["a"], "revision": [1], "map": twice}), tmp_path / "a.parquet")

    with pytest.raises(DataError, match="a column has values that JSON can not hold") as told:
        read(tmp_path / "a.parquet")

    assert "secret-7" not in "".join(traceback.format_exception(told.value))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no Parquet at all"])
def test_what_is_no_parquet_file_fails_when_the_load_is_planned(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(data)

    with pytest.raises(DataError, match="expected a Parquet file"):
        plan_inputs(None, [str(tmp_path / "a.parquet")], VERSIONED)


def test_half_a_parquet_file_fails_when_the_load_is_planned(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", rows(100))
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataError, match="expected a Parquet file"):
        plan_inputs(None, [str(path)], VERSIONED)


def test_damaged_pages_fail_where_they_are_and_the_rows_before_are_read(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", rows(3000), group=1000)
    (given,) = plan_inputs(None, [str(path)], VERSIONED)
    data = bytearray(path.read_bytes())
    begin = parquet.ParquetFile(path).metadata.row_group(2).column(0).dictionary_page_offset
    data[begin : begin + 400] = b"\xff" * 400
    path.write_bytes(data)
    (given,) = plan_inputs(None, [str(path)], VERSIONED)
    got = []

    with pytest.raises(DataError, match="row group 2 can not be read"):
        got.extend(open_input(None, given, VERSIONED)(0))

    assert [operation.id for operation in documents(got[:2000])] == [f"p{number}" for number in range(2000)]

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3.dynamodb.types
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.dynamodb_json import to_plain
from searchops.core.bulk.model import Kind, Operation
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources import Format, IdRule, IdScheme, Recipe
from searchops.core.errors import DataError
from tests.unit.core.bulk.sources.reading import documents, read, reasons

RECIPE = Recipe(IdRule(IdScheme.ATTRIBUTES, ("pk", "sk")), VersionScheme.ATTRIBUTE, "revision")
NUMBER = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**37), max_value=10**37, places=None).filter(
    lambda number: len(number.as_tuple().digits) <= 38 and abs(number.adjusted()) < 100
)
LEAVES = st.text() | NUMBER | st.booleans() | st.none() | st.sets(st.text(min_size=1), min_size=1)
ITEMS = st.dictionaries(
    st.text(min_size=1),
    st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3), max_leaves=8
    ),
    max_size=5,
)


def typed(**attributes: Any) -> dict[str, Any]:
    return {name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in attributes.items()}


def export(path: Path, *records: Any) -> Path:
    path.write_bytes(gzip.compress(b"".join(orjson.dumps(record) + b"\n" for record in records)))
    return path


def same(found: Any, value: Any) -> bool:
    """Whether JSON holds a value; sets have no order."""
    if isinstance(value, set):
        return sorted(found) == sorted(value)
    if isinstance(value, dict):
        return set(found) == set(value) and all(same(found[name], inner) for name, inner in value.items())
    if isinstance(value, list):
        return len(found) == len(value) and all(map(same, found, value))
    return bool(found == value and type(found) is type(value))


@given(ITEMS)
def test_an_item_keeps_every_value_and_every_digit(item: dict[str, Any]) -> None:
    serializer = boto3.dynamodb.types.TypeSerializer()
    wire = {name: serializer.serialize(value) for name, value in item.items()}

    assert same(json.loads(orjson.dumps(to_plain(wire)), parse_float=Decimal, parse_int=Decimal), item)


def test_types_come_as_json_that_a_search_can_use() -> None:
    item = {
        "n": {"N": "12345678901234567890123456789012345678"},
        "small": {"N": "1E-130"},
        "numbers": {"NS": ["1", "2.5"]},
        "binary": {"B": "AAE="},
        "binaries": {"BS": ["AA==", "AQ=="]},
        "texts": {"SS": ["b", "a"]},
        "yes": {"BOOL": True},
        "nothing": {"NULL": True},
        "map": {"M": {"list": {"L": [{"N": "1"}, {"S": "x"}]}}},
    }

    assert orjson.dumps(to_plain(item)) == (
        b'{"n":12345678901234567890123456789012345678,"small":1E-130,"numbers":[1,2.5],"binary":"AAE=","binaries":["AA==","AQ=="],'
        b'"texts":["b","a"],"yes":true,"nothing":null,"map":{"list":[1,"x"]}}'
    )


def test_a_full_export_is_read_as_writes_with_id_and_version(tmp_path: Path) -> None:
    path = export(tmp_path / "a.json.gz", {"Item": typed(pk="product#1", sk="v0", revision=7, name="東京")})

    (operation,) = read(path, RECIPE, format=Format.DYNAMODB)

    assert operation == Operation(
        Kind.INDEX, "product#1|v0", '{"pk":"product#1","sk":"v0","revision":7,"name":"東京"}'.encode(), 7
    )


def test_an_incremental_export_is_read_as_writes_and_deletes(tmp_path: Path) -> None:
    keys, old, new = typed(pk="a", sk="b"), typed(pk="a", sk="b", revision=7), typed(pk="a", sk="b", revision=8)
    metadata = {"WriteTimestampMicros": {"N": "1680109764000000"}}
    path = export(
        tmp_path / "a.json.gz",
        {"Metadata": metadata, "Keys": keys, "NewImage": new},
        {"Metadata": metadata, "Keys": keys, "OldImage": old, "NewImage": new},
        {"Metadata": metadata, "Keys": keys, "OldImage": old},
    )

    got = documents(read(path, RECIPE, format=Format.DYNAMODB))

    assert [(operation.kind, operation.id, operation.version) for operation in got] == [
        (Kind.INDEX, "a|b", 8),
        (Kind.INDEX, "a|b", 8),
        (Kind.DELETE, "a|b", 8),
    ]
    assert got[2].source is None


@pytest.mark.parametrize(
    ("scheme", "sequence"), [(VersionScheme.SEQUENCE, "0"), (VersionScheme.ONCE, None), (VersionScheme.NONE, None)]
)
def test_a_delete_needs_its_old_image_only_for_a_version(tmp_path: Path, scheme: VersionScheme, sequence: str | None) -> None:
    path = export(tmp_path / "a.json.gz", {"Keys": typed(pk="a", sk="b")})

    (refused,) = reasons(read(path, RECIPE, format=Format.DYNAMODB))
    (operation,) = documents(read(path, Recipe(RECIPE.id, scheme), format=Format.DYNAMODB))

    assert "export with the view NEW_AND_OLD_IMAGES" in refused
    assert operation == Operation(Kind.DELETE, "a|b", None, None, None, sequence)


def test_a_number_that_is_a_key_has_one_id_however_long_it_is(tmp_path: Path) -> None:
    item = {"pk": {"N": "12345678901234567890123"}, "sk": {"N": "1.5"}, "revision": {"N": "1"}}

    (operation,) = documents(read(export(tmp_path / "a.json.gz", {"Item": item}), RECIPE, format=Format.DYNAMODB))

    assert operation.id == "12345678901234567890123|1.5"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([1], "expected a line of a DynamoDB export, found a list"),
        ({"id": "a"}, "found none of them"),
        ({"Item": {"pk": "a", "sk": "b", "revision": 1}}, "DynamoDB JSON"),
        ({"Item": {"pk": {}, "sk": {"S": "b"}}}, "DynamoDB JSON"),
        ({"Item": {**typed(pk="a", sk="b", revision=1), "x": {"Q": 1}}}, "expected a DynamoDB type"),
        ({"Item": {**typed(pk="a", sk="b", revision=1), "x": {"N": "0x1"}}}, "expected a number"),
        ({"Item": {**typed(pk="a", sk="b", revision=1), "x": {"N": '1, "y": 2'}}}, "expected a number"),
        ({"Item": {**typed(pk="a", sk="b"), "revision": {"N": "1.5"}}}, "version attribute 'revision'"),
        ({"Item": {**typed(pk="a", sk="b"), "revision": {"S": "7"}}}, "version attribute 'revision'"),
        ({"Item": typed(pk="a", sk="b")}, "version attribute 'revision'"),
        ({"Item": typed(pk="a", revision=1)}, "id attribute 'sk'"),
    ],
)
def test_a_line_that_is_no_record_is_told_and_its_neighbours_are_read(tmp_path: Path, record: Any, reason: str) -> None:
    good = {"Item": typed(pk="a", sk="b", revision=1)}

    got = read(export(tmp_path / "a.json.gz", good, record, good), RECIPE, format=Format.DYNAMODB)

    assert len(documents(got)) == 2
    (told,) = reasons(got)
    assert reason in told


def manifest(folder: Path, data: dict[str, int], *, output: str = "DYNAMODB_JSON", prefix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest-summary.json").write_text(json.dumps({"outputFormat": output}, indent=1))
    lines = [
        {"itemCount": count, "md5Checksum": "x", "etag": "y", "dataFileS3Key": f"{prefix}{key}"} for key, count in data.items()
    ]
    (folder / "manifest-files.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_manifest_of_an_export_names_its_data_files(tmp_path: Path) -> None:
    folder = tmp_path / "moved" / "AWSDynamoDB" / "0169-abc"
    (folder / "data").mkdir(parents=True)
    export(folder / "data" / "one.json.gz", {"Item": typed(pk="a", sk="b", revision=1)})
    (folder / "data" / "empty.json.gz").write_bytes(b"")
    export(folder / "data" / "not-of-it.json.gz", {"Item": typed(pk="x", sk="x", revision=1)})
    (folder / "_started").touch()
    names = {"AWSDynamoDB/0169-abc/data/one.json.gz": 1, "AWSDynamoDB/0169-abc/data/empty.json.gz": 0}
    manifest(folder, names, prefix="where/it/was/")

    for named in (folder, folder / "manifest-summary.json", folder / "manifest-files.json", tmp_path / "moved"):
        assert [operation.id for operation in documents(read(named, RECIPE))] == ["a|b"]


def test_a_data_file_with_fewer_items_than_the_manifest_says_fails(tmp_path: Path) -> None:
    folder = manifest(tmp_path / "AWSDynamoDB" / "1", {"AWSDynamoDB/data/one.json.gz": 2})
    (tmp_path / "AWSDynamoDB" / "data").mkdir()
    export(tmp_path / "AWSDynamoDB" / "data" / "one.json.gz", {"Item": typed(pk="a", sk="b", revision=1)})

    with pytest.raises(DataError, match="expected 2 documents, as its manifest says, found 1"):
        read(folder, RECIPE)


def test_what_is_no_single_export_in_dynamodb_json_is_refused(tmp_path: Path) -> None:
    manifest(tmp_path / "AWSDynamoDB" / "1", {}, output="ION")
    with pytest.raises(DataError, match="expected an export in the format DYNAMODB_JSON, found ION"):
        read(tmp_path / "AWSDynamoDB", RECIPE)

    manifest(tmp_path / "AWSDynamoDB" / "2", {"AWSDynamoDB/2/data/gone.json.gz": 1})
    with pytest.raises(DataError, match=r"expected one DynamoDB export, found 2: name one of them: .*AWSDynamoDB/1/"):
        read(tmp_path / "AWSDynamoDB", RECIPE)
    with pytest.raises(DataError, match=r"gone\.json\.gz: expected a file, found none"):
        read(tmp_path / "AWSDynamoDB" / "2", RECIPE)

    (tmp_path / "AWSDynamoDB" / "2" / "manifest-files.json").write_text("no JSON")
    with pytest.raises(DataError, match="found no JSON"):
        read(tmp_path / "AWSDynamoDB" / "2", RECIPE)

"""What goes into a request, and what is refused before it can spoil one."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk import Deletes, Operation, Scheme, VersionScheme, create, delete, index, update
from searchops.core.bulk.encode import Encoder, Unencodable, encode_source, pad_sequence
from searchops.core.bulk.model import Kind
from searchops.core.bulk.scheme import MAX_ID_BYTES, MAX_VERSION
from searchops.core.errors import DataError

NOW = 1_700_000_000.5
TOMBSTONE = {"searchops": {"deleted": True, "deleted_at": 1_700_000_000_500}}

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")
ONCE = Scheme(VersionScheme.ONCE, Deletes.NEVER)
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE)
NONE = Scheme(VersionScheme.NONE, Deletes.IMMEDIATE)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
documents = st.dictionaries(st.text(), json_values, max_size=4)
any_text = st.text(st.characters(codec=None), max_size=600)


def encoder(scheme: Scheme) -> Encoder:
    return Encoder(scheme, clock=lambda: NOW)


def with_deletes(scheme: Scheme, deletes: Deletes) -> Scheme:
    return dataclasses.replace(scheme, deletes=deletes)


def parsed(lines: bytes) -> list[Any]:
    assert lines.endswith(b"\n")
    return [json.loads(line) for line in lines[:-1].split(b"\n")]


def refused(scheme: Scheme, operation: Operation) -> Unencodable:
    with pytest.raises(Unencodable) as caught:
        encoder(scheme).lines(operation)
    return caught.value


@given(documents, st.text(min_size=1, max_size=128), st.integers(0, MAX_VERSION), st.none() | st.text())
def test_an_index_operation_carries_its_external_version(
    source: dict[str, Any], id: str, version: int, routing: str | None
) -> None:
    action, document = parsed(encoder(ATTRIBUTE).lines(index(id, source, version=version, routing=routing)))

    where = {} if routing is None else {"routing": routing}
    assert action == {"index": {"_id": id, **where, "version": version, "version_type": "external"}}
    assert document == source


@given(any_text, documents, st.sampled_from([ATTRIBUTE, ONCE, SEQUENCE, NONE]))
def test_an_id_is_taken_as_it_is_or_refused_alone(id: str, source: dict[str, Any], scheme: Scheme) -> None:
    operation = index(id, source, version=1, sequence="1")
    try:
        fits = 1 <= len(id.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        fits = False

    if fits:
        ((_, action),) = parsed(encoder(scheme).lines(operation))[0].items()
        assert action["_id"] == id
    else:
        assert refused(scheme, operation).kind == "bad_id"


@pytest.mark.parametrize(
    "id",
    ["", "x" * 513, "é" * 257, "東" * 171, "\ud800", None, 7, b"x", ["x"], object()],
    ids=["empty", "513 bytes", "514 bytes of two", "513 bytes of three", "surrogate", "None", "int", "bytes", "list", "object"],
)
def test_what_is_no_id_is_refused_with_what_was_expected(id: Any) -> None:
    error = refused(ATTRIBUTE, index(id, {}, version=1))

    assert error.kind == "bad_id"
    assert error.reason.startswith("id: ")


@pytest.mark.parametrize("id", ["x" * 512, "é" * 256, '"' * 512, "\x00" * 512, "\n", "東" * 170 + "ab"])
def test_an_id_of_512_bytes_fits_however_long_its_json_is(id: str) -> None:
    assert parsed(encoder(ATTRIBUTE).lines(index(id, {}, version=1)))[0]["index"]["_id"] == id


def test_a_text_of_another_type_is_an_id() -> None:
    class Key(StrEnum):
        A = "a"

    assert parsed(encoder(ONCE).lines(index(Key.A, {})))[0]["index"]["_id"] == "a"


@pytest.mark.parametrize("version", [0, 1, 2**53 + 1, MAX_VERSION])
def test_a_version_is_written_digit_by_digit(version: int) -> None:
    lines = encoder(ATTRIBUTE).lines(index("a", {}, version=version))

    assert b'"version":%d,' % version in lines


@pytest.mark.parametrize("version", [None, -1, 2**63, True, 12.7, 12.0, "12", Decimal(12)])
@pytest.mark.parametrize("make", [index, lambda id, _, version: delete(id, version=version)])
def test_what_is_no_version_is_refused_alone(make: Any, version: Any) -> None:
    error = refused(ATTRIBUTE, make("a", {}, version=version))

    assert (error.kind, repr(version) in error.reason) == ("bad_version", True)


def test_a_version_that_the_document_contradicts_is_refused_alone() -> None:
    lines = Encoder(Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")).lines

    with pytest.raises(Unencodable, match="version: expected that of the document's revision, 2, found 3"):
        lines(index("a", {"revision": 2}, version=3))
    assert lines(index("a", {"revision": 3}, version=3))
    assert lines(index("a", {"name": "no revision of its own"}, version=3))


@pytest.mark.parametrize("routing", ["\ud800", 5, ["a"], {"a": 1}, b"a", True])
@pytest.mark.parametrize("scheme", [ATTRIBUTE, ONCE, SEQUENCE, NONE])
def test_what_is_no_routing_is_refused_alone(scheme: Scheme, routing: Any) -> None:
    assert refused(scheme, index("a", {}, version=1, sequence="1", routing=routing)).kind == "bad_routing"


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE])
@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE])
def test_nothing_but_index_and_delete_carries_a_version(scheme: Scheme, kind: Kind) -> None:
    error = refused(scheme, Operation(kind, "a", {}, 1, None, "1"))

    assert error.kind == "unsupported_operation"
    assert error.reason.startswith(kind.value)


def test_under_once_index_and_create_are_the_same_write() -> None:
    action = {"index": {"_id": "a", "version": 1, "version_type": "external"}}

    for operation in (index("a", {"n": 1}), create("a", {"n": 1}), index("a", {"n": 1}, version=9)):
        assert parsed(encoder(ONCE).lines(operation)) == [action, {"n": 1}]


@pytest.mark.parametrize("operation", [update("a", {"doc": {}}), delete("a"), delete("a", version=2)])
def test_under_once_nothing_changes_and_nothing_goes(operation: Operation) -> None:
    assert refused(ONCE, operation).kind == "unsupported_operation"


def test_a_delete_leaves_a_tombstone_with_its_version_and_time() -> None:
    lines = encoder(ATTRIBUTE).lines(delete("a", version=7, routing="r"))

    assert parsed(lines) == [{"index": {"_id": "a", "routing": "r", "version": 7, "version_type": "external"}}, TOMBSTONE]


def test_an_immediate_delete_is_one_line_with_its_version() -> None:
    lines = encoder(with_deletes(ATTRIBUTE, Deletes.IMMEDIATE)).lines(delete("a", version=7))

    assert parsed(lines) == [{"delete": {"_id": "a", "version": 7, "version_type": "external"}}]


@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE, NONE])
def test_where_there_are_no_deletes_one_is_refused(scheme: Scheme) -> None:
    error = refused(with_deletes(scheme, Deletes.NEVER), delete("a", version=7, sequence="7"))

    assert (error.kind, "deletes: never" in error.reason) == ("unsupported_operation", True)


def test_without_versions_each_kind_is_itself() -> None:
    lines = b"".join(
        encoder(NONE).lines(operation)
        for operation in (index("a", {}, version=3), create("b", {}), update("c", {"doc": {"n": 1}}), delete("d", routing="r"))
    )

    assert parsed(lines) == [
        {"index": {"_id": "a"}},
        {},
        {"create": {"_id": "b"}},
        {},
        {"update": {"_id": "c"}},
        {"doc": {"n": 1}},
        {"delete": {"_id": "d", "routing": "r"}},
    ]


@pytest.mark.parametrize("source", [b'{"n":1},"more":{"b":2}', b'{"n":1}}', b'{"n":1', b"{}{}", b"[1]", b"1", b'"x"', b"null"])
def test_bytes_that_are_no_json_object_are_refused_where_they_stand_within_another(source: bytes) -> None:
    assert refused(SEQUENCE, index("a", source, sequence="1")).kind == "not_a_document"


def test_bytes_that_are_an_object_pass_as_they_are_within_another() -> None:
    assert b'"source":{"n": 1.10, "m": 12345678901234567890123}}' in encoder(SEQUENCE).lines(
        index("a", b'{"n": 1.10,\n"m": 12345678901234567890123}', sequence="1")
    )


def test_a_sequence_is_compared_by_a_script_that_is_the_same_for_all() -> None:
    written = [
        parsed(encoder(SEQUENCE).lines(operation))
        for operation in (index("a", {"n": 1}, sequence="5"), delete("b", sequence="6"))
    ]

    assert [action for action, _ in written] == [{"update": {"_id": id, "retry_on_conflict": 3}} for id in "ab"]
    scripts = [body["script"] for _, body in written]
    assert [script["params"] for script in scripts] == [
        {"sequence": "5".zfill(40), "delete": False, "source": {"n": 1}},
        {"sequence": "6".zfill(40), "delete": False, "source": TOMBSTONE},
    ]
    assert scripts[0]["source"] == scripts[1]["source"]  # the node compiles 75 scripts in 5 minutes, and each once


@given(st.integers(0, 10**40 - 1), st.integers(0, 10**40 - 1))
def test_padded_sequences_compare_as_numbers(one: int, other: int) -> None:
    assert (pad_sequence(str(one)) < pad_sequence(str(other))) == (one < other)


@pytest.mark.parametrize("sequence", [None, "", "-1", "1.0", " 1", "1" * 41, "٣", "x", "1\n"])
def test_what_is_no_sequence_is_refused_alone(sequence: Any) -> None:
    assert refused(SEQUENCE, index("a", {}, sequence=sequence)).kind == "bad_version"


@given(st.binary(min_size=1).filter(lambda data: b"\n" not in data))
def test_bytes_pass_as_they_are(data: bytes) -> None:
    assert encode_source(data) == data


@given(json_values, st.sampled_from([None, 1, 4]), st.sampled_from(["\n", "\r\n"]))
def test_json_over_several_lines_becomes_one_and_stays_the_same(value: Any, indent: int | None, line_break: str) -> None:
    text = (line_break + json.dumps(value, indent=indent).replace("\n", line_break) + line_break).encode()

    line = encode_source(text)

    assert b"\n" not in line
    assert json.loads(line) == value


def test_numbers_of_a_document_over_several_lines_keep_their_digits() -> None:
    assert encode_source(b'{"n":\n 0.12345678901234567890123,\n"m": 12345678901234567890123}') == (
        b'{"n":  0.12345678901234567890123, "m": 12345678901234567890123}'
    )


@pytest.mark.parametrize("source", [b"", b"\n", b'{"a":\n\n1', b'{"a": "x\ny"}', b"{}\n{}"])
def test_bytes_that_would_end_in_the_middle_of_a_request_are_refused(source: bytes) -> None:
    with pytest.raises(Unencodable, match="expected a JSON object"):
        encode_source(source)


@pytest.mark.parametrize("source", [None, "text", 5, [1], bytearray(b"{}"), object()])
def test_what_is_no_document_is_refused(source: Any) -> None:
    with pytest.raises(Unencodable, match="expected a JSON object, found"):
        encode_source(source)


@dataclasses.dataclass
class Size:
    width: float


@pytest.mark.parametrize(
    "value",
    [
        "\ud83d",
        {"\ud83d": 1},
        float("nan"),
        [1, [float("inf")]],
        {"a": {"b": (-float("inf"),)}},
        {float("nan")},
        Size(float("nan")),
        Decimal("NaN"),
        Decimal("-Infinity"),
        {1: 2},
        2**64,
        b"bytes",
        {1, "x"},
        object(),
    ],
)
def test_a_value_that_json_can_not_hold_is_refused(value: Any) -> None:
    with pytest.raises(Unencodable) as caught:
        encode_source({"text": "null", "value": value})

    assert caught.value.kind == "not_encodable"


def test_a_refusal_names_the_value_that_is_no_json() -> None:
    with pytest.raises(Unencodable, match="NaN is no JSON number"):
        encode_source({"n": Decimal("NaN")})
    with pytest.raises(Unencodable, match="a value of type bytes is no JSON"):
        encode_source({"n": b"x"})


@given(documents)
def test_a_document_with_nulls_is_no_document_with_nan(source: dict[str, Any]) -> None:
    assert json.loads(encode_source({"null": None, **source})) == {"null": None, **source}


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(places=38, allow_nan=False, allow_infinity=False))
def test_a_decimal_keeps_every_digit(number: Decimal) -> None:
    written = encode_source({"n": number})

    assert json.loads(written, parse_float=Decimal, parse_int=Decimal) == {"n": number}


@pytest.mark.parametrize(
    ("number", "text"), [("100", "100"), ("1E+2", "100"), ("5.0", "5"), ("0.10", "0.10"), ("9E+125", "9" + "0" * 125)]
)
def test_a_whole_decimal_is_written_as_one(number: str, text: str) -> None:
    assert encode_source({"n": Decimal(number)}) == f'{{"n":{text}}}'.encode()


def test_sets_and_mappings_of_other_types_are_written() -> None:
    source = MappingProxyType({"tags": {"b", "a"}, "inner": MappingProxyType({"n": Decimal("1.5")})})

    assert orjson.loads(encode_source(source)) == {"tags": ["a", "b"], "inner": {"n": 1.5}}


def test_an_index_that_a_pipeline_writes_has_no_other_writer() -> None:
    with pytest.raises(DataError, match="replay or export"):
        Encoder(Scheme(VersionScheme.INGESTION, Deletes.IMMEDIATE))


def test_tombstones_without_versions_are_refused_before_the_first_write() -> None:
    with pytest.raises(DataError, match="expected deletes immediate or never"):
        Encoder(Scheme(VersionScheme.NONE, Deletes.TOMBSTONE))


def test_a_lane_carries_the_document_that_the_index_would_hold() -> None:
    assert encoder(ATTRIBUTE).content(index("a", {"n": 1}, version=1)) == b'{"n":1}'
    assert json.loads(encoder(ATTRIBUTE).content(delete("a", version=1))) == TOMBSTONE
    with pytest.raises(Unencodable):
        encoder(with_deletes(ATTRIBUTE, Deletes.IMMEDIATE)).content(delete("a", version=1))


@pytest.mark.parametrize(("scheme", "version"), [(ATTRIBUTE, 7), (ONCE, 1), (SEQUENCE, None), (NONE, None)])
def test_the_version_of_a_lane_is_that_of_the_write(scheme: Scheme, version: int | None) -> None:
    assert encoder(scheme).version(index("a", {}, version=7)) == version


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@pytest.mark.parametrize("scheme", [ATTRIBUTE, ONCE, SEQUENCE, NONE], ids=lambda scheme: scheme.version.value)
@given(
    id=texts,
    source=st.dictionaries(texts, texts | st.integers(-(2**60), 2**60) | st.none(), max_size=4),
    version=st.integers(0, MAX_VERSION),
    routing=st.none() | texts,
)
def test_an_index_operation_can_be_made_again_from_its_lines(
    scheme: Scheme, id: str, source: dict[str, Any], version: int, routing: str | None
) -> None:
    given_ = {
        VersionScheme.ATTRIBUTE: {"version": version},
        VersionScheme.SEQUENCE: {"sequence": str(version)},
    }.get(scheme.version, {})
    operation = index(id, source, routing=routing, **given_)  # type: ignore[arg-type]
    encoder = Encoder(scheme)

    again = encoder.operation(encoder.lines(operation))

    assert isinstance(again.source, bytes)
    assert orjson.loads(again.source) == source
    assert (again.kind, again.id, again.routing, again.version) == (Kind.INDEX, id, routing, operation.version)
    assert again.sequence == (pad_sequence(operation.sequence) if operation.sequence else None)
    assert encoder.lines(again) == encoder.lines(operation)

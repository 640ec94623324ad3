from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from searchops.core.bulk.model import Kind, Operation, Unreadable
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources import Format, IdRule, IdScheme, Input, Recipe
from searchops.core.bulk.sources.lines import TooLong, gunzip, json_parser, plain, read_lines, split
from searchops.core.bulk.sources.model import KEPT_BYTES, MAX_LINE_BYTES
from searchops.core.errors import DataError
from tests.unit.core.bulk.sources.reading import ONCE, VERSIONED, documents, read

CONTENT = st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r\n", b"\r", b" ", "東".encode(), b"{}"]), max_size=30).map(b"".join)
LINES = st.lists(
    st.sampled_from(
        [b'{"id":"a","revision":1}', b'{"id":"b","revision":2} ', b"", b"  ", b"no JSON", b"[1]", b'{"id":"c"}', b"\t"]
    ),
    max_size=12,
)


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    at = 0
    for place in [*sorted(place % (len(data) + 1) for place in places), len(data)]:
        if place > at:
            yield data[at:place]
            at = place


def operations(data: bytes, places: list[int], start: int = 0) -> list[Operation | Unreadable]:
    given = Input("s3://b/k.ndjson", "e", len(data), Format.NDJSON)
    return list(read_lines(given, cut(data, places), json_parser(VERSIONED.maker(given)), start))


@given(CONTENT, st.lists(st.integers(0, 100)))
@example(b"a\r\nb", [2])
def test_a_file_cut_into_blocks_anywhere_has_the_same_lines(data: bytes, places: list[int]) -> None:
    lines = [line for some in split(cut(data, places)) for line in some]

    expected = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    assert lines == (expected if data.split(b"\n")[-1] else expected[:-1])


@given(LINES, st.booleans(), st.lists(st.integers(0, 300)), st.integers(0, 14))
def test_reading_on_from_any_position_gives_the_rest_with_the_same_places(
    lines: list[bytes], zipped: bool, places: list[int], start: int
) -> None:
    data = b"\n".join(lines)
    data = gzip.compress(data) if zipped else data

    assert operations(data, places, start) == operations(data, [])[start:]


@given(st.lists(st.integers(0, 60), max_size=6), st.lists(st.integers(0, 300)))
def test_a_line_over_the_limit_is_told_with_its_size_and_its_neighbours_are_whole(lengths: list[int], places: list[int]) -> None:
    data = b"\n".join(bytes([97 + number]) * length for number, length in enumerate(lengths)) + b"\n"

    lines = [line for some in split(cut(data, places), max_bytes=40) for line in some]

    assert [line.size if isinstance(line, TooLong) else len(line) for line in lines] == (lengths or [0])
    assert all(isinstance(line, TooLong) == (length > 40) for line, length in zip(lines, lengths, strict=False))


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.lists(st.integers(0, 1000)))
def test_a_gzip_file_of_several_members_is_their_content(members: list[bytes], places: list[int]) -> None:
    data = b"".join(map(gzip.compress, members))

    assert b"".join(gunzip("f", cut(data, places))) == b"".join(members)


@given(st.integers(1, 10_000), st.lists(st.integers(0, 10_000), max_size=4))
def test_half_a_gzip_file_is_never_short_without_a_word(length: int, places: list[int]) -> None:
    content = b"".join(b'{"id":"%d","revision":1}\n' % number for number in range(300))
    whole = gzip.compress(content)
    half = whole[: 2 + length % (len(whole) - 2)]
    got: list[bytes] = []

    with pytest.raises(DataError, match=r"half a gzip file: .* after [\d,]+ bytes"):
        got.extend(plain("f", cut(half, places)))

    assert content.startswith(b"".join(got))


def test_what_half_a_gzip_file_holds_is_read_before_it_fails() -> None:
    content = b"".join(b'{"id":"%d","revision":1}\n' % (number * 7919) for number in range(5000))
    given = Input("s3://b/half.gz", "e", 1, Format.NDJSON)
    reading = read_lines(given, iter([gzip.compress(content)[:-2000]]), json_parser(VERSIONED.maker(given)), 0)
    got: list[Operation | Unreadable] = []

    with pytest.raises(DataError, match="half a gzip file"):
        got.extend(reading)

    assert [operation.source for operation in documents(got[:-1])] == content.splitlines()[: len(got) - 1]
    assert len(got) > 1000


@pytest.mark.parametrize(
    "data", [b"\x1f\x8b\x08\x00damaged", gzip.compress(b"{}", mtime=0)[:-8] + b"\0" * 8, gzip.compress(b"{}", mtime=0) + b"rest"]
)
def test_a_damaged_gzip_file_fails(data: bytes) -> None:
    with pytest.raises(DataError, match=r"damaged gzip|half a gzip"):
        list(plain("f", iter([data])))


def test_padding_behind_a_gzip_file_is_no_damage() -> None:
    assert b"".join(plain("f", iter([gzip.compress(b"{}"), b"\0" * 512]))) == b"{}"


def test_the_bytes_of_a_line_are_passed_on_as_they_are(tmp_path: Path) -> None:
    line = b'{"id": "a",  "revision":7, "price": 1.10, "big": 12345678901234567890123, "text": "\\u6771"}'
    (tmp_path / "a.ndjson").write_bytes(line + b"\r\n")

    assert read(tmp_path / "a.ndjson") == [Operation(Kind.INDEX, "a", line, 7)]


def test_each_line_that_is_no_document_is_named_by_file_and_line_and_its_neighbours_are_read(tmp_path: Path) -> None:
    path = tmp_path / "products.ndjson"
    bad = [
        b"no JSON",
        b"[1]",
        b'"text"',
        b'{"id":"x","revision":1',
        b'{"id":"x","revision":NaN}',
        b'{"id":"\\ud83d","revision":1}',
        b'{"id":"\xff","revision":1}',
        b'{"revision":1}',
        b'{"id":null,"revision":1}',
        b'{"id":"x"}',
        b'{"id":"x","revision":"7"}',
        b'{"id":"x","revision":true}',
        b'{"id":"x","revision":-1}',
        b'{"id":"x","revision":12.7}',
        b'{"id":"x","revision":12.0}',
        b'{"id":"x","revision":9223372036854775808}',
        b'{"id":12345678901234567890123,"revision":1}',
    ]
    good = b'{"id":"good","revision":1}'
    path.write_bytes(b"\n".join([good, b"", *bad, good]))

    got = read(path)

    assert [operation.id for operation in documents(got)] == ["good", "good"]
    unreadable = [operation for operation in got if isinstance(operation, Unreadable)]
    assert [operation.line for operation in unreadable] == bad
    assert [operation.where for operation in unreadable] == [f"{path}:{number}" for number in range(3, 3 + len(bad))]
    assert all(operation.reason for operation in unreadable)


def test_a_byte_order_mark_and_blank_lines_are_no_documents(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbf{"id":"a"}\r\n\r\n \n{"id":"b"}'
    (tmp_path / "plain.ndjson").write_bytes(text)
    (tmp_path / "zipped.ndjson").write_bytes(gzip.compress(text))

    for name in ("plain.ndjson", "zipped.ndjson"):
        assert [operation.source for operation in documents(read(tmp_path / name, ONCE))] == [b'{"id":"a"}', b'{"id":"b"}']


def test_text_in_utf_16_fails_instead_of_every_line(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"id":"a"}', encoding="utf-16")

    with pytest.raises(DataError, match="expected UTF-8, found UTF-16"):
        read(tmp_path / "a.ndjson", ONCE)


@pytest.mark.parametrize("data", [b"", b"\n\n", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"])
def test_an_empty_file_holds_no_documents(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "empty.ndjson.gz").write_bytes(data)

    assert read(tmp_path / "empty.ndjson.gz") == []


def test_a_document_over_ten_mib_is_rejected_with_its_size(tmp_path: Path) -> None:
    big = b'{"id":"big","text":"' + b"x" * MAX_LINE_BYTES + b'"}'
    (tmp_path / "a.ndjson").write_bytes(big + b'\n{"id":"small"}\n')

    unreadable, small = read(tmp_path / "a.ndjson", ONCE)

    assert isinstance(unreadable, Unreadable)
    assert f"a line of {len(big):,} bytes" in unreadable.reason
    assert (unreadable.line, unreadable.where) == (big[:KEPT_BYTES], f"{tmp_path / 'a.ndjson'}:1")
    assert isinstance(small, Operation)


def test_a_small_file_that_unzips_to_a_huge_line_is_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "bomb.ndjson.gz"
    with gzip.open(path, "wb", 9) as file:
        for _ in range(12):
            file.write(b"x" * MAX_LINE_BYTES)
        file.write(b'\n{"id":"small"}\n')

    tracemalloc.start()
    bomb, small = read(path, ONCE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(bomb, Unreadable)
    assert f"a line of {12 * MAX_LINE_BYTES:,} bytes" in bomb.reason
    assert isinstance(small, Operation)
    assert peak < 3 * MAX_LINE_BYTES


def test_a_file_with_fewer_documents_than_its_manifest_says_fails_at_its_end() -> None:
    given = Input("s3://b/k", "e", 9, Format.NDJSON, documents=3)
    reading = read_lines(given, iter([b'{"id":"a"}\n{"id":"b"}\n']), json_parser(ONCE.maker(given)), 1)

    assert isinstance(next(reading), Operation)
    with pytest.raises(DataError, match="expected 3 documents, as its manifest says, found 2"):
        next(reading)


def test_ids_from_the_position_are_the_same_from_any_position_and_differ_by_row_and_by_content(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"a":1}\n\n{"a":1}\n')
    recipe = Recipe(IdRule(IdScheme.POSITION), VersionScheme.ONCE)

    first, second = documents(read(path, recipe))
    assert first.id != second.id
    assert read(path, recipe, start=1) == [second]
    path.write_bytes(b'{"a":2}\n')
    assert documents(read(path, recipe))[0].id not in (first.id, second.id)


def test_ids_from_the_content_are_one_for_equal_lines(tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_bytes(b'{"a":1}\n{"a":1}\n{"a":2}\n')

    ids = [
        operation.id
        for operation in documents(read(tmp_path / "events.ndjson", Recipe(IdRule(IdScheme.CONTENT), VersionScheme.ONCE)))
    ]

    assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)


@pytest.mark.parametrize(
    ("scheme", "version", "sequence"),
    [(VersionScheme.ONCE, None, None), (VersionScheme.SEQUENCE, None, "0"), (VersionScheme.NONE, None, None)],
)
def test_a_load_gives_the_version_that_the_scheme_asks_for(
    tmp_path: Path, scheme: VersionScheme, version: int | None, sequence: str | None
) -> None:
    (tmp_path / "a.ndjson").write_bytes(b'{"id":"a","revision":7}')

    (operation,) = documents(read(tmp_path / "a.ndjson", Recipe(IdRule(IdScheme.ATTRIBUTES, ("id",)), scheme)))

    assert (operation.version, operation.sequence) == (version, sequence)

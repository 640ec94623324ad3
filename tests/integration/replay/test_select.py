"""Every kind of selection against Amazon's own engine: nothing twice, nothing missed, from any page on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.sources.objects import find
from searchops.core.errors import DataError
from searchops.core.replay import select
from searchops.core.replay.calls import TableMissing
from searchops.core.replay.model import Key
from searchops.core.replay.select import Page, Reader, check, pages, parts
from searchops.core.replay.selection import All, ByDate, ByKey, ByKeys, Filter, PartitionKey, Sample, Selection
from searchops.core.replay.touched import name_of
from tests.integration.replay.world import DAY, Table, item, some_items

TODAY = date(2026, 11, 21)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "PAGE_ITEMS", 4)


def by_day(*values: str, filter: Filter | None = None) -> ByDate:
    return ByDate("by_day", "day", TODAY, values or (DAY,), filter)


def read(table: Table, selection: Selection, s3: Any = None) -> list[Key]:
    """All keys; each part is read a second time from each of its cursors on, written down as JSON in between."""
    reader = Reader(table.client, table.facts, selection, s3=s3)
    keys: list[Key] = []
    for part in reader.parts:
        found = list(reader.pages(part))
        assert [page.cursor is None for page in found] == [False] * (len(found) - 1) + [True]
        assert all(len(page.keys) <= 4 for page in found)
        for number, page in enumerate(found[:-1], 1):
            rest = reader.pages(part, json.loads(json.dumps(page.cursor)))
            assert _keys(rest) == _keys(iter(found[number:]))
        keys += _keys(iter(found))
    return keys


def _keys(pages: Iterator[Page]) -> list[Key]:
    return [key for page in pages for key in page.keys]


def named(keys: list[Key]) -> list[str]:
    return sorted(map(name_of, keys))


@pytest.mark.parametrize("count", [0, 1, 4, 5, 11])
def test_a_day_is_read_by_its_index(tables: Callable[..., Table], count: int):
    table = tables()
    keys = table.put(some_items(count))
    table.put([item("other", 1, day={"S": "20261122"}), {"pk": {"S": "without"}, "sk": {"N": "1"}}])

    assert named(read(table, by_day())) == named(keys)


def test_all_shards_of_a_day_are_read(tables: Callable[..., Table]):
    table = tables()
    keys = table.put(item("p", number, day={"S": f"{DAY}#{number % 3}"}) for number in range(12))

    assert named(read(table, by_day(f"{DAY}#0", f"{DAY}#1", f"{DAY}#2"))) == named(keys)


@pytest.mark.parametrize(("type_", "value"), [("N", {"N": DAY}), ("B", {"B": DAY.encode()})])
def test_a_date_can_be_a_number_or_bytes(tables: Callable[..., Table], type_: str, value: dict[str, Any]):
    table = tables(day=type_)
    keys = table.put(item("p", number, day=value) for number in range(6))

    assert named(read(table, by_day())) == named(keys)


def test_binary_and_number_keys_are_read_as_they_are(tables: Callable[..., Table]):
    table = tables(pk="B", sk="B")
    keys = table.put({"pk": {"B": bytes([number, 255])}, "sk": {"B": b"\0\xff"}, "day": {"S": DAY}} for number in range(9))
    numbers = tables(pk="N", sk=None)
    big = numbers.put({"pk": {"N": f"1234567890123456789012345678901234567{n}"}} for n in range(9))

    assert named(read(table, by_day())) == named(read(table, All(3))) == named(keys)
    assert named(read(table, ByKey((PartitionKey({"B": b"\x03\xff"}),)))) == named([keys[3]])
    assert named(read(numbers, All(2))) == named(big)


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        (None, None, range(12)),
        ("3", None, range(3, 12)),
        (None, "3", range(4)),
        ("3", "8.5", range(3, 9)),
        ("20", "30", range(0)),
    ],
)
def test_a_partition_key_is_read_with_a_range_of_sort_keys(
    tables: Callable[..., Table], first: str | None, last: str | None, found: range
):
    table = tables()
    keys = table.put(item("a", number) for number in range(12))
    table.put(item("b", number) for number in range(12))
    ends = [{"N": end} if end else None for end in (first, last)]

    assert read(table, ByKey((PartitionKey({"S": "a"}, *ends),))) == [keys[number] for number in found]


def test_a_partition_key_that_is_given_twice_is_read_once(tables: Callable[..., Table]):
    table = tables()
    keys = table.put([item("a", 1), item("b", 1)])

    assert named(read(table, ByKey(tuple(PartitionKey({"S": name}) for name in "aba")))) == named(keys)


def test_the_segments_of_a_scan_are_the_table(tables: Callable[..., Table]):
    table = tables()
    keys = table.put(some_items(60))

    assert named(read(table, All(5))) == named(keys)


@pytest.mark.parametrize(("count", "found"), [(1, 1), (4, 4), (9, 9), (100, 20)])
def test_a_sample_has_as_many_items_as_were_asked_for(tables: Callable[..., Table], count: int, found: int):
    table = tables()
    keys = table.put(some_items(20))

    sample = read(table, Sample(count))

    assert len(sample) == len(set(named(sample))) == found
    assert set(named(sample)) <= set(named(keys))


def test_a_filter_leaves_items_out(tables: Callable[..., Table]):
    table = tables(projection={"ProjectionType": "ALL"})
    keys = table.put(item("a", number, status={"S": "live" if number % 2 else "gone"}) for number in range(20))
    live = Filter("#s = :s AND attribute_exists(revision)", {"#s": "status"}, {":s": {"S": "live"}})
    selections = [by_day(filter=live), ByKey((PartitionKey({"S": "a"}),), live), All(2, live), Sample(10, live)]

    assert [named(read(table, selection)) for selection in selections] == [named(keys[1::2])] * 4
    assert len(read(table, Sample(3, live))) == 3


def test_a_filter_on_what_the_index_does_not_hold_is_refused_instead_of_finding_nothing(tables: Callable[..., Table]):
    table = tables(projection={"ProjectionType": "INCLUDE", "NonKeyAttributes": ["kind"]})

    with pytest.raises(DataError, match=r"found price, status, which it does not \(its projection is INCLUDE\)"):
        check(
            table.facts,
            by_day(filter=Filter("#s.#n = :s AND begins_with(kind, :k) AND size(price) > :p", {"#s": "status", "#n": "x"})),
        )
    check(table.facts, by_day(filter=Filter("attribute_exists(kind) OR day <> :d AND sk BETWEEN :a AND :b")))


@pytest.mark.parametrize("packed", [False, True])
def test_a_list_in_s3_is_read(tables: Callable[..., Table], replay_bucket: Bucket, packed: bool):
    table = tables()
    keys = table.put(some_items(11))
    lines = [
        json.dumps(key) if number % 2 else f'{{"pk": "{key["pk"]["S"]}", "sk": {key["sk"]["N"]}}}'
        for number, key in enumerate(keys)
    ]
    content = ("\n\n".join(lines) + "\r\n").encode()
    replay_bucket.put("keys", gzip.compress(content) if packed else content)
    s3, url = replay_bucket._s3, f"s3://{replay_bucket.name}/keys"

    assert read(table, ByKeys(url, find(s3, url).etag), s3) == keys


def test_an_empty_list_in_s3_has_no_keys(tables: Callable[..., Table], replay_bucket: Bucket):
    replay_bucket.put("none", b"")
    url = f"s3://{replay_bucket.name}/none"

    assert read(tables(), ByKeys(url, find(replay_bucket._s3, url).etag), replay_bucket._s3) == []


def test_a_list_that_was_replaced_is_refused(tables: Callable[..., Table], replay_bucket: Bucket):
    replay_bucket.put("replaced", b'{"pk": "a", "sk": 1}')

    with pytest.raises(DataError, match="another object than the one that was planned"):
        read(tables(), ByKeys(f"s3://{replay_bucket.name}/replaced", "0" * 32), replay_bucket._s3)


def test_a_filter_holds_for_a_list_too(tables: Callable[..., Table], replay_bucket: Bucket):
    table = tables()
    keys = table.put(item("a", number, status={"S": "live" if number % 2 else "gone"}) for number in range(10))
    replay_bucket.put("filtered", "\n".join(map(json.dumps, keys)).encode())
    url = f"s3://{replay_bucket.name}/filtered"
    live = Filter("#s = :s", {"#s": "status"}, {":s": {"S": "live"}})

    assert read(table, ByKeys(url, find(replay_bucket._s3, url).etag, live), replay_bucket._s3) == keys[1::2]


def test_what_is_read_is_counted(tables: Callable[..., Table]):
    table = tables()
    table.put(item("a", number, text={"S": "x" * 5000}) for number in range(3))

    none = ByKey((PartitionKey({"S": "a"}),), Filter("revision > :n", {}, {":n": {"N": "2000"}}))

    (page,) = pages(table.client, table.facts, none, parts(none)[0])

    assert (page.read, page.keys) == (3, ())
    assert page.units == 2  # 15 KB, eventually consistent


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (ByKey((PartitionKey({"N": "1"}),)), r"pk: expected a text that is not empty \(S\), found N"),
        (ByKey((PartitionKey({"S": "a"}, {"S": "1"}),)), r"sk: expected a number \(N\), found S"),
        (ByDate("by_day", "created", TODAY, (DAY,)), r"expected a key of the table or of one of its indexes \(day, pk, sk\)"),
    ],
)
def test_a_selection_that_does_not_fit_the_table_says_so(tables: Callable[..., Table], selection: Selection, words: str):
    with pytest.raises(DataError, match=words):
        check(tables().facts, selection)


def test_a_range_of_sort_keys_needs_sort_keys(tables: Callable[..., Table]):
    with pytest.raises(DataError, match="the table has none"):
        check(tables(sk=None).facts, ByKey((PartitionKey({"S": "a"}, {"N": "1"}),)))


def test_a_number_of_a_date_that_is_none_is_refused(tables: Callable[..., Table]):
    with pytest.raises(DataError, match="the date day: expected a number"):
        check(tables(day="N").facts, by_day(f"{DAY}#0"))


def test_an_index_that_does_not_exist_is_named(tables: Callable[..., Table]):
    with pytest.raises(DataError, match="by_week"):
        read(tables(), ByDate("by_week", "day", TODAY, (DAY,)))


def test_a_table_that_does_not_exist_is_named(tables: Callable[..., Table], dynamodb: Any):
    from dataclasses import replace

    gone = Table(dynamodb, replace(tables().facts, name="no-such-table"))

    with pytest.raises(TableMissing, match="no-such-table"):
        read(gone, All())

from __future__ import annotations

import gzip
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.sources.objects import find
from searchops.core.errors import DataError
from searchops.core.replay import select
from searchops.core.replay.select import Reader, check, pages, parts
from searchops.core.replay.selection import All, ByDate, ByKey, ByKeys, Filter, PartitionKey, Sample, Selection
from searchops.core.replay.table import IndexFacts, TableFacts
from tests.unit.core.replay.test_selection import partition_keys

TABLE = TableFacts(
    "products",
    "arn",
    "ACTIVE",
    "pk",
    "sk",
    {"pk": "S", "sk": "N", "day": "S"},
    (IndexFacts("by_day", True, "day", None, "KEYS_ONLY"), IndexFacts("by_day_all", True, "day", None, "ALL")),
)


def by_day(*values: str, index: str = "by_day", filter: Filter | None = None) -> ByDate:
    return ByDate(index, "day", date(2026, 11, 21), values or ("20261121",), filter)


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (by_day("20261121#0", "20261121#1"), ("date-20261121!230", "date-20261121!231")),
        (by_day("2026/11/21"), ("date-2026!2F11!2F21",)),
        (Sample(5), ("sample",)),
        (ByKeys("s3://b/k", "e"), ("list",)),
        (All(2), ("segment-000000-of-2", "segment-000001-of-2")),
    ],
)
def test_the_parts_of_a_selection_have_names_that_can_be_read(selection: Selection, names: tuple[str, ...]):
    assert parts(selection) == names


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.lists(partition_keys, min_size=1))
def test_the_name_of_a_part_fits_everywhere_and_belongs_to_one_part(values, keys):
    for selection, count in ((by_day(*values), len(values)), (ByKey(tuple(keys)), None)):
        names = parts(selection)

        assert len(names) == len(set(names)) == (count or len(names))
        assert all(re.fullmatch(r"[A-Za-z0-9._!~-]{1,110}", name) for name in names)


def test_a_partition_key_has_the_same_part_wherever_it_stands():
    one, two = PartitionKey({"S": "a"}), PartitionKey({"N": "1.0"}, {"N": "2"})

    assert sorted(parts(ByKey((one, two)))) == sorted(parts(ByKey((PartitionKey({"N": "1"}, {"N": "2.0"}), one, one))))


def test_a_part_of_another_selection_is_refused():
    with pytest.raises(DataError, match="found 'segment-000000-of-2'"):
        pages(None, TABLE, All(3), "segment-000000-of-2")


@pytest.mark.parametrize(
    ("expression", "names", "asked"),
    [
        ("#s = :s", {"#s": "status"}, "status"),
        ("status = :s AND NOT contains(tags, :t)", {}, "status, tags"),
        ("#a.#b[3].c > :n or size(d) in (:x)", {"#a": "map", "#b": "inner"}, "d, map"),
        ("attribute_not_exists(gone)", {"#unused": "other"}, "gone"),
    ],
)
def test_a_filter_asks_for_what_the_index_must_hold(expression: str, names: dict[str, str], asked: str):
    with pytest.raises(DataError, match=rf"found {asked}, which it does not \(its projection is KEYS_ONLY\)"):
        check(TABLE, by_day(filter=Filter(expression, names)))
    check(TABLE, by_day(index="by_day_all", filter=Filter(expression, names)))


def test_a_filter_on_keys_alone_is_taken():
    check(TABLE, by_day(filter=Filter("sk BETWEEN :a AND :b AND #p <> :c", {"#p": "pk"})))


@given(st.integers(0, 25), st.booleans(), st.booleans(), st.randoms())
def test_a_list_is_read_in_pages_and_from_any_page_on(tmp_path_factory, count, packed, blank_lines, random):
    path: Path = tmp_path_factory.mktemp("list") / "keys.ndjson"
    keys = [{"pk": {"S": f"k{number}"}, "sk": {"N": str(number)}} for number in range(count)]
    lines = [json.dumps(key) for key in keys]
    for _ in range(5 if blank_lines else 0):
        lines.insert(random.randint(0, len(lines)), "")
    content = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(content) if packed else content)

    reader = Reader(None, TABLE, ByKeys(str(path), find(None, str(path)).etag))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "PAGE_ITEMS", 4)
        found = list(reader.pages("list"))
        rests = [_keys(reader.pages("list", json.loads(json.dumps(page.cursor)))) for page in found if page.cursor]

    assert _keys(found) == keys
    assert all(len(page.keys) <= 4 for page in found)
    assert [page.cursor is None for page in found] == [False] * (len(found) - 1) + [True]
    assert rests == [keys[sum(len(page.keys) for page in found[:number]) :] for number in range(1, len(found))]


def _keys(found: Any) -> list[Any]:
    return [key for page in found for key in page.keys]


def test_a_line_that_is_too_long_for_a_key_is_named(tmp_path: Path):
    path = tmp_path / "keys"
    path.write_bytes(b'{"pk": "a", "sk": 1}\n' + b"x" * 20_000)

    with pytest.raises(DataError, match=r"keys:2: expected a key, found a line of 20,000 bytes"):
        list(pages(None, TABLE, ByKeys(str(path), find(None, str(path)).etag), "list"))

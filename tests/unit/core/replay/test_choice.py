from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.errors import DataError
from searchops.core.replay.choice import MAX_DAYS, SEGMENTS, Choice, Dates
from searchops.core.replay.selection import All, ByDate, ByKey, ByKeys, Filter, PartitionKey, Sample

TOKYO = Dates("created_ymd-index", "created_ymd", "%Y%m%d", "Asia/Tokyo")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)  # 21:00 in Tokyo
NOTHING = {
    "interval_start": "",
    "days": "[]",
    "first_day": "",
    "last_day": "",
    "partition_keys": "[]",
    "sort_key_first": "",
    "keys_file": "",
    "sample": "",
    "whole_table": "False",
    "segments": "16",
    "filter": "null",
}


@dataclass(frozen=True)
class Keys:
    name: str = "products"
    partition_key: str = "pk"
    sort_key: str | None = "sk"
    key_types: dict[str, str] = field(default_factory=lambda: {"pk": "S", "sk": "N"})


def chosen(form: dict[str, Any], *, table: Keys | None = None, dates: Dates | None = TOKYO, now: datetime = NOON) -> Any:
    return Choice.of({**NOTHING, **form}).selections(table or Keys(), dates, etag_of=lambda url: f"etag of {url}", now=now)


def days(form: dict[str, Any], **options: Any) -> list[date]:
    return [selection.day for selection in chosen(form, **options)]


@pytest.mark.parametrize(
    ("start", "day"),
    [
        ("2026-11-20T15:00:00+00:00", date(2026, 11, 21)),
        ("2026-11-20T14:59:59+00:00", date(2026, 11, 20)),
        ("2026-11-21T00:00:00+09:00", date(2026, 11, 21)),
        ("2026-11-21T00:00:00Z", date(2026, 11, 21)),
    ],
)
def test_the_day_of_a_backfills_run_is_that_of_its_data_interval_where_the_table_is(start: str, day: date) -> None:
    (selection,) = chosen({"interval_start": start})

    assert selection == ByDate("created_ymd-index", "created_ymd", day, (day.strftime("%Y%m%d"),))


def test_days_are_replayed_in_their_order_and_each_once() -> None:
    form = {"days": '["2026-11-03", "2026-11-01"]', "first_day": "2026-11-02", "last_day": "2026-11-03"}

    assert days(form) == [date(2026, 11, day) for day in (1, 2, 3)]


def test_today_is_that_of_the_table_and_what_has_not_begun_there_is_refused() -> None:
    assert days({"days": ["2026-11-22"]}, now=NOON + timedelta(hours=3)) == [date(2026, 11, 22)]
    with pytest.raises(DataError, match="expected up to today, 2026-11-21 in Asia/Tokyo, found 2026-11-22"):
        days({"days": ["2026-11-22"]}, now=NOON)


def test_a_sharded_day_is_one_selection_of_all_its_keys() -> None:
    (selection,) = chosen({"days": ["2026-11-21"]}, dates=Dates("i", "ymd", "%Y-%m-%d", "UTC", shards=3))

    assert selection.values == ("2026-11-21#0", "2026-11-21#1", "2026-11-21#2")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "expected one choice of .* found none"),
        ({"sample": 3, "whole_table": True}, "found sample and whole_table"),
        ({"interval_start": "2026-11-20T15:00:00Z", "days": ["2026-11-01"]}, "leave them out"),
        ({"interval_start": "2026-11-20T15:00:00"}, "interval_start: expected a time with its zone"),
        ({"days": ["20261121"]}, "days: expected a list of days"),
        ({"days": ["2026-02-30"]}, "days: expected a list of days"),
        ({"days": "2026-11-21"}, "days: expected a list of days"),
        ({"first_day": "2026-11-21"}, "expected both first_day and last_day"),
        ({"first_day": "2026-11-21", "last_day": "2026-11-20"}, "expected first_day up to last_day"),
        ({"first_day": "1026-11-21", "last_day": "2026-11-20"}, f"at most {MAX_DAYS} in a run"),
        ({"sample": "0"}, "sample: expected a whole number above 0, found '0'"),
        ({"sample": "-1"}, "sample: expected"),
        ({"whole_table": "perhaps"}, "whole_table: expected true or false"),
        ({"sort_key_first": "1", "sample": 1}, "expected partition_keys with them"),
        ({"partition_keys": ["a"], "sort_key_first": "x"}, "sort_key_first: sk: expected a number"),
        ({"partition_keys": [1]}, "partition_keys: pk: expected a text"),
        ({"partition_keys": ["a"] * 1001}, "put them into keys_file"),
        ({"filter": '{"expresion": "a"}', "sample": 1}, "filter: expected a filter such as"),
        ({"colour": "red", "sample": 1}, "expected .* found colour"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_expected(form: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        chosen(form)


def test_a_table_without_a_date_index_has_no_replay_by_date() -> None:
    with pytest.raises(DataError, match="expected a date_index in its inventory entry"):
        days({"days": ["2026-11-01"]}, dates=None)


def test_keys_are_read_as_the_table_has_them() -> None:
    form = {"partition_keys": '["a", "b"]', "sort_key_first": "1", "sort_key_last": "20"}
    (selection,) = chosen(form)
    assert selection == ByKey(tuple(PartitionKey({"S": key}, {"N": "1"}, {"N": "20"}) for key in "ab"))

    binary = Keys(sort_key=None, key_types={"pk": "B"})
    (selection,) = chosen({"partition_keys": ["aGk="]}, table=binary)
    assert selection == ByKey((PartitionKey({"B": b"hi"}),))
    with pytest.raises(DataError, match="has no sort key"):
        chosen({"partition_keys": ["aGk="], "sort_key_last": "1"}, table=binary)


def test_a_list_a_sample_and_the_whole_table_with_a_filter() -> None:
    found = Filter("#c = :c", {"#c": "category"}, {":c": {"S": "tools"}})
    given = {"expression": "#c = :c", "names": {"#c": "category"}, "values": {":c": {"S": "tools"}}}

    assert chosen({"keys_file": "s3://b/k", "filter": given}) == (ByKeys("s3://b/k", "etag of s3://b/k", found),)
    assert chosen({"sample": "7", "filter": json.dumps(given)}) == (Sample(7, found),)
    assert chosen({"whole_table": "True", "segments": ""}) == (All(SEGMENTS),)


@given(st.dictionaries(st.sampled_from(sorted(NOTHING)), st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text()))))
def test_whatever_a_form_holds_it_is_a_choice_or_a_data_error(form: dict[str, Any]) -> None:
    try:
        selections = chosen(form)
    except DataError:
        return
    assert selections

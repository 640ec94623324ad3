from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from searchops.core.errors import DataError
from searchops.core.replay.selection import (
    All,
    ByDate,
    ByKey,
    ByKeys,
    Filter,
    PartitionKey,
    Sample,
    canonical,
    day_of,
    day_values,
    digest,
    from_json,
    key_of,
    key_value,
    normal_number,
    to_json,
)

DAY = date(2026, 11, 21)
numbers = st.builds(lambda digits, exponent: f"{digits}E{exponent}", st.integers(-(10**38) + 1, 10**38 - 1), st.integers(-80, 80))
attribute_values = st.one_of(
    st.builds(lambda text: {"S": text}, st.text(min_size=1)),
    st.builds(lambda text: {"N": text}, numbers),
    st.builds(lambda content: {"B": content}, st.binary(min_size=1)),
)
filters = st.none() | st.builds(
    Filter,
    st.text(min_size=1),
    st.dictionaries(st.text().map("#{}".format), st.text()),
    st.dictionaries(
        st.text(),
        st.recursive(
            attribute_values,
            lambda inner: (
                st.builds(lambda values: {"L": values}, st.lists(inner))
                | st.builds(lambda values: {"M": values}, st.dictionaries(st.text(), inner))
            ),
            max_leaves=4,
        ),
    ),
)
partition_keys = st.builds(PartitionKey, attribute_values, st.none() | attribute_values, st.none() | attribute_values)
selections = st.one_of(
    st.builds(ByDate, st.text(), st.text(), st.dates(), st.lists(st.text(), min_size=1).map(tuple), filters),
    st.builds(ByKey, st.lists(partition_keys, min_size=1, max_size=5).map(tuple), filters),
    st.builds(ByKeys, st.text(), st.text(), filters),
    st.builds(Sample, st.integers(1, 10**6), filters),
    st.builds(All, st.integers(1, 1000), filters),
)


@given(selections)
def test_a_selection_that_was_written_down_is_read_as_it_was(selection):
    assert from_json(json.loads(json.dumps(to_json(selection)))) == selection


@given(selections)
def test_a_selection_has_the_same_digest_after_it_was_written_down(selection):
    assert digest(from_json(json.loads(json.dumps(to_json(selection))))) == digest(selection)


@given(st.lists(partition_keys, min_size=1, max_size=5), st.randoms())
def test_the_order_of_keys_and_a_key_given_twice_do_not_count(keys, random):
    other = [*keys, random.choice(keys)]
    random.shuffle(other)

    assert canonical(ByKey(tuple(other))) == canonical(ByKey(tuple(keys)))


@given(selections, selections)
def test_selections_of_other_items_have_other_digests(one, other):
    assume(_bare(one) != _bare(other))

    assert digest(one) != digest(other)


def _bare(selection: Any) -> bytes:
    """What the canonical form says, by other means: without segments, sets for what has no order, exact numbers."""
    values = to_json(selection)
    values.pop("segments", None)
    for name in ("keys", "values"):
        if name in values:
            values[name] = sorted({json.dumps(_numbers(entry), sort_keys=True) for entry in values[name]})
    return json.dumps(_numbers(values), sort_keys=True).encode()


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: normal_number(found) if name == "N" and isinstance(found, str) else _numbers(found)
            for name, found in value.items()
        }
    return [_numbers(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("spelling", ["1", "1.0", "01", "+1", "10e-1", "0.1E1"])
def test_a_number_is_the_same_key_however_it_is_written(spelling):
    assert digest(ByKey((PartitionKey({"N": spelling}),))) == digest(ByKey((PartitionKey({"N": "1"}),)))


def test_all_38_digits_of_a_number_count():
    first, second = "12345678901234567890123456789012345678", "12345678901234567890123456789012345679"

    assert digest(ByKey((PartitionKey({"N": first}),))) != digest(ByKey((PartitionKey({"N": second}),)))


def test_minus_zero_is_zero():
    assert normal_number("-0.00") == normal_number("0") == "0"


@pytest.mark.parametrize("text", ["", "one", "NaN", "Infinity", "1,0"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(DataError, match="expected a number"):
        normal_number(text)


def test_how_a_scan_is_split_is_no_part_of_what_is_scanned():
    assert digest(All(segments=4)) == digest(All(segments=32))
    assert digest(All()) != digest(All(filter=Filter("attribute_exists(a)")))


@pytest.mark.parametrize(
    "values",
    [{}, {"kind": "other"}, {"kind": "date"}, {"kind": "key", "keys": [{"value": {"B": "?"}}]}, {"kind": "sample", "count": "x"}],
)
def test_what_is_no_selection_is_refused(values):
    with pytest.raises(DataError, match="expected a selection of items"):
        from_json(values)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ByDate("i", "d", DAY, ()), "expected at least one value of d"),
        (lambda: ByKey(()), "expected 1 to 1,000, found 0"),
        (lambda: ByKey((PartitionKey({"S": "a"}),) * 1001), "a list in S3"),
        (lambda: Sample(0), "at least 1 item, found 0"),
        (lambda: All(0), "expected 1 to"),
    ],
)
def test_a_selection_of_nothing_or_too_much_says_so(make, words):
    with pytest.raises(DataError, match=words):
        make()


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        ("2026-11-21T14:59:59.999999+00:00", DAY),
        ("2026-11-21T15:00:00+00:00", DAY + timedelta(1)),
        ("2026-11-21T00:00:00+09:00", DAY),
    ],
)
def test_a_day_of_tokyo_begins_at_15_utc(instant, day):
    assert day_of(datetime.fromisoformat(instant), "Asia/Tokyo") == day


def test_the_day_on_which_a_clock_is_put_back_has_25_hours():
    instants = [datetime(2026, 11, 1, 4, tzinfo=UTC) + timedelta(hours=hour) for hour in range(26)]

    assert sum(day_of(instant, "America/New_York") == date(2026, 11, 1) for instant in instants) == 25


def test_an_instant_without_a_zone_is_no_day():
    with pytest.raises(DataError, match="expected a time zone, found none"):
        day_of(datetime(2026, 11, 21), "Asia/Tokyo")  # noqa: DTZ001


@pytest.mark.parametrize("name", ["Asia/Tokio", "", "../etc"])
def test_a_zone_that_does_not_exist_is_named(name):
    with pytest.raises(DataError, match="such as Asia/Tokyo"):
        day_of(datetime(2026, 11, 21, tzinfo=UTC), name)


@pytest.mark.parametrize(
    ("fmt", "value"),
    [
        ("%Y%m%d", "20261121"),
        ("%Y-%m-%d", "2026-11-21"),
        ("DAY#%d.%m.%Y", "DAY#21.11.2026"),
        ("%Y%j", "2026325"),
        ("%y%m%d", "261121"),
    ],
)
def test_a_date_is_written_in_the_tables_own_format(fmt, value):
    assert day_values(DAY, fmt) == (value,)


def test_a_sharded_date_has_a_value_a_shard():
    assert day_values(DAY, "%Y%m%d", 3) == ("20261121#0", "20261121#1", "20261121#2")


@given(st.dates(), st.dates())
def test_days_have_different_values(one, other):
    assert (day_values(one, "%Y%m%d") == day_values(other, "%Y%m%d")) == (one == other)


@given(st.dates(), st.sampled_from(["%Y%m", "%m%d", "%d", "created", "%Y", "%H%M", "%A", ""]))
def test_a_format_that_gives_other_days_the_same_value_is_refused(day, fmt):
    with pytest.raises(DataError, match="tells days apart"):
        day_values(day, fmt)


@pytest.mark.parametrize("shards", [-1, 1001])
def test_a_number_of_shards_has_limits(shards):
    with pytest.raises(DataError, match="shards: expected 0 to 1,000"):
        day_values(DAY, "%Y%m%d", shards)


@pytest.mark.parametrize(
    ("given_", "type_", "value"),
    [
        ("a", "S", {"S": "a"}),
        ({"S": "a"}, "S", {"S": "a"}),
        (7, "N", {"N": "7"}),
        ("7.50", "N", {"N": "7.50"}),
        ({"N": "7"}, "N", {"N": "7"}),
        ("AQI=", "B", {"B": b"\x01\x02"}),
        ({"B": b"\x01"}, "B", {"B": b"\x01"}),
    ],
)
def test_a_key_can_be_written_as_people_or_dynamodb_write_it(given_, type_, value):
    assert key_value(given_, type_, "here") == value


@pytest.mark.parametrize(
    ("given_", "type_", "words"),
    [
        ("", "S", "a text that is not empty"),
        (7, "S", "a text that is not empty"),
        ("seven", "N", "a number"),
        (True, "N", "a number"),
        ("not base64", "B", "bytes as base64"),
        ({"S": "7"}, "N", r"a number \(N\), found S"),
        ({}, "N", "found nothing"),
        ({"NULL": True}, "S", "found NULL"),
    ],
)
def test_a_key_of_another_type_is_refused_with_its_place(given_, type_, words):
    with pytest.raises(DataError, match=f"here: expected .*{words}"):
        key_value(given_, type_, "here")


def test_a_line_of_a_list_is_a_whole_key():
    types = {"pk": "S", "sk": "N"}

    assert key_of(b'{"pk": "a", "sk": 12345678901234567890.5}', "pk", "sk", types, "l:1") == {
        "pk": {"S": "a"},
        "sk": {"N": "12345678901234567890.5"},
    }
    assert key_of(b'{"sk": {"N": "1"}, "pk": {"S": "1"}}', "pk", "sk", types, "l:1") == {"pk": {"S": "1"}, "sk": {"N": "1"}}


@pytest.mark.parametrize("line", [b'{"pk": "a"}', b'{"pk": "a", "sk": 1, "name": "x"}', b'["a", 1]', b"pk,sk", b"\xff"])
def test_a_line_that_is_no_key_is_named(line):
    with pytest.raises(DataError, match=r's3://b/l:3: expected a key \{"pk": \{"S": "…"\}, "sk": \{"N": "…"\}\}'):
        key_of(line, "pk", "sk", {"pk": "S", "sk": "N"}, "s3://b/l:3")


def test_a_number_in_a_list_is_no_text():
    with pytest.raises(DataError, match="l:1: pk: expected a text"):
        key_of(b'{"pk": 1}', "pk", None, {"pk": "S"}, "l:1")

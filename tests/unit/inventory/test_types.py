from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from searchops.inventory import types
from searchops.inventory.types import format_duration, parse_duration


@settings(deadline=None)
@given(st.integers(1, 9_999 * 86_400))
def test_a_duration_is_read_as_it_is_written(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30m", 1_800), ("2h", 7_200), ("1h30m", 5_400), ("1d", 86_400), ("90m", 5_400), ("1d2h3m4s", 93_784)],
)
def test_durations_have_units(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@settings(deadline=None)
@given(st.text() | st.integers() | st.none() | st.floats() | st.lists(st.text()))
@example("")
@example("0s")
@example("2")
@example("2h\n")
@example("30m1h")
@example("²h")
@example("９h")
@example("9" * 5_000 + "d")
@example("-2h")
def test_anything_else_is_a_value_error(value: Any) -> None:
    with contextlib.suppress(ValueError):
        assert parse_duration(value) > timedelta(0)


def accepts(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("DomainName", ["abc", "a" * 28, "products-search"], ["ab", "a" * 29, "1abc", "Abc", "a_bc", "abc\n", 5]),
        ("PackageName", ["abc", "a" * 32], ["ab", "a" * 33, "a.bc"]),
        ("PackageId", ["F1", "F123456789"], ["f1", "F", "G1", "pkg-0a", "F1\n", "F１"]),
        (
            "Region",
            ["ap-northeast-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "il-central-1"],
            ["tokyo", "ap-northeast", "ap-northeast-1a"],
        ),
        ("Bucket", ["abc", "a.b-c"], ["ab", "Abc", "-abc", "a" * 64]),
        ("Key", ["a", "A.b_c-1"], ["", "-a", "a b", "東京", "a/b"]),
        ("IndexName", ["products", "products-etl", "日本", "a.b"], ["", "Products", "_a", ".a", "a b", "a*", "a" * 81]),
        (
            "Cron",
            ["0 3 * * *", "*/5 * * * mon-fri", "@daily", "0 0 29 2 *"],
            ["", "daily", "0 3 * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "@once"],
        ),
        ("TimeZone", ["UTC", "Asia/Tokyo"], ["", "Asia/Tokio", "Asia", "../etc/passwd", "/etc/localtime", "+09:00"]),
        ("ProjectPath", ["a.json", "./include/a.json"], ["", ".", "/a.json", "../a.json", "a/../../b", "file://a", "a\\b"]),
        ("Source", ["a.txt", "s3://bucket/a/b.txt"], ["s3://bucket", "s3://bucket/", "s3:///a", "https://a/b", "../a.txt"]),
        ("Flag", [True, False], ["yes", 1, None]),
    ],
)
def test_values_have_their_form(kind: str, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not accepts(getattr(types, kind), value)] == []
    assert [value for value in bad if accepts(getattr(types, kind), value)] == []


@settings(deadline=None)
@given(st.text())
def test_no_text_makes_a_cron_or_time_zone_raise_anything_else(value: str) -> None:
    accepts(types.Cron, value)
    accepts(types.TimeZone, value)

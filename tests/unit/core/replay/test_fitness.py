"""What is found about a table and its items before a replay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from searchops.core.bulk.scheme import Deletes
from searchops.core.replay.findings import Finding, Level
from searchops.core.replay.fitness import heat, of_dates, of_day, of_markers, of_rewrite, of_table, rewrites
from searchops.core.replay.settings import VersionOwner
from tests.unit.core.replay.tables import BY_DAY, DATES, facts, recipe, settings

ALL = replace(BY_DAY, projection="ALL", items=100, size_bytes=50_000)
SHARED = {"version_owner": VersionOwner.SHARED, "index": "items", "recipe": recipe()}


def levels(found: list[Finding]) -> list[Level]:
    return [finding.level for finding in found]


def test_a_table_that_is_fit_gives_no_finding() -> None:
    assert of_table(settings(), facts()) == []


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"status": "CREATING"}, Level.ERROR, "expected it to be ACTIVE, found CREATING"),
        ({"status": "UPDATING"}, Level.WARNING, "expected it to be ACTIVE, found UPDATING"),
        (
            {"stream_arn": None, "stream_view": ""},
            Level.ERROR,
            "found no stream that is on: turn it on (aws dynamodb update-table",
        ),
        ({"stream_view": "KEYS_ONLY"}, Level.ERROR, "expected a stream with the new image, found the view KEYS_ONLY"),
        ({"stream_view": "OLD_IMAGE"}, Level.ERROR, "found the view OLD_IMAGE"),
        ({"ttl_attribute": "searchops_replay"}, Level.ERROR, "it is the TTL attribute"),
        ({"replicas": ("eu-west-1",)}, Level.WARNING, "found replicas in eu-west-1"),
        ({"indexes": ()}, Level.ERROR, "expected the index by-day with the partition key created_ymd, found no index"),
        ({"indexes": (replace(BY_DAY, name="other"),)}, Level.ERROR, "created_ymd, found other"),
        ({"indexes": (replace(BY_DAY, is_global=False),)}, Level.ERROR, "found a local index"),
        (
            {"indexes": (replace(BY_DAY, partition_key="kind", sort_key="created_ymd"),)},
            Level.ERROR,
            "found the key kind and created_ymd",
        ),
        (
            {"indexes": (replace(BY_DAY, status="CREATING"),)},
            Level.ERROR,
            "index by-day: expected it to be ACTIVE, found CREATING",
        ),
        (
            {"key_types": {"pk": "S", "sk": "N", "created_ymd": "B"}},
            Level.ERROR,
            "of a type that holds 20261121, found the type B",
        ),
        (
            {"indexes": (ALL,)},
            Level.WARNING,
            "index by-day: expected that a touch does not write it, found that it projects everything",
        ),
        (
            {"indexes": (replace(BY_DAY, projection="INCLUDE", included=("title", "searchops_replay")),)},
            Level.WARNING,
            "found that it projects searchops_replay",
        ),
        ({"billing": "PROVISIONED", "write_units": 99}, Level.WARNING, "expected capacity for 100 write units a second"),
        ({"most_write_units": 99}, Level.WARNING, "found that it is allowed 99"),
    ],
)
def test_what_is_in_the_way_is_told_with_what_was_expected_and_found(changes: dict[str, Any], level: Level, words: str) -> None:
    (found,) = of_table(settings(), facts(**changes))

    assert found.level is level
    assert words in str(found)
    assert found.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"stream_view": "NEW_IMAGE"},
        {"indexes": (replace(BY_DAY, projection="INCLUDE", included=("title",)),)},
        {"billing": "PROVISIONED", "write_units": 100},
        {"most_write_units": 100},
        {"key_types": {"pk": "S", "sk": "N", "created_ymd": "N"}},
    ],
)
def test_what_is_as_good_gives_no_finding(changes: dict[str, Any]) -> None:
    assert of_table(settings(), facts(**changes)) == []


@pytest.mark.parametrize(
    ("scheme", "deletes", "view", "fits"),
    [
        ("attribute", Deletes.TOMBSTONE, "NEW_IMAGE", False),
        ("attribute", Deletes.IMMEDIATE, "NEW_IMAGE", False),
        ("attribute", Deletes.NEVER, "NEW_IMAGE", True),
        ("attribute", Deletes.TOMBSTONE, "NEW_AND_OLD_IMAGES", True),
        ("sequence", Deletes.TOMBSTONE, "NEW_IMAGE", True),
    ],
)
def test_a_stream_whose_deletes_would_have_no_version_is_an_error(scheme: str, deletes: Deletes, view: str, fits: bool) -> None:
    found = of_table(settings(index="items", recipe=recipe(scheme), deletes=deletes), facts(stream_view=view))

    assert levels(found) == ([] if fits else [Level.ERROR])
    assert fits or "both images, as index items has versions by revision and deletes" in str(found[0])


@pytest.mark.parametrize("dates", [replace(DATES, shards=10), replace(DATES, format="%Y-%m-%d")])
def test_a_number_holds_neither_a_shard_nor_a_dash(dates: Any) -> None:
    (found,) = of_table(settings(dates=dates), facts(key_types={"pk": "S", "sk": "N", "created_ymd": "N"}))

    assert (found.level, found.found) == (Level.ERROR, "the type N")


def test_a_marker_that_is_a_key_would_move_items_in_their_index() -> None:
    index = replace(BY_DAY, name="by-marker", partition_key="searchops_replay")
    table = facts(indexes=(BY_DAY, index), key_types={"pk": "S", "sk": "N", "created_ymd": "S", "searchops_replay": "S"})

    (found,) = of_table(settings(), table)

    assert found.level is Level.ERROR
    assert "expected the marker searchops_replay to be no key, found it is a key of the index by-marker" in str(found)


def test_a_shared_version_that_is_a_key_is_an_error_and_one_that_the_application_keeps_is_not() -> None:
    index = replace(BY_DAY, name="by-revision", partition_key="revision")
    table = facts(indexes=(BY_DAY, index), key_types={"pk": "S", "sk": "N", "created_ymd": "S", "revision": "N"})

    (found,) = of_table(settings(**SHARED), table)

    assert found.level is Level.ERROR
    assert "expected the version attribute revision to be no key" in str(found)
    assert of_table(settings(index="items", recipe=recipe()), table) == []


def test_an_index_that_projects_a_shared_version_is_written_by_a_touch() -> None:
    table = facts(indexes=(replace(BY_DAY, projection="INCLUDE", included=("revision",)),))

    assert levels(of_table(settings(**SHARED), table)) == [Level.WARNING]
    assert of_table(settings(index="items", recipe=recipe()), table) == []


@pytest.mark.parametrize(("pace", "shards", "hot"), [(1_000, 0, 500), (4_000, 0, 2_000), (4_000, 4, 500)])
def test_the_heat_of_a_day_is_its_share_of_the_pace_on_each_of_its_keys(pace: float, shards: int, hot: float) -> None:
    wanted = settings(wcu_per_second=pace, dates=replace(DATES, shards=shards))

    assert heat(wanted, facts(indexes=(ALL,))) == hot


def test_a_day_that_would_be_too_hot_is_told_with_shards_and_pace_that_would_do() -> None:
    found = of_table(settings(wcu_per_second=5_000), facts(indexes=(ALL,)))

    assert levels(found) == [Level.WARNING, Level.WARNING]
    assert "expected at most 1,000 write units a second on the partition of a day, found 2,500 at 5000" in str(found[1])
    assert "spread the day over 3 keys (shards), or lower wcu_per_second to 2,000" in found[1].remedy


def test_a_day_whose_index_a_touch_does_not_write_is_never_too_hot() -> None:
    assert heat(settings(wcu_per_second=40_000), facts()) is None


def test_a_provisioned_index_that_a_touch_writes_needs_its_share() -> None:
    table = facts(billing="PROVISIONED", write_units=1_000, indexes=(replace(ALL, write_units=40),))

    found = of_table(settings(), table)

    assert "index by-day: expected capacity for 50 write units a second" in str(found[-1])


# --- items ---


@pytest.mark.parametrize(
    ("dates", "texts"),
    [
        (DATES, ["20261121", "20240229"]),
        (replace(DATES, format="%Y-%m-%d"), ["2026-11-21"]),
        (replace(DATES, shards=3), ["20261121#0", "20261121#2"]),
    ],
)
def test_days_of_the_declared_form_give_no_finding(dates: Any, texts: list[str]) -> None:
    assert of_dates(dates, [{"S": text} for text in texts]) == []


@pytest.mark.parametrize(
    ("dates", "texts"),
    [
        (DATES, ["2026-11-21"]),
        (DATES, ["20261121#0"]),
        (DATES, ["2026112"]),
        (DATES, ["20260230"]),
        (replace(DATES, shards=3), ["20261121"]),
        (replace(DATES, shards=3), ["20261121#3"]),
        (replace(DATES, shards=3), ["20261121#x"]),
    ],
)
def test_a_date_format_that_does_not_fit_is_an_error_with_what_stands_there(dates: Any, texts: list[str]) -> None:
    (found,) = of_dates(dates, [{"S": text} for text in texts])

    assert found.level is Level.ERROR
    assert repr(texts[0]) in found.found
    assert "1 of 1 items" in found.found


def test_a_format_that_fits_some_items_only_is_a_warning() -> None:
    (found,) = of_dates(DATES, [{"S": "20261121"}, {"S": "21.11.2026"}, {"N": "20261121"}])

    assert (found.level, found.found) == (Level.WARNING, "'21.11.2026' in 1 of 3 items")


def test_an_empty_index_is_a_note() -> None:
    assert levels(of_dates(DATES, [])) == [Level.NOTE]


def test_a_marker_that_the_application_uses_is_an_error() -> None:
    ours, theirs = {"searchops_replay": {"S": "0" * 19 + "7"}}, {"searchops_replay": {"BOOL": True}}

    assert of_markers(settings(), [ours, {}]) == []
    (found,) = of_markers(settings(), [ours, theirs, {"searchops_replay": {"S": "7"}}])
    assert found.level is Level.ERROR
    assert found.found == "other values in 2 of 3 items that have it (type BOOL, S)"


@pytest.mark.parametrize(
    ("day", "expected"),
    [(date(2026, 11, 20), []), (date(2026, 11, 21), [Level.WARNING]), (date(2026, 11, 22), [Level.ERROR])],
)
@pytest.mark.parametrize("now", [datetime(2026, 11, 20, 15, 0, tzinfo=UTC), datetime(2026, 11, 21, 14, 59, tzinfo=UTC)])
def test_a_day_in_the_future_is_one_in_the_time_zone_of_the_table(day: date, expected: list[Level], now: datetime) -> None:
    assert levels(of_day(DATES, day, now)) == expected


# --- rewriting ---


def test_a_rewrite_is_refused_where_only_the_application_increases_the_version() -> None:
    (found,) = of_rewrite(settings(index="items", recipe=recipe()), rewrite=True)

    assert found.level is Level.ERROR
    assert found.found == "version_owner application: only the application increases revision"
    assert "missing and older documents are mended all the same" in found.remedy


@pytest.mark.parametrize(
    ("changes", "again", "refused"),
    [
        ({}, None, True),
        ({"index": "items", "recipe": recipe()}, False, True),
        (SHARED, True, False),
        ({"index": "items", "recipe": recipe("sequence")}, True, False),
        ({"index": "items", "recipe": recipe("ingestion")}, True, False),
        ({"index": "items", "recipe": recipe("none")}, True, False),
        ({"index": "items", "recipe": recipe("once")}, False, True),
    ],
)
def test_whether_documents_are_written_again_follows_from_the_scheme(
    changes: dict[str, Any], again: bool | None, refused: bool
) -> None:
    assert rewrites(settings(**changes)) is again
    assert bool(of_rewrite(settings(**changes), rewrite=True)) is refused
    assert of_rewrite(settings(**changes), rewrite=False) == []

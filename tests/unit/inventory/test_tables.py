"""The section ``tables``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from searchops.inventory import BrokenEntry, Inventory, Table
from searchops.inventory.models import TableEntry

Read = Callable[[str], Inventory]

DEFAULTS = "defaults: {region: ap-northeast-1, bucket: example-bucket, slack_conn_id: ops, claims_table: our-claims}\n"
INDEX = (
    "domains: {search: {opensearch_conn_id: node, bucket: other-bucket}}\n"
    "indexes: {items: {domain: search, id: {attributes: [pk, sk]}, version: {scheme: attribute, attribute: revision}}}\n"
)
DATE_INDEX = {"name": "by-day", "attribute": "day"}


def entry(**fields: Any) -> TableEntry:
    return TableEntry.model_validate(fields)


def errors_of(found: Inventory, key: str) -> tuple[str, ...]:
    broken = found.entries("tables")[key]
    assert isinstance(broken, BrokenEntry)
    return broken.errors


def test_a_table_comes_with_its_index_and_the_defaults_and_goes_through_json_and_back(read: Read) -> None:
    found = read(
        DEFAULTS
        + INDEX
        + """
tables:
  here:
    index: items
    date_index: {name: by-day, attribute: day, format: "%Y-%m-%d", timezone: Asia/Tokyo, shards: 10}
    consumers: [{function: stream-indexer}, {pipeline: items-pipeline, sub_pipeline: items, uses_old_image: true}]
    replay: {marker: again, wcu_per_second: 0.5, max_lag: 90m, version_owner: shared}
  there: {table: the.other_table, region: eu-west-1, aws_conn_id: there}
"""
    )

    here, there = found.tables["here"], found.tables["there"]
    assert found.errors == ()
    assert (here.key, here.table, here.region, here.aws_conn_id, here.pool) == (
        "here",
        "here",
        "ap-northeast-1",
        "aws_default",
        "stream_replay_here",
    )
    assert here.date_index
    assert (here.date_index.format, here.date_index.timezone, here.date_index.shards) == ("%Y-%m-%d", "Asia/Tokyo", 10)
    assert [(one.function, one.pipeline, one.sub_pipeline, one.uses_old_image) for one in here.consumers] == [
        ("stream-indexer", None, "dynamodb-pipeline", False),
        (None, "items-pipeline", "items", True),
    ]
    assert (here.replay.marker, here.replay.wcu_per_second, here.replay.max_lag) == ("again", 0.5, timedelta(minutes=90))
    assert here.written_index == found.written_indexes["items"]
    assert (here.home.bucket, here.home.claims_table) == ("other-bucket", "our-claims")
    assert (there.table, there.region, there.aws_conn_id, there.written_index) == (
        "the.other_table",
        "eu-west-1",
        "there",
        None,
    )
    assert (there.home.region, there.home.aws_conn_id, there.home.bucket) == ("ap-northeast-1", "aws_default", "example-bucket")
    assert (there.replay.marker, there.replay.version_owner, there.date_index) == ("searchops_replay", "application", None)
    for table in (here, there):
        assert Table.model_validate_json(table.model_dump_json()) == table


@pytest.mark.parametrize("format_", ["%Y%m%d", "%Y-%m-%d", "day %d.%m.%y", "%Y%j", "%%%Y/%m/%d"])
def test_a_format_that_tells_every_day_from_every_other_is_taken(format_: str) -> None:
    date_index = entry(date_index={**DATE_INDEX, "format": format_}).date_index

    assert date_index
    assert date_index.format == format_


@pytest.mark.parametrize(
    ("format_", "message"),
    [
        ("%Y%m", 'does not tell one day from another; expected year, month and day, such as "%Y%m%d"'),
        ("%m%d", "does not tell one day from another"),
        ("yyyyMMdd", "does not tell one day from another"),
        ("%B %d %Y", 'holds "%B"; expected a date of %Y, %y, %m, %d, %j, %%'),
        ("%Y%m%-d", 'holds "%-"'),
        ("%Y%m%d%", 'holds "%"'),
    ],
)
def test_a_format_that_could_mean_two_days_or_depends_on_a_language_is_refused(format_: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        entry(date_index={**DATE_INDEX, "format": format_})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"replay": {"wcu_per_second": 0}}, "greater than 0"),
        ({"replay": {"wcu_per_second": -1}}, "greater than 0"),
        ({"replay": {"wcu_per_second": float("inf")}}, "less than or equal to 40000|finite"),
        ({"replay": {"max_lag": "13h"}}, "max_lag is 1m to 12h, found 13h"),
        ({"replay": {"max_lag": "59s"}}, "max_lag is 1m to 12h, found 59s"),
        ({"replay": {"marker": "a.b"}}, '"a.b" is not the name of a marker'),
        ({"replay": {"marker": "_again"}}, '"_again" is not the name of a marker'),
        ({"replay": {"marker": "searchops"}}, 'marker "searchops" is a field of the documents already'),
        ({"replay": {"marker": "day"}, "date_index": DATE_INDEX}, 'the marker is "day", which is the key of date_index'),
        ({"replay": {"version_owner": "shared"}}, 'version_owner "shared" needs an index'),
        ({"replay": {"version_owner": "ours"}}, "'application' or 'shared'"),
        ({"consumers": [{}]}, "expected either function or pipeline"),
        ({"consumers": [{"function": "f", "pipeline": "items"}]}, "expected either function or pipeline"),
        ({"consumers": [{"function": "f"}, {"function": "f"}]}, "the consumer f is named twice"),
        ({"date_index": {**DATE_INDEX, "shards": 1}}, "greater than or equal to 2"),
        ({"date_index": {**DATE_INDEX, "timezone": "Asia/Tokio"}}, '"Asia/Tokio" is not a time zone'),
        ({"date_index": {"name": "by-day"}}, "attribute"),
        ({"table": "a b"}, '"a b" is not the name of a DynamoDB table'),
    ],
)
def test_what_a_replay_could_not_work_with_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        entry(**fields)


@pytest.mark.parametrize(
    ("index", "replay", "message"),
    [
        (
            "version: {scheme: sequence}",
            "version_owner: shared",
            "needs an index whose version is an attribute, found version scheme",
        ),
        (
            "version: {scheme: attribute, attribute: revision}",
            "marker: revision",
            'the marker "revision" is an attribute that id or',
        ),
        ("version: {scheme: attribute, attribute: revision}", "marker: pk", 'the marker "pk" is an attribute that id or version'),
    ],
)
def test_marker_and_version_owner_have_to_fit_the_index(read: Read, index: str, replay: str, message: str) -> None:
    found = read(
        DEFAULTS
        + "domains: {search: {opensearch_conn_id: node}}\n"
        + f"indexes: {{items: {{domain: search, id: {{attributes: [pk]}}, {index}}}}}\n"
        + f"tables: {{items: {{index: items, replay: {{{replay}}}}}}}"
    )

    (error,) = errors_of(found, "items")
    assert error.startswith("include/searchops.yaml: tables.items: ")
    assert message in error


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("itms", 'tables.t-1.index: there is no index "itms"; expected one of bad, items, read-only; did you mean "items"?'),
        ("read-only", 'tables.t-1.index: the index "read-only" has neither id nor version'),
        ("bad", 'tables.t-1.index: the index "bad" does not validate'),
    ],
)
def test_an_index_that_a_stream_cannot_be_written_to_breaks_its_table_and_says_why(read: Read, index: str, message: str) -> None:
    found = read(
        DEFAULTS
        + INDEX.replace("indexes: {", "indexes: {read-only: {domain: search}, bad: {domain: search, probes: 3}, ")
        + f"tables: {{t-1: {{index: {index}}}, t-2: {{index: items}}}}"
    )

    assert set(found.tables) == {"t-2"}
    assert message in errors_of(found, "t-1")[0]
    if index == "bad":
        assert any("indexes.bad.probes" in error for error in errors_of(found, "t-1")[1:])


def test_a_broken_table_leaves_the_others_and_its_own_dag_shows_it(read: Read) -> None:
    found = read(DEFAULTS + "tables: {good: {}, bad: {replay: {wcu_per_second: 0}}}")

    assert set(found.tables) == {"good"}
    assert found.problems == ()
    (bad,) = found.broken
    assert bad.errors == ("include/searchops.yaml: tables.bad.replay.wcu_per_second: expected greater than 0, found 0 (line 2)",)
    assert bad.notice
    assert (bad.notice.bucket, bad.notice.slack_conn_id, bad.notice.schedule) == ("example-bucket", "ops", None)
    assert found.entries("tables") == {**found.tables, "bad": bad}


def test_two_entries_for_one_table_would_touch_it_at_once_so_the_later_is_broken(read: Read) -> None:
    found = read(DEFAULTS + "tables:\n  items: {}\n  again: {table: items}\n  abroad: {table: items, region: eu-west-1}\n")

    assert set(found.tables) == {"items", "abroad"}
    assert found.errors == ('include/searchops.yaml: tables.again.table: "items" is already the table of tables.items (line 4)',)


def test_a_table_needs_a_region_and_a_bucket(read: Read) -> None:
    found = read("tables: {items: {}}")

    assert found.errors == (
        "include/searchops.yaml: tables.items.region: is missing; give it here or in defaults (line 1)",
        'include/searchops.yaml: defaults.bucket: is missing; the table "items" needs it for its reports (line 1)',
    )


def test_a_key_that_is_no_name_of_a_table_needs_one(read: Read) -> None:
    found = read(DEFAULTS + "tables: {a: {}, b: {table: the-table}}")

    assert set(found.tables) == {"b"}
    assert errors_of(found, "a") == ('include/searchops.yaml: tables.a.table: "a" is not the name of a DynamoDB table (line 2)',)

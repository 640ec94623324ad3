"""What the acts of replays compare, without a process; and that what is deployed for them is what the demo's inventory says."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from local.demo import entries
from local.demo.replays import Held, differences, held, instant, touches
from local.demo.world import BUCKET, Project
from searchops.hooks.bulk import scheme_of
from searchops.inventory import Table, load

OURS, EARLIER = "00000000000000000007", "00000000000000000003"
ALL = Held(items=4, marked=4, touched=4, twice=0, equal=4, written=3)
FOUND = {"counts": {"selected": 4, "touched": 3, "before": 1}, "arrivals": {"arrived": 3, "already_there": 1, "missing": 0}}
REPORT = {"short": 0, "funnel": [{"count": 4}, {"count": 4}, {"count": 4}, {"count": 4}]}


def item(pk: str, **attributes: Any) -> dict[str, Any]:
    return {"pk": pk, "sk": "entry", "revision": 1, **attributes}


def document(source: dict[str, Any], version: int = 1) -> dict[str, Any]:
    return {"found": True, "_version": version, "_source": source}


def record(pk: str, before: str | None, after: str | None, change: str = "MODIFY") -> dict[str, Any]:
    images = {
        name: {"pk": {"S": pk}, **({"searchops_replay": {"S": marker}} if marker else {})}
        for name, marker in (("OldImage", before), ("NewImage", after))
    }
    return {"eventName": change, "dynamodb": {"Keys": {"pk": {"S": pk}, "sk": {"S": "entry"}}, **images}}


def test_a_touch_is_a_record_in_which_the_marker_becomes_the_replays_id() -> None:
    records = [
        record("new", None, OURS),
        record("again", EARLIER, OURS),
        record("another replay", None, EARLIER),
        record("an update of a touched one", OURS, OURS),
        record("a put over a touched one", OURS, None),
        record("twice", None, OURS),
        record("twice", None, OURS),
    ]

    assert touches(records, OURS) == Counter({"new": 1, "again": 1, "twice": 2})


def test_what_is_held_is_counted_by_table_stream_and_index_apart() -> None:
    marked = {"searchops_replay": OURS}
    items = [item("a", **marked), item("b", **marked), item("c", **marked), item("d"), item("e", **marked)]
    documents = {
        "a": document(item("a", **marked)),
        "b": document(item("b")),  # equal, and there before
        "c": document(item("c", **marked), version=2),
        "d": {"found": False},
        "e": document(item("e", gloss=["other"], **marked)),
    }

    found = held(OURS, items, {"a": 1, "b": 2, "elsewhere": 3}, documents)

    assert found == Held(items=5, marked=4, touched=2, twice=1, equal=2, written=1)


def test_a_report_that_says_what_is_there_has_no_differences() -> None:
    assert differences(FOUND, REPORT, ALL) == []


@pytest.mark.parametrize("name", list(asdict(ALL)))
def test_a_report_that_says_otherwise_than_table_stream_or_index_is_found_out(name: str) -> None:
    other = replace(ALL, **{name: asdict(ALL)[name] + 1})

    assert differences(FOUND, REPORT, other)


def test_a_day_begins_at_midnight_in_the_tables_time_zone() -> None:
    assert instant(date(2026, 11, 1)) == "2026-10-31T15:00:00.000Z"


def test_the_function_writes_as_the_demos_inventory_says(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write()

    table = load(project.inventory).tables[entries.NAME]

    assert isinstance(table, Table)
    assert table.written_index
    assert scheme_of(table.written_index) == entries.SCHEME
    assert table.written_index.bucket == BUCKET
    assert [consumer.function for consumer in table.consumers] == [entries.FUNCTION]


def test_entries_come_to_the_table_and_back_as_they_are() -> None:
    documents = [item(str(number), reading=["あ", "い"]) for number in range(entries.PER_DAY + 1)]

    made = entries.items(documents)

    assert [made[0]["created_ymd"], made[-1]["created_ymd"]] == ["20261101", "20261102"]
    assert entries.from_dynamodb(entries.to_dynamodb(made[0])) == made[0]

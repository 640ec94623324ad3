"""What the referee of replays says of a table, its stream and an index."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.demo.application import Write
from local.faults.referee import Held
from local.faults.replay.items import DAYS, MARKER, Document, First, Item, Kind, Scheme, Task, plain
from local.faults.replay.referee import Ended, Found, Record, judge, write_down

OURS, LATER = "0" * 18 + "41", "0" * 18 + "42"


def item(sk: int, revision: int = 1, **more: Any) -> Item:
    given = {name: {"S" if isinstance(value, str) else "N": str(value)} for name, value in more.items()}
    return {"pk": {"S": "a"}, "sk": {"N": str(sk)}, "day": {"S": DAYS[0]}, "revision": {"N": str(revision)}, **given}


def touched(before: Item, id: str = OURS) -> Item:
    return {**before, MARKER: {"S": id}}


def held(of: Item) -> Held:
    return Held(int(of["revision"]["N"]), plain(of), None)


GONE = {"searchops": {"deleted": True, "deleted_at": 1}}
PUT, REMOVED = item(2, 1000, app=1, n=5), item(3)
WRITES = [
    (Write(1, "put", {"pk": {"S": "a"}, "sk": {"N": "2"}}, 1000), {"day": {"S": DAYS[0]}, "n": {"N": "5"}}),
    (Write(2, "delete", {"pk": {"S": "a"}, "sk": {"N": "3"}}, 2000), {}),
]
POISON = item(4, n="no number")
RECORDS = [
    Record(1, "a|1", touched(item(1)), item(1)),
    Record(2, "a|2", touched(item(2)), item(2)),
    Record(3, "a|2", PUT, touched(item(2))),
    Record(4, "a|3", None, REMOVED),
    Record(5, "a|4", touched(POISON), POISON),
]
ENDED = Ended(
    task=Task(DAYS[0]),
    replay_id=OURS,
    resumed=False,
    counts={"selected": 3, "touched": 3}
    | dict.fromkeys(("before", "covered", "deleted", "expired", "too_large"), 0)
    | {"marker_misused": 0, "version_misused": 0},
    listed=Counter(["a|1", "a|2", "a|4"]),
    reported={},
    arrivals={"late": 0, "missing": 0, "handed_over": 0, "rejected": 1},
)
RIGHT = Found(
    scheme=Scheme.APPLICATION,
    first={
        "a|1": First(item(1), Kind.PLAIN, Document.SAME),
        "a|2": First(item(2), Kind.PLAIN, Document.NONE),
        "a|3": First(REMOVED, Kind.PLAIN, Document.NONE),
        "a|4": First(POISON, Kind.POISON, Document.NONE),
    },
    writes=WRITES,
    items={"a|1": touched(item(1)), "a|2": PUT, "a|4": touched(POISON)},
    records=RECORDS,
    held={"a|1": held(item(1)), "a|2": held(PUT), "a|3": Held(2, GONE, None)},
    letters=frozenset({5}),
    replays=[replace(ENDED, reported=ENDED.counts)],
)


def test_it_has_nothing_to_say_where_all_is_right() -> None:
    assert judge(RIGHT).wrong == []


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ({"a|3": REMOVED}, "1 deleted items that are back: a|3"),
        ({"a|2": touched(item(2))}, "1 updates of the application that are lost: a|2"),
        ({"a|1": None}, "1 items lost: a|1"),
        ({"a|1": touched(item(1, 7))}, "1 items of other content: a|1"),
    ],
)
def test_it_compares_the_table_with_the_application(items: dict[str, Item | None], words: str) -> None:
    there = {name: one for name, one in {**RIGHT.items, **items}.items() if one is not None}

    assert words in judge(replace(RIGHT, items=there)).wrong


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ({"a|1": None}, "1 documents lost: a|1"),
        ({"a|2": held(item(2))}, "1 documents of other content: a|2"),
        ({"a|2": Held(999, plain(PUT), None)}, "1 documents of another version: a|2"),
        ({"a|3": held(REMOVED)}, "1 deleted documents that are back: a|3"),
        ({"a|1": Held(1, GONE, None)}, "1 documents deleted that are in the table: a|1"),
        ({"a|4": held(POISON)}, "1 documents that nobody sent: a|4"),
    ],
)
def test_it_compares_the_index_with_the_table(documents: dict[str, Held | None], words: str) -> None:
    there = {name: one for name, one in {**RIGHT.held, **documents}.items() if one is not None}

    assert words in judge(replace(RIGHT, held=there)).wrong


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        (set(), "1 poison records that are not in their place: a|4"),
        ({5, 1}, "1 good records set aside: a|1"),
        ({5, 99}, "1 records set aside that nobody made: 99"),
    ],
)
def test_it_looks_for_poison_in_its_place(letters: set[int], words: str) -> None:
    assert words in judge(replace(RIGHT, letters=frozenset(letters))).wrong


def test_a_second_touch_is_right_where_the_application_has_put_the_item_anew_and_nowhere_else() -> None:
    again = Record(6, "a|2", touched(PUT), PUT)
    anew = replace(RIGHT, records=[*RECORDS, again], items={**RIGHT.items, "a|2": touched(PUT)})
    assert judge(anew).wrong == []

    other = Record(6, "a|1", touched(item(1), LATER), touched(item(1)))
    twice = Record(7, "a|1", touched(item(1)), touched(item(1), LATER))
    found = judge(replace(RIGHT, records=[*RECORDS, other, twice])).wrong
    assert f"1 items touched twice by the replay {OURS}: a|1" in found


def test_what_the_application_wrote_last_is_never_undone() -> None:
    newer = item(2, 2000, app=2, n=5)
    records = [*RECORDS, Record(6, "a|2", newer, PUT), Record(7, "a|2", touched(PUT), newer)]

    found = judge(replace(RIGHT, records=records, items={**RIGHT.items, "a|2": touched(PUT)})).wrong

    assert "1 updates of the application that were undone: a|2" in found


def test_an_item_that_stayed_needs_a_record_of_the_replay_or_of_a_later_one() -> None:
    def with_first(id: str) -> list[str]:
        first = Record(1, "a|1", touched(item(1), id), item(1))
        found = replace(RIGHT, records=[first, *RECORDS[1:]], items={**RIGHT.items, "a|1": touched(item(1), id)})
        return judge(found).wrong

    assert not any("without a record" in wrong for wrong in with_first(LATER))
    assert f"1 items without a record of the replay {OURS}: a|1" in with_first("0" * 18 + "40")


def test_what_a_replay_reports_has_to_be_true() -> None:
    def told(**changes: Any) -> list[str]:
        return judge(replace(RIGHT, replays=[replace(RIGHT.replays[0], **changes)])).wrong

    more = {**ENDED.counts, "selected": 4, "touched": 4}
    assert told(counts=more, reported=more) == [f"4 items are said to be touched, 3 keys are listed of the replay {OURS}"]
    assert told(reported=more)[0].startswith("the report says")
    assert told(arrivals={**ENDED.arrivals, "missing": 1}) == [f"the reconciliation finds {{'missing': 1}} of the replay {OURS}"]
    assert told(listed=Counter(["a|1", "a|2", "a|3", "a|4"]))[0] == f"1 keys listed without a touch of the replay {OURS}: a|3"
    assert judge(replace(RIGHT, replays=RIGHT.replays * 2)).wrong == [f"1 replays that ended twice: {OURS}"]
    assert judge(replace(RIGHT, open=["digest"])).wrong == ["1 replays left open: digest"]


def test_where_touches_raise_the_version_each_counts() -> None:
    raised = {**touched(item(1, 2))}
    first = Record(1, "a|1", raised, item(1))
    shared = replace(
        RIGHT,
        scheme=Scheme.SHARED,
        records=[first, *RECORDS[1:4]],
        first={name: one for name, one in RIGHT.first.items() if name != "a|4"},
        items={"a|1": raised, "a|2": PUT},
        held={**RIGHT.held, "a|1": held(raised)},
        letters=frozenset(),
        replays=(),
    )
    assert judge(shared).wrong == []

    again = touched(item(1, 3))
    twice = replace(shared, records=[*shared.records, Record(9, "a|1", again, raised)], items={**shared.items, "a|1": again})
    assert f"1 items touched twice by the replay {OURS}: a|1" in judge(twice).wrong

    unraised = replace(shared, items={**shared.items, "a|1": touched(item(1))})
    assert "1 items of other content: a|1" in judge(unraised).wrong


def test_all_that_is_known_of_an_item_can_be_written_down(tmp_path: Path) -> None:
    write_down(RIGHT, tmp_path / "found.ndjson")

    known = {line["name"]: line for line in map(json.loads, (tmp_path / "found.ndjson").read_text().splitlines())}
    assert list(known) == RIGHT.names
    assert ([write["number"] for write in known["a|2"]["writes"]], known["a|2"]["document"]["version"]) == ([1], 1000)
    (record,) = known["a|4"]["records"]
    assert (record["touch"], record["flaw"], record["set aside"]) == (OURS, "mapping", True)

from __future__ import annotations

import json
from typing import Any

import pytest

from searchops.core.errors import DataError
from searchops.core.streams.records import Change, NoStreamEvent, View, read_event
from tests.unit.core.streams.events import CREATED, STREAM, batch, record, sequence

ITEM = {"pk": "a", "name": "東京タワー"}


def test_an_event_of_a_stream_is_read_record_by_record() -> None:
    inserted, modified, removed = batch(record(1, ITEM), record(2, ITEM, ITEM), record(3, None, ITEM))

    assert [inserted.change, modified.change, removed.change] == [Change.INSERT, Change.MODIFY, Change.REMOVE]
    assert (inserted.sequence, inserted.stream, inserted.created_at) == (sequence(1), STREAM, CREATED)
    assert (inserted.keys, inserted.new, inserted.old) == (
        {"pk": {"S": "a"}},
        {"pk": {"S": "a"}, "name": {"S": "東京タワー"}},
        None,
    )
    assert (removed.new, removed.old) == (None, inserted.new)
    assert removed.view is View.NEW_AND_OLD_IMAGES
    assert removed.where == f"products:{sequence(3)}"


def test_a_record_is_written_down_as_it_came_whatever_it_holds() -> None:
    raw = record(1, {**ITEM, "lone": {"S": "\ud83d"}, "many": {"NS": ["1.10", "2"]}})

    (read,) = batch(raw)

    assert json.loads(read.line) == raw
    assert b"\n" not in read.line


def test_an_event_without_records_has_none() -> None:
    assert read_event({"Records": []}) == ()


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (None, "a NoneType"),
        ([], "a list"),
        ({"source": "aws.events", "detail": {}}, "the keys ['detail', 'source']"),
        ({"Records": "many"}, "the keys ['Records']"),
        ({"Records": [{"eventSource": "aws:kinesis", "kinesis": {}}]}, "a record of aws:kinesis"),
        ({"Records": [{"EventSource": "aws:sns"}]}, "a record of aws:sns"),
        ({"Records": ["text"]}, "a record without eventSource"),
        ({"Records": [{"eventSource": "aws:dynamodb"}]}, "a record without its part dynamodb"),
    ],
)
def test_what_is_no_event_of_a_stream_is_told_without_its_content(event: Any, found: str) -> None:
    with pytest.raises(NoStreamEvent) as told:
        read_event(event)

    assert isinstance(told.value, DataError)
    assert f"found {found}: check what invokes the function" in str(told.value)


@pytest.mark.parametrize("number", [None, "", 7, "12a", "１２", "1" * 41])
def test_a_record_that_could_not_be_named_in_the_answer_is_refused(number: Any) -> None:
    broken = record(1, ITEM)
    broken["dynamodb"]["SequenceNumber"] = number

    with pytest.raises(NoStreamEvent, match="SequenceNumber is not 1 to 40 digits"):
        batch(broken)


@pytest.mark.parametrize(("part", "name"), [("dynamodb", "StreamViewType"), (None, "eventName")])
def test_a_change_or_a_view_that_is_not_known_is_refused(part: str | None, name: str) -> None:
    broken = record(1, ITEM)
    (broken[part] if part else broken)[name] = "ANOTHER"

    with pytest.raises(NoStreamEvent, match="ANOTHER"):
        batch(broken)

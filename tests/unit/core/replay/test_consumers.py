"""Who reads the stream of a table, and what reaches them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from searchops.core.replay.consumers import Mapped, function_of, of_consumers
from searchops.core.replay.findings import Finding, Level
from searchops.core.replay.settings import Consumer
from tests.unit.core.replay.tables import STREAM, facts, settings

INDEXER = Consumer(function="indexer")


def mapping(function: str = "indexer", *patterns: Any, **changes: Any) -> Mapping[str, Any]:
    filters = {"Filters": [{"Pattern": pattern if isinstance(pattern, str) else json.dumps(pattern)} for pattern in patterns]}
    return {
        "FunctionArn": f"arn:aws:lambda:ap-northeast-1:123456789012:function:{function}",
        "EventSourceArn": STREAM,
        "State": "Enabled",
        **({"FilterCriteria": filters} if patterns else {}),
        **changes,
    }


def found_of(*mappings: Mapping[str, Any], consumers: tuple[Consumer, ...] = (INDEXER,), **changes: Any) -> list[Finding]:
    elsewhere = changes.pop("elsewhere", {})
    return of_consumers(settings(consumers=consumers), facts(**changes), Mapped(mappings, elsewhere))


@pytest.mark.parametrize(
    "there",
    [
        mapping(),
        mapping("indexer:live"),
        mapping("indexer", {"eventName": ["INSERT", "MODIFY"]}),
        mapping("indexer", {"eventName": ["INSERT"]}, {"eventName": ["MODIFY"]}),
    ],
)
def test_a_consumer_that_gets_every_record_gives_no_finding(there: Mapping[str, Any]) -> None:
    assert found_of(there) == []
    assert function_of(there) == "indexer"


@pytest.mark.parametrize(
    ("there", "level", "words"),
    [
        (
            mapping("indexer", {"eventName": ["INSERT"]}),
            Level.ERROR,
            "expected a filter that passes a MODIFY, found {'eventName': ['INSERT']}",
        ),
        (mapping(State="Disabled"), Level.ERROR, "expected its mapping to be Enabled, found Disabled"),
        (mapping("indexer", {"dynamodb": {"NewImage": {}}}), Level.NOTE, "expected every record of the replay to pass"),
        (mapping("indexer", "{"), Level.WARNING, "expected filters that can be read"),
        (mapping("indexer", {"eventName": [{"wildcard": "*"}]}), Level.WARNING, "filter rule 'wildcard'"),
    ],
)
def test_a_mapping_that_keeps_records_back_is_told(there: Mapping[str, Any], level: Level, words: str) -> None:
    (found,) = found_of(there)

    assert found.level is level
    assert words in str(found)


def test_a_consumer_without_a_mapping_is_an_error() -> None:
    (found,) = found_of()

    assert (found.level, found.found) == (Level.ERROR, "none")


def test_a_mapping_on_a_stream_that_was_turned_off_since_is_told_from_none() -> None:
    earlier = STREAM.replace("2026-11-01", "2026-01-01")
    (found,) = found_of(elsewhere={"indexer": (mapping(EventSourceArn=earlier),)})

    assert found.level is Level.ERROR
    assert found.found == f"one on an earlier stream of the table, {earlier}"
    assert STREAM in found.remedy


def test_a_function_that_nobody_declared_sees_the_replay_too() -> None:
    (found,) = found_of(mapping(), mapping("mailer"))

    assert (found.level, found.found) == (Level.WARNING, "the function mailer as well")


def test_a_stream_that_nobody_is_known_to_read_is_a_warning() -> None:
    (found,) = found_of(consumers=())

    assert (found.level, found.found) == (Level.WARNING, "no consumer")


def test_a_pipeline_is_not_looked_for_among_mappings() -> None:
    assert found_of(consumers=(Consumer(pipeline="items"),)) == []


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ("NEW_AND_OLD_IMAGES", "found that it uses OldImage"),
        ("NEW_IMAGE", "expected a stream with the old image, which it uses, found NEW_IMAGE"),
    ],
)
def test_a_consumer_that_goes_by_the_old_image_is_warned_of(view: str, words: str) -> None:
    (found,) = found_of(mapping(), consumers=(Consumer(function="indexer", uses_old_image=True),), stream_view=view)

    assert found.level is Level.WARNING
    assert words in str(found)

"""Whether an index takes documents with the marker."""

from __future__ import annotations

from typing import Any

import pytest

from searchops.core.bulk.target import Target
from searchops.core.replay.findings import Level
from searchops.core.replay.preflight import of_index
from searchops.core.replay.settings import Consumer
from tests.unit.core.replay.tables import recipe, settings

TEMPLATES = [{"ours": {"match": "searchops_*", "mapping": {"type": "keyword"}}}]


def target(mapping: dict[str, Any]) -> Target:
    return Target("items", "items-1", None, True, mapping, {})


@pytest.mark.parametrize(
    "mapping",
    [
        {"dynamic": "strict", "properties": {"searchops_replay": {"type": "keyword"}}},
        {"dynamic": "strict", "properties": {"searchops_replay": {"type": "text"}}},
        {"dynamic": "strict", "properties": {"searchops_replay": {"type": "object", "enabled": False}}},
        {"dynamic": "strict_allow_templates", "dynamic_templates": TEMPLATES},
        {"dynamic": "false"},
        {"dynamic": False},
    ],
)
def test_a_mapping_that_takes_the_marker_gives_no_finding(mapping: dict[str, Any]) -> None:
    assert of_index(settings(), target(mapping)) == []


def test_a_mapping_that_would_add_it_is_a_note() -> None:
    assert [finding.level for finding in of_index(settings(), target({}))] == [Level.NOTE]


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, Level.WARNING),
        ({"consumers": (Consumer(function="indexer"),)}, Level.WARNING),
        ({"consumers": (Consumer(pipeline="items"),)}, Level.ERROR),
        ({"index": "items", "recipe": recipe("ingestion")}, Level.ERROR),
    ],
)
@pytest.mark.parametrize("dynamic", ["strict", "strict_allow_templates"])
def test_a_strict_mapping_without_it_is_told_with_the_command_that_adds_it(
    changes: dict[str, Any], level: Level, dynamic: str
) -> None:
    (found,) = of_index(settings(**changes), target({"dynamic": dynamic, "properties": {"pk": {"type": "keyword"}}}))

    assert found.level is level
    assert found.found == f"dynamic: {dynamic} without it"
    assert 'PUT items-1/_mapping {"properties": {"searchops_replay": {"type": "keyword"}}}' in found.remedy


@pytest.mark.parametrize("field", [{"type": "date"}, {"type": "integer"}, {"properties": {}}])
def test_a_field_of_that_name_that_does_not_take_twenty_digits_is_an_error(field: dict[str, Any]) -> None:
    (found,) = of_index(settings(), target({"properties": {"searchops_replay": field}}))

    assert found.level is Level.ERROR
    assert found.found == f"that it is mapped as {field.get('type', 'object')}"

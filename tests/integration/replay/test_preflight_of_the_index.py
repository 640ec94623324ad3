"""What is found of a real index before a replay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opensearchpy.exceptions import RequestError

from local.cloud import Cloud
from searchops.core.replay.findings import Level
from searchops.core.replay.preflight import Preflight
from searchops.core.replay.settings import VersionOwner
from tests.integration.replay.looked_at import Place


@pytest.fixture
def place(bulk_cloud: Cloud) -> Iterator[Place]:
    place = Place(bulk_cloud)
    yield place
    place.close()


def told(looked: Preflight, level: Level) -> list[str]:
    return [str(finding) for finding in looked.of(level)]


def test_an_index_that_takes_the_marker_gives_no_finding(place: Place) -> None:
    place.create()
    place.put([1])
    place.map()
    place.create_index(dynamic="strict")

    assert place.look(place.settings(indexed=True)).findings == ()


def test_a_strict_mapping_that_refuses_the_marker_is_found_and_mended_as_the_finding_says(place: Place) -> None:
    place.create()
    place.put([1])
    place.map()
    place.create_index(dynamic="strict", properties={})
    settings = place.settings(indexed=True)

    (warning,) = told(place.look(settings), Level.WARNING)
    with pytest.raises(RequestError, match="strict_dynamic_mapping_exception"):
        place.node.index(index=place.name, body={"searchops_replay": "0" * 20})
    place.node.indices.put_mapping(index=f"{place.name}-1", body={"properties": {"searchops_replay": {"type": "keyword"}}})

    assert f'PUT {place.name}-1/_mapping {{"properties": {{"searchops_replay": {{"type": "keyword"}}}}}}' in warning
    assert place.look(settings).findings == ()


@pytest.mark.parametrize(
    "type_", ["keyword", "text", "wildcard", "match_only_text", "search_as_you_type", "long", "unsigned_long", "double"]
)
def test_each_type_that_is_said_to_take_a_marker_takes_it(place: Place, type_: str) -> None:
    place.create_index(dynamic="strict", properties={"searchops_replay": {"type": type_}})

    written = place.node.index(index=place.name, body={"searchops_replay": f"{2**63 - 1:020}"})

    assert written["result"] == "created"


@pytest.mark.parametrize("type_", ["date", "integer", "boolean", "ip"])
def test_a_type_that_refuses_a_marker_is_said_to(place: Place, type_: str) -> None:
    place.create()
    place.put([1])
    place.map()
    place.create_index(dynamic="strict", properties={"searchops_replay": {"type": type_}})

    assert any(
        f"found that it is mapped as {type_}" in error for error in told(place.look(place.settings(indexed=True)), Level.ERROR)
    )
    with pytest.raises(RequestError):
        place.node.index(index=place.name, body={"searchops_replay": f"{2**63 - 1:020}"})


def test_an_index_that_is_missing_is_an_error(place: Place) -> None:
    place.create()
    place.put([1])
    place.map()

    (error,) = told(place.look(place.settings(indexed=True)), Level.ERROR)

    assert "expected an index or an alias of that name, found none" in error


def test_a_rewrite_is_refused_where_the_application_owns_the_version_and_taken_where_it_is_shared(place: Place) -> None:
    place.create()
    place.put([1])
    place.map()
    place.create_index()

    refused = told(place.look(place.settings(indexed=True), rewrite=True), Level.ERROR)
    taken = place.look(place.settings(indexed=True, version_owner=VersionOwner.SHARED), rewrite=True)

    assert any("version_owner application: only the application increases revision" in error for error in refused)
    assert taken.findings == ()

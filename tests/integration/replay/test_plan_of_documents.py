"""How many documents of a real index a replay would write again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from local.cloud import Cloud
from searchops.core.replay.plan import Plan, plan
from searchops.core.replay.selection import ByDate
from searchops.core.replay.settings import Settings, VersionOwner
from tests.integration.replay.looked_at import DAY, NOW, Place


@pytest.fixture
def place(bulk_cloud: Cloud) -> Iterator[Place]:
    place = Place(bulk_cloud)
    yield place
    place.close()


def planned(place: Place, settings: Settings) -> Plan:
    clients, day = place.clients(), ByDate("by-day", "day", date(2026, 11, 3), (DAY,))
    return plan(settings, place.look(settings, clients=clients), day, clients, now=NOW.timestamp())


def seen(found: Plan) -> str:
    return "\n".join(found.consumers)


def test_documents_that_have_the_version_of_their_item_are_not_written_again(place: Place) -> None:
    place.create()
    place.create_index()
    place.put(range(10), revision=5)
    place.write(range(6), version=5)
    place.write([6], version=4)
    place.write([7], version=9)

    found = planned(place, place.settings(indexed=True))

    assert found.documents
    assert (found.documents.same, found.documents.older, found.documents.newer, found.documents.missing) == (6, 1, 1, 2)
    assert found.not_rewritten == 7
    assert "revision stays, so 7 documents are not written again; 2 are missing and 1 older: these are written" in seen(found)
    assert "not rewritten    7 documents" in found.text()


def test_items_without_a_version_are_told_from_those_whose_document_is_missing(place: Place) -> None:
    place.create()
    place.create_index()
    place.put(range(3))
    place.put([3], revision=None)

    found = planned(place, place.settings(indexed=True))

    assert found.documents
    assert (found.documents.missing, found.documents.unfit) == (3, 1)
    assert "1 items give no id or no version: their records are rejected" in seen(found)


@pytest.mark.parametrize("scheme", ["sequence", "none"])
def test_without_a_version_attribute_every_document_is_written_again(place: Place, scheme: str) -> None:
    place.create()
    place.create_index()
    place.put(range(3))

    found = planned(place, place.settings(indexed=True, scheme=scheme))

    assert found.not_rewritten == 0
    assert f"index {place.name}: every document is written again" in seen(found)


def test_a_shared_version_writes_every_document_again(place: Place) -> None:
    place.create()
    place.create_index()
    place.put(range(3))
    place.write(range(3), version=5)

    found = planned(place, place.settings(indexed=True, version_owner=VersionOwner.SHARED))

    assert found.not_rewritten == 0
    assert "every document is written again" in seen(found)

"""How to design a table for replays."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from searchops.core.replay.advise import advise, create_index, find_dates
from searchops.core.replay.cost import Price
from searchops.core.replay.findings import Level
from tests.unit.core.replay.tables import BY_DAY, facts, settings

PRICE = Price(write_unit=1e-6, read_unit=1e-7, region="eu-west-1", source="a list of today")


def test_the_index_of_days_is_found_by_its_key_and_a_small_one_is_preferred() -> None:
    wide, local = replace(BY_DAY, name="wide", projection="ALL"), replace(BY_DAY, name="local", is_global=False)

    found = find_dates(facts(indexes=(local, wide, BY_DAY)))

    assert found
    assert (found.index, found.attribute, found.format, found.shards) == ("by-day", "created_ymd", "%Y%m%d", 0)
    assert find_dates(facts(indexes=(replace(BY_DAY, partition_key="kind"), local))) is None


def test_an_index_that_somebody_names_is_taken_with_its_key_and_form() -> None:
    index = replace(BY_DAY, name="by-kind", partition_key="kind")

    found = find_dates(facts(indexes=(index, BY_DAY)), "by-kind", format="%Y-%m-%d", shards=4)

    assert found
    assert (found.index, found.attribute, found.format, found.shards) == ("by-kind", "kind", "%Y-%m-%d", 4)


@pytest.mark.parametrize("write_units", [None, 7])
def test_the_command_makes_an_index_that_touches_do_not_write(write_units: int | None) -> None:
    command = create_index(facts(indexes=(), key_types={"pk": "S"}, write_units=write_units))

    (update,) = json.loads(command.partition("--global-secondary-index-updates '")[2].removesuffix("'"))
    assert update["Create"]["KeySchema"] == [{"AttributeName": "created_ymd", "KeyType": "HASH"}]
    assert update["Create"]["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert ("ProvisionedThroughput" in update["Create"]) is (write_units is not None)
    assert "AttributeName=created_ymd,AttributeType=S" in command


def test_a_table_without_an_index_of_days_is_not_fit() -> None:
    advice = advise(settings(dates=None), facts(indexes=()), ())

    assert not advice.is_fit
    assert [finding.level for finding in advice.findings] == [Level.ERROR]
    assert "update-table --table-name items" in advice.text()


@pytest.mark.parametrize(("per_second", "fit"), [(0, True), (1_000, True), (1_001, False)])
def test_one_key_a_day_takes_a_thousand_new_items_a_second(per_second: float, fit: bool) -> None:
    assert advise(settings(), facts(), (), new_items_per_second=per_second).is_fit is fit


def test_notes_do_not_make_a_table_unfit() -> None:
    advice = advise(settings(), facts(stream_view="NEW_IMAGE", ttl_attribute="expires"), ())

    assert [finding.found for finding in advice.findings] == ["NEW_IMAGE", "TTL by expires"]
    assert advice.is_fit
    assert advice.text().startswith("items: fit for replays\n")


def test_figures_are_those_of_the_average_item() -> None:
    figures = dict(advise(settings(), facts(items=1_000_000, size_bytes=1_500_000_000), (), price=PRICE).figures)

    assert figures["write units of a touch"] == "2 of the table, 0 of its indexes"
    assert figures["whole table at 100 units/s"] == "5.9 h"
    assert figures["touches of a million items"] == "2.00 USD in eu-west-1 (a list of today)"
    assert figures["without the date attribute"] == "999,910"


def test_what_dynamodb_has_not_counted_yet_is_not_known() -> None:
    figures = dict(advise(settings(), facts(items=0, size_bytes=0), (), price=PRICE).figures)

    assert figures["write units of a touch"].startswith("not known")
    assert "touches of a million items" not in figures

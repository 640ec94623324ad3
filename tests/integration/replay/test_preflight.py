"""What is found of a real table and its mappings before a replay, and that nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from local.cloud import Cloud
from searchops.core.errors import DataError
from searchops.core.replay.calls import NotAllowed, TableMissing
from searchops.core.replay.findings import Level
from searchops.core.replay.preflight import NotFit, Preflight
from searchops.core.replay.settings import Consumer
from tests.conftest import aws_client
from tests.integration.replay.looked_at import BY_DAY, DATES, DAY, Place, refusing


@pytest.fixture
def place(dynamodb_cloud: Cloud) -> Iterator[Place]:
    place = Place(dynamodb_cloud)
    yield place
    place.close()


def told(looked: Preflight, level: Level) -> list[str]:
    return [str(finding) for finding in looked.of(level)]


def test_a_table_that_is_fit_gives_no_finding_and_keeps_its_items(place: Place) -> None:
    place.create()
    place.put(range(3))
    place.map({"eventName": ["INSERT", "MODIFY"]})
    before = place.dynamodb.scan(TableName=place.name)["Items"]

    looked = place.look(day=date(2026, 11, 3))

    assert looked.findings == ()
    assert looked.require().stream_arn == place.stream
    assert (looked.facts.items, looked.facts.index("by-day").items) == (3, 3)
    assert place.dynamodb.scan(TableName=place.name)["Items"] == before


def test_a_table_that_is_missing_is_named(place: Place) -> None:
    with pytest.raises(TableMissing, match=f"table {place.name}: expected it in this account and Region, found none"):
        place.look()


def test_a_table_that_may_not_be_described_names_the_permission(place: Place) -> None:
    with pytest.raises(NotAllowed, match="not allowed to call dynamodb:DescribeTable"):
        place.look(clients=place.clients(dynamodb=refusing(aws_client(place.cloud, "dynamodb"), "DescribeTable")))


def test_what_is_missing_of_a_table_is_told_at_once(place: Place) -> None:
    place.create(stream="", indexes=())

    looked = place.look()

    errors = told(looked, Level.ERROR)
    assert any("expected a stream with the new image, found no stream that is on" in error for error in errors)
    assert any("expected the index by-day with the partition key day, found no index" in error for error in errors)
    with pytest.raises(NotFit) as refused:
        looked.require()
    assert all(error in str(refused.value) for error in errors)


def test_a_stream_of_keys_alone_is_an_error(place: Place) -> None:
    place.create(stream="KEYS_ONLY")

    assert any("found the view KEYS_ONLY" in error for error in told(place.look(), Level.ERROR))


@pytest.mark.parametrize(
    ("day", "value", "expected"),
    [
        ("S", {"S": "2026-11-03"}, "found '2026-11-03' in 1 of 1 items"),
        ("N", {"N": "1762128000"}, "found '1762128000' in 1 of 1 items"),
        ("S", {"S": f"{DAY}#4"}, f"found '{DAY}#4' in 1 of 1 items"),
    ],
)
def test_a_date_format_that_does_not_fit_shows_what_stands_there(
    place: Place, day: str, value: dict[str, str], expected: str
) -> None:
    place.create(day=day)
    place.put([1], day=value)

    (error,) = told(place.look(), Level.ERROR)

    assert "expected days such as 20261121 (%Y%m%d)" in error
    assert expected in error


def test_an_index_without_an_item_is_a_note_for_a_day_may_be_empty(place: Place) -> None:
    place.create()
    place.put([1], day={})

    looked = place.look()

    assert [finding.found for finding in looked.of(Level.NOTE)] == ["no item in the index"]
    assert looked.of(Level.ERROR) == ()


def test_a_marker_that_the_application_uses_is_found_in_its_items(place: Place) -> None:
    place.create()
    place.put([1], searchops_replay={"S": "0" * 20})
    place.put([2], searchops_replay={"N": "7"})

    (error,) = told(place.look(), Level.ERROR)

    assert "expected only ids of replays (20 digits) in searchops_replay, found other values in 1 of 2 items" in error


def test_a_marker_that_is_a_key_of_an_index_is_an_error_and_no_failure(place: Place) -> None:
    place.create()

    looked = place.look(place.settings(marker="day"))

    assert any(
        "expected the marker day to be no key, found it is a key of the index by-day" in error
        for error in told(looked, Level.ERROR)
    )


def test_an_index_that_projects_everything_is_written_by_each_touch(place: Place) -> None:
    place.create(indexes=[{**BY_DAY, "Projection": {"ProjectionType": "ALL"}}])
    place.put([1])

    warnings = told(place.look(place.settings(wcu_per_second=5_000)), Level.WARNING)

    assert any(
        "index by-day: expected that a touch does not write it, found that it projects everything" in each for each in warnings
    )
    assert any("expected at most 1,000 write units a second on the partition of a day, found 2,500" in each for each in warnings)


def test_a_day_in_the_future_is_an_error(place: Place) -> None:
    place.create()
    place.put([1])

    assert any("2026-11-22" in error for error in told(place.look(day=date(2026, 11, 22)), Level.ERROR))


# --- permissions ---


def test_a_role_that_may_not_touch_is_told_before_the_first_touch(place: Place) -> None:
    place.create()
    place.put([1])

    looked = place.look(clients=place.clients(dynamodb=refusing(aws_client(place.cloud, "dynamodb"), "UpdateItem")))

    (error,) = told(looked, Level.ERROR)
    assert "expected the permission to touch items, found no permission for dynamodb:UpdateItem" in error


@pytest.mark.parametrize(
    ("service", "operation", "what"),
    [
        ("dynamodb", "Scan", "expected to see days in the index by-day, found no permission for dynamodb:Scan"),
        (
            "lambda",
            "ListEventSourceMappings",
            "expected to see who reads its stream, found no permission for lambda:ListEventSourceMappings",
        ),
    ],
)
def test_what_may_not_be_looked_at_is_said_and_stops_nothing(place: Place, service: str, operation: str, what: str) -> None:
    place.create()
    place.put([1])
    place.map()
    client = refusing(aws_client(place.cloud, service), operation)

    looked = place.look(clients=place.clients(**{"functions" if service == "lambda" else "dynamodb": client}))

    assert any(what in warning for warning in told(looked, Level.WARNING))
    assert looked.of(Level.ERROR) == ()


# --- consumers ---


def test_a_mapping_whose_filter_does_not_pass_a_modify_is_an_error(place: Place) -> None:
    place.create()
    place.put([1])
    place.map({"eventName": ["INSERT"]}, {"eventName": ["REMOVE"]})

    (error,) = told(place.look(), Level.ERROR)

    assert f"function {place.name}: expected a filter that passes a MODIFY" in error


def test_a_function_that_is_not_mapped_or_not_declared_is_told(place: Place) -> None:
    place.create()
    place.put([1])
    place.map()

    looked = place.look(place.settings(consumers=(Consumer(function="nobody"),)))

    assert told(looked, Level.ERROR) == [
        f"function nobody: expected a mapping on the stream of {place.name}, found none: correct consumers, or map the function to the stream"
    ]
    assert any(f"found the function {place.name} as well" in warning for warning in told(looked, Level.WARNING))


def test_a_function_that_is_still_mapped_to_an_earlier_stream_is_told_from_one_that_is_not(place: Place) -> None:
    place.create()
    place.put([1])
    place.map()
    place.dynamodb.update_table(TableName=place.name, StreamSpecification={"StreamEnabled": False})
    place.dynamodb.update_table(
        TableName=place.name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )

    (error,) = told(place.look(), Level.ERROR)

    assert f"found one on an earlier stream of the table, {place.stream}" in error


def test_sharded_days_are_read_with_their_number_of_shards(place: Place) -> None:
    place.create()
    place.put([1], day={"S": f"{DAY}#4"})
    place.map()

    sharded: Any = DATES.__class__(DATES.index, DATES.attribute, DATES.format, DATES.timezone, 5)

    assert place.look(place.settings(dates=sharded)).findings == ()


def test_a_pace_of_nothing_is_refused_before_anything_is_asked(place: Place) -> None:
    with pytest.raises(DataError, match="expected a pace of more than 0 write units a second, found 0"):
        place.settings(wcu_per_second=0)

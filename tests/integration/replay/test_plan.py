"""A dry run: what a replay of a real table would do, and that it does nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from local.cloud import Cloud
from searchops.core.errors import DataError
from searchops.core.replay.cost import Price, PriceUnknown
from searchops.core.replay.plan import Plan, plan
from searchops.core.replay.selection import All, ByDate, ByKey, ByKeys, Filter, PartitionKey, Sample, Selection
from searchops.core.replay.settings import Consumer, Settings
from tests.conftest import aws_client
from tests.integration.replay.looked_at import BY_DAY, DATES, DAY, NOW, Place

PRICE = Price(write_unit=1.0, read_unit=10.0, region="eu-west-1", source="a list of today")
BY_DATE = ByDate("by-day", "day", date(2026, 11, 3), (DAY,))


@pytest.fixture
def place(dynamodb_cloud: Cloud) -> Iterator[Place]:
    place = Place(dynamodb_cloud)
    yield place
    place.close()


def planned(place: Place, selection: Selection = BY_DATE, settings: Settings | None = None, **options: Any) -> Plan:
    settings = settings or place.settings()
    clients = place.clients()
    return plan(settings, place.look(settings, clients=clients), selection, clients, **{"now": NOW.timestamp(), **options})


def seen(found: Plan) -> str:
    return "\n".join(found.consumers)


def test_a_day_is_counted_and_weighed_and_nothing_is_written(place: Place) -> None:
    place.create()
    place.put(range(30), body={"S": "x" * 1_500})
    place.put(range(30, 40), day={})
    place.put(range(40, 50), day={"S": "20261104"})
    before = place.dynamodb.scan(TableName=place.name)["Items"]

    found = planned(place, prices=lambda: PRICE)

    assert (found.items, found.exact, found.sampled, found.touches) == (30, True, 30, 30)
    assert (found.table_units, found.index_units) == (60, 0)
    assert 30 * 1_500 < found.bytes < 30 * 1_600
    assert found.without_date == 10
    assert found.read_units > 0
    assert found.cost
    assert found.cost.usd == found.read_units * 10 + 60
    assert str(found.cost).endswith("in eu-west-1 (a list of today)")
    assert place.dynamodb.scan(TableName=place.name)["Items"] == before
    assert json.loads(json.dumps(found.to_json()))["touches"] == 30


def test_an_empty_day_says_zero(place: Place) -> None:
    place.create()
    place.put([1], day={"S": "20261104"})

    found = planned(place, prices=lambda: PRICE)

    assert (found.items, found.touches, found.bytes, found.table_units, found.seconds) == (0, 0, 0, 0, 0)
    assert "the selection is empty: the replay succeeds and touches nothing" in found.text()


def test_a_large_day_is_estimated_from_items_spread_over_it(place: Place) -> None:
    place.create()
    place.put(range(150), body={"S": "x" * 100})
    place.put(range(150, 300), body={"S": "x" * 2_500})

    found = planned(place)

    assert found.items == 300
    assert 50 <= found.sampled < 100
    assert found.table_units == pytest.approx(150 * 1 + 150 * 3, rel=0.3)


def test_an_index_that_projects_everything_doubles_the_units(place: Place) -> None:
    place.create(indexes=[{**BY_DAY, "Projection": {"ProjectionType": "ALL"}}])
    place.put(range(5), body={"S": "x" * 1_500})

    found = planned(place)
    real = place.dynamodb.update_item(
        TableName=place.name,
        Key={"pk": {"S": "p1"}, "sk": {"N": "1"}},
        UpdateExpression="SET searchops_replay = :m",
        ExpressionAttributeValues={":m": {"S": "0" * 20}},
        ReturnConsumedCapacity="INDEXES",
    )["ConsumedCapacity"]

    assert (found.table_units, found.index_units) == (10, 10)
    assert real["Table"]["CapacityUnits"] * 5 == found.table_units
    assert real["GlobalSecondaryIndexes"]["by-day"]["CapacityUnits"] * 5 == found.index_units


def test_what_would_be_left_alone_is_counted_by_reason(place: Place) -> None:
    soon = time.time() + 3_600  # DynamoDB Local removes what has expired, within seconds
    place.create()
    place.dynamodb.update_time_to_live(
        TableName=place.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    place.put(range(10))
    place.put([10, 11], expires={"N": str(int(soon) - 1)})
    place.put([12], expires={"N": str(int(soon) + 3_600)})
    place.put([13], searchops_replay={"S": "theirs"})
    place.put([14], body={"S": "x" * (400 * 1024 - 60)})

    found = planned(place, now=soon)

    assert (found.items, found.touches) == (15, 11)
    assert (found.gone, found.expired, found.foreign_marker, found.too_large) == (0, 2, 1, 1)
    assert "left alone       expired 2, too large 1, other marker 1" in found.text()
    assert any("other values in 1 of 1 items" in finding.found for finding in found.findings)  # preflight's


def test_keys_of_a_list_that_are_not_there_are_counted(place: Place) -> None:
    place.create()
    place.put([1, 2])
    s3 = aws_client(place.cloud, "s3")
    s3.create_bucket(Bucket=place.name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    lines = [json.dumps({"pk": f"p{number}", "sk": number}) for number in (1, 2, 3, 4, 1)]
    etag = s3.put_object(Bucket=place.name, Key="keys.ndjson", Body="\n".join(lines).encode())["ETag"]

    found = planned(place, ByKeys(f"s3://{place.name}/keys.ndjson", etag.strip('"')), s3=s3)

    assert found.items == 5
    assert found.gone in (2, 3)  # of 4 different keys two are not there
    assert found.sampled == 2


def test_one_partition_and_a_sample_are_counted(place: Place) -> None:
    place.create()
    place.put(range(20))

    assert planned(place, ByKey((PartitionKey({"S": "p7"}),))).items == 1
    assert planned(place, Sample(5)).items == 5


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (ByKey((PartitionKey({"N": "7"}),)), r"pk: expected .* \(S\), found N"),
        (ByKey((PartitionKey({"S": "a"}, {"S": "b"}),)), r"sk: expected a number \(N\), found S"),
        (ByDate("by-day", "nothing", date(2026, 11, 3), (DAY,)), "the date nothing: expected a key"),
    ],
)
def test_a_selection_that_does_not_fit_the_table_is_refused(place: Place, selection: Selection, message: str) -> None:
    place.create()

    with pytest.raises(DataError, match=message):
        planned(place, selection)


def test_a_whole_table_is_not_read_for_its_plan(place: Place) -> None:
    place.create()
    place.put(range(60), body={"S": "x" * 100})

    found = planned(place, All(segments=4))

    assert (found.items, found.exact) == (60, False)
    assert found.read_units == pytest.approx(found.bytes / 8_192, rel=0.1)
    assert "DynamoDB's own number, up to six hours old" in found.text()


def test_what_a_filter_leaves_of_a_table_is_estimated_from_what_it_leaves_of_some_pages(place: Place) -> None:
    place.create()
    place.put(range(40), kind={"S": "tool"})
    place.put(range(40, 60), kind={"S": "toy"})

    found = planned(place, All(4, Filter("kind = :k", {}, {":k": {"S": "tool"}})))

    assert found.items == pytest.approx(40, abs=1)


def test_a_filter_that_leaves_nothing_of_some_pages_is_not_called_an_empty_table(place: Place) -> None:
    place.create()
    place.put(range(10))

    found = planned(place, All(2, Filter("attribute_exists(kind)")))

    assert (found.items, found.exact) == (0, False)
    assert "the filter left none of their items" in found.text()
    assert "the selection is empty" not in found.text()


def test_a_price_that_is_not_known_leaves_the_cost_out_with_the_reason(place: Place) -> None:
    def none() -> Price:
        raise PriceUnknown("the list has no such Region")

    place.create()
    place.put([1])

    found = planned(place, prices=none)

    assert found.cost is None
    assert "cost             not known: the list has no such Region" in found.text()


def test_a_lower_pace_takes_longer(place: Place) -> None:
    place.create()
    place.put(range(50))

    slow, fast = (planned(place, settings=place.settings(wcu_per_second=pace)).seconds for pace in (1, 1_000))

    assert slow > 50
    assert 0 < fast < 5


# --- what the consumers will see ---


def test_records_that_a_filter_keeps_back_are_counted_for_each_function(place: Place) -> None:
    place.create()
    place.put(range(8), kind={"S": "tool"})
    place.put(range(8, 10), kind={"S": "toy"})
    name = place.map({"eventName": ["MODIFY"], "dynamodb": {"NewImage": {"kind": {"S": ["tool"]}}}}, batch_size=250)

    found = planned(place)

    assert f"function {name} gets 8 records of 10, the rest is kept back by its filter, up to 250 at once" in seen(found)


def test_the_images_of_a_touch_are_told_by_the_view_of_the_stream(place: Place) -> None:
    place.create()
    place.put([1])
    name = place.map()
    old = place.settings(consumers=(Consumer(function=name, uses_old_image=True),))

    assert "NewImage and OldImage, which differs by searchops_replay alone" in seen(planned(place))
    assert f"{name} uses OldImage: it sees no change in any of them" in seen(planned(place, settings=old))


def test_sharded_days_are_counted_over_all_their_keys(place: Place) -> None:
    place.create()
    for number in range(9):
        place.put([number], day={"S": f"{DAY}#{number % 3}"})
    sharded = replace(DATES, shards=3)

    found = planned(place, sharded.selection(date(2026, 11, 3)), place.settings(dates=sharded))

    assert found.items == 9

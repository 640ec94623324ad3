"""Sizes, units and money."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from searchops.core.replay.cost import (
    Price,
    PriceUnknown,
    cost_of,
    item_bytes,
    listed_price,
    touch_units,
    usual_touch_units,
)
from searchops.core.replay.model import Units
from tests.unit.core.replay.tables import BY_DAY, facts

KEYS: dict[str, Any] = {"pk": {"S": "a"}, "sk": {"N": "1"}, "created_ymd": {"S": "20261121"}}
PRICE = Price(write_unit=0.5e-6, read_unit=0.1e-6, region="eu-west-1", source="a list of today")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "東京"}, 6),
        ({"S": ""}, 0),
        ({"N": "12"}, 2),
        ({"N": "-123.45"}, 4),
        ({"N": "1000000"}, 2),
        ({"N": "0"}, 1),
        ({"N": "1.5E+20"}, 2),
        ({"B": b"\x00\x01\x02"}, 3),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["ab", "c"]}, 3),
        ({"NS": ["12", "3"]}, 4),
        ({"BS": [b"ab"]}, 2),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}, {"N": "12"}]}, 3 + 3 + 3),
        ({"M": {"k": {"S": "ab"}}}, 3 + 1 + 1 + 2),
    ],
)
def test_a_value_has_the_size_of_the_developer_guide(value: dict[str, Any], size: int) -> None:
    assert item_bytes({"name": value}) == 4 + size


@pytest.mark.parametrize(
    ("projection", "included", "units"),
    [
        ("KEYS_ONLY", (), Units(10, 0)),
        ("ALL", (), Units(10, 10)),
        ("INCLUDE", ("marker",), Units(10, 1)),
        ("INCLUDE", ("title",), Units(10, 0)),
    ],
)
def test_a_touch_costs_the_item_and_each_index_that_projects_the_marker(
    projection: str, included: tuple[str, ...], units: Units
) -> None:
    index = replace(BY_DAY, projection=projection, included=included)
    item = {**KEYS, "body": {"S": "x" * (9 * 1024)}}

    assert touch_units(facts(indexes=(index,)), item, ("marker",)) == units


def test_an_item_that_is_not_in_an_index_does_not_cost_it() -> None:
    index = replace(BY_DAY, projection="ALL")
    item = {name: value for name, value in KEYS.items() if name != "created_ymd"}

    assert touch_units(facts(indexes=(index,)), item, ("marker",)) == Units(1, 0)


def test_a_marker_that_takes_an_item_over_a_kilobyte_costs_the_larger_size() -> None:
    item = {**KEYS, "body": {"S": ""}}
    item["body"] = {"S": "x" * (1024 - item_bytes(item))}

    assert item_bytes(item) == 1024
    assert touch_units(facts(), item, ("marker",)).table == 2


def test_the_usual_touch_is_that_of_the_average_item_and_entry() -> None:
    index = replace(BY_DAY, projection="ALL", items=10, size_bytes=10 * 3_000)
    assert usual_touch_units(facts(indexes=(index,), items=100, size_bytes=100 * 3_000), ("marker",)) == Units(3, 3)
    assert usual_touch_units(facts(items=0, size_bytes=0), ("marker",)) is None


def test_a_cost_is_told_with_its_region_and_source() -> None:
    cost = cost_of(facts(), 2_000_000, 4_000_000, PRICE)

    assert str(cost) == "2.20 USD in eu-west-1 (a list of today)"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"billing": "PROVISIONED"}, "paid for by the hour"),
        ({"table_class": "STANDARD_INFREQUENT_ACCESS"}, "other prices"),
        ({"replicas": ("eu-west-1",)}, "replicas in eu-west-1"),
    ],
)
def test_a_cost_that_would_be_wrong_is_left_out_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PriceUnknown, match=reason):
        cost_of(facts(**changes), 1, 1, PRICE)


def product(usage: str, *usd: str) -> str:
    dimensions = {f"d{number}": {"pricePerUnit": {"USD": price}} for number, price in enumerate(usd)}
    return json.dumps(
        {
            "product": {"attributes": {"usagetype": usage}},
            "terms": {"OnDemand": {"t": {"priceDimensions": dimensions}}},
            "publicationDate": "2026-10-02T00:00:00Z",
        }
    )


def pricing(*answers: list[str]) -> Any:
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    stubber = Stubber(client)
    for products in answers:
        stubber.add_response("get_products", {"PriceList": products}, {"ServiceCode": "AmazonDynamoDB", "Filters": ANY})
    stubber.activate()
    return client


def test_prices_are_those_that_aws_lists_for_requests_of_the_region() -> None:
    writes = [
        product("APN1-WriteCapacityUnit-Hrs", "0", "0.000742"),
        product("APN1-WriteRequestUnits", "0.0000007150"),
        product("APN1-ReplWriteRequestUnits", "0.0000007150"),
        product("APN1-IA-WriteRequestUnits", "0.0000008900"),
    ]
    reads = [product("APN1-ReadRequestUnits", "0.0000001430")]

    found = listed_price(pricing(writes[:3], reads), "ap-northeast-1")

    assert (found.write_unit, found.read_unit, found.region) == (0.715e-6, 0.143e-6, "ap-northeast-1")
    assert found.source == "AWS Price List API, published 2026-10-02, on-demand, without taxes and discounts"


@pytest.mark.parametrize(
    "answer",
    [[], [product("X-WriteRequestUnits", "1"), product("Y-WriteRequestUnits", "2")], [product("WriteRequestUnits", "1", "2")]],
)
def test_a_price_that_is_not_one_number_is_none(answer: list[str]) -> None:
    with pytest.raises(PriceUnknown, match="on-demand prices of DDB-WriteUnits for the Region eu-west-1"):
        listed_price(pricing(answer), "eu-west-1")


def test_a_price_list_that_may_not_be_asked_is_no_failure_of_the_plan() -> None:
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    stubber = Stubber(client)
    stubber.add_client_error("get_products", "AccessDeniedException", "no", 400)
    stubber.activate()

    with pytest.raises(PriceUnknown, match="no price: pricing:GetProducts"):
        listed_price(client, "eu-west-1")

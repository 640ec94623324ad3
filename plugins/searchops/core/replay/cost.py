"""What a touch weighs in capacity units, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from searchops.core.errors import DataError, classify_client_error, code_of
from searchops.core.replay.model import AttributeValue, Units
from searchops.core.replay.records import REPLAY_ID_DIGITS
from searchops.core.replay.table import PROVISIONED, IndexFacts, Item, TableFacts

# DynamoDB developer guide, "DynamoDB read and write operations" and "Quotas".
WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096
EVENTUALLY_CONSISTENT = 0.5
"""Read units for 4 KB, as a replay reads."""
MAX_ITEM_BYTES = 400 * 1024
PARTITION_WRITE_UNITS = 1000
"""A second, that one partition of a table or of an index takes."""


def item_bytes(item: Item) -> int:
    """The size of an item by the rules of the developer guide ("DynamoDB item sizes and formats"), which are approximate for numbers."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: AttributeValue) -> int:
    ((type_, content),) = value.items()
    match type_:
        case "S":
            return len(content.encode())
        case "N":
            return _number_bytes(content)
        case "B":
            return len(content)
        case "SS":
            return sum(len(text.encode()) for text in content)
        case "NS":
            return sum(map(_number_bytes, content))
        case "BS":
            return sum(map(len, content))
        case "L":
            return 3 + sum(1 + _value_bytes(element) for element in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_bytes(element) for name, element in content.items())
        case _:  # BOOL, NULL
            return 1


def _number_bytes(text: str) -> int:
    digits = text.lower().partition("e")[0].lstrip("-").replace(".", "").strip("0")
    return ceil(len(digits) / 2) + 1


def write_units(size_bytes: float) -> int:
    return max(1, ceil(size_bytes / WRITE_UNIT_BYTES))


def touched(item: Item, marker: str) -> Item:
    """An item as a touch leaves it, whatever the number of the replay."""
    return {**item, marker: {"S": "0" * REPLAY_ID_DIGITS}}


def touch_units(facts: TableFacts, item: Item, changed: tuple[str, ...]) -> Units:
    """What one touch of an item consumes.

    An update is charged for the larger of the item before and after it, and for a write of each index that projects something that it
    changes (developer guide, "Global secondary indexes"; 18 units measured for 9 KB and an index that projects everything).

    :param changed: the marker, and what else the touch changes
    """
    after = touched(item, changed[0])
    index = sum(
        write_units(max(_entry_bytes(facts, index, item), _entry_bytes(facts, index, after)))
        for index in facts.indexes
        if index.is_written_by(*changed) and index.has(item)
    )
    return Units(table=float(write_units(max(item_bytes(item), item_bytes(after)))), index=float(index))


def _entry_bytes(facts: TableFacts, index: IndexFacts, item: Item) -> int:
    if index.projection == "ALL":
        return item_bytes(item)
    projected = {*facts.keys, *index.keys, *index.included}
    return item_bytes({name: value for name, value in item.items() if name in projected})


def usual_touch_units(facts: TableFacts, changed: tuple[str, ...]) -> Units | None:
    """The same of an item of average size, by DynamoDB's last count; None where it counted none.

    An index whose entries were counted has an average of its own.
    """
    if facts.average_bytes is None:
        return None
    own = facts.average_bytes + len(changed[0]) + REPLAY_ID_DIGITS
    index = sum(
        write_units(index.size_bytes / index.items if index.items else own)
        for index in facts.indexes
        if index.is_written_by(*changed)
    )
    return Units(table=float(write_units(own)), index=float(index))


class PriceUnknown(DataError):
    """There is no price that could be named with its source: a cost is left out rather than guessed."""


@dataclass(frozen=True, slots=True)
class Price:
    """On-demand prices in USD, without taxes and discounts.

    :param source: where they are from, with a date
    """

    write_unit: float
    read_unit: float
    region: str
    source: str


@dataclass(frozen=True, slots=True)
class Cost:
    """Of DynamoDB alone: what the consumers do costs as well."""

    usd: float
    region: str
    source: str

    def __str__(self) -> str:
        amount = f"{self.usd:,.2f}" if self.usd >= 1 else f"{self.usd:.4f}"
        return f"{amount} USD in {self.region} ({self.source})"


def cost_of(facts: TableFacts, read_units: float, write_units: float, price: Price) -> Cost:
    """
    :raises PriceUnknown: these units are not charged by the piece, or not at these prices
    """
    if facts.billing == PROVISIONED:
        raise PriceUnknown(
            f"table {facts.name}: its capacity is provisioned and paid for by the hour, whatever it is used for; more costs only what "
            "auto scaling adds for the time of the replay"
        )
    if facts.table_class != "STANDARD":
        raise PriceUnknown(
            f"table {facts.name}: expected the table class STANDARD, found {facts.table_class}, which has other prices"
        )
    if facts.replicas:
        raise PriceUnknown(
            f"table {facts.name}: it has replicas in {', '.join(facts.replicas)}, where each touch is written and charged, too"
        )
    return Cost(read_units * price.read_unit + write_units * price.write_unit, price.region, price.source)


SERVICE_CODE = "AmazonDynamoDB"
PRICE_LIST_REGION = "us-east-1"
"""Where the Price List API is asked; it knows every Region of its partition."""
_GROUPS = {"write_unit": ("DDB-WriteUnits", "WriteRequestUnits"), "read_unit": ("DDB-ReadUnits", "ReadRequestUnits")}


def listed_price(client: Any, region: str) -> Price:
    """The on-demand prices of a Region, from the AWS Price List API, which costs nothing.

    :param client: boto3's ``pricing`` client of `PRICE_LIST_REGION`
    :raises PriceUnknown: it may not be asked (pricing:GetProducts), or lists none for this Region
    """
    found = {name: _listed(client, region, *wanted) for name, wanted in _GROUPS.items()}
    published = min(date for _, date in found.values())
    return Price(
        write_unit=found["write_unit"][0],
        read_unit=found["read_unit"][0],
        region=region,
        source=f"AWS Price List API, published {published[:10]}, on-demand, without taxes and discounts",
    )


def _listed(client: Any, region: str, group: str, usage: str) -> tuple[float, str]:
    filters = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in (("regionCode", region), ("group", group))
    ]
    prices = {
        (price, str(product.get("publicationDate", "")))
        for product in _products(client, filters)
        # APN1-WriteRequestUnits; not APN1-ReplWriteRequestUnits, nor provisioned hours.
        if product["product"]["attributes"].get("usagetype", "").rpartition("-")[2] == usage
        if (price := _first_price(product)) is not None
    }
    if len(prices) != 1:
        raise PriceUnknown(f"the AWS Price List has {len(prices) or 'no'} on-demand prices of {group} for the Region {region}")
    return prices.pop()


def _products(client: Any, filters: list[dict[str, str]]) -> Iterator[Mapping[str, Any]]:
    try:
        for page in client.get_paginator("get_products").paginate(ServiceCode=SERVICE_CODE, Filters=filters):
            for text in page["PriceList"]:
                yield json.loads(text)
    except Exception as error:
        known = classify_client_error(error)
        asked = "pricing:GetProducts" if code_of(error).startswith("AccessDenied") else "the AWS Price List API"
        raise PriceUnknown(f"no price: {asked}: {known}", reason=known.reason) from error


def _first_price(product: Mapping[str, Any]) -> float | None:
    """In USD; None where the product has none, or tiers, which no single number stands for."""
    rates = [
        float(dimension["pricePerUnit"]["USD"])
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if "USD" in dimension["pricePerUnit"]
    ]
    return rates[0] if len(rates) == 1 else None

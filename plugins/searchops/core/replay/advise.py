"""How to design a table so that it can be replayed: what is in the way, what to change, and what a replay would take."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from searchops.core.replay.choice import Dates
from searchops.core.replay.cost import PARTITION_WRITE_UNITS, Price, PriceUnknown, cost_of, usual_touch_units
from searchops.core.replay.findings import Finding, Level, error, note, warning
from searchops.core.replay.pace import Budget
from searchops.core.replay.settings import Settings
from searchops.core.replay.table import WITH_OLD_IMAGE, TableFacts

ATTRIBUTE = "created_ymd"
"""Of a table that has no attribute for the day yet."""
_DAY = re.compile(r"day|date|ymd|yyyymmdd", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Advice:
    """
    :param figures: what a replay of the table would take, by name
    """

    table: str
    findings: tuple[Finding, ...]
    figures: tuple[tuple[str, str], ...]

    @property
    def is_fit(self) -> bool:
        return all(finding.level is Level.NOTE for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        findings = [finding.to_json() for finding in self.findings]
        return {"table": self.table, "fit": self.is_fit, "findings": findings, "figures": dict(self.figures)}

    def text(self) -> str:
        head = f"{self.table}: {'fit for replays' if self.is_fit else 'something is to be changed before it is replayed'}"
        findings = [f"{level:<8} {each}" for level in Level for each in self.findings if each.level is level]
        return "\n".join([head, *findings, *(f"{name:<32} {value}" for name, value in self.figures)])


def find_dates(facts: TableFacts, index: str | None = None, **form: Any) -> Dates | None:
    """The index of days, where somebody names it, or where one of the global indexes has a key that is called like a day.

    :param form: format, timezone and shards of `Dates`
    """
    named = {"format": "%Y%m%d", "timezone": "UTC"} | form
    if index is not None:
        known = facts.index(index)
        return Dates(index=index, attribute=known.partition_key if known else ATTRIBUTE, **named)
    likely = [each for each in facts.indexes if each.is_global and _DAY.search(each.partition_key)]
    keys_only_first = sorted(likely, key=lambda each: each.projection != "KEYS_ONLY")
    return Dates(index=keys_only_first[0].name, attribute=keys_only_first[0].partition_key, **named) if likely else None


def create_index(facts: TableFacts, attribute: str = ATTRIBUTE) -> str:
    """The command that adds the index of days."""
    type_ = facts.key_types.get(attribute, "S")
    definitions = f"AttributeName={attribute},AttributeType={type_}"
    index: dict[str, Any] = {
        "IndexName": f"{attribute}-index",
        "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    if facts.write_units is not None:
        index["ProvisionedThroughput"] = {"ReadCapacityUnits": 100, "WriteCapacityUnits": facts.write_units}
    update = json.dumps([{"Create": index}])
    return (
        f"aws dynamodb update-table --table-name {facts.name} --attribute-definitions {definitions} "
        f"--global-secondary-index-updates '{update}'"
    )


def advise(
    settings: Settings,
    facts: TableFacts,
    looked: tuple[Finding, ...],
    *,
    new_items_per_second: float = 0,
    price: Price | None = None,
) -> Advice:
    """
    :param looked: what preflight found
    :param new_items_per_second: that the application writes at its peak
    """
    findings = (*looked, *_design(settings, facts, new_items_per_second))
    return Advice(facts.name, findings, tuple(_figures(settings, facts, price)))


def _design(settings: Settings, facts: TableFacts, new_items_per_second: float) -> Iterator[Finding]:
    dates = settings.dates
    if dates is None:
        yield error(
            f"table {facts.name}: expected a global index whose partition key is the day of an item",
            ", ".join(f"{index.name} ({index.partition_key})" for index in facts.indexes) or "no index",
            f"have the application write {ATTRIBUTE} ({date(2026, 11, 21):%Y%m%d}) when it makes an item, in one time zone and never again, "
            f"give it to the items that exist, and add the index: {create_index(facts)}",
        )
    elif (shards := math.ceil(new_items_per_second / PARTITION_WRITE_UNITS)) > (dates.shards or 1):
        yield warning(
            f"index {dates.index}: expected at most {PARTITION_WRITE_UNITS:,} new items a second on the one partition of today",
            f"{new_items_per_second:,.0f} a second on {dates.shards or 1}",
            f"spread the day over {shards} keys: have the application write the day, # and the hash of the item's key modulo {shards}, "
            f"and set shards: {shards}",
        )
    if facts.stream_arn and facts.stream_view not in WITH_OLD_IMAGE:
        yield note(
            f"table {facts.name}: expected a stream with both images",
            facts.stream_view,
            "it is enough to index where deletes need no version; a consumer that does more cannot tell a touch from a change "
            "(is_replay answers unknown)",
        )
    if facts.ttl_attribute:
        yield note(
            f"table {facts.name}: expected items that stay", f"TTL by {facts.ttl_attribute}", "expired items are left alone"
        )


def _figures(settings: Settings, facts: TableFacts, price: Price | None) -> Iterator[tuple[str, str]]:
    yield "items, by DynamoDB's last count", f"{facts.items:,}"
    index = facts.index(settings.dates.index) if settings.dates else None
    if index:
        yield "without the date attribute", f"{max(0, facts.items - index.items):,}"
    units = usual_touch_units(facts, settings.touched)
    if units is None:
        yield "write units of a touch", "not known: DynamoDB has counted no items yet (it does every six hours)"
        return
    yield "write units of a touch", f"{units.table:g} of the table, {units.index:g} of its indexes"
    seconds = Budget(settings.wcu_per_second, 0.0).seconds_for(units.total * facts.items)
    yield f"whole table at {settings.wcu_per_second:g} units/s", f"{seconds / 3600:,.1f} h"
    if price is None:
        return
    try:
        cost = str(cost_of(facts, 0.0, units.total * 1_000_000, price))
    except PriceUnknown as unknown:
        cost = f"not known: {unknown}"
    yield "touches of a million items", cost

"""Say what a replay would do, before it does anything: a dry run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from searchops.core.replay.calls import asked
from searchops.core.replay.cost import (
    EVENTUALLY_CONSISTENT,
    MAX_ITEM_BYTES,
    READ_UNIT_BYTES,
    Cost,
    Price,
    PriceUnknown,
    cost_of,
    item_bytes,
    touch_units,
    touched,
)
from searchops.core.replay.findings import Finding
from searchops.core.replay.model import Key, Outcome
from searchops.core.replay.outlook import Documents, compare, not_rewritten, sentences
from searchops.core.replay.pace import Budget
from searchops.core.replay.plan_text import lines
from searchops.core.replay.preflight import Clients, Preflight
from searchops.core.replay.records import REPLAY_ID_DIGITS
from searchops.core.replay.select import Page, check, pages, parts
from searchops.core.replay.selection import All, Selection, encoded, to_json
from searchops.core.replay.settings import Settings
from searchops.core.replay.table import Item, TableFacts
from searchops.core.replay.touch import judge

FEWEST_SAMPLED = 50
"""Items that are read whole to tell sizes, units, filters and documents; up to twice as many, evenly out of the selection."""
_NEWEST = "9" * REPLAY_ID_DIGITS
"""The id of a replay that is to come is above every other."""
_LEFT_ALONE = {Outcome.EXPIRED: "expired", Outcome.MARKER_MISUSED: "foreign_marker"}
GLANCES = 8
"""Segments of a whole table whose first page is read, in place of the table."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay would do. Numbers of items are counted; what depends on their content is estimated from the sampled ones.

    :param exact: ``items`` were counted; otherwise they are DynamoDB's own number, up to six hours old
    :param sampled: items that were read whole
    :param gone: items of the selection that are not there any more; ``expired``, ``too_large``, ``foreign_marker``: those that
        would be left alone for that
    :param read_units: of the replay; the dry run has used about as many (a sample's, for a whole table)
    :param seconds: at the pace, if the consumers bear it
    :param cost_unknown: why there is no cost
    :param without_date: items that no replay by date finds, by DynamoDB's own numbers; None without a date index
    :param not_rewritten: documents that stay as they are though their item is touched; None where that is not known
    :param consumers: what they will see, a sentence each
    """

    table: str
    region: str
    selection: Mapping[str, Any]
    items: int
    exact: bool
    sampled: int
    bytes: int
    gone: int
    expired: int
    too_large: int
    foreign_marker: int
    read_units: float
    table_units: float
    index_units: float
    wcu_per_second: float
    seconds: float
    cost: Cost | None
    cost_unknown: str
    without_date: int | None
    documents: Documents | None
    not_rewritten: int | None
    consumers: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def touches(self) -> int:
        """Items that would get a record."""
        return max(0, self.items - self.gone - self.expired - self.too_large - self.foreign_marker)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "touches": self.touches, "selection": dict(self.selection)}

    def text(self) -> str:
        """For a log or a terminal."""
        return "\n".join(lines(self))


def plan(
    settings: Settings,
    looked: Preflight,
    selection: Selection,
    clients: Clients,
    *,
    now: float,
    s3: Any = None,
    prices: Callable[[], Price] | None = None,
) -> Plan:
    """Count a selection and estimate what touching it takes. Reads what the replay would read, and writes nothing.

    :param now: epoch seconds
    :param s3: boto3's client, for a list of keys
    :param prices: gives the prices of the table's Region; may raise PriceUnknown
    :raises DataError: the selection does not fit the table
    :raises TransientError: AWS or the node did not answer
    """
    facts = looked.facts
    check(facts, selection)
    counted = _count(clients.dynamodb, facts, selection, s3)
    items = read_items(clients.dynamodb, facts, counted.keys)
    factor = counted.items / len(counted.keys) if counted.keys else 0.0
    units = [touch_units(facts, item, settings.touched) for item in items]
    table_units = sum(unit.table for unit in units) * factor
    index_units = sum(unit.index for unit in units) * factor
    cost, unknown = _cost(facts, counted.read_units, table_units + index_units, prices)
    ends = _Ends.of(settings, facts, items, len(counted.keys), now)
    documents = compare(settings, clients.node, ends.touchable)
    return Plan(
        table=facts.name,
        region=facts.arn.split(":")[3] if facts.arn.count(":") > 3 else "",
        selection=to_json(selection),
        items=counted.items,
        exact=counted.exact,
        sampled=len(items),
        bytes=round(sum(map(item_bytes, items)) * factor),
        gone=round(ends.gone * factor),
        expired=round(ends.expired * factor),
        too_large=round(ends.too_large * factor),
        foreign_marker=round(ends.foreign_marker * factor),
        read_units=counted.read_units,
        table_units=table_units,
        index_units=index_units,
        wcu_per_second=settings.wcu_per_second,
        seconds=Budget(settings.wcu_per_second, 0.0).seconds_for(table_units + index_units) if counted.items else 0.0,
        cost=cost,
        cost_unknown=unknown,
        without_date=_without_date(settings, facts),
        documents=documents.scaled(factor) if documents else None,
        not_rewritten=not_rewritten(settings, documents, factor),
        consumers=tuple(sentences(settings, facts, looked.mapped, ends.touchable, factor, documents)),
        findings=looked.findings,
    )


# --- counting ---


@dataclass(frozen=True, slots=True)
class _Counted:
    """``keys``: some of the selection's, evenly out of it."""

    items: int
    exact: bool
    read_units: float
    keys: tuple[Key, ...]


class _Spread:
    """Keeps `FEWEST_SAMPLED` keys to twice as many, evenly out of all that it is given, however many these are."""

    def __init__(self) -> None:
        self.given = 0
        self._every = 1
        self._kept: dict[str, Key] = {}

    def add(self, keys: Sequence[Key]) -> None:
        for key in keys:
            if self.given % self._every == 0:
                self._kept[json.dumps(encoded(key, normal=True), sort_keys=True)] = key  # a list can name a key twice
            self.given += 1
            if len(self._kept) >= 2 * FEWEST_SAMPLED:
                self._kept = dict(list(self._kept.items())[::2])
                self._every *= 2

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(self._kept.values())


def _count(client: Any, facts: TableFacts, selection: Selection, s3: Any) -> _Counted:
    if isinstance(selection, All) and facts.items:
        return _glance(client, facts, selection)
    spread, units = _Spread(), 0.0
    for part in parts(selection):
        for page in pages(client, facts, selection, part, s3=s3):
            spread.add(page.keys)
            units += page.units
    return _Counted(spread.given, True, units, spread.keys)


def _glance(client: Any, facts: TableFacts, selection: All) -> _Counted:
    """A whole table is not read twice: its size is known, and what a filter leaves of it is seen in the first pages of some segments."""
    spread, read = _Spread(), 0
    for page in _first_pages(client, facts, selection):
        spread.add(page.keys)
        read += page.read
    share = spread.given / read if selection.filter and read else 1.0
    units = facts.size_bytes / READ_UNIT_BYTES * EVENTUALLY_CONSISTENT
    return _Counted(round(facts.items * share), False, units, spread.keys)


def _first_pages(client: Any, facts: TableFacts, selection: All) -> Iterator[Page]:
    named = parts(selection)
    for part in named[:: max(1, len(named) // GLANCES)]:
        yield next(pages(client, facts, selection, part))


def read_items(client: Any, facts: TableFacts, keys: Sequence[Key]) -> list[Item]:
    """Items by up to 100 different keys; those that are not there are left out."""
    found: list[Item] = []
    request: Mapping[str, Any] = {facts.name: {"Keys": list(keys)}} if keys else {}
    while request:
        answer = asked(_batch_get(client), facts.name, "BatchGetItem", RequestItems=request)
        found += answer["Responses"].get(facts.name, [])
        request = answer.get("UnprocessedKeys") or {}
    return found


def _batch_get(client: Any) -> Callable[..., dict[str, Any]]:
    """BatchGetItem names its tables in the request itself."""
    return lambda TableName, **request: client.batch_get_item(**request)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Sampled items by what a replay would do with them; the numbers are of those that it would leave alone."""

    touchable: tuple[Item, ...]
    gone: int
    expired: int
    too_large: int
    foreign_marker: int

    @classmethod
    def of(cls, settings: Settings, facts: TableFacts, items: Sequence[Item], asked: int, now: float) -> _Ends:
        ends: dict[str, list[Item]] = {"touchable": [], "expired": [], "too_large": [], "foreign_marker": []}
        for item in items:
            ends[_end(settings, facts, item, now)].append(item)
        return cls(
            tuple(ends["touchable"]),
            asked - len(items),
            len(ends["expired"]),
            len(ends["too_large"]),
            len(ends["foreign_marker"]),
        )


def _end(settings: Settings, facts: TableFacts, item: Item, now: float) -> str:
    found = judge(item, marker=settings.marker, ours=_NEWEST, ttl_attribute=facts.ttl_attribute, now=int(now))
    if found in _LEFT_ALONE:
        return _LEFT_ALONE[found]
    return "too_large" if item_bytes(touched(item, settings.marker)) > MAX_ITEM_BYTES else "touchable"


def _without_date(settings: Settings, facts: TableFacts) -> int | None:
    index = facts.index(settings.dates.index) if settings.dates else None
    return max(0, facts.items - index.items) if index else None


def _cost(
    facts: TableFacts, read_units: float, write_units: float, prices: Callable[[], Price] | None
) -> tuple[Cost | None, str]:
    if prices is None:
        return None, "no price was asked for"
    try:
        return cost_of(facts, read_units, write_units, prices()), ""
    except PriceUnknown as unknown:
        return None, str(unknown)

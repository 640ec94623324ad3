"""Read the keys of a selection, page by page, from anywhere on.

A selection has parts: the values of a date, the partition keys, the segments of a scan. Each is read in an order that touches do not
change (a marker is no key of anything), so a place in it stays good while a replay runs, and for whoever goes on with it.

Reads are eventually consistent: an item that was written within the second before may be missed; its own stream record is as young.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from searchops.core.bulk.sources.lines import TooLong, plain, split
from searchops.core.bulk.sources.objects import changed, find, open_bytes
from searchops.core.errors import DataError
from searchops.core.replay.calls import asked
from searchops.core.replay.effects import Keys
from searchops.core.replay.model import AttributeValue, Key
from searchops.core.replay.selection import (
    All,
    ByDate,
    ByKey,
    ByKeys,
    Filter,
    PartitionKey,
    Sample,
    Selection,
    decoded,
    encoded,
    key_of,
    key_value,
    to_json,
)
from searchops.core.replay.table import TableFacts

PAGE_ITEMS = 500
"""Items of a page at most: what is done again after a kill, at 1 write unit each, is a few of them. DynamoDB ends a page at 1 MB, too."""
MAX_LINE_BYTES = 16_384  # a key has at most 2,048 and 1,024 bytes; base64 and escapes make more of them

Cursor = Mapping[str, Any]
"""Where a part goes on, as JSON can hold it."""


@dataclass(frozen=True, slots=True)
class Page:
    """``cursor``: where the next page begins; None: this is the last one. ``read``: items looked at, ``units``: read units they cost."""

    keys: tuple[Key, ...]
    cursor: Cursor | None
    units: float
    read: int


def parts(selection: Selection) -> tuple[str, ...]:
    """The names of what a selection is read in; letters, digits and ``._!~-`` only, as in the key of an object in S3."""
    return tuple(_parts(selection))


def _parts(selection: Selection) -> dict[str, Any]:
    match selection:
        case ByDate(values=values):
            return {_name("date", value): value for value in values}
        case ByKey(keys=keys):
            return {_name_of_key(key): key for key in keys}
        case ByKeys():
            return {"list": None}
        case Sample():
            return {"sample": None}
        case All(segments=segments):
            return {f"segment-{number:06}-of-{segments}": number for number in range(segments)}


def _name(kind: str, value: str) -> str:
    quoted = quote(value, safe="").replace("%", "!")  # S3 calls "!" safe in keys
    return f"{kind}-{quoted if len(quoted) <= 100 else hashlib.sha256(value.encode()).hexdigest()}"


def _name_of_key(key: PartitionKey) -> str:
    given = {"value": key.value, "from": key.sort_from, "to": key.sort_to}
    normal = encoded({name: value for name, value in given.items() if value is not None}, normal=True)
    return f"key-{hashlib.sha256(json.dumps(normal, sort_keys=True).encode()).hexdigest()[:32]}"


def check(facts: TableFacts, selection: Selection) -> None:
    """Look whether a selection fits the keys of a table and what its index holds. Asks nothing of AWS.

    :raises DataError: a key or a date of another type than the table's, a range of sort keys where there are none, a filter on an
        attribute that the index does not have: no item would pass it, and nobody would be told
    """
    if isinstance(selection, ByDate):
        for value in selection.values:
            _date_key(facts, selection, value)
        _check_filter(facts, selection)
    if isinstance(selection, ByKey):
        for key in selection.keys:
            _key_condition(facts, key)


def _check_filter(facts: TableFacts, selection: ByDate) -> None:
    index = facts.index(selection.index)
    if selection.filter is None or index is None or index.projection == "ALL":
        return
    missing = sorted(_asked_for(selection.filter) - {*facts.keys, *index.keys, *index.included})
    if missing:
        raise DataError(
            f"the table {facts.name!r}, index {index.name}: expected a filter on what the index holds, found {', '.join(missing)}, which it "
            f"does not (its projection is {index.projection}): no item would be found: replay by key, or the whole table, with this filter"
        )


def _asked_for(filter: Filter) -> set[str]:
    """The attributes that an expression names, itself or by placeholders; of a path the first step."""
    words = [word for word in _WORD.findall(filter.expression) if word not in _GRAMMAR and word.upper() not in _GRAMMAR]
    return {filter.names.get(word, word) for word in words}


_WORD = re.compile(r"(?<![:.#\w])(?:#\w+|[A-Za-z_]\w*)")
_OPERATORS = ("AND", "OR", "NOT", "BETWEEN", "IN")
_FUNCTIONS = ("attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains", "size")
_GRAMMAR = frozenset((*_OPERATORS, *_FUNCTIONS))


def pages(
    client: Any, facts: Keys, selection: Selection, part: str, cursor: Cursor | None = None, *, s3: Any = None
) -> Iterator[Page]:
    """Read a part of a selection; `Reader.pages` for all that read one part only."""
    return Reader(client, facts, selection, s3=s3).pages(part, cursor)


class Reader:
    """Reads a selection.

    :param s3: boto3's client, for a list in S3
    """

    def __init__(self, client: Any, facts: Keys, selection: Selection, *, s3: Any = None) -> None:
        self._client = client
        self._facts = facts
        self._selection = selection
        self._parts = _parts(selection)
        self._s3 = s3

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self._parts)

    def pages(self, part: str, cursor: Cursor | None = None) -> Iterator[Page]:
        """Read a part, a page at each step, at least one: memory for one page of keys.

        :param part: one of `parts`
        :param cursor: that a page had; None for the beginning
        :raises DataError: the selection does not fit the table; the list is another one, or holds what is no key
        :raises TransientError: DynamoDB or S3 does not answer
        """
        if part not in self._parts:
            raise DataError(f"expected a part of the selection {json.dumps(to_json(self._selection))[:200]}, found {part!r}")
        client, facts, selection, own = self._client, self._facts, self._selection, self._parts[part]
        request: dict[str, Any] = {"Limit": PAGE_ITEMS, "ReturnConsumedCapacity": "TOTAL"}
        match selection:
            case ByDate():
                condition = _date_condition(facts, selection, own)
                request |= {"IndexName": selection.index, **_expressions(facts, selection.filter, condition)}
                return _read(client.query, facts, "Query", request, cursor)
            case ByKey():
                request |= _expressions(facts, selection.filter, _key_condition(facts, own))
                return _read(client.query, facts, "Query", request, cursor)
            case ByKeys():
                return _listed(client, facts, selection, int(cursor["line"]) if cursor else 0, self._s3)
            case Sample():
                request |= _expressions(facts, selection.filter)
                return _sampled(client, facts, request, selection, cursor)
            case All():
                request |= {"Segment": own, "TotalSegments": selection.segments, **_expressions(facts, selection.filter)}
                return _read(client.scan, facts, "Scan", request, cursor)


_OWN = "searchops_"
"""What our placeholders begin with, so that those of a filter may have any other name."""


@dataclass(frozen=True, slots=True)
class _Condition:
    expression: str
    names: Mapping[str, str]
    values: Mapping[str, AttributeValue]


def _expressions(facts: Keys, filter: Filter | None, condition: _Condition | None = None) -> dict[str, Any]:
    names = {f"#{_OWN}{number}": name for number, name in enumerate(_key_names(facts))}
    request: dict[str, Any] = {"ProjectionExpression": ", ".join(names)}
    values: dict[str, AttributeValue] = {}
    if condition:
        request["KeyConditionExpression"] = condition.expression
        names |= condition.names
        values |= condition.values
    if filter:
        request["FilterExpression"] = filter.expression
        names |= filter.names
        values |= filter.values
    return request | {"ExpressionAttributeNames": names} | ({"ExpressionAttributeValues": values} if values else {})


def _key_names(facts: Keys) -> list[str]:
    return [facts.partition_key, *([facts.sort_key] if facts.sort_key else [])]


def _date_condition(facts: Keys, selection: ByDate, value: str) -> _Condition:
    sign = f"{_OWN}date"
    return _Condition(f"#{sign} = :{sign}", {f"#{sign}": selection.attribute}, {f":{sign}": _date_key(facts, selection, value)})


def _date_key(facts: Keys, selection: ByDate, value: str) -> AttributeValue:
    type_ = facts.key_types.get(selection.attribute)
    where = f"the table {facts.name!r}, index {selection.index}: the date {selection.attribute}"
    if type_ is None:
        known = ", ".join(sorted(facts.key_types))
        raise DataError(f"{where}: expected a key of the table or of one of its indexes ({known}), found no such key")
    return {"B": value.encode()} if type_ == "B" else key_value(value, type_, where)


def _key_condition(facts: Keys, key: PartitionKey) -> _Condition:
    where = f"the table {facts.name!r}"
    names = {f"#{_OWN}pk": facts.partition_key}
    values = {f":{_OWN}pk": key_value(key.value, facts.key_types[facts.partition_key], f"{where}: {facts.partition_key}")}
    expression = f"#{_OWN}pk = :{_OWN}pk"
    ends = {"from": key.sort_from, "to": key.sort_to}
    given = {f":{_OWN}{name}": value for name, value in ends.items() if value is not None}
    if not given:
        return _Condition(expression, names, values)
    if facts.sort_key is None:
        raise DataError(f"{where}: expected no range of sort keys, as the table has none ({facts.partition_key} is its only key)")
    names[f"#{_OWN}sk"] = facts.sort_key
    type_ = facts.key_types[facts.sort_key]
    values |= {name: key_value(value, type_, f"{where}: {facts.sort_key}") for name, value in given.items()}
    comparison = {2: "BETWEEN {} AND {}", 1: ">= {}" if key.sort_from is not None else "<= {}"}[len(given)]
    return _Condition(f"{expression} AND #{_OWN}sk {comparison.format(*given)}", names, values)


def _read(call: Any, facts: Keys, operation: str, request: Mapping[str, Any], cursor: Cursor | None) -> Iterator[Page]:
    names = _key_names(facts)
    while True:
        start: dict[str, Any] = {} if cursor is None else {"ExclusiveStartKey": decoded(cursor)}
        answer = asked(call, facts.name, operation, **request, **start)
        last = answer.get("LastEvaluatedKey")
        cursor = encoded(last) if last else None
        keys = tuple({name: item[name] for name in names} for item in answer["Items"])
        yield Page(keys, cursor, _units(answer), answer["ScannedCount"])
        if cursor is None:
            return


def _units(answer: Mapping[str, Any]) -> float:
    return float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0))


def _sampled(client: Any, facts: Keys, request: Mapping[str, Any], selection: Sample, cursor: Cursor | None) -> Iterator[Page]:
    left, start = (int(cursor["left"]), cursor["key"]) if cursor else (selection.count, None)
    while True:
        # Without a filter each item that is read is one of the sample.
        limit = request["Limit"] if selection.filter else min(request["Limit"], left)
        page = next(_read(client.scan, facts, "Scan", {**request, "Limit": limit}, start))
        keys, start = page.keys[:left], page.cursor
        left -= len(keys)
        more = left > 0 and start is not None
        yield Page(keys, {"left": left, "key": start} if more else None, page.units, page.read)
        if not more:
            return


def _listed(client: Any, facts: Keys, selection: ByKeys, begin: int, s3: Any) -> Iterator[Page]:
    """What comes before ``begin`` is read again: a gzip file can be entered at its beginning only."""
    held: list[Key] = []
    number = 0
    for number, line in enumerate(_lines(s3, selection), 1):
        if number <= begin:
            continue
        if isinstance(line, TooLong):
            raise DataError(f"{selection.url}:{number}: expected a key, found a line of {line.size:,} bytes")
        if not line or line.isspace():
            continue
        held.append(key_of(line, facts.partition_key, facts.sort_key, facts.key_types, f"{selection.url}:{number}"))
        if len(held) == PAGE_ITEMS:
            yield _filtered(client, facts, selection, held, {"line": number})
            held = []
    yield _filtered(client, facts, selection, held, None)


def _lines(s3: Any, selection: ByKeys) -> Iterator[bytes | TooLong]:
    found = find(s3, selection.url)
    if found.etag != selection.etag:
        raise changed(selection.url)
    if found.bytes == 0:
        return
    content = open_bytes(s3, selection.url, found.etag, found.bytes)
    for lines in split(plain(selection.url, content.blocks()), MAX_LINE_BYTES):
        yield from lines


def _filtered(client: Any, facts: Keys, selection: ByKeys, keys: list[Key], cursor: Cursor | None) -> Page:
    """DynamoDB filters what a Query reads, and not what GetItem or BatchGetItem do: a Query for each key."""
    if selection.filter is None:
        return Page(tuple(keys), cursor, 0.0, len(keys))
    left: list[Key] = []
    units = 0.0
    for key in keys:
        sort = key[facts.sort_key] if facts.sort_key else None
        condition = _key_condition(facts, PartitionKey(key[facts.partition_key], sort, sort))
        request = {"ReturnConsumedCapacity": "TOTAL", **_expressions(facts, selection.filter, condition)}
        page = next(_read(client.query, facts, "Query", request, None))
        left += page.keys
        units += page.units
    return Page(tuple(left), cursor, units, len(keys))

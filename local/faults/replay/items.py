"""What a table and its index hold before a run, and what is replayed in it: made from the seed alone.

Imports nothing of what is tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

DAYS = ("20261118", "20261119", "20261120")
PARTITIONS = 7
DAY_INDEX = "by_day"
MARKER = "replayed"
POISON = "no number"
"""Of the attribute ``n``, which the index has as an integer."""
_DAY_SECONDS = 86_400
_POISONED_PUTS = 13
_LARGE_BYTES = 409_588
"""An item with so much text beside its other attributes has no room for a marker: 400 KB is 409,600 bytes."""

Item = dict[str, dict[str, Any]]
Key = Mapping[str, Mapping[str, Any]]


class Scheme(StrEnum):
    """Version of the index of a run, and whose it is."""

    APPLICATION = "attribute, of the application"
    SHARED = "attribute, shared"
    SEQUENCE = "sequence"

    @property
    def by_sequence(self) -> bool:
        return self is Scheme.SEQUENCE

    @property
    def touches_raise_version(self) -> bool:
        return self is Scheme.SHARED


class Kind(StrEnum):
    """What is special in an item of the beginning."""

    PLAIN = "plain"
    POISON = "poison"
    """The index refuses it."""
    NO_VERSION = "no_version"
    """Its version attribute is a text."""
    EXPIRED = "expired"
    """TTL has passed, and the item is still there."""
    EXPIRES_LATER = "expires_later"
    MISUSED = "misused"
    """The application uses the marker for something of its own."""
    TOO_LARGE = "too_large"


class Document(StrEnum):
    """What the index holds of an item at the beginning."""

    NONE = "none"
    SAME = "same"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class First:
    """An item before the run."""

    item: Item
    kind: Kind
    document: Document

    def takes_touch(self, scheme: Scheme) -> bool:
        refused = {Kind.EXPIRED, Kind.MISUSED, Kind.TOO_LARGE} | ({Kind.NO_VERSION} if scheme.touches_raise_version else set())
        return self.kind not in refused


@dataclass(frozen=True, slots=True)
class Task:
    """What one task replays: a day, some partition keys, or with neither the whole table."""

    day: str = ""
    partitions: tuple[str, ...] = ()

    def selects(self, item: Item) -> bool:
        if self.day:
            return bool(item.get("day", {}).get("S", "").partition("#")[0] == self.day)
        return not self.partitions or item["pk"]["S"] in self.partitions


def name_of(key: Key) -> str:
    """The key of an item as text; it is the id of its document as well."""
    return f"{key['pk']['S']}|{key['sk']['N']}"


def key_of(item: Mapping[str, Any]) -> Item:
    return {"pk": item["pk"], "sk": item["sk"]}


def partition(number: int) -> str:
    return f"棚{number % PARTITIONS}"


def first_items(seed: int, scheme: Scheme, count: int, now: int, shards: int = 0) -> dict[str, First]:
    """The items before a run, by `name_of` their keys.

    :param now: epoch seconds; TTL compares with it
    :param shards: over which the items of a day are spread in the index of days; 0: none
    """
    random = Random(f"items {seed}")
    found = {}
    for number in range(count):
        item = {**{"pk": {"S": partition(number)}, "sk": {"N": str(number)}}, **attributes(number, seed, shards)}
        item["revision"] = {"N": str(random.randint(1, 5))}
        kind = _kind(random) if number or seed % 5 else Kind.TOO_LARGE
        document = random.choice((Document.NONE, Document.NONE, Document.SAME, Document.OLDER))
        if kind in (Kind.POISON, Kind.NO_VERSION):
            document = Document.NONE
        if kind is Kind.NO_VERSION and scheme.by_sequence:
            kind = Kind.PLAIN
        found[name_of(item)] = First(_special(item, kind, now), kind, document)
    return found


def _kind(random: Random) -> Kind:
    kinds = {Kind.PLAIN: 80, Kind.POISON: 5, Kind.NO_VERSION: 4, Kind.EXPIRED: 4, Kind.EXPIRES_LATER: 4, Kind.MISUSED: 3}
    return random.choices(list(kinds), list(kinds.values()))[0]


def _special(item: Item, kind: Kind, now: int) -> Item:
    more: dict[Kind, Item] = {
        Kind.POISON: {"n": {"S": POISON}},
        Kind.NO_VERSION: {"revision": {"S": "seven"}},
        Kind.EXPIRED: {"expires": {"N": str(now - _DAY_SECONDS)}},
        Kind.EXPIRES_LATER: {"expires": {"N": str(now + _DAY_SECONDS)}},
        Kind.MISUSED: {MARKER: {"S": "mine"}},
        Kind.TOO_LARGE: {"text": {"S": "x" * (_LARGE_BYTES - sum(map(_bytes, item.items())))}},
    }
    return {**item, **more.get(kind, {})}


def _bytes(attribute: tuple[str, Mapping[str, str]]) -> int:
    name, value = attribute
    if name == "text":
        return len(name)
    return len(name.encode()) + sum(len(text.encode()) if type_ == "S" else len(text) // 2 + 2 for type_, text in value.items())


def attributes(number: int, seed: int, shards: int = 0, *, write: int = 0) -> Item:
    """What a put gives to an item beside its key.

    :param number: of the item; ``write``: of the application's write, some of which put what the index refuses
    """
    day = DAYS[number % len(DAYS)] + (f"#{number % shards}" if shards else "")
    n = {"S": POISON} if write and write % _POISONED_PUTS == 0 else {"N": str(number + seed)}
    return {"day": {"S": day}, "n": n, "text": {"S": f"品 {number} {write}"}}


def written_keys(first: Mapping[str, First], seed: int) -> list[Item]:
    """Of which items the application is: half of those that were there, and some that were not."""
    random = Random(f"application {seed}")
    left_alone = (Kind.EXPIRED, Kind.EXPIRES_LATER, Kind.TOO_LARGE)
    keys = [key_of(one.item) for one in first.values() if one.kind not in left_alone and random.random() < 0.5]
    return keys + [
        {"pk": {"S": partition(number)}, "sk": {"N": str(number)}} for number in range(10_000, 10_000 + len(keys) // 8)
    ]


def older(item: Item) -> Item:
    """The item as the index has it where it is behind."""
    return {**item, "revision": {"N": "0"}, "text": {"S": "as it was"}}


def plain(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An item as a document: here there are only texts and whole numbers."""
    return {name: int(value["N"]) if "N" in value else value["S"] for name, value in item.items()}


def day_values(day: str, shards: int) -> Sequence[str]:
    return [f"{day}#{shard}" for shard in range(shards)] if shards else [day]

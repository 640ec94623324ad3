"""What a person chooses to replay, as a form or a template holds it, made into selections."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from itertools import compress
from typing import Any, Self

from searchops.core.errors import DataError
from searchops.core.replay.effects import Keys
from searchops.core.replay.model import AttributeValue
from searchops.core.replay.selection import (
    MAX_KEYS,
    All,
    ByDate,
    ByKey,
    ByKeys,
    Filter,
    PartitionKey,
    Sample,
    Selection,
    day_of,
    day_values,
    decoded,
    key_value,
)

MAX_DAYS = 366
"""Of one run: each has its own tasks, of which Airflow maps 1,024 at most."""
SEGMENTS = 16
"""Of a scan, where nobody says how many: enough to spread the reads over a table's partitions, few enough for a small one."""

_WAYS = ("days", "partition keys", "keys_file", "sample", "whole_table")

EtagOf = Callable[[str], str]
"""The ETag of the object at an ``s3://`` URI."""


@dataclass(frozen=True, slots=True)
class Dates:
    """How a table writes the day of an item; ``date_index`` of the inventory.

    :param index: a global secondary index whose partition key is ``attribute``
    :param format: of strftime, tells one day from another
    :param shards: how many keys a day has, where it is spread; 0 where it is not
    """

    index: str
    attribute: str
    format: str = "%Y%m%d"
    timezone: str = "UTC"
    shards: int = 0

    def selection(self, day: date, filter: Filter | None = None) -> ByDate:
        return ByDate(self.index, self.attribute, day, day_values(day, self.format, self.shards), filter)


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to choose, and the filter; what was not chosen is empty.

    :param interval_start: of the run of a backfill, which replays the day on which it is
    :param days: one by one; ``first_day`` and ``last_day`` are a range, both included
    :param partition_keys: each a text, a number or base64, as the table's partition key has it, or DynamoDB's JSON of one
    :param sort_key_first, sort_key_last: of all these partition keys, both included
    :param keys_file: ``s3://`` URI of a list of keys
    """

    interval_start: datetime | None = None
    days: tuple[date, ...] = ()
    first_day: date | None = None
    last_day: date | None = None
    partition_keys: tuple[Any, ...] = ()
    sort_key_first: str = ""
    sort_key_last: str = ""
    keys_file: str = ""
    sample: int = 0
    whole_table: bool = False
    segments: int = SEGMENTS
    filter: Filter | None = None

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> Self:
        """Read what a form holds: JSON's values, or the texts that templates make of them. What is empty counts as not given.

        :raises DataError: names the field that is none
        """
        if unknown := sorted(set(form) - {field.name for field in fields(cls)}):
            raise DataError(f"choice: expected {', '.join(field.name for field in fields(cls))}, found {', '.join(unknown)}")
        values: dict[str, Any] = {}
        for name, given in form.items():
            if given in _NOTHING or str(given).strip() in _NOTHING:
                continue
            try:
                values[name] = _READ[name](given)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DataError(f"{name}: expected {_WORDS[name]}, found {str(given)[:80]!r}", reason=str(error)) from error
        return cls(**values)

    def selections(self, table: Keys, dates: Dates | None, *, etag_of: EtagOf, now: datetime) -> tuple[Selection, ...]:
        """What is to be replayed: a selection a day, or one.

        :param dates: None for a table without a date index
        :param now: with a time zone; a day that has not begun in the table's own is refused
        :raises DataError: nothing or two things were chosen, or it does not fit the table
        """
        match self._chosen():
            case "days":
                return tuple(_dated(dates, table.name).selection(day, self.filter) for day in self._days(dates, table.name, now))
            case "partition keys":
                return (self._by_key(table),)
            case "keys_file":
                return (ByKeys(self.keys_file, etag_of(self.keys_file), self.filter),)
            case "sample":
                return (Sample(self.sample, self.filter),)
            case _:
                return (All(self.segments, self.filter),)

    @property
    def ways(self) -> tuple[str, ...]:
        """What was chosen, in words; exactly one makes sense."""
        given = (
            bool(self.interval_start or self.days or self.first_day or self.last_day),
            bool(self.partition_keys),
            bool(self.keys_file),
            self.sample != 0,
            self.whole_table,
        )
        return tuple(compress(_WAYS, given))

    def _chosen(self) -> str:
        chosen = self.ways
        if len(chosen) != 1:
            raise DataError(
                f"expected one choice of {', '.join(_WAYS)}, found {' and '.join(chosen) or 'none'}: give exactly one"
            )
        if (self.sort_key_first or self.sort_key_last) and not self.partition_keys:
            raise DataError("sort_key_first, sort_key_last: expected partition_keys with them, found none")
        return chosen[0]

    def _days(self, dates: Dates | None, table: str, now: datetime) -> list[date]:
        zone = _dated(dates, table).timezone
        if self.interval_start is not None:
            if self.days or self.first_day or self.last_day:
                raise DataError(
                    "expected the day of the backfill alone, found days, first_day or last_day as well: a run of a backfill replays the "
                    "day of its data interval; leave them out, or trigger a run instead"
                )
            return [day_of(self.interval_start, zone)]
        days = sorted({*self.days, *self._range()})
        if days[-1] > (today := day_of(now, zone)):
            raise DataError(f"days: expected up to today, {today} in {zone}, found {days[-1]}, which has not begun")
        if len(days) > MAX_DAYS:
            raise DataError(f"days: expected at most {MAX_DAYS} in a run, found {len(days):,}: split them, or take a backfill")
        return days

    def _range(self) -> list[date]:
        first, last = self.first_day, self.last_day
        if first is None and last is None:
            return []
        if first is None or last is None:
            raise DataError("expected both first_day and last_day, found one of them: give both, or name the days")
        if first > last:
            raise DataError(f"expected first_day up to last_day, found {first} and {last}")
        # One more than allowed tells as much as all of them.
        return [first + timedelta(days) for days in range(min((last - first).days, MAX_DAYS) + 1)]

    def _by_key(self, table: Keys) -> ByKey:
        if len(self.partition_keys) > MAX_KEYS:
            raise DataError(
                f"partition_keys: expected at most {MAX_KEYS:,}, found {len(self.partition_keys):,}: put them into keys_file"
            )
        name = table.partition_key
        first, last = (self._sort_key(table, end) for end in ("sort_key_first", "sort_key_last"))
        return ByKey(
            tuple(
                PartitionKey(key_value(given, table.key_types[name], f"partition_keys: {name}"), first, last)
                for given in self.partition_keys
            ),
            self.filter,
        )

    def _sort_key(self, table: Keys, end: str) -> AttributeValue | None:
        given = getattr(self, end)
        if not given:
            return None
        if table.sort_key is None:
            raise DataError(f"{end}: expected none, because the table {table.name} has no sort key, found {given!r}")
        return key_value(given, table.key_types[table.sort_key], f"{end}: {table.sort_key}")


def _dated(dates: Dates | None, table: str) -> Dates:
    if dates is None:
        raise DataError(
            f"table {table}: expected a date_index in its inventory entry, found none: without a global secondary index on a day "
            "there is no replay by date; choose keys, a sample or the whole table"
        )
    return dates


_NOTHING: tuple[Any, ...] = ("", None, "None", "null", "[]", [], ())


def _instant(given: Any) -> datetime:
    found = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
    if found.tzinfo is None:
        raise ValueError("it has no time zone")
    return found


def _day(given: Any) -> date:
    # fromisoformat takes 20261121 and 2026-W47-6 as well, in which a slip of the finger makes another day.
    if len(text := str(given)) != 10:
        raise ValueError("not in the form 2026-11-21")
    return date.fromisoformat(text)


def _list(given: Any) -> list[Any]:
    found = json.loads(given) if isinstance(given, str) else list(given)
    if not isinstance(found, list):
        raise TypeError("no list")
    return found


def _uri(given: Any) -> str:
    if not str(given).startswith("s3://"):
        raise ValueError("a worker's own disk is not that of others")
    return str(given)


def _whole(given: Any) -> int:
    if isinstance(given, bool) or int(text := str(given)) < 1:
        raise ValueError("not above 0")
    return int(text)


def _flag(given: Any) -> bool:
    return {"true": True, "false": False}[str(given).strip().lower()]


def _filter(given: Any) -> Filter:
    found = json.loads(given) if isinstance(given, str) else given
    if unknown := sorted(set(found) - {"expression", "names", "values"}):
        raise ValueError(f"{', '.join(unknown)} are no parts of a filter")
    return Filter(found["expression"], dict(found.get("names") or {}), decoded(found.get("values") or {}))


_READ: Mapping[str, Callable[[Any], Any]] = {
    "interval_start": _instant,
    "days": lambda given: tuple(map(_day, _list(given))),
    "first_day": _day,
    "last_day": _day,
    "partition_keys": lambda given: tuple(_list(given)),
    "sort_key_first": str,
    "sort_key_last": str,
    "keys_file": _uri,
    "sample": _whole,
    "whole_table": _flag,
    "segments": _whole,
    "filter": _filter,
}
_WORDS = {
    "interval_start": "a time with its zone, such as 2026-11-20T15:00:00+00:00",
    "days": "a list of days such as 2026-11-21",
    "first_day": "a day such as 2026-11-21",
    "last_day": "a day such as 2026-11-21",
    "partition_keys": "a list of keys",
    "sort_key_first": "a sort key",
    "sort_key_last": "a sort key",
    "keys_file": "an s3:// URI",
    "sample": "a whole number above 0",
    "whole_table": "true or false",
    "segments": "a whole number above 0",
    "filter": 'a filter such as {"expression": "#c = :c", "names": {"#c": "category"}, "values": {":c": {"S": "tools"}}}',
}

"""Which items a replay is about: values that can be written down, compared and found again by their digest."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from searchops.core.errors import DataError
from searchops.core.replay.model import AttributeValue, Key

MAX_KEYS = 1000
"""Partition keys of one `ByKey`: each is read and has a checkpoint of its own. More of them belong into a list in S3."""
MAX_SHARDS = 1000
MAX_SEGMENTS = 1_000_000  # DynamoDB's own limit of TotalSegments

# DynamoDB keeps 38 digits; the default context would round to 28.
_EXACT = Context(prec=60, Emax=999, Emin=-999)
# To days that differ from a day in one part alone, whatever the month: the day, the month (the 31st needs two of them), the year (29
# February needs four of them).
_OTHER_DAYS = tuple(timedelta(days) for days in (1, 7, 28, 29, 30, 31, 61, 365, 366, 1461))


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter expression of DynamoDB: it leaves items out after they were read, and paid for.

    :param names: of the placeholders, ``{"#status": "status"}``
    :param values: of the placeholders, ``{":live": {"S": "live"}}``
    """

    expression: str
    names: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ByDate:
    """The items of a day, by an index whose partition key is the date.

    :param values: of the index's partition key, as text: one, or one a shard (`day_values`)
    """

    index: str
    attribute: str
    day: date
    values: tuple[str, ...]
    filter: Filter | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise DataError(f"the day {self.day}: expected at least one value of {self.attribute}, found none")


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """The items of a partition key; ``sort_from`` and ``sort_to`` are the first and the last sort key that count, None for no end."""

    value: AttributeValue
    sort_from: AttributeValue | None = None
    sort_to: AttributeValue | None = None


@dataclass(frozen=True, slots=True)
class ByKey:
    """The items of up to 1,000 partition keys."""

    keys: tuple[PartitionKey, ...]
    filter: Filter | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= MAX_KEYS:
            raise DataError(
                f"partition keys: expected 1 to {MAX_KEYS:,}, found {len(self.keys):,}: put more of them into a list in S3"
            )


@dataclass(frozen=True, slots=True)
class ByKeys:
    """The items of a list: an object of S3 (plain or gzip) with a whole key a line.

    A line is DynamoDB's JSON, ``{"pk": {"S": "a"}, "sk": {"N": "1"}}`` with bytes as base64, or plain JSON, ``{"pk": "a", "sk": 1}``.

    :param etag: of the object that is meant; another one under the same name is refused
    """

    url: str
    etag: str
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The first items in the table's own order, which is that of the hashes of their partition keys: the same ones each time."""

    count: int
    filter: Filter | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"the sample: expected at least 1 item, found {self.count}")


@dataclass(frozen=True, slots=True)
class All:
    """The whole table by a parallel scan. ``segments`` says how it is read, not what: it is no part of the digest."""

    segments: int = 1
    filter: Filter | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.segments <= MAX_SEGMENTS:
            raise DataError(f"segments: expected 1 to {MAX_SEGMENTS:,}, found {self.segments:,}")


Selection = ByDate | ByKey | ByKeys | Sample | All


def day_of(instant: datetime, timezone: str) -> date:
    """The day of an instant where the table's dates are written.

    15:00 UTC is the first moment of the next day in Asia/Tokyo.

    :raises DataError: the instant has no time zone of its own, or ``timezone`` is none
    """
    if instant.tzinfo is None:
        raise DataError(f"the instant {instant.isoformat()}: expected a time zone, found none: write it as …+00:00")
    try:
        return instant.astimezone(ZoneInfo(timezone)).date()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(f"timezone: expected a name such as Asia/Tokyo, found {timezone!r}") from None


def day_values(day: date, fmt: str, shards: int = 0) -> tuple[str, ...]:
    """What the date attribute of a day's items holds.

    :param fmt: as of strftime: ``%Y%m%d``
    :param shards: 0 for dates as they are; n for ``20261121#0`` to ``20261121#<n-1>``
    :raises DataError: the format gives other days the same value
    """
    if not 0 <= shards <= MAX_SHARDS:
        raise DataError(f"shards: expected 0 to {MAX_SHARDS:,}, found {shards:,}")
    value = _formatted(day, fmt)
    if any(value == _formatted(other, fmt) for other in _neighbours(day)):
        raise DataError(
            f"the date format {fmt!r}: expected one that tells days apart, found {value!r} for {day} and for other days as well: "
            "it needs year, month and day, such as %Y%m%d"
        )
    return tuple(f"{value}#{shard}" for shard in range(shards)) or (value,)


def _formatted(day: date, fmt: str) -> str:
    try:
        return day.strftime(fmt)
    except ValueError as error:
        raise DataError(f"the date format {fmt!r}: expected one of strftime, such as %Y%m%d", reason=str(error)) from None


def _neighbours(day: date) -> list[date]:
    found = []
    for difference in _OTHER_DAYS:
        for sign in (1, -1):
            try:
                found.append(day + sign * difference)
            except OverflowError:  # the first and the last days that a date can hold
                continue
    return found


def canonical(selection: Selection) -> bytes:
    """The same bytes for selections of the same items.

    The order of keys and of placeholders does not count, nor how a number is written (``1.0`` is ``1``), nor the number of segments.
    """
    values = to_json(selection)
    values.pop("segments", None)
    if isinstance(selection, ByDate):
        values["values"] = sorted(set(selection.values))
    elif isinstance(selection, ByKey):
        keys = {json.dumps(_partition_json(key, normal=True), sort_keys=True) for key in selection.keys}
        values["keys"] = sorted(keys)
    if selection.filter is not None:
        values["filter"] = _filter_json(selection.filter, normal=True)
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(selection: Selection) -> str:
    return hashlib.sha256(canonical(selection)).hexdigest()


def to_json(selection: Selection) -> dict[str, Any]:
    """As JSON can hold it, to be read by `from_json`."""
    values = _own_json(selection)
    if selection.filter is not None:
        values["filter"] = _filter_json(selection.filter)
    return values


def _own_json(selection: Selection) -> dict[str, Any]:
    match selection:
        case ByDate():
            return {
                "kind": "date",
                "index": selection.index,
                "attribute": selection.attribute,
                "day": selection.day.isoformat(),
                "values": list(selection.values),
            }
        case ByKey():
            return {"kind": "key", "keys": [_partition_json(key) for key in selection.keys]}
        case ByKeys():
            return {"kind": "keys", "url": selection.url, "etag": selection.etag}
        case Sample():
            return {"kind": "sample", "count": selection.count}
        case All():
            return {"kind": "all", "segments": selection.segments}


def from_json(values: Mapping[str, Any]) -> Selection:
    """
    :raises DataError: this is no selection
    """
    try:
        return _from_json(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"expected a selection of items, found {str(values)[:120]!r}", reason=f"{type(error).__name__}: {error}"
        ) from error


def _from_json(values: Mapping[str, Any]) -> Selection:
    given = values.get("filter")
    filter = Filter(given["expression"], dict(given["names"]), decoded(given["values"])) if given else None
    match values["kind"]:
        case "date":
            day = date.fromisoformat(values["day"])
            return ByDate(values["index"], values["attribute"], day, tuple(values["values"]), filter)
        case "key":
            return ByKey(tuple(PartitionKey(**decoded(key)) for key in values["keys"]), filter)
        case "keys":
            return ByKeys(values["url"], values["etag"], filter)
        case "sample":
            return Sample(int(values["count"]), filter)
        case "all":
            return All(int(values["segments"]), filter)
        case other:
            raise ValueError(f"a selection of kind {other!r}")


def _partition_json(key: PartitionKey, *, normal: bool = False) -> dict[str, Any]:
    given = {"value": key.value, "sort_from": key.sort_from, "sort_to": key.sort_to}
    return encoded({name: value for name, value in given.items() if value is not None}, normal=normal)


def _filter_json(filter: Filter, *, normal: bool = False) -> dict[str, Any]:
    return {"expression": filter.expression, "names": dict(filter.names), "values": encoded(filter.values, normal=normal)}


def encoded(values: Mapping[str, AttributeValue], *, normal: bool = False) -> dict[str, Any]:
    """Attributes as JSON can hold them: bytes as base64 text.

    :param normal: numbers in the one form that equal numbers share
    """
    return {name: _encoded(value, normal) for name, value in values.items()}


def decoded(values: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """The way back from `encoded`."""
    return {name: _decoded(value) for name, value in values.items()}


def _encoded(value: AttributeValue, normal: bool) -> dict[str, Any]:
    ((type_, content),) = value.items()
    match type_:
        case "B":
            return {type_: base64.b64encode(content).decode()}
        case "BS":
            return {type_: sorted(base64.b64encode(entry).decode() for entry in content)}
        case "N" if normal:
            return {type_: normal_number(content)}
        case "NS" if normal:
            return {type_: sorted(map(normal_number, content))}
        case "SS" if normal:
            return {type_: sorted(content)}
        case "M":
            return {type_: encoded(content, normal=normal)}
        case "L":
            return {type_: [_encoded(entry, normal) for entry in content]}
        case _:
            return {type_: content}


def _decoded(value: Mapping[str, Any]) -> AttributeValue:
    ((type_, content),) = value.items()
    match type_:
        case "B":
            return {type_: base64.b64decode(content, validate=True)}
        case "BS":
            return {type_: [base64.b64decode(entry, validate=True) for entry in content]}
        case "M":
            return {type_: decoded(content)}
        case "L":
            return {type_: [_decoded(entry) for entry in content]}
        case _:
            return {type_: content}


def normal_number(text: str) -> str:
    """One spelling for equal numbers: ``1``, ``1.0`` and ``10e-1`` are the same key to DynamoDB.

    :raises DataError: it is no number
    """
    try:
        number = _EXACT.create_decimal(text)
        if number.is_finite():
            return "0" if number == 0 else str(number.normalize(_EXACT))
    except (InvalidOperation, TypeError, ValueError):
        pass
    raise DataError(f"expected a number, found {str(text)[:60]!r}")


def key_value(given: Any, type_: str, where: str) -> AttributeValue:
    """The value of a key attribute as a person writes it, for the low-level client.

    :param given: a text, a number, or DynamoDB's JSON of one (``{"N": "1"}``, bytes as base64)
    :param type_: S, N or B, as the table has it; for B a text is base64
    :param where: names the place for the error
    :raises DataError: it is of another type, or empty
    """
    content = given
    if isinstance(given, Mapping):
        if list(given) != [type_]:
            raise DataError(f"{where}: expected {_WORDS[type_]} ({type_}), found {', '.join(map(str, given)) or 'nothing'}")
        content = given[type_]
    try:
        return {type_: _READ[type_](content)}
    except (ValueError, TypeError, DataError):
        raise DataError(f"{where}: expected {_WORDS[type_]} ({type_}), found {str(given)[:60]!r}") from None


class Number(str):
    """A number of JSON with all its digits, told from a text that looks like one."""

    __slots__ = ()


def _text(content: Any) -> str:
    if type(content) is not str or not content:
        raise ValueError
    return content


def _number(content: Any) -> str:
    if isinstance(content, bool) or not isinstance(content, str | int | float | Decimal):
        raise ValueError
    normal_number(str(content))
    return str(content)


def _bytes(content: Any) -> bytes:
    found = content if isinstance(content, bytes) else base64.b64decode(_text(content), validate=True)
    if not found:
        raise ValueError
    return found


_READ = {"S": _text, "N": _number, "B": _bytes}
_WORDS = {"S": "a text that is not empty", "N": "a number", "B": "bytes as base64"}


def key_of(line: bytes, partition_key: str, sort_key: str | None, types: Mapping[str, str], where: str) -> Key:
    """The key on a line of a list; see `ByKeys`.

    :raises DataError: it is not a whole key of the table, and of nothing else
    """
    names = [partition_key, sort_key] if sort_key else [partition_key]
    try:
        found = json.loads(line, parse_int=Number, parse_float=Number)
    except ValueError:
        found = None
    if not isinstance(found, dict) or set(found) != set(names):
        wanted = ", ".join(f'"{name}": {{"{types[name]}": "…"}}' for name in names)
        raise DataError(f"{where}: expected a key {{{wanted}}}, found {line[:80].decode(errors='replace')!r}")
    return {name: key_value(found[name], types[name], f"{where}: {name}") for name in names}

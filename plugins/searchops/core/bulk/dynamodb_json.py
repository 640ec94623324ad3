"""DynamoDB JSON, ``{"pk": {"S": "a"}, "price": {"N": "1.10"}}``, as an export and a stream record of Lambda hold it: binary is base64 text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import orjson

from searchops.core.bulk.ids import Unfit

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)


def to_plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as JSON that a search can use: sets as lists, binary as base64 text, numbers with all their digits.

    :raises Unfit: an attribute of a type that DynamoDB does not have
    """
    return {name: _plain(value) for name, value in item.items()}


def attributes(item: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of the named attributes that the item has, to make ids and versions of; numbers exact."""
    return {name: _value(item[name]) for name in names if name in item}


def _plain(typed: Mapping[str, Any]) -> Any:
    ((type_, value),) = typed.items()
    try:
        return _PLAIN[type_](value)
    except KeyError:
        raise Unfit(f"expected a DynamoDB type ({', '.join(_PLAIN)}), found {type_!r}") from None


def _number(text: str) -> Any:
    """DynamoDB holds 38 digits, a float 17 and a 64-bit integer 19: the text itself stands in the JSON."""
    if _NUMBER.fullmatch(text) is None:
        raise Unfit(f"expected a number, found the text {text[:40]!r}")
    return orjson.Fragment(text)


def _same(value: Any) -> Any:
    return value


_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "S": _same,
    "N": _number,
    "BOOL": _same,
    "NULL": lambda value: None,
    "M": to_plain,
    "L": lambda values: [_plain(value) for value in values],
    "SS": _same,
    "NS": lambda values: [_number(value) for value in values],
    "B": _same,
    "BS": _same,
}


def _value(typed: Mapping[str, Any]) -> Any:
    ((type_, value),) = typed.items()
    if type_ == "N":
        if _NUMBER.fullmatch(value) is None:
            raise Unfit(f"expected a number, found the text {value[:40]!r}")
        return Decimal(value)
    return value

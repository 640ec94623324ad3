"""Lines of a DynamoDB export in the format DYNAMODB_JSON.

A full export holds ``{"Item": {…}}``, an incremental one ``{"Metadata": …, "Keys": {…}, "NewImage": {…}, "OldImage": {…}}``, in
which a deleted item has no NewImage (developer guide, S3DataExport.Output). Attributes are typed: ``{"pk": {"S": "a"}}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson

from searchops.core.bulk.ids import Unfit
from searchops.core.bulk.model import Operation
from searchops.core.bulk.sources.lines import Parse
from searchops.core.bulk.sources.model import Make, Recipe

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)


def export_parser(recipe: Recipe, make: Make) -> Parse:
    needed = recipe.needed

    def parse(line: bytes, position: int) -> Operation:
        record = orjson.loads(line)
        if type(record) is not dict:
            raise Unfit(f"expected a line of a DynamoDB export, found a {type(record).__name__}")
        image = record.get("Item") or record.get("NewImage")
        try:
            if image is not None:
                return make(_values(image, needed), orjson.dumps(to_plain(image)), position)
            if "Keys" in record:
                last = record.get("OldImage")
                return recipe.deletion(_values(record["Keys"], needed), _values(last, needed) if last else None)
        except (AttributeError, TypeError, ValueError) as error:
            raise Unfit(f'expected attributes in DynamoDB JSON, such as {{"S": "a"}}: {error}') from None
        raise Unfit("expected a line of a DynamoDB export (Item, or Keys with NewImage or OldImage), found none of them")

    return parse


def to_plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as JSON that a search can use: sets as lists, binary as base64 text, numbers with all their digits.

    :raises Unfit: an attribute of a type that DynamoDB does not have
    """
    return {name: _plain(value) for name, value in item.items()}


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
    "B": _same,  # is base64 text in an export
    "BS": _same,
}


def _values(image: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The attributes that ids and versions are made of; numbers exact."""
    return {name: _value(image[name]) for name in names if name in image}


def _value(typed: Mapping[str, Any]) -> Any:
    ((type_, value),) = typed.items()
    if type_ == "N":
        if _NUMBER.fullmatch(value) is None:
            raise Unfit(f"expected a number, found the text {value[:40]!r}")
        return Decimal(value)
    return value

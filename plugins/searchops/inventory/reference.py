"""The reference of the inventory for people, as Markdown, written from the models."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from searchops.inventory.models import File, Model
from searchops.inventory.types import (
    Cron,
    DateFormat,
    Duration,
    Flag,
    Key,
    Matching,
    PackageId,
    ProjectPath,
    Source,
    Text,
    TimeZone,
    format_duration,
)

HEAD = """\
# The inventory, field by field

What `include/searchops.yaml` may hold. Written by `python -m searchops.inventory reference` from the models in
`plugins/searchops/inventory`, so change those. What a setting does to a dictionary sync is told in
[its own page](dictionary_sync.md#the-inventory-of-this-job).

A key that is not listed here is a mistake, and so is one that is given twice. Rules between two fields are not in the tables:
`python -m searchops.inventory check` knows them all, and names file, line and field.

Text is never empty. A duration is written in d, h, m and s, in this order: `2h`, `1h30m`, `45s`. A path is relative to the folder above
that of the inventory. A `<key>` is chosen by you: 1 to 100 of A-Z, a-z, 0-9 and `_ . -`, the first a letter or a digit. `none` as a
default stands for nothing at all.
"""

# Forms that a function checks have no words of their own; `Matching` has.
WORDS: Sequence[tuple[Any, str]] = (
    (Text, "text"),
    (Flag, "`true` or `false`"),
    (Duration, "a duration such as `2h`"),
    (Cron, "a cron expression of five fields, such as `0 3 * * *`"),
    (DateFormat, "a date in the words of strftime, such as `%Y%m%d`"),
    (TimeZone, "a time zone such as `Asia/Tokyo` or `UTC`"),
    (PackageId, "the id of a custom package: F and digits"),
    (Key, "a key"),
    (ProjectPath, "a path inside the project"),
    (Source, "a path inside the project, or `s3://bucket/key`"),
    (str, "text"),
    (int, "a whole number"),
    (float, "a number"),
    (bool, "`true` or `false`"),
)
LIMITS = {
    Ge: "at least {.ge}",
    Gt: "more than {.gt}",
    Le: "at most {.le}",
    Lt: "less than {.lt}",
    MinLen: "length at least {.min_length}",
    MaxLen: "length at most {.max_length}",
}


def reference() -> str:
    """The page, one table for each mapping of the file."""
    sections = [
        _section(name, hint) for name, hint in get_type_hints(File, include_extras=True).items() if name in File.model_fields
    ]
    return "\n".join([HEAD, *sections])


def _section(name: str, hint: Any) -> str:
    if get_origin(hint) is not dict:
        return mapping(name, hint)
    key, entry = get_args(hint)
    if key == Key:
        return mapping(f"{name}.<key>", entry)
    return mapping(f"{name}.<name>", entry, f"`<name>` is {_words(key, name).rstrip('.')}.")


def mapping(place: str, model: type[Model], more: str = "", level: int = 2) -> str:
    """A mapping, then those inside it."""
    hints = get_type_hints(model, include_extras=True)
    rows = [_row(place, name, field, hints[name]) for name, field in model.model_fields.items()]
    lines = [
        f"{'#' * level} `{place}`",
        "",
        f"{_about(model)} {_cell(more)}".strip(),
        "",
        "| field | value | default | meaning |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    inner = [
        mapping(_inside(place, name, hints[name]), found, level=3)
        for name in model.model_fields
        for found in _models(hints[name])
    ]
    return "\n".join([*lines, *inner])


def _row(place: str, name: str, field: FieldInfo, hint: Any) -> str:
    limits = [words.format(limit) for limit in field.metadata for kind, words in LIMITS.items() if type(limit) is kind]
    value = ", ".join(dict.fromkeys([_words(hint, _inside(place, name, hint)), *limits]))
    return f"| `{name}` | {_cell(value)} | {_default(field)} | {_cell(field.description or '')} |"


def _words(hint: Any, place: str) -> str:
    """A type in words; ``place`` is where a mapping inside it is described.

    :raises NotImplementedError: a type that has no words yet
    """
    for known, words in WORDS:
        if hint == known:
            return words
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        expected = [part.expected for part in arguments[1:] if isinstance(part, Matching)]
        return expected[0] if expected else _words(arguments[0], place)
    if origin is Literal:
        return _either([f"`{value}`" for value in arguments])
    if origin in (Union, types.UnionType):
        return _either([_words(argument, place) for argument in arguments if argument is not type(None)])
    if origin is tuple:
        return f"a list, each {_words(arguments[0], place)}"
    if inspect.isclass(hint) and issubclass(hint, Model):
        return f"[a mapping](#{_anchor(place)})"
    raise NotImplementedError(f"{place or 'a key'}: expected a type with words in {__name__}.WORDS, found {hint}")


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Model):
        return "as below"
    if value is None or value == ():
        return "none"
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _models(hint: Any) -> Iterator[type[Model]]:
    if inspect.isclass(hint) and issubclass(hint, Model):
        yield hint
    for argument in get_args(hint):
        yield from _models(argument)


def _inside(place: str, name: str, hint: Any) -> str:
    return f"{place}.{name}{'[]' if 'tuple[' in str(hint) else ''}"


def _about(model: type[Model]) -> str:
    return re.sub(r"\s+", " ", inspect.getdoc(model) or "").replace("``", "`")


def _anchor(heading: str) -> str:
    """The id that GitHub gives to a heading."""
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


def _cell(words: str) -> str:
    """Outside of code, Markdown would read some signs as its own; a bar ends a cell everywhere."""
    parts = re.split(r"(`[^`]*`|\[[^\]]*\]\([^)]*\))", words)
    plain = [part if number % 2 else re.sub(r"([\\*<>])", r"\\\1", part) for number, part in enumerate(parts)]
    return "".join(plain).replace("|", "\\|")

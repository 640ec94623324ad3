"""Say what is wrong with an entry so that its author can mend it: file, path, what was expected, what was found, line."""

from __future__ import annotations

import difflib
import reprlib
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def path_text(path: Sequence[str | int]) -> str:
    """``("domains", "x", "packages", 0)`` as ``domains.x.packages[0]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def suggestion(wrong: object, known: Iterable[object]) -> str:
    names = sorted(map(str, known))
    close = difflib.get_close_matches(str(wrong), names, n=1)
    return f"expected one of {', '.join(names) or '(there is none)'}" + (f'; did you mean "{close[0]}"?' if close else "")


def found(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else reprlib.repr(value)


def explain(error: ValidationError, model: type[BaseModel]) -> list[tuple[tuple[str | int, ...], str]]:
    """The path inside the entry and a sentence, for each mistake that pydantic found."""
    return [(detail["loc"], _sentence(detail, model)) for detail in error.errors(include_url=False)]


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    match detail["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return f"unknown key; {suggestion(detail['loc'][-1], _keys_at(model, detail['loc'][:-1]))}"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "model_type" | "dict_type":
            return f"expected a mapping, found {found(detail['input'])}"
        case "tuple_type":
            return f"expected a list, found {found(detail['input'])}"
        case "string_type":
            return f"expected text, found {found(detail['input'])}" + _QUOTES.get(type(detail["input"]), "")
        case "invalid_key":
            return "a key has to be text; put it in quotes"
        case "too_short":
            return f"expected at least {detail['ctx']['min_length']} in the list, found {len(detail['input'])}"
        case "string_too_short":
            return 'expected text, found ""'
        case _:
            expected = detail["msg"].removeprefix("Input should be ")
            return f"expected {expected}, found {found(detail['input'])}"


# 0300, 1:30, on and no are numbers and booleans in YAML 1.1.
_QUOTES = dict.fromkeys((bool, int, float), "; put it in quotes")


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    for step in path:
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in typing.get_args(annotation) if (model := _model_in(part))), None)

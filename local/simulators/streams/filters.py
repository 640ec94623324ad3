"""FilterCriteria: which records a function gets at all.

Source: Lambda developer guide, "Control which events Lambda sends to your function", filter rule syntax. Numbers of DynamoDB are texts
(``{"N": ["100"]}``): "numeric" never fits them, as in AWS.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

_COMPARE = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_ABSENT = object()


def passes(record: Mapping[str, Any], patterns: Iterable[str]) -> bool:
    """True when one of the patterns fits, or when there are none.

    :raises ValueError: a pattern with a rule that is not known
    """
    parsed = [_parse(pattern) for pattern in patterns]
    return not parsed or any(_fits(record, pattern) for pattern in parsed)


@lru_cache
def _parse(pattern: str) -> Any:
    return json.loads(pattern)


def _fits(value: Any, pattern: Mapping[str, Any]) -> bool:
    return all(_member_fits(value, name, wanted) for name, wanted in pattern.items())


def _member_fits(value: Any, name: str, wanted: Any) -> bool:
    if name == "$or":
        return any(_fits(value, choice) for choice in wanted)
    found = value.get(name, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    if isinstance(wanted, Mapping):
        return _fits({} if found is _ABSENT else found, wanted)
    candidates = found if isinstance(found, list) and found else [found]
    return any(_rule_fits(candidate, rule) for candidate in candidates for rule in wanted)


def _rule_fits(found: Any, rule: Any) -> bool:
    if not isinstance(rule, Mapping):
        return found is not _ABSENT and type(found) is type(rule) and bool(found == rule)
    ((name, wanted),) = rule.items()
    if name == "exists":
        return (found is not _ABSENT) is wanted
    if name not in _RULES:
        raise ValueError(f"filter rule {rule!r}: expected one of exists, {', '.join(_RULES)}")
    return found is not _ABSENT and _RULES[name](found, wanted)


def _numeric(found: Any, wanted: Sequence[Any]) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return all(_COMPARE[sign](found, bound) for sign, bound in zip(wanted[::2], wanted[1::2], strict=True))


def _anything_but(found: Any, wanted: Any) -> bool:
    refused = wanted if isinstance(wanted, list) else [wanted]
    return not any(_rule_fits(found, rule) for rule in refused)


_RULES: Mapping[str, Callable[[Any, Any], bool]] = {
    "prefix": lambda found, wanted: isinstance(found, str) and found.startswith(wanted),
    "suffix": lambda found, wanted: isinstance(found, str) and found.endswith(wanted),
    "equals-ignore-case": lambda found, wanted: isinstance(found, str) and found.lower() == wanted.lower(),
    "anything-but": _anything_but,
    "numeric": _numeric,
}

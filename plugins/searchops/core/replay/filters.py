"""Which stream records an event source mapping passes on: what a filter of it says to the record of a touch.

The rules are those of the Lambda developer guide, "Control which events Lambda sends to your function". Patterns of one mapping are
alternatives, members of one pattern have to hold together, rules in a list are alternatives.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from searchops.core.errors import DataError

MODIFY = "MODIFY"
"""The event of every touch: the item was there before."""
_CONTENT = "dynamodb"
"""The member of a record that holds keys and images."""
_ABSENT = object()
_COMPARE = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def patterns_of(mapping: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """
    :param mapping: EventSourceMappingConfiguration of the Lambda API
    :raises DataError: a pattern is no JSON object; or its filters are encrypted with a key that we may not use
    """
    if problem := mapping.get("FilterCriteriaError"):
        raise DataError(
            "the filters of the mapping cannot be read", reason=f"{problem.get('ErrorCode')}: {problem.get('Message')}"
        )
    found = []
    for entry in (mapping.get("FilterCriteria") or {}).get("Filters") or ():
        try:
            pattern = json.loads(entry["Pattern"])
        except (KeyError, ValueError):
            pattern = None
        if not isinstance(pattern, dict):
            raise DataError(f"expected a filter pattern, found {str(entry)[:120]}")
        found.append(pattern)
    return tuple(found)


def may_pass_touches(pattern: Mapping[str, Any]) -> bool:
    """Whether a MODIFY can pass, whatever the item holds; its content is left out of account."""
    return _all_hold(
        {"eventName": MODIFY, "eventSource": "aws:dynamodb"}, pattern, skip=(_CONTENT, "eventID", "awsRegion", "eventVersion")
    )


def asks_for_content(pattern: Mapping[str, Any]) -> bool:
    return _CONTENT in pattern or any(_CONTENT in choice for choice in pattern.get("$or", ()))


def passes(record: Mapping[str, Any], patterns: Sequence[Mapping[str, Any]]) -> bool:
    """
    :param record: as Lambda hands it over
    :raises DataError: a rule that is not known here
    """
    return not patterns or any(_all_hold(record, pattern) for pattern in patterns)


def _all_hold(value: Any, pattern: Mapping[str, Any], skip: Sequence[str] = ()) -> bool:
    return all(_holds(value, name, wanted, skip) for name, wanted in pattern.items() if name not in skip)


def _holds(value: Any, name: str, wanted: Any, skip: Sequence[str]) -> bool:
    if name == "$or":
        return any(_all_hold(value, choice, skip) for choice in wanted)
    found = value.get(name, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    if isinstance(wanted, Mapping):
        return _all_hold({} if found is _ABSENT else found, wanted)
    candidates = found if isinstance(found, list) and found else [found]
    return any(_fits(candidate, rule) for candidate in candidates for rule in wanted)


def _fits(found: Any, rule: Any) -> bool:
    if not isinstance(rule, Mapping):
        return found is not _ABSENT and type(found) is type(rule) and bool(found == rule)
    ((name, wanted),) = rule.items()
    if name == "exists":
        return (found is not _ABSENT) is wanted
    if name not in _RULES:
        raise DataError(f"filter rule {name!r}: expected one of exists, {', '.join(_RULES)}")
    return found is not _ABSENT and _RULES[name](found, wanted)


def _numeric(found: Any, wanted: Sequence[Any]) -> bool:
    """Numbers of DynamoDB are texts in a record, so that this holds for none of them, as in Lambda."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return all(_COMPARE[sign](found, bound) for sign, bound in zip(wanted[::2], wanted[1::2], strict=True))


def _anything_but(found: Any, wanted: Any) -> bool:
    return not any(_fits(found, rule) for rule in (wanted if isinstance(wanted, list) else [wanted]))


_RULES: Mapping[str, Callable[[Any, Any], bool]] = {
    "prefix": lambda found, wanted: isinstance(found, str) and found.startswith(wanted),
    "suffix": lambda found, wanted: isinstance(found, str) and found.endswith(wanted),
    "equals-ignore-case": lambda found, wanted: isinstance(found, str) and found.lower() == str(wanted).lower(),
    "anything-but": _anything_but,
    "numeric": _numeric,
}

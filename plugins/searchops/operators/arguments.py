"""Arguments that may have come through a template, as text."""

from __future__ import annotations

from collections.abc import Sequence

from searchops.core.errors import DataError


def is_true(value: bool | str) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes")


def is_false(value: bool | str) -> bool:
    """Not the same as not true: of a text that is not understood neither holds."""
    return value is False or str(value).strip().lower() in ("false", "0", "no")


def as_list(value: str | Sequence[str]) -> list[str]:
    """A list, or its JSON."""
    import json

    return list(json.loads(value)) if isinstance(value, str) else list(value)


def as_limit(value: int | str | None) -> int | None:
    """How many at most; None, or an empty text, for no limit.

    :raises DataError: no whole number above 0, which is no limit that anybody means
    """
    text = "" if value is None else str(value).strip()
    if text in ("", "None"):
        return None
    if not text.isdecimal() or int(text) < 1:
        raise DataError(f"limit: expected a whole number above 0, or nothing for all, found {text!r}")
    return int(text)

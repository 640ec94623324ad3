"""Arguments that may have come through a template, as text."""

from __future__ import annotations

from collections.abc import Sequence


def is_true(value: bool | str) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes")


def as_list(value: str | Sequence[str]) -> list[str]:
    """A list, or its JSON."""
    import json

    return list(json.loads(value)) if isinstance(value, str) else list(value)

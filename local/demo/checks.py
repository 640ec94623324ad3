"""What an act shows, and how it says that something did not come true."""

from __future__ import annotations

from typing import Any

Facts = dict[str, Any]


class NotTrue(Exception):
    """What an act promised did not happen."""


def require(condition: bool, expected: str, found: object = "") -> None:
    if not condition:
        raise NotTrue(f"expected {expected}" + (f", found {found}" if found != "" else ""))

"""What a look at a table finds before it is replayed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """The replay would fail, or do harm."""
    WARNING = "warning"
    """It would be slower, dearer, or not what somebody expects."""
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was expected of what, what was found, and what to do about it."""

    level: Level
    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}, found {self.found}" + (f": {self.remedy}" if self.remedy else "")

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def error(what: str, found: str, remedy: str) -> Finding:
    return Finding(Level.ERROR, what, found, remedy)


def warning(what: str, found: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, what, found, remedy)


def note(what: str, found: str, remedy: str = "") -> Finding:
    return Finding(Level.NOTE, what, found, remedy)

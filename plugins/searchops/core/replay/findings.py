"""What a look at a table finds before it is replayed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from searchops.core.errors import DataError
from searchops.core.replay.table import TableFacts


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


class NotFit(DataError):
    """The table cannot be replayed as it is."""


@dataclass(frozen=True, slots=True)
class Preflight:
    facts: TableFacts
    findings: tuple[Finding, ...]

    def of(self, level: Level) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level is level)

    def require(self) -> TableFacts:
        """
        :raises NotFit: there is an error among the findings; its text holds them all
        """
        if errors := self.of(Level.ERROR):
            raise NotFit(
                f"table {self.facts.name} cannot be replayed: {'; '.join(map(str, errors))}",
                facts={f"Error {number}": str(error) for number, error in enumerate(errors, 1)},
            )
        return self.facts


def error(what: str, found: str, remedy: str) -> Finding:
    return Finding(Level.ERROR, what, found, remedy)


def warning(what: str, found: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, what, found, remedy)


def note(what: str, found: str, remedy: str = "") -> Finding:
    return Finding(Level.NOTE, what, found, remedy)

"""Files of a test, and what a load reads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from searchops.core.bulk.model import Operation, Unreadable
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources import Format, IdRule, IdScheme, Recipe, open_input, plan_inputs

BY_ATTRIBUTES = IdRule(IdScheme.ATTRIBUTES, ("id",))
VERSIONED = Recipe(BY_ATTRIBUTES, VersionScheme.ATTRIBUTE, "revision")
ONCE = Recipe(BY_ATTRIBUTES, VersionScheme.ONCE)

Read = list[Operation | Unreadable]


def read(path: Path | str, recipe: Recipe = VERSIONED, *, s3: Any = None, start: int = 0, format: Format | None = None) -> Read:
    """Everything that a load of a file or folder reads, from a position of its only input on."""
    inputs = plan_inputs(s3, [str(path)], recipe, format=format)
    if start:
        assert len(inputs) == 1
    return [operation for given in inputs for operation in open_input(s3, given, recipe)(start)]


def reasons(operations: Read) -> list[str]:
    return [operation.reason for operation in operations if isinstance(operation, Unreadable)]


def documents(operations: Read) -> list[Operation]:
    return [operation for operation in operations if isinstance(operation, Operation)]

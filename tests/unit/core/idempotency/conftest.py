from __future__ import annotations

from datetime import timedelta

import pytest

from searchops.core.idempotency.guard import Guard
from tests.unit.core.idempotency.memory_table import MemoryTable


class Clock:
    """Seconds, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table() -> MemoryTable:
    return MemoryTable()


@pytest.fixture
def guard(table: MemoryTable, clock: Clock) -> Guard:
    return Guard(table, table="claims", namespace="test", lease=timedelta(seconds=60), keep=timedelta(days=7), clock=clock)

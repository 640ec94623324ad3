from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from searchops.core.idempotency.guard import Guard
from searchops.core.idempotency.table import create_claims_table

LEASE = timedelta(seconds=60)


@pytest.fixture(scope="session")
def claims_table(dynamodb: Any) -> str:
    create_claims_table(dynamodb, "claims-of-tests")
    return "claims-of-tests"


@pytest.fixture
def new_guard(dynamodb: Any, claims_table: str) -> Callable[..., Guard]:
    """Guards of one namespace, which no other test has; ``ahead``: seconds that the guard's clock is ahead of the real one."""
    import time

    namespace = uuid.uuid4().hex

    def new(ahead: float = 0, **settings: Any) -> Guard:
        given = {"client": dynamodb, "table": claims_table, "namespace": namespace, "lease": LEASE}
        return Guard(clock=lambda: time.time() + ahead, **given | settings)

    return new

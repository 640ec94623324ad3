"""A handler whose lease is short: with the real one a successor waits until the function's time-out and 10 s have passed."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from handler import _once


def handler(event: Any, context: Any) -> dict[str, Any]:
    return _once()(event, lambda: timedelta(seconds=float(os.environ["LEASE_SECONDS"])))

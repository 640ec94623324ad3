"""A hand-over stream for a benchmark."""

from __future__ import annotations

import time
from typing import Any

LONGEST_SECONDS = 120.0


def make_stream(stream: Any) -> None:
    """Make it and come back when it is ACTIVE.

    :param stream: a `HandOverStream`
    :raises TransientError: it was not after two minutes
    """
    from searchops.core.errors import TransientError

    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            stream.install()
            return
        except TransientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)

"""A hand-over stream for a benchmark."""

from __future__ import annotations

from typing import Any

from local.demo.functions import wait_until

LONGEST_SECONDS = 120.0


def make_stream(stream: Any) -> None:
    """Make it and come back when it is ACTIVE.

    :param stream: a `HandOverStream`
    :raises TimeoutError: it was not after two minutes
    """
    from searchops.core.errors import TransientError

    def active() -> bool:
        try:
            stream.install()
        except TransientError:
            return False
        return True

    wait_until(active, f"the stream {stream.stream.name} is ACTIVE", LONGEST_SECONDS)

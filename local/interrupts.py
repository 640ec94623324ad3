"""What Ctrl-C does to a command that starts processes."""

from __future__ import annotations

import os
import signal

EXIT_INTERRUPTED = 128 + signal.SIGINT
_STDERR = 2


def stop_at_the_first_interrupt() -> None:
    """Make Ctrl-C say at once that all is being stopped, and raise KeyboardInterrupt; another one does not disturb the stopping."""
    signal.signal(signal.SIGINT, _stop)


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(_STDERR, b"\nStopping ...\n")  # print() may be what was interrupted
    raise KeyboardInterrupt

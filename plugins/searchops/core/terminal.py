"""One line on a terminal that is drawn over, with a bar."""

from __future__ import annotations

import shutil
from typing import TextIO

_BAR = 24


def show(stream: TextIO, line: str, *, share: float | None, last: bool) -> None:
    """Draw the line over the one before; write it as a line of its own to what is no terminal.

    :param share: of the bar that is full, from 0 to 1; None draws none
    :param last: leave it there
    """
    if not stream.isatty():
        print(line, file=stream, flush=True)
        return
    full = int(_BAR * min(1.0, share or 0.0))
    bar = "" if share is None else f"[{'#' * full}{'.' * (_BAR - full)}] "
    columns = shutil.get_terminal_size().columns  # a line that wraps could not be drawn over
    end = "\n" if last else ""
    print(f"\r\x1b[K{(bar + line)[: columns - 1]}", end=end, file=stream, flush=True)

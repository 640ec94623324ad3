from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import pytest

from local.demo.application import STEP, Application, last_writes, name_of, writes

KEYS = [{"id": {"S": "a"}}, {"id": {"S": "b"}}]


class Table:
    """Takes writes until it is cut off."""

    def __init__(self, takes: int) -> None:
        self.left = takes

    def _take(self, **_: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("cut off")

    put_item = update_item = delete_item = _take


def test_what_is_written_follows_from_the_seed_and_every_write_is_newer() -> None:
    some = list(itertools.islice(writes(KEYS, 7), 50))

    assert some == list(itertools.islice(writes(KEYS, 7), 50))
    assert some != list(itertools.islice(writes(KEYS, 8), 50))
    assert {write.operation for write in some} == {"put", "update", "delete"}
    assert [write.revision for write in some] == [number * STEP for number in range(1, 51)]


def test_the_log_says_what_was_written_last_and_what_is_in_doubt(tmp_path: Path) -> None:
    lines = io.StringIO()
    application = Application(Table(takes=9), "t", lines, {})
    planned = list(itertools.islice(writes(KEYS, 7), 10))
    for write in planned[:9]:
        application.send(write)
    with pytest.raises(ConnectionError):
        application.send(planned[9])
    log = tmp_path / "log"
    log.write_text(lines.getvalue())

    last = last_writes(log)
    lost = planned[-1]
    assert last[name_of(lost.key)].in_doubt
    for key in KEYS:
        done = [write.number for write in planned[:9] if write.key == key]
        found = last[name_of(key)].done
        assert (found.number if found else None) == (done[-1] if done else None)

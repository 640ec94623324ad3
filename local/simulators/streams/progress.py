"""How far the records of each shard are done, in memory and in a file."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from local.simulators.streams.records import Record

SHARD_END = "SHARD_END"


class Progress:
    """The records of one shard that are read and not yet behind its checkpoint. Not safe for threads."""

    def __init__(self, checkpoint: str | None = None) -> None:
        self.checkpoint = checkpoint
        self.read_count = 0
        self.done_count = 0
        self._open: deque[Record] = deque()
        self._done: set[str] = set()

    @property
    def open_count(self) -> int:
        return len(self._open) - len(self._done)

    @property
    def oldest(self) -> Record | None:
        """The first that is not done."""
        return self._open[0] if self._open else None

    def add(self, records: Iterable[Record]) -> None:
        before = len(self._open)
        self._open.extend(records)
        self.read_count += len(self._open) - before

    def done(self, records: Iterable[Record]) -> bool:
        """Count records as done; True when that moves the checkpoint: to the last record before which none is open."""
        self._done.update(record.local for record in records)
        before = self.checkpoint
        while self._open and self._open[0].local in self._done:
            self.checkpoint = self._open.popleft().local
            self._done.remove(self.checkpoint)
            self.done_count += 1
        return self.checkpoint != before


class Checkpoints:
    """The checkpoints of all mappings by their uuid and shard, in a file that outlives the process; safe for threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._kept: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def of(self, mapping: str) -> Mapping[str, str] | None:
        """By shard; None for a mapping that has never begun."""
        with self._lock:
            found = self._kept.get(mapping)
            return None if found is None else dict(found)

    def keep(self, mapping: str, checkpoints: Mapping[str, str]) -> None:
        with self._lock:
            self._kept.setdefault(mapping, {}).update(checkpoints)
            self._write()

    def forget_all_but(self, mappings: Collection[str]) -> None:
        """Forget mappings that were deleted."""
        with self._lock:
            gone = [mapping for mapping in self._kept if mapping not in mappings]
            for mapping in gone:
                del self._kept[mapping]
            if gone:
                self._write()

    def _write(self) -> None:
        unfinished = self._file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self._kept), encoding="utf-8")
        unfinished.rename(self._file)

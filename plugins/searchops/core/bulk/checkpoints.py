"""Checkpoints in a file, for a program of ten lines; a DAG has its task state, a function S3 (`stores.S3Checkpoints`)."""

from __future__ import annotations

import os
from pathlib import Path


class FileCheckpoints:
    """`effects.CheckpointStore`. One file for one run of one input; it is whole at any time, also after a crash."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def load(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def save(self, checkpoint: bytes) -> None:
        written = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        with written.open("wb") as file:
            file.write(checkpoint)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._path)

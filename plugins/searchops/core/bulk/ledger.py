"""The books of a run: how far each input is, and where its documents have ended.

A checkpoint is the prefix of ended batches with its counts. What lies behind it is done again after a crash, and only the last end
counts, so the sum stays right however often a run is killed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Self

from searchops.core.bulk.effects import CheckpointStore
from searchops.core.bulk.model import BatchResult, Counts
from searchops.core.errors import DataError

_FORMAT = 1


class Unbalanced(DataError):
    """The ends do not add up to what was accepted: a count can not be trusted."""


def check(counts: Counts, accepted: int | None = None) -> None:
    """
    :param accepted: how many documents the input holds, where that is known
    :raises Unbalanced: accepted is not indexed + superseded + rejected + handed over
    """
    expected = counts.accepted if accepted is None else accepted
    if counts.ended != expected or counts.accepted != expected:
        raise Unbalanced(
            f"expected {expected:,} ends, found {counts.ended:,} ({counts.indexed:,} indexed + {counts.superseded:,} superseded + "
            f"{counts.rejected:,} rejected + {counts.handed_over:,} handed over) of {counts.accepted:,} accepted"
        )


@dataclass(slots=True)
class Checkpoint:
    """``position`` is the first document that may have no end yet, ``batch`` the number of the batch that begins there."""

    input: str
    position: int = 0
    batch: int = 0
    counts: Counts = field(default_factory=Counts)
    complete: bool = False

    def to_json(self) -> bytes:
        values = {
            "format": _FORMAT,
            "input": self.input,
            "position": self.position,
            "batch": self.batch,
            "counts": self.counts.to_dict(),
            "complete": self.complete,
        }
        return json.dumps(values).encode()

    @staticmethod
    def batch_of(data: bytes) -> int:
        """Number of the batch that a try with this checkpoint begins with.

        :raises DataError: it is none of ours
        """
        try:
            return int(json.loads(data)["batch"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"expected a checkpoint that searchops wrote, found {data[:80]!r}") from error

    @classmethod
    def from_json(cls, data: bytes, input: str) -> Self:
        """:raises DataError: it is none of ours, or of another input"""
        try:
            values = json.loads(data)
            if values["format"] != _FORMAT:
                raise ValueError(f"format {values['format']}")
            found = cls(
                str(values["input"]),
                int(values["position"]),
                int(values["batch"]),
                Counts.from_dict(values["counts"]),
                bool(values["complete"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"checkpoint of {input}: expected one that searchops wrote, found {data[:80]!r}") from error
        if found.input != input:
            raise DataError(
                f"checkpoint of {input}: expected this input, found {found.input}: the source, or the index, has changed since; "
                "start a new run"
            )
        return found


class Ledger:
    """The books of one input, kept by the thread that reads it.

    :param store: None keeps them in memory alone
    """

    def __init__(self, store: CheckpointStore | None = None, input: str = "") -> None:
        self._store = store
        stored = store.load() if store is not None else None
        self.checkpoint = Checkpoint.from_json(stored, input) if stored is not None else Checkpoint(input)
        self.counts = Counts()
        """Of the whole input so far, with what lies behind the checkpoint."""
        self.counts.add(self.checkpoint.counts)
        self._ahead: dict[int, BatchResult] = {}
        self._saved = self.checkpoint.position

    def take(self, result: BatchResult) -> None:
        """Note a batch all of whose documents have ended; batches may come in any order."""
        self.counts.add(result.counts)
        self._ahead[result.number] = _without_bodies(result)
        while (following := self._ahead.pop(self.checkpoint.batch, None)) is not None:
            self.checkpoint.position = following.first + following.counts.accepted
            self.checkpoint.batch += 1
            self.checkpoint.counts.add(following.counts)

    def save(self) -> None:
        """Write the checkpoint where it has moved."""
        if self._store is not None and self.checkpoint.position != self._saved:
            self._store.save(self.checkpoint.to_json())
            self._saved = self.checkpoint.position

    def close(self) -> Counts:
        """The input is read to its end and every batch has ended.

        :raises Unbalanced: the books do not add up
        """
        if self._ahead:
            raise Unbalanced(f"batch {self.checkpoint.batch} has no end, {len(self._ahead)} later ones have")
        check(self.checkpoint.counts, self.checkpoint.position)
        self.checkpoint.complete = True
        if self._store is not None:
            self._store.save(self.checkpoint.to_json())
        return self.checkpoint.counts


def _without_bodies(result: BatchResult) -> BatchResult:
    return BatchResult(result.number, result.first, (), result.counts)

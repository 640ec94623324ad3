"""The place of records that can not be indexed: ``rejected/<index>/stream_indexer-<day>/<digest>/00000000.ndjson.gz``, a line a record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from searchops.core.bulk.model import Rejected
from searchops.core.bulk.places import input_name, rejected_key
from searchops.core.bulk.stores import RejectedObjects
from searchops.core.streams.consumer import DeadLetter

RUN = "stream_indexer"


def run_of(seconds: float) -> str:
    """The run of a day: what is handed over or set aside on it stands together.

    :param seconds: since the epoch
    """
    return f"{RUN}-{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


class DeadLetterObjects:
    """One object for what a batch leaves, in the format of a load's rejected documents (`stores.read_rejected`): position, id, kind, reason,
    where (table and sequence number), and as the document the whole record.

    Its key follows from the records, so that a batch that comes twice leaves one object. Where it was cut otherwise the second time, a
    record stands in two.
    """

    def __init__(self, s3: Any, bucket: str, index: str, clock: Callable[[], float] = time.time) -> None:
        self._s3, self._bucket, self._index = s3, bucket, index
        self._clock = clock

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        run, input = self._place(letters)
        documents = [
            Rejected(letter.position, letter.id, letter.kind, letter.reason, letter.record.line, letter.record.where)
            for letter in letters
        ]
        RejectedObjects(self._s3, self._bucket, index=self._index, run=run, input=input).keep(0, documents)

    def key(self, letters: Sequence[DeadLetter]) -> str:
        """Where they are kept."""
        return rejected_key(self._index, *self._place(letters), 0)

    def _place(self, letters: Sequence[DeadLetter]) -> tuple[str, str]:
        first = letters[0].record
        sequences = ",".join(letter.record.sequence for letter in letters)
        # The day of the record, not today: the same record may come again after midnight.
        return run_of(first.created_at or self._clock()), input_name(first.stream, sequences)

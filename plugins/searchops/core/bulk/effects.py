"""What the indexer needs of the world beside the cluster. Each is a Protocol, so that a ten-line program can do without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from searchops.core.bulk.model import HandedOver, Rejected
from searchops.core.errors import DataError, TransientError


class NotHandedOver(TransientError):
    """No lane took them. Nothing is lost: the checkpoint stays before them and the caller tries again."""

    @property
    def lasting(self) -> bool:
        """Whether it does not pass by itself: a permission, a missing bucket."""
        return isinstance(self.__cause__, DataError)


class HandOver(Protocol):
    def hand_over(self, batch: int, documents: Sequence[HandedOver]) -> Mapping[str, int]:
        """Make the documents durable in a lane and write their manifest; both are done when this returns. Called from several threads.

        Doing it again for the same batch (after a crash) is harmless: lanes take a document twice, its version makes it one.

        :return: how many each lane took, e.g. ``{"firehose": 480, "spool": 2}``
        :raises NotHandedOver: no lane took one of them; those that were taken need not be known
        """


class RejectedStore(Protocol):
    def keep(self, batch: int, documents: Sequence[Rejected]) -> None:
        """Keep documents with their reasons; writing the same batch again replaces it. Called from several threads.

        :raises TransientError: it could not be written
        """


class CheckpointStore(Protocol):
    """Where one run of one input keeps how far it is. A few hundred bytes, written every few seconds from one thread."""

    def load(self) -> bytes | None: ...

    def save(self, checkpoint: bytes) -> None: ...

"""What the loop of a replay needs of the world beside the table. Each is a Protocol, so that a ten-line program can do without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from searchops.core.replay.model import Touched, Units


class Keys(Protocol):
    """What selecting and touching have to know of a table; `table.TableFacts` knows it.

    ``key_types``: S, N or B of each attribute that is a key of the table or of one of its indexes.
    """

    @property
    def name(self) -> str: ...

    @property
    def partition_key(self) -> str: ...

    @property
    def sort_key(self) -> str | None: ...

    @property
    def key_types(self) -> Mapping[str, str]: ...


class Pace(Protocol):
    """Keeps touches within a budget; `pace.Pacer` is one. Called from several threads."""

    def before(self, touches: int) -> None:
        """Wait until the budget takes so many touches.

        :raises SearchOpsError: the consumer is too far behind to go on, or has been for as long as is waited with a worker
        """

    def after(self, units: Units, *, touches: int = 1, throttled: str | None = None, written: int | None = None) -> None:
        """Say what they have cost.

        :param throttled: what refused them: ``table``, ``index`` or ``partition``; None when they were done
        :param written: how many of them made a stream record; None: all
        """

    def stop(self) -> None:
        """Let no touch begin any more, and end the waits of those that have asked."""


class TouchedStore(Protocol):
    def keep(self, part: str, page: int, entries: Sequence[Touched]) -> None:
        """Keep the keys of a page that bear the replay's id now. Writing the same page again replaces it.

        :raises TransientError: it could not be written
        """


class CheckpointStore(Protocol):
    """Where a replay keeps how far each of its parts is. Up to 10 KB, written after every page from one thread.

    ``name`` says which replay and which part; it has letters, digits and ``._!-`` only, up to 300 of them.
    """

    def load(self, name: str) -> bytes | None: ...

    def save(self, name: str, checkpoint: bytes) -> None: ...

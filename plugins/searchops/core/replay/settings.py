"""What the inventory says of a table's replays, as `core` takes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from searchops.core.bulk.ids import IdScheme
from searchops.core.bulk.scheme import Deletes, VersionScheme
from searchops.core.bulk.sources.model import Recipe
from searchops.core.errors import DataError
from searchops.core.replay.choice import Dates
from searchops.core.replay.records import MARKER


class VersionOwner(Enum):
    """Who increases the version attribute of an item."""

    APPLICATION = "application"
    """A touch leaves it: documents that have it already are not written again."""
    SHARED = "shared"
    """A touch adds 1."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who reads the stream: a function, or else an Ingestion pipeline."""

    function: str | None = None
    pipeline: str | None = None
    uses_old_image: bool = False

    @property
    def name(self) -> str:
        return self.function or self.pipeline or ""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a table is replayed.

    :param table: its name in AWS
    :param wcu_per_second: of the table and its indexes together
    :param dates: how an item's day is found; None: no replay by date
    :param index: the alias of the index that the stream is written to, and ``recipe``: how its documents get id and version;
        ``deletes``: what becomes of those whose item is gone
    :raises DataError: a pace that never ends, or a version that cannot be shared
    """

    table: str
    marker: str = MARKER
    wcu_per_second: float = 100
    version_owner: VersionOwner = VersionOwner.APPLICATION
    dates: Dates | None = None
    consumers: tuple[Consumer, ...] = ()
    index: str | None = None
    recipe: Recipe | None = None
    deletes: Deletes | None = None

    def __post_init__(self) -> None:
        if not (self.wcu_per_second > 0 and math.isfinite(self.wcu_per_second)):
            raise DataError(
                f"table {self.table}: expected a pace of more than 0 write units a second, found {self.wcu_per_second:g}: "
                "correct wcu_per_second"
            )
        if self.version_owner is VersionOwner.SHARED and not self.version_attribute:
            raise DataError(
                f"table {self.table}: version_owner shared needs an index whose version is an attribute, found "
                f"{self.scheme.value if self.scheme else 'no index'}: leave version_owner out"
            )

    @property
    def scheme(self) -> VersionScheme | None:
        return self.recipe.version if self.recipe else None

    @property
    def version_attribute(self) -> str | None:
        """The attribute that holds an item's version; None where the index goes by something else."""
        return (self.recipe.attribute or None) if self.recipe else None

    @property
    def touched(self) -> tuple[str, ...]:
        """The attributes that a touch changes."""
        shared = self.version_owner is VersionOwner.SHARED and self.version_attribute
        return (self.marker, shared) if shared else (self.marker,)

    @property
    def ids_are_known(self) -> bool:
        """Whether an item says which document is its own."""
        return self.recipe is not None and self.recipe.id.scheme is IdScheme.ATTRIBUTES

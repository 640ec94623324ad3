"""Which of two writes of a document is the newer one, and what a delete is: said once for an index, kept in its mapping's ``_meta.searchops``.

Two writers that do not agree on this lose data without a word: an unversioned write over an external version makes the next true one
older, and a real delete lets a late write bring the document back. So every writer compares before its first write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from searchops.core.errors import DataError

MAX_VERSION = 2**63 - 1
"""OpenSearch keeps versions as a long; a larger one fails the whole request with HTTP 400 (measured on 3.8)."""
MAX_ID_BYTES = 512
"""OpenSearch's limit for ``_id``; a longer one fails the whole request with HTTP 400 (measured on 3.8)."""
SEQUENCE_DIGITS = 40
"""Stream sequence numbers have 21 to 40 digits (DynamoDB API reference, StreamRecord); padded with zeros they compare as text."""
FIELD = "searchops"
"""The field of a document that is ours: ``searchops.deleted``, ``searchops.deleted_at`` (epoch ms), ``searchops.sequence``."""
PROPERTIES: Mapping[str, Any] = {
    FIELD: {
        "type": "object",
        "dynamic": "strict",
        "properties": {
            "deleted": {"type": "boolean"},
            "deleted_at": {"type": "date", "format": "epoch_millis"},
            "sequence": {"type": "keyword"},
        },
    }
}
"""What the mapping of an index needs whose deletes are tombstones or whose version is a sequence."""
ALIVE: Mapping[str, Any] = {"bool": {"must_not": [{"term": {f"{FIELD}.deleted": True}}]}}
"""Filter of the alias that hides tombstones from search and count. GET and ``_mget`` by id still see them."""


class VersionScheme(Enum):
    ATTRIBUTE = "attribute"
    ONCE = "once"
    SEQUENCE = "sequence"
    INGESTION = "ingestion"
    NONE = "none"


class Deletes(Enum):
    TOMBSTONE = "tombstone"
    IMMEDIATE = "immediate"
    NEVER = "never"


class SchemeDiffers(DataError):
    """The index says otherwise than the writer."""


class SchemeMissing(DataError):
    """The index says nothing; the DAG searchops_setup writes it."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """What all writers of an index have to agree on.

    :param attribute: for `attribute`: the attribute of the document that holds the version
    :param id: how ids are made, in the words of the inventory (``pk|sk``, ``position``, ``content``); "" where the caller brings them
    """

    version: VersionScheme
    deletes: Deletes
    attribute: str = ""
    id: str = ""

    def hands_over(self) -> bool:
        """Whether index operations may leave by a lane: only what can come late without doing harm."""
        versioned = self.version in (VersionScheme.ATTRIBUTE, VersionScheme.ONCE, VersionScheme.SEQUENCE)
        return versioned and self.deletes is not Deletes.IMMEDIATE

    def to_meta(self) -> dict[str, str]:
        """What stands in ``_meta.searchops.scheme``."""
        given = {"version": self.version.value, "attribute": self.attribute, "deletes": self.deletes.value, "id": self.id}
        return {name: value for name, value in given.items() if value}

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """:raises DataError: it is not what `to_meta` writes"""
        try:
            return cls(
                VersionScheme(meta["version"]), Deletes(meta["deletes"]), str(meta.get("attribute", "")), str(meta.get("id", ""))
            )
        except (KeyError, ValueError) as error:
            raise DataError(
                f"_meta.searchops.scheme: expected version and deletes as searchops writes them, found {meta!r}"
            ) from error

    def compare(self, index: str, meta: Mapping[str, Any]) -> None:
        """
        :param meta: the mapping's ``_meta`` (that of one concrete index)
        :raises SchemeMissing: the index has none
        :raises SchemeDiffers: it has another
        """
        stored = (meta.get("searchops") or {}).get("scheme")
        if not stored:
            raise SchemeMissing(
                f"index {index}: its mapping says nothing of version and deletes (_meta.searchops.scheme), expected "
                f"{self.to_meta()}: run the DAG searchops_setup, which looks whether the documents agree and writes it"
            )
        found = Scheme.from_meta(stored)
        wanted, there = self.to_meta(), found.to_meta()
        if not self.id:
            there.pop("id", None)
        if wanted != there:
            raise SchemeDiffers(
                f"index {index}: this writer has {wanted}, the index {there} (_meta.searchops.scheme): writers that do not agree lose "
                "documents; correct the inventory, or build a new index for the new scheme"
            )

"""What a load reads: its inputs, and how a document becomes an operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Self

from searchops.core.bulk.ids import IdRule, IdScheme, Unfit, content_id, document_id, id_values, version_of, version_of_delete
from searchops.core.bulk.model import Kind, Operation, Unreadable
from searchops.core.bulk.places import input_name
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.errors import DataError

MAX_LINE_BYTES = 10 * 2**20
"""The service's smallest limit of a request (10 MiB): a document that is larger can not be sent to every domain."""
KEPT_BYTES = 4096
"""How much of a line that is too long is kept with its rejection."""

Start = Callable[[int], Iterator[Operation | Unreadable]]
"""Reads an input from a position on. A position counts its documents (lines that are not blank, rows) from 0."""
Make = Callable[[Mapping[str, Any], bytes, int], Operation]
"""Makes the operation of a document: its attributes, its bytes, its row in the file (from 0)."""


class BadInput(DataError):
    """An input is missing, damaged or not what was planned. The other inputs of a load are not concerned."""


class Format(Enum):
    NDJSON = "ndjson"
    """A JSON object a line, plain or gzip; which of the two is seen from the first bytes, not from the name."""
    PARQUET = "parquet"
    DYNAMODB = "dynamodb"
    """The data files of a DynamoDB export in the format DYNAMODB_JSON, full or incremental."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file, or some row groups of a Parquet file: what one checkpoint is about.

    :param etag: of the object when the load was planned; it has to be the same when it is read
    :param row_groups: for Parquet: the first one and the one behind the last; None for the whole file
    :param documents: how many there are, where the file or its manifest says so
    """

    uri: str
    etag: str
    bytes: int
    format: Format
    row_groups: tuple[int, int] | None = None
    documents: int | None = None

    @property
    def name(self) -> str:
        """Names it in keys of objects. The ETag is part of it: what was learnt of other bytes is never used for these."""
        groups = f" {self.row_groups[0]}-{self.row_groups[1]}" if self.row_groups else ""
        return input_name(self.uri, f"{self.etag}{groups}")

    @property
    def where(self) -> str:
        groups = f" (row groups {self.row_groups[0]}–{self.row_groups[1] - 1})" if self.row_groups else ""
        return f"{self.uri}{groups}"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "format": self.format.value, "row_groups": list(self.row_groups) if self.row_groups else None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        groups = values.get("row_groups")
        return cls(
            uri=str(values["uri"]),
            etag=str(values["etag"]),
            bytes=int(values["bytes"]),
            format=Format(values["format"]),
            row_groups=(int(groups[0]), int(groups[1])) if groups else None,
            documents=values.get("documents"),
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the documents of an index get id and version, as its inventory entry says.

    :param attribute: for the version scheme `attribute`: the attribute that holds it
    """

    id: IdRule
    version: VersionScheme
    attribute: str = ""

    @property
    def sequence(self) -> str | None:
        """A load under `sequence` fills what is missing and replaces nothing: any true sequence number is greater."""
        return "0" if self.version is VersionScheme.SEQUENCE else None

    @property
    def needed(self) -> tuple[str, ...]:
        """The attributes without which no document has an id and a version."""
        return tuple(dict.fromkeys((*self.id.attributes, *((self.attribute,) if self.attribute else ()))))

    def maker(self, given: Input) -> Make:
        """Makes index operations. Built once for an input, because it runs for each of its documents."""
        id_of, version, sequence = self._ids(given), self._version(), self.sequence

        def make(values: Mapping[str, Any], source: bytes, row: int) -> Operation:
            return Operation(Kind.INDEX, id_of(values, source, row), source, version(values), None, sequence)

        return make

    def deletion(self, keys: Mapping[str, Any], last: Mapping[str, Any] | None) -> Operation:
        """The delete of an item, by its keys and its last image, where the export has it.

        :raises Unfit: its id or its version is not known
        """
        if self.id.scheme is not IdScheme.ATTRIBUTES:
            raise Unfit(f"a delete: which document it means is not known where ids are made from {self.id.scheme.value}")
        id_ = document_id(id_values({**(last or {}), **keys}, self.id.attributes))
        version = None
        if self.version is VersionScheme.ATTRIBUTE:
            if last is None:
                raise Unfit("a delete without OldImage: its version is not known; export with the view NEW_AND_OLD_IMAGES")
            version = version_of_delete(last.get(self.attribute), self.attribute)
        return Operation(Kind.DELETE, id_, None, version, None, self.sequence)

    def _ids(self, given: Input) -> Callable[[Mapping[str, Any], bytes, int], str]:
        names = self.id.attributes
        if self.id.scheme is IdScheme.POSITION:
            key = object_key(given.uri)
            return lambda values, source, row: document_id((key, given.etag, row))
        if self.id.scheme is IdScheme.CONTENT:
            return lambda values, source, row: content_id(source)
        return lambda values, source, row: document_id(id_values(values, names))

    def _version(self) -> Callable[[Mapping[str, Any]], int | None]:
        attribute = self.attribute
        if self.version is not VersionScheme.ATTRIBUTE:
            return lambda values: None
        return lambda values: version_of(values.get(attribute), attribute)


def object_key(uri: str) -> str:
    """Without the bucket, so that a copied bucket gives the same ids; a local path is its own key."""
    return split_uri(uri)[1] if uri.startswith("s3://") else uri


def split_uri(uri: str, *, prefix: bool = False) -> tuple[str, str]:
    """Bucket and key. Not urlsplit, because a key may hold ``?`` and ``#``.

    :param prefix: a prefix, which may be empty
    :raises DataError: it is no s3://bucket/key
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not (key or prefix):
        raise DataError(f"{uri!r}: expected s3://bucket/key or s3://bucket/prefix/")
    return bucket, key

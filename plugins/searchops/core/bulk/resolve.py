"""What a refusal for its version (409), or a noop, means for a write: which of the two the index holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from searchops.core.bulk.encode import Encoder, pad_sequence
from searchops.core.bulk.model import End, Kind, Operation
from searchops.core.bulk.scheme import FIELD, Deletes, Scheme, VersionScheme

Resolved = tuple[End | None, str]
"""The end, None where the write has to be tried again; and why, where it is not plain."""
_OLDER = "the index holds an older version than the one that it refused"


def asked_fields(scheme: Scheme) -> str:
    """What of a document is needed beside its version."""
    if scheme.version is VersionScheme.SEQUENCE:
        return f"{FIELD}.sequence"
    return "true" if scheme.version is VersionScheme.NONE else f"{FIELD}.deleted"


def resolve(encoder: Encoder, operation: Operation, held: Mapping[str, Any]) -> Resolved:
    """
    :param held: what ``_mget`` answers of the document
    """
    if encoder.scheme.version is VersionScheme.NONE:
        return _unversioned(encoder, operation, held)
    if not held.get("found"):
        # A real delete of a greater version, or our own. Under `sequence` nothing remains to be compared.
        return (End.INDEXED if operation.kind is Kind.DELETE else End.SUPERSEDED), ""
    own = (held.get("_source") or {}).get(FIELD) or {}
    if encoder.scheme.version is VersionScheme.SEQUENCE:
        return _compared(pad_sequence(operation.sequence), own.get("sequence") or "")
    if held.get("_version") == operation.version and not _is_ours(encoder.scheme, operation, own):
        return End.REJECTED, (
            f"{operation.kind.value}: the index holds another write with the same version {operation.version}; "
            "every write, a delete too, has to have a greater one"
        )
    return _compared(operation.version, held.get("_version", -1))


def _compared(ours: Any, theirs: Any) -> Resolved:
    if theirs == ours:
        return End.INDEXED, ""
    return (End.SUPERSEDED, "") if theirs > ours else (None, _OLDER)


def _is_ours(scheme: Scheme, operation: Operation, own: Mapping[str, Any]) -> bool:
    """Whether a document of our version can be our write: a delete and an index operation can not be the same one."""
    if operation.kind is Kind.DELETE:
        return scheme.deletes is Deletes.TOMBSTONE and own.get("deleted") is True
    return own.get("deleted") is not True


def _unversioned(encoder: Encoder, operation: Operation, held: Mapping[str, Any]) -> Resolved:
    """A create finds a document, which may be its own, written before an answer was lost; an update met another writer."""
    if operation.kind is not Kind.CREATE or not held.get("found"):
        return None, "the document was changed by another writer meanwhile"
    if (held.get("_source") or {}) == orjson.loads(encoder.content(operation)):
        return End.INDEXED, ""
    return End.REJECTED, "create: there is another document of this id"

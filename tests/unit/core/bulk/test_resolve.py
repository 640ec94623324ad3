"""Which of two writes the index holds, when it has refused one for its version."""

from __future__ import annotations

from typing import Any

import pytest

from searchops.core.bulk import Deletes, End, Operation, Scheme, VersionScheme, create, delete, index, update
from searchops.core.bulk.encode import Encoder
from searchops.core.bulk.resolve import asked_fields, resolve

TOMBSTONES = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE)
REAL_DELETES = Scheme(VersionScheme.ATTRIBUTE, Deletes.IMMEDIATE)
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE)
REAL_SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.IMMEDIATE)
NONE = Scheme(VersionScheme.NONE, Deletes.IMMEDIATE)
ABSENT = {"_id": "a", "found": False}


def held(version: int, **own: Any) -> dict[str, Any]:
    return {"_id": "a", "found": True, "_version": version, "_source": {"searchops": own} if own else {}}


def sequence(number: int) -> dict[str, Any]:
    return held(1, sequence=str(number).zfill(40))


@pytest.mark.parametrize(
    ("scheme", "operation", "document", "end"),
    [
        (TOMBSTONES, index("a", {}, version=5), held(5), End.INDEXED),
        (TOMBSTONES, index("a", {}, version=5), held(6), End.SUPERSEDED),
        (TOMBSTONES, index("a", {}, version=5), held(6, deleted=True), End.SUPERSEDED),
        (TOMBSTONES, index("a", {}, version=5), held(4), None),
        (TOMBSTONES, index("a", {}, version=0), held(0), End.INDEXED),
        (TOMBSTONES, delete("a", version=5), held(5, deleted=True), End.INDEXED),
        (TOMBSTONES, delete("a", version=5), held(6), End.SUPERSEDED),
        (TOMBSTONES, delete("a", version=5), held(5), End.REJECTED),
        (TOMBSTONES, index("a", {}, version=5), held(5, deleted=True), End.REJECTED),
        (REAL_DELETES, delete("a", version=5), ABSENT, End.INDEXED),
        (REAL_DELETES, delete("a", version=5), held(5), End.REJECTED),
        (REAL_DELETES, delete("a", version=5), held(6), End.SUPERSEDED),
        (REAL_DELETES, index("a", {}, version=5), ABSENT, End.SUPERSEDED),
        (SEQUENCE, index("a", {}, sequence="7"), sequence(7), End.INDEXED),
        (SEQUENCE, index("a", {}, sequence="7"), sequence(8), End.SUPERSEDED),
        (SEQUENCE, index("a", {}, sequence="9"), sequence(10), End.SUPERSEDED),
        (SEQUENCE, index("a", {}, sequence="7"), sequence(6), None),
        (SEQUENCE, index("a", {}, sequence="7"), held(1), None),
        (SEQUENCE, delete("a", sequence="7"), sequence(7), End.INDEXED),
        (REAL_SEQUENCE, delete("a", sequence="7"), ABSENT, End.INDEXED),
        (REAL_SEQUENCE, index("a", {}, sequence="7"), ABSENT, End.SUPERSEDED),
        (NONE, create("a", {"n": 1}), held(1) | {"_source": {"n": 1}}, End.INDEXED),
        (NONE, create("a", b'{"n": 1.0}'), held(1) | {"_source": {"n": 1}}, End.INDEXED),
        (NONE, create("a", {}), {"_id": "a", "found": True, "_version": 1}, End.INDEXED),
        (NONE, create("a", {"n": 1}), held(1) | {"_source": {"n": 2}}, End.REJECTED),
        (NONE, create("a", {"n": 1}), ABSENT, None),
        (NONE, update("a", {"doc": {"n": 1}}), held(3) | {"_source": {"n": 2}}, None),
    ],
)
def test_the_index_says_what_became_of_a_write(scheme: Scheme, operation: Operation, document: Any, end: End | None) -> None:
    found, reason = resolve(Encoder(scheme), operation, document)

    assert found is end
    assert bool(reason) == (end in (None, End.REJECTED))


def test_a_delete_of_the_document_s_own_version_says_what_is_to_be_done() -> None:
    _, reason = resolve(Encoder(TOMBSTONES), delete("a", version=5), held(5))

    assert "another write with the same version 5; every write, a delete too, has to have a greater one" in reason


def test_no_more_of_a_document_is_asked_for_than_is_needed() -> None:
    assert [asked_fields(scheme) for scheme in (TOMBSTONES, SEQUENCE, NONE)] == [
        "searchops.deleted",
        "searchops.sequence",
        "true",
    ]

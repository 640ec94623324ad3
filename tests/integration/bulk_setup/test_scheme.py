"""An index gets its scheme, on a real node."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy import OpenSearch

from searchops.core.bulk.delivery import IndexClosed
from searchops.core.bulk.scheme import PROPERTIES, Deletes, Scheme, SchemeDiffers, SchemeMissing, VersionScheme
from searchops.core.bulk.scheme_setup import Contradicted, plan_scheme, write_scheme
from searchops.core.bulk.target import check_target
from searchops.core.errors import DataError
from tests.integration.bulk_setup.conftest import MakeIndex

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision", "pk|sk")
ONCE = Scheme(VersionScheme.ONCE, Deletes.NEVER, id="position")
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE, id="pk")
INGESTION = Scheme(VersionScheme.INGESTION, Deletes.IMMEDIATE, id="pk")
TOMBSTONE = {"id": "gone", "version": 9, "searchops": {"deleted": True}}


def meta(node: OpenSearch, index: str) -> dict[str, Any]:
    found: dict[str, Any] = node.indices.get_mapping(index=f"{index}-1")[f"{index}-1"]["mappings"].get("_meta", {})
    return found


def test_an_index_whose_documents_agree_gets_the_scheme_beside_what_it_says_already(
    node: OpenSearch, make_index: MakeIndex
) -> None:
    kept: dict[str, Any] = {"owner": "team", "searchops": {"dictionaries": {"words": {"applied": "1"}}}}
    documents = [{"id": "a", "version": 5, "revision": 5}, {"id": "b", "version": 0, "revision": 0}, TOMBSTONE]
    index = make_index(documents, mappings={"_meta": kept, "properties": {"name": {"type": "text"}}})
    assert len(plan_scheme(node, index, ATTRIBUTE).changes) == 2

    checked = write_scheme(node, index, ATTRIBUTE)

    assert checked
    assert str(checked) == "3 of 3 documents: revision is a whole number and equal to _version"
    assert meta(node, index) == {"owner": "team", "searchops": {**kept["searchops"], "scheme": ATTRIBUTE.to_meta()}}
    fields = node.indices.get_mapping(index=index)[f"{index}-1"]["mappings"]["properties"]
    assert fields["name"] == {"type": "text"}
    assert {name: field["type"] for name, field in fields["searchops"]["properties"].items()} == {
        "deleted": "boolean",
        "deleted_at": "date",
        "sequence": "keyword",
    }
    assert plan_scheme(node, index, ATTRIBUTE).changes == ()
    assert write_scheme(node, index, ATTRIBUTE) is None
    assert check_target(node, index, ATTRIBUTE).concrete == f"{index}-1"


@pytest.mark.parametrize(
    ("scheme", "documents", "message"),
    [
        (ATTRIBUTE, [{"id": f"d{n}", "version": 1, "name": "x"} for n in range(5)], "5 documents have no revision, e.g. "),
        (ATTRIBUTE, [{"id": "text", "version": 7, "revision": "7"}], "that is no whole number from 0 to 2^63-1, e.g. text"),
        (ATTRIBUTE, [{"id": "half", "version": 7, "revision": 7.5}], "no whole number"),
        (ATTRIBUTE, [{"id": "plain", "revision": 7}], "1 documents have a _version that is not their revision, e.g. plain"),
        (ONCE, [{"id": "a", "version": 1}, {"id": "twice", "version": 2}], "(_version is not 1), e.g. twice"),
        (SEQUENCE, [{"id": "short", "searchops": {"sequence": "12"}}], "1 documents have no searchops.sequence of 40 digits"),
    ],
)
def test_a_document_that_contradicts_the_scheme_is_named_and_nothing_is_written(
    node: OpenSearch, make_index: MakeIndex, scheme: Scheme, documents: list[dict[str, Any]], message: str
) -> None:
    index = make_index(documents, mappings={"properties": PROPERTIES} if scheme is SEQUENCE else None)

    with pytest.raises(Contradicted) as error:
        write_scheme(node, index, scheme)

    assert message in str(error.value)
    assert meta(node, index) == {}


def test_not_more_than_three_ids_are_named(node: OpenSearch, make_index: MakeIndex) -> None:
    index = make_index([{"id": f"wrong-{n}", "version": 1} for n in range(9)])

    with pytest.raises(Contradicted) as error:
        write_scheme(node, index, ATTRIBUTE)

    assert str(error.value).count("wrong-") == 3


@pytest.mark.parametrize(
    ("scheme", "documents", "checked"),
    [
        (ONCE, [{"id": "a", "version": 1}, {"id": "b"}], "2 of 2 documents: _version is 1"),
        (SEQUENCE, [{"id": "a", "searchops": {"sequence": "7".zfill(40)}}], "1 of 1 documents: searchops.sequence has 40 digits"),
        (INGESTION, [{"id": "a", "version": 12}], "0 of 1 documents: nothing in them tells the scheme ingestion"),
        (ATTRIBUTE, [], "0 of 0 documents: revision is a whole number and equal to _version"),
    ],
)
def test_each_scheme_says_what_it_has_compared(
    node: OpenSearch, make_index: MakeIndex, scheme: Scheme, documents: list[dict[str, Any]], checked: str
) -> None:
    index = make_index(documents, mappings={"properties": PROPERTIES} if scheme is SEQUENCE else None)

    assert str(write_scheme(node, index, scheme)) == checked
    assert meta(node, index)["searchops"]["scheme"] == scheme.to_meta()


def test_of_a_large_index_a_part_is_compared_and_the_part_is_told(node: OpenSearch, make_index: MakeIndex) -> None:
    index = make_index([{"id": f"d{n}", "version": 1} for n in range(60)])

    checked = write_scheme(node, index, ONCE, most=20)

    assert checked
    assert checked.of == 60
    assert 0 < checked.documents < 45


def test_another_scheme_that_an_index_has_is_never_changed(node: OpenSearch, make_index: MakeIndex) -> None:
    index = make_index()
    write_scheme(node, index, ONCE)

    with pytest.raises(SchemeDiffers):
        write_scheme(node, index, ATTRIBUTE)
    with pytest.raises(SchemeDiffers):
        check_target(node, index, ATTRIBUTE)
    assert meta(node, index)["searchops"]["scheme"] == ONCE.to_meta()


def test_a_field_of_ours_that_means_something_else_in_the_index_is_told_before_anything_is_written(
    node: OpenSearch, make_index: MakeIndex
) -> None:
    taken = make_index(mappings={"properties": {"searchops": {"type": "keyword"}}})
    partly = make_index(mappings={"properties": {"searchops": {"properties": {"deleted": {"type": "text"}}}}})

    for index, found in ((taken, "'type': 'keyword'"), (partly, "searchops.deleted is text")):
        with pytest.raises(DataError, match="field searchops is to hold") as error:
            write_scheme(node, index, ATTRIBUTE)
        assert found in str(error.value)
        assert meta(node, index) == {}


def test_an_index_without_a_scheme_is_not_written(node: OpenSearch, make_index: MakeIndex) -> None:
    with pytest.raises(SchemeMissing, match="searchops_setup"):
        check_target(node, make_index(), ATTRIBUTE)


def test_a_name_without_an_index_is_told_instead_of_made(node: OpenSearch) -> None:
    with pytest.raises(DataError, match="expected an index or an alias of that name, found none"):
        check_target(node, "setup-nowhere", ATTRIBUTE)

    assert not node.indices.exists(index="setup-nowhere")


def test_a_closed_index_says_so_and_may_be_open_at_the_next_try(node: OpenSearch, make_index: MakeIndex) -> None:
    index = make_index()
    write_scheme(node, index, ATTRIBUTE)
    node.indices.close(index=f"{index}-1")

    with pytest.raises(IndexClosed, match=f"{index}-1"):
        check_target(node, index, ATTRIBUTE)


def test_an_alias_of_two_indexes_is_refused_where_versions_count(node: OpenSearch, make_index: MakeIndex) -> None:
    index, other = make_index(), make_index()
    node.indices.put_alias(index=f"{other}-1", name=index, body={"is_write_index": False})

    with pytest.raises(DataError, match="versions count within one index"):
        check_target(node, index, ATTRIBUTE)
    no_versions = Scheme(VersionScheme.NONE, Deletes.NEVER, id="content")
    assert write_scheme(node, index, no_versions)
    assert check_target(node, index, no_versions).concrete == f"{index}-1"


def test_an_alias_that_nothing_can_be_written_through_is_refused(node: OpenSearch, make_index: MakeIndex) -> None:
    one = make_index(alias={"is_write_index": False})
    index, other = make_index(alias={"is_write_index": False}), make_index()
    node.indices.put_alias(index=f"{other}-1", name=index, body={"is_write_index": False})

    for name in (one, index):
        with pytest.raises(DataError, match="expected exactly one index that it writes to"):
            check_target(node, name, ATTRIBUTE)

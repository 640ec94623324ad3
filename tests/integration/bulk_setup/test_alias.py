"""Tombstones are hidden by the alias, on a real node."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy import OpenSearch

from searchops.core.bulk.alias import plan_alias_filter, set_alias_filter
from searchops.core.bulk.scheme import PROPERTIES
from searchops.core.errors import DataError
from tests.integration.bulk_setup.conftest import MakeIndex, write

DOCUMENTS = [
    {"id": "alive", "version": 1, "kind": "book"},
    {"id": "other", "version": 1, "kind": "pen"},
    {"id": "gone", "version": 2, "searchops": {"deleted": True}},
]
MAPPINGS = {"properties": {"kind": {"type": "keyword"}, **PROPERTIES}}


def ids(node: OpenSearch, index: str) -> set[str]:
    return {hit["_id"] for hit in node.search(index=index, body={"size": 10})["hits"]["hits"]}


def test_a_search_does_not_find_tombstones_while_the_alias_is_still_written_through(
    node: OpenSearch, make_index: MakeIndex
) -> None:
    index = make_index(DOCUMENTS, mappings=MAPPINGS)
    assert len(plan_alias_filter(node, index).changes) == 1

    set_alias_filter(node, index)

    assert ids(node, index) == {"alive", "other"}
    assert node.count(index=index)["count"] == 2
    assert node.get(index=index, id="gone")["_version"] == 2
    write(node, index, [{"id": "new", "version": 1, "kind": "book"}])
    assert ids(node, index) == {"alive", "other", "new"}
    assert plan_alias_filter(node, index).changes == ()
    set_alias_filter(node, index)


def test_what_the_alias_has_of_its_own_stays(node: OpenSearch, make_index: MakeIndex) -> None:
    own: dict[str, Any] = {"filter": {"term": {"kind": "book"}}, "search_routing": "a", "index_routing": "a"}
    index = make_index(mappings=MAPPINGS, alias=own)
    for number, document in enumerate(DOCUMENTS):
        node.index(index=index, id=str(number), body={name: document[name] for name in document if name not in ("id", "version")})
    node.indices.refresh(index=index)

    set_alias_filter(node, index)

    alias = node.indices.get_alias(name=index)[f"{index}-1"]["aliases"][index]
    assert ids(node, index) == {"0"}
    assert (alias["search_routing"], alias["index_routing"], alias["is_write_index"]) == ("a", "a", True)
    assert plan_alias_filter(node, index).changes == ()


def test_an_index_without_an_alias_is_told_how_to_get_one_and_the_way_works(node: OpenSearch, make_index: MakeIndex) -> None:
    index = f"{make_index(DOCUMENTS, mappings=MAPPINGS)}-1"
    with pytest.raises(DataError, match="expected an alias") as error:
        set_alias_filter(node, index)
    for step in ("_block/write", f"_clone/{index}-000001", "remove_index"):
        assert step in str(error.value)

    node.transport.perform_request("PUT", f"/{index}/_block/write")
    node.indices.clone(
        index=index, target=f"{index}-000001", body={"settings": {"index.blocks.write": None}}, wait_for_active_shards=1
    )
    actions = [
        {"remove_index": {"index": index}},
        {"add": {"index": f"{index}-000001", "alias": index, "is_write_index": True}},
    ]
    node.indices.update_aliases(body={"actions": actions})
    set_alias_filter(node, index)

    assert ids(node, index) == {"alive", "other"}
    assert node.get(index=index, id="gone")["_version"] == 2
    write(node, index, [{"id": "new", "version": 1, "kind": "book"}])
    node.indices.delete(index=f"{index}-000001")

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.alias import hides_tombstones, with_filter
from searchops.core.bulk.scheme import ALIVE, MAX_VERSION
from searchops.core.bulk.scheme_setup import attribute_fault, once_fault, sequence_fault

fault = attribute_fault("revision")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner),
    max_leaves=3,
)


@given(version=st.integers(0, MAX_VERSION), value=anything)
def test_a_document_agrees_only_when_its_attribute_is_the_version_as_a_whole_number(version: int, value: Any) -> None:
    agrees = fault({"_version": version, "_source": {"revision": value}}) is None

    assert agrees == (type(value) is int and value == version)


@given(version=st.integers(0, MAX_VERSION))
def test_a_document_whose_attribute_is_its_version_agrees(version: int) -> None:
    assert fault({"_version": version, "_source": {"revision": version}}) is None
    assert fault({"_version": version, "_source": {"searchops": {"deleted": True}}}) is None
    assert (once_fault({"_version": version}) is None) == (version == 1)


@pytest.mark.parametrize("source", [None, {}, {"revision": None}, {"searchops": {"deleted": False}}, {"searchops": None}])
def test_a_document_without_the_attribute_has_none(source: Any) -> None:
    assert fault({"_version": 1, "_source": source}) == "have no revision"


@pytest.mark.parametrize(
    ("sequence", "right"), [("7".zfill(40), True), ("7", False), ("٣" * 40, False), ("x" * 40, False), (7, False), (None, False)]
)
def test_a_sequence_has_forty_digits(sequence: Any, right: bool) -> None:
    assert (sequence_fault({"_source": {"searchops": {"sequence": sequence}}}) is None) is right
    assert sequence_fault({"_source": {}}) is not None


HIDING = [
    ALIVE,
    {"bool": {"must_not": {"term": {"searchops.deleted": True}}}},
    {"bool": {"must_not": [{"term": {"searchops.deleted": {"value": True, "boost": 1.0}}}], "boost": 1.0}},
    {"bool": {"filter": [{"term": {"kind": "book"}}], **ALIVE["bool"]}},
]
SHOWING = [
    None,
    {},
    {"term": {"kind": "book"}},
    {"bool": {"must_not": [{"term": {"searchops.deleted": False}}]}},
    {"bool": {"must": [{"term": {"searchops.deleted": True}}]}},
    {"bool": {"must_not": [{"exists": {"field": "searchops.deleted"}}]}},
]


@pytest.mark.parametrize("found", HIDING)
def test_a_filter_that_hides_tombstones_is_known_in_every_spelling(found: Any) -> None:
    assert hides_tombstones(found)


@pytest.mark.parametrize("found", SHOWING)
def test_any_other_filter_is_kept_beside_ours(found: Any) -> None:
    assert not hides_tombstones(found)

    alias = with_filter({"filter": found, "index_routing": "a"} if found else {"index_routing": "a"})

    assert hides_tombstones(alias["filter"])
    assert (alias["index_routing"], alias["is_write_index"]) == ("a", True)
    assert not found or alias["filter"]["bool"]["filter"] == [found]

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from searchops.inventory.models import IndexEntry

ID = {"attributes": ["pk", "sk"]}


def index(scheme: str = "attribute", **fields: Any) -> IndexEntry:
    version: dict[str, Any] = {"scheme": scheme, **({"attribute": "revision"} if scheme == "attribute" else {})}
    if scheme == "none":
        version["reason"] = "a log that nobody updates"
    return IndexEntry.model_validate({"domain": "products", "id": ID, "version": version, **fields})


@pytest.mark.parametrize(
    ("scheme", "good", "bad"),
    [
        ("attribute", {"tombstone", "immediate", "never"}, set()),
        ("sequence", {"tombstone", "immediate", "never"}, set()),
        ("once", {"never"}, {"tombstone", "immediate"}),
        ("ingestion", {"immediate"}, {"tombstone", "never"}),
        ("none", {"immediate", "never"}, {"tombstone"}),
    ],
)
def test_deletes_have_to_fit_the_version_scheme(scheme: str, good: set[str], bad: set[str]) -> None:
    for deletes in good:
        index(scheme, deletes=deletes)
    for deletes in bad:
        with pytest.raises(ValidationError, match=f'deletes "{deletes}" does not go with version scheme "{scheme}"'):
            index(scheme, deletes=deletes)


@pytest.mark.parametrize("scheme", ["ingestion", "none"])
def test_nothing_is_handed_over_where_a_late_write_could_not_be_told(scheme: str) -> None:
    with pytest.raises(ValidationError, match="nothing can be handed over"):
        index(scheme, hand_over={"patience": "2m"})


def test_nothing_is_handed_over_where_deletes_leave_no_trace() -> None:
    with pytest.raises(ValidationError, match="bring a deleted document back"):
        index("attribute", deletes="immediate", hand_over={"patience": "2m"})


def test_sequence_numbers_go_to_the_spool_only() -> None:
    index("sequence", hand_over={"patience": "2m"})
    with pytest.raises(ValidationError, match="leave firehose out"):
        index("sequence", hand_over={"patience": "2m", "firehose": "overflow"})


@pytest.mark.parametrize("field", ["on_search_time_use", "on_index_time_use"])
def test_an_index_that_ingestion_writes_is_never_closed(field: str) -> None:
    with pytest.raises(ValidationError, match="never closed"):
        index("ingestion", **{field: "reopen"})


def test_tombstone_days_need_tombstones() -> None:
    assert index("attribute", tombstone_days=7).tombstone_days == 7
    with pytest.raises(ValidationError, match='goes with deletes "tombstone" only, found "never"'):
        index("once", tombstone_days=7)


@pytest.mark.parametrize(
    "version",
    [
        {"scheme": "attribute"},
        {"scheme": "once", "attribute": "revision"},
        {"scheme": "none"},
        {"scheme": "sequence", "reason": "why"},
    ],
)
def test_attribute_and_reason_belong_to_one_scheme_each(version: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=f'scheme "{version["scheme"]}" (needs|takes no)'):
        IndexEntry.model_validate({"domain": "products", "id": ID, "version": version})


@pytest.mark.parametrize(
    "fields", [{"id": ID}, {"version": {"scheme": "once"}}, {"deletes": "never"}, {"id": ID, "hand_over": {"patience": "1m"}}]
)
def test_an_index_that_is_written_says_both_id_and_version(fields: dict[str, Any]) -> None:
    IndexEntry.model_validate({"domain": "products"})
    with pytest.raises(ValidationError, match="not both id and version"):
        IndexEntry.model_validate({"domain": "products", **fields})


@pytest.mark.parametrize(
    "wrong", [{}, {"scheme": "content", "attributes": ["pk"]}, {"attributes": []}, {"attributes": ["pk", "pk"]}]
)
def test_an_id_comes_from_one_place(wrong: dict[str, Any]) -> None:
    for right in ({"attributes": ["pk"]}, {"scheme": "position"}, {"scheme": "content"}):
        index(id=right)
    with pytest.raises(ValidationError):
        index(id=wrong)

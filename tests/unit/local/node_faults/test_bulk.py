from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulators.node_faults import bulk

SOURCES = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(), max_size=3)
ACTIONS = st.tuples(st.sampled_from(["index", "create", "update", "delete"]), st.text(min_size=1, max_size=5), SOURCES)
ANSWER = {
    "took": 3,
    "errors": True,
    "items": [
        {"index": {"_id": "1", "status": 201, "_shards": {"total": 1}}},
        {"index": {"_id": "2", "status": 429, "error": {"type": "t", "reason": "r"}}},
    ],
}


def encode(actions: list[tuple[str, str, dict[str, Any]]], blank: bytes = b"") -> bytes:
    lines = []
    for action, name, source in actions:
        lines.append(json.dumps({action: {"_id": name}}).encode() + b"\n")
        if action != "delete":
            lines.append(json.dumps(source).encode() + b"\r\n")
        lines.append(blank)
    return b"".join(lines)


@given(st.lists(ACTIONS, min_size=1, max_size=20))
def test_a_request_taken_apart_has_every_action_with_its_bytes(actions) -> None:
    items = bulk.split(encode(actions), "things")

    assert [(item.action, item.id, item.index) for item in items] == [(action, name, "things") for action, name, _ in actions]
    assert b"".join(item.data for item in items) == encode(actions)
    assert bulk.split(encode(actions, blank=b"\n"), "things") == items


@pytest.mark.parametrize(
    "body", [b"", b"{}\n", b'{"index":{}}\n', b'{"index":{}}\n{}', b'{"upsert":{}}\n{}\n', b'{"a":{},"b":{}}\n', b"[]\n"]
)
def test_what_is_no_bulk_request_is_told_from_one(body) -> None:
    with pytest.raises(bulk.NotBulk):
        bulk.split(body)


@given(st.integers(0, 50), st.floats(0, 1), st.integers())
def test_at_least_one_item_is_chosen_and_a_seed_chooses_the_same(count, share, seed) -> None:
    chosen = bulk.choose(count, share, Random(seed))

    assert len(chosen) == min(count, max(1, round(count * share)))
    assert chosen <= set(range(count))
    assert chosen == bulk.choose(count, share, Random(seed))


@pytest.mark.parametrize(
    ("filter_path", "expected"),
    [
        (None, ANSWER),
        ("errors", {"errors": True}),
        ("took,items.*.error.type", {"took": 3, "items": [{"index": {"error": {"type": "t"}}}]}),
        ("items.index.st*", {"items": [{"index": {"status": 201}}, {"index": {"status": 429}}]}),
        ("**.reason", {"items": [{"index": {"error": {"reason": "r"}}}]}),
        ("items", {"items": ANSWER["items"]}),
        ("nothing.here", {}),
    ],
)
def test_a_filter_keeps_what_it_names(filter_path, expected) -> None:
    assert bulk.filtered(ANSWER, filter_path) == expected


def test_a_multi_get_answer_can_be_short_too() -> None:
    assert bulk.shortened(b'{"docs":[{"_id":"1"},{"_id":"2"}]}', 0.5) == b'{"docs":[{"_id":"1"}]}'
    assert bulk.shortened(b'{"took":1}', 0.5) is None
    assert bulk.shortened(b"<html>", 0.5) is None

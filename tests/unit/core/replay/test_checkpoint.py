from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.errors import DataError
from searchops.core.replay.checkpoint import Checkpoint, Checkpoints
from searchops.core.replay.model import Counts

cursors = st.none() | st.dictionaries(st.text(), st.dictionaries(st.sampled_from(["S", "N", "B"]), st.text()))


class Store:
    """`effects.CheckpointStore` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def save(self, name: str, checkpoint: bytes) -> None:
        self.kept[name] = checkpoint


def checkpoints(store: Store, **bound: str) -> Checkpoints:
    return Checkpoints(store, **{"table": "products", "digest": "d" * 64, "replay_id": "7" * 20, **bound})


@given(st.lists(st.tuples(st.integers(0, 500), cursors), max_size=5))
def test_a_checkpoint_is_read_as_it_was_written(pages):
    store, checkpoint = Store(), Checkpoint("segment-000001-of-4")
    for touched, cursor in pages:
        checkpoint = checkpoint.after(Counts(selected=touched, touched=touched), cursor)
        checkpoints(store).save(checkpoint)

    found = checkpoints(store).load(checkpoint.part)

    assert found == checkpoint
    assert found.page == len(pages)
    assert found.done == (bool(pages) and pages[-1][1] is None)
    assert found.counts.touched == sum(touched for touched, _ in pages)


def test_a_part_without_a_checkpoint_begins_at_the_beginning():
    assert checkpoints(Store()).load("list") == Checkpoint("list")


def test_the_checkpoints_of_an_earlier_replay_are_not_in_the_way():
    store = Store()
    checkpoints(store, replay_id="6" * 20).save(Checkpoint("list", page=3))

    assert checkpoints(store).load("list").page == 0


@pytest.mark.parametrize(("name", "value"), [("table", "orders"), ("digest", "e" * 64)])
def test_a_checkpoint_of_something_else_is_refused_by_name(name, value):
    store = Store()
    checkpoints(store, **{name: value}).save(Checkpoint("list", page=3))

    with pytest.raises(DataError, match=f"found {'selection' if name == 'digest' else name} '{value}' for"):
        checkpoints(store).load("list")


@pytest.mark.parametrize("content", [b"", b"null", b"{", b"[]", json.dumps({"format": 1}).encode()])
def test_what_is_no_checkpoint_is_refused(content):
    store = Store()
    checkpoints(store).save(Checkpoint("list"))
    store.kept = dict.fromkeys(store.kept, content)

    with pytest.raises(DataError, match="expected one of"):
        checkpoints(store).load("list")

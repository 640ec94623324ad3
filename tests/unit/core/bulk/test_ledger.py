"""The books add up whatever the order of the batches is and whenever the process dies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk import BatchResult, Counts, End
from searchops.core.bulk.checkpoints import FileCheckpoints
from searchops.core.bulk.ledger import Checkpoint, Ledger, Unbalanced, check
from searchops.core.errors import DataError, TransientError

ends = st.lists(st.sampled_from(End), min_size=1, max_size=5)
runs = st.lists(ends, max_size=12)


class Memory:
    """A store that lives as long as its test."""

    def __init__(self) -> None:
        self.saved: list[bytes] = []

    def load(self) -> bytes | None:
        return self.saved[-1] if self.saved else None

    def save(self, checkpoint: bytes) -> None:
        self.saved.append(checkpoint)


def result(number: int, first: int, ends: list[End]) -> BatchResult:
    counts = Counts(accepted=len(ends), requests=1)
    for end in End:
        setattr(counts, end.value, ends.count(end))
    return BatchResult(number, first, ends, counts)


def results(run: list[list[End]], number: int = 0, first: int = 0) -> list[BatchResult]:
    made = []
    for ends in run:
        made.append(result(number, first, ends))
        number, first = number + 1, first + len(ends)
    return made


@given(runs, st.randoms())
def test_batches_may_end_in_any_order(run: list[list[End]], random: Any) -> None:
    shuffled = results(run)
    random.shuffle(shuffled)
    ledger = Ledger()
    for each in shuffled:
        ledger.take(each)

    counts = ledger.close()

    assert counts.accepted == counts.ended == sum(map(len, run))
    assert {end: getattr(counts, end.value) for end in End} == {end: sum(each.count(end) for each in run) for end in End}


@given(runs, st.randoms(), st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=5))
def test_a_run_that_is_killed_at_any_point_counts_every_line_once(
    run: list[list[End]], random: Any, kills: list[tuple[int, bool]]
) -> None:
    """What lies behind the checkpoint is cut anew, into other batches, and done again; its ends may differ then."""
    store, lines = Memory(), [end for ends in run for end in ends]
    for taken, saved in kills:
        ledger = Ledger(store, "file")
        rest = lines[ledger.checkpoint.position :]
        size = random.randint(1, 4)
        left = [rest[place : place + size] for place in range(0, len(rest), size)]
        again = results(left, ledger.checkpoint.batch, ledger.checkpoint.position)
        random.shuffle(again)
        for each in again[:taken]:
            ledger.take(each)
            assert ledger.checkpoint.counts.accepted == ledger.checkpoint.position
        if saved:
            ledger.save()

    ledger = Ledger(store, "file")
    for each in results(
        [[end] for end in lines[ledger.checkpoint.position :]], ledger.checkpoint.batch, ledger.checkpoint.position
    ):
        ledger.take(each)
    counts = ledger.close()

    assert counts.accepted == counts.ended == len(lines)
    assert counts.handed_over == lines.count(End.HANDED_OVER)
    assert Ledger(store, "file").checkpoint.complete


def test_the_checkpoint_stops_before_a_batch_that_has_no_end() -> None:
    store = Memory()
    ledger = Ledger(store, "file")
    first, second, third = results([[End.INDEXED] * 2, [End.INDEXED] * 3, [End.REJECTED]])
    ledger.take(first)
    ledger.take(third)
    ledger.save()

    assert (ledger.checkpoint.position, ledger.checkpoint.batch) == (2, 1)
    assert Ledger(store, "file").checkpoint.position == 2
    assert ledger.counts.accepted == 3
    with pytest.raises(Unbalanced, match="batch 1 has no end, 1 later ones have"):
        ledger.close()
    ledger.take(second)
    assert ledger.close().accepted == 6


def test_a_checkpoint_is_written_only_where_it_has_moved() -> None:
    store = Memory()
    ledger = Ledger(store, "file")
    ledger.save()
    ledger.take(results([[End.INDEXED]])[0])
    ledger.save()
    ledger.save()

    assert len(store.saved) == 1


def test_ends_that_do_not_add_up_fail_the_run() -> None:
    ledger = Ledger()
    ledger.take(BatchResult(0, 0, [End.INDEXED], Counts(accepted=2, indexed=1)))

    with pytest.raises(Unbalanced, match=r"expected 2 ends, found 1 .*of 2 accepted"):
        ledger.close()


def test_a_checkpoint_whose_counts_were_changed_fails_the_run() -> None:
    store = Memory()
    ledger = Ledger(store, "file")
    ledger.take(results([[End.INDEXED] * 5])[0])
    ledger.save()
    changed = json.loads(store.saved[-1])
    changed["counts"]["indexed"] = 4
    store.save(json.dumps(changed).encode())

    with pytest.raises(Unbalanced, match="expected 5 ends, found 4"):
        Ledger(store, "file").close()


def test_the_number_of_lines_that_an_input_holds_is_checked_where_it_is_known() -> None:
    check(Counts(accepted=3, indexed=3), accepted=3)
    with pytest.raises(Unbalanced, match="expected 4 ends, found 3"):
        check(Counts(accepted=3, indexed=3), accepted=4)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no",
        b"5",
        b"[]",
        b"{}",
        b"\xff",
        b'{"format": 2}',
        b'{"format":1,"input":"file","position":1,"batch":1,"counts":[],"complete":false}',
    ],
)
def test_what_is_no_checkpoint_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="checkpoint of file: expected one that searchops wrote"):
        Checkpoint.from_json(data, "file")


def test_a_checkpoint_of_another_input_is_refused() -> None:
    with pytest.raises(
        DataError, match="expected this input, found old: the source, or the index, has changed since; start a new run"
    ):
        Checkpoint.from_json(Checkpoint("old").to_json(), "new")


def test_a_ledger_holds_no_documents() -> None:
    ledger = Ledger()
    _, second = results([[End.INDEXED], [End.INDEXED] * 1000])
    ledger.take(second)

    assert not ledger._ahead[1].ends


def test_a_file_holds_the_last_checkpoint(tmp_path: Path) -> None:
    store = FileCheckpoints(tmp_path / "load.json")
    assert store.load() is None

    store.save(b"one")
    store.save(b"two")

    assert FileCheckpoints(str(tmp_path / "load.json")).load() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["load.json"]


def test_a_file_that_can_not_be_written_keeps_what_it_held(tmp_path: Path) -> None:
    store = FileCheckpoints(tmp_path / "load.json")
    store.save(b"one")
    (tmp_path / f"load.json.{os.getpid()}.tmp").mkdir()

    with pytest.raises(OSError, match="Is a directory"):
        store.save(b"two")
    assert store.load() == b"one"


def test_a_store_that_fails_is_not_taken_for_a_checkpoint() -> None:
    class Broken(Memory):
        def save(self, checkpoint: bytes) -> None:
            raise TransientError("S3 is down")

    ledger = Ledger(Broken(), "file")
    ledger.take(results([[End.INDEXED]])[0])
    for _ in range(2):
        with pytest.raises(TransientError):
            ledger.save()

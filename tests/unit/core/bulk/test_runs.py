"""The ledger of a run: opened before the first write, closed when the books add up, settled when nothing is left on a manifest."""

from __future__ import annotations

import pytest

from searchops.core.bulk import places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.ledger import Unbalanced
from searchops.core.bulk.manifests import FIREHOSE, Entry, Manifest, Manifests
from searchops.core.bulk.model import Counts
from searchops.core.bulk.runs import Ledgers, Run, State
from searchops.core.errors import DataError, TransientError
from tests.unit.core.bulk.small_s3 import SmallS3

INDEX, RUN = "products", "bulk_load_products manual__2026-11-21T00:00:00+00:00"
SOURCES = {"a": "s3://bucket/a.ndjson", "b": "s3://bucket/b.ndjson"}


@pytest.fixture
def bucket(s3: SmallS3) -> Bucket:
    return Bucket(s3.client, s3.bucket)


@pytest.fixture
def ledgers(bucket: Bucket) -> Ledgers:
    return Ledgers(bucket, INDEX)


def manifest(bucket: Bucket, batch: int = 0) -> str:
    return Manifests(bucket, INDEX).write(Manifest(INDEX, RUN, "a", batch, 5.0, [Entry(0, "1", FIREHOSE, 1)]))


def state_of(run: Run | None) -> State | None:
    return run.state if run else None


def balanced(handed_over: int = 0) -> dict[str, Counts]:
    return {"a": Counts(accepted=3, indexed=3 - handed_over, handed_over=handed_over), "b": Counts(accepted=1, superseded=1)}


def test_a_run_is_open_before_its_first_write(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    found = ledgers.read(RUN)
    assert found is not None
    assert (found.state, found.began_at) == (State.OPEN, 1.0)
    assert [run.run for run in ledgers.all()] == [RUN]


def test_a_run_without_hand_overs_is_settled_when_it_is_closed(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    ended = ledgers.close(RUN, balanced(), now=2.0)
    assert (ended.state, ended.counts.accepted, ended.counts.ended) == (State.SETTLED, 4, 4)


def test_a_run_with_a_manifest_is_settled_by_whoever_proves_it(ledgers: Ledgers, bucket: Bucket) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    key = manifest(bucket)
    assert ledgers.close(RUN, balanced(handed_over=1), now=2.0).state is State.CLOSED
    bucket.delete(key)
    settled = ledgers.settle(RUN, now=3.0)
    assert settled is not None
    assert settled.state is State.SETTLED


def test_a_run_whose_manifests_were_proved_while_it_was_open_is_settled_when_it_is_closed(
    ledgers: Ledgers, bucket: Bucket
) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    bucket.delete(manifest(bucket))
    ledgers.settle(RUN, now=2.0)
    assert ledgers.close(RUN, balanced(handed_over=1), now=3.0).state is State.SETTLED


def test_an_open_run_is_not_settled(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    found = ledgers.settle(RUN, now=2.0)
    assert found is not None
    assert found.state is State.OPEN


def test_a_run_that_keeps_no_books_is_no_error_to_settle(ledgers: Ledgers) -> None:
    assert ledgers.settle("bulk_writer-2026-11-21", now=1.0) is None


def test_an_input_that_has_not_come_to_its_end_keeps_the_run_open(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    with pytest.raises(Unbalanced, match=r"1 of 2 inputs have not come to their end, e\.g\. s3://bucket/b\.ndjson"):
        ledgers.close(RUN, {"a": Counts(accepted=1, indexed=1)}, now=2.0)
    found = ledgers.read(RUN)
    assert found is not None
    assert found.state is State.OPEN


def test_ends_that_do_not_add_up_keep_the_run_open(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    with pytest.raises(Unbalanced, match="expected 3 ends, found 2"):
        ledgers.close(RUN, {**balanced(), "a": Counts(accepted=3, indexed=2)}, now=2.0)


def test_a_run_that_is_taken_up_again_keeps_its_beginning_and_its_books(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    ledgers.close(RUN, balanced(), now=2.0)
    again = ledgers.open(RUN, {**SOURCES, "c": "s3://bucket/c.ndjson"}, now=9.0)
    assert (again.state, again.began_at, again.counts.accepted, set(again.inputs)) == (State.OPEN, 1.0, 4, {"a", "b", "c"})


def test_a_run_is_taken_up_again_for_the_same_index_only(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0, target_uuid="one", tasks=2)
    ledgers.open(RUN, SOURCES, now=2.0, target_uuid="one", tasks=2)
    ledgers.close(RUN, balanced(), now=3.0)
    kept = ledgers.read(RUN)
    assert kept is not None
    assert (kept.target_uuid, kept.tasks) == ("one", 2)

    with pytest.raises(
        DataError, match=r"expected the index that the load began with \(one\), found another.*\(other\).*start a new run"
    ):
        ledgers.open(RUN, SOURCES, now=4.0, target_uuid="other")

    assert ledgers.read(RUN) == kept


def test_a_ledger_that_was_removed_is_told(ledgers: Ledgers) -> None:
    with pytest.raises(DataError, match="expected a ledger, found none"):
        ledgers.close(RUN, balanced(), now=2.0)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 2}', b'{"format": 1, "inputs": 3}'])
def test_what_is_no_ledger_is_not_taken_for_one(ledgers: Ledgers, bucket: Bucket, content: bytes) -> None:
    bucket.put(places.ledger_key(INDEX, RUN), content)
    with pytest.raises(DataError, match="expected a ledger that searchops wrote"):
        ledgers.read(RUN)


def test_what_a_load_hands_over_while_it_is_being_settled_keeps_it_closed(ledgers: Ledgers, bucket: Bucket) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    proved = manifest(bucket)
    later = manifest(bucket, batch=1)
    ledgers.close(RUN, balanced(handed_over=1), now=2.0)

    assert state_of(ledgers.settle(RUN, now=3.0, going=proved)) is State.CLOSED
    bucket.delete(proved)
    assert state_of(ledgers.settle(RUN, now=3.0)) is State.CLOSED
    assert state_of(ledgers.settle(RUN, now=3.0, going=later)) is State.SETTLED


def test_a_run_that_is_opened_again_while_it_is_being_settled_stays_open(ledgers: Ledgers, bucket: Bucket, s3: SmallS3) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    key = manifest(bucket)
    ledgers.close(RUN, balanced(handed_over=1), now=2.0)

    def open_again(operation: str, of: str) -> str:
        if operation == "ListObjectsV2":
            s3.fails = lambda operation, key: ""
            ledgers.open(RUN, SOURCES, now=3.0)
        return ""

    s3.fails = open_again

    assert state_of(ledgers.settle(RUN, now=4.0, going=key)) is State.OPEN
    assert state_of(ledgers.read(RUN)) is State.OPEN


def test_an_input_that_a_later_plan_does_not_have_stays_as_replaced_and_is_not_waited_for(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    ledgers.close(RUN, balanced(), now=2.0)

    ledgers.open(RUN, {"b": SOURCES["b"], "c": SOURCES["a"]}, now=3.0)
    ended = ledgers.close(RUN, {"b": Counts(accepted=1, indexed=1), "c": Counts(accepted=5, indexed=5)}, now=4.0)

    assert ended == ledgers.read(RUN)
    assert {name: (part.counts.accepted, part.replaced) for name, part in ended.inputs.items()} == {
        "a": (3, True),
        "b": (1, False),
        "c": (5, False),
    }
    assert ended.counts.accepted == 6
    assert not ledgers.open(RUN, SOURCES, now=5.0).inputs["a"].replaced


def test_an_input_of_which_nothing_is_known_is_forgotten_when_it_is_replaced(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    assert set(ledgers.open(RUN, {"c": "s3://bucket/c.ndjson"}, now=2.0).inputs) == {"c"}


def test_what_an_input_has_come_to_is_known_of_a_run_that_never_ends(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)

    assert ledgers.note(RUN, "a", Counts(accepted=3, indexed=3), now=2.0, complete=True)
    assert ledgers.note(RUN, "b", Counts(accepted=2, superseded=2), now=3.0, complete=False)
    abandoned = ledgers.abandon(RUN, now=4.0)

    assert abandoned.counts == Counts(accepted=5, indexed=3, superseded=2)
    assert {name: part.complete for name, part in abandoned.inputs.items()} == {"a": True, "b": False}
    assert not ledgers.note(RUN, "b", Counts(), now=5.0, complete=True), "nobody writes into a run that has ended"


def test_what_two_tasks_note_at_the_same_moment_is_both_kept(ledgers: Ledgers, s3: SmallS3) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)

    def other(operation: str, of: str) -> str:
        if operation == "PutObject":
            s3.fails = lambda operation, key: ""
            ledgers.note(RUN, "b", Counts(accepted=1, indexed=1), now=2.0, complete=True)
        return ""

    s3.fails = other

    assert ledgers.note(RUN, "a", Counts(accepted=3, indexed=3), now=3.0, complete=True)
    run = ledgers.read(RUN)
    assert run is not None
    assert [part.counts.accepted for part in run.inputs.values()] == [3, 1]


def test_an_input_that_the_run_does_not_have_is_not_noted(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)

    assert not ledgers.note(RUN, "c", Counts(), now=2.0, complete=True)
    assert not ledgers.note("another", "a", Counts(), now=2.0, complete=True)


def test_an_open_run_can_be_abandoned_and_taken_up_again(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    assert ledgers.abandon(RUN, now=2.0).state is State.ABANDONED
    assert state_of(ledgers.read(RUN)) is State.ABANDONED
    assert state_of(ledgers.settle(RUN, now=3.0)) is State.ABANDONED
    assert ledgers.open(RUN, SOURCES, now=4.0).state is State.OPEN


def test_a_run_that_came_to_its_end_is_not_abandoned_and_an_unknown_one_is_told(ledgers: Ledgers) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)
    ledgers.close(RUN, balanced(), now=2.0)
    assert ledgers.abandon(RUN, now=3.0).state is State.SETTLED
    with pytest.raises(DataError, match="run 'another': expected the ledger of a load, found none"):
        ledgers.abandon("another", now=3.0)


def test_a_run_that_is_written_at_the_same_moment_is_not_abandoned(ledgers: Ledgers, s3: SmallS3) -> None:
    ledgers.open(RUN, SOURCES, now=1.0)

    def write(operation: str, of: str) -> str:
        if operation == "PutObject":
            s3.fails = lambda operation, key: ""
            ledgers.open(RUN, SOURCES, now=2.0)
        return ""

    s3.fails = write

    with pytest.raises(TransientError, match="was written at the same moment"):
        ledgers.abandon(RUN, now=3.0)
    assert state_of(ledgers.read(RUN)) is State.OPEN

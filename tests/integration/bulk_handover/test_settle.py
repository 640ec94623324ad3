"""What was handed over is proved by what the real node holds, or it is told what is missing."""

from __future__ import annotations

import gzip
import threading
import time

import pytest

from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.bulk import places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.delivery import IndexClosed
from searchops.core.bulk.manifests import Entry
from searchops.core.bulk.model import Counts, HandedOver, Rejected
from searchops.core.bulk.runs import Ledgers, State
from searchops.core.bulk.settle import NotArrived
from searchops.core.bulk.stores import RejectedObjects
from searchops.core.errors import DataError, TransientError
from tests.integration.bulk_handover.conftest import INPUT, ONCE, OVER, RUN, SEQUENCE, MakePlace, Place, documents


def write(place: Place, id: str, version: int, routing: str | None = None) -> None:
    place.node.index(
        index=place.alias,
        id=id,
        body={"n": 1},
        params={"version": version, "version_type": "external"} | ({"routing": routing} if routing else {}),
    )


def test_where_nothing_was_handed_over_it_is_one_call(place: Place) -> None:
    place.s3.calls.clear()

    result = place.settle()

    assert (result.runs, result.settled, result.problem()) == ({}, True, None)
    assert [operation for operation, _ in place.s3.calls] == ["ListObjectsV2"]
    assert place.settled == []


def test_a_run_that_is_asked_for_and_has_no_manifest_is_settled(place: Place) -> None:
    assert place.settle("manual").settled
    assert place.settled == ["manual"]


def test_what_firehose_delivers_is_proved_and_its_manifest_goes(make_place: MakePlace) -> None:
    place = make_place(stream=True)
    place.control.pause(place.alias)
    assert place.lanes().hand_over(0, documents(1_200)) == {"firehose": 1_200}

    on_its_way = place.settle()
    assert (on_its_way.of(RUN).proved, on_its_way.of(RUN).waiting, on_its_way.problem()) == (0, 1_200, None)
    assert (len(place.manifests()), place.settled) == (1, [])

    place.control.resume(place.alias)
    place.deliver()
    arrived = place.settle()
    assert (arrived.of(RUN).proved, arrived.settled) == (1_200, True)
    assert (place.manifests(), set(place.settled)) == ([], {RUN})
    assert place.held() == {f"id-{n}": (5, {"n": n}) for n in range(1_200)}


def test_an_entry_is_proved_by_its_version_or_a_greater_one_and_its_routing(place: Place) -> None:
    handed = [HandedOver(n, f"id-{n}", b"{}", 5, "東京" if n == 3 else None) for n in range(4)]
    place.spool(handed)
    write(place, "id-0", 4)
    write(place, "id-1", 5)
    write(place, "id-2", 6)
    write(place, "id-3", 5, routing="東京")

    state = place.settle().of(RUN)

    assert (state.proved, state.waiting, state.spooled) == (3, 1, 1)


@pytest.mark.parametrize(("held", "proved"), [(None, 0), ("7", 0), ("8", 1), ("9", 1)])
def test_by_sequence_an_entry_is_proved_by_the_stored_sequence(make_place: MakePlace, held: str | None, proved: int) -> None:
    place = make_place(SEQUENCE)
    place.spool([HandedOver(0, "id", b"{}", None, None, "8".zfill(40))])
    for _ in range(9):  # versions count by themselves here, and say nothing
        stored = {"searchops": {"sequence": held.zfill(40)}} if held else {}
        place.node.index(index=place.alias, id="id", body={"n": 1, **stored})

    assert place.settle().of(RUN).proved == proved


def test_of_a_document_that_never_changes_any_is_the_one(make_place: MakePlace) -> None:
    place = make_place(ONCE)
    place.spool([HandedOver(0, "here", b"{}", 1), HandedOver(1, "not", b"{}", 1)])
    write(place, "here", 1)

    assert [place.settle().of(RUN).proved, [entry.id for m in place.manifests() for entry in m.entries]] == [1, ["here", "not"]]


def test_a_tombstone_proves_what_is_older(place: Place) -> None:
    place.spool(documents(1))
    params = {"version": 6, "version_type": "external"}
    place.node.index(index=place.alias, id="id-0", body={"searchops": {"deleted": True, "deleted_at": 1}}, params=params)

    assert place.settle().settled


def test_what_is_nowhere_when_the_time_is_over_is_named_and_kept(make_place: MakePlace) -> None:
    place = make_place(stream=True)
    place.control.pause(place.alias)
    place.lanes(ago=OVER).hand_over(0, documents(12))
    write(place, "id-3", 5)

    result = place.settle()

    assert (result.of(RUN).proved, result.of(RUN).missing) == (1, 11)
    with pytest.raises(NotArrived, match=r"11 documents .* \(run manual.*: 11, e\.g\. id-0, id-1, id-2, id-4, .* id-10\)"):
        raise result.problem() or AssertionError
    assert [len(manifest.entries) for manifest in place.manifests()] == [12]
    assert place.settled == []


def test_what_somebody_took_from_the_spool_is_missing_at_once(place: Place) -> None:
    place.spool(documents(2))
    for key in place.s3.keys("spool/"):
        place.s3.client.delete_object(Bucket=place.s3.bucket, Key=key)

    assert place.settle().of(RUN).missing_ids == ["id-0", "id-1"]


def test_what_waits_among_firehoses_failures_is_not_missing(make_place: MakePlace) -> None:
    place = make_place(stream=True, compression="GZIP")
    place.lanes(ago=OVER).hand_over(0, [HandedOver(0, "id-0", b'{"n":"no number"}', 5), *documents(1, 1)])
    place.deliver()

    state = place.settle().of(RUN)

    assert (state.proved, state.waiting, state.failed, state.missing) == (1, 1, 1, 0)


def test_what_a_load_rejected_when_it_was_done_again_has_ended(place: Place) -> None:
    place.lanes(stream=False).hand_over(0, documents(2))
    place.s3.client.delete_object(Bucket=place.s3.bucket, Key=place.s3.keys("spool/")[0])
    store = RejectedObjects(place.s3.client, place.s3.bucket, index=place.alias, run=RUN, input=INPUT)
    store.keep(0, [Rejected(1, "id-1", "mapper_parsing_exception", "n", b"{}")])

    state = place.settle().of(RUN)

    assert (state.rejected, state.missing_ids) == (1, ["id-0"])


def test_a_manifest_stays_whole_until_all_of_it_is_proved(place: Place) -> None:
    place.spool(documents(30))
    for n in range(29):
        write(place, f"id-{n}", 5)

    first = place.settle()

    assert (first.of(RUN).proved, first.of(RUN).waiting, place.settled) == (29, 1, [])
    assert [len(manifest.entries) for manifest in place.manifests()] == [30]


def test_what_a_redrive_rejected_of_firehoses_failures_ends_at_once(make_place: MakePlace) -> None:
    place = make_place(stream=True)
    place.lanes().hand_over(0, [HandedOver(0, "id-0", b'{"n":"no number"}', 5), *documents(1, 1)])
    place.deliver()

    assert place.settle().of(RUN).waiting == 1
    place.redrive()
    state = place.settle().of(RUN)

    assert (state.proved, state.rejected, state.settled) == (1, 1, True)


def test_runs_are_settled_each_by_itself(place: Place) -> None:
    place.spool(documents(2), run="one")
    place.spool(documents(2, 2), run="two")
    for n in (0, 1, 2):
        write(place, f"id-{n}", 5)

    assert set(place.settle("two").runs) == {"two"}
    assert place.settled == []
    assert {run: state.settled for run, state in place.settle().runs.items()} == {"one": True, "two": False}
    assert set(place.settled) == {"one"}


def test_while_the_index_is_closed_nothing_is_proved_and_nothing_lost(place: Place) -> None:
    place.spool(documents(3))
    place.redrive()
    place.node.indices.close(index=place.index)

    with pytest.raises(IndexClosed, match="is closed"):
        place.settle()
    assert len(place.manifests()) == 1

    place.node.indices.open(index=place.index)
    place.node.cluster.health(index=place.index, wait_for_status="green")
    assert place.settle().settled


def test_without_the_index_nothing_is_proved_and_nothing_lost(place: Place) -> None:
    place.spool(documents(3))
    place.node.indices.delete(index=place.index)

    with pytest.raises(TransientError, match="index_not_found_exception"):
        place.settle()
    assert len(place.manifests()) == 1


@pytest.mark.parametrize(
    "kind", [Kind.STATUS_429, Kind.STATUS_429_TEXT, Kind.STATUS_503, Kind.RESET_AFTER, Kind.CUT, Kind.NOT_JSON]
)
def test_an_answer_that_says_nothing_proves_nothing(place: Place, proxy: FaultProxy, kind: Kind) -> None:
    place.spool(documents(3))
    place.redrive()
    proxy.order(Fault(kind, path="_mget", times=1))

    with pytest.raises(TransientError):
        place.settle()
    assert len(place.manifests()) == 1
    assert place.settle().settled


@pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject", "DeleteObject"])
def test_a_bucket_that_fails_in_the_middle_leaves_what_the_next_pass_needs(place: Place, operation: str) -> None:
    place.spool(documents(2))
    place.spool(documents(2, 2), batch=1)
    place.redrive()
    place.s3.fails = lambda called, key: "SlowDown" if called == operation else ""

    with pytest.raises(TransientError):
        place.settle()
    place.s3.fails = lambda called, key: ""
    assert place.settle().settled
    assert (place.manifests(), RUN in place.settled) == ([], True)


def test_a_manifest_that_can_not_be_read_keeps_no_other_from_being_settled(place: Place) -> None:
    key = places.manifest_key(place.alias, "broken", INPUT, 0, "00")
    place.s3.put(key, gzip.compress(b'{"format":1'))
    place.spool(documents(2))
    place.redrive()

    result = place.settle()

    assert {run: state.settled for run, state in result.runs.items()} == {"broken": False, RUN: True}
    assert isinstance(result.problem(), DataError)
    assert key in str(result.problem())
    assert place.s3.keys("manifests/") == [key]


def test_two_passes_at_once_settle_as_one_does(place: Place) -> None:
    for batch in range(20):
        place.spool(documents(150, batch * 150), batch=batch)
    place.redrive()
    results, errors = [], []

    def settle() -> None:
        try:
            results.append(place.settle())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=settle) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert max(result.of(RUN).proved for result in results) == 3_000
    assert place.manifests() == []


def test_what_moves_from_the_spool_to_the_index_meanwhile_is_never_missing(place: Place) -> None:
    """The redrive of another process ends between the first look into the index and the look into the spool."""
    place.spool(documents(5))
    redriven = []

    def redrive_first(operation: str, key: str) -> str:
        if operation == "ListObjectsV2" and not redriven and place.s3.calls[-2:][0][0] == "GetObject":
            redriven.append(True)
            place.redrive()
        return ""

    place.s3.calls.clear()
    place.s3.fails = redrive_first

    state = place.settle().of(RUN)

    assert (redriven, state.proved, state.missing) == ([True], 5, 0)


def test_an_entry_says_where_it_went(place: Place) -> None:
    place.spool(documents(1))

    (entry,) = place.manifests()[0].entries
    assert entry == Entry(0, "id-0", "spool", 5, spool=place.s3.keys("spool/")[0])


def test_what_a_load_hands_over_during_a_pass_keeps_it_from_being_settled(place: Place) -> None:
    """The pass has listed the manifests when the load writes another one and comes to its end."""
    ledgers = Ledgers(Bucket(place.s3.client, place.s3.bucket), place.alias)
    ledgers.open(RUN, {INPUT: "s3://bucket/a.ndjson"}, time.time())
    place.spool(documents(2))
    place.redrive()

    def load_ends(operation: str, key: str) -> str:
        if operation == "GetObject" and key.startswith("manifests/"):
            place.s3.fails = lambda operation, key: ""
            place.spool(documents(2, 2), batch=1)
            ledgers.close(RUN, {INPUT: Counts(accepted=4, handed_over=4)}, time.time())
        return ""

    def note(run: str, going: str | None) -> None:
        ledgers.settle(run, time.time(), going=going)

    place.s3.fails = load_ends
    place.settle(settled=note)

    assert [run.state for run in ledgers.all()] == [State.CLOSED]
    place.redrive()
    place.settle(settled=note)
    assert [run.state for run in ledgers.all()] == [State.SETTLED]


def test_a_rejection_from_before_a_hand_over_does_not_end_it(make_place: MakePlace) -> None:
    """The mapping was mended meanwhile, and the file loaded again."""
    place = make_place(stream=True)
    place.spool([HandedOver(0, "id-0", b'{"n":"no number"}', 5)])
    place.redrive()
    assert place.settle().of(RUN).rejected == 1
    place.control.pause(place.alias)

    place.lanes(ago=-120).hand_over(0, documents(1))

    state = place.settle().of(RUN)
    assert (state.waiting, state.rejected) == (1, 0)
    place.control.resume(place.alias)


def test_what_an_abandoned_try_rejected_does_not_end_a_later_hand_over(place: Place) -> None:
    store = RejectedObjects(place.s3.client, place.s3.bucket, index=place.alias, run=RUN, input=INPUT)
    store.keep(0, [Rejected(0, "id-0", "mapper_parsing_exception", "n", b"{}")])
    place.lanes(stream=False, ago=-120).hand_over(0, documents(1))
    place.s3.client.delete_object(Bucket=place.s3.bucket, Key=place.s3.keys("spool/")[0])

    assert place.settle().of(RUN).missing_ids == ["id-0"]

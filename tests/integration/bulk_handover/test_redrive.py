"""What did not arrive is sent again, once or often, by one or by two, and ends as what the real node says of it."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import threading
import time
from typing import Any

import pytest

from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.bulk import envelope
from searchops.core.bulk.delivery import IndexClosed
from searchops.core.bulk.model import HandedOver
from searchops.core.bulk.places import firehose_failed_prefix
from searchops.core.bulk.redrive import Choice, Fate, not_found
from searchops.core.bulk.stores import read_rejected
from searchops.core.bulk.target import NoIndex
from searchops.core.errors import DataError, TransientError
from tests.integration.bulk_handover.conftest import ONCE, OVER, RUN, SEQUENCE, MakePlace, Place, documents

_numbers = itertools.count(1)


def failure(place: Place, document: HandedOver, *, code: str = "429", kind: str = "", **changes: Any) -> dict[str, Any]:
    """A line of Firehose's, as the developer guide has it."""
    record = envelope.write(place.alias, document) + b"\n"
    return {
        "attemptsMade": 8,
        "arrivalTimestamp": int(time.time() * 1000),
        "errorCode": code,
        "errorMessage": json.dumps({"type": kind, "reason": "as the test has it"}) if kind else "",
        "attemptEndingTimestamp": int(time.time() * 1000),
        "rawData": base64.b64encode(record).decode(),
        "esDocumentId": "0",
        "esIndexName": "searchops-overflow",
        "esTypeName": "",
    } | changes


def keep_failures(place: Place, *lines: dict[str, Any] | bytes, folder: str = "AmazonOpenSearchService_failed") -> str:
    key = f"{firehose_failed_prefix(place.alias)}{folder}/2026/11/21/10/stream-{next(_numbers)}"
    place.s3.put(key, b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return key


def waiting(place: Place) -> list[str]:
    return place.s3.keys("spool/") + place.s3.keys("firehose-failed/")


def rejected(place: Place) -> list[tuple[str, str, bytes]]:
    found = [document for key in place.s3.keys("rejected/") for document in read_rejected(place.s3.get(key))]
    return [(document.id, document.kind, document.line) for document in found]


def test_what_waits_in_the_spool_is_indexed_proved_and_gone(place: Place) -> None:
    place.spool(documents(2_500))

    outcome = place.redrive()

    assert (outcome.count(Fate.INDEXED), outcome.removed, outcome.problem(time.time())) == (2_500, 1, None)
    assert place.settle().settled
    assert (waiting(place), place.manifests(), len(place.held())) == ([], [], 2_500)


def test_with_nothing_to_do_nothing_is_asked_of_the_node(place: Place) -> None:
    place.s3.calls.clear()

    outcome = place.redrive()

    assert (outcome.objects, outcome.problem(time.time())) == (0, None)
    assert [operation for operation, _ in place.s3.calls] == ["ListObjectsV2"] * 2


def test_an_older_document_does_not_replace_a_newer_one(place: Place) -> None:
    place.node.index(index=place.alias, id="id-0", body={"n": 9}, params={"version": 6, "version_type": "external"})
    place.spool(documents(2))

    outcome = place.redrive()

    assert (outcome.count(Fate.SUPERSEDED), outcome.count(Fate.INDEXED)) == (1, 1)
    assert place.held() == {"id-0": (6, {"n": 9}), "id-1": (5, {"n": 1})}
    assert place.settle().settled


def test_a_document_that_never_changes_is_there_once(make_place: MakePlace) -> None:
    place = make_place(ONCE)
    place.node.index(index=place.alias, id="id-0", body={"n": 0}, params={"version": 1, "version_type": "external"})
    place.spool(documents(2, version=1))

    assert place.redrive().count(Fate.INDEXED) == 2
    assert place.held() == {"id-0": (1, {"n": 0}), "id-1": (1, {"n": 1})}
    assert place.settle().settled


def test_by_sequence_the_later_record_stays(make_place: MakePlace) -> None:
    place = make_place(SEQUENCE)
    tombstone = b'{"searchops":{"deleted":true,"deleted_at":1}}'
    for batch, (sequence, source) in enumerate([("8", b'{"n":8}'), ("10", b'{"n":10}'), ("9", tombstone), ("9", b'{"n":9}')]):
        place.spool([HandedOver(0, "a" if batch < 3 else "b", source, None, None, sequence.zfill(40))], batch=batch)

    outcome = place.redrive()

    assert outcome.count(Fate.INDEXED, Fate.SUPERSEDED) == 4
    held = {id: source for id, (_, source) in place.held().items()}
    assert held == {
        "a": {"n": 10, "searchops": {"sequence": "10".zfill(40)}},
        "b": {"n": 9, "searchops": {"sequence": "9".zfill(40)}},
    }
    assert place.settle().settled


def test_two_writes_of_a_document_in_one_object_end_with_the_newer_one(place: Place) -> None:
    lines = [HandedOver(n, "same", b'{"n":%d}' % n, n) for n in (3, 1, 4, 2)]
    place.spool(lines)

    assert place.redrive().count(Fate.INDEXED, Fate.SUPERSEDED) == 4
    assert place.held() == {"same": (4, {"n": 4})}


@pytest.mark.parametrize("folder", ["AmazonOpenSearchService-failed", "AmazonOpenSearchService_failed", "elasticsearch_failed"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_firehose_could_not_deliver_is_read_from_each_of_its_folders(place: Place, folder: str, packed: bool) -> None:
    key = keep_failures(place, *(failure(place, document) for document in documents(3)), folder=folder)
    if packed:
        place.s3.put(key, gzip.compress(place.s3.get(key)))

    outcome = place.redrive()

    assert (outcome.count(Fate.INDEXED), waiting(place)) == (3, [])
    assert place.held() == {f"id-{n}": (5, {"n": n}) for n in range(3)}


def test_what_the_stream_really_failed_to_deliver_ends_as_the_index_says(make_place: MakePlace) -> None:
    place = make_place(stream=True)
    place.node.index(index=place.alias, id="id-1", body={"n": 9}, params={"version": 6, "version_type": "external"})
    poison = HandedOver(0, "id-0", b'{"n":"no number"}', 5)
    assert place.lanes(ago=OVER).hand_over(0, [poison, *documents(2, 1)]) == {"firehose": 3}
    place.deliver()

    looked = place.redrive(Choice(send=False))
    assert {kind: group.count for kind, group in looked.groups.items()} == {
        "400 mapper_parsing_exception": 1,
        "409 version_conflict_engine_exception": 1,
    }
    outcome = place.redrive()

    assert (outcome.count(Fate.REJECTED), outcome.count(Fate.SUPERSEDED), waiting(place)) == (1, 1, [])
    assert rejected(place) == [("id-0", "mapper_parsing_exception", envelope.write(place.alias, poison))]
    assert isinstance(outcome.problem(time.time()), DataError)
    settled = place.settle()
    assert (settled.of(RUN).proved, settled.of(RUN).rejected, settled.settled) == (2, 1, True)
    assert place.manifests() == []


def test_a_rejected_document_of_the_spool_is_kept_under_its_run(place: Place) -> None:
    place.spool([HandedOver(0, "id-0", b'{"n":"no number"}', 5), HandedOver(1, "id-1", b"{", 5), *documents(1, 2)])

    outcome = place.redrive()

    assert (outcome.count(Fate.REJECTED), outcome.count(Fate.INDEXED)) == (2, 1)
    assert [id for id, _, _ in rejected(place)] == ["id-0", "id-1"]
    assert all("manual__" in key for key in place.s3.keys("rejected/"))
    assert place.settle().of(RUN).rejected == 2
    assert place.settle().settled


def test_half_a_line_goes_to_the_rejected_and_the_others_to_the_index(place: Place) -> None:
    whole, half = (json.dumps(failure(place, document)).encode() for document in documents(2))
    key = keep_failures(place, whole, half[:-40])

    outcome = place.redrive()

    assert (outcome.count(Fate.INDEXED), outcome.count(Fate.UNREADABLE), waiting(place)) == (1, 1, [])
    assert rejected(place) == [("", "unreadable", half[:-40])]
    (document,) = read_rejected(place.s3.get(place.s3.keys("rejected/")[0]))
    assert document.where == f"{key}:2"
    assert "1 lines unreadable" in str(outcome.problem(time.time()))


def test_a_record_that_is_no_envelope_of_ours_is_kept_as_firehose_had_it(place: Place) -> None:
    line = failure(place, documents(1)[0], rawData=base64.b64encode(b'{"n":1}').decode())
    keep_failures(place, line)

    assert place.redrive().count(Fate.UNREADABLE) == 1
    assert [json.loads(raw) for _, _, raw in rejected(place)] == [line]


def test_half_an_object_is_used_as_far_as_it_goes_and_stays(place: Place) -> None:
    lines = b"\n".join(json.dumps(failure(place, document)).encode() for document in documents(2_000))
    packed = gzip.compress(lines)
    key = keep_failures(place, packed[: len(packed) // 2])

    outcome = place.redrive()

    assert 0 < outcome.count(Fate.INDEXED) < 2_000
    assert (outcome.broken, waiting(place)) == ([key], [key])
    assert "1 objects can not be read to their end" in str(outcome.problem(time.time()))


def test_what_belongs_to_another_index_is_left_alone(place: Place) -> None:
    foreign = base64.b64encode(envelope.write("elsewhere", documents(1, 7)[0])).decode()
    key = keep_failures(place, failure(place, documents(1)[0]), failure(place, documents(1)[0], rawData=foreign))

    outcome = place.redrive()

    assert (outcome.count(Fate.INDEXED), outcome.count(Fate.OTHER_INDEX), waiting(place)) == (1, 1, [key])
    assert not place.node.indices.exists(index="elsewhere")


def test_what_was_handed_over_under_another_scheme_is_rejected(make_place: MakePlace) -> None:
    place = make_place(SEQUENCE)
    place.spool(documents(1))

    assert place.redrive().count(Fate.REJECTED) == 1
    assert [kind for _, kind, _ in rejected(place)] == ["other_scheme"]
    assert place.held() == {}


def test_a_dry_run_changes_nothing(place: Place) -> None:
    place.spool(documents(3))
    keep_failures(place, failure(place, documents(1, 3)[0], code="400", kind="mapper_parsing_exception"), b"{")
    before = place.s3.keys()

    outcome = place.redrive(Choice(send=False))

    assert {kind: group.count for kind, group in outcome.groups.items()} == {
        "spooled": 3,
        "400 mapper_parsing_exception": 1,
        "unreadable": 1,
    }
    assert outcome.count(Fate.NOT_CHOSEN) == 5
    assert (place.s3.keys(), place.held()) == (before, {})
    told = outcome.as_json()["groups"]
    assert (told[0]["kind"], told[0]["first"].startswith("spool/")) == ("spooled", True)
    assert all(group["remedy"] for group in told)


def test_only_the_chosen_kind_is_sent_and_an_object_of_several_kinds_stays(place: Place) -> None:
    mixed = keep_failures(place, failure(place, documents(1)[0], code="429"), failure(place, documents(1, 1)[0], code="503"))
    alone = keep_failures(place, failure(place, documents(1, 2)[0], code="503"))
    choice = Choice(kinds=("503", "404"))

    outcome = place.redrive(choice)

    assert sorted(place.held()) == ["id-1", "id-2"]
    assert waiting(place) == [mixed]
    assert alone not in waiting(place)
    assert not_found(choice, outcome) == {"404": "no document of this kind waits"}
    assert place.redrive().count(Fate.INDEXED, Fate.SUPERSEDED) == 2
    assert waiting(place) == []


def test_only_the_chosen_age_and_run_are_sent(place: Place) -> None:
    now = time.time()
    keep_failures(place, failure(place, documents(1)[0], arrivalTimestamp=int((now - 7_200) * 1000)))
    keep_failures(place, failure(place, documents(1, 1)[0]))
    place.spool(documents(1, 2), run="one")
    place.spool(documents(1, 3), run="two")

    place.redrive(Choice(run="two"))
    assert sorted(place.held()) == ["id-3"]
    place.redrive(Choice(min_age_seconds=3_600))
    assert sorted(place.held()) == ["id-0", "id-3"]
    place.redrive(Choice(max_age_seconds=3_600))
    assert sorted(place.held()) == ["id-0", "id-1", "id-2", "id-3"]


def test_a_pass_ends_when_the_cluster_is_busy_again_and_loses_nothing(place: Place, proxy: FaultProxy) -> None:
    for batch in range(4):
        place.spool(documents(10, batch * 10), batch=batch)
    before = waiting(place)
    proxy.order(Fault(Kind.STATUS_429, times=1))

    outcome = place.redrive()

    assert (outcome.objects, outcome.count(Fate.NOT_TAKEN), outcome.cut_short) == (
        1,
        10,
        "the cluster did not take 10 of 10 documents",
    )
    assert outcome.problem(time.time()) is None
    assert isinstance(outcome.problem(time.time() + 2 * 86_400), TransientError)
    assert waiting(place) == before
    assert place.redrive().count(Fate.INDEXED) == 40
    assert waiting(place) == []


def test_a_few_refusals_end_no_pass_but_keep_their_object(place: Place, proxy: FaultProxy) -> None:
    place.spool(documents(200))
    place.spool(documents(200, 200), batch=1)
    proxy.order(Fault(Kind.ITEM_429, times=1, share=0.05))

    outcome = place.redrive()

    left = outcome.count(Fate.NOT_TAKEN)
    assert 0 < left <= 20
    assert (outcome.objects, outcome.removed, outcome.cut_short, len(waiting(place))) == (2, 1, "", 1)
    assert place.redrive().count(Fate.INDEXED, Fate.SUPERSEDED) == 200
    assert len(place.held()) == 400


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.LATE_504, Kind.CUT, Kind.SHORT, Kind.NOT_JSON])
def test_an_answer_that_is_lost_leaves_the_object_for_the_next_pass(place: Place, proxy: FaultProxy, kind: Kind) -> None:
    place.spool(documents(20))
    proxy.order(Fault(kind, path="_bulk", times=1))

    assert place.redrive().removed == 0
    assert place.redrive().removed == 1
    assert place.held() == {f"id-{n}": (5, {"n": n}) for n in range(20)}
    assert place.settle().settled


def test_while_the_index_is_closed_nothing_is_lost(place: Place) -> None:
    place.spool(documents(3))
    place.node.indices.close(index=place.index)

    with pytest.raises(IndexClosed):
        place.redrive()
    assert len(waiting(place)) == 1

    place.node.indices.open(index=place.index)
    place.node.cluster.health(index=place.index, wait_for_status="green")
    assert place.redrive().count(Fate.INDEXED) == 3


def test_without_the_index_it_is_not_made_and_nothing_is_lost(place: Place) -> None:
    place.spool(documents(3))
    place.node.indices.delete(index=place.index)

    with pytest.raises(NoIndex):
        place.redrive()

    assert not place.node.indices.exists(index=place.alias)
    assert len(waiting(place)) == 1


@pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject", "PutObject", "DeleteObject"])
def test_a_bucket_that_fails_in_the_middle_loses_nothing(place: Place, operation: str) -> None:
    place.spool([HandedOver(0, "id-0", b'{"n":"no number"}', 5), *documents(2, 1)])
    place.s3.fails = lambda called, key: "InternalError" if called == operation else ""

    with pytest.raises(TransientError):
        place.redrive()

    place.s3.fails = lambda called, key: ""
    assert len(waiting(place)) == 1
    outcome = place.redrive()
    assert (outcome.count(Fate.INDEXED, Fate.SUPERSEDED), outcome.count(Fate.REJECTED)) == (2, 1)
    assert (waiting(place), [id for id, _, _ in rejected(place)]) == ([], ["id-0"])


def test_two_passes_at_once_do_what_one_does(place: Place) -> None:
    for batch in range(10):
        place.spool([HandedOver(0, "same", b'{"n":%d}' % batch, batch), *documents(100, batch * 100)], batch=batch)
    keep_failures(place, *(failure(place, document) for document in documents(100, 1_000)), b"{half")
    errors: list[Exception] = []

    def redrive() -> None:
        try:
            place.redrive()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=redrive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert place.held() == {"same": (9, {"n": 9})} | {f"id-{n}": (5, {"n": n}) for n in range(1_100)}
    assert (waiting(place), rejected(place)) == ([], [("", "unreadable", b"{half")])
    assert place.settle().settled

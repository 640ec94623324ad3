"""What the caller of the function is told of each document, and where the document then is."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable

import pytest

from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.bulk.scheme import SchemeDiffers, SchemeMissing
from searchops.core.errors import DataError
from tests.integration.bulk_writer.conftest import (
    ATTRIBUTE,
    IMMEDIATE,
    SEQUENCE,
    SHARED,
    Deployed,
    MakeWriter,
    Writer,
    again,
    ends,
    operations,
)

ALL = 1.0


def refuse(writer: Writer, share: float = ALL) -> None:
    writer.proxy.order(Fault(Kind.ITEM_429, times=None, share=share))


@pytest.mark.parametrize("refresh", ["wait_for", "true"])
def test_what_is_answered_as_indexed_is_found_by_the_next_search(make_writer: MakeWriter, refresh: str) -> None:
    writer = make_writer(SEARCHOPS_REFRESH=refresh)

    told = writer(operations(3))

    assert writer.searched() == {"id-0", "id-1", "id-2"}
    assert (told["status"], ends(told)) == (200, ["indexed"] * 3)


def test_a_request_may_ask_for_another_refresh(make_writer: MakeWriter) -> None:
    writer = make_writer(SEARCHOPS_REFRESH="false")

    writer({"operations": operations(1), "refresh": "true"})

    assert writer.searched() == {"id-0"}


def test_every_end_of_a_document_is_told_in_its_place(writer: Writer) -> None:
    writer(operations(2, version=7))

    told = writer(
        [
            {"op": "index", "id": "id-0", "version": 6, "document": {"n": 0}},
            {"op": "index", "id": "new", "version": 1, "document": {"n": "no number"}},
            {"op": "indx", "id": "wrong", "version": 1, "document": {}},
            {"op": "index", "id": "new", "version": 2, "document": {"n": 1}},
            {"op": "delete", "id": "id-1", "version": 8},
            {"op": "index", "id": "x" * 513, "version": 1, "document": {}},
            "no operation",
        ]
    )

    assert told["status"] == 200
    assert ends(told) == ["superseded", "rejected", "rejected", "indexed", "indexed", "rejected", "rejected"]
    kinds = {document["position"]: document["kind"] for document in told["documents"] if document["end"] == "rejected"}
    assert kinds == {1: "mapper_parsing_exception", 2: "unreadable", 5: "bad_id", 6: "unreadable"}
    assert "failed to parse field [n]" in told["documents"][1]["reason"]
    assert [document["id"] for document in told["documents"]] == ["id-0", "new", "wrong", "new", "id-1", "x" * 513, ""]
    assert writer.versions() == {"id-0": 7, "id-1": 8, "new": 2}


def test_refused_documents_are_handed_over_at_once_and_settle_in_the_index(writer: Writer) -> None:
    sent = [*operations(10), {"op": "delete", "id": "gone", "version": 9}]
    refuse(writer)

    told = writer(sent)
    writer.proxy.clear()

    assert (told["status"], ends(told)) == (200, ["handed_over"] * 11)
    assert (writer.taken(), writer.versions()) == (11, {})
    (manifest,) = writer.manifests()
    assert {"run": manifest.run, "input": manifest.input} == told["manifests"]
    assert manifest.run.startswith("bulk_writer-20")
    assert [entry.position for entry in manifest.entries] == list(range(11))
    writer.deliver()
    assert writer.versions() == {f"id-{number}": 5 for number in range(10)} | {"gone": 9}
    writer.settle()
    assert writer.manifests() == []


def test_of_a_request_that_is_half_refused_each_half_is_told_of(writer: Writer) -> None:
    refuse(writer, share=0.5)

    told = writer(operations(10))

    assert (told["status"], Counter(ends(told))) == (200, {"indexed": 5, "handed_over": 5})
    indexed = {document["id"] for document in told["documents"] if document["end"] == "indexed"}
    assert writer.searched() == indexed
    assert set(writer.lanes()) == {f"id-{number}" for number in range(10)} - indexed


@pytest.mark.parametrize("kind", [Kind.STATUS_429, Kind.STATUS_429_TEXT])
def test_a_request_that_is_refused_as_a_whole_is_handed_over(writer: Writer, kind: Kind) -> None:
    writer.proxy.order(Fault(kind))

    told = writer(operations(3))

    assert ends(told) == ["handed_over"] * 3
    assert writer.proxy.counts() == {kind: 1}


def test_firehose_is_called_as_often_as_it_takes_and_waited_for_never(writer: Writer) -> None:
    refuse(writer)
    before = writer.control.calls().get("PutRecordBatch", 0)

    told = writer(operations(700))

    assert ends(told) == ["handed_over"] * 700
    assert writer.control.calls()["PutRecordBatch"] == before + 2
    assert Counter(writer.lanes().values()) == {"firehose": 700}
    writer.proxy.clear()
    writer.deliver()
    writer.redrive()
    assert len(writer.versions()) == 700


@pytest.mark.parametrize("fault", ["throttle", "server_error", "reset"])
def test_what_firehose_does_not_take_goes_to_the_spool(writer: Writer, fault: str) -> None:
    refuse(writer)
    writer.control.fault(fault, "PutRecordBatch", stream=SHARED)

    told = writer(operations(5))

    assert (told["status"], ends(told)) == (200, ["handed_over"] * 5)
    assert set(writer.lanes().values()) == {"spool"}


def test_without_a_stream_everything_goes_to_the_spool(make_writer: MakeWriter) -> None:
    writer = make_writer(SEARCHOPS_STREAM="")
    refuse(writer)

    told = writer(operations(5))

    assert (ends(told), set(writer.lanes().values())) == (["handed_over"] * 5, {"spool"})


def test_a_stream_that_is_silent_costs_no_more_than_its_time_out(make_writer: MakeWriter) -> None:
    writer = make_writer(SEARCHOPS_AWS_TIMEOUT="0.5")
    writer(operations(1, first=100))  # what is made at the first invocation
    refuse(writer)
    writer.control.fault("slow_after", "PutRecordBatch", stream=SHARED, seconds=10.0)

    began = time.monotonic()
    told = writer(operations(5))

    assert time.monotonic() - began < 8
    assert (ends(told), set(writer.lanes().values())) == (["handed_over"] * 5, {"spool"})


def test_what_neither_lane_takes_is_for_the_caller_to_send_again(make_writer: MakeWriter) -> None:
    writer = make_writer(SEARCHOPS_BUCKET="not-there")
    refuse(writer, share=0.5)
    writer.control.down()

    told = writer(operations(4))
    writer.proxy.clear()

    assert (told["status"], Counter(ends(told))) == (207, {"indexed": 2, "retriable": 2})
    assert "2 documents could not be handed over" in told["why"]
    assert ends(writer(again(operations(4), told))) == ["indexed"] * 2
    assert len(writer.versions()) == 4


def test_what_firehose_has_but_no_manifest_names_is_not_called_handed_over(make_writer: MakeWriter) -> None:
    writer = make_writer(SEARCHOPS_BUCKET="not-there")
    refuse(writer)

    told = writer(operations(4))

    assert (told["status"], ends(told), writer.taken()) == (503, ["retriable"] * 4, 4)


@pytest.mark.parametrize("settings", [{"SEARCHOPS_STREAM": "", "SEARCHOPS_BUCKET": ""}])
def test_without_a_bucket_refused_documents_are_for_the_caller(make_writer: MakeWriter, settings: dict[str, str]) -> None:
    writer = make_writer(**settings)
    refuse(writer)

    told = writer(operations(3))

    assert (told["status"], ends(told)) == (503, ["retriable"] * 3)
    assert told["retriable"] == [{"position": number, "id": f"id-{number}"} for number in range(3)]


def test_real_deletes_are_never_handed_over(make_writer: MakeWriter) -> None:
    writer = make_writer(IMMEDIATE, SEARCHOPS_STREAM="", SEARCHOPS_BUCKET="")
    refuse(writer)

    assert ends(writer([{"op": "delete", "id": "a", "version": 1}])) == ["retriable"]


def test_a_document_by_sequence_goes_to_the_spool(make_writer: MakeWriter) -> None:
    writer = make_writer(SEQUENCE)
    refuse(writer)

    told = writer([{"op": "index", "id": "a", "sequence": "6200000000002513011398", "document": {"n": 1}}])

    assert (ends(told), writer.lanes()) == (["handed_over"], {"a": "spool"})
    writer.proxy.clear()
    writer.redrive()
    assert writer.held()["a"]["_source"]["n"] == 1


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Kind.STATUS_503, False),
        (Kind.RESET_BEFORE, False),
        (Kind.STATUS_500, False),
        (Kind.LATE_504, True),
        (Kind.RESET_AFTER, True),
        (Kind.CUT, True),
        (Kind.NOT_JSON, True),
        (Kind.TIMEOUT, True),
    ],
)
def test_what_may_have_been_written_is_never_handed_over(make_writer: MakeWriter, kind: Kind, written: bool) -> None:
    writer = make_writer(SEARCHOPS_TIMEOUT="1")
    writer.proxy.order(Fault(kind, seconds=30))

    told = writer(operations(3))
    writer.proxy.release()

    assert (told["status"], ends(told)) == (503, ["retriable"] * 3)
    assert (writer.taken(), writer.manifests()) == (0, [])
    assert len(writer.versions()) == (3 if written else 0)
    assert ends(writer(again(operations(3), told))) == ["indexed"] * 3
    assert writer.versions() == {f"id-{number}": 5 for number in range(3)}


def test_a_blocked_index_is_told_with_the_clusters_reason(writer: Writer) -> None:
    """A full disk answers 429 too, but waiting for it is not what the lanes are for."""
    writer.proxy.order(Fault(Kind.ITEM_BLOCK_429, share=ALL))

    told = writer(operations(2))

    assert (told["status"], ends(told)) == (503, ["retriable"] * 2)
    assert "disk usage exceeded flood-stage watermark" in told["why"]
    assert writer.taken() == 0


def test_two_writes_of_one_document_keep_their_order(writer: Writer) -> None:
    sent = [{"op": "index", "id": "a", "version": version, "document": {"n": version}} for version in (1, 2, 3)]
    indexed = writer(sent)
    refuse(writer)
    refused = writer([{**operation, "id": "b"} for operation in sent])

    assert (ends(indexed), ends(refused)) == (["indexed"] * 3, ["handed_over"] * 3)
    assert writer.versions() == {"a": 3}
    assert len(writer.manifests()) == 3


def test_the_answer_comes_before_the_function_is_stopped(make_writer: MakeWriter) -> None:
    writer = make_writer(SEARCHOPS_AWS_TIMEOUT="0.1")  # so 4.3 s are kept for a hand-over
    writer(operations(1, first=100))
    writer.proxy.order(Fault(Kind.SLOW, times=None, seconds=30))

    began = time.monotonic()
    told = writer(operations(2), remaining_seconds=5.3)
    seconds = time.monotonic() - began
    writer.proxy.release()

    assert (told["status"], ends(told)) == (503, ["retriable"] * 2)
    assert 0.9 < seconds < 5.3


def test_nothing_is_begun_when_the_time_is_too_short(writer: Writer) -> None:
    told = writer(operations(2), remaining_seconds=10.2)

    assert (told["status"], ends(told)) == (503, ["retriable"] * 2)
    assert told["why"].startswith("10.2 s are left until the function is stopped, of which 10.0 s are kept for a hand-over")
    assert writer.versions() == {}


def test_an_index_of_another_scheme_is_not_written(make_writer: MakeWriter) -> None:
    writer = make_writer(declared=IMMEDIATE)

    with pytest.raises(SchemeDiffers):
        writer(operations(1))
    nothing = writer.versions()
    writer.declare(ATTRIBUTE)

    assert nothing == {}
    assert ends(writer(operations(1))) == ["indexed"]


def test_an_index_that_says_nothing_of_its_scheme_is_not_written(writer: Writer) -> None:
    writer.node.indices.put_mapping(index=writer.index, body={"_meta": {}})

    with pytest.raises(SchemeMissing, match="searchops_setup"):
        writer(operations(1))


def test_an_index_that_is_not_there_is_not_made(make_writer: MakeWriter) -> None:
    writer = make_writer(SEARCHOPS_INDEX="bulk-writer-not-there")

    with pytest.raises(DataError, match="expected an index or an alias of that name, found none"):
        writer(operations(1))

    assert not writer.node.indices.exists(index="bulk-writer-not-there")


def test_a_closed_index_is_asked_again_by_the_next_request(writer: Writer) -> None:
    writer.node.indices.close(index=writer.index)
    closed = writer(operations(1))
    writer.node.indices.open(index=writer.index)
    open_again = writer(operations(1))
    writer.node.indices.close(index=writer.index)
    closed_later = writer(operations(1, version=6))
    writer.node.indices.open(index=writer.index)

    assert [ends(told) for told in (closed, open_again, closed_later)] == [["retriable"], ["indexed"], ["retriable"]]
    assert "is closed" in closed["why"]
    assert writer.taken() == 0


def test_a_domain_that_can_not_be_reached_leaves_all_to_the_caller(make_writer: MakeWriter) -> None:
    writer = make_writer(SEARCHOPS_ENDPOINT="http://127.0.0.1:9")

    assert ends(writer(operations(2))) == ["retriable"] * 2


def test_an_http_request_gets_an_http_answer(writer: Writer) -> None:
    event = {"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "body": json.dumps(operations(2))}

    good, bad = writer(event), writer(event | {"body": "<html>"})

    assert (good["statusCode"], json.loads(good["body"])["counts"]["indexed"]) == (200, 2)
    assert (bad["statusCode"], json.loads(bad["body"])["error"][:24]) == (400, "body: expected JSON, fou")


def test_the_lanes_are_used_again_after_a_long_silence(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(writer)
    writer(operations(2))
    later = time.time() + 3600
    monkeypatch.setattr("time.time", lambda: later)

    told = writer(operations(2, first=2))

    assert ends(told) == ["handed_over"] * 2
    assert set(writer.lanes().values()) == {"firehose"}


def test_the_zip_runs_as_a_function(make_writer: MakeWriter, deploy: Callable[[Writer], Deployed]) -> None:
    writer = make_writer(declared=IMMEDIATE)
    function = deploy(writer)

    failed = function.invoke(operations(3))
    writer.declare(ATTRIBUTE)
    indexed = function.invoke(operations(3))
    refuse(writer)
    handed_over = function.invoke({"requestContext": {}, "body": json.dumps(operations(3, first=3))})

    assert (failed[0], failed[1]["errorType"]) == (True, "SchemeDiffers")
    assert (indexed[0], ends(indexed[1])) == (False, ["indexed"] * 3)
    assert (handed_over[0], handed_over[1]["statusCode"]) == (False, 200)
    assert ends(json.loads(handed_over[1]["body"])) == ["handed_over"] * 3
    assert set(writer.lanes()) == {"id-3", "id-4", "id-5"}
    assert writer.versions() == {f"id-{number}": 5 for number in range(3)}

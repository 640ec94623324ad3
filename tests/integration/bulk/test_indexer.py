"""The indexer and a real node: what each scheme does, what the node refuses, how a load waits, stops and goes on."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opensearchpy import OpenSearch

from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.bulk import (
    BatchResult,
    Blocked,
    BulkIndexer,
    Counts,
    End,
    IndexClosed,
    NotDone,
    Operation,
    Scheme,
    Unreadable,
    create,
    delete,
    index,
    update,
)
from searchops.core.bulk.indexer import Stopped
from searchops.core.bulk.progress import Progress
from searchops.core.bulk.scheme import SchemeDiffers
from searchops.core.bulk.target import NoIndex, read_target
from searchops.core.errors import DataError, TransientError
from tests.integration.bulk.conftest import ATTRIBUTE, NONE, ONCE, REAL_DELETES, REAL_SEQUENCE, SEQUENCE, Folder, Place

Documents = Callable[..., list[Operation]]
INDEXED, SUPERSEDED, REJECTED, HANDED_OVER = End.INDEXED, End.SUPERSEDED, End.REJECTED, End.HANDED_OVER


def ends(counts: Counts) -> tuple[int, int, int, int]:
    return counts.indexed, counts.superseded, counts.rejected, counts.handed_over


# Schemes


def test_by_attribute_the_greater_version_stays_whatever_the_order_is(place: Place) -> None:
    written = place.indexer().write(
        [
            index("a", {"n": 2}, version=2),
            index("a", {"n": 1}, version=1),
            delete("a", version=3),
            index("a", {"n": 2}, version=2),
            index("a", {"n": 4}, version=4),
            index("b", {"n": 0}, version=0, routing="r"),
        ]
    )

    assert written.ends == [INDEXED, SUPERSEDED, INDEXED, SUPERSEDED, INDEXED, INDEXED]
    assert place.contents() == {"a": 4, "b": 0}
    assert place.held()["a"][0] == 4


def test_a_tombstone_keeps_older_writes_out(place: Place) -> None:
    place.indexer().write([index("a", {"n": 1}, version=1), delete("a", version=3), index("a", {"n": 2}, version=2)])

    version, source = place.held()["a"]
    assert (version, source["searchops"]["deleted"]) == (3, True)


def test_what_another_run_has_written_with_this_version_is_indexed(place: Place, documents: Documents) -> None:
    place.indexer().run(documents(120))

    counts = place.indexer().run(documents(120))

    assert ends(counts) == (120, 0, 0, 0)


@pytest.mark.parametrize("scheme", [ATTRIBUTE, REAL_DELETES])
def test_a_delete_of_the_document_s_own_version_is_no_delete_and_says_so(place: Place, scheme: Scheme) -> None:
    written = place.indexer(scheme).write([index("a", {"n": 1}, version=5), delete("a", version=5), delete("a", version=6)])

    assert written.ends == [INDEXED, REJECTED, INDEXED]
    assert "another write with the same version 5" in written.rejected[0].reason


def test_a_real_delete_takes_the_document_away_and_of_nothing_is_done(place: Place) -> None:
    written = place.indexer(REAL_DELETES).write(
        [index("a", {"n": 1}, version=1), delete("a", version=2), delete("a", version=2), delete("never", version=1)]
    )

    assert written.ends == [INDEXED] * 4
    assert place.held() == {}


def test_an_event_that_is_there_already_is_indexed(place: Place) -> None:
    events = [index("a", {"n": 1}), create("a", {"n": 9}), index("b", {"n": 2}), index("a", {"n": 9})]

    written = place.indexer(ONCE).write(events)

    assert written.ends == [INDEXED] * 4
    assert place.held() == {"a": (1, {"n": 1}), "b": (1, {"n": 2})}


def test_by_sequence_the_later_record_stays_whatever_the_order_is(place: Place) -> None:
    indexer = place.indexer(SEQUENCE)

    written = indexer.write(
        [
            index("a", {"n": 9}, sequence="9" * 21),
            index("a", {"n": 10}, sequence="1" + "0" * 21),
            index("a", {"n": 9}, sequence="9" * 21),
            index("a", {"n": 10}, sequence="1" + "0" * 21),
            delete("b", sequence="7"),
            index("b", {"n": 6}, sequence="6"),
            index("c", {"n": 0}, sequence="0"),
            index("c", {"n": 1}, sequence="0"),
        ]
    )

    assert written.ends == [INDEXED, INDEXED, SUPERSEDED, INDEXED, INDEXED, SUPERSEDED, INDEXED, INDEXED]
    held = {id: source for id, (_, source) in place.held().items()}
    assert held["a"] == {"n": 10, "searchops": {"sequence": ("1" + "0" * 21).zfill(40)}}
    assert held["b"]["searchops"]["deleted"] is True
    assert held["c"]["n"] == 0


def test_by_sequence_fields_that_a_later_record_has_no_more_are_gone(place: Place) -> None:
    place.indexer(SEQUENCE).write([index("a", {"n": 1, "old": True}, sequence="1"), index("a", b'{"n": 2}', sequence="2")])

    assert place.held()["a"][1] == {"n": 2, "searchops": {"sequence": "2".zfill(40)}}


def test_by_sequence_real_deletes_delete(place: Place) -> None:
    written = place.indexer(REAL_SEQUENCE).write(
        [index("a", {"n": 1}, sequence="1"), delete("a", sequence="2"), delete("a", sequence="2"), delete("never", sequence="1")]
    )

    assert written.ends == [INDEXED] * 4
    assert place.held() == {}


def test_without_versions_each_operation_is_what_it_says(place: Place) -> None:
    written = place.indexer(NONE).write(
        [
            create("a", {"n": 1}),
            create("a", {"n": 1}),
            create("a", {"n": 2}),
            update("a", {"doc": {"n": 3}}),
            update("never", {"doc": {"n": 3}}),
            index("b", {"n": 4}),
            delete("b"),
            delete("b"),
        ]
    )

    assert written.ends == [INDEXED, INDEXED, REJECTED, INDEXED, REJECTED, INDEXED, INDEXED, INDEXED]
    assert [document.kind for document in written.rejected] == ["version_conflict_engine_exception", "document_missing_exception"]
    assert place.contents() == {"a": 3}


def test_a_create_with_empty_fields_is_known_again(place: Place) -> None:
    documents = [create("a", {}), create("b", {"o": {}, "l": [], "z": None})]

    assert place.indexer(NONE).write(documents + documents).ends == [INDEXED] * 4


@pytest.mark.parametrize("scheme", [ATTRIBUTE, REAL_DELETES, SEQUENCE, REAL_SEQUENCE, NONE])
def test_many_writes_of_one_document_are_done_in_their_order(place: Place, scheme: Scheme) -> None:
    def operations() -> Iterator[Operation]:
        for n in range(45):
            yield index("hot", {"n": n}, version=2 * n, sequence=str(2 * n))
            if n % 3 == 0:
                yield delete("hot", version=2 * n + 1, sequence=str(2 * n + 1))
                yield index(f"cold{n}", {"n": n}, version=1, sequence="1")

    counts = place.indexer(scheme, concurrency=(4, 4)).run(operations())

    assert ends(counts) == (75, 0, 0, 0)
    assert place.contents() == {"hot": 44, **{f"cold{n}": n for n in range(0, 45, 3)}}


def test_many_writes_of_one_event_end_with_the_first(place: Place) -> None:
    counts = place.indexer(ONCE, concurrency=(4, 4)).run(index("hot", {"n": n}) for n in range(30))

    assert (ends(counts), place.contents()) == ((30, 0, 0, 0), {"hot": 0})


# What the node refuses


def test_a_document_that_does_not_fit_the_mapping_is_rejected_with_reason_and_document(
    place: Place, documents: Documents, folder: Folder
) -> None:
    lines = [
        *documents(70),
        index("bad", {"n": "no number"}, version=1),
        Unreadable("no JSON", b"?", "file:72"),
        *documents(80)[70:],
    ]

    counts = place.indexer(rejected=folder).run(lines)

    assert ends(counts) == (80, 0, 2, 0)
    bad, unreadable = folder.rejected()
    assert (bad["position"], bad["id"], bad["kind"]) == (70, "bad", "mapper_parsing_exception")
    assert "failed to parse field [n] of type [long]" in bad["reason"]
    assert bad["line"] == '{"n":"no number"}'
    assert (unreadable["position"], unreadable["kind"], unreadable["where"]) == (71, "unreadable", "file:72")


def test_without_a_store_the_first_rejected_documents_are_named_and_the_results_have_the_reasons(
    place: Place, documents: Documents, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [*documents(5), *(index(f"bad-{number}", {"n": "secret words"}, version=1) for number in range(7))]

    counts = place.indexer().run(lines)
    (result,) = place.indexer().stream(lines)

    assert ends(counts) == (5, 0, 7, 0)
    assert [f"position {position}, id bad-{position - 5}" in caplog.text for position in range(5, 12)] == [True] * 5 + [False] * 2
    assert "secret words" not in caplog.text
    assert "failed to parse field [n] of type [long]" in result.rejected[0].reason


def test_a_document_that_a_pipeline_refuses_is_rejected_at_once(place: Place, node: OpenSearch, documents: Documents) -> None:
    fail = {"fail": {"if": "ctx.n == 3", "message": "no three"}}
    node.ingest.put_pipeline(id="indexer-fail", body={"processors": [fail]})
    node.indices.put_settings(index=place.index, body={"index.default_pipeline": "indexer-fail"})

    written = place.indexer(patience_seconds=600).write(documents(6))

    assert written.ends == [INDEXED, INDEXED, INDEXED, REJECTED, INDEXED, INDEXED]
    assert (written.rejected[0].kind, written.rejected[0].reason) == ("fail_processor_exception", "no three")


@pytest.mark.parametrize("bad", [[0], [99], [3, 41, 42], list(range(0, 100, 4)), list(range(40))])
def test_a_body_that_ruins_its_request_is_found_and_rejected_alone(place: Place, bad: list[int]) -> None:
    """No encoder knows what an update of the next release may hold."""
    place.indexer(NONE).run(create(f"d{n}", {"n": -1}) for n in range(100))

    counts = place.indexer(NONE, batch_documents=100).run(
        update(f"d{n}", {"dok": {}} if n in bad else {"doc": {"n": n}}) for n in range(100)
    )

    assert ends(counts) == (100 - len(bad), 0, len(bad), 0)
    assert place.contents() == {f"d{n}": -1 if n in bad else n for n in range(100)}


def test_a_request_that_is_refused_for_any_document_ends_the_load(place: Place) -> None:
    with pytest.raises(DataError, match="it is not the documents") as caught:
        place.indexer(NONE).run(update(f"d{n}", {"dok": {"secret": n}}) for n in range(100))

    assert caught.value.reason == "x_content_parse_exception"  # the words could hold the document


def test_bytes_that_break_out_of_an_upsert_are_rejected_alone(place: Place) -> None:
    broken = [b'{"n": 1}, "delete": true', b"5", b'{"n":', b'{"n": 1}}}, "doc": {"n": 2', b"\xff"]

    written = place.indexer(SEQUENCE).write(
        [index("good", {"n": 0}, sequence="1"), *(index(f"bad{n}", source, sequence="1") for n, source in enumerate(broken))]
    )

    assert written.ends == [INDEXED] + [REJECTED] * len(broken)
    assert place.contents() == {"good": 0}


def test_a_missing_index_ends_the_load_and_is_not_made(place: Place, node: OpenSearch, documents: Documents) -> None:
    node.indices.delete(index=place.index)

    with pytest.raises(NoIndex):
        BulkIndexer(node, place.index, ATTRIBUTE).run(documents(100))

    assert not node.indices.exists(index=place.index)


@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE, NONE])
def test_an_alias_that_goes_away_while_a_writer_is_at_work_is_not_made_an_index(
    place: Place, node: OpenSearch, documents: Documents, scheme: Scheme
) -> None:
    alias = f"{place.index}-alias"
    node.indices.put_alias(index=place.index, name=alias)
    place.declare(scheme)
    with BulkIndexer(node, alias, scheme) as indexer:
        assert indexer.write(documents(3)).ends == [INDEXED] * 3
        node.indices.delete(index=place.index)

        with pytest.raises(DataError, match="the index does not exist"):
            indexer.write(documents(3, 2))

    assert not node.indices.exists(index=alias)


def test_nothing_is_written_to_an_index_of_another_scheme(place: Place, node: OpenSearch, documents: Documents) -> None:
    place.declare(ONCE)
    writes: list[Callable[[BulkIndexer], object]] = [
        lambda indexer: indexer.run(documents(3)),
        lambda indexer: list(indexer.stream(documents(3))),
        lambda indexer: indexer.write(documents(3)),
    ]

    for write in writes:
        with BulkIndexer(node, place.index, ATTRIBUTE) as indexer, pytest.raises(SchemeDiffers):
            write(indexer)

    assert place.held() == {}
    with BulkIndexer(node, place.index, ATTRIBUTE, target=read_target(node, place.index)) as indexer:
        indexer.write(documents(1))  # by who has compared, or knows better
    assert len(place.held()) == 1


# Blocks and closed indexes


BLOCKS = [("index.blocks.write", "FORBIDDEN/8/index write"), ("index.blocks.read_only_allow_delete", "disk usage exceeded")]


def block(place: Place, name: str, on: bool | None) -> None:
    place.node.indices.put_settings(index=place.index, body={name: on})


@pytest.mark.parametrize(("name", "words"), BLOCKS, ids=["403", "429"])
def test_a_block_that_stays_fails_the_load_with_its_reason_and_hands_nothing_over(
    place: Place, documents: Documents, folder: Folder, name: str, words: str
) -> None:
    block(place, name, True)

    with pytest.raises(Blocked) as caught:
        place.indexer(patience_seconds=0.3, hand_over=folder).run(documents(120))

    assert words in caught.value.reason
    assert folder.handed_over() == []
    block(place, name, None)
    assert ends(place.indexer().run(documents(120))) == (120, 0, 0, 0)


@pytest.mark.parametrize(("name", "_"), BLOCKS, ids=["403", "429"])
def test_a_block_that_goes_away_in_time_is_waited_for(place: Place, documents: Documents, name: str, _: str) -> None:
    block(place, name, True)

    counts = with_change(place, documents(120), lambda: block(place, name, None))

    assert ends(counts) == (120, 0, 0, 0)


def with_change(place: Place, operations: list[Operation], change: Callable[[], None]) -> Counts:
    """Run, and change something once all have waited for a second."""
    once = iter([change])
    heard = lambda _: next(once, lambda: None)()  # noqa: E731
    return place.indexer(patience_seconds=60, on_progress=heard, progress_seconds=0).run(operations)


def test_an_index_that_is_closed_for_a_while_loses_nothing(place: Place, documents: Documents) -> None:
    place.node.indices.close(index=place.index)

    counts = with_change(place, documents(120), lambda: place.node.indices.open(index=place.index))

    assert ends(counts) == (120, 0, 0, 0)
    assert len(place.contents()) == 120


def test_an_index_that_stays_closed_fails_the_load_and_rejects_nothing(
    place: Place, documents: Documents, folder: Folder
) -> None:
    place.node.indices.close(index=place.index)

    with pytest.raises(IndexClosed, match="open it; the load then goes on where it is"):
        place.indexer(patience_seconds=0.3, hand_over=folder, rejected=folder).run(documents(120))

    assert (folder.handed_over(), folder.rejected()) == ([], [])


# Results, back-pressure, stopping


def endless(read: list[int]) -> Iterator[Operation]:
    for n in itertools.count():
        read.append(n)
        yield index(f"d{n}", {"n": n}, version=1)


def bulk_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("bulk")]


def test_who_takes_results_slowly_slows_the_input(place: Place) -> None:
    read: list[int] = []
    results = place.indexer(concurrency=(1, 3), batch_documents=20).stream(endless(read))

    for taken in range(1, 6):
        next(results)
        time.sleep(0.05)  # what could be read ahead has time to be
        # Taken, under way or ended but not taken, and one that waits for a thread; and the document that ended it.
        assert len(read) <= 20 * (taken + 3 + 1) + 1
    results.close()


def test_a_stream_that_is_left_ends_its_threads_at_once(place: Place) -> None:
    place.proxy.order(Fault(Kind.STATUS_429, times=None, after=2))
    results = place.indexer(patience_seconds=600).stream(endless([]))
    next(results)

    began = time.monotonic()
    results.close()

    assert time.monotonic() - began < 3
    assert bulk_threads() == []


def test_an_indexer_whose_stream_was_left_is_as_good_as_new(place: Place, documents: Documents) -> None:
    indexer = place.indexer()
    results = indexer.stream(endless([]))
    next(results)
    results.close()
    place.proxy.order(Fault(Kind.STATUS_429))

    assert indexer.write(documents(3)).ends == [INDEXED] * 3
    place.proxy.order(Fault(Kind.STATUS_429))
    assert ends(indexer.run(documents(100))) == (100, 0, 0, 0)


def test_closing_it_ends_what_waits(place: Place, documents: Documents) -> None:
    place.proxy.order(Fault(Kind.STATUS_429, times=None))
    indexer = place.indexer(patience_seconds=600)
    threading.Timer(0.3, indexer.close).start()

    with pytest.raises(Stopped, match="documents waited for another attempt"):
        indexer.run(documents(200))
    assert bulk_threads() == []


def test_an_error_of_the_source_comes_after_what_was_under_way(place: Place, documents: Documents) -> None:
    def broken() -> Iterator[Operation]:
        yield from documents(70)
        raise TransientError("the connection to S3 was reset")

    taken: list[BatchResult] = []
    with pytest.raises(TransientError, match="S3 was reset"):
        taken.extend(place.indexer().stream(broken()))

    assert len(place.contents()) == 50
    assert bulk_threads() == []


def test_results_tell_of_every_position_once(place: Place, documents: Documents) -> None:
    results = list(place.indexer(batch_documents=7).stream(documents(100)))

    positions = [result.first + place for result in results for place in range(len(result.ends))]
    assert sorted(positions) == list(range(100))
    assert sorted(result.number for result in results) == list(range(len(results)))


def test_a_checkpoint_never_passes_a_result_that_was_not_taken(place: Place, documents: Documents, tmp_path: Any) -> None:
    from searchops.core.bulk.checkpoints import FileCheckpoints

    store = FileCheckpoints(tmp_path / "checkpoint.json")
    taken = []
    results = place.indexer(batch_documents=10).stream(documents(100), checkpoints=store, input="x")
    for result in results:
        taken.append(result)
        if len(taken) == 5:
            break
    results.close()

    again = list(place.indexer(batch_documents=10).stream(documents(100), checkpoints=store, input="x"))

    seen = {result.first + place for result in taken[:4] + again for place in range(len(result.ends))}
    assert seen == set(range(100))
    assert len(again) < 10


def test_an_empty_input_is_done(place: Place) -> None:
    assert place.indexer().run([]) == Counts()
    assert place.indexer().write([]).ends == []


def test_progress_is_told_also_while_all_wait(place: Place, documents: Documents) -> None:
    heard: list[Progress] = []
    place.proxy.order(Fault(Kind.STATUS_503, times=5))
    place.indexer(on_progress=heard.append, progress_seconds=0, concurrency=(1, 1)).run(documents(100), expected=100)

    assert heard[0].counts.accepted < 100
    assert (heard[-1].counts.accepted, heard[-1].last) == (100, True)


# Few documents, now


def test_a_write_that_is_not_done_says_which_documents_have_an_end(place: Place, documents: Documents, folder: Folder) -> None:
    place.proxy.order(Fault(Kind.STATUS_503))
    indexer = place.indexer(NONE, patience_seconds=0, batch_documents=3, rejected=folder)

    with pytest.raises(NotDone, match="2 documents were not taken within 0 s, and there is no lane") as caught:
        indexer.write([index("", {}), *documents(5)])

    # The first batch: one that was rejected, and two that got a 503; the second batch was not begun.
    assert caught.value.written.ends == [REJECTED, None, None, None, None, None]


def test_rejected_documents_of_several_writes_are_all_kept(place: Place, folder: Folder) -> None:
    indexer = place.indexer(rejected=folder)
    for n in range(3):
        indexer.write([index(f"d{n}", {"n": "no number"}, version=1)])

    assert {document["id"] for document in folder.rejected()} == {"d0", "d1", "d2"}


def test_rejected_documents_that_can_not_be_kept_are_not_done(place: Place, documents: Documents, folder: Folder) -> None:
    folder.down = True
    with pytest.raises(NotDone) as caught:
        place.indexer(rejected=folder).write([*documents(2), index("bad", {"n": "x"}, version=1)])

    assert caught.value.written.ends == [INDEXED, INDEXED, None]


def test_writes_from_several_threads_do_not_disturb_each_other(place: Place) -> None:
    indexer, found = place.indexer(), []

    def write(thread: int) -> None:
        found.extend(indexer.write([index(f"t{thread}-{n}-{m}", {"n": m}, version=1) for m in range(5)]).ends for n in range(10))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [[INDEXED] * 5] * 60
    assert len(place.contents()) == 300

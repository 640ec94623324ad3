"""What can go wrong between the indexer and the node, one thing at a time and many at random: each document keeps one known end."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy import OpenSearch, RequestsHttpConnection, Urllib3HttpConnection

from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.bulk import Counts, End, NotDone, Operation, Scheme, create, delete, index, update
from searchops.core.bulk.effects import NotHandedOver
from searchops.core.errors import DataError
from tests.integration.bulk.conftest import ATTRIBUTE, NONE, ONCE, REAL_DELETES, SEQUENCE, Folder, Place

Documents = Callable[..., list[Operation]]
PASSING = [
    Kind.ITEM_429,
    Kind.ITEM_BLOCK_429,
    Kind.ITEM_BLOCK_403,
    Kind.ITEM_INDEX_CLOSED,
    Kind.STATUS_429,
    Kind.STATUS_429_TEXT,
    Kind.STATUS_500,
    Kind.STATUS_502,
    Kind.STATUS_503,
    Kind.STATUS_504,
    Kind.RESET_BEFORE,
    Kind.RESET_DURING,
    Kind.LATE_502,
    Kind.LATE_504,
    Kind.RESET_AFTER,
    Kind.CUT,
    Kind.SHORT,
    Kind.NOT_JSON,
    Kind.SLOW,
    Kind.DUPLICATE,
    Kind.DUPLICATE_LAST,
]
UNKNOWN = [Kind.LATE_502, Kind.RESET_AFTER, Kind.CUT, Kind.SHORT, Kind.NOT_JSON, Kind.DUPLICATE_LAST]


def ends(counts: Counts) -> tuple[int, int, int, int]:
    return counts.indexed, counts.superseded, counts.rejected, counts.handed_over


@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_leaves_no_trace(place: Place, documents: Documents, kind: Kind, folder: Folder) -> None:
    place.proxy.order(Fault(kind, times=2, after=1, seconds=0.2))

    counts = place.indexer(hand_over=folder, concurrency=(1, 3)).run(documents(200))

    assert place.proxy.counts()[kind] == 2
    assert ends(counts) == (200, 0, 0, 0)
    assert {id: version for id, (version, _) in place.held().items()} == {f"d{n}": 1 for n in range(200)}


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.parametrize("scheme", [ONCE, SEQUENCE, NONE])
def test_a_write_whose_answer_is_lost_is_known_again_under_each_scheme(place: Place, scheme: Scheme, kind: Kind) -> None:
    place.proxy.order(Fault(kind, times=2))
    make = create if scheme is NONE else lambda id, source: index(id, source, sequence="5")

    counts = place.indexer(scheme).run(make(f"d{n}", {"n": n}) for n in range(100))

    assert ends(counts) == (100, 0, 0, 0)
    assert place.contents() == {f"d{n}": n for n in range(100)}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_delete_whose_answer_is_lost_is_known_again(place: Place, documents: Documents, kind: Kind) -> None:
    place.indexer().run(documents(40))
    place.proxy.order(Fault(kind, times=1))

    counts = place.indexer(REAL_DELETES).run(delete(f"d{n}", version=2) for n in range(40))

    assert (ends(counts), place.held()) == ((40, 0, 0, 0), {})


def test_a_write_that_a_newer_one_has_overtaken_while_its_answer_was_lost_is_superseded(
    place: Place, documents: Documents
) -> None:
    place.proxy.order(Fault(Kind.RESET_BEFORE))
    place.node.bulk(
        body=[
            line
            for n in range(10)
            for line in ({"index": {"_index": place.index, "_id": f"d{n}", "version": 2, "version_type": "external"}}, {"n": -n})
        ]
    )

    counts = place.indexer().run(documents(30))

    assert ends(counts) == (20, 10, 0, 0)


def test_a_time_out_after_the_node_has_written_is_indexed(place: Place, documents: Documents) -> None:
    place.proxy.order(Fault(Kind.TIMEOUT, seconds=60))

    written = place.indexer(timeout_seconds=0.5).write(documents(20))

    assert written.ends == [End.INDEXED] * 20
    assert (written.counts.retried, written.counts.requests) == (20, 2)


def test_a_request_that_arrives_late_puts_nothing_back(place: Place) -> None:
    place.proxy.order(Fault(Kind.DELAYED, seconds=30))
    indexer = place.indexer()
    assert indexer.write([index("a", {"n": 1}, version=1)]).ends == [End.INDEXED]
    assert indexer.write([index("a", {"n": 2}, version=2), delete("a", version=3)]).ends == [End.INDEXED] * 2

    place.proxy.release()
    place.client.close()
    place.proxy.wait_until_idle()

    assert place.held()["a"][0] == 3


@pytest.mark.parametrize("kind", [Kind.STATUS_503, Kind.STATUS_429, Kind.RESET_BEFORE, Kind.CUT, Kind.SHORT, Kind.NOT_JSON])
def test_a_question_that_is_not_answered_is_asked_again(place: Place, documents: Documents, kind: Kind) -> None:
    place.indexer().run(documents(20))
    place.proxy.order(Fault(kind, path="_mget", times=2))

    assert ends(place.indexer().run(documents(20))) == (20, 0, 0, 0)
    assert place.proxy.counts()[kind] == 2


# Back-pressure and hand-over


def test_only_the_refused_documents_are_sent_again(place: Place, documents: Documents) -> None:
    place.proxy.order(Fault(Kind.ITEM_429, share=0.3))
    place.proxy.order(Fault(Kind.ITEM_429, share=0.5))

    counts = place.indexer().write(documents(50)).counts

    size = len(b'{"index":{"_id":"d10","version":1,"version_type":"external"}}\n{"n":10}\n')
    # Of 50 documents 15 are refused, and of those 8.
    assert (counts.requests, counts.refused, counts.retried) == (3, 23, 23)
    assert counts.bytes == pytest.approx((50 + 15 + 8) * size, rel=0.05)


@pytest.mark.parametrize("kind", [Kind.STATUS_429, Kind.ITEM_429, Kind.STATUS_503, Kind.STATUS_504, Kind.RESET_BEFORE])
def test_what_is_refused_or_not_answered_lowers_what_is_under_way_and_answers_lift_it_again(
    place: Place, documents: Documents, kind: Kind
) -> None:
    indexer = place.indexer(concurrency=(1, 4), batch_documents=10)
    place.proxy.order(Fault(kind, times=3))
    indexer.write(documents(10))
    assert indexer._pressure.limit <= 2

    indexer.run(documents(200))
    assert indexer._pressure.limit == 4


@pytest.mark.parametrize("scheme", [ATTRIBUTE, ONCE, SEQUENCE])
def test_what_is_refused_for_longer_than_the_patience_is_handed_over_and_arrives_later(
    place: Place, folder: Folder, scheme: Scheme
) -> None:
    place.proxy.order(Fault(Kind.ITEM_429, times=None, share=0.4))
    operations = [index(f"d{n}", {"n": n}, version=n, sequence=str(n), routing="r" if n % 2 else None) for n in range(100)]

    results = list(place.indexer(scheme, patience_seconds=0.2, hand_over=folder).stream(operations))

    taken = place.contents()
    kept = {document["id"]: document for document in folder.handed_over()}
    assert sum(result.counts.handed_over for result in results) == len(kept) > 0
    assert sum(result.lanes["folder"] for result in results) == len(kept)
    assert taken.keys() | kept.keys() == {f"d{n}" for n in range(100)}
    assert not taken.keys() & kept.keys()
    for position, operation in enumerate(operations):
        if document := kept.get(operation.id):
            version = {ATTRIBUTE: position, ONCE: 1, SEQUENCE: None}[scheme]
            sequence = str(position).zfill(40) if scheme is SEQUENCE else None
            assert document == {
                "position": position,
                "id": operation.id,
                "source": {"n": position},
                "version": version,
                "routing": operation.routing,
                "sequence": sequence,
            }

    place.proxy.clear()
    place.indexer(scheme).write(
        [index(d["id"], d["source"], version=d["version"], sequence=d["sequence"], routing=d["routing"]) for d in kept.values()]
    )
    assert place.contents() == {f"d{n}": n for n in range(100)}


def test_with_no_patience_each_document_is_tried_once(place: Place, documents: Documents, folder: Folder) -> None:
    place.proxy.order(Fault(Kind.STATUS_429, times=None))

    written = place.indexer(patience_seconds=0, hand_over=folder).write(documents(20))

    assert written.ends == [End.HANDED_OVER] * 20
    assert (written.counts.requests, written.counts.retried, len(folder.handed_over())) == (1, 0, 20)


def test_a_tombstone_is_handed_over_as_the_document_that_it_is(place: Place, folder: Folder) -> None:
    place.proxy.order(Fault(Kind.STATUS_429, times=None))

    place.indexer(patience_seconds=0, hand_over=folder).write([delete("a", version=3)])

    (document,) = folder.handed_over()
    assert (document["version"], document["source"]["searchops"]["deleted"]) == (3, True)


def test_what_may_have_been_written_is_handed_over_only_where_that_is_wished(
    place: Place, documents: Documents, folder: Folder
) -> None:
    place.proxy.order(Fault(Kind.RESET_AFTER, times=None))
    with pytest.raises(NotDone) as caught:
        place.indexer(patience_seconds=0, hand_over=folder, hand_over_unknown=False).write(documents(5))
    assert (caught.value.written.ends, folder.handed_over()) == ([None] * 5, [])

    written = place.indexer(patience_seconds=0, hand_over=folder).write(documents(5))
    assert written.ends == [End.HANDED_OVER] * 5


@pytest.mark.parametrize(
    ("scheme", "operation"),
    [
        (REAL_DELETES, index("a", {}, version=1)),
        (REAL_DELETES, delete("a", version=1)),
        (NONE, index("a", {})),
        (NONE, update("a", {"doc": {}})),
    ],
)
def test_what_would_do_harm_when_it_comes_late_is_not_handed_over(
    place: Place, folder: Folder, scheme: Scheme, operation: Operation
) -> None:
    place.proxy.order(Fault(Kind.STATUS_429, times=None))

    with pytest.raises(NotDone, match="they may not be handed over: they are to be sent again") as caught:
        place.indexer(scheme, patience_seconds=0.1, hand_over=folder).write([operation])

    assert (caught.value.written.ends, folder.handed_over()) == ([None], [])


def test_when_no_lane_takes_it_the_load_fails_before_it_and_goes_on_from_there(
    place: Place, documents: Documents, folder: Folder, tmp_path: Any
) -> None:
    from searchops.core.bulk.checkpoints import FileCheckpoints

    store = FileCheckpoints(tmp_path / "checkpoint.json")
    folder.down = True
    place.proxy.order(Fault(Kind.STATUS_429, times=None, after=2))
    options = {"patience_seconds": 0.2, "hand_over": folder, "concurrency": (1, 1)}

    with pytest.raises(NotHandedOver):
        place.indexer(**options).run(documents(200), checkpoints=store, input="x")
    folder.down = False
    counts = place.indexer(**options).run(documents(200), checkpoints=store, input="x")

    assert ends(counts) == (100, 0, 0, 100)
    assert [document["position"] for document in folder.handed_over()] == list(range(100, 200))


# Sizes, refusals of the whole request


def test_a_413_splits_the_batch_and_is_remembered(place: Place) -> None:
    place.proxy.order(Fault(Kind.STATUS_413, times=None, min_bytes=100_000))
    text = "x" * 1000

    counts = place.indexer(batch_bytes=400_000, batch_documents=5000, concurrency=(1, 1)).run(
        index(f"d{n}", {"n": n, "text": text}, version=1) for n in range(2000)
    )

    assert ends(counts) == (2000, 0, 0, 0)
    assert place.proxy.counts()[Kind.STATUS_413] <= 3 + 3  # the first batch in halves; the one that was cut meanwhile
    assert counts.bytes / counts.requests < 100_000


def test_a_document_that_is_too_large_alone_is_rejected_with_its_size(place: Place, documents: Documents) -> None:
    place.proxy.order(Fault(Kind.STATUS_413_HTML, times=None, min_bytes=200_000))

    written = place.indexer().write([*documents(10), index("large", {"text": "x" * 200_000}, version=1), *documents(20)[10:]])

    assert (written.ends.count(End.INDEXED), written.ends[10]) == (20, End.REJECTED)
    assert written.rejected[0].reason == "200,076 bytes alone are too large a request for the cluster (HTTP 413)"


def test_a_load_of_nothing_but_documents_that_are_too_large_rejects_each(place: Place, documents: Documents) -> None:
    place.proxy.order(Fault(Kind.STATUS_413, times=None))

    counts = place.indexer(concurrency=(1, 1), batch_documents=40).run(documents(40))

    assert (counts.rejected, counts.ended) == (40, 40)


def test_no_request_is_larger_than_the_service_takes(place: Place) -> None:
    place.proxy.order(Fault(Kind.STATUS_413, times=None, min_bytes=50_001))

    counts = place.indexer(batch_bytes=10**9, request_bytes=50_000, batch_documents=5000).run(
        index(f"d{n}", {"n": n, "text": "x" * (n * 100)}, version=1) for n in range(600)
    )

    assert place.proxy.counts()[Kind.STATUS_413] == 0
    # The largest that fits: 498 * 100 bytes of text, and what stands around them.
    assert ends(counts) == (500, 0, 100, 0) or ends(counts) == (499, 0, 101, 0)


def test_wrong_credentials_end_the_load_at_once(place: Place, node_with_a_guard: OpenSearch, documents: Documents) -> None:
    with pytest.raises(DataError, match=r"the cluster refuses the credentials \(HTTP 401\)") as caught:
        place.indexer(client=node_with_a_guard, patience_seconds=600).run(documents(500))

    assert "not authorized" in caught.value.reason


@pytest.fixture
def node_with_a_guard() -> Any:
    """Refuses everyone, as the service does."""
    from tests.unit.core.bulk.test_connection import Cluster, serving

    cluster = Cluster(status=401, answer=b'{"Message":"User: anonymous is not authorized to perform: es:ESHttpPost"}')
    with serving(cluster):
        yield cluster.client()


# Clients


@pytest.mark.parametrize("connection_class", [Urllib3HttpConnection, RequestsHttpConnection])
@pytest.mark.parametrize("options", [{}, {"gzip": True}, {"http_compress": True}, {"gzip": True, "http_compress": True}])
def test_every_client_will_do(place: Place, documents: Documents, connection_class: type, options: dict[str, bool]) -> None:
    client = OpenSearch(
        place.proxy.url, connection_class=connection_class, http_compress=options.get("http_compress", False), max_retries=3
    )
    for after, kind in enumerate((Kind.ITEM_429, Kind.STATUS_503, Kind.RESET_AFTER, Kind.CUT)):
        place.proxy.order(Fault(kind, after=after))

    counts = place.indexer(client=client, gzip=options.get("gzip", False)).run(documents(200))
    client.close()

    assert ends(counts) == (200, 0, 0, 0)
    assert sum(place.proxy.counts().values()) == 4
    assert len(place.contents()) == 200


def test_every_request_is_counted_and_none_is_made_by_the_client(place: Place, documents: Documents) -> None:
    """All requests fail, so that the proxy knows of each."""
    place.proxy.order(Fault(Kind.STATUS_503, times=None))

    with pytest.raises(NotDone) as caught:
        place.indexer(patience_seconds=1).write(documents(5))

    assert place.proxy.counts()[Kind.STATUS_503] == caught.value.written.counts.requests > 2


# At random


@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE, ONCE], ids=["attribute", "sequence", "once"])
@pytest.mark.parametrize("seed", range(2))
def test_under_all_faults_at_once_the_newest_write_stays_and_the_ends_add_up(
    place: Place, folder: Folder, scheme: Scheme, seed: int
) -> None:
    rng = random.Random(seed)
    kinds = [kind for kind in Kind if kind not in (Kind.STATUS_413, Kind.STATUS_413_HTML, Kind.TIMEOUT, Kind.DELAYED)]
    shares = {kind: 0.25 / 4 if kind.of_items else 0.3 / len(kinds) for kind in kinds}
    place.proxy.random(seed, shares, paths=("_bulk", "_mget"), seconds=0.05)
    operations, newest = [], {}
    for position in range(600):
        id = f"d{rng.randrange(150)}"
        if scheme is ONCE:
            newest.setdefault(id, 7)
            operations.append(index(id, {"n": 7}))
        elif rng.random() < 0.2:
            newest[id] = None
            operations.append(delete(id, version=position, sequence=str(position)))
        else:
            newest[id] = position
            operations.append(index(id, {"n": position}, version=position, sequence=str(position)))

    indexer = place.indexer(scheme, patience_seconds=60, hand_over=folder, concurrency=(1, 4), batch_documents=25)
    counts = indexer.run(operations)

    assert (counts.accepted, counts.ended, counts.rejected, counts.superseded) == (600, 600, 0, 0)
    assert {id: source.get("n") for id, (_, source) in place.held().items()} == newest


def test_gzip_is_what_the_node_gets(place: Place, documents: Documents) -> None:
    place.proxy.order(Fault(Kind.SLOW, seconds=0))
    operations = [index(f"d{n}", {"n": n, "text": "the same " * 100}, version=1) for n in range(50)]

    counts = place.indexer(gzip=True).write(operations).counts

    (request,) = place.proxy.journal()
    assert request.bytes < counts.bytes / 10
    assert len(place.contents()) == 50

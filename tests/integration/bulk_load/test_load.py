"""What a person gets from `bulk_load_<index>`: files in S3 become documents, and every one has its end."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from pyarrow import parquet

from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.bulk.ledger import Unbalanced
from searchops.core.bulk.model import Rejected
from searchops.core.bulk.places import rejected_key
from searchops.core.bulk.runs import State
from searchops.core.bulk.scheme import Deletes, SchemeDiffers, VersionScheme
from searchops.core.bulk.sources import Input
from searchops.core.bulk.stores import RejectedObjects, read_rejected
from searchops.core.errors import DataError, TransientError
from searchops.operators.bulk import OpenSearchBulkLoadOperator
from tests.integration.bulk_load.conftest import Loads, MakeLoads

SPOOLED = {"patience": "1s"}


def lines(count: int, first: int = 0, revision: int = 7, filler: int = 0) -> bytes:
    return b"".join(
        orjson.dumps({"id": f"p{number}", "revision": revision, "n": number, "x": "x" * filler}) + b"\n"
        for number in range(first, first + count)
    )


def test_files_of_every_format_become_documents_and_the_ledger_adds_up(loads: Loads, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"id": ["q"], "revision": [3], "n": [1]}), tmp_path / "q.parquet")
    item = {"id": {"S": "d"}, "revision": {"N": "4"}, "n": {"N": "2"}}
    deleted = {"Keys": {"id": {"S": "p0"}}, "OldImage": {"id": {"S": "p0"}, "revision": {"N": "7"}}}
    loads.put("in/a.ndjson", lines(500))
    loads.put("in/b.ndjson.gz", gzip.compress(lines(500, 500)))
    loads.put("in/c.parquet", (tmp_path / "q.parquet").read_bytes())
    loads.put("in/empty.ndjson", b"")
    export = loads.put(
        "AWSDynamoDB/1/data/d.json.gz", gzip.compress(orjson.dumps({"Item": item}) + b"\n" + orjson.dumps(deleted))
    )

    done = loads.whole([f"s3://{loads.bucket}/in/"])
    then = loads.whole([export])

    assert (done["counts"]["accepted"], done["counts"]["indexed"], done["state"]) == (1001, 1001, "settled")
    assert (then["counts"]["indexed"], then["counts"]["superseded"]) == (2, 0)
    held = loads.held()
    assert (len(held), held["p999"][0], held["q"], held["d"]) == (
        1002,
        7,
        (3, {"id": "q", "revision": 3, "n": 1}),
        (4, {"id": "d", "revision": 4, "n": 2}),
    )
    assert held["p0"][0] == 8
    assert held["p0"][1]["searchops"]["deleted"] is True


def test_loading_the_same_files_again_changes_nothing_and_older_ones_are_superseded(loads: Loads) -> None:
    new, old = loads.put("new.ndjson", lines(300)), loads.put("old.ndjson", lines(300, revision=6))

    counts = [loads.whole([uri])["counts"] for uri in (new, new, old)]

    assert [(count["indexed"], count["superseded"]) for count in counts] == [(300, 0), (300, 0), (0, 300)]
    assert {version for version, _ in loads.held().values()} == {7}


def test_a_load_into_an_index_by_sequence_fills_what_is_missing_and_replaces_nothing(make_loads: MakeLoads) -> None:
    loads = make_loads(VersionScheme.SEQUENCE)
    live = {"id": "p1", "n": -1, "searchops": {"sequence": "1".zfill(40)}}
    loads.node.index(index=loads.concrete, id="p1", body=live)

    counts = loads.whole([loads.put("a.ndjson", lines(3))])["counts"]

    assert (counts["indexed"], counts["superseded"]) == (2, 1)
    assert loads.held()["p1"][1] == live
    assert loads.held()["p2"][1]["n"] == 2


def test_a_dry_run_tells_what_there_is_and_leaves_no_trace(loads: Loads) -> None:
    uri = loads.put("a.ndjson", lines(3))

    assert loads.plan([uri], only_plan="True") == []
    assert "1 inputs" in loads.report().title
    assert loads.report().facts["Written to"] == loads.concrete
    with pytest.raises(AirflowSkipException):
        loads.relax(only_plan="True")
    assert loads.keys("ledger/") == []
    assert loads.held() == {}


def test_rejected_documents_are_kept_with_file_and_line_and_a_person_is_told(loads: Loads) -> None:
    uri = loads.put("bad.ndjson", b'no JSON\n{"id":"a","revision":1,"n":"secret-7"}\n{"id":"b","revision":1,"n":1}\n{"id":"c"}\n')
    shares = loads.plan([uri])
    loaded = [loads.load(share) for share in shares]

    with pytest.raises(DataError, match="3 of 4 documents were rejected, at most 0 are allowed; all others are loaded"):
        loads.finish(loaded)

    facts = loads.report().facts
    assert (facts["rejected"], facts["indexed"]) == (3, 1)
    (key,) = loads.keys("rejected/")
    assert facts["Rejected: mapper_parsing_exception"] == f"1, the first: {key}, line 3"
    assert facts["Rejected: unreadable"] == f"2, the first: {key}, line 1"
    assert "secret-7" not in str(loads.report())
    kept = {document.position: document for document in read_rejected(loads.clients.bucket.get(key) or b"")}
    assert set(kept) == {0, 1, 3}
    assert "secret-7" in kept[1].reason  # which is why reasons are told here alone
    assert kept[0].where == f"{uri}:1"
    assert kept[3].where == f"{uri}:4"
    assert loads.ledger().state is State.SETTLED
    assert loads.finish(loaded, max_rejected="3")["counts"]["rejected"] == 3
    assert loads.finish(loaded, max_rejected="")["counts"]["rejected"] == 3


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.LATE_504, Kind.ITEM_429, Kind.STATUS_429, Kind.CUT])
def test_what_goes_wrong_once_leaves_no_trace_in_index_and_ledger(loads: Loads, proxy: FaultProxy, kind: Kind) -> None:
    proxy.order(Fault(kind))

    counts = loads.whole([loads.put("a.ndjson", lines(200))])["counts"]

    assert (counts["accepted"], counts["indexed"], counts["superseded"]) == (200, 200, 0)
    assert proxy.counts()[kind] == 1
    assert len(loads.held()) == 200


def test_a_try_goes_on_where_the_last_one_failed_and_nothing_counts_twice(
    make_loads: MakeLoads, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = make_loads(deletes=Deletes.IMMEDIATE)  # hands nothing over: what is refused waits
    monkeypatch.setattr("searchops.hooks.load.PATIENCE_SECONDS", 0.0)
    (share,) = loads.plan([loads.put("a.ndjson", lines(9000, filler=1500))])  # five batches
    proxy.order(Fault(Kind.STATUS_503, times=None, after=2))
    with pytest.raises(TransientError):
        loads.load(share)
    reached = (loads.checkpoint() or {})["position"]
    assert 0 < reached < 9000
    assert [(part.counts.accepted, part.complete) for part in loads.ledger().inputs.values()] == [(reached, False)]
    proxy.clear()

    counts = loads.finish([loads.load(share, try_number=2)])["counts"]

    assert (counts["accepted"], counts["indexed"]) == (9000, 9000)
    assert loads.checkpoint() is None
    loads.node.indices.refresh(index=loads.concrete)
    assert loads.node.count(index=loads.concrete)["count"] == 9000


def rebuild(loads: Loads) -> None:
    loads.node.indices.delete(index=loads.concrete)
    loads.create_index()


def test_a_load_does_not_go_on_in_an_index_that_was_made_anew(
    make_loads: MakeLoads, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = make_loads(deletes=Deletes.IMMEDIATE)
    monkeypatch.setattr("searchops.hooks.load.PATIENCE_SECONDS", 0.0)
    uri = loads.put("a.ndjson", lines(9000, filler=1500))
    (share,) = loads.plan([uri])
    proxy.order(Fault(Kind.STATUS_503, times=None, after=2))
    with pytest.raises(TransientError):
        loads.load(share)
    proxy.clear()
    rebuild(loads)

    for again in (lambda: loads.load(share, try_number=2), lambda: loads.plan([uri])):
        with pytest.raises(DataError, match=r"found another one of that name.*start a new run"):
            again()

    assert loads.held() == {}
    (ledger,) = loads.keys("ledger/")
    loads.s3.delete_object(Bucket=loads.bucket, Key=ledger)
    loads.plan([uri])
    with pytest.raises(DataError, match="the source, or the index, has changed"):  # the checkpoint says it too
        loads.load(share, try_number=2)


def test_a_load_whose_index_was_made_anew_behind_a_share_is_not_closed(loads: Loads) -> None:
    uris = [loads.put(f"{name}.ndjson", lines(10, 10 * number)) for number, name in enumerate("ab")]
    shares = loads.plan(uris, tasks="2")
    loaded = [loads.load(share, number) for number, share in enumerate(shares)]
    rebuild(loads)

    with pytest.raises(DataError, match=r"found another one of that name.*start a new run"):
        loads.finish(loaded)

    assert loads.ledger().state is State.OPEN


def test_a_load_that_was_abandoned_does_not_go_on(loads: Loads) -> None:
    (share,) = loads.plan([loads.put("a.ndjson", lines(10))])
    loads.settle(abandon=[loads.ledger().run])

    with pytest.raises(DataError, match="was abandoned: start a new run"):
        loads.load(share)

    assert loads.held() == {}


def test_many_tasks_of_a_load_send_no_more_at_once_than_four(loads: Loads) -> None:
    def ceilings(files: int) -> int:
        uris = [loads.put(f"in/{number}.ndjson", lines(1, number)) for number in range(files)]
        shares = loads.plan(uris, tasks="32")
        assert len(shares) == files
        target, ledger = loads.clients.check_for(loads.ledger().run)
        given = Input.from_dict(shares[0][0])
        with loads.clients.indexer(target, ledger, given, lambda progress: None, 5.0) as indexer:
            return indexer.concurrency[1]

    assert [ceilings(files) for files in (1, 4, 5, 32)] == [8, 8, 6, 1]


def test_a_task_that_is_told_to_stop_writes_its_checkpoint_and_the_next_try_goes_on(loads: Loads) -> None:
    (share,) = loads.plan([loads.put("a.ndjson", lines(9000, filler=1500))])
    running = loads.running(OpenSearchBulkLoadOperator, inputs=share, map_index=0)
    task: Any = running.task
    source = task.clients.source

    def killed_midway(given: Any) -> Any:
        reading = source(given)

        def read(start: int) -> Any:
            for number, operation in enumerate(reading(start)):
                if number == 6000:
                    task.on_kill()
                yield operation

        return read

    task.clients.source = killed_midway
    with pytest.raises(TransientError, match="told to stop"):
        running.execute()
    assert 0 < (loads.checkpoint() or {})["position"] <= 6000

    counts = loads.finish([loads.load(share, try_number=2)])["counts"]

    assert (counts["accepted"], counts["indexed"]) == (9000, 9000)


def test_a_task_that_is_cleared_after_its_success_loads_everything_again(loads: Loads) -> None:
    (share,) = loads.plan([loads.put("a.ndjson", lines(100))])
    loads.load(share)
    loads.node.delete_by_query(index=loads.concrete, body={"query": {"match_all": {}}}, refresh=True)

    loads.load(share)

    assert loads.stores[0].get("progress")["accepted"] == 100
    assert loads.finish([loads.load(share)])["counts"]["indexed"] == 100


def test_a_load_whose_books_are_closed_writes_nothing_before_they_are_opened_again(loads: Loads) -> None:
    files = [loads.put("a.ndjson", lines(10))]
    (share,) = loads.plan(files)
    loads.finish([loads.load(share)])

    with pytest.raises(DataError, match="expected an open ledger, found it settled: clear the task `plan`"):
        loads.load(share)

    (share,) = loads.plan(files)
    assert loads.finish([loads.load(share)])["counts"]["accepted"] == 10


def test_half_a_gzip_file_fails_for_good_and_its_load_is_not_closed(loads: Loads) -> None:
    (share,) = loads.plan([loads.put("half.ndjson.gz", gzip.compress(lines(5000))[:-100])])

    with pytest.raises(DataError, match="half a gzip file"):
        loads.load(share)
    with pytest.raises(Unbalanced, match="1 of 1 inputs have not come to their end"):
        loads.finish([])

    assert loads.ledger().state is State.OPEN


def test_a_bad_input_holds_up_none_of_the_others_and_a_run_with_good_ones_is_whole(loads: Loads) -> None:
    half = loads.put("in/a.ndjson.gz", gzip.compress(lines(100, 1000))[:-10])
    good = [loads.put(f"in/{name}.ndjson", lines(10, 10 * number)) for number, name in enumerate("bc")]
    (share,) = loads.plan([half, *good], tasks="1")

    with pytest.raises(DataError, match=r"half a gzip file.*1 of 3 inputs are like that; the others are loaded"):
        loads.load(share)

    assert {"p0", "p19"} <= set(loads.held())
    assert [(part.counts.indexed, part.complete) for part in loads.ledger().inputs.values()][1:] == [(10, True), (10, True)]
    assert loads.whole(good)["counts"]["indexed"] == 20


def test_an_object_that_changes_after_the_plan_fails_and_a_new_plan_loads_it(loads: Loads) -> None:
    uri = loads.put("a.ndjson", lines(10))
    (share,) = loads.plan([uri])
    loads.put("a.ndjson", lines(12))

    with pytest.raises(DataError, match="another object than the one that was planned"):
        loads.load(share)

    assert loads.whole([uri])["counts"]["indexed"] == 12


def test_what_is_wrong_with_files_or_index_fails_before_anything_is_written(loads: Loads, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"pk": ["q"], "revision": [3]}), tmp_path / "q.parquet")
    no_id = loads.put("q.parquet", (tmp_path / "q.parquet").read_bytes())
    good = loads.put("a.ndjson", lines(10))

    for files, message in (
        ([f"s3://{loads.bucket}/missing.ndjson"], "expected an object, found none"),
        ([good, no_id], "expected the columns id, revision for id and version, found no id"),
        (["/etc/hosts"], "expected s3://bucket/key"),
        ([], "expected at least one file"),
    ):
        with pytest.raises(DataError, match=message):
            loads.plan(files)
    with pytest.raises(DataError, match="tasks: expected 1 to 32"):
        loads.plan([good], tasks="33")
    loads.node.indices.put_mapping(
        index=loads.concrete, body={"_meta": {"searchops": {"scheme": {"version": "once", "deletes": "never"}}}}
    )
    with pytest.raises(SchemeDiffers):
        loads.plan([good])
    assert loads.keys("ledger/") == []
    loads.node.indices.delete(index=loads.concrete)
    with pytest.raises(DataError, match="expected an index or an alias of that name"):
        loads.plan([good])


def test_two_shares_of_one_load_are_added_up(loads: Loads) -> None:
    uris = [loads.put(f"in/{number}.ndjson", lines(10 + number, 100 * number)) for number in range(5)]

    shares = loads.plan([f"s3://{loads.bucket}/in/"], tasks="2")
    assert sorted(given["uri"] for share in shares for given in share) == uris
    assert len(shares) == 2
    with pytest.raises(Unbalanced, match="inputs have not come to their end"):
        loads.finish([loads.load(shares[0], 0)])

    done = loads.finish([loads.load(share, number) for number, share in enumerate(shares)])

    assert done["counts"]["indexed"] == 60
    assert {part.complete for part in loads.ledger().inputs.values()} == {True}


def test_a_try_forgets_what_the_last_one_rejected_behind_its_checkpoint(
    make_loads: MakeLoads, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = make_loads(deletes=Deletes.IMMEDIATE)  # hands nothing over: what is refused waits
    monkeypatch.setattr("searchops.hooks.load.PATIENCE_SECONDS", 0.0)
    (share,) = loads.plan([loads.put("a.ndjson", lines(9000, filler=1500))])  # five batches
    proxy.order(Fault(Kind.STATUS_503, times=None, after=2))
    with pytest.raises(TransientError):
        loads.load(share)
    begins = (loads.checkpoint() or {})["batch"]
    assert 0 < begins < 4
    run, input = loads.ledger().run, Input.from_dict(share[0]).name
    store = RejectedObjects(loads.s3, loads.bucket, index=loads.name, run=run, input=input)
    for batch in (begins - 1, begins, 4):
        store.keep(batch, [Rejected(batch, "a", "mapper_parsing_exception", "", b"{}")])
    proxy.clear()

    loads.load(share, try_number=2)

    assert loads.keys("rejected/") == [rejected_key(loads.name, run, input, begins - 1)]


def test_a_load_of_empty_files_alone_fails(loads: Loads) -> None:
    empty, nothing = loads.put("a.ndjson", b""), loads.put("b.ndjson.gz", gzip.compress(b""))

    with pytest.raises(DataError, match=r"expected documents, found none: s3://.*/a\.ndjson"):
        loads.plan([empty])
    with pytest.raises(DataError, match=r"expected documents, found none in s3://.*/b\.ndjson\.gz"):
        loads.whole([nothing])


def test_a_file_that_is_older_than_the_tombstones_of_the_index_is_loaded_when_somebody_says_so(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, in_nine_days = loads.put("a.ndjson", lines(3)), time.time() + 9 * 86_400
    monkeypatch.setattr("searchops.hooks.load.time", SimpleNamespace(time=lambda: in_nine_days))

    with pytest.raises(DataError, match="would come back"):
        loads.plan([uri])

    assert len(loads.plan([uri], allow_old="True")) == 1

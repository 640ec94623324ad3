"""Acts 11 and 12: loads into a node that answers 429, while somebody else writes to it as much as it takes.

The node's write pool has one thread and a queue of one (`local.demo.world`), so its rejections are real.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from local.demo import jmdict
from local.demo.checks import Facts, require
from local.demo.world import BUCKET, CATALOG, EVENTS, World
from local.simulators.firehose.control import FirehoseControl

OTHERS = "somebody-elses"
DOCUMENTS = 20_000
_THREADS, _SHARDS, _EACH = 32, 5, 400
_DELIVERED_SECONDS = 120.0

Row = Mapping[str, Any]


def catalog(world: World) -> Facts:
    """Documents with a version of their own; a later file replaces some, and an older one arrives last."""
    rows = [{**document, "revision": 2} for document in world.data.documents[:DOCUMENTS]]
    older = [{**row, "gloss": "an older revision", "revision": 1} for row in rows[:500]]
    facts = loaded(world, CATALOG, rows, key=lambda row: f"{row['pk']}|{row['sk']}", version=lambda row: row["revision"])
    late = load(world, CATALOG, {"older.ndjson": older})
    require(late["counts"]["superseded"] == len(older), "every older revision to be superseded", late["counts"])
    different = compare(world, CATALOG, rows, lambda row: f"{row['pk']}|{row['sk']}", lambda row: row["revision"])
    require(not different, "the index to be as it was", different[:3])
    return {
        **facts,
        "an older file, loaded last": f"{len(older)} documents, {late['counts']['superseded']} superseded, none written",
    }


def events(world: World) -> Facts:
    """Events, which have ids of their own and never change: the same file twice changes nothing."""
    pairs = [(entry, spelling) for entry in jmdict.entries()[: DOCUMENTS // 2] for spelling in entry.spellings][:DOCUMENTS]
    rows = [{"event": f"{entry.id}-{number}", "spelling": spelling} for number, (entry, spelling) in enumerate(pairs)]
    facts = loaded(world, EVENTS, rows, key=lambda row: row["event"], version=lambda row: 1)
    again = load(world, EVENTS, {"documents.ndjson": rows})
    require(again["counts"]["indexed"] == len(rows), "every event to be there already", again["counts"])
    require(world.node.count(index=EVENTS)["count"] == len(rows), "no event twice", world.node.count(index=EVENTS))
    return {**facts, "the same file again": f"{again['counts']['indexed']} there already, none written twice"}


def loaded(world: World, index: str, rows: Sequence[Row], *, key: Callable[[Row], str], version: Callable[[Row], int]) -> Facts:
    """Set up, load under pressure, settle, compare."""
    set_up(world, index)
    firehose = FirehoseControl(world.cloud.endpoints["firehose"])
    began = time.monotonic()
    with pressure(world.cloud.endpoints["opensearch"]) as others:
        ended = load(world, index, {"documents.ndjson": rows})
    seconds, counts = time.monotonic() - began, ended["counts"]
    require(counts["accepted"] == len(rows), f"{len(rows)} documents in the ledger", counts)
    require(counts["indexed"] + counts["handed_over"] == len(rows), "each indexed or handed over", counts)
    require(counts["refused"] > 0, "429s", counts)  # how many documents are handed over for them is the machine's affair
    require(firehose.wait_until_empty(wait_seconds=_DELIVERED_SECONDS), "the stream to deliver", firehose.streams())
    firehose.close()
    settled = run(world, f"hand_over_settle_{index}", "settle")
    world.node.indices.refresh(index=index)
    different = compare(world, index, rows, key, version)
    require(not different, "index and file to be equal", different[:3])
    books = json.loads(world.s3.get_object(Bucket=BUCKET, Key=ledger_key(world, index, ended["run"]))["Body"].read())
    require(books["state"] == "settled", "a settled ledger", books["state"])
    shown = ("accepted", "indexed", "superseded", "rejected", "handed_over", "retried", "refused", "requests")
    return {
        "documents": len(rows),
        "run seconds": round(seconds, 1),
        "somebody else's writes": f"{others['documents']:,} documents, {others['refused']:,} of them answered with 429",
        "ledger": {name: f"{counts[name]:,}" for name in shown},
        "settled": {run: f"{state['proved']} proved" for run, state in settled["settled"]["runs"].items()} or "nothing was left",
        "documents that differ from the file": len(different),
    }


def set_up(world: World, index: str) -> None:
    world.node.indices.create(index=f"{index}-1", body={**world.bodies[index], "aliases": {index: {"is_write_index": True}}})
    run(world, "searchops_setup", "apply", indexes=[index])


def load(world: World, index: str, files: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Put files into the bucket, and load them by the DAG; gives what its last task returned: run, state, counts."""
    keys = [f"loads/{index}/{name}" for name in files]
    for key, rows in zip(keys, files.values(), strict=True):
        body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        world.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    uris = [f"s3://{BUCKET}/{key}" for key in keys]
    found: dict[str, Any] = run(world, f"bulk_load_{index}", "bulk_load.finish", files=uris)
    return found


def run(world: World, dag_id: str, task_id: str, **conf: Any) -> Any:
    """Run a DAG until it is green, and give what a task returned."""
    run_id = world.cloud.airflow.trigger(dag_id, conf)
    green(world, dag_id, run_id)
    return world.cloud.airflow.xcom(dag_id, run_id, task_id)


def green(world: World, dag_id: str, run_id: str) -> None:
    """Wait until a run has ended well."""
    airflow = world.cloud.airflow
    if airflow.wait(dag_id, run_id, timeout=300) == "success":
        return
    failed = [task for task in airflow.task_instances(dag_id, run_id) if task["state"] == "failed"]
    logs = [airflow.log(dag_id, run_id, task["task_id"], task["try_number"], task["map_index"])[-1500:] for task in failed]
    require(False, f"{dag_id} to be green", f"{airflow.task_states(dag_id, run_id)}\n" + "\n".join(logs))


def ledger_key(world: World, index: str, name: str) -> str:
    rows = world.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"ledger/{index}/")["Contents"]
    found = [row["Key"] for row in rows]
    documents = [key for key in found if json.loads(world.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())["run"] == name]
    require(len(documents) == 1, f"one ledger of the run {name}", found)
    return str(documents[0])


def compare(world: World, index: str, rows: Sequence[Row], key: Callable[[Row], str], version: Callable[[Row], int]) -> list[str]:
    """The ids whose document is missing, or differs in version or content, and those that nobody has loaded."""
    expected = {key(row): (version(row), row) for row in rows}
    different = []
    ids = list(expected)
    for first in range(0, len(ids), 1_000):
        answer = world.node.mget(index=index, body={"ids": ids[first : first + 1_000]})
        for document in answer["docs"]:
            found = (document.get("_version"), document.get("_source")) if document["found"] else None
            if found != expected[document["_id"]]:
                different.append(document["_id"])
    count = world.node.count(index=index)["count"]
    return different if count == len(expected) else [*different, f"{count} documents instead of {len(expected)}"]


@contextmanager
def pressure(url: str) -> Iterator[dict[str, int]]:
    """Somebody else writes from many threads at once, until the block ends; gives what became of it."""
    told, lock, stop = {"documents": 0, "refused": 0}, threading.Lock(), threading.Event()
    place = urlsplit(url)

    def send(method: str, path: str, body: bytes) -> Any:
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
        try:
            connection.request(
                method, path, body, {"Content-Type": "application/x-ndjson" if path.endswith("_bulk") else "application/json"}
            )
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def write(number: int) -> None:
        line = json.dumps({"words": f"{number} " * 20})
        body = f'{{"index":{{}}}}\n{line}\n'.encode() * _EACH
        while not stop.is_set():
            items = send("POST", f"/{OTHERS}/_bulk?filter_path=items.*.status", body).get("items", [])
            refused = sum(item["index"]["status"] == 429 for item in items)
            with lock:
                told["documents"] += len(items)
                told["refused"] += refused

    send("DELETE", f"/{OTHERS}?ignore_unavailable=true", b"")
    settings = {"number_of_shards": _SHARDS, "number_of_replicas": 0, "refresh_interval": "30s"}
    send("PUT", f"/{OTHERS}", json.dumps({"settings": settings}).encode())
    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        send("DELETE", f"/{OTHERS}?ignore_unavailable=true", b"")


ACTS: Mapping[str, Callable[[World], Facts]] = {
    "11 documents are loaded while the node answers 429": catalog,
    "12 events are loaded while the node answers 429": events,
}

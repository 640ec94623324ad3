"""Acts 13 to 15: entries of a table go through its stream again; what is reported is compared with what table, stream and index hold.

The table is that of `local.demo.entries`. Its stream is read beside the poller, and every record of it is counted.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from local.demo import entries, loads
from local.demo.checks import Facts, require
from local.demo.entries import DATE, NAME, PER_DAY, TIMEZONE, Item, day_of
from local.demo.functions import wait_until
from local.demo.world import World
from local.simulators.streams.control import StreamsControl
from local.simulators.streams.effects import ShardReader, Stream
from searchops.core.replay.records import MARKER, is_replay, replay_id

DAG = f"stream_replay_{NAME}"
TOUCH, RECONCILE = "replay.touch", "replay.reconcile"
CHANGED = 50
SLOW_WCU_PER_SECOND = 150
"""Of the replay that is killed: a day takes long enough for that."""
_WAIT_SECONDS = 120.0
_BACKFILL_SECONDS = 600.0
_IDS = 1_000  # of one _mget

Record = Mapping[str, Any]


class Log:
    """The records of the table's stream from when this is made on."""

    def __init__(self, world: World) -> None:
        table = world.client("dynamodb").describe_table(TableName=NAME)["Table"]
        self._stream = Stream(world.client("dynamodbstreams"), table["LatestStreamArn"])
        self._readers: dict[str, ShardReader] = {}
        self._records: list[Record] = []
        self.read()
        self._records.clear()

    def read(self) -> Sequence[Record]:
        """All that there are so far."""
        for shard in self._stream.shards():
            reader = self._readers.setdefault(shard.id, self._stream.reader(shard.id, None))
            while found := reader.read():
                self._records += found
        return self._records


def same_content(world: World) -> Facts:
    """A script reads the entries of a day and puts them as they are, then some of them with a change."""
    log, items = Log(world), table(world)[day_of(0)]
    entries.put(world.client("dynamodb"), items)
    records, documents = len(log.read()), indexed(world)
    changed = [{**item, "revision": item["revision"] + 1} for item in items[:CHANGED]]
    entries.put(world.client("dynamodb"), changed)
    wait_until(lambda: len(log.read()) >= CHANGED, "the changes are in the stream", _WAIT_SECONDS)
    written = indexed(world)
    after, keys = len(log.read()), {record["dynamodb"]["Keys"]["pk"]["S"] for record in log.read()}
    require((records, documents) == (0, 0), "no record and no document of what is as it was", (records, documents))
    # The stream keeps the order, so nothing of the others can come any more.
    require(after == CHANGED, f"{CHANGED} records after {CHANGED} changes", after)
    require(keys == {item["pk"] for item in changed}, "records of what was changed", keys)
    require(written == CHANGED, f"{CHANGED} documents", written)
    return {
        "entries put as they are": f"{len(items):,}",
        "records in the stream": records,
        "documents in the index": documents,
        "entries put with a change": CHANGED,
        "records in the stream after that": after,
        "documents in the index after that": written,
    }


def backfilled(world: World) -> Facts:
    """Three days, by what the form of the UI sends."""
    airflow, days = world.cloud.airflow, [day_of(number) for number in range(3)]
    set_up = loads.run(world, "searchops_setup", "apply", indexes=[NAME])
    airflow.wait_for_dag(DAG)
    log, before, began = Log(world), indexed(world), time.monotonic()
    airflow.wait_for_backfill(airflow.start_backfill(DAG, instant(days[0]), instant(days[-1])), _BACKFILL_SECONDS)
    seconds = time.monotonic() - began
    replays = {day: replayed(world, run_of(world, day)) for day in days}
    records, items = log.read(), table(world)
    compared = {day: compare(world, found, items[day], records) for day, found in replays.items()}
    require(len(records) == len(days) * PER_DAY, "a record for each entry of these days and no other", len(records))
    others = [item for day, rest in items.items() if day not in days for item in rest]
    marked = sum(MARKER in item for item in others)
    require(not marked, "no entry of another day touched", marked)
    documents = indexed(world)
    require(documents == len(days) * PER_DAY, "the documents of these days and no others", documents)
    return {
        "searchops_setup": "; ".join(set_up["changes"]) or "nothing was missing",
        "asked for": f"POST /api/v2/backfills, {days[0]} to {days[-1]}, each day a run",
        **{f"{day}": told(found, report_of(world, found)) for day, found in replays.items()},
        "table": f"{sum(held.marked for held in compared.values()):,} entries bear the id of their day's replay, "
        f"none of {len(others):,} others one",
        "stream": f"{len(records):,} records: {sum(held.touched for held in compared.values()):,} entries, none of them twice",
        "index": f"{before:,} documents before, {documents:,} after: {sum(held.equal for held in compared.values()):,} as their "
        f"entries are, {sum(held.written for held in compared.values()):,} of them written by the replays",
        "run seconds": round(seconds, 1),
    }


def killed(world: World) -> Facts:
    """The process that touches a day is killed half way; the next try goes on. By the trigger form, for one day."""
    airflow, day, log = world.cloud.airflow, day_of(3), Log(world)
    run_id = airflow.trigger(DAG, {"days": [day.isoformat()], "wcu_per_second": SLOW_WCU_PER_SECOND})
    wait_until(lambda: len(log.read()) >= PER_DAY // 2, "half of the day is in the stream", _WAIT_SECONDS)
    pid, died = world.kill_task_of(DAG, run_id, TOUCH), time.monotonic()
    first = list(log.read())
    ids = {replay_id(record["dynamodb"]["NewImage"]) for record in first}
    loads.green(world, DAG, run_id)
    seconds = time.monotonic() - died
    tries = next(task["try_number"] for task in airflow.task_instances(DAG, run_id) if task["task_id"] == TOUCH)
    found = replayed(world, run_id)
    records = log.read()
    held = compare(world, found, table(world)[day], records)
    require(len(first) < PER_DAY, "the kill to be in the middle", len(first))
    require(tries > 1, "a second try", tries)
    require(ids == {found["replay_id"]}, "the same replay id before and after", (ids, found["replay_id"]))
    require(len(records) == PER_DAY, "one record for each entry", len(records))
    counts = found["counts"]
    return {
        "killed": f"process {pid}, by SIGKILL, when {len(first):,} of {PER_DAY:,} entries had their record",
        "gone on with by": f"try {tries} of the task; all done {seconds:.0f} s after the kill",
        "replay id before and after": found["replay_id"],
        "counted": f"{counts['touched']:,} touched, {counts['before']:,} found with the replay's own id",
        "records in the stream": f"{len(records):,}: {held.touched:,} entries, {held.twice} of them twice",
        "report": told(found, report_of(world, found)),
        "documents as their entries are": f"{held.equal:,}",
    }


@dataclass(frozen=True, slots=True)
class Held:
    """What table, stream and index hold of a replayed day.

    :param items: of the day, in the table
    :param marked: of them those that bear the replay's id
    :param touched: items of which the stream has a touch of this replay
    :param twice: of them those of which it has more than one
    :param equal: documents that are what their items are, in version and content, but for the marker
    :param written: of them those that bear the replay's id
    """

    items: int
    marked: int
    touched: int
    twice: int
    equal: int
    written: int


def held(replay: str, items: Sequence[Item], touched: Mapping[str, int], documents: Mapping[str, Any]) -> Held:
    """
    :param touched: how often, by partition key
    :param documents: what ``_mget`` answers, by partition key
    """
    keys = {item["pk"] for item in items}
    equal = [documents[item["pk"]] for item in items if is_equal(item, documents[item["pk"]])]
    return Held(
        items=len(items),
        marked=sum(item.get(MARKER) == replay for item in items),
        touched=len(keys & touched.keys()),
        twice=sum(number > 1 for key, number in touched.items() if key in keys),
        equal=len(equal),
        written=sum(document["_source"].get(MARKER) == replay for document in equal),
    )


def is_equal(item: Item, document: Mapping[str, Any]) -> bool:
    if not document["found"]:
        return False
    content, kept = ({**values, MARKER: None} for values in (item, document["_source"]))
    return bool(document["_version"] == item["revision"] and content == kept)


def differences(found: Mapping[str, Any], report: Mapping[str, Any], held: Held) -> list[str]:
    """Where what a run returned and its report say otherwise than table, stream and index."""
    counts, arrivals = found["counts"], found["arrivals"]
    touched = counts["touched"] + counts["before"]
    pairs = {
        "selected": (counts["selected"], held.items),
        "touched, by the stream": (touched, held.touched),
        "touched, by the table": (touched, held.marked),
        "touched twice": (0, held.twice),
        "arrived": (arrivals["arrived"], held.written),
        "in the index": (arrivals["arrived"] + arrivals["already_there"], held.equal),
        "missing": (arrivals["missing"], held.items - held.equal),
        "short": (report["short"], held.items - held.equal),
        "funnel": ([stage["count"] for stage in report["funnel"]], [held.items, held.touched, held.touched, held.equal]),
    }
    return [f"{name}: {said} reported, {there} there" for name, (said, there) in pairs.items() if said != there]


def touches(records: Iterable[Record], replay: str) -> Counter[str]:
    """How often a replay has touched each item, by partition key: records in which the marker has become its id."""
    return Counter(
        record["dynamodb"]["Keys"]["pk"]["S"]
        for record in records
        if is_replay(record) and replay_id(record["dynamodb"]["NewImage"]) == replay
    )


def told(found: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    stages = " -> ".join(f"{stage['stage']} {stage['count']:,}" for stage in report["funnel"])
    there = found["arrivals"]["already_there"]
    return (
        f"{stages}: {report['short']} short" + (f", {there:,} there before" if there else "") + f"; {report['seconds']:.1f} s, "
        f"{report['touches_per_second']:.0f} touches/s, {report['units_per_second']:.0f} units/s"
    )


def compare(world: World, found: Mapping[str, Any], items: Sequence[Item], records: Iterable[Record]) -> Held:
    """Require that a day's run and report say what is there."""
    replay = found["replay_id"]
    there = held(replay, items, touches(records, replay), documents_of(world, items))
    different = differences(found, report_of(world, found), there)
    require(not different, f"what the replay {replay} reports to be there", different)
    return there


def replayed(world: World, run_id: str) -> dict[str, Any]:
    """What the last task of a run for one day returned, once the run is green."""
    loads.green(world, DAG, run_id)
    found: dict[str, Any] = world.cloud.airflow.xcom(DAG, run_id, RECONCILE, map_index=0)
    return found


def report_of(world: World, found: Mapping[str, Any]) -> dict[str, Any]:
    bucket, _, key = found["report"].removeprefix("s3://").partition("/")
    report: dict[str, Any] = json.loads(world.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return report


def instant(day: date) -> str:
    """The beginning of a day, as the UI sends it."""
    begin = datetime(day.year, day.month, day.day, tzinfo=TIMEZONE).astimezone(UTC)
    return f"{begin:%Y-%m-%dT%H:%M:%S}.000Z"


def run_of(world: World, day: date) -> str:
    """The run that a backfill has made for a day."""
    runs = [run for run in world.cloud.airflow.runs(DAG) if run["run_type"] == "backfill"]
    begin = datetime.fromisoformat(instant(day))
    found = [run["dag_run_id"] for run in runs if datetime.fromisoformat(run["data_interval_start"]) == begin]
    require(len(found) == 1, f"one run for {day}", runs)
    return str(found[0])


def table(world: World) -> Mapping[date, list[dict[str, Any]]]:
    """The items by their day, as plain values."""
    found: dict[date, list[dict[str, Any]]] = defaultdict(list)
    for page in world.client("dynamodb").get_paginator("scan").paginate(TableName=NAME, ConsistentRead=True):
        for item in map(entries.from_dynamodb, page["Items"]):
            found[date.fromisoformat(item[DATE])].append(item)
    return found


def indexed(world: World) -> int:
    """How many documents the index holds, once the function has done what is in the stream."""
    streams = StreamsControl(world.cloud.endpoints["streams"])
    try:
        streams.wait_until_caught_up(NAME, wait_seconds=_WAIT_SECONDS)
    finally:
        streams.close()
    world.node.indices.refresh(index=NAME)
    return int(world.node.count(index=NAME)["count"])


def documents_of(world: World, items: Sequence[Item]) -> dict[str, Any]:
    ids = [f"{item['pk']}|{item['sk']}" for item in items]
    parts = (ids[start : start + _IDS] for start in range(0, len(ids), _IDS))
    found = [document for part in parts for document in world.node.mget(index=NAME, body={"ids": part})["docs"]]
    return {item["pk"]: document for item, document in zip(items, found, strict=True)}


ACTS: Mapping[str, Callable[[World], Facts]] = {
    "13 a put of the same content fires nothing": same_content,
    "14 three days are replayed by a backfill": backfilled,
    "15 a replay is killed in the middle": killed,
}

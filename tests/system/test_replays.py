"""Replays under the real scheduler: backfills by the UI's request and by the command line, runs by the form, a worker that is killed."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from local.cloud import ROOT
from local.demo.acts import Run
from local.demo.functions import role_of
from local.demo.world import BUCKET, REGION
from local.simulators.streams.control import StreamsControl
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from tests.system.company import REPLAYED, Company, wait_for
from tests.system.stories import PATIENCE_SECONDS, run_dag

DAYS, SELECT = f"stream_replay_{REPLAYED}", f"stream_replay_select_{REPLAYED}"
TOUCH, RECONCILE = "replay.touch", "replay.reconcile"
MARKER = "searchops_replay"
PER_DAY = 30
TOKYO = ZoneInfo("Asia/Tokyo")
SCHEME = Scheme(VersionScheme.ATTRIBUTE, Deletes.NEVER, "revision", "pk|sk")


class Orders:
    """The table with its stream, the function that indexes it, and the index, which is empty before the first replay."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.dynamodb, self.functions = company.client("dynamodb"), company.client("lambda")
        self.streams = StreamsControl(company.cloud.endpoints["streams"])
        self.today = datetime.now(TOKYO).date()

    def furnish(self) -> None:
        stream = self._create_table()
        for day in range(1, 6):
            self.put(f"202611{day:02}", PER_DAY)
        self.put(self.today.strftime("%Y%m%d"), 3)
        mapping = {"properties": {MARKER: {"type": "keyword"}}, "_meta": {"searchops": {"scheme": SCHEME.to_meta()}}}
        settings = {"number_of_shards": 1, "number_of_replicas": 0}
        body = {"settings": settings, "mappings": mapping, "aliases": {REPLAYED: {}}}
        self.company.node.indices.create(index=f"{REPLAYED}-1", body=body)
        self._deploy()
        # What was put before is not in the index: the function begins with what comes from now on.
        self.functions.create_event_source_mapping(
            EventSourceArn=stream,
            FunctionName=REPLAYED,
            StartingPosition="LATEST",
            FunctionResponseTypes=["ReportBatchItemFailures"],
            MaximumRetryAttempts=5,
        )
        wait_for(lambda: bool(self.streams.mappings(REPLAYED)) and not self.streams.mappings(REPLAYED)[0].problem)

    def _create_table(self) -> str:
        types = {"pk": "S", "sk": "S", "created_ymd": "S"}
        created = self.dynamodb.create_table(
            TableName=REPLAYED,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": type_} for name, type_ in types.items()],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by_day",
                    "KeySchema": [{"AttributeName": "created_ymd", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        return str(created["TableDescription"]["LatestStreamArn"])

    def _deploy(self) -> None:
        folder = ROOT / "include" / "lambda"
        with tempfile.TemporaryDirectory() as directory:
            target = Path(directory) / "stream_indexer.zip"
            runpy.run_path(str(folder / "build.py"))["build"](folder / "stream_indexer", target)
            code = target.read_bytes()
        self.functions.create_function(
            FunctionName=REPLAYED,
            Runtime="python3.13",
            Role=role_of(self.company.client("iam")),
            Handler="handler.handler",
            Code={"ZipFile": code},
            Timeout=30,
            Environment={
                "Variables": {
                    "SEARCHOPS_ENDPOINT": self.company.cloud.endpoints["opensearch"],
                    "SEARCHOPS_INDEX": REPLAYED,
                    "SEARCHOPS_ID": "pk|sk",
                    "SEARCHOPS_VERSION_SCHEME": "attribute",
                    "SEARCHOPS_VERSION_ATTRIBUTE": "revision",
                    "SEARCHOPS_DELETES": "never",
                    "SEARCHOPS_BUCKET": BUCKET,
                    "SEARCHOPS_REGION": REGION,
                }
            },
        )

    def put(self, ymd: str, count: int) -> None:
        for number in range(count):
            item = {"pk": f"{ymd}-{number:03}", "sk": "order", "created_ymd": ymd}
            values = {name: {"S": value} for name, value in item.items()}
            self.dynamodb.put_item(TableName=REPLAYED, Item={**values, "revision": {"N": "5"}})

    def markers(self, ymd: str) -> Counter[str | None]:
        """The markers of the items of a day."""
        items = self.dynamodb.scan(TableName=REPLAYED)["Items"]
        return Counter(item.get(MARKER, {}).get("S") for item in items if item["created_ymd"]["S"] == ymd)

    def marker(self, ymd: str) -> str | None:
        """The one that all of them bear."""
        (marker,) = self.markers(ymd)
        return marker

    def indexed(self, ymd: str) -> int:
        """The documents of a day."""
        self.company.node.indices.refresh(index=REPLAYED)
        query = {"query": {"prefix": {"pk.keyword": ymd}}}
        return int(self.company.node.count(index=REPLAYED, body=query)["count"])

    def run(self, run_id: str, dag_id: str = DAYS) -> Run:
        return self.company.finish_dag(dag_id, run_id)

    def replayed(self, run_id: str, task: str = RECONCILE, dag_id: str = DAYS, map_index: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.company.airflow.xcom(dag_id, run_id, task, map_index=map_index)
        return found

    def start(self, first: int, last: int, **options: Any) -> int:
        """What the form of the UI sends for days of November, chosen in the table's time zone."""
        begin, end = (datetime(2026, 11, day, tzinfo=TOKYO).astimezone(UTC) for day in (first, last))
        times = (f"{instant:%Y-%m-%dT%H:%M:%S}.000Z" for instant in (begin, end))
        return self.company.airflow.start_backfill(DAYS, *times, **options)

    def backfill(self, first: int, last: int, **options: Any) -> None:
        self.company.airflow.wait_for_backfill(self.start(first, last, **options))

    def run_of(self, day: int) -> Run:
        """The run of a day of November."""
        start = datetime(2026, 11, day, tzinfo=TOKYO)
        (run_id,) = [
            run["dag_run_id"]
            for run in self.company.airflow.runs(DAYS)
            if run["run_type"] == "backfill" and datetime.fromisoformat(run["data_interval_start"]) == start
        ]
        return self.company.finish_dag(DAYS, run_id)


@pytest.fixture(scope="module")
def orders(company: Company) -> Iterator[Orders]:
    orders = Orders(company)
    orders.furnish()
    run_dag(company, "searchops_setup", indexes=[]).require("success")
    company.airflow.wait_for_dag(DAYS)
    yield orders
    orders.streams.close()


@dataclass(frozen=True, slots=True)
class ThreeDays:
    """A backfill of three days, the worker of the first of which is killed in the middle.

    :param killed_id: what the items bore that were touched then
    """

    runs: list[Run]
    killed_id: str


@pytest.fixture(scope="module")
def three_days(orders: Orders) -> ThreeDays:
    company = orders.company
    backfill = orders.start(1, 3, dag_run_conf={"wcu_per_second": 10})
    wait_for(lambda: {None} < set(orders.markers("20261101")), PATIENCE_SECONDS)
    (killed_id,) = set(orders.markers("20261101")) - {None}
    (run,) = [run for run in company.airflow.runs(DAYS) if run["state"] == "running"]
    company.kill_task_of(DAYS, run["dag_run_id"], TOUCH)
    company.airflow.wait_for_backfill(backfill)
    return ThreeDays([orders.run_of(day) for day in (1, 2, 3)], str(killed_id))


def test_nothing_is_scheduled_and_the_dag_is_not_paused(company: Company, orders: Orders) -> None:
    dag = company.airflow.dag(DAYS)

    assert (dag["next_dagrun_run_after"], dag["is_paused"]) == (None, False)
    assert [run for run in company.airflow.runs(DAYS) if run["run_type"] == "scheduled"] == []


def test_a_backfill_replays_each_day_and_finds_all_of_it_in_the_index(orders: Orders, three_days: ThreeDays) -> None:
    for day, run in enumerate(three_days.runs, 1):
        run.require("success")
        replayed = orders.replayed(run.run_id)
        assert replayed["counts"]["selected"] == replayed["counts"]["touched"] + replayed["counts"]["before"] == PER_DAY
        assert (replayed["arrivals"]["arrived"], replayed["arrivals"]["missing"]) == (PER_DAY, 0)
        assert orders.marker(f"202611{day:02}") == replayed["replay_id"]
        assert orders.indexed(f"202611{day:02}") == PER_DAY
    assert orders.markers("20261104") == {None: PER_DAY}


def test_a_worker_that_is_killed_is_followed_by_one_that_goes_on_with_the_same_replay(
    orders: Orders, three_days: ThreeDays
) -> None:
    run = three_days.runs[0]
    instances = orders.company.airflow.task_instances(DAYS, run.run_id)

    assert [task["try_number"] > 1 for task in instances if task["task_id"] == TOUCH] == [True]
    assert orders.marker("20261101") == three_days.killed_id


def test_nobody_is_told_of_replays_that_came_to_their_end(company: Company, three_days: ThreeDays) -> None:
    assert [company.told_now(run.run_id) for run in three_days.runs] == [[], [], []]


def test_all_runs_replays_a_day_again_and_the_other_choices_do_not(orders: Orders, three_days: ThreeDays) -> None:
    """A run keeps its parameters where the form does not override them, and what an earlier replay left in the state of its tasks."""
    before = orders.marker("20261102")

    for choice in ("none", "failed"):
        orders.backfill(2, 2, reprocess_behavior=choice)
        assert orders.marker("20261102") == before

    orders.backfill(2, 2, reprocess_behavior="completed")
    run = orders.run_of(2)
    run.require("success")
    again = orders.replayed(run.run_id)["replay_id"]
    assert again > before
    assert orders.marker("20261102") == again
    (kept,) = [each["conf"] for each in orders.company.airflow.runs(DAYS) if each["dag_run_id"] == run.run_id]
    assert kept == {"wcu_per_second": 10}


def by_command_line(company: Company, *arguments: str) -> None:
    """Begin a backfill; on SQLite a command that meets a write of the scheduler fails, maybe behind its first run, and is given again."""
    command = [str(Path(sys.executable).with_name("airflow")), "backfill", "create", "--dag-id", DAYS, *arguments]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        done = subprocess.run(
            command, env=company.cloud.full_environment(), capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode == 0:
            return
        passing = any(words in done.stderr for words in ("database is locked", "Another backfill is running"))
        assert passing, done.stderr
        assert time.monotonic() < deadline, done.stderr
        company.airflow.wait_for_backfills(DAYS)


def test_a_dry_run_on_the_command_line_looks_and_a_later_all_runs_with_parameters_replays(orders: Orders) -> None:
    days = ["--from-date", "2026-11-04T00:00:00+09:00", "--to-date", "2026-11-05T00:00:00+09:00"]
    by_command_line(orders.company, *days, "--dag-run-conf", json.dumps({"dry_run": True}))
    runs = [orders.run_of(day) for day in (4, 5)]
    for run in runs:
        run.require("success")
        (plan,) = orders.company.airflow.xcom(DAYS, run.run_id, "plan", key="plans")
        assert plan["items"] == PER_DAY
        assert {run.tasks[task] for task in run.tasks if task != "plan"} == {"skipped"}
    assert orders.markers("20261104") == orders.markers("20261105") == {None: PER_DAY}

    orders.company.airflow.wait_for_backfills(DAYS)
    orders.backfill(4, 4, reprocess_behavior="completed", dag_run_conf={"dry_run": False})
    orders.run_of(4).require("success")
    assert None not in orders.markers("20261104")


def test_today_goes_by_the_form_which_sends_a_logical_date_and_a_cleared_run_replays_again(orders: Orders) -> None:
    airflow = orders.company.airflow
    run_id = airflow.trigger(DAYS, {"days": [orders.today.isoformat(), "2026-11-05"]}, logical_date=datetime.now(UTC).isoformat())
    run = orders.run(run_id)
    run.require("success")
    names = {orders.replayed(run_id, map_index=number)["name"]: number for number in (0, 1)}
    assert set(names) == {"the day 2026-11-05", f"the day {orders.today}"}
    first = orders.marker("20261105")
    assert first

    airflow.clear(DAYS, run_id)
    orders.run(run_id).require("success")
    assert str(orders.marker("20261105")) > first


def test_chosen_items_go_by_the_other_dag_whose_form_looks_only_until_told_otherwise(orders: Orders) -> None:
    looked = run_dag(orders.company, SELECT, partition_keys=["20261105-001"])
    looked.require("success")
    before = orders.markers("20261105")
    assert len(before) == 1

    done = run_dag(orders.company, SELECT, partition_keys=["20261105-001"], dry_run=False)

    done.require("success")
    replayed = orders.replayed(done.run_id, dag_id=SELECT)
    assert (replayed["counts"]["touched"], replayed["arrivals"]["missing"]) == (1, 0)
    assert orders.markers("20261105") == before + Counter({replayed["replay_id"]: 1}) - Counter({next(iter(before)): 1})


def test_what_can_not_be_replayed_is_told_once(orders: Orders) -> None:
    run = run_dag(orders.company, DAYS, first_day="2026-11-02", last_day="2026-11-01")

    assert (run.state, run.failed()) == ("failed", ["plan"])
    (told,) = orders.company.told(run.run_id)
    assert "expected first_day up to last_day, found 2026-11-02 and 2026-11-01" in told

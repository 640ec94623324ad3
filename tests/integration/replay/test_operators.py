"""What a person gets from `stream_replay_<table>` and `stream_replay_select_<table>`, task by task."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import botocore.session
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from botocore.loaders import create_loader
from opensearchpy import OpenSearch

from local.aws import VARIABLES_TO_UNSET
from local.cloud import Cloud
from searchops.core.bulk.scheme import PROPERTIES, Deletes, Scheme, VersionScheme
from searchops.core.errors import DataError, TransientError
from searchops.core.idempotency.errors import InProgress
from searchops.core.idempotency.guard import Guard
from searchops.core.idempotency.table import create_claims_table
from searchops.core.replay.identity import Replays
from searchops.core.replay.run import PageDone, replay
from searchops.core.replay.selection import from_json
from searchops.core.replay.toucher import NAMESPACE
from searchops.core.report import FAILED, SUCCEEDED, Report, ReportStore
from searchops.core.waiting import Cadence
from searchops.hooks.dynamodb_streams import DynamoDBStreamsHook
from searchops.operators.replay import (
    DynamoDBReplayPlanOperator,
    DynamoDBReplayReconcileOperator,
    DynamoDBStreamReplayOperator,
)
from tests.conftest import aws_client
from tests.integration.bulk_load.conftest import Store
from tests.unit.task import Running

REGION = "ap-northeast-1"
MARKER = "searchops_replay"
DAY = "20261103"
START = "2026-11-02T15:00:00+00:00"
"""Of that day in Tokyo."""
SCHEME = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision", "pk|sk")
_loader = cache(create_loader)
_numbers = itertools.count(1)


class Shop:
    """A table, the index that its stream feeds, and the tasks that replay it."""

    def __init__(self, cloud: Cloud, node: OpenSearch) -> None:
        self.name = f"replayed-{next(_numbers)}"
        self.node, self.s3, self.dynamodb = node, aws_client(cloud, "s3"), aws_client(cloud, "dynamodb")
        self.bucket, self.claims = f"bucket-{self.name}", f"claims-{self.name}"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        create_claims_table(self.dynamodb, self.claims)
        self.stores: dict[str, Store] = {}
        self._create_table()
        self._create_index()
        place = {"region": REGION, "aws_conn_id": "aws_default"}
        home = {"bucket": self.bucket, "claims_table": self.claims, **place}
        self.entry: dict[str, Any] = {
            "key": self.name,
            "table": self.name,
            **place,
            "date_index": {"name": "by_day", "attribute": "created_ymd", "timezone": "Asia/Tokyo"},
            "consumers": [],
            "replay": {"wcu_per_second": 4000, "max_lag": "1m"},
            "written_index": {
                "name": self.name,
                "domain": "search",
                "domain_name": "search",
                "opensearch_conn_id": "replay_search",
                **place,
                "slack_conn_id": "slack_default",
                "bucket": self.bucket,
                "home": home,
                "body_path": None,
                "id": {"attributes": ["pk", "sk"]},
                "version": {"scheme": "attribute", "attribute": "revision"},
                "deletes": "tombstone",
                "tombstone_days": 8,
                "hand_over": None,
            },
            "home": home,
        }

    def _create_table(self) -> None:
        key = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        self.dynamodb.create_table(
            TableName=self.name,
            KeySchema=key,
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": type_}
                for name, type_ in (("pk", "S"), ("sk", "N"), ("created_ymd", "S"))
            ],
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

    def _create_index(self) -> None:
        body = {
            "settings": {"number_of_shards": 1, "number_of_replicas": 0},
            "mappings": {
                "properties": {MARKER: {"type": "keyword"}, "revision": {"type": "long"}, **PROPERTIES},
                "_meta": {"searchops": {"scheme": SCHEME.to_meta()}},
            },
            "aliases": {self.name: {}},
        }
        self.node.indices.create(index=f"{self.name}-1", body=body)

    # The application.

    def put(self, count: int, day: str = DAY, first: int = 0) -> None:
        items = [
            {"pk": {"S": f"p{number % 7}"}, "sk": {"N": str(number)}, "created_ymd": {"S": day}, "revision": {"N": "5"}}
            for number in range(first, first + count)
        ]
        for start in range(0, count, 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            assert not self.dynamodb.batch_write_item(RequestItems={self.name: puts})["UnprocessedItems"]

    # The stream and its consumer.

    def items(self) -> list[dict[str, Any]]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.name)
        return [item for page in pages for item in page["Items"]]

    def touches(self) -> Counter[str]:
        """How many records of the stream bear each marker that a touch has set."""
        hook = DynamoDBStreamsHook(aws_conn_id="aws_default", region_name=REGION)
        arn = hook.stream_of(self.name)
        found: Counter[str] = Counter()
        for shard in hook.describe(arn)["Shards"]:
            for page in hook.pages(arn, shard["ShardId"]):
                if not page:  # nothing more for now
                    break
                found.update(record["dynamodb"]["NewImage"][MARKER]["S"] for record in page if record["eventName"] == "MODIFY")
        return found

    def markers(self) -> Counter[str | None]:
        return Counter(item[MARKER]["S"] if MARKER in item else None for item in self.items())

    def consume(self) -> None:
        """Index every item as it is now."""
        lines: list[dict[str, Any]] = []
        for item in self.items():
            id_, version = f"{item['pk']['S']}|{item['sk']['N']}", int(item["revision"]["N"])
            lines.append({"index": {"_index": self.name, "_id": id_, "version": version, "version_type": "external"}})
            lines.append({"revision": version, **({MARKER: item[MARKER]["S"]} if MARKER in item else {})})
        self.node.bulk(body=lines)

    # The tasks.

    def running(self, kind: Callable[..., Any], store: str = "", **arguments: Any) -> Running:
        running = Running(kind(task_id="task", table=self.entry, **arguments))
        running.context["task_state_store"] = self.stores.setdefault(store, Store())
        return running

    def plan(self, choice: Mapping[str, Any], **arguments: Any) -> list[dict[str, Any]]:
        return self.running(DynamoDBReplayPlanOperator, choice=choice, **arguments).execute()

    def touch(self, part: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
        return self.running(DynamoDBStreamReplayOperator, part=part, **arguments).execute()

    def begin(self) -> str:
        """Touch the day, and die before its end is noted."""
        (part,) = self.plan({"interval_start": START})
        clients = self.running(DynamoDBStreamReplayOperator, part=part).task.clients

        def die(done: PageDone) -> None:
            raise TransientError(done.replay.replay_id)

        with pytest.raises(TransientError) as died:
            replay(clients.job(from_json(part["selection"]), clients.toucher(clients.pacer())), die)
        return str(died.value)

    def reconcile(self, replayed: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
        return self.running(DynamoDBReplayReconcileOperator, replayed=replayed, **arguments).to_the_end()

    def kept_report(self, ended: Mapping[str, Any]) -> dict[str, Any]:
        """That of a replay, by what its last task has returned."""
        bucket, key = ended["report"].removeprefix("s3://").split("/", 1)
        kept: dict[str, Any] = json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return kept

    def report(self) -> Report:
        """What the last task had to say."""
        (report,) = ReportStore(self.s3, self.bucket).read_run("dictionary_sync_products", "manual__1")
        return report


@pytest.fixture(scope="module")
def node(bulk_cloud: Cloud) -> Iterator[OpenSearch]:
    client = OpenSearch(bulk_cloud.endpoints["opensearch"], max_retries=0, timeout=30)
    yield client
    client.close()


@pytest.fixture
def shop(bulk_cloud: Cloud, node: OpenSearch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in VARIABLES_TO_UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in bulk_cloud.environment.items():
        monkeypatch.setenv(name, value)
    host, port = bulk_cloud.endpoints["opensearch"].removeprefix("http://").rsplit(":", 1)
    connection = {"conn_type": "opensearch", "host": host, "port": int(port), "extra": {"use_ssl": False}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws"}))
    monkeypatch.setenv("AIRFLOW_CONN_REPLAY_SEARCH", json.dumps(connection))
    monkeypatch.setattr(botocore.session, "create_loader", _loader)
    shop = Shop(bulk_cloud, node)
    yield shop
    shop.dynamodb.delete_table(TableName=shop.name)
    node.indices.delete(index=f"{shop.name}-1")


def test_the_items_of_a_day_go_through_the_stream_once_and_are_found_in_the_index(shop: Shop) -> None:
    shop.put(1200)
    shop.put(30, day="20261104", first=5000)

    (part,) = shop.plan({"interval_start": START, "days": "[]"})
    assert (part["name"], part["expected"], part["exact"]) == ("the day 2026-11-03", 1200, True)
    touched = shop.touch(part)
    shop.consume()
    ended = shop.reconcile(touched)

    assert (touched["counts"]["selected"], touched["counts"]["touched"]) == (1200, 1200)
    assert shop.touches() == {touched["replay_id"]: 1200}
    assert shop.markers() == {touched["replay_id"]: 1200, None: 30}
    assert (ended["arrivals"]["arrived"], ended["arrivals"]["missing"]) == (1200, 0)
    report = shop.report()
    assert (report.outcome, report.facts["Short"], report.facts["In the index"]) == (SUCCEEDED, 0, 1200)
    kept = shop.kept_report(ended)
    assert (kept["replay_id"], kept["short"]) == (touched["replay_id"], 0)
    assert json.loads(json.dumps(ended)) == ended


def test_a_dry_run_counts_and_says_what_it_would_cost_and_writes_nothing(shop: Shop) -> None:
    shop.put(100)
    running = shop.running(DynamoDBReplayPlanOperator, choice={"interval_start": START}, only_plan="True")

    assert running.execute() == []

    (plan,) = running.ti.xcoms["plans"]
    assert (plan["items"], plan["table_units"], plan["without_date"] is not None) == (100, 100.0, True)
    report = shop.report()
    assert "100 items" in report.title
    assert "dry run" in report.title
    assert report.facts["Write units"] == 100
    assert shop.markers() == {None: 100}
    assert json.loads(json.dumps(running.ti.xcoms)) == running.ti.xcoms


def test_an_empty_day_succeeds_and_says_0(shop: Shop) -> None:
    shop.put(1, day="20261104")

    (part,) = shop.plan({"interval_start": START})
    ended = shop.reconcile(shop.touch(part))

    assert (part["expected"], ended["counts"]["selected"], ended["arrivals"]["arrived"]) == (0, 0, 0)
    assert shop.report().facts["Short"] == 0


def test_batches_touch_past_the_budget_and_prove_that_equal_documents_were_there(shop: Shop) -> None:
    shop.entry["replay"]["wcu_per_second"] = 1
    shop.put(60)
    shop.consume()

    (part,) = shop.plan({"interval_start": START})
    touched = shop.touch(part, batches=True)
    shop.consume()  # equal versions are not written again
    ended = shop.reconcile(touched)

    assert shop.touches() == {touched["replay_id"]: 60}
    assert (ended["arrivals"]["already_there"], ended["arrivals"]["missing"]) == (60, 0)
    assert shop.kept_report(ended)["seconds"] < 30  # within the budget it is a minute and more


def test_batches_that_were_to_add_to_a_version_are_refused(shop: Shop) -> None:
    shop.entry["replay"]["version_owner"] = "shared"
    shop.put(1)

    (part,) = shop.plan({"interval_start": START})
    with pytest.raises(DataError, match="found batches"):
        shop.touch(part, batches=True)

    assert shop.report().outcome == FAILED


def test_a_killed_task_goes_on_with_its_replay_and_a_cleared_one_begins_another(shop: Shop) -> None:
    shop.put(1600)
    (part,) = shop.plan({"interval_start": START})
    running = shop.running(DynamoDBStreamReplayOperator, part=part, wcu_per_second="2000")
    ended: list[BaseException] = []

    def run() -> None:
        try:
            running.execute()
        except TransientError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: None in (markers := shop.markers()) and len(markers) == 2)
    running.task.on_kill()
    thread.join(30)
    assert len(ended) == 1
    (first,) = set(shop.markers()) - {None}

    done = shop.touch(part)
    assert done["replay_id"] == first
    assert done["counts"]["selected"] == 1600
    assert shop.touches() == {first: 1600}

    again = shop.touch(part)
    assert again["replay_id"] > first
    assert shop.touches() == {first: 1600, again["replay_id"]: 1600}


def test_a_replay_that_has_not_ended_is_told_and_a_person_may_give_it_up(shop: Shop) -> None:
    shop.put(30)
    open_ = shop.begin()

    running = shop.running(DynamoDBReplayPlanOperator, choice={"interval_start": START}, only_plan="True", abandon=[open_])
    running.execute()
    assert shop.report().facts["Goes on with 1"].startswith(f"{open_}, the day 2026-11-03, begun 20")
    assert [line.partition(",")[0] for line in running.ti.xcoms["unfinished"]] == [open_]

    (part,) = shop.plan({"interval_start": START}, abandon=json.dumps([open_]))
    assert shop.report().facts["Abandoned 1"].startswith(f"{open_}, the day 2026-11-03, begun 20")
    assert "Goes on with 1" not in shop.report().facts
    assert shop.touch(part)["replay_id"] > open_


def test_a_replay_can_be_given_up_without_another(shop: Shop) -> None:
    shop.put(30)
    open_ = shop.begin()

    assert shop.plan({"days": "[]", "sample": "", "whole_table": "False", "segments": "16"}, abandon=[open_]) == []
    assert shop.report().title == f"{shop.name}: 1 replays abandoned, 0 have not come to their end"
    # Cleared, or in the next run of a backfill with the same parameters:
    assert shop.plan({}, abandon=[open_]) == []
    assert shop.report().title == f"{shop.name}: 0 replays abandoned, 0 have not come to their end"
    assert shop.markers() == {open_: 30}


def test_what_never_was_a_replay_or_is_being_touched_is_not_given_up(shop: Shop) -> None:
    shop.put(30)
    open_ = shop.begin()

    with pytest.raises(DataError, match=f"abandon: expected replays of the table '{shop.name}', found {7:020}; .* are {open_}"):
        shop.plan({}, abandon=[open_, f"{7:020}"])
    with (
        Guard(shop.dynamodb, table=shop.claims, namespace=NAMESPACE).claim(shop.name),
        pytest.raises(InProgress),
    ):
        shop.plan({}, abandon=[open_])
    assert [replay.replay_id for replay in Replays(shop.dynamodb, shop.claims).unfinished(shop.name)] == [open_]


def test_a_replay_of_something_else_that_has_not_ended_is_told_too(shop: Shop) -> None:
    shop.put(30)
    open_ = shop.begin()

    shop.plan({"sample": "1"})

    assert shop.report().facts["Not come to its end 1"].startswith(f"{open_}, the day 2026-11-03, begun 20")


def test_while_another_task_touches_the_table_a_task_is_to_be_tried_again(shop: Shop) -> None:
    shop.put(10)
    (part,) = shop.plan({"interval_start": START})
    with Guard(shop.dynamodb, table=shop.claims, namespace=NAMESPACE).claim(shop.name):
        with pytest.raises(InProgress):
            shop.touch(part)
        assert shop.report().outcome == FAILED
        assert shop.markers() == {None: 10}


def test_a_task_tells_how_far_it_is(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searchops.operators.replay.PROGRESS_SECONDS", 0.0)
    shop.put(1100)
    (part,) = shop.plan({"interval_start": START})

    shop.touch(part)

    progress = shop.stores[""].get("progress")
    assert (progress["selection"], progress["done"], progress["percent"]) == ("the day 2026-11-03", 1100, 100.0)
    assert "1,100 items" in progress["line"]


def test_what_the_consumer_has_not_read_is_waited_for_without_a_worker(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searchops.operators.replay.STAY_SECONDS", 0.0)
    shop.put(20)
    touched = shop.touch(*shop.plan({"interval_start": START}))
    running = shop.running(DynamoDBReplayReconcileOperator, replayed=touched)

    deferred = running.deferred()
    shop.consume()

    assert deferred.trigger.serialize()[0].endswith("DateTimeTrigger")
    assert running.resumed(deferred, None)["arrivals"]["arrived"] == 20


def test_what_is_missing_though_the_consumer_has_gone_on_is_touched_again_and_then_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchops.hooks.replay.POLL_SCALE", 0.0)  # no grace: what is not there is missing
    monkeypatch.setattr("searchops.operators.replay.CADENCE", Cadence(0.0, 0.0, 0.0, 0.0))
    shop.put(20)
    touched = shop.touch(*shop.plan({"interval_start": START}))

    with pytest.raises(DataError, match="20 of 20 touched items are not in the index although the consumer has gone on"):
        shop.reconcile(touched)

    assert sorted(shop.touches().values()) == [20, 20, 20]
    assert shop.report().outcome == FAILED
    shop.consume()
    assert shop.reconcile(touched)["arrivals"]["again"] == 20


def test_a_table_without_an_index_is_not_compared(shop: Shop) -> None:
    shop.entry |= {"written_index": None}
    shop.put(5)
    touched = shop.touch(*shop.plan({"interval_start": START}))

    with pytest.raises(AirflowSkipException):
        shop.reconcile(touched)
    assert touched["counts"]["touched"] == 5


@pytest.mark.parametrize(
    ("choice", "arguments", "message"),
    [
        ({}, {}, "expected one choice"),
        ({"days": "[]"}, {}, "expected one choice"),
        ({"days": ["2199-01-01"]}, {}, "which has not begun"),
        ({"partition_keys": ["p1"], "sort_key_first": "x"}, {}, "expected a number"),
        ({"keys_file": "s3://no-such-bucket/keys"}, {}, "no-such-bucket"),
        (
            {"partition_keys": [f"{number:0400}" for number in range(1000)]},
            {},
            "at most 300,000 bytes, .* put the keys into a list in S3",
        ),
        ({"sample": "1"}, {"wcu_per_second": "0"}, "expected a pace of more than 0"),
        ({"sample": "1"}, {"wcu_per_second": "fast"}, "wcu_per_second: expected a number"),
        ({"sample": "1"}, {"rewrite": "True"}, "version_owner"),
        ({"sample": "1", "filter": '{"expression": "nonsense ("}'}, {}, "does not take the request"),
    ],
)
def test_what_makes_no_sense_is_told_and_left_in_the_report(
    shop: Shop, choice: Mapping[str, Any], arguments: Mapping[str, Any], message: str
) -> None:
    shop.put(1)

    with pytest.raises(DataError, match=message):
        shop.plan(choice, **arguments)

    report = shop.report()
    assert (report.outcome, report.facts["Table"]) == (FAILED, shop.name)


def test_a_table_that_is_not_there_is_told(shop: Shop) -> None:
    shop.entry |= {"table": "no-such-table"}

    with pytest.raises(DataError, match="no-such-table"):
        shop.plan({"sample": "1"})


SELECTED: Sequence[tuple[Mapping[str, Any], int]] = [
    ({"partition_keys": '["p1", "p2"]'}, 58),
    ({"partition_keys": '["p1"]', "sort_key_first": "8", "sort_key_last": "22"}, 3),
    ({"sample": "13"}, 13),
    ({"whole_table": "True", "segments": "3"}, 200),
    ({"whole_table": "True", "filter": '{"expression": "sk < :n", "values": {":n": {"N": "50"}}}'}, 50),
    ({"keys_file": "s3://{bucket}/keys.ndjson"}, 2),
]


def test_items_can_be_selected_in_every_way(shop: Shop) -> None:
    shop.put(200)
    keys = [{"pk": {"S": f"p{number}"}, "sk": {"N": str(number)}} for number in (1, 3)]
    shop.s3.put_object(Bucket=shop.bucket, Key="keys.ndjson", Body="\n".join(map(json.dumps, keys)).encode())
    for choice, count in SELECTED:
        given = {name: value.replace("{bucket}", shop.bucket) for name, value in choice.items()}

        (part,) = shop.plan(given)
        done = shop.touch(part)

        assert (done["counts"]["selected"], done["counts"]["touched"]) == (count, count), given
        assert shop.markers()[done["replay_id"]] == count


def test_days_of_a_range_are_parts_of_one_run(shop: Shop) -> None:
    shop.put(3)
    today = (datetime.now(UTC) + timedelta(hours=9)).date()

    parts = shop.plan({"first_day": "2026-11-01", "last_day": "2026-11-03", "days": [today.isoformat()]})

    assert [part["expected"] for part in parts if "2026-11-0" in part["name"]] == [0, 0, 3]
    assert any(today.isoformat() in part["name"] for part in parts)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(f"not so after {seconds:g} s")

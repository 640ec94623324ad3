"""What a function meets on a stream of DynamoDB Local that it would meet on one of DynamoDB's."""

from __future__ import annotations

import io
import itertools
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud
from local.demo.functions import wait_until
from local.simulators.streams.control import StreamsControl
from tests.conftest import aws_client

SPEED = 20.0
# Each delivery is a line of the log: the ids and sequence numbers of its records. `plan` says, by id, what goes wrong with a record.
HANDLER = """
import json, os, time
def handler(event, context):
    records = [(r["dynamodb"]["Keys"]["id"]["S"], r["dynamodb"]["SequenceNumber"], r["eventName"]) for r in event["Records"]]
    plan = json.load(open(os.environ["PLAN"]))
    with open(os.environ["LOG"], "a") as log:
        log.write(json.dumps({"records": records, "event": event, "pid": os.getpid()}) + "\\n")
    for id_, sequence, _ in records:
        what = plan.get(id_)
        if what == "raise":
            raise ValueError(id_)
        if what == "sleep":
            time.sleep(60)
        if what == "report":
            return {"batchItemFailures": [{"itemIdentifier": sequence}]}
        if isinstance(what, dict):
            return what
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(tmp_path_factory.mktemp("streams"), services=("aws", "dynamodb", "functions", "streams"), speed=SPEED) as cloud:
        aws_client(cloud, "iam").create_role(RoleName="simulated", AssumeRolePolicyDocument="{}")
        yield cloud


@pytest.fixture(scope="module")
def clients(cloud: Cloud) -> list[Any]:
    return [aws_client(cloud, name) for name in ("dynamodb", "lambda", "sqs", "s3", "cloudwatch")]


class Mapped:
    """A table, a function that keeps what it gets, and the mapping between them."""

    def __init__(self, cloud: Cloud, clients: list[Any], folder: Path, control: StreamsControl) -> None:
        self.name = f"streams-{next(_numbers)}"
        self.control = control
        self.cloud = cloud
        self.dynamodb, self.lambda_, self.sqs, self.s3, self.cloudwatch = clients
        self._log, self._plan = folder / "log", folder / "plan"
        self._log.touch()
        self.plan()
        self.stream = self.dynamodb.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]["LatestStreamArn"]
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("handler.py", HANDLER)
        self.lambda_.create_function(
            FunctionName=self.name,
            Runtime="python3.13",
            Role="arn:aws:iam::123456789012:role/simulated",
            Handler="handler.handler",
            Code={"ZipFile": content.getvalue()},
            Environment={"Variables": {"LOG": str(self._log), "PLAN": str(self._plan)}},
            Timeout=1,
        )
        self.queue_url = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]
        self.queue = f"arn:aws:sqs:ap-northeast-1:123456789012:{self.name}"
        self.uuid = ""

    def map(self, **options: Any) -> str:
        settings = {"StartingPosition": "TRIM_HORIZON", **options}
        mapping = self.lambda_.create_event_source_mapping(EventSourceArn=self.stream, FunctionName=self.name, **settings)
        self.uuid = mapping["UUID"]
        return self.uuid

    def plan(self, **ids: Any) -> None:
        unfinished = self._plan.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(ids))
        unfinished.rename(self._plan)

    def put(self, *ids: str, **attributes: str) -> None:
        for id_ in ids:
            item = {"id": {"S": id_}, **{name: {"S": value} for name, value in attributes.items()}}
            self.dynamodb.put_item(TableName=self.name, Item=item)

    def caught_up(self, **options: Any) -> None:
        self.control.wait_until_caught_up(self.name, **options)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line)["event"] for line in self._log.read_text().splitlines()]

    def batches(self) -> list[str]:
        """The ids of each delivery in one text."""
        return ["".join(id_ for id_, *_ in delivery["records"]) for delivery in self.deliveries()]

    def deliveries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def failed(self) -> list[dict[str, Any]]:
        found = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in found]

    def counts(self) -> Any:
        return self.control.counts(self.name)

    def close(self) -> None:
        if self.uuid:
            self.lambda_.delete_event_source_mapping(UUID=self.uuid)
        self.lambda_.delete_function(FunctionName=self.name)


@pytest.fixture
def control(cloud: Cloud) -> Iterator[StreamsControl]:
    control = StreamsControl(cloud.endpoints["streams"])
    yield control
    control.clear()
    control.speed(SPEED)
    control.close()


@pytest.fixture
def mapped(cloud: Cloud, clients: list[Any], tmp_path: Path, control: StreamsControl) -> Iterator[Mapped]:
    mapped = Mapped(cloud, clients, tmp_path, control)
    yield mapped
    mapped.close()


def test_a_record_has_the_form_of_lambda_and_a_sequence_number_of_awss_length(mapped: Mapped) -> None:
    item = {"id": {"S": "東"}, "bytes": {"B": b"\x00\xff"}, "many": {"BS": [b"a"]}, "list": {"L": [{"N": "1"}, {"B": b"z"}]}}
    mapped.dynamodb.put_item(TableName=mapped.name, Item=item)
    mapped.map()
    mapped.caught_up()

    ((record,),) = (event["Records"] for event in mapped.events())
    change = record.pop("dynamodb")
    assert record.pop("eventID")
    assert record == {
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "ap-northeast-1",
        "eventSourceARN": mapped.stream,
    }
    assert 22 <= len(change.pop("SequenceNumber")) <= 28
    assert abs(change.pop("ApproximateCreationDateTime") - time.time()) < 120
    assert change.pop("SizeBytes") > 0
    image = {"id": {"S": "東"}, "bytes": {"B": "AP8="}, "many": {"BS": ["YQ=="]}, "list": {"L": [{"N": "1"}, {"B": "eg=="}]}}
    assert change == {"Keys": {"id": {"S": "東"}}, "NewImage": image, "StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_records_come_in_order_in_batches_of_the_mappings_size(mapped: Mapped) -> None:
    mapped.put(*"abcdefg")
    mapped.map(BatchSize=3)
    mapped.put(*"hij")
    mapped.caught_up()

    assert "".join(mapped.batches()) == "abcdefghij"
    assert max(map(len, mapped.batches())) == 3
    sequences = [int(record[1]) for delivery in mapped.deliveries() for record in delivery["records"]]
    assert sequences == sorted(set(sequences))


def test_a_batching_window_gathers_what_comes_within_it(mapped: Mapped) -> None:
    mapped.map(MaximumBatchingWindowInSeconds=60)
    mapped.caught_up()
    mapped.put("a")
    wait_until(lambda: mapped.counts()["read"] == 1, "it is read")
    mapped.put("b")
    mapped.caught_up()

    assert mapped.batches() == ["ab"]


def test_latest_begins_behind_what_is_there(mapped: Mapped) -> None:
    mapped.put("a", "b")
    mapped.map(StartingPosition="LATEST")
    mapped.caught_up()
    mapped.put("c")
    mapped.caught_up()

    assert mapped.batches() == ["c"]


def test_a_failing_batch_blocks_its_shard_until_the_function_succeeds(mapped: Mapped) -> None:
    mapped.plan(b="raise")
    mapped.map()
    mapped.put("a", "b")
    wait_until(lambda: mapped.counts()["errors"] >= 3, "it has been tried three times")
    mapped.put("c")
    assert mapped.control.iterator_age(mapped.name) > 0

    mapped.plan()
    mapped.caught_up()

    assert "".join(dict.fromkeys("".join(mapped.batches()))) == "abc"
    assert mapped.control.iterator_age(mapped.name) == 0


def test_a_batch_is_given_up_after_its_retries_and_its_place_in_the_stream_goes_to_the_queue(mapped: Mapped) -> None:
    mapped.plan(a="raise")
    mapped.put("a", "b")
    mapped.map(MaximumRetryAttempts=2, DestinationConfig={"OnFailure": {"Destination": mapped.queue}})
    mapped.caught_up()
    mapped.put("c")
    mapped.caught_up()

    assert mapped.batches() == ["ab", "ab", "ab", "c"]
    (told,) = mapped.failed()
    first, last = (record["dynamodb"]["SequenceNumber"] for record in mapped.events()[0]["Records"])
    info = told["DDBStreamBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"], info["batchSize"]) == (first, last, 2)
    assert info["streamArn"] == mapped.stream
    assert info["shardId"].startswith("shardId-")
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["requestContext"]["approximateInvokeCount"] == 3
    assert told["requestContext"]["functionArn"].endswith(f":function:{mapped.name}")
    assert told["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}


def test_a_bucket_as_the_destination_gets_the_records_too(mapped: Mapped) -> None:
    location = {"LocationConstraint": "ap-northeast-1"}
    mapped.s3.create_bucket(Bucket=mapped.name, CreateBucketConfiguration=location)
    mapped.plan(a="raise")
    mapped.put("a")
    mapped.map(MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{mapped.name}"}})
    mapped.caught_up()

    (found,) = mapped.s3.list_objects_v2(Bucket=mapped.name)["Contents"]
    kept = json.loads(mapped.s3.get_object(Bucket=mapped.name, Key=found["Key"])["Body"].read())
    assert found["Key"].startswith(f"aws/lambda/{mapped.uuid}/shardId-")
    assert json.loads(kept["payload"]) == mapped.events()[0]


def test_bisecting_brings_all_but_the_bad_record_through(mapped: Mapped) -> None:
    mapped.plan(c="raise")
    mapped.put(*"abcdefg")
    settings = {"BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 1}
    mapped.map(**settings, DestinationConfig={"OnFailure": {"Destination": mapped.queue}})
    mapped.caught_up()

    assert mapped.batches() == ["abcdefg", "abcd", "ab", "cd", "c", "c", "d", "efg"]
    assert mapped.failed()[0]["DDBStreamBatchInfo"]["batchSize"] == 1


def test_a_reported_record_and_all_behind_it_come_again(mapped: Mapped) -> None:
    mapped.plan(c="report")
    mapped.put(*"abcd")
    mapped.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    wait_until(lambda: mapped.counts()["partial_failures"] >= 2, "it has been reported twice")
    mapped.plan()
    mapped.caught_up()

    assert mapped.batches()[:2] == ["abcd", "cd"]
    assert set(mapped.batches()[1:]) == {"cd"}
    assert mapped.counts()["errors"] == 0


def test_a_filter_on_inserts_keeps_an_update_away(mapped: Mapped) -> None:
    mapped.map(FilterCriteria={"Filters": [{"Pattern": json.dumps({"eventName": ["INSERT"]})}]})
    mapped.put("a", "b")
    mapped.put("a", touched="yes")
    mapped.caught_up()

    assert "".join(mapped.batches()) == "ab"
    assert mapped.counts()["filtered"] == 1


def test_a_filter_that_is_not_understood_stops_its_mapping_and_loses_nothing(mapped: Mapped) -> None:
    uuid = mapped.map(FilterCriteria={"Filters": [{"Pattern": '{"eventName": [{"colour": "red"}]}'}]})
    mapped.put("a")
    refused = "expected one of exists"
    wait_until(lambda: any(refused in found.problem for found in mapped.control.mappings(mapped.name)), "it says so")

    mapped.lambda_.update_event_source_mapping(UUID=uuid, FilterCriteria={"Filters": []})
    mapped.caught_up()

    assert mapped.batches() == ["a"]


def test_a_function_that_takes_too_long_is_a_failure(mapped: Mapped) -> None:
    mapped.plan(a="sleep")
    mapped.put("a")
    mapped.map(MaximumRetryAttempts=0)
    mapped.caught_up()

    assert (mapped.counts()["timeouts"], mapped.counts()["discarded"]) == (1, 1)


def test_a_record_that_is_too_old_is_given_up_without_its_neighbours(mapped: Mapped) -> None:
    mapped.control.pause(mapped.name)
    mapped.put("a")
    mapped.map(MaximumRecordAgeInSeconds=60, DestinationConfig={"OnFailure": {"Destination": mapped.queue}})
    wait_until(lambda: mapped.control.iterator_age(mapped.name) > 60, "it is too old")
    mapped.put("b")
    mapped.control.resume(mapped.name)
    mapped.caught_up()

    assert mapped.batches() == ["b"]
    assert mapped.failed()[0]["requestContext"]["condition"] == "RecordAgeExceeded"


def test_new_settings_unblock_a_shard(mapped: Mapped) -> None:
    mapped.plan(a="raise")
    mapped.put("a")
    uuid = mapped.map()
    wait_until(lambda: mapped.counts()["errors"] >= 1, "it blocks")

    mapped.lambda_.update_event_source_mapping(UUID=uuid, MaximumRetryAttempts=0)
    mapped.caught_up()
    mapped.put("b")
    mapped.caught_up()

    assert (mapped.batches()[-1], mapped.counts()["discarded"]) == ("b", 1)


def test_a_mapping_that_is_disabled_delivers_nothing_until_it_is_enabled(mapped: Mapped) -> None:
    uuid = mapped.map(Enabled=False)
    mapped.put("a")
    with pytest.raises(ValueError, match="expected an enabled event source mapping"):
        mapped.caught_up()

    mapped.lambda_.update_event_source_mapping(UUID=uuid, Enabled=True)
    mapped.caught_up()
    assert mapped.batches() == ["a"]


def test_lanes_share_a_shard_and_keep_the_order_of_each_item(mapped: Mapped) -> None:
    for round_ in range(5):
        mapped.put(*"abcdefgh", round=str(round_))
    mapped.map(ParallelizationFactor=4, BatchSize=2)
    mapped.caught_up()

    rounds: dict[str, list[str]] = {}
    for record in (record for event in mapped.events() for record in event["Records"]):
        rounds.setdefault(record["dynamodb"]["Keys"]["id"]["S"], []).append(record["dynamodb"]["NewImage"]["round"]["S"])
    assert rounds == {id_: list("01234") for id_ in "abcdefgh"}
    assert len({delivery["pid"] for delivery in mapped.deliveries()}) > 1


def test_a_poller_that_is_killed_goes_on_behind_its_checkpoint(mapped: Mapped) -> None:
    mapped.map(BatchSize=1)
    mapped.put("a", "b")
    mapped.caught_up()
    mapped.plan(c="raise")
    mapped.put("c", "d")
    wait_until(lambda: mapped.counts()["errors"] >= 1, "it has failed on c")

    mapped.cloud.process("streams").kill()
    mapped.plan()
    mapped.caught_up()

    assert mapped.batches()[:2] == ["a", "b"]
    assert "".join(dict.fromkeys(mapped.batches())) == "abcd"
    assert mapped.batches().count("a") == 1


def test_batches_are_delivered_twice_together_and_to_a_handler_that_dies(mapped: Mapped) -> None:
    mapped.map()
    mapped.control.deliver_twice(mapped.name)
    mapped.put("a")
    mapped.caught_up()
    mapped.control.deliver_together(mapped.name)
    mapped.put("b")
    mapped.caught_up()
    mapped.plan(c="sleep")
    mapped.lambda_.update_function_configuration(FunctionName=mapped.name, Timeout=60)
    mapped.control.kill_handler(mapped.name)
    mapped.put("c")
    wait_until(lambda: mapped.counts()["errors"] == 1, "the handler was killed")
    mapped.plan()
    mapped.caught_up()

    assert [batch for batch in mapped.batches() if batch != "c"] == ["a", "a", "b", "b"]
    together = [delivery["pid"] for delivery in mapped.deliveries() if delivery["records"][0][0] == "b"]
    assert len(set(together)) == 2
    counts = mapped.counts()
    assert (counts["twice"], counts["together"], counts["kill_handler"]) == (1, 1, 1)


def test_held_records_are_late_and_cloudwatch_knows_how_late(mapped: Mapped) -> None:
    mapped.control.hold(40, mapped.name)
    mapped.map()
    mapped.put("a")
    mapped.caught_up()

    def maximum() -> float:
        now = datetime.now(UTC)
        found = mapped.cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="IteratorAge",
            Dimensions=[{"Name": "FunctionName", "Value": mapped.name}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return max((point["Maximum"] for point in found), default=0.0)

    wait_until(lambda: maximum() >= 40_000, "the age is in CloudWatch")
    assert maximum() < 200_000


def test_a_ttl_delete_is_a_removal_by_the_service(mapped: Mapped) -> None:
    ttl = {"Enabled": True, "AttributeName": "ttl"}
    mapped.dynamodb.update_time_to_live(TableName=mapped.name, TimeToLiveSpecification=ttl)
    mapped.map()
    item = {"id": {"S": "a"}, "ttl": {"N": str(int(time.time()) - 100)}}
    mapped.dynamodb.put_item(TableName=mapped.name, Item=item)
    wait_until(lambda: mapped.counts()["done"] == 2, "it has expired")

    record = mapped.events()[-1]["Records"][-1]
    assert record["eventName"] == "REMOVE"
    assert record["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert record["dynamodb"]["OldImage"]["id"] == {"S": "a"}


def test_a_second_mapping_of_the_same_stream_and_function_is_refused_and_defaults_are_told(mapped: Mapped) -> None:
    mapped.map()
    with pytest.raises(ClientError, match="already exists"):
        mapped.map()

    (found,) = mapped.lambda_.list_event_source_mappings(FunctionName=mapped.name, EventSourceArn=mapped.stream)[
        "EventSourceMappings"
    ]
    assert (found["MaximumRetryAttempts"], found["MaximumRecordAgeInSeconds"], found["ParallelizationFactor"]) == (-1, -1, 1)

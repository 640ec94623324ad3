"""The lag of a consumer as CloudWatch has it: figures that are put there, and those of a function that reads a stream."""

from __future__ import annotations

import io
import itertools
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.cloud import Cloud
from local.demo.functions import wait_until
from local.simulators.streams.control import StreamsControl
from searchops.core.errors import TransientError
from searchops.core.replay.lag import CloudWatchLag, Step, Thresholds, Watch, end_to_end_latency, iterator_age
from searchops.core.replay.pace import Pacer, Stopped
from tests.conftest import aws_client

SPEED = 600.0  # ten minutes of the service are a second
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cloudwatch(dynamodb_cloud: Cloud) -> Any:
    return aws_client(dynamodb_cloud, "cloudwatch")


@pytest.fixture
def function() -> str:
    """A name that no other test uses: CloudWatch forgets nothing."""
    return f"lag-{next(_numbers)}"


def put_age(cloudwatch: Any, function: str, *milliseconds: float, ago_seconds: float = 0.0) -> None:
    dimensions = [{"Name": "FunctionName", "Value": function}]
    at = datetime.now(UTC) - timedelta(seconds=ago_seconds)
    datum = {"MetricName": "IteratorAge", "Unit": "Milliseconds", "Dimensions": dimensions, "Timestamp": at}
    cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=[{**datum, "Values": list(milliseconds)}])


def test_a_function_that_has_never_run_has_no_lag(cloudwatch: Any, function: str) -> None:
    put_age(cloudwatch, f"{function}-other", 1e6)

    assert iterator_age(cloudwatch, function).seconds() is None


def test_the_worst_age_of_the_newest_minutes_is_the_lag(cloudwatch: Any, function: str) -> None:
    put_age(cloudwatch, function, 90_000, 2_500, 0)
    put_age(cloudwatch, function, 900_000, ago_seconds=200)
    put_age(cloudwatch, function, 1_000, ago_seconds=120)

    assert iterator_age(cloudwatch, function).seconds() == 90


def test_an_age_of_ten_minutes_ago_says_nothing_of_now(cloudwatch: Any, function: str) -> None:
    put_age(cloudwatch, function, 900_000, ago_seconds=600)

    assert iterator_age(cloudwatch, function).seconds() is None
    assert iterator_age(cloudwatch, function, clock=lambda: time.time() - 600).seconds() == 900


def test_the_latency_of_a_pipeline_is_read_by_the_name_of_its_sub_pipeline(cloudwatch: Any, function: str) -> None:
    cloudwatch.put_metric_data(
        Namespace="AWS/OSIS",
        MetricData=[
            {
                "MetricName": "dynamodb-pipeline.opensearch.EndToEndLatency.max",
                "Dimensions": [{"Name": "PipelineName", "Value": function}],
                "Value": 4_200,
            }
        ],
    )

    assert end_to_end_latency(cloudwatch, function, "dynamodb-pipeline").seconds() == pytest.approx(4.2)
    assert end_to_end_latency(cloudwatch, function, "other").seconds() is None


def test_a_cloudwatch_that_is_away_is_an_error_that_passes() -> None:
    from botocore.config import Config
    from botocore.session import get_session

    nowhere = get_session().create_client(
        "cloudwatch",
        region_name="ap-northeast-1",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}),
    )

    with pytest.raises(TransientError):
        CloudWatchLag(nowhere, "AWS/Lambda", "IteratorAge", {}).seconds()


# A function at the end of a stream


@pytest.fixture(scope="module")
def streams_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    services = ("aws", "dynamodb", "functions", "streams")
    with Cloud(tmp_path_factory.mktemp("lag"), services=services, speed=SPEED) as cloud:
        aws_client(cloud, "iam").create_role(RoleName="simulated", AssumeRolePolicyDocument="{}")
        yield cloud


@dataclass
class Consumed:
    """A table whose stream a function reads."""

    name: str
    dynamodb: Any
    cloudwatch: Any
    control: StreamsControl

    def touch(self, marker: int) -> None:
        self.dynamodb.update_item(
            TableName=self.name,
            Key={"id": {"S": "a"}},
            UpdateExpression="SET marker = :m",
            ExpressionAttributeValues={":m": {"N": str(marker)}},
        )


@pytest.fixture
def consumed(streams_cloud: Cloud, function: str) -> Iterator[Consumed]:
    dynamodb, functions, cloudwatch = (aws_client(streams_cloud, name) for name in ("dynamodb", "lambda", "cloudwatch"))
    stream = dynamodb.create_table(
        TableName=function,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )["TableDescription"]["LatestStreamArn"]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", "def handler(event, context): pass\n")
    functions.create_function(
        FunctionName=function,
        Runtime="python3.13",
        Role="arn:aws:iam::123456789012:role/simulated",
        Handler="handler.handler",
        Code={"ZipFile": content.getvalue()},
    )
    mapping = functions.create_event_source_mapping(
        EventSourceArn=stream, FunctionName=function, StartingPosition="TRIM_HORIZON", BatchSize=1
    )
    control = StreamsControl(streams_cloud.endpoints["streams"])
    yield Consumed(function, dynamodb, cloudwatch, control)
    control.clear()
    control.close()
    functions.delete_event_source_mapping(UUID=mapping["UUID"])


def test_a_replay_waits_for_a_consumer_that_gets_its_records_late(consumed: Consumed) -> None:
    sources = {consumed.name: iterator_age(consumed.cloudwatch, consumed.name)}
    patient, impatient = (Watch(sources, Thresholds(target, limit)) for target, limit in ((300, 60_000), (60, 600)))
    assert patient.look(writing=False).reason == f"{consumed.name}: no data of its lag"

    consumed.control.hold(700)
    consumed.touch(1)
    wait_until(lambda: patient.look(writing=True).step is Step.SLOW, "a record that came after ten minutes slows it down")
    pacer = Pacer(100, lag=impatient, sleep=lambda seconds: pacer.stop())
    with pytest.raises(Stopped):
        pacer.before(1)

    assert pacer.said.startswith(f"paused: {consumed.name} is ")
    assert pacer.said.endswith(" behind, limit 10 min; waited 0 s of at most 10 min")

"""The proxy before DynamoDB Local, as boto3 meets it, and an application that goes on writing through it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.cloud import ROOT, Cloud
from local.demo.application import Application, last_writes, name_of, writes
from local.demo.functions import wait_until
from local.simulators.dynamodb_faults.control import DynamoDBFaultControl, DynamoDBProxy
from local.simulators.dynamodb_faults.faults import Fault, Kind
from tests.conftest import aws_client

_numbers = itertools.count(1)
KEYS = [{"id": {"S": f"item-{number}"}} for number in range(10)]


@pytest.fixture
def proxy(dynamodb_cloud: Cloud) -> Iterator[DynamoDBProxy]:
    with DynamoDBProxy(dynamodb_cloud.endpoints["dynamodb"]) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: DynamoDBProxy) -> Any:
    """A client that asks through the proxy."""
    return boto3.client(
        "dynamodb",
        endpoint_url=proxy.url,
        region_name="ap-northeast-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"mode": "legacy"}),  # waits 50 ms, then twice as long each time
    )


@pytest.fixture
def table(dynamodb: Any) -> Iterator[str]:
    name = f"dynamodb-faults-{next(_numbers)}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield name
    dynamodb.delete_table(TableName=name)


def touch(dynamodb: Any, table: str, marker: str) -> None:
    dynamodb.update_item(
        TableName=table,
        Key=KEYS[0],
        UpdateExpression="SET marker = :m",
        ConditionExpression="attribute_exists(id) AND (attribute_not_exists(marker) OR marker < :m)",
        ExpressionAttributeValues={":m": {"S": marker}},
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )


def test_a_write_whose_answer_is_lost_meets_its_own_effect(proxy: DynamoDBProxy, behind: Any, table: str) -> None:
    behind.put_item(TableName=table, Item=KEYS[0])
    proxy.order(Fault(Kind.RESET_AFTER, table=table))

    with pytest.raises(ClientError) as refused:
        touch(behind, table, "00000000000000000007")

    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert refused.value.response["Item"]["marker"] == {"S": "00000000000000000007"}
    assert proxy.counts() == {Kind.RESET_AFTER: 1}


def test_a_throttled_write_is_done_by_a_client_that_asks_again(proxy: DynamoDBProxy, behind: Any, table: str) -> None:
    behind.put_item(TableName=table, Item=KEYS[0])
    proxy.order(Fault(Kind.THROTTLE_PARTITION, table=table, times=2))

    touch(behind, table, "1")

    assert behind.get_item(TableName=table, Key=KEYS[0])["Item"]["marker"] == {"S": "1"}
    assert proxy.counts() == {Kind.THROTTLE_PARTITION: 2}


def test_a_cloud_with_the_proxy_leads_its_clients_through_it(tmp_path: Path) -> None:
    with Cloud(tmp_path, services=("dynamodb", "dynamodb_proxy")) as cloud:
        control = DynamoDBFaultControl(cloud.endpoints["dynamodb_proxy"])
        control.order(Fault(Kind.ACCESS_DENIED, operations=()))
        with pytest.raises(ClientError, match="is not authorized to perform: dynamodb:ListTables"):
            aws_client(cloud, "dynamodb").list_tables()
        assert cloud.environment["AWS_ENDPOINT_URL_DYNAMODB_STREAMS"] == cloud.endpoints["dynamodb"]


def test_what_an_application_has_written_is_in_the_table_whatever_happened_on_the_way(
    proxy: DynamoDBProxy, behind: Any, dynamodb: Any, table: str, tmp_path: Path
) -> None:
    lossy = {Kind.RESET_AFTER: 0.1, Kind.THROTTLE_TABLE: 0.1}
    proxy.random(3, lossy, operations=("PutItem", "UpdateItem", "DeleteItem"))
    log = tmp_path / "writes.ndjson"
    with log.open("w") as lines:
        application = Application(behind, table, lines, {"kind": {"S": "word"}})
        for write in itertools.islice(writes(KEYS, seed=5), 60):
            application.send(write)

    for key in KEYS:
        done = last_writes(log)[name_of(key)].done
        item = dynamodb.get_item(TableName=table, Key=key).get("Item")
        assert done
        assert (item is None) == (done.operation == "delete")
        assert item is None or item["app"] == {"N": str(done.number)}
    assert sum(proxy.counts().values()) > 5


def test_the_application_runs_as_a_process_until_it_is_told_to_stop(dynamodb_cloud: Cloud, table: str, tmp_path: Path) -> None:
    keys, log = tmp_path / "keys.ndjson", tmp_path / "writes.ndjson"
    keys.write_text("".join(json.dumps(key) + "\n" for key in KEYS))
    arguments = ["--table", table, "--keys", str(keys), "--log", str(log), "--rate", "200", "--seed", "5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "local.demo.application", *arguments], cwd=ROOT, env=dynamodb_cloud.full_environment()
    )
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 20, "it writes")
    os.kill(process.pid, signal.SIGTERM)

    assert process.wait(20) == 0
    assert all(last.in_doubt is None for last in last_writes(log).values())
    planned = list(itertools.islice(writes(KEYS, seed=5), 10))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    written = [line for line in lines if "operation" in line][:10]
    assert [(line["operation"], line["key"]) for line in written] == [(write.operation, write.key) for write in planned]

from __future__ import annotations

import subprocess
import sys
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud
from local.processes import session_members

TABLE = "searchops-local"


@pytest.fixture(scope="module")
def table(dynamodb: Any) -> Any:
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    yield dynamodb
    dynamodb.delete_table(TableName=TABLE)


def test_it_listens_on_loopback_only(dynamodb_cloud: Cloud) -> None:
    listening = [
        connection.laddr.ip
        for process in session_members(dynamodb_cloud.process("dynamodb").pid)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert [address.removeprefix("::ffff:") for address in listening] == ["127.0.0.1"]


def test_a_refused_write_shows_the_item_that_refused_it(table: Any) -> None:
    table.put_item(TableName=TABLE, Item={"id": {"S": "a"}, "owner": {"S": "first"}})

    with pytest.raises(ClientError) as refused:
        table.update_item(
            TableName=TABLE,
            Key={"id": {"S": "a"}},
            UpdateExpression="SET #o = :o",
            ConditionExpression="attribute_not_exists(id)",
            ExpressionAttributeNames={"#o": "owner"},
            ExpressionAttributeValues={":o": {"S": "second"}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

    assert refused.value.response["Item"]["owner"] == {"S": "first"}


def test_a_client_of_the_cloud_finds_tables_and_streams_whatever_its_credentials(table: Any, dynamodb_cloud: Cloud) -> None:
    program = (
        f"import boto3; print(boto3.client('dynamodb').describe_table(TableName='{TABLE}')['Table']['TableStatus'], "
        f"[stream['TableName'] for stream in boto3.client('dynamodbstreams').list_streams(TableName='{TABLE}')['Streams']])"
    )
    other = {"AWS_ACCESS_KEY_ID": "other", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}

    client = subprocess.run(
        [sys.executable, "-c", program],
        env=dynamodb_cloud.full_environment() | other,
        capture_output=True,
        text=True,
        check=False,
    )

    assert client.stdout.strip() == f"ACTIVE ['{TABLE}']", client.stderr

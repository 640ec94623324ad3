"""Each kind as boto3 sees it, before an engine that keeps what reaches it."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.simulators.dynamodb_faults.control import DynamoDBProxy
from local.simulators.dynamodb_faults.faults import Fault, Kind
from local.simulators.http import Application, Request, Response, Server

ANSWER = json.dumps({"Attributes": {"id": {"S": "a"}}}).encode()
LOST = [Kind.RESET_AFTER, Kind.CUT, Kind.BAD_CHECKSUM, Kind.INTERNAL_ERROR_AFTER, Kind.TIMEOUT]
REFUSED = [
    (Kind.INTERNAL_ERROR, 500, "InternalServerError"),
    (Kind.UNAVAILABLE, 503, "ServiceUnavailable"),
    (Kind.ACCESS_DENIED, 400, "AccessDeniedException"),
]


class Engine:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.arrived = threading.Condition()
        self.application = Application("engine")
        self.application.route("POST", "/", self._answer)

    def _answer(self, request: Request) -> Response:
        with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()
        return Response(
            200, ANSWER, {"Content-Type": "application/x-amz-json-1.0", "x-amz-crc32": str(zlib.crc32(ANSWER)), "X-Kept": "yes"}
        )


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def proxy(engine: Engine) -> Iterator[DynamoDBProxy]:
    with Server(engine.application) as server, DynamoDBProxy(server.url) as proxy:
        yield proxy


def client(proxy: DynamoDBProxy, attempts: int = 1) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=proxy.url,
        region_name="ap-northeast-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=5),
    )


def touch(dynamodb: Any, table: str = "products", id_: str = "a") -> Any:
    return dynamodb.update_item(TableName=table, Key={"id": {"S": id_}}, UpdateExpression="SET x = y")


def test_a_call_and_its_answer_pass_unchanged(proxy: DynamoDBProxy, engine: Engine) -> None:
    found = touch(client(proxy))

    assert found["Attributes"] == {"id": {"S": "a"}}
    assert found["ResponseMetadata"]["HTTPHeaders"]["x-kept"] == "yes"
    (request,) = engine.requests
    assert request.headers["x-amz-target"] == "DynamoDB_20120810.UpdateItem"
    assert json.loads(request.body)["TableName"] == "products"
    assert proxy.counts() == {}


@pytest.mark.parametrize(
    ("kind", "reason", "resource"),
    [
        (Kind.THROTTLE_TABLE, "TableWriteProvisionedThroughputExceeded", "table/products"),
        (Kind.THROTTLE_INDEX, "IndexWriteProvisionedThroughputExceeded", "table/products/index/by_date"),
        (Kind.THROTTLE_PARTITION, "TableWriteKeyRangeThroughputExceeded", "table/products"),
    ],
)
def test_a_throttled_write_says_what_is_throttled(
    proxy: DynamoDBProxy, engine: Engine, kind: Kind, reason: str, resource: str
) -> None:
    proxy.order(Fault(kind))

    with pytest.raises(ClientError) as refused:
        touch(client(proxy))

    error = refused.value.response
    assert error["Error"]["Code"] == "ProvisionedThroughputExceededException"
    (found,) = error["ThrottlingReasons"]
    assert found == {"reason": reason, "resource": f"arn:aws:dynamodb:ddblocal:000000000000:{resource}"}
    assert engine.requests == []
    assert touch(client(proxy))


def test_a_throttled_read_says_so(proxy: DynamoDBProxy) -> None:
    proxy.order(Fault(Kind.THROTTLE_TABLE, operations=("Query",)))
    with pytest.raises(ClientError) as refused:
        client(proxy).query(TableName="products", KeyConditionExpression="id = :a", ExpressionAttributeValues={":a": {"S": "a"}})

    assert refused.value.response["ThrottlingReasons"][0]["reason"] == "TableReadProvisionedThroughputExceeded"


@pytest.mark.parametrize(("kind", "status", "code"), REFUSED)
def test_a_refused_call_does_not_reach_the_engine(
    proxy: DynamoDBProxy, engine: Engine, kind: Kind, status: int, code: str
) -> None:
    proxy.order(Fault(kind))
    with pytest.raises(ClientError) as refused:
        touch(client(proxy))

    error = refused.value.response
    assert (error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]) == (status, code)
    assert engine.requests == []


@pytest.mark.parametrize("kind", LOST)
def test_a_call_whose_answer_is_lost_has_taken_effect_and_is_sent_again_by_the_client(
    proxy: DynamoDBProxy, engine: Engine, kind: Kind
) -> None:
    proxy.order(Fault(kind, seconds=0.1))
    touch(client(proxy, attempts=2))

    assert len(engine.requests) == 2
    assert proxy.counts() == {kind: 1}


# botocore checks the checksum only while it may ask again: a cut answer to its last attempt is an empty success.
@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.INTERNAL_ERROR_AFTER, Kind.TIMEOUT, Kind.RESET_BEFORE, Kind.DELAYED])
def test_without_another_attempt_the_client_meets_an_error(proxy: DynamoDBProxy, engine: Engine, kind: Kind) -> None:
    proxy.order(Fault(kind, seconds=0.1))
    with pytest.raises((ClientError, BotoCoreError)):
        touch(client(proxy))

    if kind.takes_effect:
        with engine.arrived:
            assert engine.arrived.wait_for(lambda: len(engine.requests) == 1, 5)
    else:
        assert engine.requests == []


def test_a_delayed_call_reaches_the_engine_behind_newer_ones(proxy: DynamoDBProxy, engine: Engine) -> None:
    proxy.order(Fault(Kind.DELAYED, seconds=60))
    with pytest.raises(BotoCoreError):
        touch(client(proxy), id_="late")
    touch(client(proxy), id_="new")
    proxy.release()

    with engine.arrived:
        assert engine.arrived.wait_for(lambda: len(engine.requests) == 2, 5)
    assert [json.loads(request.body)["Key"]["id"]["S"] for request in engine.requests] == ["new", "late"]


def test_latency_and_slow_answers_are_added(proxy: DynamoDBProxy) -> None:
    dynamodb = client(proxy)
    touch(dynamodb)
    proxy.latency(0.05)
    proxy.order(Fault(Kind.SLOW, seconds=0.1, after=1))
    began = time.monotonic()
    touch(dynamodb)
    between = time.monotonic()
    touch(dynamodb)

    assert between - began >= 0.05
    assert time.monotonic() - between >= 0.15


def test_only_the_ordered_calls_of_the_ordered_table_are_struck(proxy: DynamoDBProxy) -> None:
    dynamodb = client(proxy)
    proxy.order(Fault(Kind.INTERNAL_ERROR, table="products", operations=("UpdateItem", "BatchWriteItem"), times=2))

    touch(dynamodb, table="claims")
    dynamodb.get_item(TableName="products", Key={"id": {"S": "a"}})
    with pytest.raises(ClientError):
        dynamodb.batch_write_item(RequestItems={"products": [{"DeleteRequest": {"Key": {"id": {"S": "a"}}}}]})
    with pytest.raises(ClientError):
        touch(dynamodb)
    touch(dynamodb)

    assert [(entry.operation, entry.table) for entry in proxy.journal()] == [
        ("BatchWriteItem", "products"),
        ("UpdateItem", "products"),
    ]


def test_random_faults_follow_from_the_seed_and_the_call(proxy: DynamoDBProxy) -> None:
    def struck(seed: int, ids: list[int]) -> set[int]:
        proxy.clear()
        proxy.random(seed, {Kind.THROTTLE_TABLE: 0.2, Kind.INTERNAL_ERROR: 0.2})
        dynamodb, found = client(proxy), set()
        for id_ in ids:
            try:
                touch(dynamodb, id_=str(id_))
            except ClientError:
                found.add(id_)
        return found

    forward = struck(7, list(range(40)))
    assert 5 < len(forward) < 30
    assert struck(7, list(reversed(range(40)))) == forward
    assert struck(8, list(range(40))) != forward


def test_what_is_no_order_is_refused_with_what_was_expected(proxy: DynamoDBProxy) -> None:
    with pytest.raises(ValueError, match="expected at most 1 in all"):
        proxy.random(1, {Kind.SLOW: 0.8, Kind.CUT: 0.8})
    with pytest.raises(ValueError, match="a fault is"):
        Fault.from_json({"kind": "slow", "colour": "red"})
    with pytest.raises(ValueError, match="'fire' is not a valid Kind"):
        Fault.from_json({"kind": "fire"})


def test_it_is_idle_when_the_clients_have_gone(proxy: DynamoDBProxy) -> None:
    dynamodb = client(proxy)
    touch(dynamodb)
    with pytest.raises(TimeoutError):
        proxy.wait_until_idle(0.1)
    dynamodb.close()
    proxy.wait_until_idle(5)

"""What a test orders to go wrong goes wrong, and as often as it is ordered."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from local.simulators.firehose.control import FirehoseControl
from local.simulators.firehose.faults import Fault, FaultBook
from tests.unit.local.firehose.world import World


def put(client: Any, count: int = 1, name: str = "overflow") -> dict[str, Any]:
    return dict(client.put_record_batch(DeliveryStreamName=name, Records=[{"Data": b'{"n": %d}' % n} for n in range(count)]))


def outcome(client: Any) -> str:
    """How a put ends: ``taken``, the code of an error, or ``lost``."""
    try:
        put(client)
    except ClientError as error:
        return f"{error.response['Error']['Code']} {error.response['ResponseMetadata']['HTTPStatusCode']}"
    except BotoCoreError:
        return "lost"
    return "taken"


@pytest.mark.parametrize(
    ("fault", "told", "taken"),
    [
        ({"kind": "throttle"}, "ServiceUnavailableException 500", False),
        ({"kind": "server_error"}, "InternalFailure 500", False),
        ({"kind": "server_error", "status": 503, "code": "ServiceUnavailable"}, "ServiceUnavailable 503", False),
        ({"kind": "error"}, "AccessDeniedException 400", False),
        ({"kind": "error", "code": "InvalidArgumentException", "message": "no"}, "InvalidArgumentException 400", False),
        ({"kind": "reset"}, "lost", False),
        ({"kind": "reset_after"}, "lost", True),
        ({"kind": "server_error_after"}, "InternalFailure 500", True),
    ],
)
def test_the_ordered_call_goes_wrong_and_the_others_do_not(
    world: World, client: Any, control: FirehoseControl, fault: dict[str, Any], told: str, taken: bool
) -> None:
    world.create()
    control.faults({"operation": "PutRecordBatch", "first": 2, "last": 2} | fault)

    assert [outcome(client) for _ in range(3)] == ["taken", told, "taken"]
    assert control.stream("overflow").taken == 2 + taken


@pytest.mark.parametrize(("kind", "seconds"), [("slow", 0.2), ("slow_after", 0.2)])
def test_a_slow_call_is_answered_late(world: World, client: Any, control: FirehoseControl, kind: str, seconds: float) -> None:
    world.create()
    control.fault(kind, seconds=seconds, last=1)
    began = time.monotonic()

    put(client)

    assert time.monotonic() - began >= seconds
    assert control.stream("overflow").taken == 1


def test_given_records_of_a_batch_fail(world: World, client: Any, control: FirehoseControl) -> None:
    world.create()
    control.fault("fail_records", positions=[0, 2, 9], last=1)
    control.fault("fail_records", positions=[1], last=1, code="InternalFailure")

    answer = put(client, 4)

    assert answer["FailedPutCount"] == 3
    assert [row.get("ErrorCode", "") for row in answer["RequestResponses"]] == [
        "ServiceUnavailableException",
        "InternalFailure",
        "ServiceUnavailableException",
        "",
    ]
    world.pass_time(60)
    assert world.indexed() == [{"n": 3}]
    assert put(client, 4)["FailedPutCount"] == 0


def test_a_share_of_records_fails_and_the_same_seed_fails_the_same(world: World, client: Any, control: FirehoseControl) -> None:
    world.create()
    runs = []
    for seed in (1, 1, 2):
        control.clear_faults()
        control.fault("fail_records", share=0.5, seed=seed)
        runs.append([["ErrorCode" in row for row in put(client, 100)["RequestResponses"]] for _ in range(2)])

    assert runs[0] == runs[1] != runs[2]
    assert runs[0][0] != runs[0][1], "each call fails other records"
    assert all(20 < sum(failed) < 80 for run in runs for failed in run)


def test_records_that_are_said_to_have_failed_may_have_been_taken(world: World, client: Any, control: FirehoseControl) -> None:
    world.create()
    control.fault("fail_records", positions=[0], taken=True)

    assert put(client, 2)["FailedPutCount"] == 1
    assert control.stream("overflow").taken == 2


def test_a_share_of_the_calls_goes_wrong_and_the_same_seed_takes_the_same() -> None:
    def struck(seed: int) -> list[bool]:
        book = FaultBook()
        book.order([Fault("throttle", share=0.5, seed=seed)])
        return [book.for_call("PutRecord", "a").find("throttle") is not None for _ in range(100)]

    assert struck(1) == struck(1) != struck(2)
    assert 20 < sum(struck(1)) < 80


def test_a_record_ordered_twice_is_delivered_twice_under_one_id(world: World, client: Any, control: FirehoseControl) -> None:
    world.create()
    control.fault("twice", last=1)
    put(client)
    put(client)

    world.pass_time(60 + 70)

    ids = [action["_id"] for documents in world.requests for action, _ in documents]
    assert len(ids) == 3
    assert len(set(ids)) == 2
    assert (world.state()["taken"], world.state()["delivered"]) == (2, 3)


def test_a_fault_of_one_stream_leaves_the_others_alone(world: World, client: Any, control: FirehoseControl) -> None:
    world.create()
    world.create("other")
    control.fault("throttle", stream="other")

    assert put(client)["FailedPutCount"] == 0
    with pytest.raises(client.exceptions.ServiceUnavailableException):
        put(client, name="other")


def test_the_calls_that_met_a_fault_are_counted_until_the_faults_are_cleared(
    world: World, client: Any, control: FirehoseControl
) -> None:
    control.fault("throttle", "PutRecordBatch", first=2, last=3)
    control.fault("twice", last=1)

    for _ in range(4):
        outcome(client)

    assert control.happened() == {"throttle": 2, "twice": 1}
    control.clear_faults()
    assert control.happened() == {}


def test_a_firehose_that_is_down_answers_nothing_until_the_faults_are_cleared(
    world: World, client: Any, control: FirehoseControl
) -> None:
    world.create()
    control.down()
    for call in (client.list_delivery_streams, lambda: put(client)):
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            call()

    control.clear_faults()

    assert put(client)["FailedPutCount"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "rain"},
        {"kind": "throttle", "colour": "red"},
        {"kind": "fail_records", "operation": "PutRecord"},
        {"kind": "twice", "operation": "ListDeliveryStreams"},
        {"kind": "throttle", "share": 2},
    ],
)
def test_a_fault_that_cannot_be_is_refused(control: FirehoseControl, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="fault"):
        control.faults(wrong)

"""The settings of functions in moto."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from searchops.core.errors import DataError, TransientError
from searchops.core.functions.service import RetrySettings
from searchops.core.functions.settings import Change, Kind, Policy
from tests.unit.small_functions import ACCOUNT, REGION, SmallFunctions


def settings(world: SmallFunctions, kind: Kind = Kind.ASYNCHRONOUS, client: Any = None, **policy: Any) -> RetrySettings:
    return RetrySettings(Policy(world.name, kind, **policy), client or world.functions, lambda _: world.sqs)


def write(found: RetrySettings) -> list[Change]:
    looked = found.look()
    for target in looked.targets:
        found.write(target)
    return [change for _, change in looked.changes]


def configuration(world: SmallFunctions) -> dict[str, Any]:
    found = world.functions.get_function_event_invoke_config(FunctionName=world.name)
    return {name: found[name] for name in found if name not in ("ResponseMetadata", "LastModified", "FunctionArn")}


def test_a_function_that_nobody_has_configured_is_configured(world: SmallFunctions) -> None:
    world.create()

    changes = write(settings(world, retries=0, max_event_age=3600, on_failure=world.queue))

    assert changes == [
        Change("MaximumRetryAttempts", None, 0),
        Change("MaximumEventAgeInSeconds", None, 3600),
        Change("DestinationConfig.OnFailure.Destination", None, world.queue),
    ]
    assert configuration(world) == {
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 3600,
        "DestinationConfig": {"OnFailure": {"Destination": world.queue}},
    }


def test_what_is_not_named_is_kept_and_a_second_run_writes_nothing(world: SmallFunctions) -> None:
    world.create()
    topic = {"OnSuccess": {"Destination": f"arn:aws:sns:{REGION}:{ACCOUNT}:done"}}
    world.functions.put_function_event_invoke_config(
        FunctionName=world.name, MaximumRetryAttempts=2, MaximumEventAgeInSeconds=600, DestinationConfig=topic
    )
    before = world.functions.get_function_event_invoke_config(FunctionName=world.name)["LastModified"]

    assert write(settings(world, retries=1)) == [Change("MaximumRetryAttempts", 2, 1)]
    assert configuration(world) == {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 600, "DestinationConfig": topic}
    assert write(settings(world, retries=1)) == []
    assert write(settings(world)) == []
    assert before


def test_a_look_writes_nothing(world: SmallFunctions) -> None:
    world.create()

    assert settings(world, retries=0).look().changes

    with pytest.raises(world.functions.exceptions.ResourceNotFoundException):
        configuration(world)


def test_findings_stop_nothing(world: SmallFunctions) -> None:
    world.create(timeout=90)
    found = settings(world, retries=0, lease=60.0)

    assert [finding.partition(" is ")[0] for finding in found.look().findings] == [
        f"the time-out of {world.name}",
        world.name,
    ]
    assert write(found)


def test_what_the_function_itself_is_set_to_silences_what_it_answers(world: SmallFunctions) -> None:
    world.create()
    found = settings(world, retries=1, claims=True)

    assert [
        "no on-failure destination" in finding or "SEARCHOPS_IN_PROGRESS" in finding for finding in found.look().findings
    ] == [
        True,
        True,
    ]
    world.functions.update_function_configuration(
        FunctionName=world.name,
        Environment={"Variables": {"SEARCHOPS_IN_PROGRESS": "retry"}},
    )
    (left,) = found.look().findings
    assert "no on-failure destination" in left

    def keep_dead_letters(parsed: dict[str, Any], **_: Any) -> None:
        parsed["DeadLetterConfig"] = {"TargetArn": world.queue}  # moto forgets it

    world.functions.meta.events.register("after-call.lambda.GetFunctionConfiguration", keep_dead_letters)
    assert found.look().findings == ()


def test_a_function_that_does_not_exist_is_told_apart_from_one_that_nobody_has_configured(world: SmallFunctions) -> None:
    with pytest.raises(DataError, match=f"there is no function {world.name} in this account"):
        settings(world, retries=0).look()


def test_a_destination_queue_that_does_not_exist_is_an_error_before_anything_is_written(world: SmallFunctions) -> None:
    world.create()

    with pytest.raises(DataError, match=r"there is no queue arn:aws:sqs:.*:nowhere, which on_failure names"):
        settings(world, retries=0, on_failure=f"arn:aws:sqs:{REGION}:{ACCOUNT}:nowhere").look()


@pytest.fixture
def stream(world: SmallFunctions) -> Iterator[str]:
    world.create()
    kinesis = world.client("kinesis")
    kinesis.create_stream(StreamName=world.name, ShardCount=1)
    yield kinesis.describe_stream(StreamName=world.name)["StreamDescription"]["StreamARN"]
    kinesis.delete_stream(StreamName=world.name)


def test_a_stream_mapping_gets_its_own_settings_and_keeps_the_others(world: SmallFunctions, stream: str) -> None:
    made = world.functions.create_event_source_mapping(
        FunctionName=world.name, EventSourceArn=stream, BatchSize=77, MaximumRecordAgeInSeconds=600, StartingPosition="LATEST"
    )
    wanted = settings(
        world,
        Kind.STREAM,
        retries=5,
        bisect=True,
        report_batch_item_failures=True,
        parallelization_factor=4,
        on_failure=world.queue,
        source=stream,
    )

    assert {change.setting for change in write(wanted)} == {
        "MaximumRetryAttempts",
        "BisectBatchOnFunctionError",
        "FunctionResponseTypes",
        "ParallelizationFactor",
        "DestinationConfig.OnFailure.Destination",
    }

    found = world.functions.get_event_source_mapping(UUID=made["UUID"])
    assert (found["MaximumRetryAttempts"], found["BisectBatchOnFunctionError"]) == (5, True)
    assert found["ParallelizationFactor"] == 4
    assert (found["FunctionResponseTypes"], found["DestinationConfig"]) == (
        ["ReportBatchItemFailures"],
        {"OnFailure": {"Destination": world.queue}},
    )
    assert (found["BatchSize"], found["MaximumRecordAgeInSeconds"]) == (77, 600)
    assert write(wanted) == []


def test_a_queue_whose_messages_come_again_too_soon_is_told_and_one_that_waits_long_enough_is_not(world: SmallFunctions) -> None:
    world.create(timeout=10)
    source = world.sqs.create_queue(QueueName=f"{world.name}-in", Attributes={"VisibilityTimeout": "59"})["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{world.name}-in"
    world.functions.create_event_source_mapping(FunctionName=world.name, EventSourceArn=arn)

    (finding,) = settings(world, Kind.SQS).look().findings
    assert "is 59 s" in finding
    assert "expected at least 60 s (6 x the function's time-out of 10 s)" in finding

    world.sqs.set_queue_attributes(QueueUrl=source, Attributes={"VisibilityTimeout": "60"})
    assert settings(world, Kind.SQS).look().findings == ()


def test_a_function_without_a_mapping_of_the_kind_is_told(world: SmallFunctions) -> None:
    world.create()

    with pytest.raises(DataError, match=f"{world.name} has no stream mapping"):
        settings(world, Kind.STREAM).look()


def test_every_page_of_mappings_is_read(world: SmallFunctions) -> None:
    client = world.client("lambda")
    sources = [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t{number}/stream/x" for number in range(3)]
    with Stubber(client) as stub:
        stub.add_response("get_function_configuration", {"Timeout": 3}, {"FunctionName": world.name})
        for number, source in enumerate(sources):
            asked = {"FunctionName": world.name} | ({"Marker": str(number)} if number else {})
            more = {"NextMarker": str(number + 1)} if number < 2 else {}
            page = {"EventSourceMappings": [{"UUID": str(number) * 36, "EventSourceArn": source}, {"UUID": "k" * 36}], **more}
            stub.add_response("list_event_source_mappings", page, asked)

        found = settings(world, Kind.STREAM, client, retries=1).look()

    assert [target.uuid for target in found.targets] == ["0" * 36, "1" * 36, "2" * 36]


@pytest.mark.parametrize(
    ("code", "status", "family"),
    [
        ("AccessDeniedException", 403, DataError),
        ("TooManyRequestsException", 429, TransientError),
        ("ServiceException", 500, TransientError),
        ("ResourceConflictException", 409, TransientError),
        ("InvalidParameterValueException", 400, DataError),
    ],
)
@pytest.mark.parametrize(
    "operation", ["get_function_configuration", "get_function_event_invoke_config", "put_function_event_invoke_config"]
)
def test_what_passes_is_told_from_what_stays_at_every_call(
    world: SmallFunctions, operation: str, code: str, status: int, family: type[Exception]
) -> None:
    client = world.client("lambda")
    with Stubber(client) as stub:
        for name in ("get_function_configuration", "get_function_event_invoke_config", "put_function_event_invoke_config"):
            if name == operation:
                stub.add_client_error(name, code, "said AWS", status)
                break
            stub.add_response(name, {"Timeout": 3} if name == "get_function_configuration" else {})

        with pytest.raises(family) as caught:
            write(settings(world, client=client, retries=0))

    assert "said AWS" in caught.value.reason


def test_settings_that_somebody_else_changes_at_the_same_time_are_noticed(world: SmallFunctions) -> None:
    world.create()
    found = settings(world, retries=0)
    (target,) = found.look().targets
    other = world.client("lambda")
    once = threading.Event()

    def overwrite(**_: Any) -> None:
        if not once.is_set():
            once.set()
            other.put_function_event_invoke_config(FunctionName=world.name, MaximumRetryAttempts=2)

    world.functions.meta.events.register("after-call.lambda.PutFunctionEventInvokeConfig", overwrite)

    with pytest.raises(TransientError, match="MaximumRetryAttempts: 2 -> 0"):
        found.write(target)
    assert write(found) == [Change("MaximumRetryAttempts", 2, 0)]

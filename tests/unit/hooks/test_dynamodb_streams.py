from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.stub import Stubber

from searchops.core.errors import DataError
from searchops.hooks.dynamodb_streams import DynamoDBStreamsHook

ARN = "arn:aws:dynamodb:ap-northeast-1:123456789012:table/products/stream/"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> DynamoDBStreamsHook:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "login": "x", "password": "y"}')
    hook = DynamoDBStreamsHook(aws_conn_id="aws_default", region_name="ap-northeast-1")
    session = get_session()
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
    hook.__dict__["conn"] = session.create_client("dynamodbstreams", region_name="ap-northeast-1", **keys)
    return hook


def answers(hook: DynamoDBStreamsHook, *calls: tuple[str, Mapping[str, Any], Mapping[str, Any] | str]) -> Stubber:
    """Expect these calls in their order; an answer that is a text is the code of an error."""
    stub = Stubber(hook.conn)
    for operation, expected, answer in calls:
        if isinstance(answer, str):
            stub.add_client_error(operation, answer, expected_params=dict(expected))
        else:
            stub.add_response(operation, dict(answer), dict(expected))
    stub.activate()
    return stub


def records(*numbers: int) -> list[dict[str, Any]]:
    return [{"dynamodb": {"SequenceNumber": f"{number:021d}"}} for number in numbers]


def streams(*labels: str) -> list[dict[str, str]]:
    return [{"StreamArn": ARN + label, "TableName": "products", "StreamLabel": label} for label in labels]


def read(pages: Any) -> Sequence[int]:
    return [int(record["dynamodb"]["SequenceNumber"]) for page in pages for record in page]


def test_it_speaks_to_the_streams_of_dynamodb(hook: DynamoDBStreamsHook) -> None:
    assert hook.client_type == "dynamodbstreams"


def test_the_newest_stream_of_all_pages_is_the_tables(hook: DynamoDBStreamsHook) -> None:
    old, new = "2026-01-01T00:00:00.000", "2026-11-01T00:00:00.000"
    answers(
        hook,
        ("list_streams", {"TableName": "products"}, {"Streams": streams(new), "LastEvaluatedStreamArn": ARN + new}),
        ("list_streams", {"TableName": "products", "ExclusiveStartStreamArn": ARN + new}, {"Streams": streams(old)}),
    )

    assert hook.stream_of("products") == ARN + new


def test_a_table_without_a_stream_says_so(hook: DynamoDBStreamsHook) -> None:
    answers(hook, ("list_streams", {"TableName": "products"}, {"Streams": []}))

    with pytest.raises(DataError, match="table products: expected a stream, found none"):
        hook.stream_of("products")


def test_a_description_has_the_shards_of_all_pages(hook: DynamoDBStreamsHook) -> None:
    one, two = (f"shardId-{number:020}" for number in (1, 2))
    first = {"StreamStatus": "ENABLED", "Shards": [{"ShardId": one}], "LastEvaluatedShardId": one}
    answers(
        hook,
        ("describe_stream", {"StreamArn": ARN}, {"StreamDescription": first}),
        (
            "describe_stream",
            {"StreamArn": ARN, "ExclusiveStartShardId": one},
            {"StreamDescription": {"StreamStatus": "ENABLED", "Shards": [{"ShardId": two}]}},
        ),
    )

    found = hook.describe(ARN)

    assert (found["StreamStatus"], [shard["ShardId"][-1] for shard in found["Shards"]]) == ("ENABLED", ["1", "2"])


SHARD = "shardId-00000000000000000001"
START = {"StreamArn": ARN + "2026-11-01T00:00:00.000", "ShardId": SHARD}


def ask(iterator: str) -> dict[str, Any]:
    return {"ShardIterator": iterator, "Limit": 1000}


def test_a_closed_shard_is_read_to_its_end_with_its_empty_pages(hook: DynamoDBStreamsHook) -> None:
    answers(
        hook,
        ("get_shard_iterator", {**START, "ShardIteratorType": "TRIM_HORIZON"}, {"ShardIterator": "i1"}),
        ("get_records", ask("i1"), {"Records": records(1, 2), "NextShardIterator": "i2"}),
        ("get_records", ask("i2"), {"Records": [], "NextShardIterator": "i3"}),
        ("get_records", ask("i3"), {"Records": records(3)}),
    )

    pages = list(hook.pages(START["StreamArn"], SHARD))

    assert [len(page) for page in pages] == [2, 0, 1]
    assert read(pages) == [1, 2, 3]


def test_an_iterator_that_was_held_too_long_is_taken_anew_behind_the_last_record(hook: DynamoDBStreamsHook) -> None:
    behind = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": f"{2:021d}"}
    answers(
        hook,
        ("get_shard_iterator", {**START, "ShardIteratorType": "LATEST"}, {"ShardIterator": "i1"}),
        ("get_records", ask("i1"), {"Records": records(1, 2), "NextShardIterator": "i2"}),
        ("get_records", ask("i2"), "ExpiredIteratorException"),
        ("get_shard_iterator", {**START, **behind}, {"ShardIterator": "i3"}),
        ("get_records", ask("i3"), {"Records": records(3)}),
    )

    assert read(hook.pages(START["StreamArn"], SHARD, start="LATEST")) == [1, 2, 3]


def test_records_that_are_gone_are_told_as_lost(hook: DynamoDBStreamsHook) -> None:
    behind = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": f"{2:021d}"}
    answers(hook, ("get_shard_iterator", {**START, **behind}, "TrimmedDataAccessException"))

    with pytest.raises(DataError, match="a stream keeps 24 hours, so records are lost"):
        list(hook.pages(START["StreamArn"], SHARD, after=f"{2:021d}"))


def test_records_that_went_while_an_iterator_was_held_are_told_as_lost_too(hook: DynamoDBStreamsHook) -> None:
    answers(
        hook,
        ("get_shard_iterator", {**START, "ShardIteratorType": "TRIM_HORIZON"}, {"ShardIterator": "i1"}),
        ("get_records", ask("i1"), {"Records": records(1), "NextShardIterator": "i2"}),
        ("get_records", ask("i2"), "TrimmedDataAccessException"),
    )

    with pytest.raises(DataError, match=f"expected what comes behind record {1:021d}, found it removed"):
        list(hook.pages(START["StreamArn"], SHARD))


def test_a_reader_of_what_is_to_come_that_waited_too_long_is_told_and_passes_over_nothing(hook: DynamoDBStreamsHook) -> None:
    answers(
        hook,
        ("get_shard_iterator", {**START, "ShardIteratorType": "LATEST"}, {"ShardIterator": "i1"}),
        ("get_records", ask("i1"), "ExpiredIteratorException"),
    )

    with pytest.raises(DataError, match="the iterator expired before its first record"):
        list(hook.pages(START["StreamArn"], SHARD, start="LATEST"))


def test_any_other_error_passes(hook: DynamoDBStreamsHook) -> None:
    answers(
        hook,
        ("get_shard_iterator", {**START, "ShardIteratorType": "TRIM_HORIZON"}, {"ShardIterator": "i1"}),
        ("get_records", ask("i1"), "LimitExceededException"),
    )

    with pytest.raises(ClientError, match="LimitExceeded"):
        list(hook.pages(START["StreamArn"], SHARD))

"""What the reader of a shard makes of an iterator that is not taken any more."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from local.simulators.streams.effects import MOST_RECORDS, ShardReader

STREAM = "arn:aws:dynamodb:ap-northeast-1:000000000000:table/a/stream/2026-11-22T00:00:00.000"
SHARD = "shardId-00000000000000000000-000000000000"
AT = {"StreamArn": STREAM, "ShardId": SHARD}


def record(number: str) -> dict[str, Any]:
    return {"dynamodb": {"SequenceNumber": number}}


def test_of_a_held_iterator_that_is_refused_the_reader_goes_on_behind_what_it_has_read() -> None:
    client = boto3.client("dynamodbstreams", region_name="ap-northeast-1", aws_access_key_id="a", aws_secret_access_key="b")
    seen, newer = "1" * 21, "2" * 21
    with Stubber(client) as dynamodb:
        dynamodb.add_response("get_shard_iterator", {"ShardIterator": "one"}, {**AT, "ShardIteratorType": "TRIM_HORIZON"})
        dynamodb.add_response("get_records", {"Records": [record(seen)], "NextShardIterator": "two"})
        dynamodb.add_client_error("get_records", "TrimmedDataAccessException")
        position = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": seen}
        dynamodb.add_response("get_shard_iterator", {"ShardIterator": "three"}, {**AT, **position})
        dynamodb.add_response(
            "get_records",
            {"Records": [record(newer)], "NextShardIterator": "four"},
            {"ShardIterator": "three", "Limit": MOST_RECORDS},
        )
        reader = ShardReader(client, STREAM, SHARD, None)

        assert [*reader.read(), *reader.read()] == [record(seen), record(newer)]
        dynamodb.assert_no_pending_responses()


def test_records_that_are_gone_for_a_new_iterator_are_gone() -> None:
    client = boto3.client("dynamodbstreams", region_name="ap-northeast-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as dynamodb:
        dynamodb.add_response("get_shard_iterator", {"ShardIterator": "one"})
        dynamodb.add_client_error("get_records", "TrimmedDataAccessException")

        with pytest.raises(ClientError, match="TrimmedDataAccessException"):
            ShardReader(client, STREAM, SHARD, "1" * 21).read()

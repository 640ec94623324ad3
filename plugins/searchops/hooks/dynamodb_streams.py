"""DynamoDB Streams: what was written to a table in the last 24 hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from searchops.core.errors import DataError, code_of

Record = Mapping[str, Any]

MOST_RECORDS = 1000
"""Of one answer of GetRecords, which is also 1 MB at most (DynamoDB developer guide)."""


class DynamoDBStreamsHook(AwsBaseHook):
    """Client ``dynamodbstreams`` of boto3, and reads over all pages.

    For a look at a stream, not for another consumer: two readers at once are what a shard has throughput for.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "dynamodbstreams"})

    def stream_of(self, table: str) -> str:
        """The ARN of a table's newest stream; a stream that was turned off stays readable for 24 hours.

        :raises DataError: the table has none
        """
        found: list[Mapping[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            answer = self.conn.list_streams(TableName=table, **after)
            found += answer["Streams"]
            if "LastEvaluatedStreamArn" not in answer:
                break
            after = {"ExclusiveStartStreamArn": answer["LastEvaluatedStreamArn"]}
        if not found:
            raise DataError(f"table {table}: expected a stream, found none: turn it on with NEW_AND_OLD_IMAGES")
        # The label is the time at which the stream was turned on, in ISO form.
        return str(max(found, key=lambda stream: stream["StreamLabel"])["StreamArn"])

    def describe(self, stream_arn: str) -> dict[str, Any]:
        """The description of a stream with its shards of all pages, oldest first as DynamoDB lists them."""
        description: dict[str, Any] = {}
        shards: list[Any] = []
        after: dict[str, str] = {}
        while True:
            description = self.conn.describe_stream(StreamArn=stream_arn, **after)["StreamDescription"]
            shards += description["Shards"]
            if "LastEvaluatedShardId" not in description:
                return {**description, "Shards": shards}
            after = {"ExclusiveStartShardId": description["LastEvaluatedShardId"]}

    def pages(
        self, stream_arn: str, shard_id: str, *, after: str | None = None, start: str = "TRIM_HORIZON"
    ) -> Iterator[list[Record]]:
        """The records of a shard, page by page, until the shard is closed and read to its end.

        Empty pages are given too: in a shard that is open only the caller knows when to stop. An iterator that was held for longer
        than its 15 minutes is taken anew behind the last record.

        :param after: sequence number of the last record that was read before
        :param start: TRIM_HORIZON for the oldest record, LATEST for those to come; no effect with ``after``
        :raises DataError: the record ``after``, or what was to be read next, is older than 24 hours, so records are lost; or an iterator
            of LATEST was held for too long before it gave a record, so nobody knows what came meanwhile
        """
        iterator = self._iterator(stream_arn, shard_id, after, start)
        while iterator:
            try:
                answer = self.conn.get_records(ShardIterator=iterator, Limit=MOST_RECORDS)
            except Exception as error:
                if code_of(error) == "TrimmedDataAccessException":
                    raise _removed(shard_id, after, error) from error
                if code_of(error) != "ExpiredIteratorException":
                    raise
                if after is None and start == "LATEST":
                    raise DataError(
                        f"shard {shard_id}: expected a page to be asked for every 15 minutes, found the iterator expired before its first "
                        "record: what came meanwhile is passed over; begin at TRIM_HORIZON",
                        reason=str(error),
                    ) from error
                iterator = self._iterator(stream_arn, shard_id, after, start)
                continue
            records = answer["Records"]
            if records:
                after = records[-1]["dynamodb"]["SequenceNumber"]
            iterator = answer.get("NextShardIterator")
            yield records

    def _iterator(self, stream_arn: str, shard_id: str, after: str | None, start: str) -> str | None:
        where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after} if after else {"ShardIteratorType": start}
        try:
            answer = self.conn.get_shard_iterator(StreamArn=stream_arn, ShardId=shard_id, **where)
        except Exception as error:
            if code_of(error) != "TrimmedDataAccessException":
                raise
            raise _removed(shard_id, after, error) from error
        found: str | None = answer.get("ShardIterator")
        return found


def _removed(shard_id: str, after: str | None, error: Exception) -> DataError:
    expected = f"what comes behind record {after}" if after else "its oldest record"
    return DataError(
        f"shard {shard_id}: expected {expected}, found it removed: a stream keeps 24 hours, so records are lost",
        reason=str(error),
    )

"""What the poller reads and calls: a stream, functions, destinations, CloudWatch."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local.simulators.functions.control import FunctionsControl
from local.simulators.streams.batches import Answer
from local.simulators.streams.mapping import StreamMapping

MOST_RECORDS = 1000
# The answer of a function is waited for as long as Lambda lets one run, and a lost one is not asked for again by the client.
_PATIENT = Config(read_timeout=910, retries={"total_max_attempts": 1}, max_pool_connections=50)
_METRICS_SECONDS = 0.5
_MOST_VALUES = 150  # of a datum, PutMetricData


@dataclass(frozen=True, slots=True)
class StreamShard:
    id: str
    parent: str | None
    closed: bool


class Stream:
    """One stream of DynamoDB Local."""

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    def shards(self) -> list[StreamShard]:
        return list(self._shards())

    def _shards(self) -> Iterator[StreamShard]:
        after: dict[str, str] = {}
        while True:
            found = self._client.describe_stream(StreamArn=self._arn, **after)["StreamDescription"]
            for shard in found["Shards"]:
                closed = "EndingSequenceNumber" in shard["SequenceNumberRange"]
                yield StreamShard(shard["ShardId"], shard.get("ParentShardId"), closed)
            if not (last := found.get("LastEvaluatedShardId")):
                return
            after = {"ExclusiveStartShardId": last}

    def last_sequence(self, shard: str) -> str | None:
        """The newest record of a shard, None when it has none."""
        reader, last = ShardReader(self._client, self._arn, shard, None), None
        while records := reader.read():
            last = records[-1]["dynamodb"]["SequenceNumber"]
        return last

    def reader(self, shard: str, after: str | None) -> ShardReader:
        return ShardReader(self._client, self._arn, shard, after)


_LOST_ITERATOR = ("ExpiredIteratorException", "TrimmedDataAccessException")
"""An iterator that was held. The position is ours: a new iterator for it tells whether records are really gone, which DynamoDB Local now and
then says of an old iterator of a shard that had none."""


class ShardReader:
    """Reads a shard from behind a sequence number on, or from its beginning."""

    def __init__(self, client: Any, stream: str, shard: str, after: str | None) -> None:
        self._client = client
        self._stream = stream
        self._shard = shard
        self._after = after
        self._iterator: str | None = None
        self.ended = False

    def read(self) -> list[dict[str, Any]]:
        """The next records; none at the momentary end. ``ended`` is True when the shard will never have more."""
        if self.ended:
            return []
        held = self._iterator is not None
        self._iterator = self._iterator or self._position()
        try:
            found = self._client.get_records(ShardIterator=self._iterator, Limit=MOST_RECORDS)
        except ClientError as error:
            self._iterator = None
            if held and error.response["Error"]["Code"] in _LOST_ITERATOR:
                return self.read()
            raise
        self._iterator = found.get("NextShardIterator")
        self.ended = self._iterator is None
        records: list[dict[str, Any]] = found["Records"]
        if records:
            self._after = records[-1]["dynamodb"]["SequenceNumber"]
        return records

    def _position(self) -> str:
        where = {"ShardIteratorType": "TRIM_HORIZON"}
        if self._after:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self._after}
        found = self._client.get_shard_iterator(StreamArn=self._stream, ShardId=self._shard, **where)
        return str(found["ShardIterator"])


class NotInvoked(RuntimeError):
    """The function could not be called at all; that is no failure of the function."""


class Functions:
    """The functions simulator."""

    def __init__(self, url: str) -> None:
        self._lambda = boto3.client("lambda", endpoint_url=url, config=_PATIENT)
        self._control = FunctionsControl(url)

    def invoke(self, function: str, event: str) -> Answer:
        """
        :raises NotInvoked: there is no such function, or the simulator is away
        """
        try:
            found = self._lambda.invoke(FunctionName=function, Payload=event.encode())
        except Exception as error:
            raise NotInvoked(f"{function}: {type(error).__name__}: {error}") from error
        payload = json.loads(found["Payload"].read() or b"null")
        request_id = found["ResponseMetadata"]["HTTPHeaders"].get("x-amzn-requestid", "")
        return Answer(request_id, bool(found.get("FunctionError")), payload)

    def invoke_together(self, function: str, event: str) -> Answer:
        """Run two handlers with the same event at the same moment; the answer of the first."""
        try:
            first, _ = self._control.together(function.rpartition(":")[2], [json.loads(event)] * 2)
        except Exception as error:
            raise NotInvoked(f"{function}: {type(error).__name__}: {error}") from error
        return Answer(first["request_id"], first["failed"], first["payload"])

    def kill(self, function: str, after_seconds: float, ended: threading.Event) -> None:
        """Kill what runs of a function once it has begun and the seconds have passed, unless ``ended`` comes before."""
        name = function.rpartition(":")[2]
        while not self._control.running(name):
            if ended.wait(0.01):
                return
        ended.wait(after_seconds)
        for pid in self._control.running(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Destinations:
    """SQS queues, SNS topics and S3 buckets of moto."""

    def __init__(self, endpoint: str) -> None:
        self._clients = {name: boto3.client(name, endpoint_url=endpoint) for name in ("sqs", "sns", "s3")}

    def hand_over(self, arn: str, record: Mapping[str, Any], event: str, object_key: str) -> None:
        """
        :param event: what the function was called with; only a bucket gets it
        :raises ValueError: not a kind of destination that is simulated
        """
        service = arn.split(":")[2]
        if service == "sqs":
            url = self._clients["sqs"].get_queue_url(QueueName=arn.split(":")[5])["QueueUrl"]
            self._clients["sqs"].send_message(QueueUrl=url, MessageBody=json.dumps(record))
        elif service == "sns":
            self._clients["sns"].publish(TopicArn=arn, Message=json.dumps(record))
        elif service == "s3":
            body = json.dumps({**record, "payload": event})
            self._clients["s3"].put_object(Bucket=arn.rpartition(":")[2], Key=object_key, Body=body.encode())
        else:
            raise ValueError(f"on-failure destination {arn}: expected an SQS queue, an SNS topic or an S3 bucket")


class Mappings:
    """The event source mappings as moto keeps them."""

    def __init__(self, endpoint: str) -> None:
        self._lambda = boto3.client("lambda", endpoint_url=endpoint)

    def look(self) -> tuple[dict[str, StreamMapping], set[str]]:
        """Those of streams that are enabled, and the ids of all."""
        pages = self._lambda.get_paginator("list_event_source_mappings").paginate()
        found = [entry for page in pages for entry in page["EventSourceMappings"]]
        enabled = {
            entry["UUID"]: StreamMapping.from_configuration(entry)
            for entry in found
            if ":dynamodb:" in entry["EventSourceArn"] and entry.get("State") != "Disabled"
        }
        return enabled, {entry["UUID"] for entry in found}


class Metrics:
    """IteratorAge, Invocations and Errors of functions in CloudWatch, half a second late at most; safe for threads."""

    def __init__(self, endpoint: str) -> None:
        self._cloudwatch = boto3.client("cloudwatch", endpoint_url=endpoint)
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        threading.Thread(target=self._run, daemon=True, name="metrics").start()

    def iterator_age(self, function: str, seconds: float) -> None:
        self._add("IteratorAge", "Milliseconds", function, round(seconds * 1000))

    def invoked(self, function: str, *, failed: bool) -> None:
        self._add("Invocations", "Count", function, 1)
        self._add("Errors", "Count", function, int(failed))

    def publish(self) -> None:
        """Write what has gathered."""
        with self._lock:
            waiting, self._waiting = self._waiting, defaultdict(list)
        data = [
            {
                "MetricName": name,
                "Unit": unit,
                "Dimensions": [{"Name": "FunctionName", "Value": function}],
                "Values": values[start : start + _MOST_VALUES],
            }
            for (name, unit, function), values in waiting.items()
            for start in range(0, len(values), _MOST_VALUES)
        ]
        if data:
            self._cloudwatch.put_metric_data(Namespace="AWS/Lambda", MetricData=data)

    def _add(self, name: str, unit: str, function: str, value: float) -> None:
        with self._lock:
            self._waiting[name, unit, function].append(value)

    def _run(self) -> None:
        while True:
            time.sleep(_METRICS_SECONDS)
            try:
                self.publish()
            except Exception as error:  # moto is away: these values are lost, the next ones need not be
                print(f"streams: CloudWatch: {type(error).__name__}: {error}", flush=True)


def unique() -> str:
    return str(uuid.uuid4())

"""What an on-failure destination gets (developer guide, "Retain discarded records for a DynamoDB event source in Lambda", example)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from local.simulators.streams.batches import Answer, Batch, Condition
from local.simulators.streams.mapping import StreamMapping


def invocation_record(
    mapping: StreamMapping, shard: str, batch: Batch, condition: Condition, answer: Answer | None, now: float
) -> dict[str, Any]:
    """The metadata of a batch that is given up; its records stay in the stream only.

    :param answer: the last one, None when these records were never sent
    """
    first, last = batch.records[0], batch.records[-1]
    error = {"functionError": "Unhandled"} if answer and answer.failed else {}
    response = {"responseContext": {"statusCode": 200, "executedVersion": "$LATEST", **error}} if answer else {}
    return {
        "requestContext": {
            "requestId": answer.request_id if answer else "",
            "functionArn": mapping.function,
            "condition": condition,
            "approximateInvokeCount": batch.invocations,
        },
        **response,
        "version": "1.0",
        "timestamp": _time(now, "milliseconds"),
        "DDBStreamBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": first.sequence,
            "endSequenceNumber": last.sequence,
            "approximateArrivalOfFirstRecord": _time(first.created, "seconds"),
            "approximateArrivalOfLastRecord": _time(last.created, "seconds"),
            "batchSize": len(batch.records),
            "streamArn": mapping.stream,
        },
    }


def object_key(mapping: StreamMapping, shard: str, now: float, unique: str) -> str:
    """The object of a bucket that is the destination; it holds the whole event, too."""
    moment = datetime.fromtimestamp(now, UTC)
    return f"aws/lambda/{mapping.uuid}/{shard}/{moment:%Y/%m/%d}/{moment:%Y-%m-%dT%H.%M.%S}-{unique}"


def _time(seconds: float, precision: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision).replace("+00:00", "Z")

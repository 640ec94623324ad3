"""What DynamoDB says when it refuses.

Shapes, and how a throttling reason is put together (resource, operation, limit): the service's model in botocore. Texts: DynamoDB
developer guide, "Error handling with DynamoDB".
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from local.simulators.dynamodb_faults.faults import Call, Fault, Kind
from local.simulators.node_faults.upstream import Answer

_MODEL = "com.amazonaws.dynamodb.v20120810#"
_TABLES = "arn:aws:dynamodb:ddblocal:000000000000:table"
_EXCEEDED = "ProvisionedThroughputExceededException"
_OF_TABLE = (
    "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the "
    "UpdateTable API."
)
_OF_INDEX = (
    "The level of configured provisioned throughput for one or more global secondary indexes of the table was exceeded. Consider "
    "increasing your provisioning level for the under-provisioned global secondary indexes with the UpdateTable API"
)


def refusal(fault: Fault, call: Call) -> Answer:
    """Return the answer of a kind that is one."""
    if fault.kind in (Kind.INTERNAL_ERROR, Kind.INTERNAL_ERROR_AFTER):
        return _error(500, "InternalServerError", "The request processing has failed because of an unknown error")
    if fault.kind is Kind.UNAVAILABLE:
        return _error(503, "ServiceUnavailable", "Service is unavailable. Please retry.")
    if fault.kind is Kind.ACCESS_DENIED:
        words = f"User is not authorized to perform: dynamodb:{call.operation} on resource: {_arn(call)}"
        return _error(400, "AccessDeniedException", words)
    return _throttled(fault, call)


def _throttled(fault: Fault, call: Call) -> Answer:
    of_index = fault.kind is Kind.THROTTLE_INDEX
    resource = f"{_arn(call)}/index/{fault.index}" if of_index else _arn(call)
    limit = "KeyRangeThroughputExceeded" if fault.kind is Kind.THROTTLE_PARTITION else "ProvisionedThroughputExceeded"
    reason = f"{'Index' if of_index else 'Table'}{'Write' if call.is_write else 'Read'}{limit}"
    reasons = [{"reason": reason, "resource": resource}]
    return _error(400, _EXCEEDED, _OF_INDEX if of_index else _OF_TABLE, ThrottlingReasons=reasons)


def _arn(call: Call) -> str:
    return f"{_TABLES}/{call.table}"


def _error(status: int, code: str, message: str, **more: Any) -> Answer:
    body = json.dumps({"__type": f"{_MODEL}{code}", "message": message, **more}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.0"), ("x-amz-crc32", str(zlib.crc32(body)))]
    return Answer(status, "", headers, body, str(len(body)))


def with_bad_checksum(answer: Answer) -> Answer:
    kept = [(name, value) for name, value in answer.headers if name.lower() != "x-amz-crc32"]
    wrong = str(zlib.crc32(answer.body) ^ 1)
    return Answer(answer.status, answer.reason, [*kept, ("x-amz-crc32", wrong)], answer.body, answer.length)

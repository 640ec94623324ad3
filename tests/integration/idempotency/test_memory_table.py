"""The table that the unit tests use answers as DynamoDB does."""

from __future__ import annotations

import uuid
from typing import Any

from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchops.core.idempotency import writes
from tests.unit.core.idempotency.memory_table import MemoryTable

NOW = 1_800_000_000_000
OWNERS, FINGERPRINTS = st.sampled_from(["o1", "o2"]), st.sampled_from(["f1", "f2"])
TIMES = st.sampled_from([NOW - 1000, NOW, NOW + 999, NOW + 1000, NOW + 2000, NOW + 10_000])
SHORT = st.sampled_from([1, 1000, 5000])
# As the persistence layer of aws-lambda-powertools 3.37 sends it.
POWERTOOLS = (
    "attribute_not_exists(#id) OR #expiry < :now OR "
    "(#status = :inprogress AND attribute_exists(#in_progress_expiry) AND #in_progress_expiry < :now_in_millis)"
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    kind = draw(
        st.sampled_from(["claim", "claim", "extend", "complete", "fail", "release", "reset", "reserve", "put", "set", "delete"])
    )
    owner, fence, now_ms = draw(OWNERS), draw(st.integers(1, 12)), draw(TIMES)
    times = {"now_ms": now_ms, "keep_ms": draw(SHORT)}
    match kind:
        case "claim":
            request = writes.claim("k", owner=owner, fence=fence, fingerprint=draw(FINGERPRINTS), lease_ms=draw(SHORT), **times)
        case "extend":
            request = writes.extend("k", owner=owner, lease_ms=draw(SHORT), **times)
        case "complete":
            request = writes.complete("k", owner=owner, result="1", **times)
        case "fail":
            request = writes.fail("k", owner=owner, reason="bad")
        case "release":
            request = writes.release("k", owner=owner, **times)
        case "reset":
            request = writes.reset("k", owner=owner, fence=fence, **times)
        case "reserve":
            request = writes.reserve("n", draw(st.integers(1, 1000)))
        case "put":
            return "put_item", powertools_put(now_ms)
        case "set":
            return "update_item", powertools_update(now_ms)
        case _:
            return "delete_item", {"Key": {"id": {"S": "k"}}}
    return "update_item", request


def powertools_put(now_ms: int) -> dict[str, Any]:
    item = {"status": {"S": "INPROGRESS"}, "in_progress_expiration": {"N": str(now_ms)}, "expiration": {"N": str(now_ms // 1000)}}
    return {
        "Item": {"id": {"S": "k"}, **item},
        "ConditionExpression": POWERTOOLS,
        "ExpressionAttributeNames": {
            "#id": "id",
            "#expiry": "expiration",
            "#in_progress_expiry": "in_progress_expiration",
            "#status": "status",
        },
        "ExpressionAttributeValues": {
            ":now": {"N": str(now_ms // 1000)},
            ":now_in_millis": {"N": str(now_ms)},
            ":inprogress": {"S": "INPROGRESS"},
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def powertools_update(now_ms: int) -> dict[str, Any]:
    return {
        "Key": {"id": {"S": "k"}},
        "UpdateExpression": "SET #response_data = :response_data, #expiry = :expiry, #status = :status",
        "ExpressionAttributeNames": {"#expiry": "expiration", "#response_data": "data", "#status": "status"},
        "ExpressionAttributeValues": {
            ":expiry": {"N": str(now_ms // 1000)},
            ":response_data": {"S": "1"},
            ":status": {"S": "COMPLETED"},
        },
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sent=st.lists(requests(), min_size=1, max_size=12))
def test_the_same_requests_have_the_same_answers(dynamodb: Any, claims_table: str, sent: list[tuple[str, dict[str, Any]]]):
    memory, run = MemoryTable(), uuid.uuid4().hex
    for operation, request in sent:
        here = answer(memory, operation, request, claims_table, run)
        assert here == answer(dynamodb, operation, request, claims_table, run)
    for id_ in ("k", "n"):
        key = {"id": {"S": f"{run}{id_}"}}
        there = dynamodb.get_item(TableName=claims_table, Key=key, ConsistentRead=True)
        assert memory.items.get(f"{run}{id_}") == there.get("Item")


def answer(client: Any, operation: str, request: dict[str, Any], table: str, run: str) -> Any:
    """What matters of it; each run has keys of its own."""
    place = "Item" if "Item" in request else "Key"
    own = request | {place: request[place] | {"id": {"S": run + request[place]["id"]["S"]}}}
    try:
        return getattr(client, operation)(TableName=table, **own).get("Attributes", {})
    except ClientError as error:
        return error.response["Error"]["Code"], error.response.get("Item", {})

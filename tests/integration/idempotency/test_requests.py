"""How many requests a claim costs, and what is said when DynamoDB does not do what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config

from local.cloud import Cloud
from searchops.core.errors import DataError, TransientError
from searchops.core.idempotency.errors import FailedBefore, ResultTooLarge, TableMissing, TableRefused
from searchops.core.idempotency.guard import Claim, Completed, Guard
from tests.conftest import aws_client
from tests.integration.idempotency.faults import Requests

NewGuard = Callable[..., Guard]
TRIES = 3


@pytest.fixture
def client(dynamodb_cloud: Cloud) -> Any:
    """Tries three times, at once."""
    return aws_client(dynamodb_cloud, "dynamodb", config=Config(retries={"mode": "standard", "total_max_attempts": TRIES}))


@pytest.fixture
def requests(client: Any, monkeypatch: pytest.MonkeyPatch) -> Requests:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # botocore's, between its tries
    return Requests(client)


@pytest.fixture
def guard(new_guard: NewGuard, client: Any) -> Guard:
    return new_guard(client=client)


def test_a_claim_and_its_completion_are_two_writes(guard: Guard, requests: Requests):
    guard.run("first", lambda claim: 1)
    assert requests.sent == {"UpdateItem": 3}  # with the one that reserves a million numbers
    requests.sent.clear()

    for key in range(20):
        guard.run(str(key), lambda claim: 1)

    assert requests.sent == {"UpdateItem": 40}


def test_a_duplicate_is_one_request(guard: Guard, requests: Requests):
    guard.run("k", lambda claim: 1)
    requests.sent.clear()

    assert guard.run("k", lambda claim: 2) == 1
    assert requests.sent == {"UpdateItem": 1}


def test_a_missing_table_is_an_error_that_names_the_dag_that_makes_it(new_guard: NewGuard):
    guard = new_guard(table="claims-of-nobody")

    for call in (guard.claim, guard.look, guard.reset):
        with pytest.raises(TableMissing, match=r"'claims-of-nobody' does not exist .* run the DAG searchops_setup"):
            call("k")


def test_a_table_of_another_kind_is_one_error_that_names_it_and_the_dag_that_looks(guard: Guard, dynamodb: Any):
    dynamodb.create_table(
        TableName="of-another-kind",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    other = Guard(dynamodb, table="of-another-kind", namespace="tests")

    with pytest.raises(TableRefused, match=r"'of-another-kind' does not take .* expected id \(S\) .* searchops_setup"):
        guard.run("k", lambda claim: other.claim("k"))

    assert guard.run("k", lambda claim: claim.attempt) == 2


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"])
def test_throttling_that_passes_is_not_felt(guard: Guard, requests: Requests, code: str):
    requests.answer(code, TRIES - 1)

    assert guard.run("k", lambda claim: "done") == "done"
    assert requests.sent["UpdateItem"] == 3 + TRIES - 1


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException", "InternalServerError"])
def test_throttling_that_lasts_is_a_transient_error_and_the_key_stays_free(guard: Guard, requests: Requests, code: str):
    guard.run("warm", lambda claim: None)
    requests.answer(code, TRIES)

    with pytest.raises(TransientError) as raised:
        guard.claim("k")

    assert code in raised.value.reason
    assert guard.run("k", lambda claim: claim.attempt) == 1


def test_a_completion_that_is_throttled_can_be_repeated_by_its_owner(guard: Guard, requests: Requests):
    claim = guard.claim("k")
    assert isinstance(claim, Claim)
    requests.answer("ThrottlingException", TRIES)
    with pytest.raises(TransientError):
        claim.complete(1)

    assert claim.complete(1) == 1
    assert guard.claim("k") == Completed(1, claim.fence)


@pytest.mark.parametrize("call", ["claim", "look"])
def test_a_missing_permission_is_one_error_that_says_which(guard: Guard, requests: Requests, call: str):
    operation = {"claim": "UpdateItem", "look": "GetItem"}[call]
    requests.answer("AccessDeniedException", 100)

    with pytest.raises(DataError, match=f"'claims-of-tests': .* not allowed to call dynamodb:{operation}") as raised:
        getattr(guard, call)("k")

    assert raised.value.reason == "AccessDeniedException: AccessDeniedException by order"
    assert requests.sent.total() == 1


def test_the_largest_result_fits_into_an_item_of_dynamodb(guard: Guard):
    """With the longest key and reason of a failure before it."""
    key, result = "塔" * 500, "塔" * ((350_000 - 2) // 3)

    assert guard.run(key, lambda claim: result) == result
    assert guard.claim(key).result == result


def test_a_result_that_is_too_large_is_an_error_and_the_work_is_not_done_again(guard: Guard):
    with pytest.raises(ResultTooLarge, match="350,002 bytes as JSON, expected at most 350,000"):
        guard.run("k", lambda claim: "x" * 350_000)
    with pytest.raises(FailedBefore) as again:
        guard.run("k", lambda claim: pytest.fail("done twice"))

    assert again.value.reason.startswith("the work was done, and its result could not be kept")

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ChecksumError, ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError

from searchops.core.errors import DataError, TransientError
from searchops.core.replay.calls import (
    CLIENT,
    TRIES,
    NotAllowed,
    TableMissing,
    Throttle,
    Throttled,
    asked,
    classified,
    pause,
    throttle_of,
)

TABLE = "arn:aws:dynamodb:ap-northeast-1:123456789012:table/products"


def error(code: str, message: str = "words", **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, "UpdateItem")


def reasons(*causes: str) -> list[dict[str, str]]:
    return [{"reason": cause, "resource": f"{TABLE}/index/by_date" if cause.startswith("Index") else TABLE} for cause in causes]


@pytest.mark.parametrize(
    ("causes", "scope"),
    [
        (["TableWriteProvisionedThroughputExceeded"], "table"),
        (["TableWriteAccountLimitExceeded"], "table"),
        (["TableWriteMaxOnDemandThroughputExceeded"], "table"),
        (["IndexWriteProvisionedThroughputExceeded"], "index"),
        (["TableWriteKeyRangeThroughputExceeded"], "partition"),
        (["IndexWriteKeyRangeThroughputExceeded"], "partition"),
        (["TableWriteProvisionedThroughputExceeded", "IndexWriteKeyRangeThroughputExceeded"], "partition"),
        (["SomethingNew"], "table"),
        ([], "table"),
    ],
)
def test_a_throttled_call_says_what_was_short(causes, scope):
    told = classified(
        error("ProvisionedThroughputExceededException", ThrottlingReasons=reasons(*causes)), "products", "UpdateItem"
    )

    assert isinstance(told, Throttled)
    assert told.scope == scope


def test_the_reasons_of_a_throttling_exception_are_spelt_otherwise():
    found = throttle_of(error("ThrottlingException", throttlingReasons=reasons("IndexWriteAccountLimitExceeded")))

    assert found == Throttle("index", "IndexWriteAccountLimitExceeded", f"{TABLE}/index/by_date")


def test_a_person_is_told_which_index_was_throttled():
    told = classified(
        error("ProvisionedThroughputExceededException", ThrottlingReasons=reasons("IndexWriteKeyRangeThroughputExceeded")),
        "products",
        "UpdateItem",
    )

    assert "by the partition of products/index/by_date (IndexWriteKeyRangeThroughputExceeded)" in str(told)


@pytest.mark.parametrize(
    ("raised", "family"),
    [
        (error("RequestLimitExceeded"), Throttled),
        (error("TransactionConflictException"), TransientError),
        (error("ReplicatedWriteConflictException"), TransientError),
        (error("InternalServerError"), TransientError),
        (ConnectionClosedError(endpoint_url="http://x"), TransientError),
        (ChecksumError(checksum_type="crc32", expected_checksum=1, actual_checksum=2), TransientError),
        (ResponseParserError("half of it"), TransientError),
        (error("400", '{"__type":"com.amazonaws.dynamodb.v20120810#Conditional'), TransientError),
        (error("AccessDeniedException"), NotAllowed),
        (error("ResourceNotFoundException"), TableMissing),
        (error("ValidationException", "The table does not have the specified index: by_day"), DataError),
    ],
)
def test_an_error_of_dynamodb_has_a_family(raised, family):
    assert isinstance(classified(raised, "products", "UpdateItem"), family)


def test_the_words_of_a_refusal_are_told():
    told = classified(error("ValidationException", "The table does not have the specified index: by_day"), "products", "Query")

    assert "table products does not take the request Query: The table does not have the specified index: by_day" in str(told)


def test_the_client_of_touches_is_one_that_botocore_knows():
    config = Config(**CLIENT)

    assert (config.retries["total_max_attempts"], config.parameter_validation) == (1, False)


def test_an_answer_that_was_cut_is_not_taken_for_an_empty_one():
    answers = [{"ResponseMetadata": {}}, {"Items": [], "ResponseMetadata": {}}]

    assert "Items" in asked(lambda **_: answers.pop(0), "products", "Scan", sleep=lambda _: None)


def failing(*errors: Exception) -> Any:
    left = list(errors)

    def call(**request: Any) -> dict[str, Any]:
        if left:
            raise left.pop(0)
        return request

    return call


def test_a_read_is_made_again_until_it_is_answered():
    slept: list[float] = []

    answer = asked(failing(*[error("InternalServerError")] * 4), "products", "Scan", sleep=slept.append, Limit=1)

    assert answer == {"TableName": "products", "Limit": 1}
    assert len(slept) == 4


def test_a_read_that_is_never_answered_fails_in_the_end():
    with pytest.raises(Throttled):
        asked(failing(*[error("ThrottlingException")] * TRIES), "products", "Scan", sleep=lambda _: None)


def test_a_read_that_is_not_allowed_is_not_made_again():
    with pytest.raises(NotAllowed):
        asked(failing(error("AccessDeniedException")), "products", "Scan", sleep=lambda _: pytest.fail("slept"))


def test_pauses_grow_to_two_seconds():
    assert all(0.05 <= pause(1) <= 0.1 and 1 <= pause(attempt) <= 2 for attempt in (6, 60))

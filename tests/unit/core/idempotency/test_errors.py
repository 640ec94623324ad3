from __future__ import annotations

import pytest
from botocore.exceptions import ChecksumError, ClientError
from botocore.parsers import ResponseParserError

from searchops.core.errors import TransientError
from searchops.core.idempotency.errors import classified


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "400", "Message": '{"__type":"com.amazonaws.dynamodb.v2012'}}, "UpdateItem"),
        ChecksumError(checksum_type="crc32", expected_checksum=1, actual_checksum=2),
        ResponseParserError("Unable to parse response"),
    ],
)
def test_an_answer_that_came_damaged_says_nothing_against_the_table_of_claims(error: Exception) -> None:
    found = classified(error, "claims", "UpdateItem")

    assert isinstance(found, TransientError)
    assert "the answer to UpdateItem came damaged" in str(found)

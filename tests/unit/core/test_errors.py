from __future__ import annotations

import pickle

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from searchops.core.errors import DataError, SearchOpsError, TransientError, classify_client_error


def client_error(code: str, status: int = 400, message: str = "AWS says so") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "UpdatePackage"
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("Throttling", 400),
        ("TooManyRequestsException", 429),
        ("SlowDown", 503),
        ("InternalException", 500),
        ("ServiceUnavailable", 503),
        ("502", 502),
        ("ConflictException", 409),
        ("DependencyFailureException", 424),
        ("NeverHeardOfException", 500),
    ],
)
def test_what_may_pass_is_transient(code, status):
    assert type(classify_client_error(client_error(code, status))) is TransientError


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ResourceNotFoundException", 409),
        ("LimitExceededException", 409),
        ("ResourceAlreadyExistsException", 409),
        ("ValidationException", 400),
        ("NoSuchBucket", 404),
        ("NeverHeardOfException", 400),
    ],
)
def test_what_stays_wrong_is_an_error_of_data_whatever_its_status(code, status):
    assert type(classify_client_error(client_error(code, status))) is DataError


@pytest.mark.parametrize(
    "error",
    [
        client_error("AccessDenied", 403),
        client_error("AccessDeniedException", 403),
        client_error("UnrecognizedClientException", 403),
        client_error("InvalidClientTokenId", 403),
        client_error("InvalidAccessKeyId", 403),
        client_error("ExpiredToken", 400),
        client_error("ExpiredTokenException", 403),
        exceptions.NoCredentialsError(),
        exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_wrong_credentials_name_the_connection_to_check_and_are_not_retried(error):
    told = classify_client_error(error, connection="aws_search")

    assert type(told) is DataError
    assert "the Airflow connection 'aws_search'" in str(told)
    assert told.reason


@pytest.mark.parametrize(
    "error",
    [
        exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        exceptions.ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"),
        exceptions.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
        exceptions.ConnectionClosedError(endpoint_url="http://127.0.0.1:1"),
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError(),
    ],
)
def test_a_lost_connection_is_transient(error):
    assert type(classify_client_error(error)) is TransientError


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ChecksumError(checksum_type="crc32", expected_checksum=1, actual_checksum=2),
        exceptions.FlexibleChecksumError(error_msg="Expected checksum 1 did not match calculated checksum: 2"),
        exceptions.ResponseStreamingError(error="reset"),
        exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ResponseParserError("Unable to parse response: " + "x" * 5000),
    ],
)
def test_an_answer_that_came_damaged_is_transient_and_told_shortly(error):
    told = classify_client_error(error)

    assert type(told) is TransientError
    assert str(told) == "an answer of AWS came damaged"
    assert 0 < len(told.reason) <= 1000


def test_the_words_of_aws_are_kept():
    told = classify_client_error(client_error("ValidationException", message="PackageName is invalid"))

    assert told.reason == "ValidationException: PackageName is invalid"
    assert "UpdatePackage" in str(told)


def test_a_request_that_botocore_will_not_make_is_an_error_of_data():
    assert type(classify_client_error(exceptions.ParamValidationError(report="too short"))) is DataError


def test_an_error_of_ours_stays_what_it_is():
    error = TransientError("busy")

    assert classify_client_error(error) is error


def test_an_error_in_our_code_belongs_to_neither_family():
    assert type(classify_client_error(KeyError("x"))) is SearchOpsError


def test_an_error_survives_being_pickled_with_what_it_knows():
    error = DataError("refused", reason="why", facts={"n": 1}, links=[("a", "https://a.example")], announce=False)

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301

    assert (type(copy), str(copy), vars(copy)) == (DataError, "refused", vars(error))

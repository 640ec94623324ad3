"""The errors that a retry policy and a notifier understand.

Two families decide what Airflow does: a ``DataError`` stays wrong however often it is tried, a ``TransientError`` passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Link = tuple[str, str]  # label, URL

_THROTTLED = {
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_PASSING = {
    "ConditionalRequestConflict",  # S3: two conditional writes of one object at once
    "ConflictException",  # something else of the same resource is under way
    "DependencyFailureException",
    "InternalError",
    "InternalException",
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "TransactionInProgressException",
}
_WRONG_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NOT_ALLOWED = {"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"}
MAX_DAMAGED_CHARACTERS = 1000
"""Of the error of an answer that can not be read: botocore puts all that it has read into it."""


class SearchOpsError(Exception):
    """An error that can be told to a person.

    ``reason``: AWS's own words. ``facts``: what was found, by name. ``links``: where to look. None of them may hold a secret or
    the body of a document. ``announce`` False: a person has already been told of this, so the run fails without a message.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        facts: Mapping[str, Any] | None = None,
        links: Sequence[Link] = (),
        announce: bool = True,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.facts = dict(facts or {})
        self.links = tuple(links)
        self.announce = announce


class DataError(SearchOpsError):
    """Never retried: a bad dictionary or inventory, drift, a refusal, wrong credentials."""


class TransientError(SearchOpsError):
    """Retried: throttling, a reset connection, a failure of the service, a conflict with work in progress."""


def code_of(error: BaseException) -> str:
    """The code of an AWS answer, or an empty text."""
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))


def reasons_of(info: Any) -> str:
    """The reason that an OpenSearch error gives and the causes below it: the top only says that something is wrong, the causes what."""
    reasons: list[str] = []
    cause = info.get("error") if isinstance(info, Mapping) else None
    while isinstance(cause, Mapping):
        reasons.append(str(cause.get("reason")))
        cause = cause.get("caused_by")
    return "; because ".join(dict.fromkeys(reason for reason in reasons if reason and reason != "None"))


def is_damaged(error: BaseException) -> bool:
    """Whether an answer of AWS was cut or changed on its way: what was asked for may have been done."""
    from botocore import exceptions, parsers

    return isinstance(
        error,
        exceptions.ChecksumError
        | exceptions.FlexibleChecksumError
        | exceptions.IncompleteReadError
        | exceptions.ResponseStreamingError
        | parsers.ResponseParserError,
    )


def classify_client_error(error: Exception, *, connection: str = "") -> SearchOpsError:
    """Say which family an error of botocore (or aiobotocore) belongs to; an error of ours comes back as it is.

    By ``Error.Code``, because the HTTP statuses of the OpenSearch Service API mislead: ResourceNotFoundException and
    LimitExceededException (a quota, not a rate) come as 409 like ConflictException. Only an unknown code is judged by its status,
    and only from 500. A caller that knows a code better, such as the ConflictException "Package is already in desired state",
    looks before it calls this.

    An error that is neither ours nor botocore's comes back as plain ``SearchOpsError``, which leaves the retries to the task.

    :param connection: id of the Airflow connection that the client was made from, for the text; without one the text names no id
    """
    # Not at the top: DAG files import this module for its classes and have no use for botocore.
    from botocore import exceptions

    if isinstance(error, SearchOpsError):
        return error
    named = f"the Airflow connection {connection!r}" if connection else "the Airflow connection that aws_conn_id names"
    if isinstance(error, exceptions.ClientError):
        return _by_code(error, named)
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError
        | exceptions.TokenRetrievalError
        | exceptions.NoAuthTokenError,
    ):
        return DataError(f"no usable AWS credentials: check {named}", reason=str(error))
    if is_damaged(error):
        return TransientError("an answer of AWS came damaged", reason=str(error)[:MAX_DAMAGED_CHARACTERS])
    if isinstance(
        error,
        exceptions.HTTPClientError | exceptions.ConnectionError | ConnectionError | TimeoutError,
    ):
        return TransientError("no answer from AWS", reason=str(error))
    if isinstance(error, exceptions.BotoCoreError):
        return DataError("the request to AWS could not be made", reason=str(error))
    return SearchOpsError(f"{type(error).__name__}: {error}", reason=str(error))


def _by_code(error: Any, named: str) -> SearchOpsError:
    answer = error.response.get("Error", {})
    code, words = str(answer.get("Code", "Unknown")), str(answer.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    operation, reason = error.operation_name, f"{code}: {words}"
    if code in _WRONG_CREDENTIALS:
        return DataError(f"{operation}: AWS does not accept the credentials: check {named}", reason=reason)
    if code in _NOT_ALLOWED:
        return DataError(
            f"{operation}: not allowed with the credentials of {named}: "
            "check that it is the intended one, then the permissions of its role",
            reason=reason,
        )
    if code in _THROTTLED:
        return TransientError(f"{operation}: throttled by AWS", reason=reason)
    if code in _PASSING or (code.isdigit() and int(code) >= 500) or status >= 500:
        return TransientError(f"{operation}: {code}, may pass", reason=reason)
    return DataError(f"{operation}: refused by AWS with {code}", reason=reason)

"""The Lambda function: documents of an API's request come in, are written at once, and each is answered for.

Handler: ``handler.handler``. Invoked directly, through API Gateway or by a function URL, always synchronously. What comes in and what goes
out is in ``searchops.core.bulk.request_path`` and docs/bulk_writer.md. Settings are environment variables:

===========================  =============================================================================================
SEARCHOPS_ENDPOINT           the domain's URL: ``https://…``; plain http only to this machine itself
SEARCHOPS_INDEX              the alias that applications use
SEARCHOPS_VERSION_SCHEME     as the inventory has it: ``attribute``, ``once``, ``sequence`` or ``none``
SEARCHOPS_VERSION_ATTRIBUTE  for ``attribute``: which one
SEARCHOPS_DELETES            as the inventory has it: ``tombstone``, ``immediate`` or ``never``
SEARCHOPS_BUCKET             bucket of manifests and spool; without one nothing is handed over
SEARCHOPS_STREAM             the index's Firehose stream; without one everything goes to the spool
SEARCHOPS_REFRESH            when searches find what was written: ``wait_for`` (default), ``true`` or ``false``; a request may say
                             otherwise
SEARCHOPS_TIMEOUT            seconds a request to the domain may take; default 10, less where the function's own time-out is near
SEARCHOPS_AWS_TIMEOUT        seconds to wait for each answer of Firehose and S3; default 2
SEARCHOPS_REGION             of domain, stream and bucket; default the function's own
===========================  =============================================================================================
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection
from urllib3 import Timeout

from searchops.core.bulk.batch import MAX_REQUEST_BYTES
from searchops.core.bulk.delivery import NotDone
from searchops.core.bulk.firehose import FirehoseLane
from searchops.core.bulk.indexer import BulkIndexer, Written
from searchops.core.bulk.lanes import HandOverLanes
from searchops.core.bulk.request_path import (
    REFRESH,
    BadRequest,
    Outcome,
    WriteRequest,
    answer,
    http_response,
    is_http,
    read_request,
    refusal,
    why,
)
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.bulk.target import Target, check_target
from searchops.core.errors import DataError, TransientError

RUN = "bulk_writer"
FIREHOSE_SECONDS = 1.0
CONNECT_SECONDS = 1.0
LEAST_SECONDS = 0.5
"""A request to the domain that could take no longer than this is not begun."""
IDLE_SECONDS = 60.0
"""After this a connection is not used again: what stands in between forgets it after 350 s without a word, while the frozen
function could not notice; a write into a dead connection would be answered as retriable."""

log = logging.getLogger()
log.setLevel(logging.INFO)


class OutOfTime(TransientError):
    """The function's time-out is too near to begin another request."""


@dataclass(frozen=True, slots=True)
class Settings:
    endpoint: str
    index: str
    scheme: Scheme
    region: str
    refresh: str
    bucket: str
    stream: str
    timeout_seconds: float
    aws_timeout_seconds: float

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Self:
        """:raises DataError: names all that are wrong"""
        problems: list[str] = []

        def one_of(name: str, allowed: list[str], default: str = "") -> str:
            value = variables.get(name) or default
            if value not in allowed:
                problems.append(f"{name}: expected one of {', '.join(allowed)}, found {value!r}")
                return allowed[0]
            return value

        def seconds(name: str, default: str) -> float:
            text = variables.get(name) or default
            if not text.replace(".", "", 1).isdigit() or float(text) <= 0:
                problems.append(f"{name}: expected a number of seconds above 0, found {text!r}")
                return 1.0
            return float(text)

        endpoint, index = variables.get("SEARCHOPS_ENDPOINT", ""), variables.get("SEARCHOPS_INDEX", "")
        region = variables.get("SEARCHOPS_REGION") or variables.get("AWS_REGION", "")
        bucket, stream = variables.get("SEARCHOPS_BUCKET", ""), variables.get("SEARCHOPS_STREAM", "")
        # An index that an Ingestion pipeline writes has no other writer.
        versions = [scheme.value for scheme in VersionScheme if scheme is not VersionScheme.INGESTION]
        scheme = Scheme(
            VersionScheme(one_of("SEARCHOPS_VERSION_SCHEME", versions)),
            Deletes(one_of("SEARCHOPS_DELETES", [deletes.value for deletes in Deletes])),
            variables.get("SEARCHOPS_VERSION_ATTRIBUTE", ""),
        )
        settings = cls(
            endpoint,
            index,
            scheme,
            region,
            one_of("SEARCHOPS_REFRESH", list(REFRESH), REFRESH[0]),
            bucket,
            stream,
            seconds("SEARCHOPS_TIMEOUT", "10"),
            seconds("SEARCHOPS_AWS_TIMEOUT", "2"),
        )
        problems += settings._problems()
        if problems:
            raise DataError("the function's environment variables are wrong: " + "; ".join(problems))
        return settings

    def _problems(self) -> list[str]:
        by_attribute = self.scheme.version is VersionScheme.ATTRIBUTE
        wrong = {
            f"SEARCHOPS_ENDPOINT: expected https://<host of the domain>, found {self.endpoint!r}": not _is_safe(self.endpoint),
            "SEARCHOPS_INDEX: expected the name of an alias or index, found nothing": not self.index,
            "SEARCHOPS_REGION: expected a Region, found none, nor AWS_REGION": not self.region,
            "SEARCHOPS_VERSION_ATTRIBUTE: expected one with the version scheme attribute, and with no other": (
                by_attribute != bool(self.scheme.attribute)
            ),
            "SEARCHOPS_STREAM: expected SEARCHOPS_BUCKET as well, which keeps what says that a document was handed over": (
                bool(self.stream) and not self.bucket
            ),
            f"SEARCHOPS_BUCKET: nothing is handed over with version scheme {self.scheme.version.value} and deletes "
            f"{self.scheme.deletes.value}; leave it out": bool(self.bucket) and not self.scheme.hands_over(),
        }
        return [problem for problem, found in wrong.items() if found]

    @property
    def hand_over_seconds(self) -> float:
        """What is kept back of the function's time: calls of Firehose (none begins after a second), the spool and the manifest."""
        return FIREHOSE_SECONDS + 3 * (CONNECT_SECONDS + self.aws_timeout_seconds) if self.bucket else 0.5


class Writer:
    """What an execution environment keeps from one invocation to the next."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session = boto3.session.Session(region_name=settings.region)
        self._node: OpenSearch | None = None
        self._used_at = 0.0
        self._target: Target | None = None
        # The lane sends again only what has failed, and here nothing: what is left goes to the spool, whose client tries twice.
        self._firehose = self._client("firehose", 1) if settings.stream else None
        self._s3 = self._client("s3", 2) if settings.bucket else None
        self._lane = FirehoseLane(self._firehose, settings.stream) if self._firehose else None

    def write(self, request: WriteRequest, request_id: str, remaining_seconds: Callable[[], float]) -> Outcome:
        """
        :param remaining_seconds: until the function is stopped
        :raises DataError: a person has to mend something: settings, scheme, permissions
        """
        settings = self.settings
        run = f"{RUN}-{datetime.now(UTC):%Y-%m-%d}"
        manifests = {"run": run, "input": request_id}
        lanes = HandOverLanes(
            self._s3, settings.bucket, index=settings.index, run=run, input=request_id, firehose=self._lane, limit_seconds=0
        )
        try:
            node = self._connected(remaining_seconds)
            indexer = BulkIndexer(
                node,
                settings.index,
                settings.scheme,
                target=self._target,
                patience_seconds=0,
                hand_over=lanes if settings.bucket else None,
                hand_over_unknown=False,
                batch_bytes=MAX_REQUEST_BYTES,  # one request, so one hand-over, unless an id comes twice
                timeout_seconds=lambda: self._timeout(remaining_seconds),
                refresh=request.refresh or settings.refresh,
            )
            return Outcome(request, indexer.write(request.operations), manifests=manifests)
        except TransientError as error:
            written: Written | None = error.written if isinstance(error, NotDone) else None
            return Outcome(request, written, why(error), manifests)

    def _connected(self, remaining_seconds: Callable[[], float]) -> OpenSearch:
        """The domain, whose index has been compared with the settings once."""
        now = time.time()
        if self._node is None or now - self._used_at > IDLE_SECONDS:
            self._forget_connections()
        self._used_at = now
        if self._target is None:
            check = self._open(self._timeout(remaining_seconds).total)
            self._target = check_target(check, self.settings.index, self.settings.scheme)
        self._node = self._node or self._open(self.settings.timeout_seconds)
        return self._node

    def _forget_connections(self) -> None:
        self._node = None
        for client in (self._firehose, self._s3):
            if client is not None:
                client.close()  # its connections; the next call opens one

    def _timeout(self, remaining_seconds: Callable[[], float]) -> Any:
        """Of the next request to the domain, connecting included.

        :raises OutOfTime: what is left has to be kept for a hand-over
        """
        left = remaining_seconds() - self.settings.hand_over_seconds
        if left < LEAST_SECONDS:
            raise OutOfTime(
                f"{left + self.settings.hand_over_seconds:.1f} s are left until the function is stopped, of which "
                f"{self.settings.hand_over_seconds:.1f} s are kept for a hand-over; if that is so from the beginning, give the function a "
                "longer time-out"
            )
        return Timeout(total=min(left, self.settings.timeout_seconds))

    def _open(self, timeout_seconds: float) -> OpenSearch:
        url = urlsplit(self.settings.endpoint)
        encrypted = url.scheme == "https"
        # A signature over a plain connection proves nothing; only this machine itself is spoken to like this.
        signer = Urllib3AWSV4SignerAuth(self._credentials(), self.settings.region, "es") if encrypted else None
        return OpenSearch(
            hosts=[{"host": url.hostname, "port": url.port or (443 if encrypted else 9200)}],
            http_auth=signer,
            use_ssl=encrypted,
            verify_certs=True,
            timeout=timeout_seconds,
            connection_class=Urllib3HttpConnection,
            max_retries=0,
            retry_on_timeout=False,
        )

    def _credentials(self) -> Any:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise DataError("no AWS credentials to sign requests with: expected those of the function's role")
        return credentials

    def _client(self, service: str, attempts: int) -> Any:
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=self.settings.aws_timeout_seconds,
            retries={"total_max_attempts": attempts, "mode": "standard"},
        )
        return self._session.client(service, config=config)


@functools.cache
def _writer() -> Writer:
    """Made at the first invocation and kept, as its connections are."""
    return Writer(Settings.from_environment(os.environ))


def handler(event: Any, context: Any) -> dict[str, Any]:
    """
    :raises DataError: the function can not write at all: settings, scheme or permissions are wrong. Its caller gets an error of the
        function (HTTP 502), and so does the alarm on its errors
    """
    began, writer = time.monotonic(), _writer()
    try:
        request = read_request(event, writer.settings.scheme)
    except BadRequest as error:
        told = refusal(error)
        # Its words quote the request, so they are for the caller alone.
        log.info("request %s refused with %d", context.aws_request_id, error.status)
    else:
        outcome = writer.write(request, context.aws_request_id, lambda: context.get_remaining_time_in_millis() / 1000)
        told = answer(outcome)
        counts = ", ".join(f"{count} {end}" for end, count in told["counts"].items() if count)
        seconds = time.monotonic() - began
        log.info("request %s: %s in %.3f s%s", context.aws_request_id, counts, seconds, outcome.why and f"; {outcome.why}")
    return http_response(told) if is_http(event) else told


def _is_safe(endpoint: str) -> bool:
    """Whether it is a URL to which a document may be sent: https, or this machine itself."""
    try:
        url = urlsplit(endpoint)
        host, _ = url.hostname or "", url.port
    except ValueError:
        return False
    if url.path not in ("", "/") or url.query or url.username or not host:
        return False
    return url.scheme == "https" or (url.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""What the Lambda functions that write an index have in common: their settings, and how they reach domain, stream and bucket."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from searchops.core.bulk.firehose import FirehoseLane
from searchops.core.bulk.lanes import HandOverLanes
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.bulk.target import Target, check_target
from searchops.core.errors import DataError, TransientError

CONNECT_SECONDS = 1.0
FIREHOSE_SECONDS = 1.0
LEAST_SECONDS = 0.5
"""A request to the domain that could take no longer than this is not begun."""
IDLE_SECONDS = 60.0
"""After this a connection is not used again: what stands in between forgets it after 350 s without a word, while the frozen
function could not notice; a write into a dead connection would be answered as retriable."""


class OutOfTime(TransientError):
    """The function's time-out is too near to begin another request."""


class Variables:
    """Environment variables, with all that is wrong in them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._problems: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name) or default

    def one_of(self, name: str, allowed: list[str], default: str = "") -> str:
        value = self.text(name, default)
        self.expect(value in allowed, f"{name}: expected one of {', '.join(allowed)}, found {value!r}")
        return value if value in allowed else allowed[0]

    def seconds(self, name: str, default: str) -> float:
        text = self.text(name, default)
        is_number = text.replace(".", "", 1).isdigit() and float(text) > 0
        self.expect(is_number, f"{name}: expected a number of seconds above 0, found {text!r}")
        return float(text) if is_number else 1.0

    def expect(self, met: bool, problem: str) -> None:
        if not met:
            self._problems.append(problem)

    def check(self) -> None:
        """:raises DataError: names all that is wrong"""
        if self._problems:
            raise DataError("the function's environment variables are wrong: " + "; ".join(self._problems))


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """What every such function is told."""

    endpoint: str
    index: str
    scheme: Scheme
    region: str
    bucket: str
    stream: str
    timeout_seconds: float
    aws_timeout_seconds: float

    @property
    def hand_over_seconds(self) -> float:
        """The longest that a hand-over takes: calls of Firehose (none begins after a second), the spool and the manifest."""
        return FIREHOSE_SECONDS + 3 * self.aws_call_seconds

    @property
    def aws_call_seconds(self) -> float:
        return CONNECT_SECONDS + self.aws_timeout_seconds


def common_settings(variables: Variables, id: str = "") -> dict[str, Any]:
    """The fields of `FunctionSettings`.

    :param id: how the function makes ids, in the words of the index's scheme; "" where they are brought to it
    """
    endpoint, index = variables.text("SEARCHOPS_ENDPOINT"), variables.text("SEARCHOPS_INDEX")
    region = variables.text("SEARCHOPS_REGION") or variables.text("AWS_REGION")
    variables.expect(_is_safe(endpoint), f"SEARCHOPS_ENDPOINT: expected https://<host of the domain>, found {endpoint!r}")
    variables.expect(bool(index), "SEARCHOPS_INDEX: expected the name of an alias or index, found nothing")
    variables.expect(bool(region), "SEARCHOPS_REGION: expected a Region, found none, nor AWS_REGION")
    return {
        "endpoint": endpoint,
        "index": index,
        "scheme": _scheme(variables, id),
        "region": region,
        "bucket": variables.text("SEARCHOPS_BUCKET"),
        "stream": variables.text("SEARCHOPS_STREAM"),
        "timeout_seconds": variables.seconds("SEARCHOPS_TIMEOUT", "10"),
        "aws_timeout_seconds": variables.seconds("SEARCHOPS_AWS_TIMEOUT", "2"),
    }


def _scheme(variables: Variables, id: str) -> Scheme:
    # An index that an Ingestion pipeline writes has no other writer.
    versions = [scheme.value for scheme in VersionScheme if scheme is not VersionScheme.INGESTION]
    scheme = Scheme(
        VersionScheme(variables.one_of("SEARCHOPS_VERSION_SCHEME", versions)),
        Deletes(variables.one_of("SEARCHOPS_DELETES", [deletes.value for deletes in Deletes])),
        variables.text("SEARCHOPS_VERSION_ATTRIBUTE"),
        id,
    )
    variables.expect(
        (scheme.version is VersionScheme.ATTRIBUTE) == bool(scheme.attribute),
        "SEARCHOPS_VERSION_ATTRIBUTE: expected one with the version scheme attribute, and with no other",
    )
    return scheme


class Reached:
    """The domain of an index, its stream and its bucket, as a Lambda function reaches them: opened once and kept between invocations.

    :param session: boto3's
    :param kept_seconds: of the function's time, for what comes behind the last request to the domain
    """

    def __init__(self, settings: FunctionSettings, session: Any, kept_seconds: float) -> None:
        self._settings = settings
        self._session = session
        self._kept_seconds = kept_seconds
        self._node: Any = None
        self._used_at = 0.0
        self._target: Target | None = None
        # The lane sends again only what has failed, and here nothing: what is left goes to the spool, whose client tries twice.
        self._firehose = self._client("firehose", 1) if settings.stream else None
        self.s3 = self._client("s3", 2) if settings.bucket else None
        self._lane = FirehoseLane(self._firehose, settings.stream) if self._firehose else None

    def connect(self, remaining_seconds: Callable[[], float]) -> tuple[Any, Target]:
        """The domain, and its index as it was when it was compared with the settings, once.

        :param remaining_seconds: until the function is stopped
        :raises TransientError: it does not answer, its index is closed, or there is no time
        :raises DataError: a person has to mend something: settings, scheme, permissions
        """
        now = time.time()
        if self._node is None or now - self._used_at > IDLE_SECONDS:
            self._forget_connections()
        self._used_at = now
        if self._target is None:
            check = self._open(self.timeout(remaining_seconds).total)
            self._target = check_target(check, self._settings.index, self._settings.scheme)
        self._node = self._node or self._open(self._settings.timeout_seconds)
        return self._node, self._target

    def timeout(self, remaining_seconds: Callable[[], float]) -> Any:
        """Of the next request to the domain, connecting included.

        :raises OutOfTime: what is left has to be kept
        """
        from urllib3 import Timeout

        left = remaining_seconds() - self._kept_seconds
        if left < LEAST_SECONDS:
            raise OutOfTime(
                f"{left + self._kept_seconds:.1f} s are left until the function is stopped, of which {self._kept_seconds:.1f} s are kept for "
                "a hand-over; if that is so from the beginning, give the function a longer time-out"
            )
        return Timeout(total=min(left, self._settings.timeout_seconds))

    def lanes(self, run: str, input: str) -> HandOverLanes:
        """Where documents of one invocation are handed over; nothing waits there."""
        return HandOverLanes(
            self.s3, self._settings.bucket, index=self._settings.index, run=run, input=input, firehose=self._lane, limit_seconds=0
        )

    def _forget_connections(self) -> None:
        self._node = None
        for client in (self._firehose, self.s3):
            if client is not None:
                client.close()  # its connections; the next call opens one

    def _open(self, timeout_seconds: float) -> Any:
        from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection

        url = urlsplit(self._settings.endpoint)
        encrypted = url.scheme == "https"
        # A signature over a plain connection proves nothing; only this machine itself is spoken to like this.
        signer = Urllib3AWSV4SignerAuth(self._credentials(), self._settings.region, "es") if encrypted else None
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
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=self._settings.aws_timeout_seconds,
            retries={"total_max_attempts": attempts, "mode": "standard"},
        )
        return self._session.client(service, config=config)


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

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
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import boto3

from searchops.core.bulk.batch import MAX_REQUEST_BYTES
from searchops.core.bulk.delivery import NotDone
from searchops.core.bulk.function import FunctionSettings, Reached, Variables, common_settings
from searchops.core.bulk.indexer import BulkIndexer, Written
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
from searchops.core.errors import TransientError

RUN = "bulk_writer"

log = logging.getLogger()
log.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Settings(FunctionSettings):
    refresh: str

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> Self:
        """:raises DataError: names all that are wrong"""
        variables = Variables(values)
        settings = cls(**common_settings(variables), refresh=variables.one_of("SEARCHOPS_REFRESH", list(REFRESH), REFRESH[0]))
        variables.expect(
            not settings.stream or bool(settings.bucket),
            "SEARCHOPS_STREAM: expected SEARCHOPS_BUCKET as well, which keeps what says that a document was handed over",
        )
        variables.expect(
            not settings.bucket or settings.scheme.hands_over(),
            f"SEARCHOPS_BUCKET: nothing is handed over with version scheme {settings.scheme.version.value} and deletes "
            f"{settings.scheme.deletes.value}; leave it out",
        )
        variables.check()
        return settings

    @property
    def kept_seconds(self) -> float:
        """What is kept back of the function's time: for a hand-over."""
        return self.hand_over_seconds if self.bucket else 0.5


class Writer:
    """What an execution environment keeps from one invocation to the next."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._reached = Reached(settings, boto3.session.Session(region_name=settings.region), settings.kept_seconds)

    def write(self, request: WriteRequest, request_id: str, remaining_seconds: Callable[[], float]) -> Outcome:
        """
        :param remaining_seconds: until the function is stopped
        :raises DataError: a person has to mend something: settings, scheme, permissions
        """
        settings = self.settings
        run = f"{RUN}-{datetime.now(UTC):%Y-%m-%d}"
        manifests = {"run": run, "input": request_id}
        try:
            node, target = self._reached.connect(remaining_seconds)
            indexer = BulkIndexer(
                node,
                settings.index,
                settings.scheme,
                target=target,
                patience_seconds=0,
                hand_over=self._reached.lanes(run, request_id) if settings.bucket else None,
                hand_over_unknown=False,
                batch_bytes=MAX_REQUEST_BYTES,  # one request, so one hand-over, unless an id comes twice
                timeout_seconds=lambda: self._reached.timeout(remaining_seconds),
                refresh=request.refresh or settings.refresh,
            )
            return Outcome(request, indexer.write(request.operations), manifests=manifests)
        except TransientError as error:
            written: Written | None = error.written if isinstance(error, NotDone) else None
            return Outcome(request, written, why(error), manifests)


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

"""Hands over, or redrives and settles, in a process of its own that can be told to die right after an answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from opensearchpy import OpenSearch, Urllib3HttpConnection

from searchops.core.bulk import BulkIndexer, Deletes, Scheme, VersionScheme
from searchops.core.bulk.firehose import FirehoseLane
from searchops.core.bulk.lanes import HandOverLanes
from searchops.core.bulk.model import HandedOver
from searchops.core.bulk.redrive import Choice, Redrive
from searchops.core.bulk.settle import Settler
from tests.integration.forked import forked

SCHEME = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision")
_processes = forked(__name__)
# Made where the processes are forked from, so that each finds the models of the services read; a process connects by itself.
_SESSION = boto3.session.Session()
for _service in ("s3", "firehose"):
    _SESSION.client(_service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


@dataclass(frozen=True, slots=True)
class Where:
    environment: Mapping[str, str]
    node: str
    bucket: str
    alias: str
    run: str


def hand_over(where: Where, documents: Sequence[HandedOver], *, die_after: int) -> bool:
    """Whether it was killed: SIGKILL right after the n-th answer of Firehose or S3."""
    return _live(_hand_over, where, die_after, list(documents))


def redrive_and_settle(where: Where, *, die_after: int) -> bool:
    """Whether it was killed, right after the n-th answer of S3 or the node."""
    return _live(_redrive_and_settle, where, die_after)


def _live(work: Callable[..., None], where: Where, die_after: int, *arguments: Any) -> bool:
    process = _processes.Process(target=work, args=(where, die_after, *arguments))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode == -signal.SIGKILL


def _hand_over(where: Where, die_after: int, documents: Sequence[HandedOver]) -> None:
    _doom(die_after)
    lane = FirehoseLane(_client(where, "firehose"), where.alias)
    lanes = HandOverLanes(_client(where, "s3"), where.bucket, index=where.alias, run=where.run, input="0a1b", firehose=lane)
    lanes.hand_over(0, documents)


def _redrive_and_settle(where: Where, die_after: int) -> None:
    _doom(die_after)
    client, s3 = OpenSearch(where.node, max_retries=0), _client(where, "s3")
    with BulkIndexer(client, where.alias, SCHEME, patience_seconds=0) as writer:
        Redrive(writer, s3, where.bucket, index=where.alias, scheme=SCHEME).run(Choice())
    Settler(client, s3, where.bucket, index=where.alias, scheme=SCHEME).settle()


def _client(where: Where, service: str) -> Any:
    variables = where.environment
    return _SESSION.client(
        service,
        region_name=variables["AWS_REGION"],
        endpoint_url=variables.get(f"AWS_ENDPOINT_URL_{service.upper()}", variables["AWS_ENDPOINT_URL"]),
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def _doom(die_after: int) -> None:
    answers = 0

    def then_die(send: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal answers
            answer = send(*arguments, **options)
            answers += 1
            if answers == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    URLLib3Session.send = then_die(URLLib3Session.send)  # type: ignore[method-assign]
    Urllib3HttpConnection.perform_request = then_die(Urllib3HttpConnection.perform_request)  # type: ignore[method-assign]

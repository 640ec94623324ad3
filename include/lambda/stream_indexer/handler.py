"""The Lambda function: records of a DynamoDB stream come in, and the index follows; no bad record blocks its shard.

Handler: ``handler.handler``, behind an event source mapping with FunctionResponseTypes ReportBatchItemFailures, without which what is
answered as failed is lost. What becomes of a record is in ``searchops.core.streams`` and docs/stream_indexer.md. Settings are environment
variables:

===========================  =============================================================================================
SEARCHOPS_ENDPOINT           the domain's URL: ``https://…``; plain http only to this machine itself
SEARCHOPS_INDEX              the alias that applications use
SEARCHOPS_ID                 the attributes that ids are made of, as the index's scheme has them: ``pk`` or ``pk|sk``
SEARCHOPS_VERSION_SCHEME     as the inventory has it: ``attribute``, ``sequence``, ``once`` or ``none``
SEARCHOPS_VERSION_ATTRIBUTE  for ``attribute``: which one
SEARCHOPS_DELETES            as the inventory has it: ``tombstone``, ``immediate`` or ``never``
SEARCHOPS_BUCKET             bucket of rejected records, and of manifests and spool where the scheme lets documents be handed over
SEARCHOPS_STREAM             the index's Firehose stream; without one what is handed over goes to the spool
SEARCHOPS_MARKER             the attribute in which replays leave their marker; default ``searchops_replay``
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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import boto3

from searchops.core.bulk.function import FunctionSettings, Reached, Variables, common_settings
from searchops.core.bulk.ids import IdScheme
from searchops.core.bulk.indexer import BulkIndexer
from searchops.core.bulk.request_path import why
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.errors import TransientError
from searchops.core.replay.records import MARKER
from searchops.core.streams.consumer import Outcome, consume
from searchops.core.streams.dead_letters import DeadLetterObjects, run_of
from searchops.core.streams.records import StreamRecord, read_event
from searchops.core.streams.writes import Rule, takes

log = logging.getLogger()
log.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Settings(FunctionSettings):
    """:param id: attributes, in order"""

    id: tuple[str, ...]
    marker: str

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> Self:
        """:raises DataError: names all that are wrong"""
        variables = Variables(values)
        id = variables.text("SEARCHOPS_ID")
        settings = cls(
            **common_settings(variables, id), id=tuple(id.split("|")), marker=variables.text("SEARCHOPS_MARKER", MARKER)
        )
        without = (IdScheme.POSITION.value, IdScheme.CONTENT.value)
        variables.expect(
            all(settings.id) and id not in without,
            f"SEARCHOPS_ID: expected attributes, such as pk or pk|sk, found {id!r}: of other ids a record of a stream knows nothing",
        )
        variables.expect(
            bool(settings.bucket), "SEARCHOPS_BUCKET: expected a bucket, for records that can not be indexed, found none"
        )
        variables.expect(
            not settings.stream or settings.by_firehose,
            f"SEARCHOPS_STREAM: nothing is handed over through it with version scheme {settings.scheme.version.value} and deletes "
            f"{settings.scheme.deletes.value}; leave it out",
        )
        variables.check()
        return settings

    @property
    def by_firehose(self) -> bool:
        return self.scheme.hands_over() and self.scheme.version is not VersionScheme.SEQUENCE

    @property
    def kept_seconds(self) -> float:
        """What is kept back of the function's time: for a hand-over, and for records that are set aside."""
        return self.aws_call_seconds + (self.hand_over_seconds if self.scheme.hands_over() else 0.5)


class Indexer:
    """What an execution environment keeps from one invocation to the next."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reached = Reached(settings, boto3.session.Session(region_name=settings.region), settings.kept_seconds)
        self._dead_letters = DeadLetterObjects(self._reached.s3, settings.bucket, settings.index)

    def index(self, records: Sequence[StreamRecord], request_id: str, remaining_seconds: Callable[[], float]) -> Outcome:
        """
        :param remaining_seconds: until the function is stopped
        :raises DataError: a person has to mend something: settings, scheme, permissions, the stream
        """
        settings = self._settings
        try:
            node, target = self._reached.connect(remaining_seconds)
        except TransientError as error:
            return Outcome.nothing(records, why(error))
        lanes = self._reached.lanes(run_of(time.time()), request_id)
        indexer = BulkIndexer(
            node,
            settings.index,
            settings.scheme,
            target=target,
            patience_seconds=0,
            hand_over=lanes if settings.scheme.hands_over() else None,
            hand_over_unknown=False,
            timeout_seconds=lambda: self._reached.timeout(remaining_seconds),
        )
        left_out = () if takes(target.mapping, settings.marker) else (settings.marker,)
        return consume(records, Rule(settings.scheme, settings.id, left_out), indexer, self._dead_letters)

    def told(self, outcome: Outcome) -> None:
        """Log what became of a batch. Nothing of a record's content: reasons quote values."""
        counts = ", ".join(f"{count} {end}" for end, count in outcome.counts.items())
        if first := outcome.first_open:
            log.warning("%s; again from %s on: %s", counts, first.where, outcome.why)
        else:
            log.info("%s", counts)
        if outcome.letters:
            kinds = Counter(letter.kind for letter in outcome.letters)
            key = self._dead_letters.key(outcome.letters)
            log.warning("rejected: %s: s3://%s/%s", dict(kinds), self._settings.bucket, key)


@functools.cache
def _indexer() -> Indexer:
    """Made at the first invocation and kept, as its connections are."""
    return Indexer(Settings.from_environment(os.environ))


def handler(event: Any, context: Any) -> dict[str, Any]:
    """
    :raises DataError: no record can be indexed: settings, scheme, permissions or the stream's view are wrong, or it is no stream that calls.
        The mapping tries the batch again, and the alarm on the function's errors tells a person
    """
    indexer = _indexer()
    records = read_event(event)
    if not records:
        return Outcome.nothing(records).answer()
    outcome = indexer.index(records, context.aws_request_id, lambda: context.get_remaining_time_in_millis() / 1000)
    indexer.told(outcome)
    return outcome.answer()

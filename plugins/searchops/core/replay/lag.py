"""How far the consumers of a table's stream are behind, and what a replay does about it.

A stream keeps a record for 24 hours. A replay that makes records faster than a consumer reads them therefore loses some in the end, its
own and the application's alike, so the consumer's lag decides together with the budget (`pace`):

=====================================  ==================================================================================
lag                                    what follows
=====================================  ==================================================================================
up to the target                       the whole pace
between target and limit               less, in proportion to what is left to the limit
from the limit                         nothing is touched until it falls again, for ten minutes; then `ConsumerLate`
from 20 hours                          `ConsumerBehind`: somebody has to look after the consumer
=====================================  ==================================================================================

What is not known is not taken for zero, nor for danger at once:

- *No data* is what CloudWatch says of a consumer that has nothing to do. It is no error, unless records have been made for 30 minutes
  and still nobody says anything: then no one reads them, or the figure is looked for in the wrong place (`ConsumerSilent`).
- *A source that fails* is told in the log. The last advice holds for five minutes, in which no consumer gets into danger (before the
  first one nothing is touched), then the replay stops rather than running blind (`LagUnknown`); it is tried again from its checkpoint.
  Missing permissions stop it at once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Protocol

from searchops.core.errors import DataError, SearchOpsError, TransientError, classify_client_error

STREAM_SECONDS = 24 * 3600.0
STOP_SECONDS = 20 * 3600.0
"""Four hours are left for a person to mend the consumer, and for it to catch up."""
LONGEST_PAUSE_SECONDS = 600.0
"""A pause holds a worker. What a replay has made too much is mostly read within this; for more the task waits without one, until it is
tried again."""
BLIND_SECONDS = 300.0
SILENT_SECONDS = 1800.0
"""Longer than a batching window (5 minutes), a first batch (15 minutes) and CloudWatch's own delay (a few minutes) together."""
PERIOD_SECONDS = 60
LOOK_BACK_SECONDS = 300.0
NEWEST = 2
"""Data points that count: the newest minute is seldom complete."""
LEAST_FACTOR = 0.1

log = logging.getLogger(__name__)


class ConsumerBehind(DataError):
    """A consumer is so late that records would soon be gone before it reads them."""


class ConsumerLate(TransientError):
    """A consumer has been over the limit for as long as a replay waits for it."""


class ConsumerSilent(DataError):
    """Records have been made for a long time, and nothing says that anybody reads them."""


class LagUnknown(TransientError):
    """The lag could not be asked for during the whole time that a replay may go on without knowing it."""


class Lag(Protocol):
    """One consumer's lag. Asked about every half minute, by one thread at a time."""

    def seconds(self) -> float | None:
        """Age of what the consumer reads now; None when there is no data, as of one that is idle.

        :raises DataError: it can not be known however often one asks
        :raises Exception: it could not be asked for this time
        """


class Step(IntEnum):
    """What a replay does next; of several consumers the one that asks for most counts."""

    RUN = 0
    SLOW = 1
    PAUSE = 2
    STOP = 3


@dataclass(frozen=True, slots=True)
class Advice:
    """``factor`` is what is left of the pace: 1 to run, between 0 and 1 to go slower, else 0."""

    step: Step
    factor: float
    reason: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """In seconds of lag.

    :raises DataError: they are not in this order
    """

    target_seconds: float
    limit_seconds: float
    stop_seconds: float = STOP_SECONDS

    def __post_init__(self) -> None:
        if not 0 < self.target_seconds < self.limit_seconds < self.stop_seconds < STREAM_SECONDS:
            raise DataError(
                "lag: expected 0 < target < limit < stop < 24 h, because the stream keeps records for 24 h; found target "
                f"{spoken(self.target_seconds)}, limit {spoken(self.limit_seconds)}, stop {spoken(self.stop_seconds)}: correct "
                "`replay.max_lag` of the table in include/searchops.yaml, which is the limit"
            )

    @classmethod
    def of(cls, max_lag: timedelta) -> Thresholds:
        """The limit is ``max_lag`` of the inventory; it gets slower from a third of it on."""
        seconds = max_lag.total_seconds()
        return cls(seconds / 3, seconds)


def advise(lag_seconds: float | None, thresholds: Thresholds, consumer: str = "the consumer") -> Advice:
    """Say what a lag means. None, no data, is what an idle consumer has."""
    if lag_seconds is None:
        return Advice(Step.RUN, 1.0, f"{consumer}: no data of its lag")
    behind = f"{consumer} is {spoken(lag_seconds)} behind"
    if lag_seconds >= thresholds.stop_seconds:
        return Advice(Step.STOP, 0.0, behind)
    if lag_seconds >= thresholds.limit_seconds:
        return Advice(Step.PAUSE, 0.0, f"{behind}, limit {spoken(thresholds.limit_seconds)}")
    if lag_seconds > thresholds.target_seconds:
        left = (thresholds.limit_seconds - lag_seconds) / (thresholds.limit_seconds - thresholds.target_seconds)
        return Advice(Step.SLOW, max(LEAST_FACTOR, left), f"{behind}, target {spoken(thresholds.target_seconds)}")
    return Advice(Step.RUN, 1.0, behind)


def spoken(seconds: float) -> str:
    """A duration for people: seconds up to 10 minutes, minutes up to 2 hours, then hours."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Supplied:
    """A lag that somebody else knows: a consumer without a metric, or one that measures itself.

    :param ask: gives seconds, or None for no data
    """

    def __init__(self, ask: Callable[[], float | None]) -> None:
        self._ask = ask

    def seconds(self) -> float | None:
        found = self._ask()
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found) or found < 0:
            raise DataError(f"the supplied lag: expected seconds, a number from 0, or None for no data; found {found!r}")
        return float(found)


class CloudWatchLag:
    """A metric in milliseconds, the worst of its newest minutes.

    Asks with ``cloudwatch:GetMetricData``. What is older than five minutes is no data: nothing has been read since.

    :param client: boto3's ``cloudwatch`` client
    """

    def __init__(
        self, client: Any, namespace: str, metric: str, dimensions: Mapping[str, str], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._clock = clock
        self._query = {
            "Id": "lag",
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": metric,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                },
                "Period": PERIOD_SECONDS,
                "Stat": "Maximum",
            },
        }

    def seconds(self) -> float | None:
        start, end = _whole_minutes(self._clock())
        try:
            answer = self._client.get_metric_data(
                MetricDataQueries=[self._query], StartTime=start, EndTime=end, ScanBy="TimestampDescending"
            )
        except Exception as error:
            raise classify_client_error(error) from error
        result = answer["MetricDataResults"][0]
        if result.get("StatusCode") == "Forbidden":
            raise DataError("GetMetricData: CloudWatch does not show the metric to this role: allow cloudwatch:GetMetricData")
        if result.get("StatusCode") == "InternalError":
            raise TransientError("GetMetricData: CloudWatch could not read the metric")
        newest = result["Values"][:NEWEST]
        return max(newest) / 1000 if newest else None


def _whole_minutes(now: float) -> tuple[datetime, datetime]:
    """The minutes to ask for, the one that has begun included: CloudWatch aggregates by whole ones."""
    start = math.floor((now - LOOK_BACK_SECONDS) / PERIOD_SECONDS) * PERIOD_SECONDS
    end = math.ceil((now + 1) / PERIOD_SECONDS) * PERIOD_SECONDS
    return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)


def iterator_age(client: Any, function: str, *, clock: Callable[[], float] = time.time) -> CloudWatchLag:
    """Lambda's IteratorAge of a function: how old the last record of a batch was when the function got it.

    :param function: name or ARN, with or without a version or alias; the metric is kept by name
    """
    name = function.split(":")[6] if function.startswith("arn:") else function.partition(":")[0]
    return CloudWatchLag(client, "AWS/Lambda", "IteratorAge", {"FunctionName": name}, clock=clock)


def end_to_end_latency(client: Any, pipeline: str, sub_pipeline: str, *, clock: Callable[[], float] = time.time) -> CloudWatchLag:
    """EndToEndLatency of an OpenSearch Ingestion pipeline: from the change of an item to the sink; there is none without changes.

    :param sub_pipeline: the key of the pipeline within its body, which is a part of the metric's name
    """
    return CloudWatchLag(
        client, "AWS/OSIS", f"{sub_pipeline}.opensearch.EndToEndLatency.max", {"PipelineName": pipeline}, clock=clock
    )


@dataclass(slots=True)
class _Known:
    """What was last heard of a consumer. ``silent_seconds``: how long records have been made since it last had data."""

    at: float
    advice: Advice
    lag: float | None = 0.0
    silent_seconds: float = 0.0


class Watch:
    """The consumers of one table, asked together. Not safe for threads.

    :param sources: by the consumer's name
    :param clock: monotonic seconds
    """

    def __init__(
        self, sources: Mapping[str, Lag], thresholds: Thresholds, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources = dict(sources)
        self._thresholds = thresholds
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._looked_at: float | None = None
        self._paused_at: float | None = None

    def look(self, *, writing: bool) -> Advice:
        """Ask all of them, and give the advice of the one that is worst off.

        :param writing: records have been made since the last look
        :raises ConsumerBehind: one of them is so late that records are in danger
        :raises ConsumerLate: the pause has lasted ten minutes
        :raises ConsumerSilent: one of them has said nothing for half an hour of records
        :raises LagUnknown: one of them could not be asked for five minutes
        :raises DataError: one of them can not be asked
        """
        now = self._clock()
        since = now - self._looked_at if self._looked_at is not None and writing else 0.0
        self._looked_at = now
        found = [self._advice(name, source, now, since) for name, source in self._sources.items()]
        worst = max(
            found, key=lambda advice: (advice.step, -advice.factor), default=Advice(Step.RUN, 1.0, "no consumer is watched")
        )
        return self._bounded(worst, now)

    def _bounded(self, advice: Advice, now: float) -> Advice:
        """Say of a pause how long it lasts, and end it when that is too long."""
        if advice.step is not Step.PAUSE:
            self._paused_at = None
            return advice
        if self._paused_at is None:
            self._paused_at = now
            log.info("Nothing is touched, for %s at most: %s", spoken(LONGEST_PAUSE_SECONDS), advice.reason)
        waited = now - self._paused_at
        if waited >= LONGEST_PAUSE_SECONDS:
            raise _late(advice, waited)
        return replace(advice, reason=f"{advice.reason}; waited {spoken(waited)} of at most {spoken(LONGEST_PAUSE_SECONDS)}")

    def _advice(self, name: str, source: Lag, now: float, since: float) -> Advice:
        before = self._known.setdefault(name, _Known(now, Advice(Step.PAUSE, 0.0, f"the lag of {name} is not known yet")))
        try:
            lag = source.seconds()
        except Exception as error:
            self._failed(name, before, now, error)
            return before.advice
        silent = before.silent_seconds + since if lag is None else 0.0
        advice = advise(lag, self._thresholds, name)
        self._known[name] = _Known(now, advice, lag, silent)
        if advice.step is not before.advice.step or (lag is None) is not (before.lag is None):
            log.info("%s: %s", advice.step.name.lower(), advice.reason)
        if advice.step is Step.STOP:
            raise _behind(advice, self._thresholds)
        if silent >= SILENT_SECONDS:
            raise _silent(name, silent)
        return advice

    def _failed(self, name: str, before: _Known, now: float, error: Exception) -> None:
        """Go on with what was last advised, or stop."""
        found = classify_client_error(error)
        blind = now - before.at
        if isinstance(found, DataError):
            raise DataError(
                f"the lag of {name} can not be read, and a replay does not run blind: {found}", reason=found.reason
            ) from error
        if blind >= BLIND_SECONDS:
            raise _unknown(name, blind, found) from error
        log.warning(
            "The lag of %s is not known since %s, the pace stays as it is: %s %s", name, spoken(blind), found, found.reason
        )


def _behind(advice: Advice, thresholds: Thresholds) -> ConsumerBehind:
    return ConsumerBehind(
        f"{advice.reason}, and the stream keeps records for 24 h: the replay stops at {spoken(thresholds.stop_seconds)} before any is "
        "lost. Mend the consumer, wait until it has caught up and clear this task: the replay goes on where it stopped"
    )


def _late(advice: Advice, waited: float) -> ConsumerLate:
    return ConsumerLate(
        f"{advice.reason}, in spite of a pause of {spoken(waited)}: the replay lets its worker go, and goes on from its checkpoint when it "
        "is tried again. If the lag does not fall, look after the consumer"
    )


def _silent(name: str, seconds: float) -> ConsumerSilent:
    return ConsumerSilent(
        f"{name}: expected a figure of its lag within {spoken(SILENT_SECONDS)} of touching, found none in {spoken(seconds)}: nobody reads "
        "the stream for it, or it is called otherwise. Check that its event source mapping or pipeline is enabled and takes MODIFY "
        "records, and the consumer's name in include/searchops.yaml; then clear this task: the replay goes on where it stopped"
    )


def _unknown(name: str, seconds: float, error: SearchOpsError) -> LagUnknown:
    return LagUnknown(
        f"the lag of {name} could not be asked for since {spoken(seconds)}: the replay stops rather than running blind and goes on from "
        f"its checkpoint when it is tried again: {error}",
        reason=error.reason,
    )

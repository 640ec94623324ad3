"""What a consumer's lag means for a replay, and what it means that nobody knows it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.errors import DataError, TransientError
from searchops.core.replay.lag import (
    BLIND_SECONDS,
    LONGEST_PAUSE_SECONDS,
    SILENT_SECONDS,
    STOP_SECONDS,
    Advice,
    CloudWatchLag,
    ConsumerBehind,
    ConsumerLate,
    ConsumerSilent,
    LagUnknown,
    Step,
    Supplied,
    Thresholds,
    Watch,
    advise,
    end_to_end_latency,
    iterator_age,
    spoken,
)
from tests.unit.core.replay.virtual_time import SimpleTime

QUARTER = Thresholds.of(timedelta(minutes=15))


@pytest.mark.parametrize(
    ("lag", "step", "factor"),
    [
        (None, Step.RUN, 1.0),
        (0.0, Step.RUN, 1.0),
        (300.0, Step.RUN, 1.0),
        (600.0, Step.SLOW, 0.5),
        (899.0, Step.SLOW, 0.1),
        (900.0, Step.PAUSE, 0.0),
        (STOP_SECONDS - 1, Step.PAUSE, 0.0),
        (STOP_SECONDS, Step.STOP, 0.0),
        (math.inf, Step.STOP, 0.0),
    ],
)
def test_a_lag_slows_above_the_target_pauses_at_the_limit_and_stops_near_the_end_of_the_stream(
    lag: float | None, step: Step, factor: float
) -> None:
    advice = advise(lag, QUARTER)

    assert (advice.step, advice.factor) == (step, pytest.approx(factor))


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_longer_lag_never_lets_it_go_faster(one: float, other: float) -> None:
    less, more = (advise(lag, QUARTER) for lag in sorted((one, other)))

    assert less.step <= more.step
    assert 1 >= less.factor >= more.factor >= 0


def test_the_reason_names_the_consumer_its_lag_and_what_it_is_held_against() -> None:
    assert advise(660.0, QUARTER, "stream-indexer").reason == "stream-indexer is 11 min behind, target 300 s"


@pytest.mark.parametrize(
    ("seconds", "words"), [(59.6, "60 s"), (599, "599 s"), (900, "15 min"), (7200, "2.0 h"), (72_000, "20.0 h")]
)
def test_a_duration_is_spoken_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


@pytest.mark.parametrize("max_lag", [timedelta(0), timedelta(seconds=-1), timedelta(hours=20), timedelta(days=3)])
def test_a_limit_that_lets_records_be_lost_is_refused(max_lag: timedelta) -> None:
    with pytest.raises(DataError, match=r"expected 0 < target < limit < stop < 24 h.*found target .*max_lag"):
        Thresholds.of(max_lag)


# Several consumers


@dataclass
class World:
    """Consumers whose lag a test sets, on a clock that it moves. An error is raised in place of a lag."""

    lags: dict[str, Any]

    def __post_init__(self) -> None:
        self.time = SimpleTime()
        self.watch = Watch({name: Supplied(self._ask(name)) for name in self.lags}, QUARTER, clock=self.time.clock)

    def _ask(self, name: str) -> Callable[[], float | None]:
        def ask() -> float | None:
            found = self.lags[name]
            if isinstance(found, Exception):
                raise found
            return found  # type: ignore[no-any-return]

        return ask

    def look(self, after_seconds: float = 30.0, *, writing: bool = True) -> Advice:
        self.time.now += after_seconds
        return self.watch.look(writing=writing)


def test_the_consumer_that_is_worst_off_decides() -> None:
    world = World({"indexer": 650.0, "mailer": 10.0, "etl": 600.0})
    assert world.look().reason.startswith("indexer")

    world.lags["mailer"] = 1000.0
    assert world.look().step is Step.PAUSE


def test_without_consumers_nothing_holds_it_up() -> None:
    assert World({}).look().step is Step.RUN


def test_a_consumer_near_the_end_of_the_stream_is_told_with_what_to_do() -> None:
    world = World({"indexer": 10.0})
    world.look()
    world.lags["indexer"] = 20.5 * 3600

    with pytest.raises(
        ConsumerBehind, match=r"indexer is 20.5 h behind.*24 h.*stops at 20.0 h.*Mend the consumer.*clear this task"
    ):
        world.look()


# How long a pause lasts


def test_a_pause_says_what_it_waits_for_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    world = World({"indexer": 960.0})
    with caplog.at_level(logging.INFO):
        world.look(writing=False)
        advice = world.look(after_seconds=90.0, writing=False)

    assert advice.reason == "indexer is 16 min behind, limit 15 min; waited 90 s of at most 10 min"
    assert "Nothing is touched, for 10 min at most: indexer is 16 min behind, limit 15 min" in caplog.messages


def test_a_pause_that_lasts_lets_the_worker_go_and_the_next_try_waits_anew() -> None:
    world = World({"indexer": 960.0})
    world.look(writing=False)
    assert world.look(LONGEST_PAUSE_SECONDS - 1, writing=False).step is Step.PAUSE

    with pytest.raises(ConsumerLate, match=r"indexer is 16 min behind, limit 15 min, in spite of a pause of 10 min.*tried again"):
        world.look(1, writing=False)
    assert issubclass(ConsumerLate, TransientError)
    assert World({"indexer": 960.0}).look(LONGEST_PAUSE_SECONDS).step is Step.PAUSE


def test_a_pause_goes_on_when_another_consumer_is_the_one_that_is_late() -> None:
    world = World({"indexer": 960.0, "mailer": 1.0})
    world.look(writing=False)
    world.lags = {"indexer": 1.0, "mailer": 960.0}

    with pytest.raises(ConsumerLate, match="mailer"):
        world.look(LONGEST_PAUSE_SECONDS, writing=False)


def test_only_the_pause_that_is_under_way_counts() -> None:
    world = World({"indexer": 960.0})
    for _ in range(3):
        world.lags["indexer"] = 960.0
        world.look()
        world.look(LONGEST_PAUSE_SECONDS - 1)
        world.lags["indexer"] = 840.0
        assert world.look(1).step is Step.SLOW


def test_a_consumer_near_the_end_of_the_stream_is_no_matter_of_patience() -> None:
    world = World({"indexer": 960.0})
    world.look(writing=False)
    world.lags["indexer"] = STOP_SECONDS

    with pytest.raises(ConsumerBehind):
        world.look(LONGEST_PAUSE_SECONDS, writing=False)


# What is not known


def test_nothing_is_touched_before_a_lag_was_known_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World({"indexer": ConnectionError("away"), "mailer": 1.0})
    advice = world.look()
    assert (advice.step, advice.factor) == (Step.PAUSE, 0.0)
    assert advice.reason.startswith("the lag of indexer is not known yet; waited 0 s")

    world.lags["indexer"] = None
    assert world.look().step is Step.RUN


def test_no_data_while_nothing_is_written_is_no_error_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    world = World({"indexer": None})
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            assert world.look(writing=False).step is Step.RUN

    assert [record.getMessage() for record in caplog.records] == ["run: indexer: no data of its lag"]


def test_a_consumer_that_says_nothing_of_half_an_hour_of_records_stops_the_replay() -> None:
    world = World({"indexer": None, "mailer": 5.0})
    for _ in range(int(SILENT_SECONDS / 30)):
        world.look()

    with pytest.raises(
        ConsumerSilent, match=r"indexer: expected a figure of its lag within 30 min of touching, found none in 30 min"
    ):
        world.look()


def test_a_word_of_the_consumer_and_pauses_in_the_touching_keep_it_from_counting_as_silent() -> None:
    world = World({"indexer": None})
    for number in range(500):
        world.lags["indexer"] = 1.0 if number % 50 == 49 else None
        world.look()
    world.lags["indexer"] = None
    for _ in range(500):
        world.look(writing=False)
        world.look(after_seconds=1.0)


def test_a_source_that_fails_is_told_and_the_last_advice_holds_for_five_minutes(caplog: pytest.LogCaptureFixture) -> None:
    world = World({"indexer": 600.0})
    world.look()
    world.lags["indexer"] = TimeoutError("no route")

    with caplog.at_level(logging.WARNING):
        for _ in range(int(BLIND_SECONDS / 30) - 1):
            assert world.look().factor == pytest.approx(0.5)
    assert "The lag of indexer is not known since 270 s, the pace stays as it is" in caplog.records[-1].getMessage()

    with pytest.raises(LagUnknown, match=r"since 300 s: the replay stops rather than running blind") as raised:
        world.look()
    assert isinstance(raised.value, TransientError)


def test_a_source_that_answers_again_is_given_the_whole_time_anew() -> None:
    world = World({"indexer": 1.0})
    for _ in range(5):
        world.lags["indexer"] = 1.0
        world.look()
        world.lags["indexer"] = ConnectionError()
        for _ in range(9):
            world.look()


def test_a_source_that_never_answered_is_no_longer_waited_for_than_one_that_did() -> None:
    world = World({"indexer": ConnectionError("away")})
    world.look()

    with pytest.raises(LagUnknown):
        world.look(after_seconds=BLIND_SECONDS)


def test_missing_permissions_stop_it_at_once() -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetMetricData")
    world = World({"indexer": denied})

    with pytest.raises(
        DataError, match=r"the lag of indexer can not be read, and a replay does not run blind: GetMetricData: not allowed"
    ):
        world.look()


@pytest.mark.parametrize("found", [-1.0, math.nan, math.inf, "12", True])
def test_a_supplied_lag_that_is_no_duration_is_refused(found: Any) -> None:
    with pytest.raises(DataError, match="expected seconds, a number from 0, or None"):
        Supplied(lambda: found).seconds()


# CloudWatch


class Asked:
    """Notes what is asked for, and gives values."""

    def __init__(self, values: list[float], status: str = "Complete") -> None:
        self.values, self.status = values, status
        self.request: dict[str, Any] = {}

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        self.request = request
        return {"MetricDataResults": [{"Id": "lag", "Values": self.values, "StatusCode": self.status}]}

    @property
    def metric(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request["MetricDataQueries"][0]["MetricStat"]["Metric"]
        return found


@pytest.mark.parametrize(
    ("values", "lag"), [([], None), ([1500.0], 1.5), ([1000.0, 3000.0], 3.0), ([1000.0, 500.0, 99_000.0], 1.0)]
)
def test_the_worst_of_the_two_newest_minutes_counts(values: list[float], lag: float | None) -> None:
    assert iterator_age(Asked(values), "stream-indexer").seconds() == lag


@pytest.mark.parametrize(
    "function",
    [
        "indexer",
        "indexer:live",
        "arn:aws:lambda:eu-west-1:123456789012:function:indexer",
        "arn:aws:lambda:eu-west-1:1:function:indexer:3",
    ],
)
def test_a_function_is_looked_for_by_its_name_however_it_is_called(function: str) -> None:
    asked = Asked([])
    iterator_age(asked, function).seconds()

    assert asked.metric["Dimensions"] == [{"Name": "FunctionName", "Value": "indexer"}]


def test_the_metric_of_a_pipeline_bears_the_name_of_its_sub_pipeline() -> None:
    asked = Asked([])
    end_to_end_latency(asked, "products", "other-pipeline").seconds()

    assert asked.metric["MetricName"] == "other-pipeline.opensearch.EndToEndLatency.max"
    assert asked.metric["Dimensions"] == [{"Name": "PipelineName", "Value": "products"}]


@given(st.floats(1.6e9, 2e9))
def test_whole_minutes_are_asked_for_the_one_that_has_begun_included(now: float) -> None:
    asked = Asked([])
    CloudWatchLag(asked, "N", "m", {}, clock=lambda: now).seconds()
    start, end = (asked.request[name].timestamp() for name in ("StartTime", "EndTime"))

    assert start % 60 == end % 60 == 0
    assert now - 360 <= start <= now - 300
    assert now < end <= now + 61


@pytest.mark.parametrize(("status", "error"), [("Forbidden", DataError), ("InternalError", TransientError)])
def test_a_metric_that_cloudwatch_did_not_read_is_not_taken_for_no_data(status: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        iterator_age(Asked([], status), "indexer").seconds()

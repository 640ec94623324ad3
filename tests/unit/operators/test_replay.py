"""The tasks of a replay, as far as they go without a table; tests/integration/replay has the rest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from searchops.core.errors import DataError
from searchops.core.replay import identity
from searchops.core.replay.identity import Replay
from searchops.core.replay.lag import Supplied, Thresholds, Watch
from searchops.core.replay.model import Counts
from searchops.core.replay.pace import Pacer, Stopped
from searchops.core.replay.run import Standing
from searchops.core.replay.selection import ByDate
from searchops.hooks.replay import settings_of
from searchops.inventory import Table, inventory
from searchops.operators.replay import (
    TOUCH_RETRIES,
    DynamoDBReplayPlanOperator,
    DynamoDBReplayReconcileOperator,
    DynamoDBStreamReplayOperator,
    _Watched,
)
from searchops.retries import RETRY_POLICY
from tests.unit.task import Running


class State(dict[str, Any]):
    """What Airflow keeps of a task."""

    set = dict[str, Any].__setitem__


@pytest.fixture
def table() -> dict[str, Any]:
    table = inventory().tables["products"]
    assert isinstance(table, Table)
    return table.model_dump(mode="json")


def test_what_the_inventory_says_of_a_table_reaches_the_core(table: dict[str, Any]) -> None:
    settings = settings_of(Table.model_validate(table))

    assert (settings.table, settings.index, settings.version_attribute) == ("products", "products", "revision")
    assert settings.dates is not None
    assert (settings.dates.index, settings.dates.timezone) == ("created_ymd-index", "Asia/Tokyo")
    assert [consumer.name for consumer in settings.consumers] == ["stream-indexer"]
    assert settings_of(Table.model_validate(table), 7.5).wcu_per_second == 7.5


@pytest.mark.parametrize("given", [None, "", "None", 200, "200", "200.0"])
def test_the_pace_is_the_inventorys_or_that_of_the_form(table: dict[str, Any], given: Any) -> None:
    task = DynamoDBReplayPlanOperator(task_id="plan", table=table, choice={}, wcu_per_second=given)

    assert task.clients.settings.wcu_per_second == 200


@pytest.mark.parametrize("given", ["0", 0, -1, "fast", "nan", "inf"])
def test_a_pace_that_is_none_is_refused(table: dict[str, Any], given: Any) -> None:
    task = DynamoDBReplayPlanOperator(task_id="plan", table=table, choice={}, wcu_per_second=given)

    with pytest.raises(DataError):
        _ = task.clients


def test_touching_is_tried_more_often_because_it_goes_on_where_it_was(table: dict[str, Any]) -> None:
    touch = DynamoDBStreamReplayOperator(task_id="touch", table=table, part={})
    reconcile = DynamoDBReplayReconcileOperator(task_id="reconcile", table=table, replayed={})

    assert (touch.retries, reconcile.retries) == (TOUCH_RETRIES, 3)
    assert touch.retry_policy == reconcile.retry_policy == RETRY_POLICY


def test_batches_are_refused_a_budget_that_could_not_hold_them(table: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leave one of them out"):
        DynamoDBStreamReplayOperator(task_id="touch", table=table, part={}, batches=True, wcu_per_second=50)


def test_a_pause_is_in_the_state_of_its_task_before_the_first_page_is_done(
    table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchops.operators.replay.PROGRESS_SECONDS", 0.0)
    watch = Watch({"indexer": Supplied(lambda: 960.0)}, Thresholds.of(timedelta(minutes=15)))
    pace = Pacer(100, lag=watch, sleep=lambda seconds: pace.stop())
    with pytest.raises(Stopped):
        pace.before()
    part = {"name": "the day 2026-11-03", "expected": 400, "exact": True}
    task = DynamoDBStreamReplayOperator(task_id="touch", table=table, part=part)
    day = ByDate("by-day", "day", date(2026, 11, 3), ("20261103",))
    resumed = Replay("products", "0", f"{7:020}", day, identity.State.OPEN, datetime(2026, 11, 4, tzinfo=UTC), resumed=True)

    _Watched(task, day, pace, state := State())(
        Standing(replay=resumed, counts=Counts(selected=100, touched=100), here=Counts(), parts_done=0, parts=1)
    )

    assert state["progress"]["line"] == (
        "100 items of 400 (25.0 %), 0/s, 0 units/s; paused: indexer is 16 min behind, limit 15 min; waited 0 s of at most 10 min"
    )


def test_a_task_that_is_killed_before_it_begins_ends(table: dict[str, Any]) -> None:
    DynamoDBStreamReplayOperator(task_id="touch", table=table, part={}).on_kill()


def test_without_an_index_there_is_nothing_to_compare_with(table: dict[str, Any]) -> None:
    running = Running(DynamoDBReplayReconcileOperator(task_id="r", table=table | {"written_index": None}, replayed={}))

    with pytest.raises(AirflowSkipException, match="names no index"):
        running.execute()

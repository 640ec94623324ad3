"""The tasks of a replay, as far as they go without a table; tests/integration/replay has the rest."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from searchops.core.errors import DataError
from searchops.hooks.replay import settings_of
from searchops.inventory import Table, inventory
from searchops.operators.replay import (
    TOUCH_RETRIES,
    DynamoDBReplayPlanOperator,
    DynamoDBReplayReconcileOperator,
    DynamoDBStreamReplayOperator,
)
from searchops.retries import RETRY_POLICY
from tests.unit.task import Running


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


def test_a_task_that_is_killed_before_it_begins_ends(table: dict[str, Any]) -> None:
    DynamoDBStreamReplayOperator(task_id="touch", table=table, part={}).on_kill()


def test_without_an_index_there_is_nothing_to_compare_with(table: dict[str, Any]) -> None:
    running = Running(DynamoDBReplayReconcileOperator(task_id="r", table=table | {"written_index": None}, replayed={}))

    with pytest.raises(AirflowSkipException, match="names no index"):
        running.execute()

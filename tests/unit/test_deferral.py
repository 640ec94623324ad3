"""Waiting costs no worker."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from searchops.inventory import Domain, inventory
from searchops.operators.dictionary import DictionaryOperator
from searchops.task_groups.dictionary import sync_dictionary


def test_every_task_waits_without_a_worker_in_an_airflow_that_nobody_configured() -> None:
    domain = inventory().domains["products-search"]
    assert isinstance(domain, Domain)
    with DAG(dag_id="deferral", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        sync_dictionary(domain, domain.packages[0])

    assert all(task.deferrable for task in dag.tasks if isinstance(task, DictionaryOperator))
    assert len(dag.tasks) > 1

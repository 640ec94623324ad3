"""
### Make what the other DAGs need

Run it once for an account and Region, before the first Lambda function claims its work; running it again changes nothing. It makes the
DynamoDB table of claims (`defaults.claims_table` of `include/searchops.yaml`): partition key `id`, on-demand capacity, TTL by
`expires_at`. `plan` shows what is missing, `apply` makes it, waits for it (on its worker, seconds as a rule) and looks again.
See docs/functions.md.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from searchops.dags import dag_for, defaults, told
from searchops.inventory import Defaults
from searchops.notifications.slack import FailureNotifier
from searchops.operators.setup import ClaimsTableCreateOperator, ClaimsTablePlanOperator


def from_entry(home: Defaults) -> dict[str, Any]:
    return {
        "on_failure_callback": FailureNotifier(**told(home)) if home.bucket else None,
        "params": {"dry_run": Param(False, type="boolean", description="Show what is missing; nothing is made.")},
    }


if (entry := defaults()) is not None:

    @dag_for(entry, dag_id="searchops_setup", from_entry=from_entry, doc_md=__doc__, max_active_runs=1, catchup=False)
    def searchops_setup(home: Defaults) -> None:
        given = home.model_dump(mode="json")
        plan = ClaimsTablePlanOperator(task_id="plan", defaults=given)
        plan >> ClaimsTableCreateOperator(task_id="apply", defaults=given, only_plan="{{ params.dry_run }}")

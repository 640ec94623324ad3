"""
### Make what the other DAGs need

Run it for an account and Region before the first Lambda function claims its work, and for each index before it is written; running it
again changes nothing.

- `plan`, `apply`: the DynamoDB table of claims (`defaults.claims_table` of `include/searchops.yaml`): partition key `id`, on-demand
  capacity, TTL by `expires_at`. See docs/functions.md.
- One group for each index of the inventory that has `id` and `version`: `scheme` compares the documents with the inventory and writes
  into the mapping how versions, ids and deletes are made; `landing_index` installs the pipeline that Firehose's documents take and
  proves it in a probe index; `alias_filter` hides tombstones from searches; `stream` makes the Firehose stream with its role. Only what
  the index needs is there. See docs/bulk_setup.md.

With `dry_run` each task says what is missing and makes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param, TaskGroup, chain

from searchops.dags import config_error, dag_for, defaults, entries, told
from searchops.inventory import BrokenEntry, Defaults, WrittenIndex
from searchops.notifications.slack import FailureNotifier
from searchops.operators.bulk_setup import (
    FirehoseHandOverStreamOperator,
    OpenSearchAliasFilterOperator,
    OpenSearchIndexSchemeOperator,
    OpenSearchLandingIndexOperator,
)
from searchops.operators.setup import ClaimsTableCreateOperator, ClaimsTablePlanOperator

indexes = entries("written_indexes")


def from_entry(home: Defaults) -> dict[str, Any]:
    names = list(indexes)
    offered = {
        "indexes": Param(
            names,
            type="array",
            items={"enum": names},
            examples=names,  # makes the form offer them
            description="The indexes to set up.",
        )
    }
    return {
        "on_failure_callback": FailureNotifier(**told(home)) if home.bucket else None,
        "params": {
            "dry_run": Param(False, type="boolean", description="Show what is missing; nothing is made."),
            **(offered if names else {}),
        },
    }


def handed_over(index: WrittenIndex) -> bool:
    return bool(index.hand_over and index.hand_over.firehose)


def set_up(index: WrittenIndex, given: Mapping[str, Any]) -> None:
    """Scheme first: what it refuses needs nothing else."""
    steps: list[Any] = [OpenSearchIndexSchemeOperator(task_id="scheme", **given)]
    if handed_over(index):
        siblings = [
            name
            for name, entry in indexes.items()
            if isinstance(entry, WrittenIndex) and handed_over(entry) and entry.domain == index.domain and name != index.name
        ]
        steps.append(OpenSearchLandingIndexOperator(task_id="landing_index", siblings=siblings, **given))
    if index.deletes == "tombstone":
        steps.append(OpenSearchAliasFilterOperator(task_id="alias_filter", **given))
    if handed_over(index):
        steps.append(FirehoseHandOverStreamOperator(task_id="stream", **given))
    if len(steps) > 1:
        chain(*steps)


if (entry := defaults()) is not None:

    @dag_for(entry, dag_id="searchops_setup", from_entry=from_entry, doc_md=__doc__, max_active_runs=1, catchup=False)
    def searchops_setup(home: Defaults) -> None:
        given = home.model_dump(mode="json")
        plan = ClaimsTablePlanOperator(task_id="plan", defaults=given)
        plan >> ClaimsTableCreateOperator(task_id="apply", defaults=given, only_plan="{{ params.dry_run }}")
        notice = {**told(home), "region": home.region} if home.bucket else None
        for name, index in indexes.items():
            selected = f"{{{{ {json.dumps(name)} in params.indexes }}}}"
            group = f"index_{name}"
            if isinstance(index, BrokenEntry):
                config_error(index, task_id=group, selected=selected)
                continue
            # A group id takes no dot, and no name of an index has capitals.
            with TaskGroup(group_id=group.replace(".", "_DOT_"), tooltip=f"The index {name}"):
                options = {"selected": selected, "only_plan": "{{ params.dry_run }}", "notice": notice}
                set_up(index, {"index": index.model_dump(mode="json"), **options})

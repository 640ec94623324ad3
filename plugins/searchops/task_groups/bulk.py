"""The tasks that load files into one index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk import BaseOperator, TaskGroup

from searchops.inventory import WrittenIndex
from searchops.operators.bulk import (
    LOAD_RETRIES,
    OpenSearchBulkLoadFinishOperator,
    OpenSearchBulkLoadOperator,
    OpenSearchBulkLoadPlanOperator,
    OpenSearchIndexRelaxOperator,
    OpenSearchIndexRestoreOperator,
)
from searchops.retries import RETRY_DELAY, RETRY_POLICY

DOC = """
Loads files into one index, so that every document has one known end: indexed, superseded, rejected or handed over.

| task | what it does |
|---|---|
| plan | finds the files, looks whether the index takes them (its scheme, the columns of Parquet files), opens the ledger |
| relax | the index refreshes less often, or has fewer replicas, for the time of the load |
| load | one task for some of the files; goes on from its checkpoint after a failure |
| finish | adds up what became of every document and closes the ledger; fails when more were rejected than is allowed |
| restore | puts back what relax has changed, also when the load fails |
"""


@dataclass(frozen=True, slots=True)
class LoadTasks:
    """What comes next follows all of ``done``. ``finish`` returns run, state and counts."""

    first: BaseOperator
    done: list[BaseOperator]
    finish: BaseOperator


def bulk_load(
    index: WrittenIndex,
    files: str | Sequence[str],
    *,
    group_id: str = "bulk_load",
    data_format: str = "",
    tasks: int | str = 4,
    refresh_interval: str = "30s",
    replicas: int | str | None = None,
    max_rejected: int | str | None = 0,
    allow_old: bool | str = False,
    dry_run: bool | str = False,
    **task_arguments: Any,
) -> LoadTasks:
    """A task group that loads files into an index; to be called inside a DAG. All arguments but ``group_id`` may be templates.

    :param files: ``s3://`` URIs of objects, or of prefixes that end with ``/``; or their JSON
    :param tasks: at most so many at once
    :param refresh_interval, replicas: of the index for the time of the load; empty leaves them
    :param allow_old: take files that are older than the index keeps tombstones: what was deleted since comes back
    :param task_arguments: for every task, e.g. ``pool``
    """
    with TaskGroup(group_id=group_id, tooltip=f"load files into {index.name}", doc_md=DOC) as group:
        common: dict[str, Any] = {"index": index.model_dump(mode="json"), "group_id": group.group_id, **task_arguments}
        plan = OpenSearchBulkLoadPlanOperator(
            task_id="plan",
            files=files,
            data_format=data_format,
            tasks=tasks,
            allow_old=allow_old,
            only_plan=dry_run,
            **common,
        )
        relax = OpenSearchIndexRelaxOperator(
            task_id="relax", refresh_interval=refresh_interval, replicas=replicas, only_plan=dry_run, **common
        )
        # A mapped task takes what `partial` is given, not what its constructor would add.
        retrying = {"retries": LOAD_RETRIES, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **common}
        load = OpenSearchBulkLoadOperator.partial(
            task_id="load",
            map_index_template="{{ task.inputs[0].uri }}{{ ' and others' if task.inputs | length > 1 else '' }}",
            **retrying,
        ).expand(inputs=plan.output)
        finish = OpenSearchBulkLoadFinishOperator(task_id="finish", loaded=load.output, max_rejected=max_rejected, **common)
        restore = OpenSearchIndexRestoreOperator(task_id="restore", **common)

        plan >> relax >> load >> [finish, restore]
        restore.as_teardown(setups=relax, on_failure_fail_dagrun=True)
    return LoadTasks(plan, [finish, restore], finish)

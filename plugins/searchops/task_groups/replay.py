"""The tasks that send items of a table through its stream again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk import BaseOperator, Param, task_group

from searchops.inventory import Table
from searchops.operators.replay import (
    DynamoDBReplayPlanOperator,
    DynamoDBReplayReconcileOperator,
    DynamoDBStreamReplayOperator,
)

DOC = """
Touches items of a table so that DynamoDB Streams sends them to their consumers again, and proves that they arrived.

| task | what it does |
|---|---|
| plan | looks whether table, stream, index and consumers are fit for a replay, and counts what it would touch; writes nothing |
| replay.touch | sets the marker of each chosen item, at the pace that table and consumers bear; goes on from its checkpoint after a failure |
| replay.reconcile | waits until the consumers have caught up, compares what was touched with the index, touches again what is missing |
"""

PARAMS = {
    "filter": Param(
        None,
        type=["null", "object"],
        properties={
            "expression": {"type": "string", "minLength": 1},
            "names": {"type": "object"},
            "values": {"type": "object"},
        },
        required=["expression"],
        additionalProperties=False,
        description='Only items for which a filter expression holds: {"expression": "#c = :c", "names": {"#c": "category"}, "values": '
        '{":c": {"S": "tools"}}}. Read units are used for the others, too.',
    ),
    "rewrite": Param(
        False,
        type="boolean",
        description="Have every document written again, also those that the index holds already. Only with version_owner: shared.",
    ),
    "abandon": Param(
        [],
        type="array",
        items={"type": "string", "pattern": "^[0-9]{20}$"},
        description="Replays that have not come to their end and are not to be gone on with: their ids, one a line, as the report of `plan` has "
        "them. The next replay of what they were about is a new one. With nothing chosen, that is all that is done.",
    ),
    "wcu_per_second": Param(
        None,
        type=["null", "number"],
        exclusiveMinimum=0,
        description="Write units a second at most, in place of the inventory's. Empty: those.",
    ),
}
"""What the forms of all replays have."""

ARGUMENTS = {
    "rewrite": "{{ params.rewrite }}",
    "abandon": "{{ params.abandon | tojson }}",
    "wcu_per_second": "{{ params.wcu_per_second or '' }}",
    "dry_run": "{{ params.dry_run }}",
}
"""How it reaches the tasks."""

MEND = (
    "Next: mend what the reason names, then clear the failed tasks: `touch` goes on from its checkpoint, `reconcile` looks at the same replay "
    "again. What the form had wrong wants a new run."
)


@dataclass(frozen=True, slots=True)
class ReplayTasks:
    """What comes next follows ``done``, the mapped group. Its task ``reconcile`` returns what became of each part."""

    first: BaseOperator
    done: Any


def stream_replay(
    table: Table,
    choice: Mapping[str, Any],
    *,
    rewrite: bool | str = False,
    abandon: str | Sequence[str] = (),
    wcu_per_second: float | str | None = None,
    dry_run: bool | str = False,
    pools: bool = True,
    **task_arguments: Any,
) -> ReplayTasks:
    """The tasks of a replay; to be called inside a DAG. All arguments but ``table`` and ``pools`` may be templates.

    :param choice: the items, as `DynamoDBReplayPlanOperator` takes them
    :param rewrite: have documents written again that the index holds already
    :param abandon: ids of replays that are not to be gone on with
    :param wcu_per_second: write units a second at most; empty: those of the inventory
    :param pools: use the pool of ``include/pools.json``, in which touching tasks of the table wait for each other
    :param task_arguments: for every task
    """
    common: dict[str, Any] = {
        "table": table.model_dump(mode="json"),
        "wcu_per_second": wcu_per_second,
        **task_arguments,
    }
    pool: dict[str, Any] = {"pool": table.pool} if pools else {}
    plan = DynamoDBReplayPlanOperator(
        task_id="plan", choice=choice, rewrite=rewrite, abandon=abandon, only_plan=dry_run, doc_md=DOC, **common
    )

    @task_group(group_id="replay", tooltip=f"touch items of {table.table}")
    def replay(part: Any) -> None:
        touch = DynamoDBStreamReplayOperator(
            task_id="touch",
            part=part,
            map_index_template="{{ task.part.name }}",
            **pool,
            **common,
        )
        DynamoDBReplayReconcileOperator(
            task_id="reconcile", replayed=touch.output, map_index_template="{{ task.replayed.name }}", **common
        )

    return ReplayTasks(plan, replay.expand(part=plan.output))

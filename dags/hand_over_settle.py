"""
### Prove what was handed over, and send again what did not arrive

One DAG for each index of the inventory that hands documents over or keeps tombstones. Every hour it asks the index for each document that
was handed over, sends what waits in the spool or among Firehose's failures, and sweeps tombstones that are old enough. Where nothing is
there it is over in seconds. It fails when documents are nowhere to be found or were refused, with the failures by kind and a remedy for each;
when the cluster pushes back, it stops by itself and goes on later. Take `dry_run` to look only. See docs/bulk_load.md.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, Param

from searchops.dags import dag_for, entries, told
from searchops.inventory import WrittenIndex
from searchops.notifications.slack import FailureNotifier
from searchops.operators.bulk import OpenSearchSettleOperator

PARAMS = {
    "dry_run": Param(
        False, type="boolean", description="Look only: show what waits, by kind of failure; nothing is sent or swept."
    ),
    "redrive": Param(True, type="boolean", description="Send again what waits in the spool and among Firehose's failures."),
    "kinds": Param(
        [],
        type="array",
        items={"type": "string", "minLength": 1},
        description="Kinds of failure to send, as a dry run names them, one a line. Empty: every kind.",
    ),
    "older_than": Param(
        None,
        type=["null", "string"],
        pattern="^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        description="Send only what was handed over so long ago, e.g. 1h or 2d. Empty: whatever waits.",
    ),
    "abandon": Param(
        [],
        type="array",
        items={"type": "string", "minLength": 1},
        description="Loads that will never come to their end, e.g. because their file was uploaded again: the run names, as the report of "
        "their plan has them. Nothing may write for them any more.",
    ),
}


def from_entry(index: WrittenIndex) -> dict[str, Any]:
    mend = "Next: mend what the reason names; the next run looks at all of it again."
    return {"on_failure_callback": FailureNotifier(**told(index), mend=mend), "params": PARAMS}


for name, entry in entries("written_indexes").items():
    if isinstance(entry, WrittenIndex) and entry.hand_over is None and entry.deletes != "tombstone":
        continue

    @dag_for(
        entry,
        dag_id=f"hand_over_settle_{name}",
        from_entry=from_entry,
        doc_md=__doc__,
        schedule=CronTriggerTimetable("7 * * * *", timezone="UTC"),
        max_active_runs=1,
        catchup=False,
        tags={"bulk"},
    )
    def hand_over_settle(index: WrittenIndex) -> None:
        OpenSearchSettleOperator(
            task_id="settle",
            index=index.model_dump(mode="json"),
            abandon="{{ params.abandon | tojson }}",
            resend="{{ params.redrive }}",
            kinds="{{ params.kinds | tojson }}",
            older_than="{{ params.older_than or '' }}",
            only_plan="{{ params.dry_run }}",
        )

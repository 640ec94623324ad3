"""
### Send events again on which a function failed

One DAG for each function of the inventory whose failed events go to an SQS queue (`kind: asynchronous`, `on_failure`). As it stands, the form
looks only: the task shows the failed events by kind of failure. Take `dry_run` off to send them, all or the kinds that you name.

A message leaves the queue only after Lambda has taken its event, and what was sent is not sent again by the next run. After a crash in
between an event may be sent twice; the function's own claim makes it one effect. What had failed for good (`needs a reset`) is sent only
with `reset`: mend the cause first. See docs/functions.md.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from searchops.dags import dag_for, entries, told
from searchops.inventory import Function
from searchops.notifications.slack import FailureNotifier
from searchops.operators.functions import FailedEventsRedriveOperator

PARAMS = {
    "dry_run": Param(True, type="boolean", description="Look only: show what is there, send nothing."),
    "errors": Param(
        [],
        type="array",
        items={"type": "string", "minLength": 1},
        description="Kinds of failure to send, as a dry run names them, one a line. Empty: all.",
    ),
    "limit": Param(None, type=["null", "integer"], minimum=1, description="Send at most so many, e.g. 1 to try. Empty: all."),
    "reset": Param(False, type="boolean", description="Send again what failed for good, too. Mend the cause first."),
}


def from_entry(function: Function) -> dict[str, Any]:
    return {"on_failure_callback": FailureNotifier(**told(function.home)), "params": PARAMS}


for name, entry in entries("functions").items():
    if isinstance(entry, Function) and entry.failed_events is None:
        continue

    @dag_for(
        entry,
        dag_id=f"failed_events_redrive_{name}",
        from_entry=from_entry,
        doc_md=__doc__,
        max_active_runs=1,
        catchup=False,
        tags={"functions"},
    )
    def failed_events_redrive(function: Function) -> None:
        FailedEventsRedriveOperator(
            task_id="redrive",
            function=function.model_dump(mode="json"),
            errors="{{ params.errors | tojson }}",
            limit="{{ '' if params.limit is none else params.limit }}",
            reset="{{ params.reset }}",
            only_plan="{{ params.dry_run }}",
        )

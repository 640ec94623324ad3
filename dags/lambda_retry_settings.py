"""
### Give Lambda functions their retry settings

One task a function of the inventory (`include/searchops.yaml`): how often a failed event is tried again, how old it may be, and where it
goes then; for streams and queues the settings of their event source mappings. What the inventory does not name stays as it is, and a
second run changes nothing. What will lose events or do work twice (no on-failure destination, a time-out longer than the lease, …) is told
as findings. See docs/functions.md.
"""

from __future__ import annotations

import json

from airflow.sdk import DAG, Param

from searchops.dags import config_error, entries, told
from searchops.inventory import BrokenEntry, Function
from searchops.notifications.slack import FailureNotifier
from searchops.operators.functions import LambdaRetrySettingsOperator

functions = entries("functions")
keys = list(functions)
sound = [entry for entry in functions.values() if isinstance(entry, Function)]

if functions:
    with DAG(
        dag_id="lambda_retry_settings",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        tags={"functions"},
        doc_md=__doc__,
        on_failure_callback=FailureNotifier(**told(sound[0].home)) if sound else None,
        params={
            "functions": Param(
                keys,
                type="array",
                items={"enum": keys},
                examples=keys,  # makes the form offer them
                description="The functions to look at.",
            ),
            "dry_run": Param(False, type="boolean", description="Show the difference; nothing is written."),
        },
    ):
        for key, entry in functions.items():
            selected = f"{{{{ {json.dumps(key)} in params.functions }}}}"
            if isinstance(entry, BrokenEntry):
                config_error(entry, task_id=key, selected=selected)
            else:
                LambdaRetrySettingsOperator(
                    task_id=key, function=entry.model_dump(mode="json"), selected=selected, only_plan="{{ params.dry_run }}"
                )

"""
### Send chosen items through their stream again

One DAG for each table of the inventory. Trigger it and choose **one** of: partition keys (with a range of sort keys), a list of keys in S3, a
sample of some items, the whole table. Each chosen item is touched once, so that DynamoDB Streams sends it to its consumers again.

As it stands, the form looks only: it shows items, bytes, capacity units, duration, cost and what the consumers will see. Take `dry_run` off to
replay. A run that is killed or cleared goes on with the same replay; a new run of the same choice is a new replay, unless the last one of that
choice has not come to its end; `abandon` gives that one up. See docs/stream_replay.md.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from searchops.dags import dag_for, entries, told
from searchops.inventory import Table
from searchops.notifications.slack import FailureNotifier
from searchops.task_groups.replay import ARGUMENTS, MEND, PARAMS, stream_replay

FORM = {
    "partition_keys": Param(
        [],
        type="array",
        items={"type": "string", "minLength": 1},
        description="Partition keys, one a line: text, a number, or base64 for binary keys. All items below each of them.",
    ),
    "sort_key_first": Param(
        None, type=["null", "string"], minLength=1, description="With partition keys: only sort keys from here on."
    ),
    "sort_key_last": Param(
        None,
        type=["null", "string"],
        minLength=1,
        description="With partition keys: only sort keys up to here, which is included.",
    ),
    "keys_file": Param(
        None,
        type=["null", "string"],
        pattern="^s3://[^/]+/.+$",
        description='An object with one key a line, in DynamoDB\'s JSON: {"pk": {"S": "a"}, "sk": {"N": "1"}}.',
    ),
    "sample": Param(None, type=["null", "integer"], minimum=1, description="So many items, wherever they are: to try it out."),
    "whole_table": Param(False, type="boolean", description="Every item of the table, by a parallel scan."),
    "segments": Param(
        16,
        type="integer",
        minimum=1,
        maximum=1000,
        description="Of that scan. A replay that is gone on with keeps those it began with.",
    ),
    **PARAMS,
    "dry_run": Param(
        True,
        type="boolean",
        description="Count and tell what a replay would do and cost; nothing is written. Reading costs read units.",
    ),
}


def from_entry(table: Table) -> dict[str, Any]:
    return {"on_failure_callback": FailureNotifier(**told(table.written_index or table.home), mend=MEND), "params": FORM}


for name, entry in entries("tables").items():

    @dag_for(
        entry,
        dag_id=f"stream_replay_select_{name}",
        from_entry=from_entry,
        doc_md=__doc__,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags={"replay"},
    )
    def replay_selected(table: Table) -> None:
        stream_replay(
            table,
            {
                "partition_keys": "{{ params.partition_keys | tojson }}",
                "sort_key_first": "{{ params.sort_key_first or '' }}",
                "sort_key_last": "{{ params.sort_key_last or '' }}",
                "keys_file": "{{ params.keys_file or '' }}",
                "sample": "{{ params.sample or '' }}",
                "whole_table": "{{ params.whole_table }}",
                "segments": "{{ params.segments }}",
                "filter": "{{ params.filter | tojson }}",
            },
            **ARGUMENTS,
        )

"""
### Load files into an index

One DAG for each index of the inventory that has `id` and `version` and is not written by an Ingestion pipeline. It takes NDJSON (plain or
gzip), Parquet, and DynamoDB exports from S3, and ends with a ledger in which every document has one end: indexed, superseded by a newer
write, rejected with its reason, or handed over because the cluster did not take it in time. A run that fails goes on where it was when
its failed tasks are cleared. Loading the same files twice changes nothing. See docs/bulk_load.md.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from searchops.dags import dag_for, entries, told
from searchops.inventory import WrittenIndex
from searchops.notifications.slack import FailureNotifier
from searchops.task_groups.bulk import bulk_load

PARAMS = {
    "files": Param(
        [],
        type="array",
        minItems=1,
        items={"type": "string", "pattern": "^s3://[^/]+/"},
        description="Objects, or prefixes that end with /, one a line: s3://bucket/key. For a DynamoDB export, its folder.",
    ),
    "format": Param(
        None,
        type=["null", "string"],
        enum=[None, "ndjson", "parquet", "dynamodb"],
        description="Of all files, where their names do not tell.",
    ),
    "tasks": Param(4, type="integer", minimum=1, maximum=32, description="At most so many tasks at once."),
    "refresh_interval": Param(
        "30s",
        type="string",
        pattern="^(|-1|[0-9]+(ms|s|m|h))$",
        description="How often the index makes new documents searchable while it is loaded. Empty: leave it.",
    ),
    "replicas": Param(
        None,
        type=["null", "integer"],
        minimum=0,
        description="Replicas while it is loaded, e.g. 0 for an index that nobody searches yet. Empty: leave them.",
    ),
    "max_rejected": Param(
        0,
        type=["null", "integer"],
        minimum=0,
        description="Fail when more documents are rejected; the others are loaded all the same. Empty: any number will do.",
    ),
    "allow_old": Param(
        False,
        type="boolean",
        description="Take files that are older than the index keeps tombstones. What was deleted since they were written comes back.",
    ),
    "dry_run": Param(False, type="boolean", description="Find the files and check them and the index; nothing is written."),
}


MEND = (
    "Next: mend what the reason names, then clear the failed tasks: they go on from their checkpoints. A file that is uploaded anew wants a "
    "new run; then give the name of this one to `abandon` of `hand_over_settle_…`, because its ledger is open and keeps every tombstone."
)


def from_entry(index: WrittenIndex) -> dict[str, Any]:
    return {"on_failure_callback": FailureNotifier(**told(index), mend=MEND), "params": PARAMS}


for name, entry in entries("written_indexes").items():
    if isinstance(entry, WrittenIndex) and entry.version.scheme == "ingestion":
        continue

    @dag_for(
        entry,
        dag_id=f"bulk_load_{name}",
        from_entry=from_entry,
        doc_md=__doc__,
        max_active_runs=1,
        catchup=False,
        tags={"bulk"},
    )
    def load_files(index: WrittenIndex) -> None:
        bulk_load(
            index,
            "{{ params.files | tojson }}",
            data_format="{{ params.format or '' }}",
            tasks="{{ params.tasks }}",
            refresh_interval="{{ params.refresh_interval }}",
            replicas="{{ '' if params.replicas is none else params.replicas }}",
            max_rejected="{{ '' if params.max_rejected is none else params.max_rejected }}",
            allow_old="{{ params.allow_old }}",
            dry_run="{{ params.dry_run }}",
        )

"""
### Example: load an index, then put its dictionaries live

What `bulk_load` and `sync_dictionary` are made for: steps of a DAG of one's own. It loads the files into the index `products` of the
inventory, and then syncs the dictionaries of its domain, one after the other. See docs/bulk_load.md.
"""

from __future__ import annotations

from airflow.sdk import Param

from searchops.dags import dag_for, domain_of, entries, told
from searchops.inventory import WrittenIndex
from searchops.notifications.slack import FailureNotifier
from searchops.task_groups.bulk import bulk_load
from searchops.task_groups.dictionary import sync_dictionary

INDEX = "products"

for name, entry in entries("written_indexes").items():
    if name != INDEX:
        continue

    @dag_for(
        entry,
        dag_id=f"full_load_{name}",
        from_entry=lambda index: {
            "on_failure_callback": FailureNotifier(**told(index)),
            "params": {
                "files": Param(
                    [f"s3://{index.bucket}/loads/{index.name}/"],
                    type="array",
                    minItems=1,
                    items={"type": "string", "pattern": "^s3://[^/]+/"},
                )
            },
        },
        doc_md=__doc__,
        max_active_runs=1,
        catchup=False,
        tags={"example", "bulk", "dictionary"},
    )
    def full_load(index: WrittenIndex) -> None:
        domain = domain_of(index)
        before = bulk_load(index, "{{ params.files | tojson }}").done
        for package in domain.packages:
            tasks = sync_dictionary(domain, package)
            for task in before:
                task >> tasks.first
            before = tasks.done

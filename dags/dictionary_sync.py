"""
### Put a domain's dictionaries live

One DAG a domain of the inventory (`include/searchops.yaml`): each of its dictionaries in turn, in the inventory's order, because
two associations at once on one domain can fail one of them. A green run means that the new words are live: the domain uses the
content, every index that uses it was given it, and the engine shows it. An unchanged dictionary costs a few reads.
See docs/dictionary_sync.md.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, Param

from searchops.dags import dag_for, entries
from searchops.inventory import Domain
from searchops.notifications.slack import FailureNotifier
from searchops.task_groups.dictionary import sync_dictionary


def told(domain: Domain) -> dict[str, str]:
    return {"bucket": domain.bucket, "slack_conn_id": domain.slack_conn_id, "aws_conn_id": domain.aws_conn_id}


def deadline(domain: Domain, after: timedelta) -> DeadlineAlert:
    callback = AsyncCallback(FailureNotifier, kwargs=told(domain))
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=after, callback=callback)


def arguments(domain: Domain) -> dict[str, Any]:
    keys = [package.key for package in domain.packages]
    return {
        "deadline": deadline(domain, domain.deadline),
        "on_failure_callback": FailureNotifier(**told(domain)),
        "params": {
            "packages": Param(
                keys,
                type="array",
                items={"enum": keys},
                examples=keys,  # makes the form offer them
                description="The dictionaries to look at, in the inventory's order.",
            ),
            "force": Param(False, type="boolean", description="Publish and apply what is unchanged too, and overwrite drift."),
            "dry_run": Param(False, type="boolean", description="Plan and let the engine build it; nothing is written."),
        },
    }


for name, entry in entries("domains").items():
    given = arguments(entry) if isinstance(entry, Domain) else {}

    @dag_for(
        entry, dag_id=f"dictionary_sync_{name}", doc_md=__doc__, max_active_runs=1, catchup=False, tags={"dictionary"}, **given
    )
    def dictionary_sync(domain: Domain) -> None:
        before = []
        for package in domain.packages:
            tasks = sync_dictionary(
                domain,
                package,
                selected=f"{{{{ '{package.key}' in params.packages }}}}",
                force="{{ params.force }}",
                dry_run="{{ params.dry_run }}",
            )
            for task in before:
                task >> tasks.first
            before = tasks.done

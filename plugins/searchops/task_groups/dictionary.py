"""The tasks that put one dictionary live on one domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import BaseOperator, TaskGroup, TriggerRule

from searchops.inventory import Domain, Package, Waits
from searchops.operators.dictionary import (
    OpenSearchDictionaryApplyOperator,
    OpenSearchDictionaryAssociateOperator,
    OpenSearchDictionaryPlanOperator,
    OpenSearchDictionaryPublishOperator,
    OpenSearchDictionaryStopOperator,
    OpenSearchDictionaryVerifyOperator,
    OpenSearchIndexesOpenOperator,
    OpenSearchRebuildRequestOperator,
)
from searchops.sensors.dictionary import OpenSearchDictionaryAssociationSensor

DOC = """
Puts one dictionary live on one domain and proves it. Each task looks at what is there and does only what is missing.

| task | what it does |
|---|---|
| plan | reads the file, compares its sha256 with the package's and the indexes', lets the engine build it; skips what has nothing to do |
| publish | UpdatePackage (or CreatePackage), then waits until the version is available |
| associate | AssociatePackage, when nothing else of the domain is in transit |
| wait_for_domain | waits until the domain uses the content (ListDomainsForPackage); ACTIVE alone is not enough |
| apply | waits for the service's reload, or closes and opens the indexes that the inventory allows |
| verify | the live analyzers give what the new files give; recorded in the index |
| open_indexes | opens what a killed task left closed; fails a run that was ended by hand |
| drift | fails: somebody else published over our version |
| request_rebuild, awaiting_rebuild | asks for a rebuild, then fails: documents hold old tokens |
| awaiting_apply | fails: an index has to be closed and opened by a person |
"""


@dataclass(frozen=True, slots=True)
class DictionaryTasks:
    """The ends of the group: what comes next follows all of ``done``; an index that waits for a rebuild holds nothing up."""

    first: BaseOperator
    done: list[BaseOperator]


def sync_dictionary(
    domain: Domain,
    package: Package,
    *,
    selected: bool | str = True,
    force: bool | str = False,
    dry_run: bool | str = False,
    pools: bool = True,
    **task_arguments: Any,
) -> DictionaryTasks:
    """A task group that puts one dictionary live on one domain; to be called inside a DAG.

    :param selected: False skips the dictionary (templated), likewise force and dry_run
    :param pools: use the pools of ``include/pools.json``, which keep runs of one domain and of one package apart
    :param task_arguments: for every task, e.g. ``deferrable``
    """
    with TaskGroup(group_id=package.key, tooltip=f"{package.kind} from {package.source}", doc_md=DOC) as group:
        common: dict[str, Any] = {"domain": domain.model_dump(mode="json"), "package": package.key, **task_arguments}
        waits = {name: {"timeout_seconds": getattr(domain.waits, name).total_seconds()} for name in Waits.model_fields}
        following = {"trigger_rule": TriggerRule.NONE_FAILED, **common}
        of_domain = {**following, **({"pool": domain.pool} if pools else {})}
        of_package = {**following, **({"pool": package.pool} if pools else {})}
        ids = {name: f"{group.group_id}.{name}" for name in TASKS}
        planned = f"ti.xcom_pull(task_ids='{ids['plan']}')"
        published = f"(ti.xcom_pull(task_ids='{ids['publish']}') or {planned})"
        content = {"fingerprint": _template(f"{planned}['fingerprint']")}
        target = {**content, "package_id": _template(f"{published}['package_id']")}

        plan = OpenSearchDictionaryPlanOperator(
            task_id="plan",
            trigger_rule=TriggerRule.NONE_FAILED,
            tasks={step: [ids[name] for name in names] for step, names in STEPS.items()},
            selected=selected,
            force=force,
            only_plan=dry_run,
            **common,
        )
        publish = OpenSearchDictionaryPublishOperator(
            task_id="publish",
            planned_over=_template(f"{planned}['version'] or ''"),
            force=force,
            **content,
            **waits["publish"],
            **of_package,
        )
        associate = OpenSearchDictionaryAssociateOperator(task_id="associate", **target, **waits["associate"], **of_domain)
        wait = OpenSearchDictionaryAssociationSensor(
            task_id="wait_for_domain",
            version=_template(f"(ti.xcom_pull(task_ids='{ids['associate']}') or {{}}).get('asked') or ''"),
            **target,
            **waits["associate"],
            **of_domain,
        )
        apply = OpenSearchDictionaryApplyOperator(task_id="apply", force=force, **content, **waits["reload"], **of_domain)
        verify = OpenSearchDictionaryVerifyOperator(task_id="verify", force=force, **content, **following)
        open_indexes = OpenSearchIndexesOpenOperator(task_id="open_indexes", proof=ids["verify"], **common)
        ends = _ends(domain, planned, content, following)

        plan >> publish >> associate >> wait >> apply >> verify
        # Without a setup, whose skipping would skip it: it has to run where a person ends the run.
        apply >> open_indexes.as_teardown(on_failure_fail_dagrun=True)
        plan >> ends["drift"]
        # Airflow calls a run successful when the last task of every path is, be it skipped: nothing that can be skipped follows verify.
        wait >> [verify, ends["awaiting_apply"], ends["request_rebuild"]]
        ends["request_rebuild"] >> ends["awaiting_rebuild"]
    return DictionaryTasks(plan, [verify, open_indexes, ends["drift"]])


TASKS = (
    "plan",
    "publish",
    "associate",
    "wait_for_domain",
    "apply",
    "verify",
    "open_indexes",
    "drift",
    "awaiting_apply",
    "request_rebuild",
    "awaiting_rebuild",
)
STEPS: Mapping[str, tuple[str, ...]] = {
    "drift": ("drift",),
    "publish": ("publish",),
    # verify has nothing to prove where no index uses the file, but a failed wait is seen in it.
    "associate": ("associate", "wait_for_domain", "verify"),
    "apply": ("apply", "verify"),
    "reopen": ("open_indexes",),
    "report": ("awaiting_apply",),
    "rebuild": ("request_rebuild", "awaiting_rebuild"),
}


def _template(expression: str) -> str:
    return "{{ " + expression + " }}"


def _ends(domain: Domain, planned: str, content: Mapping[str, Any], following: Mapping[str, Any]) -> dict[str, BaseOperator]:
    """The tasks that are named after the reason why a run is red, and the request for a rebuild."""
    to_rebuild = {"indexes": _template(f"{planned}['index_use']['rebuild'] | tojson")}
    to_request = {"indexes": _template(f"{planned}['to_request'] | tojson")}
    announced = {"announced": _template(f"not {planned}['to_request']")}
    rebuild_names = _template(f"{planned}['index_use']['rebuild'] | join(', ')")
    reopen_names = _template(f"{planned}['index_use']['report'] | join(', ')")
    return {
        "drift": OpenSearchDictionaryStopOperator(
            task_id="drift",
            message=_template(f"{planned}['reason']")
            + ": put that content into the source, or set on_drift: overwrite (or run with force) to publish over it",
            **{**following, "trigger_rule": TriggerRule.ALL_SUCCESS},
        ),
        "awaiting_apply": OpenSearchDictionaryStopOperator(
            task_id="awaiting_apply",
            message=f"index {reopen_names} has the new file but serves the old content: close and open it when it may be closed, "
            "or let this DAG do it with on_search_time_use: reopen in its inventory entry",
            **following,
        ),
        "request_rebuild": OpenSearchRebuildRequestOperator(
            task_id="request_rebuild", alias=rebuild_alias(domain), **to_request, **content, **following
        ),
        "awaiting_rebuild": OpenSearchDictionaryStopOperator(
            task_id="awaiting_rebuild",
            message=f"documents of index {rebuild_names} hold tokens of older content: rebuild it, or accept that with "
            "on_index_time_use: reopen in its inventory entry",
            remember=True,
            **to_rebuild,
            **content,
            **announced,
            **following,
        ),
    }


def rebuild_alias(domain: Domain) -> str:
    """The asset alias that gets an event for each index whose documents hold old tokens; a rebuild DAG is scheduled on it."""
    return f"rebuild_requested_{domain.key}"

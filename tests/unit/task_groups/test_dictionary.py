from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, TaskGroup, TriggerRule

from searchops.inventory import Domain, inventory, project_root
from searchops.operators.dictionary import DictionaryOperator
from searchops.retries import RETRY_POLICY
from searchops.task_groups.dictionary import DOC, STEPS, TASKS, DictionaryTasks, sync_dictionary

POOLS = json.loads((project_root() / "include" / "pools.json").read_text())


def a_domain() -> Domain:
    domain = inventory().domains["products-search"]
    assert isinstance(domain, Domain)
    return domain


def group(**arguments: Any) -> tuple[DAG, DictionaryTasks]:
    domain = a_domain()
    with DAG("embedding", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        tasks = sync_dictionary(domain, domain.packages[1], **arguments)
    return dag, tasks


@pytest.fixture(scope="module")
def dag() -> DAG:
    return group()[0]


def task(dag: DAG, name: str) -> Any:
    return dag.get_task(f"synonyms.{name}")


def test_the_group_holds_every_task_that_its_page_describes(dag):
    assert {task.task_id for task in dag.tasks} == {f"synonyms.{name}" for name in TASKS}
    described = {name.strip() for row in DOC.splitlines() if row.startswith("| ") for name in row.split("|")[1].split(",")}
    assert described == {"task", *TASKS}


def test_the_page_is_on_the_group(dag):
    (found,) = (child for child in dag.task_group.children.values() if isinstance(child, TaskGroup))

    assert (found.group_id, found.doc_md) == ("synonyms", DOC)
    assert "include" in found.tooltip or "s3://" in found.tooltip


def test_every_step_of_a_plan_has_tasks_and_every_task_but_the_plan_belongs_to_a_step():
    assert {name for names in STEPS.values() for name in names} == {*TASKS} - {"plan"}


def test_the_tasks_run_one_after_the_other(dag):
    order = ["plan", "publish", "associate", "wait_for_domain", "apply", "verify"]

    for before, after in itertools.pairwise(order):
        assert f"synonyms.{after}" in task(dag, before).downstream_task_ids


def test_no_skipped_task_skips_the_next_and_every_failed_one_stops_it(dag):
    rules = {name: task(dag, name).trigger_rule for name in TASKS}
    teardown = rules.pop("open_indexes")

    assert rules.pop("drift") is TriggerRule.ALL_SUCCESS
    assert set(rules.values()) == {TriggerRule.NONE_FAILED}
    assert teardown is TriggerRule.ALL_DONE_SETUP_SUCCESS


def test_indexes_are_opened_in_a_teardown_that_can_fail_the_run(dag):
    teardown = task(dag, "open_indexes")

    assert teardown.is_teardown
    assert teardown.on_failure_fail_dagrun
    assert "synonyms.apply" in teardown.upstream_task_ids


def test_every_task_has_the_retry_policy_and_only_those_for_people_have_no_retries(dag):
    assert {task.retry_policy for task in dag.tasks} == {RETRY_POLICY} or all(
        task.retry_policy == RETRY_POLICY for task in dag.tasks
    )
    without = {task.label for task in dag.tasks if task.retries == 0}
    assert without == {"drift", "awaiting_apply", "awaiting_rebuild"}


def test_what_changes_a_package_is_in_its_pool_and_what_changes_the_domain_in_the_domains(dag):
    domain = a_domain()
    pools = {name: task(dag, name).pool for name in TASKS}

    assert {name for name, pool in pools.items() if pool == domain.packages[1].pool} == {"publish"}
    assert {name for name, pool in pools.items() if pool == domain.pool} == {"associate", "wait_for_domain", "apply"}
    assert {pools[name] for name in ("plan", "verify", "open_indexes", "drift")} == {"default_pool"}


def test_the_pools_are_those_of_the_file_with_one_slot_that_a_wait_keeps(dag):
    used = {task.pool for task in dag.tasks} - {"default_pool"}

    assert used <= POOLS.keys()
    assert all((pool["slots"], pool["include_deferred"]) == (1, True) for pool in POOLS.values())


def test_a_group_can_do_without_pools():
    dag, _ = group(pools=False)

    assert {task.pool for task in dag.tasks} == {"default_pool"}


def test_waits_take_as_long_as_the_inventory_says(dag):
    waits = a_domain().waits

    assert task(dag, "publish").timeout_seconds == waits.publish.total_seconds()
    assert (
        task(dag, "associate").timeout_seconds == task(dag, "wait_for_domain").timeout_seconds == waits.associate.total_seconds()
    )
    assert task(dag, "apply").timeout_seconds == waits.reload.total_seconds()


def test_what_is_asked_of_the_group_reaches_its_tasks():
    dag, _ = group(selected="{{ a }}", force="{{ b }}", dry_run="{{ c }}", deferrable=False, retries=9)

    plan = task(dag, "plan")
    assert (plan.selected, plan.force, plan.only_plan) == ("{{ a }}", "{{ b }}", "{{ c }}")
    assert {task(dag, name).force for name in ("publish", "apply", "verify")} == {"{{ b }}"}
    assert not any(task.deferrable for task in dag.tasks if isinstance(task, DictionaryOperator))
    assert {task.retries for task in dag.tasks} == {9}


def test_what_comes_next_follows_the_proof_the_teardown_and_drift_but_waits_for_no_rebuild():
    _, tasks = group()

    assert tasks.first.task_id == "synonyms.plan"
    assert {task.task_id for task in tasks.done} == {"synonyms.verify", "synonyms.open_indexes", "synonyms.drift"}


def test_another_dag_may_hold_the_group_beside_tasks_of_its_own():
    domain = a_domain()
    with DAG("another", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        before, after = BaseOperator(task_id="before"), BaseOperator(task_id="after", trigger_rule=TriggerRule.NONE_FAILED)
        with TaskGroup("outer"):
            tasks = sync_dictionary(domain, domain.packages[0], pools=False)
        before >> tasks.first
        tasks.done >> after

    ids = {task.task_id for task in dag.tasks}
    assert "outer.user-dictionary.plan" in ids
    plan: Any = dag.get_task("outer.user-dictionary.plan")
    assert {name for names in plan.tasks.values() for name in names} <= ids
    assert "outer.user-dictionary.plan" in dag.get_task("outer.user-dictionary.publish").fingerprint


@pytest.mark.parametrize("planned", [{"version": "v3"}, {"version": None}])
def test_templates_are_filled_from_the_plan_and_the_publication(dag, planned):
    plan = {
        "fingerprint": "f" * 64,
        "package_id": "F1",
        "index_use": {"rebuild": ["a", "b"], "report": ["c"]},
        "to_request": ["a"],
        "reason": "somebody published",
        **planned,
    }
    xcoms = {"synonyms.plan": plan, "synonyms.publish": {"package_id": "F2", "version": "v4"}}

    class Ti:
        def xcom_pull(self, task_ids: str) -> Any:
            return xcoms.get(task_ids)

    rendered = {}
    for name in TASKS:
        copy = task(dag, name).prepare_for_execution()
        copy.render_template_fields({"ti": Ti(), "params": {}})
        rendered[name] = copy

    assert rendered["publish"].planned_over == (planned["version"] or "")
    assert {rendered[name].fingerprint for name in ("publish", "associate", "wait_for_domain", "apply", "verify")} == {"f" * 64}
    assert {rendered[name].package_id for name in ("associate", "wait_for_domain")} == {"F2"}
    assert json.loads(rendered["request_rebuild"].indexes) == ["a"]
    assert json.loads(rendered["awaiting_rebuild"].indexes) == ["a", "b"]
    assert rendered["awaiting_rebuild"].announced == "False"
    assert "documents of index a, b hold tokens of older content" in rendered["awaiting_rebuild"].message
    assert "index c has the new file" in rendered["awaiting_apply"].message
    assert rendered["drift"].message.startswith("somebody published: put that content into the source")

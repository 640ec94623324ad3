from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from airflow.dag_processing.dagbag import DagBag
from airflow.dag_processing.processor import DagFileParseRequest, _parse_file
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from searchops.inventory import Domain, inventory, project_root
from searchops.notifications.slack import FailureNotifier
from searchops.retries import RETRY_POLICY

FILE = project_root() / "dags" / "dictionary_sync.py"


@pytest.fixture(scope="module")
def dags() -> Mapping[str, DAG]:
    bag = DagBag(FILE)
    assert bag.import_errors == {}
    return dict(bag.dags)


@pytest.fixture(scope="module")
def dag(dags: Mapping[str, DAG]) -> DAG:
    return dags["dictionary_sync_products-search"]


@pytest.fixture(scope="module")
def domain() -> Domain:
    domain = inventory().domains["products-search"]
    assert isinstance(domain, Domain)
    return domain


def test_there_is_one_dag_a_domain(dags):
    assert set(dags) == {f"dictionary_sync_{name}" for name in inventory().domains}


def test_airflows_dag_processor_takes_it_where_a_dag_that_changes_with_every_parse_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL", "error")
    unstable = tmp_path / "unstable.py"
    unstable.write_text("from datetime import datetime\nfrom airflow.sdk import DAG\nDAG('x', start_date=datetime.now())\n")

    ours, other = (_parse_file(_request(file), structlog.get_logger()) for file in (FILE, unstable))

    assert other
    assert other.import_errors
    assert ours
    assert not ours.import_errors
    assert len(ours.serialized_dags) == len(inventory().domains)


def _request(file: Path) -> DagFileParseRequest:
    return DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name="dags", callback_requests=[])


def test_two_parses_give_the_same_dag(dag):
    again = DagBag(FILE).dags[dag.dag_id]

    assert _serialised(again) == _serialised(dag)


def _serialised(dag: DAG) -> str:
    return json.dumps(DagSerialization.to_dict(dag), sort_keys=True, default=str)


def test_its_schedule_is_the_domains_in_the_domains_time_zone(dag, domain):
    timetable: Any = dag.timetable

    assert (timetable.expression, str(timetable.timezone)) == (domain.schedule, domain.timezone)
    assert (dag.max_active_runs, dag.catchup, dag.is_paused_upon_creation) == (1, False, None)


def test_its_dictionaries_come_in_series_in_the_inventorys_order(dag, domain):
    keys = [package.key for package in domain.packages]
    assert list(dag.task_group.children) == keys

    for before, after in itertools.pairwise(keys):
        following = dag.get_task(f"{after}.plan")
        assert following.upstream_task_ids >= {f"{before}.verify", f"{before}.open_indexes", f"{before}.drift"}
        everything = {task.task_id for task in following.get_flat_relatives(upstream=True)}
        assert {f"{before}.{name}" for name in ("publish", "associate", "wait_for_domain", "apply")} <= everything


def test_a_rebuild_that_is_waited_for_does_not_hold_up_the_next_dictionary(dag, domain):
    first, second = (package.key for package in domain.packages[:2])
    before = {task.task_id for task in dag.get_task(f"{second}.plan").get_flat_relatives(upstream=True)}

    assert not before & {f"{first}.awaiting_rebuild", f"{first}.request_rebuild", f"{first}.awaiting_apply"}


def test_a_skipped_dictionary_does_not_skip_the_next(dag, domain):
    for package in domain.packages:
        assert dag.get_task(f"{package.key}.plan").trigger_rule == "none_failed"


def test_every_task_has_the_retry_policy(dag):
    assert all(task.retry_policy == RETRY_POLICY for task in dag.tasks)


def test_its_pools_are_those_of_the_file(dag, domain):
    pools = json.loads((project_root() / "include" / "pools.json").read_text())

    used = {task.pool for task in dag.tasks} - {"default_pool"}

    assert used == {domain.pool, *(package.pool for package in domain.packages)}
    assert used <= pools.keys()


def test_its_form_offers_the_dictionaries_and_refuses_others(dag, domain):
    keys = [package.key for package in domain.packages]
    schema = {name: dag.params.get_param(name).schema for name in dag.params}

    assert {name: dag.params[name] for name in dag.params} == {"packages": keys, "force": False, "dry_run": False}
    assert (schema["packages"]["type"], schema["packages"]["items"]) == ("array", {"enum": keys})
    assert schema["force"]["type"] == schema["dry_run"]["type"] == "boolean"
    assert all(dag.params.get_param(name).description for name in dag.params)
    with pytest.raises(Exception, match="is not one of"):
        dag.params.get_param("packages").resolve(["another"])


def test_its_form_reaches_the_plans(dag, domain):
    for package in domain.packages:
        plan: Any = dag.get_task(f"{package.key}.plan").prepare_for_execution()
        plan.render_template_fields({"params": {"packages": ["synonyms"], "force": True, "dry_run": True}})

        assert plan.selected == str(package.key == "synonyms")
        assert (plan.force, plan.only_plan) == ("True", "True")


def test_every_failure_and_a_late_run_reach_slack(dag, domain):
    (deadline,) = dag.deadline if isinstance(dag.deadline, list) else [dag.deadline]
    callbacks = dag.on_failure_callback
    (callback,) = callbacks if isinstance(callbacks, list) else [callbacks]

    assert deadline.interval == domain.deadline
    assert isinstance(callback, FailureNotifier)
    assert callback.slack_conn_id == domain.slack_conn_id


def test_it_says_what_it_does(dag):
    assert "Put a domain's dictionaries live" in (dag.doc_md or "")
    for group in dag.task_group.children.values():
        assert "awaiting_rebuild" in (getattr(group, "doc_md", "") or "")


def test_it_can_be_serialised_whole(dag):
    again: Any = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))

    assert set(again.task_ids) == set(dag.task_ids)


PARSE = """
import gc, json, sys
from airflow.dag_processing.dagbag import DagBag

connections = []
sys.addaudithook(lambda event, args: connections.append(str(args[1])) if event == "socket.connect" else None)
bag = DagBag({file!r})
botocore_client = sys.modules.get("botocore.client")
clients = [str(found) for found in gc.get_objects() if botocore_client and isinstance(found, botocore_client.BaseClient)]
modules = [name for name in ("opensearchpy", "slack_sdk") if name in sys.modules]
print(json.dumps([bag.import_errors, list(bag.dags), modules, clients, connections]))
"""


def test_a_parse_imports_no_data_client_makes_no_aws_client_and_connects_to_nobody(tmp_path: Path):
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(project_root() / "plugins"),
    }

    result = subprocess.run(
        [sys.executable, "-c", PARSE.format(file=str(FILE))],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    errors, dags, modules, clients, connections = json.loads(result.stdout.splitlines()[-1])
    assert (errors, dags) == ({}, ["dictionary_sync_products-search"])
    assert (modules, clients, connections) == ([], [], [])

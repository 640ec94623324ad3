"""The DAGs of loads and hand-overs, as Airflow parses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from airflow.dag_processing.dagbag import DagBag
from airflow.dag_processing.processor import DagFileParseRequest, _parse_file
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from searchops.inventory import project_root
from searchops.notifications.slack import FailureNotifier
from searchops.operators.bulk import LOAD_RETRIES
from searchops.retries import RETRY_POLICY

DAGS = project_root() / "dags"
FILES = ["bulk_load", "hand_over_settle", "examples/full_load"]
LOAD, SETTLE, EXAMPLE = "bulk_load_products", "hand_over_settle_products", "full_load_products"
WRITTEN = """
    defaults: {region: ap-northeast-1, bucket: example-bucket}
    domains: {search: {opensearch_conn_id: x}}
    indexes:
"""

Parse = Callable[[str], dict[str, DAG]]


def parsed(file: str) -> dict[str, DAG]:
    bag = DagBag(DAGS / f"{file}.py")
    assert bag.import_errors == {}
    return dict(bag.dags)


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    return {dag_id: dag for file in FILES for dag_id, dag in parsed(file).items()}


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """The files over an inventory with these indexes."""

    def parse(indexes: str) -> dict[str, DAG]:
        inventory = tmp_path / "include" / "searchops.yaml"
        inventory.parent.mkdir(exist_ok=True)
        text = textwrap.dedent(WRITTEN) + textwrap.indent(textwrap.dedent(indexes), "  ")
        inventory.write_text(text, encoding="utf-8")
        monkeypatch.setenv("SEARCHOPS_INVENTORY", str(inventory))
        return {dag_id: dag for file in FILES for dag_id, dag in parsed(file).items()}

    return parse


def rendered(dag: DAG, task_id: str, **params: Any) -> Any:
    task: Any = dag.get_task(task_id).prepare_for_execution()
    if hasattr(task, "loaded"):
        task.loaded = []  # what other tasks return
    task.render_template_fields({"params": {name: dag.params.get_param(name).value for name in dag.params} | params})
    return task


def test_the_shipped_inventory_has_these_dags_and_none_for_an_index_of_a_pipeline(dags: dict[str, DAG]) -> None:
    assert set(dags) == {LOAD, SETTLE, EXAMPLE}
    tasks = {f"bulk_load.{name}" for name in ("plan", "relax", "load", "finish", "restore")}
    assert set(dags[LOAD].task_ids) == tasks
    assert tasks < set(dags[EXAMPLE].task_ids)
    assert dags[SETTLE].task_ids == ["settle"]


def test_they_tell_failures_run_one_at_a_time_and_settling_alone_has_a_schedule(dags: dict[str, DAG]) -> None:
    for dag_id, dag in dags.items():
        (callback,) = dag.on_failure_callback if isinstance(dag.on_failure_callback, list) else [dag.on_failure_callback]
        assert isinstance(callback, FailureNotifier)
        assert (callback.bucket, dag.max_active_runs, dag.catchup) == ("example-searchops", 1, False)
        assert "docs/bulk_load.md" in (dag.doc_md or "")
        assert (dag.schedule is None) == (dag_id != SETTLE)
        assert all(task.retry_policy == RETRY_POLICY for task in dag.tasks)
    load = dags[LOAD].get_task("bulk_load.load")
    assert (load.partial_kwargs["index"]["name"], load.retries) == ("products", LOAD_RETRIES)


@pytest.mark.parametrize("file", FILES)
def test_airflows_dag_processor_takes_it_where_a_dag_that_changes_with_every_parse_is_an_error(
    monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL", "error")

    found = _parse_file(
        DagFileParseRequest(file=str(DAGS / f"{file}.py"), bundle_path=DAGS, bundle_name="dags", callback_requests=[]),
        structlog.get_logger(),
    )

    assert found
    assert not found.import_errors
    assert len(found.serialized_dags) == 1


@pytest.mark.parametrize("file", FILES)
def test_two_parses_give_the_same_dag_and_it_can_be_serialised_whole(dags: dict[str, DAG], file: str) -> None:
    (again,) = parsed(file).values()

    one, other = (json.dumps(DagSerialization.to_dict(dag), sort_keys=True, default=str) for dag in (again, dags[again.dag_id]))
    assert one == other
    back: Any = DagSerialization.from_dict(json.loads(one))
    assert set(back.task_ids) == set(again.task_ids)


def test_a_load_plans_before_it_writes_and_puts_the_settings_back_whatever_happens(dags: dict[str, DAG]) -> None:
    dag = dags[LOAD]
    plan, relax, load, finish, restore = (
        dag.get_task(f"bulk_load.{name}") for name in ("plan", "relax", "load", "finish", "restore")
    )

    assert relax.upstream_task_ids == {plan.task_id}
    assert load.upstream_task_ids == {plan.task_id, relax.task_id}
    assert finish.upstream_task_ids == {load.task_id}
    assert restore.upstream_task_ids == {load.task_id, relax.task_id}
    assert (relax.is_setup, restore.is_teardown, restore.on_failure_fail_dagrun) == (True, True, True)
    assert load.is_mapped


def test_the_form_of_a_load_reaches_its_tasks(dags: dict[str, DAG]) -> None:
    dag = dags[LOAD]
    assert all(dag.params.get_param(name).description for name in dag.params)

    plan, relax, finish = (rendered(dag, f"bulk_load.{name}") for name in ("plan", "relax", "finish"))
    assert (plan.files, plan.data_format, plan.tasks, plan.only_plan) == ("[]", "", "4", "False")
    assert (relax.refresh_interval, relax.replicas, relax.only_plan) == ("30s", "", "False")
    assert finish.max_rejected == "0"

    files = ["s3://bucket/a b'c\".ndjson", "s3://bucket/in/"]
    values = {"files": files, "format": "parquet", "tasks": 8, "refresh_interval": "", "replicas": 0, "max_rejected": None}
    plan, relax, finish = (rendered(dag, f"bulk_load.{name}", dry_run=True, **values) for name in ("plan", "relax", "finish"))
    assert (json.loads(plan.files), plan.data_format, plan.tasks, plan.only_plan) == (files, "parquet", "8", "True")
    assert (relax.refresh_interval, relax.replicas, relax.only_plan) == ("", "0", "True")
    assert finish.max_rejected == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("files", []),
        ("files", ["/data/a.ndjson"]),
        ("files", "s3://bucket/a"),
        ("format", "csv"),
        ("tasks", 0),
        ("tasks", 33),
        ("replicas", -1),
        ("refresh_interval", "often"),
        ("max_rejected", -1),
        ("dry_run", "yes"),
    ],
)
def test_the_form_of_a_load_refuses_what_makes_no_sense(dags: dict[str, DAG], name: str, value: Any) -> None:
    with pytest.raises(Exception, match="Failed validating"):
        dags[LOAD].params.get_param(name).resolve(value)


def test_the_form_of_settling_acts_unless_told_otherwise(dags: dict[str, DAG]) -> None:
    dag = dags[SETTLE]
    assert all(dag.params.get_param(name).description for name in dag.params)

    task = rendered(dag, "settle")
    assert (task.resend, task.kinds, task.older_than, task.only_plan) == ("True", "[]", "", "False")
    task = rendered(dag, "settle", redrive=False, kinds=['429 "x"'], older_than="1h", dry_run=True)
    assert (task.resend, json.loads(task.kinds), task.older_than, task.only_plan) == ("False", ['429 "x"'], "1h", "True")
    for name, value in (("older_than", "soon"), ("kinds", [""]), ("redrive", "x")):
        with pytest.raises(Exception, match="Failed validating"):
            dag.params.get_param(name).resolve(value)


def test_the_example_syncs_the_dictionaries_after_the_load(dags: dict[str, DAG]) -> None:
    dag = dags[EXAMPLE]

    assert dag.get_task("user-dictionary.plan").upstream_task_ids == {"bulk_load.finish", "bulk_load.restore"}
    assert json.loads(rendered(dag, "bulk_load.plan").files) == ["s3://example-searchops/loads/products/"]


def test_an_index_has_the_dags_that_its_scheme_allows(parse: Parse) -> None:
    dags = parse("""
        events: {domain: search, id: {scheme: position}, version: {scheme: once}}
        items: {domain: search, id: {attributes: [pk]}, version: {scheme: attribute, attribute: revision}}
        etl: {domain: search, id: {attributes: [pk]}, version: {scheme: ingestion}}
        spooled: {domain: search, id: {attributes: [pk]}, version: {scheme: once}, hand_over: {patience: 1m}}
        searched: {domain: search}
    """)

    assert set(dags) == {
        *(f"bulk_load_{name}" for name in ("events", "items", "spooled")),
        *(f"hand_over_settle_{name}" for name in ("items", "spooled")),
    }


def test_a_broken_index_has_dags_that_say_so_and_the_others_work(parse: Parse) -> None:
    dags = parse("""
        good: {domain: search, id: {scheme: position}, version: {scheme: once}}
        bad: {domain: search, id: {attributes: [pk]}, version: {scheme: attribute}}
    """)

    assert set(dags) == {"bulk_load_good", "bulk_load_bad", "hand_over_settle_bad"}
    assert dags["bulk_load_bad"].tags == {"config-error", "bulk"}
    assert 'scheme "attribute" needs attribute' in dags["bulk_load_bad"].get_task("config_error").errors[0]


def test_an_index_whose_name_is_no_dag_id_takes_nothing_else_away(parse: Parse) -> None:
    dags = parse("""
        製品: {domain: search, id: {scheme: position}, version: {scheme: once}}
        good: {domain: search, id: {scheme: position}, version: {scheme: once}}
    """)

    bad = {dag_id for dag_id, dag in dags.items() if "config-error" in dag.tags}
    assert set(dags) - bad == {"bulk_load_good"}
    assert len(bad) == 2
    assert all(dag_id.isascii() for dag_id in bad)


PARSE = """
import gc, json, sys
from airflow.dag_processing.dagbag import DagBag

connections = []
sys.addaudithook(lambda event, args: connections.append(str(args[1])) if event == "socket.connect" else None)
bags = [DagBag(file) for file in {files!r}]
modules = [name for name in ("boto3", "botocore", "opensearchpy", "pyarrow", "orjson", "slack_sdk") if name in sys.modules]
print(json.dumps([[bag.import_errors for bag in bags], modules, connections]))
"""


def test_a_parse_imports_no_client_and_connects_to_nobody(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(project_root() / "plugins"),
    }
    program = PARSE.format(files=[str(DAGS / f"{file}.py") for file in FILES[:2]])

    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert json.loads(result.stdout.splitlines()[-1]) == [[{}, {}], [], []]

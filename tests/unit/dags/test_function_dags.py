"""The DAGs on functions and the set-up, as Airflow parses them."""

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
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization

from searchops.inventory import project_root
from searchops.notifications.slack import FailureNotifier
from searchops.retries import RETRY_POLICY

DAGS = project_root() / "dags"
FILES = ["lambda_retry_settings", "failed_events_redrive", "searchops_setup"]
SETTINGS, REDRIVE, SETUP = "lambda_retry_settings", "failed_events_redrive_object-once", "searchops_setup"

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
    """The three files over an inventory of the given text."""

    def parse(text: str) -> dict[str, DAG]:
        inventory = tmp_path / "include" / "searchops.yaml"
        inventory.parent.mkdir(exist_ok=True)
        inventory.write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.setenv("SEARCHOPS_INVENTORY", str(inventory))
        return {dag_id: dag for file in FILES for dag_id, dag in parsed(file).items()}

    return parse


def rendered(dag: DAG, task_id: str, **params: Any) -> Any:
    task: Any = dag.get_task(task_id).prepare_for_execution()
    task.render_template_fields({"params": {name: dag.params[name] for name in dag.params} | params})
    return task


def test_the_shipped_inventory_has_these_dags(dags: dict[str, DAG]) -> None:
    assert {dag_id: sorted(dag.task_ids) for dag_id, dag in dags.items()} == {
        SETTINGS: ["object-once", "stream-indexer"],
        REDRIVE: ["redrive"],
        SETUP: [
            "apply",
            "index_products-etl.scheme",
            "index_products.alias_filter",
            "index_products.landing_index",
            "index_products.scheme",
            "index_products.stream",
            "plan",
        ],
    }


def test_each_is_run_by_hand_one_at_a_time_tells_failures_and_says_what_it_does(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        (callback,) = dag.on_failure_callback if isinstance(dag.on_failure_callback, list) else [dag.on_failure_callback]
        assert (dag.schedule, dag.max_active_runs, dag.catchup) == (None, 1, False)
        assert isinstance(callback, FailureNotifier)
        assert callback.bucket == "example-searchops"
        assert "docs/functions.md" in (dag.doc_md or "")
        assert all(task.retry_policy == RETRY_POLICY for task in dag.tasks)


@pytest.mark.parametrize("file", FILES)
def test_airflows_dag_processor_takes_it_where_a_dag_that_changes_with_every_parse_is_an_error(
    monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL", "error")
    path = DAGS / f"{file}.py"

    found = _parse_file(
        DagFileParseRequest(file=str(path), bundle_path=DAGS, bundle_name="dags", callback_requests=[]), structlog.get_logger()
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


def test_the_form_of_the_settings_offers_the_functions_and_reaches_each_task(parse: Parse) -> None:
    dag = parse("""
        defaults: {region: ap-northeast-1, bucket: example-bucket}
        functions: {one: {function: f, kind: sqs}, two: {function: g, kind: stream, retries: 3}}
    """)[SETTINGS]

    assert {name: dag.params[name] for name in dag.params} == {"functions": ["one", "two"], "dry_run": False}
    assert dag.params.get_param("functions").schema["items"] == {"enum": ["one", "two"]}
    with pytest.raises(Exception, match="is not one of"):
        dag.params.get_param("functions").resolve(["three"])
    tasks = [rendered(dag, name, functions=["two"], dry_run=True) for name in ("one", "two")]
    assert [(task.selected, task.only_plan) for task in tasks] == [("False", "True"), ("True", "True")]
    assert all(dag.params.get_param(name).description for name in dag.params)


def test_the_form_of_a_redrive_looks_only_unless_told_otherwise(dags: dict[str, DAG]) -> None:
    dag = dags[REDRIVE]

    assert {name: dag.params[name] for name in dag.params} == {"dry_run": True, "errors": [], "limit": None, "reset": False}
    assert all(dag.params.get_param(name).description for name in dag.params)
    task = rendered(dag, "redrive")
    assert (task.errors, task.limit, task.reset, task.only_plan) == ("[]", "", "False", "True")
    assert rendered(dag, "redrive", limit=0).limit == "0"  # which the task refuses
    chosen = rendered(dag, "redrive", errors=["A: b's", 'C: "d"'], limit=3, reset=True, dry_run=False)
    assert (json.loads(chosen.errors), chosen.limit, chosen.reset, chosen.only_plan) == (
        ["A: b's", 'C: "d"'],
        "3",
        "True",
        "False",
    )


@pytest.mark.parametrize(
    ("name", "value"), [("limit", 0), ("limit", "x"), ("errors", "text"), ("errors", [""]), ("reset", "yes")]
)
def test_the_form_of_a_redrive_refuses_what_makes_no_sense(dags: dict[str, DAG], name: str, value: Any) -> None:
    with pytest.raises(Exception, match="Failed validating"):
        dags[REDRIVE].params.get_param(name).resolve(value)


def test_the_set_up_plans_before_it_makes_and_a_dry_run_only_plans(dags: dict[str, DAG]) -> None:
    dag = dags[SETUP]

    assert dag.get_task("apply").upstream_task_ids == {"plan"}
    assert [rendered(dag, "apply", dry_run=value).only_plan for value in (False, True)] == ["False", "True"]


def test_only_a_function_whose_failed_events_go_to_a_queue_has_a_redrive(parse: Parse) -> None:
    queue = '"arn:aws:sqs:ap-northeast-1:123456789012:failed"'
    dags = parse(f"""
        defaults: {{region: ap-northeast-1, bucket: example-bucket}}
        functions:
          one: {{function: a, kind: asynchronous, on_failure: {queue}}}
          two: {{function: b, kind: stream, on_failure: {queue}}}
          three: {{function: c, kind: asynchronous}}
    """)

    assert set(dags) == {SETTINGS, SETUP, "failed_events_redrive_one"}


def test_a_broken_function_has_a_dag_and_a_task_that_say_so_and_the_others_work(parse: Parse) -> None:
    dags = parse("""
        defaults: {region: ap-northeast-1, bucket: example-bucket}
        functions:
          good: {function: f, kind: sqs}
          bad: {function: f, kind: sqs, retries: 1}
    """)

    settings = dags[SETTINGS]
    assert set(settings.task_ids) == {"good", "bad"}
    assert dags["failed_events_redrive_bad"].tags == {"config-error", "functions"}
    for task in (dags["failed_events_redrive_bad"].get_task("config_error"), settings.get_task("bad")):
        assert 'retries has no part in kind "sqs"' in task.errors[0]
    bad = rendered(settings, "bad")
    bad.notice = None  # where a report would go
    with pytest.raises(AirflowFailException, match="retries has no part"):
        bad.execute({})
    with pytest.raises(AirflowSkipException):
        rendered(settings, "bad", functions=["good"]).execute({})


@pytest.mark.parametrize("key", ["ab 'c", 'ab "c', "{{ x }}", "ド", "%}"])
def test_a_key_that_is_itself_the_mistake_takes_nothing_else_away(parse: Parse, key: str) -> None:
    dags = parse(
        "defaults: {region: ap-northeast-1, bucket: example-bucket}\n"
        f"functions: {json.dumps({key: {'function': 'f', 'kind': 'sqs'}, 'good': {'function': 'f', 'kind': 'sqs'}}, ensure_ascii=False)}"
    )

    settings = dags[SETTINGS]
    (bad,) = set(settings.task_ids) - {"good"}
    assert rendered(settings, bad).selected == "True"
    assert rendered(settings, bad, functions=["good"]).selected == "False"


def test_without_functions_there_is_only_the_set_up_which_needs_nothing(parse: Parse) -> None:
    dags = parse("domains: {}")

    assert set(dags) == {SETUP}
    assert not dags[SETUP].on_failure_callback


def test_wrong_defaults_and_an_unreadable_file_take_no_dag_file_down(parse: Parse) -> None:
    assert parse("defaults: {claims_table: a b}")[SETUP].tags == {"config-error"}
    assert parse("defaults: [") == {}


PARSE = """
import gc, json, sys
from airflow.dag_processing.dagbag import DagBag

connections = []
sys.addaudithook(lambda event, args: connections.append(str(args[1])) if event == "socket.connect" else None)
bags = [DagBag(file) for file in {files!r}]
modules = [name for name in ("boto3", "botocore", "opensearchpy", "slack_sdk") if name in sys.modules]
print(json.dumps([[bag.import_errors for bag in bags], modules, connections]))
"""


def test_a_parse_imports_no_client_and_connects_to_nobody(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(project_root() / "plugins"),
    }
    program = PARSE.format(files=[str(DAGS / f"{file}.py") for file in FILES])

    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )

    errors, modules, connections = json.loads(result.stdout.splitlines()[-1])
    assert errors == [{}, {}, {}]
    assert (modules, connections) == ([], [])

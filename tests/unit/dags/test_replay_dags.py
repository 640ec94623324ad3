"""The DAGs of replays, as Airflow parses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from airflow.dag_processing.dagbag import DagBag
from airflow.dag_processing.processor import DagFileParseRequest, _parse_file
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.types import DagRunType

from searchops.core.replay.choice import Choice
from searchops.inventory import project_root
from searchops.notifications.slack import FailureNotifier
from searchops.retries import RETRY_POLICY

DAGS = project_root() / "dags"
FILES = ["stream_replay", "stream_replay_select"]
DAYS, SELECT = "stream_replay_products", "stream_replay_select_products"
TASKS = ["plan", "replay.touch", "replay.reconcile"]
REPLAY = "00000000000000000017"
INVENTORY = """
    defaults: {region: ap-northeast-1, bucket: example-bucket}
    domains:
      search: {opensearch_conn_id: x}
      other: {opensearch_conn_id: y, bucket: other-bucket, aws_conn_id: other_aws, slack_conn_id: other_slack}
    indexes: {written: {domain: other, id: {attributes: [pk]}, version: {scheme: once}}}
    tables:
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
    """The files over an inventory with these tables."""

    def parse(tables: str) -> dict[str, DAG]:
        inventory = tmp_path / "include" / "searchops.yaml"
        inventory.parent.mkdir(exist_ok=True)
        text = textwrap.dedent(INVENTORY) + textwrap.indent(textwrap.dedent(tables), "  ")
        inventory.write_text(text, encoding="utf-8")
        monkeypatch.setenv("SEARCHOPS_INVENTORY", str(inventory))
        return {dag_id: dag for file in FILES for dag_id, dag in parsed(file).items()}

    return parse


def rendered(dag: DAG, task_id: str, run_type: DagRunType = DagRunType.MANUAL, start: str | None = None, **params: Any) -> Any:
    """A task as a run of this kind gets it."""
    task: Any = dag.get_task(task_id).prepare_for_execution()
    for name in {"part", "replayed"} & set(vars(task)):
        setattr(task, name, {})  # what other tasks return
    dag_run = SimpleNamespace(run_type=run_type, data_interval_start=datetime.fromisoformat(start) if start else None)
    form = {name: dag.params.get_param(name).value for name in dag.params}
    task.render_template_fields({"params": form | params, "dag_run": dag_run})
    return task


def callback_of(dag: DAG) -> FailureNotifier:
    (callback,) = dag.on_failure_callback if isinstance(dag.on_failure_callback, list) else [dag.on_failure_callback]
    assert isinstance(callback, FailureNotifier)
    return callback


def test_a_table_has_both_dags_with_the_same_tasks(dags: dict[str, DAG]) -> None:
    assert set(dags) == {DAYS, SELECT}
    for dag in dags.values():
        assert dag.task_ids == TASKS
        plan, touch, reconcile = dag.tasks
        assert (touch.upstream_task_ids, reconcile.upstream_task_ids) == ({plan.task_id}, {touch.task_id})
        assert [task.pool for task in dag.tasks] == ["default_pool", "stream_replay_products", "default_pool"]
        assert all(task.retry_policy == RETRY_POLICY for task in dag.tasks)


def test_they_tell_failures_and_are_not_paused_so_that_a_backfill_does_not_wait_silently(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        callback = callback_of(dag)
        assert (callback.bucket, dag.catchup, dag.is_paused_upon_creation) == ("example-searchops", False, False)
        assert "clear the failed tasks" in callback.mend  # a new run would touch what is touched already
        assert "docs/stream_replay.md" in (dag.doc_md or "")
        assert all(dag.params.get_param(name).description for name in dag.params)


def test_the_scheduler_never_makes_a_run_and_a_backfill_makes_one_for_each_day_of_the_tables_time_zone(
    dags: dict[str, DAG],
) -> None:
    airflows: Any = DagSerialization.from_dict(DagSerialization.to_dict(dags[DAYS]))

    assert airflows.timetable.periodic
    assert airflows.timetable.summary == "backfill only, 0 0 * * *"
    assert airflows.next_dagrun_info(last_automated_run_info=None) is None
    last = next(
        iter(airflows.iter_dagrun_infos_between(datetime(2026, 11, 19, 15, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)))
    )
    assert airflows.next_dagrun_info(last_automated_run_info=last) is None
    infos = airflows.iter_dagrun_infos_between(datetime(2026, 11, 19, 15, tzinfo=UTC), datetime(2026, 11, 21, 15, tzinfo=UTC))
    starts = [info.data_interval.start for info in infos]
    assert starts == [datetime(2026, 11, day, 15, tzinfo=UTC) for day in (19, 20, 21)]
    assert dags[SELECT].schedule is None


def test_no_task_has_an_end_date_which_would_take_it_out_of_a_run_that_the_form_triggers(dags: dict[str, DAG]) -> None:
    """The form sends the present time as the logical date."""
    airflows: Any = DagSerialization.from_dict(DagSerialization.to_dict(dags[DAYS]))

    assert airflows.end_date is None
    assert [task.end_date for task in airflows.tasks] == [None, None, None]


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
def test_two_parses_give_the_same_dag(dags: dict[str, DAG], file: str) -> None:
    (again,) = parsed(file).values()

    one, other = (json.dumps(DagSerialization.to_dict(dag), sort_keys=True, default=str) for dag in (again, dags[again.dag_id]))
    assert one == other


def test_a_backfill_replays_the_day_of_its_interval_and_a_trigger_the_days_of_its_form(dags: dict[str, DAG]) -> None:
    dag = dags[DAYS]
    backfill = rendered(dag, "plan", DagRunType.BACKFILL_JOB, "2026-11-20T15:00:00+00:00")
    assert Choice.of(backfill.choice) == Choice(interval_start=datetime(2026, 11, 20, 15, tzinfo=UTC))
    assert backfill.only_plan == "False"

    # A run that the form triggers has an interval as well: that of yesterday.
    manual = rendered(dag, "plan", DagRunType.MANUAL, "2026-11-20T15:00:00+00:00", days=["2026-11-21"], dry_run=True)
    assert Choice.of(manual.choice) == Choice.of({"days": ["2026-11-21"]})
    assert manual.only_plan == "True"
    ranged = rendered(dag, "plan", first_day="2026-11-01", last_day="2026-11-03")
    assert Choice.of(ranged.choice) == Choice.of({"first_day": "2026-11-01", "last_day": "2026-11-03"})


def test_the_form_of_a_selection_reaches_the_plan_and_looks_only(dags: dict[str, DAG]) -> None:
    dag = dags[SELECT]
    plain = rendered(dag, "plan")
    assert (Choice.of(plain.choice), plain.only_plan) == (Choice(), "True")

    found = {"expression": "#c = :c", "names": {"#c": 'it\'s "category"'}, "values": {":c": {"S": "工具"}}}
    forms: list[dict[str, Any]] = [
        {"partition_keys": ["a b", '"'], "sort_key_first": "1", "sort_key_last": "2"},
        {"keys_file": "s3://b/k.ndjson"},
        {"sample": 5},
        {"whole_table": True, "segments": 4},
    ]
    for form in forms:
        task = rendered(dag, "plan", dry_run=False, filter=found, **form)
        assert Choice.of(task.choice) == Choice.of({**form, "filter": found})
        assert task.only_plan == "False"


@pytest.mark.parametrize("dag_id", [DAYS, SELECT])
def test_the_pace_reaches_every_task_and_what_is_rewritten_or_abandoned_the_plan(dags: dict[str, DAG], dag_id: str) -> None:
    assert {rendered(dags[dag_id], task_id).wcu_per_second for task_id in TASKS} == {""}
    assert {rendered(dags[dag_id], task_id, wcu_per_second=12.5).wcu_per_second for task_id in TASKS} == {"12.5"}
    assert [json.loads(rendered(dags[dag_id], "plan", **given).abandon) for given in ({}, {"abandon": [REPLAY]})] == [
        [],
        [REPLAY],
    ]
    assert rendered(dags[dag_id], "plan").rewrite == "False"
    assert rendered(dags[dag_id], "plan", rewrite=True).rewrite == "True"


@pytest.mark.parametrize(
    ("dag_id", "name", "value"),
    [
        (DAYS, "days", ["tomorrow"]),
        (DAYS, "days", ["20261121"]),
        (DAYS, "days", "2026-11-21"),
        (DAYS, "first_day", "2026-13-01"),
        (DAYS, "wcu_per_second", 0),
        (DAYS, "wcu_per_second", -1),
        (DAYS, "dry_run", "yes"),
        (DAYS, "filter", {"values": {}}),
        (DAYS, "filter", "a = b"),
        (DAYS, "abandon", ["17"]),
        (SELECT, "abandon", "00000000000000000017"),
        (SELECT, "partition_keys", [""]),
        (SELECT, "keys_file", "/data/keys"),
        (SELECT, "sample", 0),
        (SELECT, "segments", 0),
        (SELECT, "rewrite", 1),
    ],
)
def test_the_forms_refuse_what_makes_no_sense(dags: dict[str, DAG], dag_id: str, name: str, value: Any) -> None:
    with pytest.raises(Exception, match=r"Failed validating|is not a"):
        dags[dag_id].params.get_param(name).resolve(value)


def test_a_table_without_a_date_index_can_only_be_selected_from(parse: Parse) -> None:
    dags = parse("orders: {consumers: [{function: f}]}")

    assert set(dags) == {"stream_replay_select_orders"}


def test_a_table_speaks_where_the_index_does_that_its_stream_is_written_to(parse: Parse) -> None:
    dags = parse("""
        here: {index: written, date_index: {name: by_day, attribute: day}}
        alone: {}
    """)

    places = {dag_id: callback_of(dag) for dag_id, dag in dags.items()}
    assert {(place.bucket, place.aws_conn_id, place.slack_conn_id) for place in places.values()} == {
        ("other-bucket", "other_aws", "other_slack"),
        ("example-bucket", "aws_default", "slack_default"),
    }
    assert places["stream_replay_here"].bucket == places["stream_replay_select_here"].bucket == "other-bucket"


def test_a_table_has_its_days_in_its_own_time_zone(parse: Parse) -> None:
    dags = parse("""
        here: {date_index: {name: by_day, attribute: day, timezone: America/New_York}}
    """)

    assert "America/New_York" in (dags["stream_replay_here"].doc_md or "")
    airflows: Any = DagSerialization.from_dict(DagSerialization.to_dict(dags["stream_replay_here"]))
    # The clocks were set back on 1 November 2026: that day has 25 hours.
    bounds = datetime(2026, 10, 31, 4, tzinfo=UTC), datetime(2026, 11, 2, 5, tzinfo=UTC)
    starts = [info.data_interval.start for info in airflows.iter_dagrun_infos_between(*bounds)]
    assert starts == [datetime(2026, 10, 31, 4, tzinfo=UTC), datetime(2026, 11, 1, 4, tzinfo=UTC), bounds[1]]


def test_a_broken_table_has_dags_that_say_so_and_the_others_work(parse: Parse) -> None:
    dags = parse("""
        good: {date_index: {name: by_day, attribute: day}}
        bad: {date_index: {name: by_day, attribute: day}, replay: {wcu_per_second: 0}}
    """)

    assert set(dags) == {f"{prefix}_{name}" for prefix in FILES for name in ("good", "bad")}
    for prefix in FILES:
        bad = dags[f"{prefix}_bad"]
        assert bad.tags == {"config-error", "replay"}
        assert "wcu_per_second" in bad.get_task("config_error").errors[0]


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
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project_root() / "plugins"),
        "PYTHONPATH": str(project_root() / "plugins"),
    }
    program = PARSE.format(files=[str(DAGS / f"{file}.py") for file in FILES])

    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert json.loads(result.stdout.splitlines()[-1]) == [[{}, {}], [], []]

"""The notifier against a Slack that fails (a process of its own) and the S3 of moto's server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from airflow.sdk import DAG, BaseOperator
from moto.server import ThreadedMotoServer

from local.simulators.http import Server
from local.simulators.slack import Fault, Slack, SlackControl
from searchops.core.report import MAX_BYTES, Report, ReportStore, run_prefix
from searchops.notifications.slack import FailureNotifier

ROOT = Path(__file__).parents[3]
DAG_ID, RUN_ID = "dictionary_sync_products", "scheduled__2026-02-01T03:00:00+00:00"
TOKEN = "T0000/B0000/XXsecretXX"


@pytest.fixture(scope="module")
def slack_process() -> Iterator[SlackControl]:
    command = [sys.executable, "-m", "local.simulators.slack", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        listening = re.search(r"http://\S+", process.stderr.readline())
        assert listening, "the simulator did not say where it listens"
        control = SlackControl(listening[0])
        yield control
        control.close()
        process.terminate()


@pytest.fixture
def slack(slack_process: SlackControl) -> SlackControl:
    slack_process.reset()
    return slack_process


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def environment(slack: SlackControl, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    variables = {
        "AIRFLOW_CONN_SLACK_DEFAULT": slack_connection(slack.base_url),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({"conn_type": "aws", "extra": {"region_name": "ap-northeast-1"}}),
        "AWS_ENDPOINT_URL": s3_url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def store(environment: dict[str, str]) -> ReportStore:
    s3 = boto3.client("s3", region_name="ap-northeast-1")
    bucket = f"bucket-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    return ReportStore(s3, bucket)


def slack_connection(base_url: str) -> str:
    return json.dumps({"conn_type": "slackwebhook", "password": f"{base_url}/services/{TOKEN}"})


def notifier(store: ReportStore, **changes: Any) -> FailureNotifier:
    return FailureNotifier(**{"bucket": store._bucket, "first_wait_seconds": 0.05, "budget_seconds": 20.0, **changes})


def report(task_id: str = "publish", **changes: Any) -> Report:
    return Report(
        **{
            "dag_id": DAG_ID,
            "run_id": RUN_ID,
            "task_id": task_id,
            "outcome": "failed",
            "title": "UpdatePackage: refused",
            **changes,
        }
    )


def context(states: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """A DAG-level callback's context: no exception, one failed task, and a way to ask for the states of the others."""
    states = {"publish": "failed"} if states is None else states
    ti = SimpleNamespace(task_id="publish", map_index=-1, try_number=1, get_task_states=lambda dag_id, run_ids: {RUN_ID: states})
    with DAG(DAG_ID, schedule=None) as dag:
        for task_id in ("plan", "publish", "bulk"):
            BaseOperator(task_id=task_id)
    return {"dag": dag, "run_id": RUN_ID, "ti": ti, "reason": "task_failure", **changes}


def deadline_context() -> dict[str, Any]:
    run = {"dag_id": DAG_ID, "dag_run_id": RUN_ID, "state": "running"}
    return {"dag_run": run, "deadline": {"id": "1", "deadline_time": "2026-02-01 05:00:00+00:00"}}


def only_text(slack: SlackControl) -> str:
    (message,) = slack.messages()
    return str(message["text"])


# ── the reports ──


def test_reports_are_read_back_from_s3_as_they_were_written(store):
    written = [report("bulk", map_index=number, reason="429 と <言う>") for number in range(3)]
    for each in written:
        store.write(each)

    assert store.read_run(DAG_ID, RUN_ID) == written
    assert store.read_run(DAG_ID, RUN_ID + "x") == []


def test_a_report_that_cannot_be_used_is_told_beside_the_others(store):
    store.write(report())
    put = boto3.client("s3").put_object
    for task, body in {"cut": b'{"format": "sear', "other": b'{"a": 1}', "huge": b" " * (MAX_BYTES + 1)}.items():
        put(Bucket=store._bucket, Key=f"{run_prefix(DAG_ID, RUN_ID)}{task}.json", Body=body)

    read = {each.task_id: each for each in store.read_run(DAG_ID, RUN_ID)}

    assert read["publish"].outcome == "failed"
    assert {read[task].outcome for task in ("cut", "other", "huge")} == {"unreadable"}
    assert "cut off" in read["cut"].reason
    assert "not a report of ours" in read["other"].reason
    assert f"at most {MAX_BYTES}" in read["huge"].reason


def test_the_report_of_another_task_under_its_key_is_not_believed(store):
    stray = report("elsewhere")
    boto3.client("s3").copy_object(
        Bucket=store._bucket,
        Key=report("publish").key,
        CopySource={"Bucket": store._bucket, "Key": store.write(stray).partition(f"{store._bucket}/")[2]},
    )

    assert {each.task_id: each.outcome for each in store.read_run(DAG_ID, RUN_ID)} == {
        "elsewhere": "failed",
        "publish": "unreadable",
    }


def test_reports_that_are_not_reached_in_time_are_said_to_be_missing(store):
    store.write(report())

    assert "not reached in time" in store.read_run(DAG_ID, RUN_ID, max_seconds=-1)[0].reason


# ── one message a run ──


def test_a_failed_run_is_told_with_the_words_of_aws_and_where_to_look(slack, store):
    store.write(report(reason="ValidationException: too large", links=[("AWS console", "https://console.example/F1")]))

    notifier(store)(context())

    text = only_text(slack)
    assert f"*{DAG_ID}* failed: 1 task failed" in text
    assert "*publish*: UpdatePackage: refused\n> ValidationException: too large" in text
    assert "/tasks/publish?try_number=1|log>" in text
    assert "<https://console.example/F1|AWS console>" in text


def test_twelve_failed_tasks_make_one_message(slack, store):
    for number in range(12):
        store.write(report("bulk", map_index=number))
    states = {f"bulk_{number}": "failed" for number in range(12)} | {"plan": "success", "publish": "upstream_failed"}
    last = SimpleNamespace(task_id="bulk", map_index=7, try_number=1, get_task_states=context(states)["ti"].get_task_states)

    notifier(store)(context(states, ti=last))

    text = only_text(slack)
    assert "12 tasks failed" in text
    assert "bulk [11]" in text
    assert "died" not in text


def test_a_task_whose_process_died_is_told_beside_one_that_left_a_report(slack, store):
    store.write(report())

    notifier(store)(context({"publish": "failed", "plan": "failed"}))

    text = only_text(slack)
    assert "2 tasks failed" in text
    assert "*plan*: no report: the process died" in text


def test_a_run_of_which_nothing_is_known_but_its_id_is_still_told(slack, store):
    notifier(store)({"dag": DAG(DAG_ID, schedule=None), "run_id": RUN_ID, "reason": "task_failure"})

    assert f"*{DAG_ID}* failed: no task said why" in only_text(slack)


def test_a_context_that_nobody_expected_still_makes_a_message(slack, store):
    notifier(store)({"run_id": RUN_ID})

    assert f"a DAG {RUN_ID} failed" in only_text(slack)


def test_a_failure_that_was_told_before_is_not_told_again(slack, store, caplog):
    caplog.set_level(logging.INFO)
    store.write(report(announce=False))

    notifier(store)(context())

    assert slack.calls() == []
    assert "have been told already; no message" in caplog.text


def test_a_new_failure_is_told_even_beside_one_that_was_told_before(slack, store):
    store.write(report(announce=False))
    store.write(report("plan", title="throttled for too long"))

    notifier(store)(context({"publish": "failed", "plan": "failed"}))

    assert "throttled for too long" in only_text(slack)


def test_a_missed_deadline_is_told_from_the_triggerer(slack, store):
    store.write(report(reason="ThrottlingException: Rate exceeded"))

    async def run() -> None:
        await notifier(store, context=deadline_context())

    asyncio.run(run())

    text = only_text(slack)
    assert f"*{DAG_ID}* is late: due at 2026-02-01 05:00:00+00:00, now running" in text
    assert "ThrottlingException: Rate exceeded" in text


# ── a Slack that fails ──


def send(how: str, one: FailureNotifier) -> None:
    if how == "DAG processor":
        one(context())
        return

    async def run() -> None:
        one.context = deadline_context()  # type: ignore[assignment]
        await one

    asyncio.run(run())


PLACES = pytest.mark.parametrize("place", ["DAG processor", "triggerer"])


@PLACES
@pytest.mark.parametrize(
    "fault",
    [
        Fault(count=3, status=500),
        Fault(count=3, status=503),
        Fault(count=3, status=429),
        Fault(count=3, kind="reset"),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status}",
)
def test_a_message_arrives_once_after_three_failures(slack, store, place, fault):
    slack.fail(fault)

    send(place, notifier(store))

    assert len(slack.messages()) == 1
    times = [call["time"] for call in slack.calls()]
    assert len(times) == 4
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert all(wait >= least for wait, least in zip(waits, [0.05, 0.1, 0.2], strict=True))


@PLACES
def test_slack_is_left_alone_for_as_long_as_it_asks(slack, store, place):
    slack.fail(Fault(status=429, retry_after=1))

    send(place, notifier(store))

    first, second = [call["time"] for call in slack.calls()]
    assert second - first >= 1
    assert len(slack.messages()) == 1


@PLACES
def test_after_six_retries_the_message_is_given_up_and_kept_in_the_log(slack, store, place, caplog):
    slack.fail(Fault(count=99, status=500))

    send(place, notifier(store, first_wait_seconds=0.01))

    assert len(slack.calls()) == 7
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "HTTP 500 internal_error; gave up after 6 of 6 retries" in error.getMessage()
    assert f"*{DAG_ID}*" in error.getMessage()


def test_the_notifier_ends_before_its_process_is_killed(slack, store, caplog):
    slack.fail(Fault(count=99, status=503))
    began = time.monotonic()

    notifier(store, first_wait_seconds=0.3, budget_seconds=2.0)(context())

    assert time.monotonic() - began < 2.0 + 1.0
    assert re.search(r"gave up after [123] of 6 retries in [\d.]+ of 2 s", caplog.text)


def test_an_hour_that_slack_asks_for_is_not_waited_for(slack, store, caplog):
    slack.fail(Fault(status=429, retry_after=3600))

    notifier(store)(context())

    assert "gave up after 0 of 6 retries" in caplog.text


@PLACES
def test_a_slack_that_does_not_answer_uses_up_no_more_than_the_budget(store, place, caplog, monkeypatch):
    with Server(Slack().application()) as own:  # calls that nobody waits for any more must not reach another test
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", slack_connection(own.url))
        SlackControl(own.url).fail(Fault(count=99, kind="slow", seconds=3))
        began = time.monotonic()

        send(place, notifier(store, request_seconds=0.3, budget_seconds=1.5, triggerer_budget_seconds=1.5))

    assert time.monotonic() - began < 1.5 + 1.0
    assert "TimeoutError" in caplog.text


@PLACES
def test_an_error_that_will_not_pass_is_not_tried_again(slack, store, place, caplog):
    slack.fail(Fault(status=404))

    send(place, notifier(store))

    assert len(slack.calls()) == 1
    assert "HTTP 404" in caplog.text


@PLACES
def test_a_connection_that_does_not_exist_raises_nothing_and_is_named_in_the_log(store, place, caplog):
    send(place, notifier(store, slack_conn_id="slack_nowhere"))

    assert "could not be sent to Slack" in caplog.text
    assert "slack_nowhere" in caplog.text


# ── an S3 that fails ──


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@PLACES
def test_a_failure_is_told_when_s3_cannot_be_reached(slack, store, place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port()}")
    began = time.monotonic()

    send(place, notifier(store))

    assert "The reports could not be read: no answer from AWS" in only_text(slack)
    assert time.monotonic() - began < 8


def test_a_failure_is_told_when_s3_accepts_connections_and_says_nothing(slack, store, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()

        notifier(store)(context())

    text = only_text(slack)
    assert "*publish*: its report could not be read" in text
    assert time.monotonic() - began < 15


def test_a_bucket_that_is_missing_is_named_as_the_reason(slack):
    FailureNotifier(bucket="bucket-that-is-not-there")(context())

    assert "NoSuchBucket" in only_text(slack)


# ── secrets ──


@PLACES
@pytest.mark.parametrize("way", ["status", "reset", "nothing listens", "not a URL", "not a connection"])
def test_the_webhook_is_a_secret_that_no_log_and_no_message_shows(slack, store, place, way, caplog, capfd, monkeypatch):
    caplog.set_level(logging.DEBUG)
    connections = {
        "nothing listens": slack_connection(f"http://127.0.0.1:{closed_port()}"),
        "not a URL": json.dumps({"conn_type": "slackwebhook", "password": f"gopher://host/services/{TOKEN}"}),
        "not a connection": f"slackwebhook://{TOKEN}://{TOKEN}",
    }
    if way in connections:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", connections[way])
    else:
        slack.fail(Fault(count=99, kind=way))  # type: ignore[arg-type]

    send(place, notifier(store, first_wait_seconds=0.01, max_retries=2))

    out, err = capfd.readouterr()
    assert "could not be sent to Slack" in caplog.text
    for shown in (caplog.text, out, err):
        assert "XXsecretXX" not in shown


# ── under Airflow's own code ──

DAG_FILE = """
from __future__ import annotations

import boto3
from airflow.sdk import dag, get_current_context, task

from searchops.core.errors import DataError, TransientError
from searchops.core.report import Report, ReportStore
from searchops.notifications.slack import FailureNotifier
from searchops.retries import RETRY_POLICY

BUCKET = "{bucket}"


@dag(schedule=None, on_failure_callback=FailureNotifier(bucket=BUCKET), default_args={{"retries": 2, "retry_policy": RETRY_POLICY}})
def twelve():
    @task
    def load(number: int):
        ti = get_current_context()["ti"]
        error = DataError(f"number {{number}} is refused", reason="ValidationException: no")
        names = {{"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}}
        report = Report.failure(error, **names, map_index=ti.map_index, try_number=ti.try_number)
        ReportStore(boto3.client("s3"), BUCKET).write(report)
        raise error

    @task
    def wait_a_moment():
        if get_current_context()["ti"].try_number == 1:
            raise TransientError("busy")

    load.expand(number=list(range(12)))
    wait_a_moment()


twelve()
"""

RUNNER = """
import json, os
from airflow.utils import db

db.initdb()
from airflow.dag_processing.dagbag import DagBag

bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
assert not bag.import_errors, bag.import_errors
run = bag.dags["twelve"].test()
print("STATES", json.dumps([[t.task_id, t.map_index, str(t.state), t.try_number] for t in run.get_task_instances()]))
"""


def test_a_dag_of_twelve_failing_tasks_sends_one_message_and_retries_only_what_may_pass(slack, store, environment, tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "twelve.py").write_text(textwrap.dedent(DAG_FILE.format(bucket=store._bucket)))
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
        **environment,
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__API__BASE_URL": "http://airflow.example",
        "PYTHONPATH": str(ROOT / "plugins"),
        "SEARCHOPS_RETRY_SECONDS": "0.1",
    }
    command = [sys.executable, "-c", RUNNER]
    ran = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=180, check=False)

    states = re.search(r"^STATES (.*)$", ran.stdout, re.MULTILINE)
    assert states, ran.stdout[-3000:] + ran.stderr[-3000:]
    tasks = json.loads(states[1])
    assert [(name, state, tries) for name, _, state, tries in tasks if name == "load"] == [("load", "failed", 1)] * 12
    assert [(state, tries) for name, _, state, tries in tasks if name == "wait_a_moment"] == [("success", 2)]
    text = only_text(slack)
    assert "*twelve* failed: 12 tasks failed" in text
    assert "number 0 is refused\n> ValidationException: no" in text
    assert "http://airflow.example/dags/twelve/runs/" in text

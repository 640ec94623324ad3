"""What happens to several domains at the same time; most of the time each waits for something."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Barrier
from typing import Any

from local.demo.acts import Run
from local.demo.functions import UPLOADS
from local.demo.world import REGION
from local.furnish import FAILED_EVENTS, FUNCTION
from local.simulators.slack import Fault
from tests.system.company import Company, wait_for
from tests.system.views import Gate

Stories = Mapping[str, "Future[Any]"]

RETRIES = 3
PATIENCE_SECONDS = 240  # for a machine that is busy with other things
REFUSALS = 3
KILLED = "opening what this task closed"
REDRIVE = "failed_events_redrive_object-once"


def failing(company: Company) -> Mapping[str, Run]:
    """The DAGs that fail are run while Slack takes nothing at first."""
    assert company.slack is not None
    company.slack.fail(Fault(count=REFUSALS, status=500))
    started = {dag_id: company.airflow.trigger(dag_id) for dag_id in ("worker_dies", "process_dies", "twelve_fail")}
    return {dag_id: company.finish_dag(dag_id, run_id) for dag_id, run_id in started.items()}


_held = Barrier(2)


def end_associations(company: Company) -> None:
    """Let the associations become ACTIVE that two stories have held up, once both have seen them; the simulator ends all at once."""
    if _held.wait(PATIENCE_SECONDS) == 0:
        company.packages.clear_faults()


def late(company: Company) -> Run:
    """The association does not end before the deadline, and the triggerer is killed while it is waited for."""
    company.packages.fault("stay", "AssociatePackage", domain_name="late")
    company.deploy("late-words", "late, overdue")
    run_id = company.start("late")
    company.airflow.wait_for_task(
        "dictionary_sync_late", run_id, "late-words.wait_for_domain", "deferred", timeout=PATIENCE_SECONDS
    )
    company.told(run_id, seconds=PATIENCE_SECONDS)
    assert company.airflow.task_states("dictionary_sync_late", run_id)["late-words.wait_for_domain"] == "deferred"
    company.cloud.process("airflow-triggerer").kill()
    end_associations(company)
    return company.finish(run_id, "late")


@dataclass(frozen=True, slots=True)
class Closing:
    retried: Run
    given_up: Run
    was_open: bool
    next_run: Run
    hits: tuple[int, int]


def closing(company: Company) -> Closing:
    """The task that closes the index is killed before it opens it: once, and then in every try."""
    company.index_document("closing-1", "close")
    company.deploy("closing-words", "close, shut")
    retried = company.start("closing")
    kill_closed(company, company.views.hold("closing", "/_open"), retried, 1)
    first = company.finish(retried, "closing")
    after_first = company.hits("closing-1", "shut")
    company.deploy("closing-words", "close, seal")
    given_up = company.start("closing")
    kill_closed(company, company.views.hold("closing", "/_open", times=RETRIES + 1), given_up, RETRIES + 1)
    second = company.finish(given_up, "closing")
    was_open = company.is_open("closing-1")
    third = company.finish(company.start("closing"), "closing")
    return Closing(first, second, was_open, third, (after_first, company.hits("closing-1", "seal")))


def kill_closed(company: Company, gate: Gate, run_id: str, times: int) -> None:
    for _ in range(times):
        gate.wait(PATIENCE_SECONDS)
        assert not company.is_open("closing-1")
        company.kill_task(run_id, "closing-words.apply", "closing")


@dataclass(frozen=True, slots=True)
class Marked:
    in_wait: Run
    in_apply: Run
    open_after_apply: list[bool]
    closed: list[str]
    next_run: Run


def marked(company: Company) -> Marked:
    """A run is marked failed while it waits; the apply of the next one is marked failed while an index is closed."""
    dag_id = "dictionary_sync_marked"
    for index in ("marked-1", "marked-2"):
        company.index_document(index, "mark")
    company.packages.fault("stay", "AssociatePackage", domain_name="marked")
    company.deploy("marked-words", "mark, label")
    first = company.start("marked")
    company.airflow.wait_for_task(dag_id, first, "marked-words.wait_for_domain", "deferred", timeout=PATIENCE_SECONDS)
    company.airflow.set_run_state(dag_id, first, "failed")
    in_wait = company.finish(first, "marked")
    end_associations(company)

    gate = company.views.hold("marked", "/_open")
    second = company.start("marked")
    gate.wait(PATIENCE_SECONDS)
    instances = company.airflow.task_instances(dag_id, second)
    pid = next(task["pid"] for task in instances if task["task_id"] == "marked-words.apply")
    company.airflow.set_task_state(dag_id, second, "marked-words.apply", "failed")
    # Once the task has been told to end it has some seconds, in which its call is answered after all.
    wait_for(lambda: KILLED in company.airflow.log(dag_id, second, "marked-words.apply"), PATIENCE_SECONDS)
    gate.let_through()
    wait_for(lambda: not company.lives(pid), PATIENCE_SECONDS)
    in_apply = company.finish(second, "marked")
    opened = [company.is_open(index) for index in ("marked-1", "marked-2")]
    closed = [call.path for call in company.views.calls("marked") if call.path.endswith("/_close")]
    return Marked(in_wait, in_apply, opened, closed, company.finish(company.start("marked"), "marked"))


@dataclass(frozen=True, slots=True)
class Redriven:
    """The runs of the DAGs on functions, in their order, and the keys of what the function left of the event."""

    settings: Run
    shown: Run
    set_up: Run
    sent: Run
    effects: list[str]


def redriven(company: Company) -> Redriven:
    """The function that `make up` deploys gets an event before there is a table of claims."""
    settings = run_dag(company, "lambda_retry_settings")
    invoke_by_upload(company, "synonyms.txt", b"tower, spire\n")
    sqs = company.client("sqs")
    url = sqs.get_queue_url(QueueName=FAILED_EVENTS)["QueueUrl"]
    names = ["ApproximateNumberOfMessages"]
    wait_for(
        lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]] == "1", PATIENCE_SECONDS
    )
    shown, set_up = run_dags(company, {REDRIVE: {}, "searchops_setup": {"indexes": []}})
    sent = run_dag(company, REDRIVE, dry_run=False)

    def effects() -> list[str]:
        return [row["Key"] for row in company.s3.list_objects_v2(Bucket=UPLOADS, Prefix="checks/").get("Contents", [])]

    wait_for(lambda: bool(effects()), PATIENCE_SECONDS)
    return Redriven(settings, shown, set_up, sent, effects())


def run_dag(company: Company, dag_id: str, **conf: Any) -> Run:
    return run_dags(company, {dag_id: conf})[0]


def run_dags(company: Company, wanted: Mapping[str, Mapping[str, Any]]) -> list[Run]:
    """Run them at the same time."""
    started = {dag_id: company.airflow.trigger(dag_id, conf) for dag_id, conf in wanted.items()}
    return [company.finish_dag(dag_id, run_id) for dag_id, run_id in started.items()]


def invoke_by_upload(company: Company, key: str, content: bytes) -> None:
    """Write an object and invoke the function as S3 does."""
    company.s3.create_bucket(Bucket=UPLOADS, CreateBucketConfiguration={"LocationConstraint": REGION})
    etag = company.s3.put_object(Bucket=UPLOADS, Key=key, Body=content)["ETag"].strip('"')
    s3 = {"bucket": {"name": UPLOADS}, "object": {"key": key, "size": len(content), "eTag": etag, "sequencer": "0A"}}
    event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}
    company.client("lambda").invoke(FunctionName=FUNCTION, InvocationType="Event", Payload=json.dumps(event).encode())


STORIES: Mapping[str, Callable[[Company], Any]] = {
    "failing": failing,
    "late": late,
    "closing": closing,
    "marked": marked,
    "redriven": redriven,
}

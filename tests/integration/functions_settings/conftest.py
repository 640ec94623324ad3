"""A function of the inventory in real processes, the queue of its failed events, and the three DAGs on it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag

from local.aws import VARIABLES_TO_UNSET
from local.cloud import ROOT, Cloud
from local.demo.functions import ObjectFunction, wait_until
from local.simulators.functions.control import FunctionsControl
from searchops.core.report import Report, ReportStore
from tests.conftest import aws_client
from tests.unit.task import Running

BUCKET = "example-functions-settings"
REGION, ACCOUNT = "ap-northeast-1", "123456789012"
CONNECTION = '{"conn_type": "aws"}'

_numbers = itertools.count(1)


class Company:
    """One function and its entry in an inventory of its own. ``table`` is not made."""

    def __init__(self, cloud: Cloud, control: FunctionsControl, folder: Path) -> None:
        number = next(_numbers)
        self.cloud, self.control = cloud, control
        self.name, self.table = f"settings-{number}", f"searchops-claims-{number}"
        self.inventory = folder / "include" / "searchops.yaml"
        self.inventory.parent.mkdir(exist_ok=True)
        self.sqs, self.dynamodb, self.lambda_, self.s3 = map(self.client, ("sqs", "dynamodb", "lambda", "s3"))
        if BUCKET not in [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]]:
            self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.queue_url = self.sqs.create_queue(QueueName=f"{self.name}-failed")["QueueUrl"]
        self.queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}-failed"
        self.enter()

    def client(self, service: str) -> Any:
        return aws_client(self.cloud, service)

    def enter(self, **fields: Any) -> None:
        entry = {"function": self.name, "kind": "asynchronous", "retries": 0, "on_failure": self.queue, **fields}
        given = {"region": REGION, "bucket": BUCKET, "claims_table": self.table}
        self.inventory.write_text(yaml.safe_dump({"defaults": given, "functions": {"f": entry}}), encoding="utf-8")

    def deploy(self, **options: Any) -> ObjectFunction:
        return ObjectFunction(self.client, self.control, **{"table": self.table, "name": self.name, **options})

    def run(self, file: str, dag_id: str, task_id: str, **params: Any) -> Any:
        """One task of a DAG, with its form filled in, as Airflow would run it."""
        return self.running(file, dag_id, task_id, **params).execute()

    def running(self, file: str, dag_id: str, task_id: str, **params: Any) -> Running:
        bag = DagBag(ROOT / "dags" / f"{file}.py")
        assert bag.import_errors == {}
        dag = bag.dags[dag_id]
        task: Any = dag.get_task(task_id).prepare_for_execution()
        task.render_template_fields({"params": {name: dag.params[name] for name in dag.params} | params})
        return Running(task)

    def settings(self, **params: Any) -> Any:
        return self.run("lambda_retry_settings", "lambda_retry_settings", "f", **params)

    def set_up(self, **params: Any) -> Any:
        return [self.run("searchops_setup", "searchops_setup", task, **params)["changes"] for task in ("plan", "apply")]

    def redrive(self, **params: Any) -> Any:
        return self.run("failed_events_redrive", "failed_events_redrive_f", "redrive", **params)

    def report(self) -> Report:
        """What the last task that ran has left."""
        return ReportStore(self.s3, BUCKET).read_run("dictionary_sync_products", "manual__1")[-1]

    def messages(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))

    def wait_for_messages(self, count: int) -> None:
        wait_until(lambda: self.messages() == count, f"{count} messages in {self.queue}")


@pytest.fixture(scope="session")
def functions(dynamodb_cloud: Cloud) -> Iterator[FunctionsControl]:
    control = FunctionsControl(dynamodb_cloud.endpoints["functions"])
    yield control
    control.close()


@pytest.fixture
def company(dynamodb_cloud: Cloud, functions: FunctionsControl, tmp_path: Path) -> Iterator[Company]:
    company = Company(dynamodb_cloud, functions, tmp_path)
    given = dict(dynamodb_cloud.environment) | {
        "SEARCHOPS_INVENTORY": str(company.inventory),
        "AIRFLOW_CONN_AWS_DEFAULT": CONNECTION,
    }
    with mock.patch.dict(os.environ, given), pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES_TO_UNSET:
            patch.delenv(name, raising=False)
        patch.setattr("searchops.core.functions.queue.WAIT_SECONDS", 0)
        yield company
    for page in company.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            company.s3.delete_object(Bucket=BUCKET, Key=found["Key"])


Deploy = Callable[..., ObjectFunction]

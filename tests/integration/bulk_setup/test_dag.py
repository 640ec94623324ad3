"""The tasks of searchops_setup for an index, run one by one as Airflow would, on the node, moto and the Firehose simulator."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowSkipException
from botocore.loaders import create_loader
from opensearchpy import OpenSearch

from local.aws import REGION, VARIABLES_TO_UNSET
from local.cloud import Cloud
from local.demo.functions import wait_until
from searchops.core.bulk.scheme import PROPERTIES
from searchops.core.bulk.scheme_setup import Contradicted
from searchops.core.errors import DataError, TransientError
from searchops.core.report import ReportStore
from searchops.inventory import project_root
from tests.conftest import aws_client
from tests.integration.bulk_setup.conftest import MakeIndex, write
from tests.unit.task import Running

BUCKET = "bulk-setup"
STEPS = ("scheme", "landing_index", "alias_filter", "stream")
_loader = cache(create_loader)
_numbers = itertools.count(1)


class Company:
    """An inventory with one index, and a domain of which moto knows the ARN and the node does the work."""

    def __init__(self, cloud: Cloud, node: OpenSearch, path: Path) -> None:
        self.cloud, self.node = cloud, node
        self.domain = f"setup-domain-{next(_numbers)}"
        self.path = path / "include" / "searchops.yaml"
        self.path.parent.mkdir()
        s3 = self.client("s3")
        if BUCKET not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        boto3.client("opensearch").create_domain(DomainName=self.domain)

    def client(self, service: str) -> Any:
        return aws_client(self.cloud, service)

    def stream_status(self, name: str) -> str:
        described = self.client("firehose").describe_delivery_stream(DeliveryStreamName=f"{name}-overflow")
        return str(described["DeliveryStreamDescription"]["DeliveryStreamStatus"])

    def enter(self, name: str, **fields: Any) -> None:
        entry = {
            "domain": self.domain,
            "id": {"attributes": ["pk"]},
            "version": {"scheme": "attribute", "attribute": "revision"},
            "hand_over": {"firehose": f"{name}-overflow", "patience": "1m"},
            **fields,
        }
        self.write({name: {field: value for field, value in entry.items() if value is not None}})

    def write(self, indexes: dict[str, Any]) -> None:
        inventory = {
            "defaults": {"region": REGION, "bucket": BUCKET},
            "domains": {self.domain: {"opensearch_conn_id": "setup_node"}},
            "indexes": indexes,
        }
        self.path.write_text(yaml.safe_dump(inventory), encoding="utf-8")
        bag = DagBag(project_root() / "dags" / "searchops_setup.py")
        assert bag.import_errors == {}
        self.dag = bag.dags["searchops_setup"]

    def run(self, name: str, step: str, **params: Any) -> Any:
        dag = self.dag
        task: Any = dag.get_task(f"index_{name}.{step}").prepare_for_execution()
        task.render_template_fields({"params": {name: dag.params[name] for name in dag.params} | params})
        return Running(task).execute()


@pytest.fixture
def company(bulk_cloud: Cloud, bare_node: OpenSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    # Every task makes its clients anew, as its process would; reading the service models anew takes most of that.
    monkeypatch.setattr(botocore.session, "create_loader", _loader)
    # The domain's API is moto's here: the package simulator is not part of this cloud.
    given = {**bulk_cloud.environment, "AWS_ENDPOINT_URL_OPENSEARCH": bulk_cloud.environment["AWS_ENDPOINT_URL"]}
    url = urlsplit(bulk_cloud.endpoints["opensearch"])
    connection = {"conn_type": "opensearch", "host": url.hostname, "port": url.port, "extra": {"use_ssl": False}}
    given |= {"AIRFLOW_CONN_SETUP_NODE": json.dumps(connection), "AIRFLOW_CONN_AWS_DEFAULT": "aws://"}
    for name in VARIABLES_TO_UNSET:
        monkeypatch.delenv(name, raising=False)
    with mock.patch.dict(os.environ, given):
        company = Company(bulk_cloud, bare_node, tmp_path)
        monkeypatch.setenv("SEARCHOPS_INVENTORY", str(company.path))
        yield company


def test_a_dry_run_says_what_is_missing_a_run_makes_it_and_the_next_finds_nothing(
    company: Company, make_index: MakeIndex
) -> None:
    name = make_index([{"id": "a", "version": 3, "revision": 3}])
    company.enter(name)

    shown = {step: company.run(name, step, dry_run=True) for step in STEPS}
    assert [bool(result["changes"]) for result in shown.values()] == [True] * 4
    assert [result["made"] for result in shown.values()] == [False] * 4
    assert shown["scheme"]["checked"] == "1 of 1 documents: revision is a whole number and equal to _version"

    with pytest.raises(TransientError, match="expected it to be ACTIVE, it is CREATING"):
        company.run(name, "stream")
    wait_until(lambda: company.stream_status(name) == "ACTIVE", "the stream is ACTIVE")
    done = {step: company.run(name, step) for step in STEPS}
    assert done.pop("stream")["changes"] == []
    shown.pop("stream")
    assert {step: result["changes"] for step, result in done.items()} == {
        step: result["changes"] for step, result in shown.items()
    }
    assert all(result["made"] for result in done.values())
    assert len(done["landing_index"]["proved"]) == 4

    again = {step: company.run(name, step) for step in STEPS}
    assert again["stream"]["role"].endswith(f":role/searchops-{REGION}-{name}-overflow")
    assert [result["changes"] for result in again.values()] == [[]] * 4
    assert json.loads(json.dumps(again)) == again


def test_what_contradicts_the_inventory_is_told_by_a_dry_run_already_and_left_in_the_report(
    company: Company, make_index: MakeIndex
) -> None:
    name = make_index([{"id": "old-one", "revision": 3}])
    company.enter(name)

    with pytest.raises(Contradicted, match="old-one"):
        company.run(name, "scheme", dry_run=True)

    (report,) = [
        report
        for report in ReportStore(company.client("s3"), BUCKET).read_run("dictionary_sync_products", "manual__1")
        if report.task_id == f"index_{name}.scheme"
    ]
    assert "old-one" in report.title
    assert report.facts["Index"] == name


def test_an_index_without_an_alias_is_told_what_to_do(company: Company, make_index: MakeIndex) -> None:
    concrete = f"{make_index(mappings={'properties': PROPERTIES})}-1"
    company.enter(concrete)

    with pytest.raises(DataError, match="expected an alias"):
        company.run(concrete, "alias_filter", dry_run=True)


def test_an_index_that_a_pipeline_has_not_made_yet_is_left_for_later(company: Company, make_index: MakeIndex) -> None:
    company.enter("setup-not-yet", version={"scheme": "ingestion"}, hand_over=None)
    with pytest.raises(AirflowSkipException, match="no index yet"):
        company.run("setup-not-yet", "scheme")

    name = make_index()
    company.enter(name, version={"scheme": "ingestion"}, hand_over=None)
    assert company.run(name, "scheme")["made"]
    company.enter("setup-nowhere")
    with pytest.raises(DataError, match="found none"):
        company.run("setup-nowhere", "scheme")


def test_an_index_that_was_not_chosen_is_skipped(company: Company, make_index: MakeIndex) -> None:
    name = make_index()
    company.enter(name)

    with pytest.raises(AirflowSkipException):
        company.run(name, "scheme", indexes=[])


def test_after_the_set_up_a_tombstone_is_hidden(company: Company, make_index: MakeIndex, node: OpenSearch) -> None:
    name = make_index([{"id": "a", "version": 1, "revision": 1}])
    company.enter(name, hand_over=None)
    for step in ("scheme", "alias_filter"):
        company.run(name, step)

    write(node, name, [{"id": "a", "version": 2, "searchops": {"deleted": True, "deleted_at": 1}}])

    assert node.count(index=name)["count"] == 0

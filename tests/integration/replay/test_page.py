"""The programs of docs/stream_replay.md, as they stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opensearchpy import OpenSearch

from local.aws import VARIABLES_TO_UNSET
from local.cloud import ROOT, Cloud
from searchops.core.idempotency.table import create_claims_table
from searchops.core.replay.touch import replay_id_of
from searchops.operators.replay import TOUCH_RETRIES
from searchops.retries import RETRY_POLICY
from tests.conftest import aws_client

PAGE = ROOT / "docs" / "stream_replay.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
OWN = {'"products"': '"page"', '"searchops-claims"': '"page-claims"', '"example-searchops"': '"page-bucket"'}
"""Names that no other test on these engines has."""
MARKER = "searchops_replay"


def run(having: str, names: dict[str, Any], own: Mapping[str, str] = OWN) -> dict[str, Any]:
    """Run the one program that has a text, and give the names that it leaves."""
    (program,) = [program for program in PROGRAMS if having in program]
    for name, replaced in own.items():
        program = program.replace(name, replaced)
    exec(compile(program, str(PAGE), "exec"), names)  # noqa: S102
    return names


@pytest.fixture
def dynamodb(bulk_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A table with three items, and what a replay of it needs; boto3's clients find it by themselves."""
    for name in VARIABLES_TO_UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in bulk_cloud.environment.items():
        monkeypatch.setenv(name, value)
    dynamodb, s3 = aws_client(bulk_cloud, "dynamodb"), aws_client(bulk_cloud, "s3")
    s3.create_bucket(Bucket="page-bucket", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    create_claims_table(dynamodb, "page-claims")
    dynamodb.create_table(
        TableName="page",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    for city in ("tokyo", "kyoto", "osaka"):
        dynamodb.put_item(TableName="page", Item={"pk": {"S": city}, "sk": {"S": "1"}, "revision": {"N": "3"}})
    yield dynamodb
    dynamodb.delete_table(TableName="page")


@pytest.fixture
def node(bulk_cloud: Cloud) -> Iterator[OpenSearch]:
    client = OpenSearch(bulk_cloud.endpoints["opensearch"], max_retries=0, timeout=30)
    client.indices.create(index="page", body={"settings": {"number_of_shards": 1, "number_of_replicas": 0}})
    yield client
    client.indices.delete(index="page")
    client.close()


def test_the_programs_without_airflow_touch_two_partitions_and_find_them_in_the_index(
    dynamodb: Any, node: OpenSearch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run("job = Job(", {"client": node})
    for item in dynamodb.scan(TableName="page")["Items"]:  # the consumer
        if MARKER in item:
            id_, version = f"{item['pk']['S']}|{item['sk']['S']}", int(item["revision"]["N"])
            document = {"revision": version, MARKER: item[MARKER]["S"]}
            node.index(index="page", id=id_, body=document, version=version, version_type="external")
    run("Watch(", names)
    run("Reconciler(", names)

    said = capsys.readouterr().out
    assert names["done"].counts.touched == 2
    assert said.startswith(names["done"].replay.replay_id)
    assert said.endswith("touched 2, consumed 2, in the index 2\n")
    assert names["watch"].look(writing=True).factor == 1.0

    replays = names["job"].replays
    replays.open("page", names["job"].selection, 10**6)
    assert len(replays.unfinished("page")) == 1
    run("replays.abandon(", names)
    assert replays.unfinished("page") == []


def test_the_dag_of_the_page_touches_in_batches() -> None:
    dag = run("def replay_in_batches()", {}, own={})["replay_in_batches"]()

    assert [task.task_id for task in dag.tasks] == ["plan", "touch", "reconcile"]
    assert dag.get_task("touch").partial_kwargs["batches"] is True
    assert dag.get_task("touch").partial_kwargs["pool"] == "stream_replay_products"
    assert [dag.get_task(task).retry_policy for task in ("touch", "reconcile")] == [RETRY_POLICY] * 2
    assert dag.get_task("touch").retries == TOUCH_RETRIES


def test_the_consumer_of_the_page_passes_over_touches() -> None:
    sent: list[Any] = []
    handler = run("is_replay(record)", {"send_mail": sent.append})["handler"]
    item = {"pk": {"S": "tokyo"}}
    touched = {**item, MARKER: {"S": replay_id_of(7)}}
    touch = {"eventName": "MODIFY", "dynamodb": {"OldImage": item, "NewImage": touched}}
    change = {"eventName": "MODIFY", "dynamodb": {"OldImage": touched, "NewImage": {**touched, "name": {"S": "東京"}}}}

    handler({"Records": [touch, change]}, None)

    assert sent == [change]

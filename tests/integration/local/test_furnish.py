"""What docker-compose.yaml finds on its stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime

import boto3
import pytest
from opensearchpy import OpenSearch

from local.cloud import ROOT, Cloud
from local.demo.indexer import load_handler
from local.furnish import DAYS, INDEXER, PER_DAY, TABLE, main
from local.simulators.packages.control import PackagesControl
from searchops.core.replay.findings import Level
from searchops.core.replay.preflight import Clients, preflight
from searchops.hooks.bulk import scheme_of
from searchops.hooks.replay import settings_of
from searchops.inventory import WrittenIndex, load


@pytest.fixture
def urls(cloud_environment: Cloud) -> Iterator[list[str]]:
    control = PackagesControl(cloud_environment.endpoints["packages"])
    node = OpenSearch(cloud_environment.endpoints["opensearch"])
    control.reset()
    yield [f"--{name}-url={cloud_environment.endpoints[name]}" for name in ("packages", "opensearch")]
    control.reset()
    node.indices.delete(index="products-1", params={"ignore_unavailable": "true"})
    for mapping in boto3.client("lambda").list_event_source_mappings(FunctionName=INDEXER)["EventSourceMappings"]:
        boto3.client("lambda").delete_event_source_mapping(UUID=mapping["UUID"])
    with suppress(boto3.client("dynamodb").exceptions.ResourceNotFoundException):
        boto3.client("dynamodb").delete_table(TableName=TABLE)


def test_everything_that_the_shipped_inventory_names_is_there_however_often_it_is_made(urls: list[str]) -> None:
    main(urls)
    main(urls)

    inventory = load(ROOT / "include" / "searchops.yaml")
    domain = inventory.domains["products-search"]
    aws, s3 = boto3.client("opensearch"), boto3.client("s3")
    rows = aws.list_packages_for_domain(DomainName=domain.domain_name)["DomainPackageDetailsList"]
    on_domain = {row["PackageID"]: row["PackageName"] for row in rows if row["DomainPackageStatus"] == "ACTIVE"}
    assert len(on_domain) == 2
    for package in domain.packages:
        assert package.package_id in on_domain if package.package_id else package.name in on_domain.values()
        if package.source_path is None:
            bucket, _, key = package.source.removeprefix("s3://").partition("/")
            assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] > 0
        else:
            assert package.source_path.is_file()
    assert s3.head_bucket(Bucket=domain.bucket)
    node = OpenSearch(next(url for url in urls if "opensearch" in url).partition("=")[2])
    tokens = node.indices.analyze(index="products", body={"analyzer": "ja_synonym_search", "text": "東京"})["tokens"]
    assert [token["token"] for token in tokens] == ["東京"]


def test_the_function_of_the_shipped_inventory_is_there_with_its_queue_and_its_settings_are_lambdas_own(urls: list[str]) -> None:
    main(urls)
    main(urls)

    function = load(ROOT / "include" / "searchops.yaml").functions["object-once"]
    lambda_, sqs = boto3.client("lambda"), boto3.client("sqs")
    found = lambda_.get_function_configuration(FunctionName=function.function)
    url = sqs.get_queue_url(QueueName=str(function.failed_events).rpartition(":")[2])["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "MessageRetentionPeriod"])["Attributes"]
    assert queue == {"QueueArn": function.failed_events, "MessageRetentionPeriod": str(14 * 24 * 3600)}
    assert found["Environment"]["Variables"]["SEARCHOPS_NAMESPACE"] == function.namespace
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException):
        lambda_.get_function_event_invoke_config(FunctionName=function.function)


def test_the_table_of_the_shipped_inventory_is_fit_for_a_replay_of_its_days(urls: list[str]) -> None:
    main(urls)
    main(urls)

    table = load(ROOT / "include" / "searchops.yaml").tables["products"]
    node = OpenSearch(next(url for url in urls if "opensearch" in url).partition("=")[2])
    looked = preflight(
        settings_of(table),
        Clients(boto3.client("dynamodb"), boto3.client("lambda"), node),
        now=datetime.now(UTC),
        day=date(2026, 11, 1),
    )
    assert looked.of(Level.ERROR) == ()
    assert boto3.client("dynamodb").scan(TableName=table.table, Select="COUNT")["Count"] == len(DAYS) * PER_DAY


def test_the_function_of_the_stream_has_the_settings_of_its_index(urls: list[str]) -> None:
    main(urls)

    written = load(ROOT / "include" / "searchops.yaml").entries("written_indexes")["products"]
    assert isinstance(written, WrittenIndex)
    found = boto3.client("lambda").get_function_configuration(FunctionName="stream-indexer")["Environment"]["Variables"]
    settings = load_handler().Settings.from_environment({**found, "AWS_REGION": "ap-northeast-1"})
    assert settings.scheme == scheme_of(written)
    assert (settings.index, settings.bucket, settings.stream) == (written.name, written.bucket, "products-overflow")
    assert f"--opensearch-url={settings.endpoint}" in urls

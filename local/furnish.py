"""``python -m local.furnish``: make on the stand-ins what ``include/searchops.yaml`` names, for docker-compose.yaml. Safe to repeat.

A bucket, the packages as somebody uploaded them by hand, the domain with its associations, the index with no documents, the Lambda
functions, the queue of failed events, and the table, whose stream shows only what is written to it after its items are there. Not the table
of claims, nor the scheme of the index, which the DAG searchops_setup makes: until then stream-indexer refuses its batches.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import runpy
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import boto3
from opensearchpy import OpenSearch

from local.simulators.packages.control import PackagesControl

INCLUDE = Path(__file__).resolve().parent.parent / "include"
DOMAIN, INDEX, ALIAS = "products-search", "products-1", "products"
BUCKET, UPSTREAM = "example-searchops", "example-upstream"
# By the name in the index body: the name in AWS, in the order that gives the ids of the inventory.
PACKAGES = {"user-dictionary": "products-user-dictionary", "synonyms": "products-synonyms"}
FUNCTION, FAILED_EVENTS, NAMESPACE = "example-object-once", "object-once-failed", "object-once"
TABLE, DATE_INDEX, DATE, INDEXER = "products", "created_ymd-index", "created_ymd", "stream-indexer"
DAYS, PER_DAY = ("20261101", "20261102", "20261103"), 25  # as many as BatchWriteItem takes
RETENTION_SECONDS = 14 * 24 * 3600  # as long as SQS keeps a message at most
WAIT_SECONDS = 120.0


def furnish(packages_url: str, opensearch_url: str, node_of_functions: str) -> None:
    """Leave alone what is there already; the other clients are those of the environment.

    :param node_of_functions: the node's URL as functions reach it
    """
    s3, aws, node = boto3.client("s3"), boto3.client("opensearch"), OpenSearch(opensearch_url, timeout=60)
    for bucket in (BUCKET, UPSTREAM):
        _bucket(s3, bucket)
    s3.upload_file(str(INCLUDE / "dictionaries" / "synonyms.txt"), UPSTREAM, "synonyms.txt")
    s3.put_object(Bucket=BUCKET, Key="by-hand", Body=b"# uploaded by hand\n")
    PackagesControl(packages_url).domain(DOMAIN, opensearch_url)
    ids = {key: _package(aws, name) for key, name in PACKAGES.items()}
    for package_id in ids.values():
        _associate(aws, package_id)
    if not node.indices.exists(index=INDEX):
        body = _Body((INCLUDE / "indexes" / "products.json").read_text(encoding="utf-8")).substitute(ids)
        node.indices.create(index=INDEX, body={**json.loads(body), "aliases": {ALIAS: {}}})
    furnish_function(boto3.client)
    _furnish_table(node_of_functions)


def furnish_function(client: Callable[[str], Any]) -> None:
    """Deploy the function of the inventory with the queue of its failed events, as a deployment would; its retry settings are Lambda's own.

    :param client: makes a boto3 client by the name of the service
    """
    client("sqs").create_queue(QueueName=FAILED_EVENTS, Attributes={"MessageRetentionPeriod": str(RETENTION_SECONDS)})
    variables = {"SEARCHOPS_NAMESPACE": NAMESPACE, "SEARCHOPS_ON_DATA_ERROR": "failure"}
    _deploy(client, FUNCTION, "object_once", variables)


def _deploy(client: Callable[[str], Any], name: str, folder: str, variables: Mapping[str, str]) -> None:
    lambda_, iam = client("lambda"), client("iam")
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    code = _zip(folder)
    try:
        lambda_.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=iam.get_role(RoleName=name)["Role"]["Arn"],
            Handler="handler.handler",
            Code={"ZipFile": code},
            Timeout=60,
            Environment={"Variables": dict(variables)},
        )
    except lambda_.exceptions.ResourceConflictException:
        lambda_.update_function_code(FunctionName=name, ZipFile=code)


def _zip(folder: str) -> bytes:
    functions = INCLUDE / "lambda"
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / f"{folder}.zip"
        runpy.run_path(str(functions / "build.py"))["build"](functions / folder, target)
        return target.read_bytes()


def _furnish_table(node: str) -> None:
    """The table, its items, then its stream, and the function that indexes it with the settings of docs/stream_indexer.md."""
    dynamodb, lambda_ = boto3.client("dynamodb"), boto3.client("lambda")
    with contextlib.suppress(dynamodb.exceptions.ResourceInUseException):
        dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", DATE)],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": DATE_INDEX,
                    "KeySchema": [{"AttributeName": DATE, "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
    if not dynamodb.describe_table(TableName=TABLE)["Table"].get("StreamSpecification", {}).get("StreamEnabled"):
        for day in DAYS:
            dynamodb.batch_write_item(RequestItems={TABLE: [{"PutRequest": {"Item": item}} for item in _items(day)]})
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        dynamodb.update_table(TableName=TABLE, StreamSpecification=stream)
    variables = {
        "SEARCHOPS_ENDPOINT": node,
        "SEARCHOPS_INDEX": ALIAS,
        "SEARCHOPS_ID": "pk|sk",
        "SEARCHOPS_VERSION_SCHEME": "attribute",
        "SEARCHOPS_VERSION_ATTRIBUTE": "revision",
        "SEARCHOPS_DELETES": "tombstone",
        "SEARCHOPS_BUCKET": BUCKET,
        "SEARCHOPS_STREAM": "products-overflow",
    }
    _deploy(boto3.client, INDEXER, "stream_indexer", variables)
    if not lambda_.list_event_source_mappings(FunctionName=INDEXER)["EventSourceMappings"]:
        lambda_.create_event_source_mapping(
            EventSourceArn=dynamodb.describe_table(TableName=TABLE)["Table"]["LatestStreamArn"],
            FunctionName=INDEXER,
            StartingPosition="TRIM_HORIZON",
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )


def _items(day: str) -> Iterator[dict[str, Any]]:
    for number in range(PER_DAY):
        texts = {"pk": f"{day}-{number:02}", "sk": "ja", DATE: day, "text": f"東京の品物 {number}"}
        yield {**{name: {"S": text} for name, text in texts.items()}, "revision": {"N": "1"}}


class _Body(Template):
    """An index body names packages as ``${user-dictionary}``."""

    idpattern = r"[a-z][a-z0-9-]*"


def _bucket(s3: Any, name: str) -> None:
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})


def _package(aws: Any, name: str) -> str:
    """The id of an available package."""
    found = _packages(aws, name)
    if not found:
        source = {"S3BucketName": BUCKET, "S3Key": "by-hand"}
        aws.create_package(PackageName=name, PackageType="TXT-DICTIONARY", PackageSource=source)
    _wait(lambda: [row["PackageStatus"] for row in _packages(aws, name)] == ["AVAILABLE"], f"package {name} is available")
    return str(_packages(aws, name)[0]["PackageID"])


def _packages(aws: Any, name: str) -> Sequence[dict[str, Any]]:
    rows: list[dict[str, Any]] = aws.describe_packages(Filters=[{"Name": "PackageName", "Value": [name]}])["PackageDetailsList"]
    return [row for row in rows if row["PackageName"] == name]


def _associate(aws: Any, package_id: str) -> None:
    def status() -> str | None:
        rows = aws.list_packages_for_domain(DomainName=DOMAIN)["DomainPackageDetailsList"]
        return next((str(row["DomainPackageStatus"]) for row in rows if row["PackageID"] == package_id), None)

    if status() is None:
        aws.associate_package(PackageID=package_id, DomainName=DOMAIN)
    _wait(lambda: status() == "ACTIVE", f"package {package_id} is on {DOMAIN}")


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {WAIT_SECONDS:.0f} s")
        time.sleep(0.2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m local.furnish", description=__doc__)
    parser.add_argument("--packages-url", required=True, help="the package simulator")
    parser.add_argument("--opensearch-url", required=True, help="the node behind the domain")
    parser.add_argument("--node-of-functions", help="the same as functions reach it, where that is another URL")
    options = parser.parse_args(arguments)
    furnish(options.packages_url, options.opensearch_url, options.node_of_functions or options.opensearch_url)


if __name__ == "__main__":
    main()

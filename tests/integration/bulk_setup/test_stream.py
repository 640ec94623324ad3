"""The hand-over stream on moto's IAM, the Firehose simulator and the real node."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from opensearchpy import NotFoundError, OpenSearch

from local.cloud import Cloud
from local.demo.functions import wait_until
from searchops.core.bulk.landing import LANDING_INDEX, install_landing
from searchops.core.bulk.stream import POLICY_NAME, HandOverStream, Stream, policy_document, trust_statement
from searchops.core.errors import DataError, TransientError
from tests.conftest import aws_client
from tests.integration.bulk_setup.conftest import MakeIndex

DOMAIN = "arn:aws:es:ap-northeast-1:123456789012:domain/search"
_numbers = itertools.count(1)
Make = Callable[..., HandOverStream]


@pytest.fixture(scope="module")
def aws(bulk_cloud: Cloud) -> dict[str, Any]:
    return {service: aws_client(bulk_cloud, service) for service in ("firehose", "iam", "logs", "s3")}


@pytest.fixture
def stream(aws: dict[str, Any]) -> Stream:
    name = f"hand-over-{next(_numbers)}"
    aws["s3"].create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    return Stream(name, "items", DOMAIN, name, buffer_mib=1)


@pytest.fixture
def make(aws: dict[str, Any]) -> Iterator[Make]:
    made: set[str] = set()

    def make(stream: Stream, **options: Any) -> HandOverStream:
        made.add(stream.name)
        clients = {name: aws[name] for name in ("firehose", "iam", "logs")}
        return HandOverStream(stream, **clients, **options)

    yield make
    for name in made:
        with contextlib.suppress(ClientError):  # gone, or not yet there
            aws["firehose"].delete_delivery_stream(DeliveryStreamName=name)


def install(stream: HandOverStream) -> tuple[str, ...]:
    """As a task does it that is tried again."""
    changes: list[tuple[str, ...]] = []

    def installed() -> bool:
        with contextlib.suppress(TransientError):
            changes.append(stream.install())
        return bool(changes)

    wait_until(installed, "the stream is ACTIVE")
    return changes[0]


def delivered_to(aws: dict[str, Any], stream: Stream) -> dict[str, Any]:
    described = aws["firehose"].describe_delivery_stream(DeliveryStreamName=stream.name)["DeliveryStreamDescription"]
    found: dict[str, Any] = described["Destinations"][0]["AmazonopensearchserviceDestinationDescription"]
    return found


def test_a_stream_is_made_with_its_role_and_log_group_and_a_second_run_changes_nothing(
    aws: dict[str, Any], stream: Stream, make: Make
) -> None:
    assert [change.split()[1:3] for change in make(stream).plan()] == [["the", "role"], ["the", "log"], ["the", "stream"]]

    with pytest.raises(TransientError, match="expected it to be ACTIVE, it is CREATING"):
        make(stream).install()  # which holds nobody up
    trust = aws["iam"].get_role(RoleName=stream.role_name)["Role"]["AssumeRolePolicyDocument"]
    assert trust["Statement"] == [trust_statement("123456789012")]

    install(make(stream))

    found = delivered_to(aws, stream)
    assert (found["IndexName"], found["RoleARN"]) == (LANDING_INDEX, f"arn:aws:iam::123456789012:role/{stream.role_name}")
    policy = aws["iam"].get_role_policy(RoleName=stream.role_name, PolicyName=POLICY_NAME)["PolicyDocument"]
    assert policy == policy_document(stream)
    assert make(stream).plan() == ()
    assert make(stream).install() == ()


def test_a_stream_that_somebody_has_changed_is_corrected_and_other_policies_stay(
    aws: dict[str, Any], stream: Stream, make: Make
) -> None:
    install(make(stream))
    theirs = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}]}
    lambda_ = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = {"RoleName": stream.role_name}
    aws["iam"].put_role_policy(**role, PolicyName="theirs", PolicyDocument=json.dumps(theirs))
    aws["iam"].put_role_policy(**role, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(theirs))
    aws["iam"].update_assume_role_policy(**role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [lambda_]}))
    aws["logs"].delete_log_group(logGroupName=stream.log_group)
    wanted = replace(stream, buffer_mib=3, buffer_seconds=120)

    changes = make(wanted).install()

    assert len(changes) == 5
    assert any("BufferingHints.SizeInMBs: 1 -> 3" in change for change in changes)
    assert delivered_to(aws, stream)["BufferingHints"] == {"IntervalInSeconds": 120, "SizeInMBs": 3}
    assert aws["iam"].get_role_policy(**role, PolicyName="theirs")["PolicyDocument"] == theirs
    assert lambda_ in aws["iam"].get_role(**role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert make(wanted).plan() == ()


def test_a_changed_prefix_of_the_backup_is_corrected(aws: dict[str, Any], stream: Stream, make: Make) -> None:
    install(make(stream))

    install(make(replace(stream, index="others")))

    found = delivered_to(aws, stream)["S3DestinationDescription"]
    assert (found["Prefix"], found["ErrorOutputPrefix"]) == ("firehose-failed/others/", "firehose-failed/others/")


def test_for_a_domain_in_a_vpc_the_stream_has_to_be_there_already(aws: dict[str, Any], stream: Stream, make: Make) -> None:
    with pytest.raises(DataError, match="its domain is in a VPC"):
        make(stream, in_vpc=True).install()
    assert stream.name not in aws["firehose"].list_delivery_streams()["DeliveryStreamNames"]

    install(make(stream))
    assert make(replace(stream, buffer_seconds=90), in_vpc=True).install()


def test_a_stream_that_keeps_all_documents_can_not_be_made_into_ours(aws: dict[str, Any], stream: Stream, make: Make) -> None:
    install(make(stream))
    found = delivered_to(aws, stream)
    aws["firehose"].delete_delivery_stream(DeliveryStreamName=stream.name)
    wait_until(lambda: stream.name not in aws["firehose"].list_delivery_streams()["DeliveryStreamNames"], "deleted")
    configuration = {
        name: found[name]
        for name in ("RoleARN", "DomainARN", "IndexName", "IndexRotationPeriod", "BufferingHints", "RetryOptions")
    }
    aws["firehose"].create_delivery_stream(
        DeliveryStreamName=stream.name,
        AmazonopensearchserviceDestinationConfiguration={
            **configuration,
            "S3BackupMode": "AllDocuments",
            "S3Configuration": {"RoleARN": found["RoleARN"], "BucketARN": stream.bucket_arn},
        },
    )

    with pytest.raises(DataError, match="expected FailedDocumentsOnly"):
        install(make(stream))


def test_a_stream_that_is_being_deleted_may_be_made_later(aws: dict[str, Any], stream: Stream, make: Make) -> None:
    install(make(stream))
    aws["firehose"].delete_delivery_stream(DeliveryStreamName=stream.name)

    with pytest.raises(TransientError, match="being deleted"):
        make(stream).install()


def test_what_is_put_into_the_stream_lands_in_the_index_under_its_id_and_version(
    aws: dict[str, Any], stream: Stream, make: Make, bare_node: OpenSearch, make_index: MakeIndex
) -> None:
    index = make_index()
    install_landing(bare_node, index)
    install(make(replace(stream, index=index)))
    envelopes = [{"index": index, "id": "a", "version": version, "source": {"n": version}} for version in (5, 4)]

    answer = aws["firehose"].put_record_batch(
        DeliveryStreamName=stream.name, Records=[{"Data": json.dumps(envelope).encode()} for envelope in envelopes]
    )

    assert answer["FailedPutCount"] == 0

    def landed() -> bool:
        try:
            return bool(bare_node.get(index=index, id="a")["_version"] == 5)
        except NotFoundError:
            return False

    def failures() -> list[str]:
        listed = aws["s3"].list_objects_v2(Bucket=stream.bucket).get("Contents", [])
        return [entry["Key"] for entry in listed]

    wait_until(landed, "the newer one landed")
    wait_until(lambda: bool(failures()), "the older one failed")
    assert all(key.startswith(f"firehose-failed/{index}/") for key in failures())
    assert bare_node.count(index=LANDING_INDEX)["count"] == 0

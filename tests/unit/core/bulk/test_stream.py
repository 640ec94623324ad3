from __future__ import annotations

from copy import deepcopy
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.stream import Stream, destination, differences, is_trusted, policy_document, trust_statement

DOMAIN = "arn:aws:es:ap-northeast-1:123456789012:domain/products-search"
STREAM = Stream("products-overflow", "products", DOMAIN, "example-bucket", buffer_mib=7, buffer_seconds=90)
TRUST = trust_statement("123456789012")
ROLE = "arn:aws:iam::123456789012:role/searchops-ap-northeast-1-products-overflow"


def statements() -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in policy_document(STREAM)["Statement"]}


def test_the_role_writes_below_the_prefix_of_its_index_and_nowhere_else_in_the_bucket() -> None:
    writing = [
        resource
        for statement in statements().values()
        if any(action.startswith("s3:Put") for action in statement["Action"])
        for resource in statement["Resource"]
    ]

    assert writing == ["arn:aws:s3:::example-bucket/firehose-failed/products/*"]
    assert statements()["FindBucket"]["Resource"] == ["arn:aws:s3:::example-bucket"]


def test_the_role_reaches_one_domain_and_names_each_action() -> None:
    actions = {action for statement in statements().values() for action in statement["Action"]}
    resources = [resource for statement in statements().values() for resource in statement["Resource"] if ":es:" in resource]

    assert not any("*" in action for action in actions)
    assert {action for action in actions if action.startswith("es:ESHttp")} == {"es:ESHttpGet", "es:ESHttpPost", "es:ESHttpPut"}
    assert all(resource == DOMAIN or resource.startswith(f"{DOMAIN}/") for resource in resources)
    assert "*" not in resources
    assert f"{DOMAIN}/*" not in statements()["LookAtDomain"]["Resource"]


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("_bulk", True),
        ("searchops-overflow/_bulk", True),
        ("searchops-overflow/_delete_by_query", False),
        ("searchops-overflow/_settings", False),
        ("products/_bulk", False),
        ("products/_delete_by_query", False),
        ("products/_close", False),
        ("_cluster/settings", False),
        ("_plugins/_security/api/roles/all", False),
    ],
)
def test_the_role_may_send_documents_to_the_domain_and_change_nothing_else(path: str, written: bool) -> None:
    writing = [
        resource
        for statement in statements().values()
        if {"es:ESHttpPost", "es:ESHttpPut"} & set(statement["Action"])
        for resource in statement["Resource"]
    ]

    assert any(fnmatchcase(f"{DOMAIN}/{path}", resource) for resource in writing) is written


def test_only_a_stream_of_the_same_account_may_work_as_the_role() -> None:
    assert TRUST["Condition"] == {"StringEquals": {"sts:ExternalId": "123456789012"}}


def test_the_role_logs_into_the_group_of_its_stream() -> None:
    group = "arn:aws:logs:ap-northeast-1:123456789012:log-group:/aws/kinesisfirehose/products-overflow:log-stream:"

    assert statements()["LogErrors"]["Resource"] == [f"{group}DestinationDelivery", f"{group}BackupDelivery"]


def test_in_other_partitions_the_arns_are_theirs() -> None:
    china = Stream("s", "products", DOMAIN.replace("arn:aws:", "arn:aws-cn:"), "example-bucket")

    assert all(
        resource.startswith("arn:aws-cn:")
        for statement in policy_document(china)["Statement"]
        for resource in statement["Resource"]
    )


@given(name=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True))
def test_every_name_of_a_stream_gives_a_name_of_a_role(name: str) -> None:
    role = Stream(name, "products", DOMAIN, "b").role_name

    assert len(role) <= 64
    assert role == Stream(name, "other", DOMAIN, "b").role_name


def test_long_names_that_differ_at_the_end_give_roles_that_differ() -> None:
    assert len({Stream("x" * 63 + end, "products", DOMAIN, "b").role_name for end in "ab"}) == 2


def test_a_stream_delivers_into_the_landing_index_and_keeps_failures_only() -> None:
    wanted = destination(STREAM, ROLE)

    assert (wanted["IndexName"], wanted["IndexRotationPeriod"]) == ("searchops-overflow", "NoRotation")
    assert wanted["BufferingHints"] == {"IntervalInSeconds": 90, "SizeInMBs": 7}
    assert wanted["RetryOptions"] == {"DurationInSeconds": 7200}
    assert wanted["S3BackupMode"] == "FailedDocumentsOnly"
    assert wanted["S3Configuration"]["Prefix"] == "firehose-failed/products/"
    assert wanted["DocumentIdOptions"] == {"DefaultDocumentIdFormat": "FIREHOSE_DEFAULT"}


def described() -> dict[str, Any]:
    found = deepcopy(destination(STREAM, ROLE))
    return {**found, "S3DestinationDescription": found.pop("S3Configuration"), "TypeName": "", "VpcConfigurationDescription": {}}


def test_what_somebody_has_added_is_no_difference_and_what_is_other_is() -> None:
    assert differences(destination(STREAM, ROLE), described()) == {}

    changed = described()
    changed["RetryOptions"]["DurationInSeconds"] = 300
    changed["S3DestinationDescription"]["Prefix"] = ""
    del changed["CloudWatchLoggingOptions"]

    assert set(differences(destination(STREAM, ROLE), changed)) == {
        "RetryOptions.DurationInSeconds",
        "S3Configuration.Prefix",
        "CloudWatchLoggingOptions.Enabled",
        "CloudWatchLoggingOptions.LogGroupName",
        "CloudWatchLoggingOptions.LogStreamName",
    }


@pytest.mark.parametrize(
    ("statement", "trusted"),
    [
        (TRUST, True),
        ({**TRUST, "Principal": {"Service": ["ec2.amazonaws.com", "firehose.amazonaws.com"]}}, True),
        ({**TRUST, "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}, True),
        ({**TRUST, "Effect": "Deny"}, False),
        ({**TRUST, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, False),
        ({**TRUST, "Principal": "*"}, False),
        ({**TRUST, "Action": "sts:TagSession"}, False),
    ],
)
def test_a_role_that_firehose_may_work_as_is_known_in_every_spelling(statement: dict[str, Any], trusted: bool) -> None:
    assert is_trusted({"Statement": [statement]}) is trusted
    assert is_trusted({"Statement": statement}) is trusted

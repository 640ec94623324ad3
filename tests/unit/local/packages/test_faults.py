from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

SOURCE = {"S3BucketName": "bucket", "S3Key": "object"}


def described(client, package_id):
    return client.describe_packages(Filters=[{"Name": "PackageID", "Value": [package_id]}])["PackageDetailsList"][0]


def only_association(client, package_id):
    return client.list_domains_for_package(PackageID=package_id)["DomainPackageDetailsList"][0]


def outcome(call, **parameters):
    try:
        call(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    except ConnectionClosedError:
        return "reset"
    return "ok"


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ({"kind": "throttle"}, ("ThrottlingException", 429)),
        ({"kind": "server_error"}, ("InternalException", 500)),
        ({"kind": "server_error", "status": 503}, ("ServiceUnavailable", 503)),
        ({"kind": "access_denied"}, ("AccessDeniedException", 403)),
        ({"kind": "access_denied", "code": "UnrecognizedClientException"}, ("UnrecognizedClientException", 403)),
        ({"kind": "reset"}, "reset"),
        ({"kind": "reset_after"}, "reset"),
    ],
)
def test_a_fault_hits_the_calls_it_is_ordered_for_and_no_others(client, control, fault, seen):
    control.faults({**fault, "operation": "DescribePackages", "first": 2, "last": 3})
    control.domain("search")

    assert outcome(client.describe_domain, DomainName="search") == "ok"
    assert [outcome(client.describe_packages) for _ in range(4)] == ["ok", seen, seen, "ok"]


def test_a_star_hits_every_operation_and_clearing_ends_it(client, control):
    control.domain("search")
    control.fault("throttle")
    assert (
        outcome(client.describe_packages) == outcome(client.describe_domain, DomainName="search") == ("ThrottlingException", 429)
    )

    control.clear_faults()
    assert outcome(client.describe_packages) == "ok"


def test_a_reset_before_leaves_nothing_and_a_reset_after_leaves_the_effect(client, control):
    control.fault("reset", "CreatePackage", last=1)
    control.fault("reset_after", "CreatePackage", first=2, last=2)
    package = {"PackageName": "synonyms", "PackageType": "TXT-DICTIONARY", "PackageSource": SOURCE}

    assert outcome(client.create_package, **package) == "reset"
    assert client.describe_packages()["PackageDetailsList"] == []
    assert outcome(client.create_package, **package) == "reset"
    assert [row["PackageName"] for row in client.describe_packages()["PackageDetailsList"]] == ["synonyms"]


def test_a_slow_answer_comes_late(client, control):
    control.fault("slow", "DescribePackages", seconds=0.3, last=1)
    began = time.monotonic()
    client.describe_packages()

    assert time.monotonic() - began >= 0.3


def test_a_state_that_never_ends_ends_when_faults_are_cleared(world, client, control, publish):
    package_id = publish()
    world.domain("search")
    control.fault("stay", "AssociatePackage")
    control.fault("stay", "UpdatePackage", state="VALIDATING")
    client.associate_package(PackageID=package_id, DomainName="search")
    client.update_package(PackageID=package_id, PackageSource=SOURCE)
    world.pass_time(100_000)
    assert only_association(client, package_id)["DomainPackageStatus"] == "ASSOCIATING"
    assert described(client, package_id)["PackageStatus"] == "VALIDATING"

    control.clear_faults()
    world.settle()
    assert only_association(client, package_id)["DomainPackageStatus"] == "ACTIVE"
    assert described(client, package_id)["AvailablePackageVersion"] == "v2"


def test_a_slow_state_takes_its_factor(world, client, control, publish):
    package_id = publish()
    world.domain("search")
    control.fault("slow_state", "AssociatePackage", factor=10)
    client.associate_package(PackageID=package_id, DomainName="search")
    world.pass_time(449)
    assert only_association(client, package_id)["DomainPackageStatus"] == "ASSOCIATING"
    world.pass_time(1)
    assert only_association(client, package_id)["DomainPackageStatus"] == "ACTIVE"


def test_history_can_lag_behind_the_package(world, client, control, publish):
    package_id = publish()
    control.fault("lag", "GetPackageVersionHistory", seconds=60)
    world.pass_time(100)
    publish(package_id=package_id, message="searchops sha256=2")

    def versions():
        rows = client.get_package_version_history(PackageID=package_id)["PackageVersionHistoryList"]
        return [row["PackageVersion"] for row in rows]

    assert described(client, package_id)["AvailablePackageVersion"] == "v2"
    assert versions() == ["v1"]
    world.pass_time(60)
    assert versions() == ["v2", "v1"]


def test_a_lagging_list_still_shows_the_version_before(world, client, control, publish):
    package_id = publish()
    world.domain("search")
    client.associate_package(PackageID=package_id, DomainName="search")
    world.pass_time(45)
    control.fault("lag", "ListDomainsForPackage", seconds=5)
    publish(package_id=package_id)
    client.associate_package(PackageID=package_id, DomainName="search")

    assert (
        only_association(client, package_id)["DomainPackageStatus"],
        only_association(client, package_id)["PackageVersion"],
    ) == (
        "ACTIVE",
        "v1",
    )


@pytest.mark.parametrize(
    ("options", "details"),
    [
        ({"error_type": "", "error_message": "scan failed"}, {"ErrorType": "", "ErrorMessage": "scan failed"}),
        ({"details": False}, None),
    ],
)
def test_failures_come_with_and_without_error_details(world, client, control, publish, options, details):
    package_id = publish()
    world.domain("search")
    control.fault("association_failed", **options)
    control.fault("validation_failed", package_id=package_id, last=1, **options)
    control.fault("copy_failed", package_id=package_id, first=2, **options)

    client.associate_package(PackageID=package_id, DomainName="search")
    world.pass_time(45)
    row = only_association(client, package_id)
    assert (row["DomainPackageStatus"], row.get("ErrorDetails")) == ("ASSOCIATION_FAILED", details)

    for status in ("VALIDATION_FAILED", "COPY_FAILED"):
        client.update_package(PackageID=package_id, PackageSource=SOURCE)
        world.pass_time(16)
        package = described(client, package_id)
        assert (package["PackageStatus"], package.get("ErrorDetails"), package["AvailablePackageVersion"]) == (
            status,
            details,
            "v1",
        )


def test_a_fault_can_be_for_one_package_or_one_domain(world, client, control, publish):
    package_id = publish()
    world.domain("good")
    world.domain("bad")
    control.fault("association_failed", domain_name="bad")
    for domain in ("good", "bad"):
        client.associate_package(PackageID=package_id, DomainName=domain)
    world.pass_time(45)

    rows = client.list_domains_for_package(PackageID=package_id)["DomainPackageDetailsList"]
    assert {row["DomainName"]: row["DomainPackageStatus"] for row in rows} == {"good": "ACTIVE", "bad": "ASSOCIATION_FAILED"}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "explode"},
        {"kind": "throttle", "operation": "DeleteDomain"},
        {"kind": "skip_reload", "operation": "UpdatePackage"},
        {"kind": "throttle", "nth": 1},
    ],
)
def test_a_fault_that_could_never_happen_is_refused_when_it_is_ordered(control, fault):
    with pytest.raises(ValueError, match="HTTP 400"):
        control.faults(fault)

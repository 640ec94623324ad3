from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

SOURCE = {"S3BucketName": "bucket", "S3Key": "object"}


def described(client, package_id):
    return client.describe_packages(Filters=[{"Name": "PackageID", "Value": [package_id]}])["PackageDetailsList"][0]


def association(client, package_id, domain):
    rows = client.list_domains_for_package(PackageID=package_id)["DomainPackageDetailsList"]
    return next((row for row in rows if row["DomainName"] == domain), None)


def error(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def create(client, name="synonyms"):
    details = client.create_package(PackageName=name, PackageType="TXT-DICTIONARY", PackageSource=SOURCE)["PackageDetails"]
    return details["PackageID"]


def test_a_package_is_copied_then_validated_then_available(world, client):
    world.bucket.objects["object"] = b"a, b\n"
    package_id = create(client)

    assert package_id == "F100000001"
    assert described(client, package_id)["PackageStatus"] == "COPYING"
    world.pass_time(10)
    assert described(client, package_id)["PackageStatus"] == "VALIDATING"
    assert "AvailablePackageVersion" not in described(client, package_id)
    world.pass_time(5)
    assert described(client, package_id)["PackageStatus"] == "AVAILABLE"
    assert described(client, package_id)["AvailablePackageVersion"] == "v1"


def test_for_a_moment_after_an_update_the_old_version_still_reads_available(world, client, publish):
    package_id = publish()

    client.update_package(PackageID=package_id, PackageSource=SOURCE)

    assert (described(client, package_id)["PackageStatus"], described(client, package_id)["AvailablePackageVersion"]) == (
        "AVAILABLE",
        "v1",
    )
    world.pass_time(1)
    assert (described(client, package_id)["PackageStatus"], described(client, package_id)["AvailablePackageVersion"]) == (
        "COPYING",
        "v1",
    )
    world.pass_time(15)
    assert (described(client, package_id)["PackageStatus"], described(client, package_id)["AvailablePackageVersion"]) == (
        "AVAILABLE",
        "v2",
    )


def test_the_object_is_read_when_copying_begins_not_when_the_update_is_asked_for(world, client, publish):
    package_id = publish(content=b"old\n")
    world.bucket.objects["object"] = b"as asked\n"
    client.update_package(PackageID=package_id, PackageSource=SOURCE)
    world.bucket.objects["object"] = b"overwritten\n"
    world.pass_time(1)
    world.bucket.objects["object"] = b"too late\n"
    world.pass_time(15)

    assert world.service.content(package_id) == {"v1": b"old\n", "v2": b"overwritten\n"}


def test_history_has_the_commit_messages_newest_first_and_none_for_the_first_version(client, publish):
    package_id = publish()
    publish(package_id=package_id, message="searchops sha256=1")
    publish(package_id=package_id, message="searchops sha256=2")

    rows = client.get_package_version_history(PackageID=package_id)["PackageVersionHistoryList"]

    assert [(row["PackageVersion"], row.get("CommitMessage")) for row in rows] == [
        ("v3", "searchops sha256=2"),
        ("v2", "searchops sha256=1"),
        ("v1", None),
    ]


def test_a_missing_object_ends_in_copy_failed_and_the_old_version_stays(world, client, publish):
    package_id = publish()
    client.update_package(PackageID=package_id, PackageSource={"S3BucketName": "bucket", "S3Key": "missing"})
    world.pass_time(16)

    package = described(client, package_id)
    assert (package["PackageStatus"], package["AvailablePackageVersion"]) == ("COPY_FAILED", "v1")
    assert "missing" in package["ErrorDetails"]["ErrorMessage"]

    client.update_package(PackageID=package_id, PackageSource=SOURCE)
    assert "ErrorDetails" not in described(client, package_id)


def test_text_that_is_not_utf8_fails_validation_and_odd_words_do_not(world, client):
    world.bucket.objects["object"] = "東京".encode("shift_jis")
    package_id = create(client)
    world.pass_time(16)
    assert described(client, package_id)["PackageStatus"] == "VALIDATION_FAILED"

    world.bucket.objects["object"] = b"a => b => c\n"
    client.update_package(PackageID=package_id, PackageSource=SOURCE)
    world.pass_time(16)
    assert described(client, package_id)["AvailablePackageVersion"] == "v1"


def test_one_version_at_a_time_is_on_its_way(client, publish):
    package_id = publish()
    client.update_package(PackageID=package_id, PackageSource=SOURCE)

    assert error(client.update_package, PackageID=package_id, PackageSource=SOURCE)[0] == "ValidationException"


def test_an_association_takes_the_newest_version_and_stays_on_it_until_asked_again(world, client, publish):
    package_id = publish()
    world.domain("search")
    client.associate_package(PackageID=package_id, DomainName="search")
    assert association(client, package_id, "search")["DomainPackageStatus"] == "ASSOCIATING"
    world.pass_time(45)
    row = association(client, package_id, "search")
    assert (row["DomainPackageStatus"], row["PackageVersion"], row["ReferencePath"]) == (
        "ACTIVE",
        "v1",
        f"analyzers/{package_id}",
    )

    publish(package_id=package_id)
    row = association(client, package_id, "search")
    assert (row["DomainPackageStatus"], row["PackageVersion"]) == ("ACTIVE", "v1")

    client.associate_package(PackageID=package_id, DomainName="search")
    row = association(client, package_id, "search")
    assert (row["DomainPackageStatus"], row["PackageVersion"]) == ("ASSOCIATING", "v1")
    world.pass_time(45)
    row = association(client, package_id, "search")
    assert (row["DomainPackageStatus"], row["PackageVersion"]) == ("ACTIVE", "v2")


def test_what_shows_while_associating_is_a_setting(world, client, control, publish):
    control.settings(version_while_associating="new")
    package_id = publish()
    world.domain("search")
    client.associate_package(PackageID=package_id, DomainName="search")
    world.pass_time(45)
    publish(package_id=package_id)

    assert client.associate_package(PackageID=package_id, DomainName="search")["DomainPackageDetails"]["PackageVersion"] == "v2"


def test_of_two_associations_at_once_on_a_domain_the_second_fails(world, client, publish):
    first, second = publish("user-dictionary"), publish("synonyms")
    world.domain("search")

    client.associate_package(PackageID=first, DomainName="search")
    world.pass_time(5)
    client.associate_package(PackageID=second, DomainName="search")
    world.pass_time(50)

    assert association(client, first, "search")["DomainPackageStatus"] == "ACTIVE"
    failed = association(client, second, "search")
    assert failed["DomainPackageStatus"] == "ASSOCIATION_FAILED"
    assert "Another package" in failed["ErrorDetails"]["ErrorMessage"]

    client.associate_package(PackageID=second, DomainName="search")
    world.pass_time(45)
    assert association(client, second, "search")["DomainPackageStatus"] == "ACTIVE"
    assert "ErrorDetails" not in association(client, second, "search")


def test_a_large_domain_and_two_domains_take_two_associations_at_once(world, client, publish):
    first, second = publish("user-dictionary"), publish("synonyms")
    world.domain("large", serial_only=False)
    world.domain("other")
    for package_id, domain in ((first, "large"), (second, "large"), (first, "other")):
        client.associate_package(PackageID=package_id, DomainName=domain)
    world.pass_time(45)

    assert {
        row["DomainPackageStatus"] for row in client.list_packages_for_domain(DomainName="large")["DomainPackageDetailsList"]
    } == {"ACTIVE"}
    assert association(client, first, "other")["DomainPackageStatus"] == "ACTIVE"


def test_associating_again_at_the_same_version_is_a_conflict(world, client, publish):
    package_id = publish()
    world.domain("search")
    client.associate_package(PackageID=package_id, DomainName="search")
    assert error(client.associate_package, PackageID=package_id, DomainName="search")[:2] == ("ConflictException", 409)
    world.pass_time(45)

    assert error(client.associate_package, PackageID=package_id, DomainName="search") == (
        "ConflictException",
        409,
        "Package is already in desired state",
    )


def test_a_package_that_is_not_available_cannot_be_associated(world, client):
    world.bucket.objects["object"] = b"a, b\n"
    world.domain("search")
    package_id = create(client)

    assert error(client.associate_package, PackageID=package_id, DomainName="search")[:2] == ("ValidationException", 400)


def test_what_is_not_there_is_resource_not_found_with_http_409(world, client, publish):
    world.domain("search")
    package_id = publish()

    not_found = ("ResourceNotFoundException", 409)
    assert error(client.update_package, PackageID="F999", PackageSource=SOURCE)[:2] == not_found
    assert error(client.associate_package, PackageID="F999", DomainName="search")[:2] == not_found
    assert error(client.associate_package, PackageID=package_id, DomainName="nowhere")[:2] == not_found
    assert error(client.list_domains_for_package, PackageID="F999")[:2] == not_found
    assert error(client.list_packages_for_domain, DomainName="nowhere")[:2] == not_found
    assert error(client.get_package_version_history, PackageID="F999")[:2] == not_found
    assert error(client.describe_domain, DomainName="nowhere")[:2] == not_found


@pytest.mark.parametrize(("setting", "code"), [("not_found", "ResourceNotFoundException"), ("validation", "ValidationException")])
def test_describing_an_unknown_package_is_an_error_of_one_kind_or_the_other(client, control, setting, code):
    control.settings(unknown_package=setting)

    assert error(client.describe_packages, Filters=[{"Name": "PackageID", "Value": ["F999"]}])[0] == code


def test_a_package_managed_by_aws_cannot_be_updated(client):
    assert error(client.update_package, PackageID="G12345", PackageSource=SOURCE)[:2] == ("AccessDeniedException", 403)


def test_limits_patterns_and_enums_that_botocore_lets_through_are_checked(client):
    assert "PackageID" in error(client.list_domains_for_package, PackageID="nope")[2]
    assert "CommitMessage" in error(client.update_package, PackageID="F1", PackageSource=SOURCE, CommitMessage="x" * 161)[2]
    assert "PackageType" in error(client.create_package, PackageName="abc", PackageType="TEXT", PackageSource=SOURCE)[2]
    assert "DomainName" in error(client.describe_domain, DomainName="x" * 29)[2]


def test_dissociation_takes_its_time_and_then_the_row_is_gone(world, client, publish):
    package_id = publish()
    world.domain("search")
    assert error(client.dissociate_package, PackageID=package_id, DomainName="search") == (
        "ValidationException",
        400,
        "Package is not associated to this domain",
    )
    client.associate_package(PackageID=package_id, DomainName="search")
    world.pass_time(45)

    answer = client.dissociate_package(PackageID=package_id, DomainName="search")
    assert answer["DomainPackageDetails"]["DomainPackageStatus"] == "DISSOCIATING"
    world.pass_time(10)
    assert association(client, package_id, "search") is None


def test_quotas_are_25_packages_a_region_and_20_a_domain(world, client, control, publish):
    world.domain("search", serial_only=False)
    packages = [publish(f"dictionary-{number}") for number in range(25)]
    for package_id in packages[:20]:
        client.associate_package(PackageID=package_id, DomainName="search")

    assert error(create, client=client, name="one-more")[:2] == ("LimitExceededException", 409)
    assert error(client.associate_package, PackageID=packages[20], DomainName="search")[0] == "LimitExceededException"


def test_a_name_is_taken_once(client, publish):
    publish("synonyms")

    assert error(create, client=client, name="synonyms")[0] == "ResourceAlreadyExistsException"


def test_a_name_filter_with_a_wildcard_finds_more_than_itself(client, publish):
    for name in ("products-synonyms", "products-synonyms-old", "other"):
        publish(name)

    rows = client.describe_packages(Filters=[{"Name": "PackageName", "Value": ["products-*"]}])["PackageDetailsList"]

    assert {row["PackageName"] for row in rows} == {"products-synonyms", "products-synonyms-old"}


def test_pages_hold_every_row_once_in_an_order_that_changes(world, client, control, publish):
    world.domain("search", serial_only=False)
    names = [f"dictionary-{number}" for number in range(8)]
    for package_id in [publish(name) for name in names]:
        client.associate_package(PackageID=package_id, DomainName="search")

    def listing(**parameters):
        found, token = [], {}
        while True:
            answer = client.list_packages_for_domain(DomainName="search", **parameters, **token)
            assert len(answer["DomainPackageDetailsList"]) <= 3
            found += [row["PackageName"] for row in answer["DomainPackageDetailsList"]]
            if "NextToken" not in answer:
                return found
            token = {"NextToken": answer["NextToken"]}

    listings = [listing(MaxResults=3) for _ in range(5)]
    control.settings(page_limit=3)
    listings.append(listing())

    assert all(sorted(found) == names for found in listings)
    assert len({tuple(found) for found in listings}) > 1


def test_a_token_that_was_never_given_is_refused(client):
    assert error(client.describe_packages, NextToken="nonsense")[0] == "ValidationException"


def test_a_domain_shows_the_endpoint_it_was_made_with(client, control):
    control.domain("with-engine", "127.0.0.1:9200")
    control.domain("without-engine")

    assert client.describe_domain(DomainName="with-engine")["DomainStatus"]["Endpoint"] == "127.0.0.1:9200"
    assert "Endpoint" not in client.describe_domain(DomainName="without-engine")["DomainStatus"]


def test_speed_divides_the_service_times(world, client, control):
    world.bucket.objects["object"] = b"a, b\n"
    control.speed(10)
    package_id = create(client)
    world.pass_time(1.5)

    assert described(client, package_id)["PackageStatus"] == "AVAILABLE"


def test_transitions_tell_when_a_state_could_be_seen_first(world, client, control, publish):
    began = world.clock.now
    package_id = publish()
    world.domain("search")
    world.clock.now = began + 100
    client.associate_package(PackageID=package_id, DomainName="search")
    world.pass_time(45)

    assert [(row.time - began, row.after, row.version) for row in control.transitions(package_id)] == [
        (0, "COPYING", None),
        (10, "VALIDATING", None),
        (15, "AVAILABLE", "v1"),
        (100, "ASSOCIATING", "v1"),
        (145, "ACTIVE", "v1"),
    ]
    assert [row.after for row in control.transitions(package_id, "search")] == ["ASSOCIATING", "ACTIVE"]


def test_reset_forgets_everything_and_numbers_start_again(world, client, control, publish):
    publish()
    world.domain("search")
    control.speed(100)
    control.reset()

    assert client.describe_packages()["PackageDetailsList"] == []
    assert error(client.describe_domain, DomainName="search")[0] == "ResourceNotFoundException"
    assert control.settings()["speed"] == 1.0
    assert publish() == "F100000001"


def test_calls_are_counted_by_operation(client, control):
    client.describe_packages()
    client.describe_packages()

    assert control.calls() == {"DescribePackages": 2}
    assert [call.operation for call in control.log()] == ["DescribePackages", "DescribePackages"]
    control.reset_calls()
    assert control.calls() == {}

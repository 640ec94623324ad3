from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from local.simulators.http import Server
from local.simulators.packages.api import application
from local.simulators.packages.control import PackagesControl
from searchops.core.dictionary.model import commit_message, sha256
from searchops.core.dictionary.service import (
    PackageNotFound,
    call,
    code_of,
    drive,
    drive_async,
    error_text,
    read_association,
    read_associations,
    read_endpoint,
    read_history,
    read_package,
    read_package_with_history,
    read_situation,
)
from searchops.core.errors import DataError, TransientError
from tests.unit.local.packages.world import World

WANTED, OLD = sha256(b"wanted"), sha256(b"old")


class Answers:
    """A client that answers from rows, in pages of any size, and counts its calls. The shapes are those of the API reference."""

    def __init__(
        self,
        *,
        packages: Sequence[Mapping[str, Any]] = (),
        associations: Sequence[Mapping[str, Any]] = (),
        history: Sequence[Mapping[str, Any]] = (),
        domain: Mapping[str, Any] | None = None,
        page_rows: int = 100,
        errors: Iterable[Exception | None] = (),
    ) -> None:
        self._rows = {
            "describe_packages": ("PackageDetailsList", packages),
            "list_domains_for_package": ("DomainPackageDetailsList", associations),
            "list_packages_for_domain": ("DomainPackageDetailsList", associations),
            "get_package_version_history": ("PackageVersionHistoryList", history),
        }
        self._domain, self._page_rows, self._errors = domain, page_rows, iter(errors)
        self.calls: list[str] = []

    def __getattr__(self, operation: str) -> Any:
        def answer(**arguments: Any) -> Mapping[str, Any]:
            self.calls.append(operation)
            if error := next(self._errors, None):
                raise error
            if operation == "describe_domain":
                return {"DomainStatus": self._domain}
            member, rows = self._rows[operation]
            start = int(arguments.get("NextToken", 0))
            end = start + min(self._page_rows, arguments["MaxResults"])
            return {member: list(rows[start:end]), **({"NextToken": str(end)} if end < len(rows) else {})}

        return answer


class AsyncAnswers:
    """The same, awaited."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        async def answer(**arguments: Any) -> Any:
            return getattr(self._answers, operation)(**arguments)

        return answer


def package_row(package_id: str = "F1", name: str = "synonyms", **values: Any) -> dict[str, Any]:
    row = {"PackageID": package_id, "PackageName": name, "PackageStatus": "AVAILABLE", "AvailablePackageVersion": "v1"}
    return {**row, **values}


def association_row(package_id: str = "F1", domain: str = "products", **values: Any) -> dict[str, Any]:
    row = {"PackageID": package_id, "DomainName": domain, "DomainPackageStatus": "ACTIVE", "PackageVersion": "v1"}
    return {**row, **values}


def history_row(number: int, fingerprint: str | None = None) -> dict[str, Any]:
    message = {"CommitMessage": commit_message(fingerprint)} if fingerprint else {}
    return {"PackageVersion": f"v{number}", "CreatedAt": datetime.fromtimestamp(number, UTC), **message}


def refusal(code: str, message: str = "", status: int = 400, operation: str = "DescribePackages") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


# -- any pages, any order ------------------------------------------------------------------------------------------------------

pages = st.integers(1, 7)
others = st.lists(st.from_regex(r"[a-c]{1,3}", fullmatch=True), max_size=12, unique=True)


@given(others, pages, st.randoms())
def test_the_row_of_the_domain_is_found_wherever_it_stands(domains, page_rows, random):
    rows = [association_row(domain=domain, PackageVersion="v7") for domain in domains]
    rows.append(association_row(domain="products", PackageVersion="v2"))
    random.shuffle(rows)

    found = drive(Answers(associations=rows, page_rows=page_rows), read_association("F1", "products"))

    assert found
    assert (found.domain, found.version) == ("products", "v2")


@given(others, pages)
def test_a_domain_without_the_package_has_no_row(domains, page_rows):
    rows = [association_row(domain=domain) for domain in domains]

    assert drive(Answers(associations=rows, page_rows=page_rows), read_association("F1", "products")) is None


@given(others, pages)
def test_all_packages_of_a_domain_are_read(ids, page_rows):
    rows = [association_row(package_id=id) for id in ids]

    assert [
        row.package_id for row in drive(Answers(associations=rows, page_rows=page_rows), read_associations("products"))
    ] == ids


@given(others, pages, st.randoms(), st.booleans())
def test_a_name_filter_that_matches_other_names_too_gives_the_package_of_that_name(names, page_rows, random, there):
    rows = [package_row(f"F{number}", name) for number, name in enumerate(names)]
    rows += [package_row("F99", "synonyms")] * there
    random.shuffle(rows)

    found = drive(Answers(packages=rows, page_rows=page_rows), read_package(name="synonyms"))

    assert (found["PackageID"] if found else None) == ("F99" if there else None)


def test_a_deleted_package_that_is_still_listed_counts_as_none():
    answers = Answers(packages=[package_row("F1", PackageStatus="DELETED"), package_row("F2")])

    row = drive(answers, read_package(name="synonyms"))

    assert row
    assert row["PackageID"] == "F2"


fingerprints = st.sampled_from([None, OLD, WANTED])


@given(
    st.lists(fingerprints, min_size=1, max_size=12),
    pages,
    st.sampled_from(["newest", "oldest", "any"]),
    st.randoms(),
    st.sampled_from(["", "Words of ours", commit_message(OLD)]),
    st.data(),
)
def test_a_situation_reads_the_same_in_any_pages_and_order(found, page_rows, order, random, description, data):
    rows = [history_row(number, fingerprint) for number, fingerprint in enumerate(found, 1)]
    rows = {"newest": rows[::-1], "oldest": rows, "any": random.sample(rows, len(rows))}[order]
    available = f"v{data.draw(st.integers(1, len(found) + 1))}"  # the history may lag behind
    used = f"v{data.draw(st.integers(1, len(found)))}"
    answers = Answers(
        packages=[package_row(AvailablePackageVersion=available, PackageDescription=description)],
        associations=[association_row(domain="other", PackageVersion="v9"), association_row(PackageVersion=used)],
        history=rows,
        page_rows=page_rows,
    )

    package, association = drive(answers, read_situation("products", package_id="F1"))

    assert package
    assert association
    expected = [found[0] or (OLD if description == commit_message(OLD) else None), *found[1:]]
    by_version = {f"v{number}": fingerprint for number, fingerprint in enumerate(expected, 1)}
    assert package.fingerprint == by_version.get(available)
    assert package.history_lags is (available not in by_version)
    row = package.version(used)
    # A first version that only its description tells of matters while it is the available one.
    assert row
    assert row.fingerprint == by_version[used] or used == "v1" != available
    if package.fingerprint is None and not package.history_lags:
        assert package.ours is any(by_version.values())


@given(
    st.lists(fingerprints, min_size=1, max_size=6),
    st.lists(st.sampled_from(["products", "other"]), unique=True),
    pages,
    st.booleans(),
)
def test_a_task_and_a_trigger_read_the_same(found, domains, page_rows, exists):
    def answers() -> Answers:
        return Answers(
            packages=[package_row(AvailablePackageVersion=f"v{len(found)}")] if exists else [],
            associations=[association_row(domain=domain) for domain in domains],
            history=[history_row(number, fingerprint) for number, fingerprint in enumerate(found, 1)],
            page_rows=page_rows,
        )

    here, there = answers(), answers()
    by_task = drive(here, read_situation("products", name="synonyms"))
    by_trigger = asyncio.run(drive_async(AsyncAnswers(there), read_situation("products", name="synonyms")))

    assert by_task == by_trigger
    assert here.calls == there.calls


# -- no more calls than needed -------------------------------------------------------------------------------------------------


def histories(count: int, newest: str | None) -> list[dict[str, Any]]:
    return [history_row(count, newest), *(history_row(number) for number in range(count - 1, 0, -1))]


def test_an_unchanged_dictionary_is_told_by_three_calls():
    answers = Answers(packages=[package_row()], associations=[association_row()], history=[history_row(1, WANTED)])

    drive(answers, read_situation("products", package_id="F1"))

    assert answers.calls == ["describe_packages", "list_domains_for_package", "get_package_version_history"]


def test_the_history_is_read_no_further_than_the_wanted_row_where_that_is_ours():
    answers = Answers(history=histories(10, WANTED), page_rows=2)

    versions = drive(answers, read_history("F1", frozenset({"v10"}), all_unless_ours="v10"))

    assert len(answers.calls) == 1
    assert versions[0].fingerprint == WANTED


def test_the_whole_history_is_read_where_the_available_version_is_not_ours():
    answers = Answers(history=[*histories(10, None)[:-1], history_row(1, OLD)], page_rows=2)

    versions = drive(answers, read_history("F1", frozenset({"v10"}), all_unless_ours="v10"))

    assert len(answers.calls) == 5
    assert versions[0].fingerprint == OLD


def test_the_whole_history_is_read_where_the_wanted_version_is_not_listed():
    answers = Answers(history=histories(10, WANTED), page_rows=2)

    drive(answers, read_history("F1", frozenset({"v11"}), all_unless_ours="v11"))

    assert len(answers.calls) == 5


def test_the_description_counts_for_the_first_version_only():
    answers = Answers(history=[history_row(2), history_row(1)])

    first, second = drive(answers, read_history("F1", frozenset({"v2"}), commit_message(OLD)))

    assert (first.name, first.fingerprint) == ("v1", OLD)
    assert (second.name, second.fingerprint) == ("v2", None)


def test_a_commit_message_of_the_first_version_counts_more_than_the_description():
    answers = Answers(history=[history_row(1, WANTED)])

    (first,) = drive(answers, read_history("F1", frozenset({"v1"}), commit_message(OLD)))

    assert first.fingerprint == WANTED


def test_a_package_without_any_version_has_no_history_to_read():
    answers = Answers(packages=[package_row(PackageStatus="COPYING", AvailablePackageVersion=None)])

    package = drive(answers, read_package_with_history("F1"))

    assert answers.calls == ["describe_packages"]
    assert (package.in_transit, package.history) == (True, ())


# -- errors --------------------------------------------------------------------------------------------------------------------

UNKNOWN = {
    "ResourceNotFoundException": refusal("ResourceNotFoundException", "Package not found", 409),
    "ValidationException": refusal("ValidationException", "Package not found"),
    "an empty answer": None,
}


@pytest.mark.parametrize("error", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_package_id_is_one_clear_error_however_the_service_says_it(error):
    with pytest.raises(
        PackageNotFound, match=r"package F9 does not exist: expected it in the account and region .*package_id or"
    ):
        drive(Answers(errors=[error]), read_package(package_id="F9"))


@pytest.mark.parametrize("error", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_name_is_no_error_because_the_package_is_made(error):
    assert drive(Answers(errors=[error]), read_package(name="synonyms")) is None


@pytest.mark.parametrize(
    ("error", "family"),
    [
        (refusal("ThrottlingException", status=429), TransientError),
        (refusal("InternalException", status=500), TransientError),
        (EndpointConnectionError(endpoint_url="https://es.example"), TransientError),
        (ConnectionResetError("reset by peer"), TransientError),
        (refusal("AccessDeniedException", status=403), DataError),
        (refusal("UnrecognizedClientException", status=403), DataError),
    ],
    ids=lambda value: value.response["Error"]["Code"] if isinstance(value, ClientError) else "",
)
def test_other_errors_of_a_reading_come_classified_with_their_cause(error, family):
    for reading in (read_package(package_id="F1"), read_package(name="synonyms")):
        with pytest.raises(family) as caught:
            drive(Answers(errors=[error]), reading)
        assert caught.value.__cause__ is error

    with pytest.raises(family):
        asyncio.run(drive_async(AsyncAnswers(Answers(errors=[error])), read_package(package_id="F1")))
    with pytest.raises(family):
        call(Answers(errors=[error]), "describe_packages", MaxResults=1)


def test_an_error_on_a_later_page_is_not_taken_for_the_end():
    rows = [association_row(domain=f"d{number}") for number in range(4)]
    answers = Answers(associations=rows, page_rows=2, errors=[None, refusal("ThrottlingException", status=429)])

    with pytest.raises(TransientError, match="throttled"):
        drive(answers, read_association("F1", "products"))


def test_the_code_of_an_answer_is_found_behind_our_own_errors():
    with pytest.raises(TransientError) as caught:
        drive(Answers(errors=[refusal("ConflictException", status=409)]), read_package(name="synonyms"))

    assert code_of(caught.value) == "ConflictException"
    assert code_of(ValueError()) == ""
    assert code_of(ConnectionClosedError(endpoint_url="https://es.example")) == ""
    assert code_of(None) == ""


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({"ErrorType": "CopyError", "ErrorMessage": "no such key"}, "CopyError: no such key"),
        ({"ErrorType": "", "ErrorMessage": "no such key"}, "no such key"),
        ({"ErrorType": "CopyError"}, "CopyError"),
        ({}, ""),
        (None, ""),
    ],
)
def test_error_details_are_told_as_far_as_they_go(details, text):
    assert error_text({"ErrorDetails": details} if details is not None else {}) == text


# -- domains -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "url"),
    [
        ({"Endpoint": "search-products.example"}, "https://search-products.example"),
        ({"Endpoints": {"vpc": "vpc-products.example"}}, "https://vpc-products.example"),
        ({"EndpointV2": "products.example", "Endpoints": {}}, "https://products.example"),
        ({"Endpoint": "http://127.0.0.1:9200"}, "http://127.0.0.1:9200"),
    ],
    ids=["public", "VPC", "dual stack", "local"],
)
def test_a_domain_is_reached_at_the_endpoint_that_it_has(domain, url):
    assert drive(Answers(domain=domain), read_endpoint("products")) == url


def test_a_domain_that_is_being_created_has_no_endpoint_and_the_error_says_its_status():
    with pytest.raises(DataError, match="domain products has no endpoint yet: DomainProcessingStatus is Creating"):
        drive(Answers(domain={"DomainProcessingStatus": "Creating"}), read_endpoint("products"))


def test_an_unknown_domain_is_one_clear_error():
    error = refusal("ResourceNotFoundException", "Domain not found", 409, "DescribeDomain")
    with pytest.raises(DataError, match=r"domain products does not exist: .* domains\.\*\.domain_name or defaults\.region"):
        drive(Answers(errors=[error]), read_endpoint("products"))


def test_a_throttled_look_for_a_domain_is_no_missing_domain():
    with pytest.raises(TransientError):
        drive(Answers(errors=[refusal("ThrottlingException", status=429)]), read_endpoint("products"))


# -- a real client against the simulator ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_limit", [1, 2, 100])
@pytest.mark.parametrize("unknown", ["not_found", "validation", "empty"])
def test_boto3_reads_a_situation_through_the_wire(page_limit, unknown):
    world = World()
    world.bucket.objects["object"] = b"a, b\n"
    with Server(application(world.service)) as server:
        PackagesControl(server.url).settings(page_limit=page_limit, unknown_package=unknown, history_order="any")
        client = boto3.client(
            "opensearch",
            endpoint_url=server.url,
            region_name="ap-northeast-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}),
        )
        source = {"S3BucketName": "bucket", "S3Key": "object"}
        for name in ("synonyms-2", "synonyms"):
            client.create_package(PackageName=name, PackageType="TXT-DICTIONARY", PackageSource=source)
            world.pass_time(20)
        package_id = drive(client, read_package(name="synonyms"))["PackageID"]
        for number in range(3):
            client.update_package(
                PackageID=package_id, PackageSource=source, CommitMessage=commit_message(sha256(b"%d" % number))
            )
            world.pass_time(20)
        for domain in ("one", "products", "two"):
            world.domain(domain)
            client.associate_package(PackageID=package_id, DomainName=domain)
            world.pass_time(60)

        package, association = drive(client, read_situation("products", package_id=package_id))

        assert package
        assert association
        assert (package.status, package.fingerprint) == ("AVAILABLE", sha256(b"2"))
        assert (association.domain, association.status, association.version) == ("products", "ACTIVE", package.available_version)
        assert association.reference_path == f"analyzers/{package_id}"
        with pytest.raises(PackageNotFound):
            drive(client, read_package(package_id="F999999999"))

"""Read packages and associations from the OpenSearch Service API.

A reading is a generator that yields calls and is sent their answers, so that the same paging and the same choice of rows serve an operator
(`drive`, a boto3 client) and a trigger (`drive_async`, an aiobotocore client). The service has no paginators and no waiters for packages (botocore
1.43), hence our own.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from searchops.core.dictionary.model import Association, Package, Version, fingerprint_in
from searchops.core.errors import DataError, SearchOpsError, classify_client_error

T = TypeVar("T")
Call = tuple[str, dict[str, Any]]
Reading = Generator[Call, Mapping[str, Any], T]

PAGE_ROWS = 100  # MaxResults of all four listing calls
NOT_FOUND = ("ResourceNotFoundException", "ValidationException")  # DescribePackages answers either for an unknown id


class PackageNotFound(DataError):
    """The package does not exist in this account and region."""


def drive(client: Any, reading: Reading[T]) -> T:
    """Answer a reading's calls with a boto3 client; errors of the client reach the reading classified."""
    try:
        operation, arguments = next(reading)
        while True:
            try:
                answer = getattr(client, operation)(**arguments)
            except Exception as error:
                operation, arguments = reading.throw(_classified(error))
            else:
                operation, arguments = reading.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def drive_async(client: Any, reading: Reading[T]) -> T:
    """Answer a reading's calls with an aiobotocore client."""
    try:
        operation, arguments = next(reading)
        while True:
            try:
                answer = await getattr(client, operation)(**arguments)
            except Exception as error:
                operation, arguments = reading.throw(_classified(error))
            else:
                operation, arguments = reading.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _classified(error: Exception) -> SearchOpsError:
    classified = classify_client_error(error)
    classified.__cause__ = error
    return classified


def code_of(error: BaseException | None) -> str:
    """The error code of the AWS answer behind an error, or an empty text."""
    while error is not None:
        if answer := getattr(error, "response", None):  # botocore's connection errors have one that is None
            return str(answer.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def call(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """One call, its errors classified."""
    try:
        return getattr(client, operation)(**arguments)  # type: ignore[no-any-return]
    except Exception as error:
        raise _classified(error) from error


def _pages(operation: str, rows: str, **arguments: Any) -> Generator[Call, Mapping[str, Any], list[Mapping[str, Any]]]:
    found: list[Mapping[str, Any]] = []
    token: str | None = None
    while True:
        page = yield operation, {**arguments, "MaxResults": PAGE_ROWS, **({"NextToken": token} if token else {})}
        found += page.get(rows) or []
        token = page.get("NextToken")
        if not token:
            return found


def read_package(*, package_id: str | None = None, name: str | None = None) -> Reading[Mapping[str, Any] | None]:
    """The package's own row, or None where no package of that name exists.

    :raises PackageNotFound: no package has that id; ids are regional, so a wrong region reads the same
    """
    field, value = ("PackageID", package_id) if package_id else ("PackageName", name)
    try:
        rows = yield from _pages("describe_packages", "PackageDetailsList", Filters=[{"Name": field, "Value": [value]}])
    except SearchOpsError as error:
        if code_of(error) not in NOT_FOUND:
            raise
        rows = []
    # The filter understands wildcards, so the name has to be compared here; deleted packages stay listed for a while.
    row = next((row for row in rows if row.get(field) == value and row.get("PackageStatus") != "DELETED"), None)
    if row is None and package_id:
        raise PackageNotFound(
            f"package {package_id} does not exist: expected it in the account and region of the AWS connection; "
            "correct packages.*.package_id or defaults.region in the inventory"
        )
    return row


def read_history(
    package_id: str, wanted: frozenset[str], description: str = "", *, all_unless_ours: str | None = None
) -> Reading[tuple[Version, ...]]:
    """The rows of the package's history up to the wanted versions.

    All pages are read when a wanted row is missing, or when the row ``all_unless_ours`` bears no message of ours: whether a package was ever
    published by us can only be told from its whole history. CreatePackage takes no commit message, so the description counts for the first version.
    """
    rows: dict[str, Version] = {}
    token: str | None = None
    while True:
        arguments = {"PackageID": package_id, "MaxResults": PAGE_ROWS, **({"NextToken": token} if token else {})}
        page = yield "get_package_version_history", arguments
        for row in page.get("PackageVersionHistoryList") or []:
            rows[row["PackageVersion"]] = Version(
                row["PackageVersion"], fingerprint_in(row.get("CommitMessage")), _epoch(row["CreatedAt"])
            )
        token = page.get("NextToken")
        ours = all_unless_ours is None or (all_unless_ours in rows and rows[all_unless_ours].fingerprint is not None)
        if not token:
            break
        if wanted <= rows.keys() and ours:
            return tuple(rows.values())
    versions = sorted(rows.values(), key=lambda row: row.created_at)
    if versions and versions[0].fingerprint is None:
        versions[0] = Version(versions[0].name, fingerprint_in(description), versions[0].created_at)
    return tuple(versions)


def _epoch(value: datetime | float) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


def to_package(row: Mapping[str, Any], history: tuple[Version, ...] = ()) -> Package:
    return Package(
        id=row["PackageID"],
        name=row.get("PackageName", ""),
        status=row["PackageStatus"],
        available_version=row.get("AvailablePackageVersion"),
        history=history,
        error=error_text(row),
        updated_at=_epoch(row["LastUpdatedAt"]) if row.get("LastUpdatedAt") else None,
    )


def error_text(row: Mapping[str, Any]) -> str:
    """AWS's own words; ErrorType can be empty and ErrorDetails can be missing on a failed row."""
    details = row.get("ErrorDetails") or {}
    return ": ".join(text for text in (details.get("ErrorType"), details.get("ErrorMessage")) if text)


def to_association(row: Mapping[str, Any]) -> Association:
    return Association(
        package_id=row["PackageID"],
        domain=row["DomainName"],
        status=row["DomainPackageStatus"],
        version=row.get("PackageVersion"),
        reference_path=row.get("ReferencePath") or f"analyzers/{row['PackageID']}",
        error=error_text(row),
    )


def read_association(package_id: str, domain: str) -> Reading[Association | None]:
    """The row of one domain, wherever it stands: a package is on several domains, in no promised order."""
    rows = yield from _pages("list_domains_for_package", "DomainPackageDetailsList", PackageID=package_id)
    return next((to_association(row) for row in rows if row.get("DomainName") == domain), None)


def read_associations(domain: str) -> Reading[tuple[Association, ...]]:
    """All packages of a domain."""
    rows = yield from _pages("list_packages_for_domain", "DomainPackageDetailsList", DomainName=domain)
    return tuple(to_association(row) for row in rows)


def read_situation(
    domain: str, *, package_id: str | None = None, name: str | None = None
) -> Reading[tuple[Package | None, Association | None]]:
    """A package with its history and its association with one domain: three calls when nothing has more than one page."""
    row = yield from read_package(package_id=package_id, name=name)
    if row is None:
        return None, None
    association = yield from read_association(row["PackageID"], domain)
    package = yield from with_history(row, also=association.version if association else None)
    return package, association


def with_history(row: Mapping[str, Any], also: str | None = None) -> Reading[Package]:
    """The package of a row, with its history up to the available version and the version ``also``."""
    available = row.get("AvailablePackageVersion")
    wanted = frozenset(version for version in (available, also) if version)
    if not wanted:
        return to_package(row)
    history = yield from read_history(row["PackageID"], wanted, row.get("PackageDescription") or "", all_unless_ours=available)
    return to_package(row, history)


def read_package_with_history(package_id: str, also: str | None = None) -> Reading[Package]:
    row = yield from read_package(package_id=package_id)
    assert row is not None  # noqa: S101  # read_package raises for an id
    return (yield from with_history(row, also))


def read_endpoint(domain: str) -> Reading[str]:
    """The https endpoint of a domain; a VPC domain has it under Endpoints."""
    try:
        answer = yield "describe_domain", {"DomainName": domain}
    except SearchOpsError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        raise DataError(
            f"domain {domain} does not exist: expected it in the account and region of the AWS connection; "
            "correct domains.*.domain_name or defaults.region in the inventory",
            reason=error.reason,
        ) from error
    status = answer["DomainStatus"]
    endpoint = status.get("Endpoint") or (status.get("Endpoints") or {}).get("vpc") or status.get("EndpointV2")
    if not endpoint:
        raise DataError(
            f"domain {domain} has no endpoint yet: DomainProcessingStatus is {status.get('DomainProcessingStatus', 'unknown')}"
        )
    return endpoint if "://" in endpoint else f"https://{endpoint}"

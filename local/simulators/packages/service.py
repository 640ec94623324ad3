"""The operations on packages, associations and domains.

Sources: the API reference of Amazon OpenSearch Service (2021-01-01) and its developer guide, "custom packages"; quotas from the AWS
General Reference, "OpenSearch Service endpoints and quotas". ``[unknown]`` marks a choice of ours.
"""

from __future__ import annotations

import fnmatch
import itertools
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from local.simulators.packages import model
from local.simulators.packages.faults import CallFaults
from local.simulators.packages.model import Association, AssociationStatus, Domain, Package, PackageStatus, Publication, Region
from local.simulators.packages.objects import CopyFailed, Objects
from local.simulators.packages.paging import InvalidToken, page
from local.simulators.packages.settings import Settings

ACCOUNT = "123456789012"
ENGINE_VERSION = "OpenSearch_3.8"
FIRST_PACKAGE = 100000001
NO_FAULTS = CallFaults()

Parameters = Mapping[str, Any]
Answer = dict[str, Any]


class ServiceError(Exception):
    """An error of the API: ``code`` is the exception's name in the API reference, which also says the HTTP status unless one is given."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class Node(Protocol):
    """What an association acts on."""

    def install(self, package_id: str, content: bytes, *, reload: bool) -> None:
        """Put a version of a package on the node and reload what the service reloads."""

    def remove(self, package_id: str) -> None:
        """Take a package off the node."""

    def users(self, package_id: str) -> list[str]:
        """Names of the indexes that use a package."""


class PackageService:
    """One account and region. Time passes in ``advance``; what it asks for waits in ``commands`` until ``perform`` carries it out."""

    def __init__(
        self, objects: Objects, node: Node | None, settings: Settings | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.commands: queue.SimpleQueue[model.Command] = queue.SimpleQueue()
        self._objects = objects
        self._node = node
        self._clock = clock
        self._initial = self.settings = settings or Settings()
        self._changes = itertools.count(1)
        self._region = Region()
        self._forget()

    # Time

    def advance(self) -> float:
        """Let everything happen that is due; the moment at which there is more."""
        with self.changed:
            for when, region, command in model.advance(self._region, self._clock()):
                self._commit(region, when)
                if command:
                    self.commands.put(command)
            return model.next_due(self._region)

    def perform(self, command: model.Command) -> None:
        """Carry out a command, without holding up the API, and note its end.

        What fails in the simulator itself ends the change as failed, so that no caller waits for ever.
        """
        match command:
            case model.Copy():
                self._copy(command)
            case model.Apply():
                error = self._act(command, lambda node: node.install(command.package_id, command.content, reload=command.reload))
                self._finish(lambda region, now: model.applied(region, command, now, error))
            case model.Remove():
                error = self._act(command, lambda node: node.remove(command.package_id))
                self._finish(lambda region, now: model.removed(region, command, now, error))

    def _copy(self, command: model.Copy) -> None:
        try:
            content, error = self._objects.fetch(command.bucket, command.key), None
        except Exception as reason:
            if not isinstance(reason, CopyFailed):
                traceback.print_exc()
            content, error = None, model.ErrorDetails("CopyError", str(reason))
        self._finish(lambda region, _: model.copied(region, command, content, error))

    def _act(self, command: model.Apply | model.Remove, effect: Callable[[Node], None]) -> model.ErrorDetails | None:
        domain = self._region.domains.get(command.domain)
        if self._node is None or domain is None or domain.endpoint is None or not self._is_current(command):
            return None
        try:
            effect(self._node)
        except Exception as error:
            traceback.print_exc()
            return model.ErrorDetails("InternalError", f"the simulator could not act on the node: {error}")
        return None

    def _is_current(self, command: model.Apply | model.Remove) -> bool:
        row = self._region.associations.get((command.package_id, command.domain))
        return row is not None and row.change == command.change

    def _finish(self, change: Callable[[Region, float], Region]) -> None:
        with self.changed:
            now = self._clock()
            self._commit(change(self._region, now), now)

    def _commit(self, region: Region, when: float) -> None:
        when = max(when, self._past[-1][0])
        self._transitions += model.transitions(self._region, region, when)
        self._past.append((when, region))
        self._region = region
        self.changed.notify_all()

    def _seen(self, faults: CallFaults) -> Region:
        """The region as a read shows it: now, or some seconds ago when a lag is ordered; domains are always those of now."""
        self.advance()
        moment = self._clock() - faults.seconds("lag") / self.settings.speed
        seen = next((region for when, region in reversed(self._past) if when <= moment), Region())
        return replace(seen, domains=self._region.domains)

    # Control

    def reset(self) -> None:
        """Forget everything, settings included; ids start again. What is on the node stays there."""
        with self.changed:
            self.settings = self._initial
            self._forget()
            self.changed.notify_all()

    def _forget(self) -> None:
        self._region = Region()
        self._past: list[tuple[float, Region]] = [(self._clock(), self._region)]
        self._transitions: list[model.Transition] = []
        self._numbers = itertools.count(FIRST_PACKAGE)

    def release(self) -> None:
        """End the states that were ordered never to end."""
        with self.changed:
            self.advance()
            now = self._clock()
            self._commit(model.release(self._region, now), now)

    def configure(self, values: dict[str, Any]) -> Settings:
        """Change settings; a state that has begun keeps its end."""
        with self.changed:
            self.settings = self.settings.changed(values)
            return self.settings

    def put_domain(self, domain: Domain) -> None:
        with self.changed:
            self.advance()
            self._commit(self._region.with_domain(domain), self._clock())

    def transitions(self) -> list[model.Transition]:
        with self.changed:
            self.advance()
            return list(self._transitions)

    def content(self, package_id: str) -> dict[str, bytes]:
        """The bytes of every version of a package, for tests: AWS gives them to nobody."""
        with self.changed:
            package = self._region.packages.get(package_id)
            return {version.name: version.content for version in package.versions} if package else {}

    # Packages

    def create_package(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """A package of type TXT-DICTIONARY begins its first version, which has no commit message.

        25 packages a region. A name is taken once (ResourceAlreadyExistsException is listed for the operation).
        """
        with self.changed:
            self.advance()
            now, region = self._clock(), self._region
            if parameters["PackageType"] != "TXT-DICTIONARY":
                raise ServiceError("InvalidTypeException", f"{parameters['PackageType']} is not simulated, only TXT-DICTIONARY")
            if any(package.name == parameters["PackageName"] for package in region.packages.values()):
                raise ServiceError("ResourceAlreadyExistsException", f"Package {parameters['PackageName']} already exists")
            if len(region.packages) >= self.settings.max_packages:
                raise ServiceError("LimitExceededException", f"No more than {self.settings.max_packages} packages a region")
            publication = self._publication(parameters, faults, now, commit_message=None)
            package = Package(
                id=f"F{next(self._numbers)}",
                name=parameters["PackageName"],
                type=parameters["PackageType"],
                description=parameters.get("PackageDescription"),
                created_at=now,
                updated_at=now,
                status=PackageStatus.COPYING,
            )
            package, command = model.begin_copying(package, publication, now)
            self._commit(region.with_package(package), now)
            self.commands.put(command)
            return {"PackageDetails": package_details(package)}

    def update_package(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """A package begins a new version, whatever the bytes [unknown: equal bytes may make none].

        The answer and the reads of the next moment show the version before, still AVAILABLE [unknown]. While one is on its way
        another is refused [unknown]; the operation lists no ConflictException. An AWS-managed package (``G…``) is not ours to update.
        """
        with self.changed:
            self.advance()
            if parameters["PackageID"].startswith("G"):
                raise ServiceError(
                    "AccessDeniedException", f"{parameters['PackageID']} is managed by AWS"
                )  # [unknown] which error
            package = _package(self._region, parameters["PackageID"])
            if package.publication is not None:
                raise ServiceError("ValidationException", f"Package {package.id} is being updated")
            now = self._clock()
            publication = self._publication(parameters, faults, now, parameters.get("CommitMessage"))
            package = replace(
                package,
                description=parameters.get("PackageDescription", package.description),
                error=None,
                publication=publication,
                ends=now + self.settings.durations.update_visible / self.settings.speed,
            )
            self._commit(self._region.with_package(package), now)
            return {"PackageDetails": package_details(package)}

    def _publication(self, parameters: Parameters, faults: CallFaults, now: float, commit_message: str | None) -> Publication:
        source = parameters["PackageSource"]
        if not source.get("S3BucketName") or not source.get("S3Key"):
            raise ServiceError("ValidationException", "PackageSource needs S3BucketName and S3Key")
        course = faults.course(self.settings, PackageStatus.COPYING, PackageStatus.VALIDATING)
        return Publication(next(self._changes), source["S3BucketName"], source["S3Key"], commit_message, now, course)

    def describe_packages(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """Packages that fit every filter; values of one filter are alternatives and may hold ``*`` and ``?``.

        The reference allows both signs in a value, so a name may match more than itself. An id that is not there is an error of
        ResourceNotFoundException or ValidationException "Package not found": clients in the field expect either (a setting).
        """
        with self.changed:
            region = self._seen(faults)
            filters = parameters.get("Filters", [])
            if incomplete := [item for item in filters if "Name" not in item or not item.get("Value")]:
                raise ServiceError("ValidationException", f"A filter needs Name and Value, found {incomplete}")
            for id in (value for item in filters if item["Name"] == "PackageID" for value in item["Value"]):
                self._require_described(region, id)
            rows = [package for package in region.packages.values() if all(_fits(package, item) for item in filters)]
            return self._page("PackageDetailsList", rows, lambda package: package.id, package_details, parameters)

    def _require_described(self, region: Region, id: str) -> None:
        if set("*?") & set(id) or id in region.packages or self.settings.unknown_package == "empty":
            return
        code = "ValidationException" if self.settings.unknown_package == "validation" else "ResourceNotFoundException"
        raise ServiceError(code, f"Package not found: {id}")

    def get_package_version_history(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """The versions that became available [unknown: whether one on its way has a row], newest first [unknown, a setting]."""
        with self.changed:
            package = _package(self._seen(faults), parameters["PackageID"])
            order = self.settings.history_order
            answer = self._page(
                "PackageVersionHistoryList",
                package.versions,
                lambda version: f"{version.number if order == 'oldest' else 10**9 - version.number:010d}",
                _history_row,
                parameters,
                shuffle=order == "any",
            )
            return {"PackageID": package.id, **answer}

    # Associations

    def associate_package(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """The newest available version goes onto a domain; the operation takes no version.

        At that version already: ConflictException "Package is already in desired state" (seen in the field). A package that is not
        AVAILABLE is refused [unknown how]. 20 packages a domain [unknown: LimitExceededException is not listed for the operation].
        Of two at once on one domain the second ends as ASSOCIATION_FAILED [unknown: seen on small domains, not documented].
        """
        with self.changed:
            self.advance()
            package, domain = _package(self._region, parameters["PackageID"]), _domain(self._region, parameters["DomainName"])
            row = self._region.associations.get((package.id, domain.name))
            target = self._associable(package, domain, row)
            now = self._clock()
            course = faults.course(self.settings, AssociationStatus.ASSOCIATING)
            if domain.serial_only and self._busy(domain):
                message = f"Another package is being associated with {domain.name}"
                busy = model.ErrorDetails("AssociationError", message)
                course = replace(course, fails_in=AssociationStatus.ASSOCIATING, error=busy)
            association = Association(
                package_id=package.id,
                domain=domain.name,
                change=next(self._changes),
                status=AssociationStatus.ASSOCIATING,
                updated_at=now,
                course=course,
                target=target,
                version=self._version_while_associating(row, target),
                ends=now + course.seconds[AssociationStatus.ASSOCIATING],
            )
            self._commit(self._region.with_association(association), now)
            return {"DomainPackageDetails": association_details(self._region, association)}

    def _associable(self, package: Package, domain: Domain, row: Association | None) -> model.Version:
        if row and row.in_transit:
            raise ServiceError("ConflictException", f"Package {package.id} is {row.status.value} on {domain.name}")
        if package.status is not PackageStatus.AVAILABLE or package.available is None:
            raise ServiceError("ValidationException", f"Package {package.id} is {package.status.value}, not AVAILABLE")
        if row and row.status is AssociationStatus.ACTIVE and row.version == package.available.name:
            raise ServiceError("ConflictException", "Package is already in desired state")
        others = sum(key[1] == domain.name and key[0] != package.id for key in self._region.associations)
        if others >= self.settings.max_packages_per_domain:
            raise ServiceError(
                "LimitExceededException", f"No more than {self.settings.max_packages_per_domain} packages a domain"
            )
        return package.available

    def _busy(self, domain: Domain) -> bool:
        return any(row.domain == domain.name and row.in_transit for row in self._region.associations.values())

    def _version_while_associating(self, row: Association | None, target: model.Version) -> str | None:
        """[unknown] The version before until the new one is ACTIVE (a setting); the new one when there was none before."""
        if row and self.settings.version_while_associating == "old":
            return row.version
        return target.name

    def dissociate_package(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """A package goes off a domain, unless an index of its node uses it.

        "You must remove the package from any index before you can dissociate it" (developer guide); that this is a ConflictException
        is from the reference's wording. A package that is not there: ValidationException (seen in the field).
        """
        id, name = parameters["PackageID"], parameters["DomainName"]
        domain = self._region.domains.get(name)
        users = self._node.users(id) if self._node and domain and domain.endpoint else []  # asks the node: not under the lock
        with self.changed:
            self.advance()
            _package(self._region, id)
            _domain(self._region, name)
            row = self._region.associations.get((id, name))
            if row is None:
                raise ServiceError("ValidationException", "Package is not associated to this domain")
            if row.in_transit:
                raise ServiceError("ConflictException", f"Package {id} is {row.status.value} on {name}")
            if users:
                raise ServiceError("ConflictException", f"Package {id} is in use by {', '.join(users)}")
            now = self._clock()
            course = faults.course(self.settings, AssociationStatus.DISSOCIATING)
            row = replace(
                row,
                change=next(self._changes),
                status=AssociationStatus.DISSOCIATING,
                updated_at=now,
                course=course,
                error=None,
                ends=now + course.seconds[AssociationStatus.DISSOCIATING],
            )
            self._commit(self._region.with_association(row), now)
            return {"DomainPackageDetails": association_details(self._region, row)}

    def list_domains_for_package(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """The domains of a package, in no order."""
        with self.changed:
            region = self._seen(faults)
            id = _package(region, parameters["PackageID"]).id
            return self._page_associations(region, lambda row: row.package_id == id, parameters)

    def list_packages_for_domain(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """The packages of a domain, in no order."""
        with self.changed:
            region = self._seen(faults)
            name = _domain(region, parameters["DomainName"]).name
            return self._page_associations(region, lambda row: row.domain == name, parameters)

    def _page_associations(self, region: Region, wanted: Callable[[Association], bool], parameters: Parameters) -> Answer:
        rows = [row for row in region.associations.values() if wanted(row)]
        return self._page(
            "DomainPackageDetailsList",
            rows,
            lambda row: f"{row.package_id}/{row.domain}",
            lambda row: association_details(region, row),
            parameters,
        )

    # Domains

    def describe_domain(self, parameters: Parameters, faults: CallFaults = NO_FAULTS) -> Answer:
        """A domain that is up and at rest; ``Endpoint`` is the node's, absent for a domain without an engine."""
        with self.changed:
            domain = _domain(self._seen(faults), parameters["DomainName"])
            return {"DomainStatus": domain_status(domain)}

    def _page(
        self,
        member: str,
        rows: Any,
        key: Callable[[Any], str],
        show: Callable[[Any], Answer],
        parameters: Parameters,
        *,
        shuffle: bool = True,
    ) -> Answer:
        """A page of at most MaxResults rows, 100 when it is not given (API reference)."""
        size = max(1, min(parameters.get("MaxResults", 100), self.settings.page_limit))
        try:
            given, token = page(rows, key, size, parameters.get("NextToken"), shuffle=shuffle)
        except InvalidToken as error:
            raise ServiceError("ValidationException", str(error)) from error  # [unknown] which error
        return _present({member: [show(row) for row in given], "NextToken": token})


def _package(region: Region, id: str) -> Package:
    if id not in region.packages:
        raise ServiceError("ResourceNotFoundException", f"Package not found: {id}")
    return region.packages[id]


def _domain(region: Region, name: str) -> Domain:
    if name not in region.domains:
        raise ServiceError("ResourceNotFoundException", f"Domain not found: {name}")
    return region.domains[name]


def _fits(package: Package, item: Mapping[str, Any]) -> bool:
    """Values are matched with their wildcards for every filter [unknown for which the service does]."""
    attribute = {
        "PackageID": package.id,
        "PackageName": package.name,
        "PackageStatus": package.status.value,
        "PackageType": package.type,
        "PackageOwner": ACCOUNT,
        "EngineVersion": "",
    }[item["Name"]]
    return any(fnmatch.fnmatchcase(attribute, value.replace("[", "[[]")) for value in item["Value"])


def package_details(package: Package) -> Answer:
    """PackageDetails, times in epoch seconds; no place in S3 and no checksum: the API gives neither."""
    return _present(
        {
            "PackageID": package.id,
            "PackageName": package.name,
            "PackageType": package.type,
            "PackageDescription": package.description,
            "PackageStatus": package.status.value,
            "CreatedAt": package.created_at,
            "LastUpdatedAt": package.updated_at,
            "AvailablePackageVersion": package.available.name if package.available else None,
            "ErrorDetails": _error(package.error),
            "PackageOwner": ACCOUNT,
        }
    )


def association_details(region: Region, row: Association) -> Answer:
    """DomainPackageDetails; ReferencePath is what an index names ("relative path of the package on the nodes")."""
    package = region.packages[row.package_id]
    return _present(
        {
            "PackageID": package.id,
            "PackageName": package.name,
            "PackageType": package.type,
            "LastUpdated": row.updated_at,
            "DomainName": row.domain,
            "DomainPackageStatus": row.status.value,
            "PackageVersion": row.version,
            "ReferencePath": f"analyzers/{package.id}",
            "ErrorDetails": _error(row.error),
        }
    )


def _history_row(version: model.Version) -> Answer:
    return _present({"PackageVersion": version.name, "CommitMessage": version.commit_message, "CreatedAt": version.created_at})


def domain_status(domain: Domain) -> Answer:
    return _present(
        {
            "DomainId": f"{ACCOUNT}/{domain.name}",
            "DomainName": domain.name,
            "ARN": f"arn:aws:es:us-east-1:{ACCOUNT}:domain/{domain.name}",
            "Created": True,
            "Deleted": False,
            "Endpoint": domain.endpoint,
            "Processing": False,
            "UpgradeProcessing": False,
            "DomainProcessingStatus": "Active",
            "EngineVersion": ENGINE_VERSION,
            "ClusterConfig": {"InstanceType": "t3.small.search", "InstanceCount": 1},
        }
    )


def _error(error: model.ErrorDetails | None) -> Answer | None:
    return None if error is None else {"ErrorType": error.type, "ErrorMessage": error.message}


def _present(values: Mapping[str, Any]) -> Answer:
    return {name: value for name, value in values.items() if value is not None}


class Ticker(threading.Thread):
    """Makes happen what is due although nobody polls; commands run beside it, so that a reload holds up no other change."""

    def __init__(self, service: PackageService) -> None:
        super().__init__(name="packages-clock", daemon=True)
        self._service = service
        self._stopping = False

    def run(self) -> None:
        with self._service.changed:
            while not self._stopping:
                due = self._service.advance()
                while not self._service.commands.empty():
                    self._start(self._service.commands.get())
                self._service.changed.wait(min(60.0, max(0.0, due - time.time())))

    def _start(self, command: model.Command) -> None:
        print(f"packages: {type(command).__name__} {command.package_id}", file=sys.stderr, flush=True)
        threading.Thread(target=self._service.perform, args=(command,), daemon=True).start()

    def stop(self) -> None:
        with self._service.changed:
            self._stopping = True
            self._service.changed.notify_all()
        self.join()

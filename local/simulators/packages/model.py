"""Packages, associations and domains of one region as values, and what time does to them.

Nothing here reads a clock or touches the world: ``advance`` takes the time and gives back the next region and the commands that
somebody has to carry out (copy an object, put a file on the node); their results come back through ``copied``, ``applied`` and
``removed``. So the region at any moment of the past can be kept, which is what a lagging read shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class PackageStatus(StrEnum):
    """The values of PackageStatus that a dictionary passes through (API reference, PackageDetails)."""

    COPYING = "COPYING"
    COPY_FAILED = "COPY_FAILED"
    VALIDATING = "VALIDATING"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    AVAILABLE = "AVAILABLE"


class AssociationStatus(StrEnum):
    """The values of DomainPackageStatus (API reference, DomainPackageDetails)."""

    ASSOCIATING = "ASSOCIATING"
    ASSOCIATION_FAILED = "ASSOCIATION_FAILED"
    ACTIVE = "ACTIVE"
    DISSOCIATING = "DISSOCIATING"
    DISSOCIATION_FAILED = "DISSOCIATION_FAILED"


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """``type`` may be empty: the service has been seen to send "" (developer guide, custom plugins)."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Course:
    """How a change will go, decided when it is asked for.

    ``seconds`` gives the time on the wall in each state, infinite for one that never ends. ``fails_in`` names the state that ends badly;
    ``error`` is then what ErrorDetails says, None for a failure without them.
    """

    seconds: Mapping[str, float]
    fails_in: str | None = None
    error: ErrorDetails | None = None
    reload: bool = True


@dataclass(frozen=True, slots=True)
class Version:
    """A version that became available. ``created_at`` is the moment of the call that asked for it [unknown]."""

    number: int
    content: bytes
    created_at: float
    commit_message: str | None

    @property
    def name(self) -> str:
        return f"v{self.number}"


@dataclass(frozen=True, slots=True)
class Publication:
    """Content on its way to be a version. ``content`` and ``copy_error`` are None until the object has been asked for."""

    change: int
    bucket: str
    key: str
    commit_message: str | None
    asked_at: float
    course: Course
    content: bytes | None = None
    copy_error: ErrorDetails | None = None

    @property
    def copied(self) -> bool:
        return self.content is not None or self.copy_error is not None


@dataclass(frozen=True, slots=True)
class Package:
    id: str
    name: str
    type: str
    description: str | None
    created_at: float
    updated_at: float
    status: PackageStatus
    versions: tuple[Version, ...] = ()
    error: ErrorDetails | None = None
    publication: Publication | None = None
    ends: float = math.inf

    @property
    def available(self) -> Version | None:
        """The version that AssociatePackage takes.

        A failed update leaves the version before it available [unknown].
        """
        return self.versions[-1] if self.versions else None


@dataclass(frozen=True, slots=True)
class Association:
    """A package on a domain. ``version`` is what the service shows, ``target`` what it is putting there."""

    package_id: str
    domain: str
    change: int
    status: AssociationStatus
    updated_at: float
    course: Course
    target: Version
    version: str | None
    error: ErrorDetails | None = None
    ends: float = math.inf
    working: bool = False

    @property
    def in_transit(self) -> bool:
        return self.status in (AssociationStatus.ASSOCIATING, AssociationStatus.DISSOCIATING)


@dataclass(frozen=True, slots=True)
class Domain:
    """``endpoint`` is None for a domain without an engine. ``serial_only``: of two associations at once the second fails."""

    name: str
    endpoint: str | None = None
    serial_only: bool = True


@dataclass(frozen=True, slots=True)
class Region:
    packages: Mapping[str, Package] = field(default_factory=dict)
    associations: Mapping[tuple[str, str], Association] = field(default_factory=dict)
    domains: Mapping[str, Domain] = field(default_factory=dict)

    def with_package(self, package: Package) -> Region:
        return replace(self, packages={**self.packages, package.id: package})

    def with_association(self, association: Association) -> Region:
        return replace(self, associations={**self.associations, (association.package_id, association.domain): association})

    def with_domain(self, domain: Domain) -> Region:
        return replace(self, domains={**self.domains, domain.name: domain})

    def without_association(self, package_id: str, domain: str) -> Region:
        return replace(self, associations={key: row for key, row in self.associations.items() if key != (package_id, domain)})


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the object to the service's own store."""

    package_id: str
    change: int
    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Put a version on a domain and make live what the service makes live."""

    package_id: str
    domain: str
    change: int
    content: bytes
    reload: bool


@dataclass(frozen=True, slots=True)
class Remove:
    """Take a package off a domain."""

    package_id: str
    domain: str
    change: int


Command = Copy | Apply | Remove


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state at ``time`` (epoch seconds), the first moment at which a read could see it; ``domain`` is None for a package."""

    time: float
    package_id: str
    domain: str | None
    before: str | None
    after: str | None
    version: str | None


def next_due(region: Region) -> float:
    """The moment of the next change that time alone brings, infinite when there is none."""
    ends = [package.ends for package in region.packages.values() if not _waits_for_copy(package)]
    return min([*ends, *(association.ends for association in region.associations.values())], default=math.inf)


def advance(region: Region, now: float) -> Iterator[tuple[float, Region, Command | None]]:
    """Every change that is due by ``now``, in the order of time: when it happened, the region after it, what it asks to be done."""
    while (due := next_due(region)) <= now:
        region, command = _step(region, due)
        yield due, region, command


def _step(region: Region, due: float) -> tuple[Region, Command | None]:
    for package in region.packages.values():
        if package.ends == due and not _waits_for_copy(package):
            changed, command = _step_package(package)
            return region.with_package(changed), command
    for association in region.associations.values():
        if association.ends == due:
            row, work = _step_association(association)
            return region.with_association(row), work
    raise AssertionError(f"nothing is due at {due}")


def _waits_for_copy(package: Package) -> bool:
    return package.status is PackageStatus.COPYING and package.publication is not None and not package.publication.copied


def _step_package(package: Package) -> tuple[Package, Copy | None]:
    publication = package.publication
    assert publication is not None, f"{package.id} has an end of {package.status} and nothing that is published"
    match package.status:
        case PackageStatus.COPYING:
            return _end_copying(package, publication), None
        case PackageStatus.VALIDATING:
            return _end_validating(package, publication), None
        case _:
            return begin_copying(package, publication, package.ends)


def begin_copying(package: Package, publication: Publication, now: float) -> tuple[Package, Copy]:
    """Enter COPYING, the moment at which the object is read."""
    ends = now + publication.course.seconds[PackageStatus.COPYING]
    changed = replace(package, status=PackageStatus.COPYING, publication=publication, updated_at=now, ends=ends)
    return changed, Copy(package.id, publication.change, publication.bucket, publication.key)


def _end_copying(package: Package, publication: Publication) -> Package:
    course = publication.course
    if publication.copy_error or course.fails_in == PackageStatus.COPYING:
        return _fail(package, PackageStatus.COPY_FAILED, publication.copy_error or course.error)
    ends = package.ends + course.seconds[PackageStatus.VALIDATING]
    return replace(package, status=PackageStatus.VALIDATING, updated_at=package.ends, ends=ends)


def _end_validating(package: Package, publication: Publication) -> Package:
    """Only UTF-8 is documented ("custom packages": "We support only UTF-8"); what the words mean is not looked at."""
    assert publication.content is not None, f"{package.id} is validated without content"
    if publication.course.fails_in == PackageStatus.VALIDATING:
        return _fail(package, PackageStatus.VALIDATION_FAILED, publication.course.error)
    try:
        publication.content.decode()
    except UnicodeDecodeError as error:
        details = ErrorDetails("ValidationError", f"The file is not valid UTF-8 text: {error.reason} at byte {error.start}")
        return _fail(package, PackageStatus.VALIDATION_FAILED, details)
    version = Version(len(package.versions) + 1, publication.content, publication.asked_at, publication.commit_message)
    return replace(
        package,
        status=PackageStatus.AVAILABLE,
        versions=(*package.versions, version),
        updated_at=package.ends,
        publication=None,
        ends=math.inf,
    )


def _fail(package: Package, status: PackageStatus, error: ErrorDetails | None) -> Package:
    return replace(package, status=status, error=error, updated_at=package.ends, publication=None, ends=math.inf)


def _step_association(association: Association) -> tuple[Association, Command | None]:
    now = association.ends
    if association.status is AssociationStatus.DISSOCIATING:
        work: Command = Remove(association.package_id, association.domain, association.change)
        return replace(association, working=True, ends=math.inf), work
    if association.course.fails_in == AssociationStatus.ASSOCIATING:
        failed = replace(
            association,
            status=AssociationStatus.ASSOCIATION_FAILED,
            error=association.course.error,
            updated_at=now,
            ends=math.inf,
        )
        return failed, None
    work = Apply(
        association.package_id, association.domain, association.change, association.target.content, association.course.reload
    )
    return replace(association, working=True, ends=math.inf), work


def copied(region: Region, command: Copy, content: bytes | None, error: ErrorDetails | None) -> Region:
    """Note what the copy gave; a result for a change that is no longer there is dropped."""
    package = region.packages.get(command.package_id)
    if package is None or package.publication is None or package.publication.change != command.change:
        return region
    return region.with_package(replace(package, publication=replace(package.publication, content=content, copy_error=error)))


def applied(region: Region, command: Apply, now: float, error: ErrorDetails | None = None) -> Region:
    """End an association: ACTIVE on its version, or failed with what the node said."""
    row = region.associations.get((command.package_id, command.domain))
    if row is None or row.change != command.change:
        return region
    if error:
        status, version = AssociationStatus.ASSOCIATION_FAILED, row.version
    else:
        status, version = AssociationStatus.ACTIVE, row.target.name
    return region.with_association(replace(row, status=status, version=version, error=error, updated_at=now, working=False))


def removed(region: Region, command: Remove, now: float, error: ErrorDetails | None = None) -> Region:
    """End a dissociation: the row goes, or stays as DISSOCIATION_FAILED."""
    row = region.associations.get((command.package_id, command.domain))
    if row is None or row.change != command.change:
        return region
    if error is None:
        return region.without_association(command.package_id, command.domain)
    failed = replace(row, status=AssociationStatus.DISSOCIATION_FAILED, error=error, updated_at=now, working=False)
    return region.with_association(failed)


def release(region: Region, now: float) -> Region:
    """Let go every state that was ordered never to end: it ends now, and those after it take their time, or none if held too."""
    for package in region.packages.values():
        if package.publication is not None:
            publication = replace(package.publication, course=_released(package.publication.course))
            ends = now if math.isinf(package.ends) else package.ends
            region = region.with_package(replace(package, publication=publication, ends=ends))
    for row in region.associations.values():
        if row.in_transit and not row.working and math.isinf(row.ends):
            region = region.with_association(replace(row, ends=now))
    return region


def _released(course: Course) -> Course:
    return replace(course, seconds={state: 0.0 if math.isinf(seconds) else seconds for state, seconds in course.seconds.items()})


def transitions(before: Region, after: Region, time: float) -> list[Transition]:
    """What differs between two regions in status or version, as a reader of the API would see it."""
    found = []
    for id in {**before.packages, **after.packages}:
        old, new = before.packages.get(id), after.packages.get(id)
        if _shown_package(old) != _shown_package(new):
            found.append(Transition(time, id, None, *_pair(_shown_package(old), _shown_package(new))))
    for key in {**before.associations, **after.associations}:
        was, now = before.associations.get(key), after.associations.get(key)
        if _shown_association(was) != _shown_association(now):
            found.append(Transition(time, key[0], key[1], *_pair(_shown_association(was), _shown_association(now))))
    return found


Shown = tuple[str | None, str | None]


def _shown_package(package: Package | None) -> Shown:
    if package is None:
        return None, None
    return package.status.value, package.available.name if package.available else None


def _shown_association(association: Association | None) -> Shown:
    return (None, None) if association is None else (association.status.value, association.version)


def _pair(before: Shown, after: Shown) -> tuple[str | None, str | None, str | None]:
    return before[0], after[0], after[1]

"""Decide what a domain needs so that it serves a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from searchops.core.dictionary.model import Association, Dictionary, IndexUse, Package, Remedy, short
from searchops.core.errors import DataError, TransientError


class Step(Enum):
    """The first thing that is left to do; those after it follow from it."""

    WAIT = "wait"
    DRIFT = "drift"
    PUBLISH = "publish"
    ASSOCIATE = "associate"
    APPLY = "apply"
    REBUILD = "rebuild"
    REPORT = "report"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Plan:
    step: Step
    reason: str


class Overtaken(DataError):
    """Somebody published other content while this run was at work; the next run decides anew."""


def plan(
    dictionary: Dictionary,
    package: Package | None,
    association: Association | None,
    uses: Sequence[IndexUse],
    *,
    overwrite_drift: bool = False,
    force: bool = False,
) -> Plan:
    """Compare a dictionary with what AWS and the indexes hold.

    The fingerprint decides, not the status: an association stays ACTIVE on an old version for as long as nobody calls AssociatePackage.
    """
    publishing = plan_package(dictionary, package, overwrite_drift=overwrite_drift, force=force)
    if publishing.step is not Step.NOTHING or package is None:
        return publishing
    associating = plan_association(dictionary, package, association)
    if associating.step is not Step.NOTHING:
        return associating
    return plan_uses(dictionary, uses)


def plan_package(dictionary: Dictionary, package: Package | None, *, overwrite_drift: bool = False, force: bool = False) -> Plan:
    """Whether the package's available version has to be replaced."""
    if package is None:
        return Plan(Step.PUBLISH, f"package of {dictionary.key} does not exist and is created")
    if package.gone:
        raise DataError(
            f"package {package.id} is {package.status}: point packages.{dictionary.key} in the inventory at another one"
        )
    if package.in_transit:
        return Plan(Step.WAIT, f"{package.id} is {package.status}")
    if package.history_lags:
        return Plan(Step.WAIT, f"the history of {package.id} does not list {package.available_version} yet")
    if force:
        return Plan(Step.PUBLISH, f"{package.id} is published again because the run was started with force")
    if package.available_version and package.ours and not package.fingerprint:
        reason = f"{package.id} {package.available_version} was not published by searchops, an older version was"
        return Plan(Step.PUBLISH, f"{reason}; on_drift is overwrite") if overwrite_drift else Plan(Step.DRIFT, reason)
    if package.failed:
        return Plan(
            Step.PUBLISH, f"{package.id} is {package.status} ({package.error or 'no reason given'}) and is published again"
        )
    if package.fingerprint == dictionary.fingerprint:
        return Plan(Step.NOTHING, f"{package.id} {package.available_version} holds {short(dictionary.fingerprint)}")
    if package.fingerprint:
        return Plan(
            Step.PUBLISH,
            f"{package.id} {package.available_version} holds {short(package.fingerprint)}, wanted {short(dictionary.fingerprint)}",
        )
    return Plan(
        Step.PUBLISH,
        f"{package.id} is adopted: no version of it was published by searchops, {package.available_version} is replaced",
    )


def plan_association(dictionary: Dictionary, package: Package, association: Association | None) -> Plan:
    """Whether the domain has to be given the available version."""
    if association is None:
        return Plan(Step.ASSOCIATE, f"{package.id} is not on the domain")
    if association.in_transit:
        return Plan(Step.WAIT, f"{package.id} on {association.domain} is {association.status}")
    if association.failed:
        return Plan(
            Step.ASSOCIATE,
            f"{package.id} on {association.domain} is {association.status} ({association.error or 'no reason given'})",
        )
    row = package.version(association.version)
    if row is None and package.fingerprint == dictionary.fingerprint and association.version != package.available_version:
        return Plan(Step.ASSOCIATE, f"{association.domain} uses {association.version}, available is {package.available_version}")
    if row is None:
        return Plan(
            Step.WAIT, f"the history of {package.id} does not list {association.version}, which {association.domain} uses, yet"
        )
    if row.fingerprint != dictionary.fingerprint:
        return Plan(
            Step.ASSOCIATE,
            f"{association.domain} uses {row.name} with {short(row.fingerprint)}, available is {package.available_version}",
        )
    return Plan(Step.NOTHING, f"{association.domain} uses {row.name} with {short(row.fingerprint)}")


_AFTER_ASSOCIATION = {
    Step.APPLY: (Remedy.RELOAD, Remedy.REOPEN),
    Step.REBUILD: (Remedy.REBUILD,),
    Step.REPORT: (Remedy.REPORT,),
}


def plan_uses(dictionary: Dictionary, uses: Sequence[IndexUse]) -> Plan:
    """What the indexes that use the dictionary still need."""
    for step, remedies in _AFTER_ASSOCIATION.items():
        names = [use.index for use in uses if use.remedy in remedies and use.pending(dictionary.fingerprint)]
        if names:
            return Plan(step, f"{', '.join(names)} still serve other content")
    return Plan(Step.NOTHING, f"{len(uses)} indexes serve {short(dictionary.fingerprint)}")


def moving(package: Package, associations: Sequence[Association]) -> list[str]:
    """What has to come to rest before a domain with these associations is given the package's version, in words; empty when nothing has."""
    found = [f"{row.package_id} {row.status}" for row in associations if row.in_transit]
    if package.in_transit:
        found.append(f"{package.id} {package.status}")
    elif package.history_lags:
        found.append(f"{package.id} {package.available_version}, which its history does not list yet")
    return found


class Outcome(Enum):
    """What one look tells a wait."""

    WAITING = "waiting"
    BEHIND = "behind"  # waiting, and nothing but another version can change that
    DONE = "done"


def published(fingerprint: str, before: str | None, package: Package, *, failed_at: float | None = None) -> Outcome:
    """Whether the version that we asked for is the available one.

    Right after UpdatePackage the status can still read AVAILABLE with the version from ``before``, and the history can lag behind the package:
    both are waited for. So is a failed status of an earlier update, which has not changed since ``failed_at`` (epoch seconds).

    :raises DataError: COPY_FAILED or VALIDATION_FAILED, with AWS's reason
    :raises Overtaken: another version with other bytes became available
    """
    if package.in_transit or package.history_lags:
        return Outcome.WAITING
    if package.gone:
        raise DataError(f"package {package.id} is {package.status} while a version of it was waited for")
    if package.available_version != before and package.fingerprint == fingerprint:
        return Outcome.DONE  # also where somebody else's publication has failed since
    if package.failed:
        if failed_at is not None and package.updated_at == failed_at:
            return Outcome.WAITING
        raise DataError(
            f"package {package.id} is {package.status}: {package.error or 'the service gave no reason'}",
            reason=package.error,
        )
    if package.available_version == before:
        return Outcome.WAITING
    raise Overtaken(
        f"package {package.id}: {short(fingerprint)} was overtaken by {package.available_version} with {short(package.fingerprint)}; "
        "run the DAG again to decide anew"
    )


class AssociationFailed(TransientError):
    """The service gave up an association, or nobody wants it any more. Another try can succeed: two at once on a small domain fail one."""


def associated(fingerprint: str, association: Association | None, package: Package) -> Outcome:
    """Whether the domain uses the wanted content; ``package`` is read with its history.

    ACTIVE alone says nothing: the association stays ACTIVE on the old version until the service takes up the new one. Once a version is known to be
    older than the content, its history need not be read again (BEHIND): the rows of a history do not change, and new ones are newer.

    :raises AssociationFailed: ASSOCIATION_FAILED, which also happens when two associations meet; dissociating, or no row at all
    :raises Overtaken: the domain uses a version with other bytes that is newer than ours
    """
    if association is None:
        raise AssociationFailed(
            f"package {package.id} is not on the domain: somebody dissociated it, or the service does not list it yet"
        )
    if association.failed or association.status == "DISSOCIATING":
        raise AssociationFailed(
            f"package {package.id} on {association.domain} is {association.status}: {association.error or 'the service gave no reason'}",
            reason=association.error,
        )
    row = package.version(association.version)
    if association.in_transit or row is None:
        return Outcome.WAITING
    if row.fingerprint == fingerprint:
        return Outcome.DONE
    ours = max((version.created_at for version in package.history if version.fingerprint == fingerprint), default=None)
    if ours is None:
        return Outcome.WAITING
    if row.created_at > ours:
        raise Overtaken(
            f"package {package.id} on {association.domain}: {short(fingerprint)} was overtaken by {row.name} with {short(row.fingerprint)}; "
            "run the DAG again to decide anew"
        )
    return Outcome.BEHIND

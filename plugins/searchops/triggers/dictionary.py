"""Waits on the package API and on a domain's analyzers."""

from __future__ import annotations

import asyncio
import os
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from searchops.core.dictionary.plan import AssociationFailed, Outcome, associated, moving, published
from searchops.core.dictionary.service import (
    PackageNotFound,
    drive_async,
    read_association,
    read_associations,
    read_package,
    read_package_with_history,
    with_history,
)
from searchops.core.errors import DataError, TransientError
from searchops.core.waiting import Cadence

if TYPE_CHECKING:
    from searchops.core.dictionary.node import Node
    from searchops.hooks.opensearch_service import OpenSearchServiceHook

CADENCE = Cadence(scale=float(os.environ.get("SEARCHOPS_POLL_SCALE", "1")))
"""Of every wait. ``SEARCHOPS_POLL_SCALE`` below 1 looks more often, for a service whose clock runs fast."""


class _PollingTrigger(BaseTrigger):
    """Looks with growing intervals until there is something to tell.

    The event is ``{"status": "success" | "error" | "timeout", "message", "reason", "transient", ...}``. Errors that may pass do not end the wait.
    ``started_at`` is serialised, so a wait that another triggerer takes over goes on at its age.
    """

    def __init__(self, *, timeout_seconds: float, started_at: float | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.timeout_seconds = timeout_seconds
        self.started_at = time.time() if started_at is None else started_at
        self._looked = False

    def _serialized(self) -> dict[str, Any]:
        return {"timeout_seconds": self.timeout_seconds, "started_at": self.started_at}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", self._serialized()

    @abstractmethod
    async def _look(self) -> tuple[dict[str, Any] | None, str]:
        """One look: what to tell (None: wait on), and what was seen."""

    def _pause(self, age: float) -> float:
        # The scheduler can fail a task that is resumed while it still notes its deferral, so a wait's first look is never sooner.
        looked, self._looked = self._looked, True
        soonest = 0.0 if looked else CADENCE.first_seconds
        return min(max(soonest, CADENCE.delay(age)), max(0.0, self.timeout_seconds - age) + 0.01)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        seen = ""
        while True:
            age = time.time() - self.started_at
            # A wait that no triggerer held until its time was over may be done: it is looked at before it is given up.
            if seen and age > self.timeout_seconds:
                yield TriggerEvent({"status": "timeout", "message": f"not done after {age:.0f} s; last seen: {seen}"})
                return
            await asyncio.sleep(self._pause(age))
            try:
                found, seen = await self._look()
            except AssociationFailed as error:
                yield TriggerEvent({"status": "error", "transient": True, "message": str(error), "reason": error.reason})
                return
            except TransientError as error:
                self.log.warning("Looking again: %s", error)
                seen = str(error)
                continue
            except DataError as error:
                kind = type(error).__name__
                yield TriggerEvent(
                    {"status": "error", "transient": False, "kind": kind, "message": str(error), "reason": error.reason}
                )
                return
            self.log.info("%s", seen)
            if found is not None:
                yield TriggerEvent({"status": "success", "seen_at": time.time(), **found})
                return


class _PackageServiceTrigger(_PollingTrigger):
    def __init__(
        self,
        *,
        aws_conn_id: str | None,
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    def _serialized(self) -> dict[str, Any]:
        return super()._serialized() | {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }

    def _hook(self) -> OpenSearchServiceHook:
        from searchops.hooks.opensearch_service import OpenSearchServiceHook

        return OpenSearchServiceHook(
            aws_conn_id=self.aws_conn_id, region_name=self.region_name, verify=self.verify, config=self.botocore_config
        )

    async def look_once(self) -> dict[str, Any] | None:
        """What a task finds before it waits, or None when it has to wait."""
        async with self._hook().shared_async_client() as self._client:
            found, _ = await self._look()
            return found

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async with self._hook().shared_async_client() as self._client:
            async for event in super().run():
                yield event


class PackagePublishedTrigger(_PackageServiceTrigger):
    """Wait until the package's available version carries the fingerprint.

    :param before: the available version before ours was asked for; still reading it means nothing
    :param failed_at: when the package had entered a failed state before ours was asked for; still reading that means nothing either
    :param created: the package was created a moment ago, so that the service may not list it yet
    """

    def __init__(
        self,
        *,
        package_id: str,
        fingerprint: str,
        before: str | None = None,
        failed_at: float | None = None,
        created: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.package_id = package_id
        self.fingerprint = fingerprint
        self.before = before
        self.failed_at = failed_at
        self.created = created

    def _serialized(self) -> dict[str, Any]:
        return super()._serialized() | {
            "package_id": self.package_id,
            "fingerprint": self.fingerprint,
            "before": self.before,
            "failed_at": self.failed_at,
            "created": self.created,
        }

    async def _look(self) -> tuple[dict[str, Any] | None, str]:
        try:
            row = await drive_async(self._client, read_package(package_id=self.package_id))
        except PackageNotFound:
            if not self.created:
                raise
            return None, f"package {self.package_id}, which was just created, is not listed yet"
        assert row is not None  # noqa: S101  # an id that does not exist raises
        seen = f"package {self.package_id} is {row['PackageStatus']}, available is {row.get('AvailablePackageVersion')}"
        if row["PackageStatus"] in ("COPYING", "VALIDATING"):
            return None, seen
        package = await drive_async(self._client, with_history(row))
        if published(self.fingerprint, self.before, package, failed_at=self.failed_at) is Outcome.WAITING:
            return None, seen
        return {"package_id": self.package_id, "version": package.available_version}, seen


class PackageAssociatedTrigger(_PackageServiceTrigger):
    """Wait until the domain uses a version with the fingerprint, by ListDomainsForPackage.

    The history is read when the domain's version is another than at the last look, and until both versions are listed in it.

    :param version: the version that carries the fingerprint, where it is known; saves reading the history for that one
    """

    def __init__(self, *, package_id: str, domain_name: str, fingerprint: str, version: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.package_id = package_id
        self.domain_name = domain_name
        self.fingerprint = fingerprint
        self.version = version
        self._behind: str | None = None

    def _serialized(self) -> dict[str, Any]:
        return super()._serialized() | {
            "package_id": self.package_id,
            "domain_name": self.domain_name,
            "fingerprint": self.fingerprint,
            "version": self.version,
        }

    async def _look(self) -> tuple[dict[str, Any] | None, str]:
        row = await drive_async(self._client, read_association(self.package_id, self.domain_name))
        status, version = (row.status, row.version) if row else ("not listed", None)
        seen = f"package {self.package_id} on {self.domain_name} is {status} with {version}"
        done = {"package_id": self.package_id, "domain_name": self.domain_name, "version": version}
        if row and row.in_transit:
            return None, seen
        if row and row.active and version and version in (self.version, self._behind):
            return (done if version == self.version else None), seen
        package = await drive_async(self._client, read_package_with_history(self.package_id, also=version))
        outcome = associated(self.fingerprint, row, package)
        self._behind = version if outcome is Outcome.BEHIND else None
        return (done if outcome is Outcome.DONE else None), seen


class DomainSettledTrigger(_PackageServiceTrigger):
    """Wait until neither the package nor any association of the domain is in transit."""

    def __init__(self, *, package_id: str, domain_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.package_id = package_id
        self.domain_name = domain_name

    def _serialized(self) -> dict[str, Any]:
        return super()._serialized() | {"package_id": self.package_id, "domain_name": self.domain_name}

    async def _look(self) -> tuple[dict[str, Any] | None, str]:
        package = await drive_async(self._client, read_package_with_history(self.package_id))
        rows = await drive_async(self._client, read_associations(self.domain_name))
        found = moving(package, rows)
        return (None if found else {}), f"in transit on {self.domain_name}: {', '.join(found) or 'nothing'}"


class AnalyzersTrigger(_PollingTrigger):
    """Wait until the live analyzers of a domain give the expected tokens.

    :param checks: rows of index, analyzer, texts and the tokens of each text
    """

    def __init__(self, *, domain: Mapping[str, Any], checks: Sequence[Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.domain = dict(domain)
        self.checks = list(checks)

    def _serialized(self) -> dict[str, Any]:
        return super()._serialized() | {"domain": self.domain, "checks": self.checks}

    @cached_property
    def _node(self) -> Node:
        """Made once a wait, because where the connection has no host its making costs a call of DescribeDomain."""
        from searchops.hooks.dictionary import node_of

        return node_of(self.domain)

    async def _look(self) -> tuple[dict[str, Any] | None, str]:
        # opensearch-py's asynchronous client would need its own session a wait; a look is short and rare.
        return await asyncio.to_thread(self._compare)

    def _compare(self) -> tuple[dict[str, Any] | None, str]:
        from searchops.core.dictionary.proof import expectation_from, mismatches

        for check in self.checks:
            expectation = expectation_from(check)
            if wrong := mismatches(self._node, expectation):
                return (
                    None,
                    f"{len(wrong)} of {len(expectation.texts)} texts still have other tokens on {expectation.index} ({expectation.analyzer})",
                )
        return {}, f"{len(self.checks)} analyzers give the new tokens"

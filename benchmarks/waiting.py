"""Ways to wait for AWS: the triggers of searchops, and the loop at a fixed interval that people write by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from local.aws import REGION
from local.simulators.packages.model import Transition

PACKAGE_POLL_SECONDS, ASSOCIATION_POLL_SECONDS = 10.0, 60.0
CONNECTION: Mapping[str, Any] = {"aws_conn_id": "aws_default", "region_name": REGION}
TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Content:
    """A version of a package and the fingerprint of what it holds."""

    package_id: str
    fingerprint: str
    version: str


class NotAssociated(Exception):
    """The service gave up the association."""


class Waiter(Protocol):
    """Each method ends as soon as this way of waiting knows, and gives the moment (epoch seconds)."""

    async def available(self, content: Content, before: str) -> float:
        """Wait until the content is the package's available version, which was ``before``."""

    async def active(self, content: Content, domain: str) -> float:
        """Wait until the domain uses the content.

        :raises NotAssociated: it never will
        """


class Triggers:
    """What the triggerer runs for the tasks of searchops."""

    async def available(self, content: Content, before: str) -> float:
        from searchops.triggers.dictionary import PackagePublishedTrigger

        wanted: Mapping[str, Any] = {"package_id": content.package_id, "fingerprint": content.fingerprint, "before": before}
        return await _seen_at(PackagePublishedTrigger(**wanted, **CONNECTION, timeout_seconds=TIMEOUT_SECONDS))

    async def active(self, content: Content, domain: str) -> float:
        from searchops.triggers.dictionary import PackageAssociatedTrigger

        wanted = {"package_id": content.package_id, "fingerprint": content.fingerprint, "version": content.version}
        trigger = PackageAssociatedTrigger(**wanted, domain_name=domain, **CONNECTION, timeout_seconds=TIMEOUT_SECONDS)
        return await _seen_at(trigger)


async def _seen_at(trigger: Any) -> float:
    event = await anext(aiter(trigger.run()))
    if event.payload.get("transient"):
        raise NotAssociated(event.payload["message"])
    if event.payload["status"] != "success":
        raise RuntimeError(f"expected the wait to succeed, found {event.payload}")
    return float(event.payload["seen_at"])


class FixedPolls:
    """Sleep, look, sleep. It knows the version that it waits for, so it is never wrong, only late."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def available(self, content: Content, before: str) -> float:
        row: Mapping[str, Any] = {}
        while row.get("PackageStatus") != "AVAILABLE" or row["AvailablePackageVersion"] == before:
            await asyncio.sleep(PACKAGE_POLL_SECONDS)
            row = await describe(self._client, content.package_id)
        return time.time()

    async def active(self, content: Content, domain: str) -> float:
        row: Mapping[str, Any] = {}
        while row.get("DomainPackageStatus") != "ACTIVE" or row["PackageVersion"] != content.version:
            await asyncio.sleep(ASSOCIATION_POLL_SECONDS)
            answer = await self._client.list_domains_for_package(PackageID=content.package_id)
            row = next(row for row in answer["DomainPackageDetailsList"] if row["DomainName"] == domain)
        return time.time()


async def describe(client: Any, package_id: str) -> Mapping[str, Any]:
    answer = await client.describe_packages(Filters=[{"Name": "PackageID", "Value": [package_id]}])
    row: Mapping[str, Any] = answer["PackageDetailsList"][0]
    return row


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait that came true. ``domain`` is None for a package's own; ``requests`` are those over HTTP, retries included."""

    content: Content
    domain: str | None
    seen_at: float
    requests: int

    def late(self, transitions: Sequence[Transition]) -> float:
        """Seconds from the change of state to the moment at which it was known."""
        status = "AVAILABLE" if self.domain is None else "ACTIVE"
        wanted = (self.content.package_id, self.domain, status, self.content.version)
        changed_at = [row.time for row in transitions if (row.package_id, row.domain, row.after, row.version) == wanted]
        if len(changed_at) != 1:
            raise ValueError(f"expected one change to {wanted}, found {len(changed_at)}")
        return self.seen_at - changed_at[0]


_requests: ContextVar[list[str] | None] = ContextVar("requests", default=None)


def count_request(event_name: str = "", **_: Any) -> None:
    """Note a request for the wait that sends it: all waits share one client, but each is a task with a context of its own."""
    if (counted := _requests.get()) is not None:
        counted.append(event_name)


async def measured(
    look: Callable[[], Coroutine[Any, Any, float]], content: Content, domain: str | None = None, *, delay: float
) -> Wait:
    """Wait, after the time that the waiting task takes to be started."""
    await asyncio.sleep(delay)
    counted: list[str] = []
    token = _requests.set(counted)
    try:
        seen_at = await look()
    finally:
        _requests.reset(token)
    return Wait(content, domain, seen_at, len(counted))

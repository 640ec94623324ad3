"""What users do on the package simulator, each thing once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.waiting import Content, NotAssociated, Triggers, Wait, Waiter, describe, measured
from local.simulators.packages.control import PackagesControl
from local.simulators.packages.model import Transition
from searchops.core.dictionary.model import commit_message, sha256


class Region:
    """Packages and domains of one region; ``client`` is aiobotocore's, ``s3`` boto3's."""

    def __init__(self, client: Any, s3: Any, control: PackagesControl, bucket: str = "bench") -> None:
        self.client = client
        self._s3 = s3
        self._control = control
        self._bucket = bucket
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})

    def domain(self, name: str) -> str:
        """A small domain without an engine: nothing but waiting is measured on it."""
        self._control.domain(name)
        return name

    async def create(self, name: str) -> Content:
        """A package whose first version is available."""
        fingerprint, source = self._upload(f"{name} before\n")
        answer = await self.client.create_package(
            PackageName=name,
            PackageType="TXT-DICTIONARY",
            PackageSource=source,
            PackageDescription=commit_message(fingerprint),
        )
        package_id = answer["PackageDetails"]["PackageID"]
        while (row := await describe(self.client, package_id))["PackageStatus"] != "AVAILABLE":
            await asyncio.sleep(0.1)
        return Content(package_id, fingerprint, row["AvailablePackageVersion"])

    async def publish(self, waiter: Waiter, old: Content, delay: float) -> Wait:
        fingerprint, source = self._upload(f"{old.fingerprint} after\n")
        await self.client.update_package(
            PackageID=old.package_id, PackageSource=source, CommitMessage=commit_message(fingerprint)
        )
        new = Content(old.package_id, fingerprint, f"v{int(old.version[1:]) + 1}")
        return await measured(partial(waiter.available, new, old.version), new, delay=delay)

    async def associate(self, waiter: Waiter, content: Content, domain: str, delay: float = 0.0) -> Wait:
        """Associate and wait.

        :raises NotAssociated: the service gave it up
        """
        await self.client.associate_package(PackageID=content.package_id, DomainName=domain)
        return await measured(partial(waiter.active, content, domain), content, domain, delay=delay)

    async def dissociate(self, content: Content, domain: str) -> None:
        await self.client.dissociate_package(PackageID=content.package_id, DomainName=domain)
        while content.package_id in await self._on(domain):
            await asyncio.sleep(1)

    async def _on(self, domain: str) -> set[str]:
        answer = await self.client.list_packages_for_domain(DomainName=domain)
        return {row["PackageID"] for row in answer["DomainPackageDetailsList"]}

    def _upload(self, content: str) -> tuple[str, dict[str, str]]:
        fingerprint = sha256(content.encode())
        self._s3.put_object(Bucket=self._bucket, Key=fingerprint, Body=content.encode())
        return fingerprint, {"S3BucketName": self._bucket, "S3Key": fingerprint}


@dataclass(frozen=True, slots=True)
class Round:
    """Dictionaries put on a domain one after the other, with one way to wait."""

    seconds: float
    publish: tuple[Wait, ...]
    associate: tuple[Wait, ...]

    def late(self, transitions: Sequence[Transition]) -> float:
        return sum(wait.late(transitions) for wait in (*self.publish, *self.associate))


async def in_turn(region: Region, waiter: Waiter, domain: str, dictionaries: Sequence[Content], delay: float) -> Round:
    began = time.monotonic()
    publish, associate = [], []
    for dictionary in dictionaries:
        publish.append(await region.publish(waiter, dictionary, delay))
        associate.append(await region.associate(waiter, publish[-1].content, domain, delay))
    return Round(time.monotonic() - began, tuple(publish), tuple(associate))


@dataclass(frozen=True, slots=True)
class Order:
    """How associating two dictionaries went: whether both came through, when that was known, when both were on the domain."""

    both: bool
    known_seconds: float
    done_seconds: float


async def in_series(region: Region, domain: str, dictionaries: Sequence[Content]) -> Order:
    began = time.monotonic()
    for dictionary in dictionaries:
        await region.associate(Triggers(), dictionary, domain)
    seconds = time.monotonic() - began
    return Order(True, seconds, seconds)


async def at_once(region: Region, domain: str, dictionaries: Sequence[Content], *, dissociate_first: bool) -> Order:
    """Associate all at once, then mend what failed one after the other."""
    began = time.monotonic()
    waits = [region.associate(Triggers(), dictionary, domain) for dictionary in dictionaries]
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    known = time.monotonic() - began
    failed = [dictionary for dictionary, outcome in zip(dictionaries, outcomes, strict=True) if _gave_up(outcome)]
    for dictionary in failed:
        if dissociate_first:
            await region.dissociate(dictionary, domain)
        await region.associate(Triggers(), dictionary, domain)
    return Order(not failed, known, time.monotonic() - began)


def _gave_up(outcome: Wait | BaseException) -> bool:
    if isinstance(outcome, BaseException) and not isinstance(outcome, NotAssociated):
        raise outcome
    return isinstance(outcome, NotAssociated)

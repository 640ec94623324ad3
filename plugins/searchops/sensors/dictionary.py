"""Waits for packages, as tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from searchops.hooks.opensearch_service import OpenSearchServiceHook
from searchops.operators.dictionary import NET, DictionaryOperator, check_event, run_here
from searchops.retries import RETRY_DELAY, RETRY_POLICY
from searchops.triggers.dictionary import PackageAssociatedTrigger, PackagePublishedTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class _PackageSensor(AwsBaseSensor[OpenSearchServiceHook]):
    aws_hook_class = OpenSearchServiceHook

    def __init__(
        self,
        *,
        timeout: float = 3600,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, **{"retries": 3, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **kwargs})
        self.deferrable = deferrable

    def _trigger(self) -> Any:
        raise NotImplementedError

    def _aws(self) -> dict[str, Any]:
        return {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
            "timeout_seconds": self.timeout,
        }

    def execute(self, context: Context) -> Any:
        trigger = self._trigger()
        if (found := asyncio.run(trigger.look_once())) is not None:
            return found
        if not self.deferrable:
            return self.execute_complete(context, run_here(trigger))
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout) + NET)
        return None

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        found = check_event(event)
        return {key: value for key, value in found.items() if key != "status"}


class OpenSearchPackageAvailableSensor(_PackageSensor):
    """Wait until a package's available version carries this content.

    :param package_id: id of the package, e.g. ``F123456789`` (templated)
    :param fingerprint: sha256 of the content, as the version's commit message says it (templated)
    :param before: the available version before the update; reading it still is waited out (templated)
    :return: package_id, version, seen_at (epoch seconds)
    :raises DataError: COPY_FAILED or VALIDATION_FAILED with AWS's reason; overtaken; not done in time, with the last status
    """

    template_fields: Sequence[str] = aws_template_fields("package_id", "fingerprint", "before")

    def __init__(self, *, package_id: str, fingerprint: str, before: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.package_id = package_id
        self.fingerprint = fingerprint
        self.before = before

    def _trigger(self) -> PackagePublishedTrigger:
        return PackagePublishedTrigger(
            package_id=self.package_id, fingerprint=self.fingerprint, before=self.before, **self._aws()
        )


class OpenSearchPackageAssociationSensor(_PackageSensor):
    """Wait until a domain uses a version of a package that carries this content, by ListDomainsForPackage.

    The association's status alone tells nothing: it stays ACTIVE on the old version until the service takes up the new one.

    :param package_id: id of the package (templated)
    :param domain_name: name of the domain (templated)
    :param fingerprint: sha256 of the content (templated)
    :return: package_id, domain_name, version, seen_at (epoch seconds)
    :raises TransientError: ASSOCIATION_FAILED with AWS's reason
    :raises DataError: overtaken; not done in time, with the last status
    """

    template_fields: Sequence[str] = aws_template_fields("package_id", "domain_name", "fingerprint")

    def __init__(self, *, package_id: str, domain_name: str, fingerprint: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.package_id = package_id
        self.domain_name = domain_name
        self.fingerprint = fingerprint

    def _trigger(self) -> PackageAssociatedTrigger:
        return PackageAssociatedTrigger(
            package_id=self.package_id, domain_name=self.domain_name, fingerprint=self.fingerprint, **self._aws()
        )


class OpenSearchDictionaryAssociationSensor(DictionaryOperator):
    """Wait until the domain of the inventory uses the content, by ListDomainsForPackage; ask again where the service gave up.

    :param package_id: id of the package (templated)
    :param fingerprint: sha256 of the content (templated)
    :param version: the version of that content that was asked for; saves reading the history, may be empty (templated)
    :return: package_id, domain_name, version, seen_at (epoch seconds)
    """

    template_fields: Sequence[str] = ("package", "package_id", "fingerprint", "version")

    def __init__(self, *, package_id: str, fingerprint: str, version: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.package_id = package_id
        self.fingerprint = fingerprint
        self.version = version

    def execute(self, context: Context) -> Any:
        with self.reporting(context):
            ti: Any = context["ti"]
            # A first try fails instead, so that a pause comes before what failed is asked for again.
            ask_again = ti.try_number > 1
            version = self.sync.version_in_use(self.package_id, self.fingerprint, asked=self.version or None, ask_again=ask_again)
        if version:
            return {"package_id": self.package_id, "domain_name": self.sync.domain, "version": version}
        trigger = PackageAssociatedTrigger(
            package_id=self.package_id,
            domain_name=self.sync.domain,
            fingerprint=self.fingerprint,
            version=self.version or None,
            **self.aws(),
        )
        return self.wait_for(context, trigger, "associated")

    def associated(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self.reporting(context):
            found = check_event(event)
        self.log.info("Package %s on %s: %s", found["package_id"], found["domain_name"], found["version"])
        return {key: value for key, value in found.items() if key != "status"}

"""Read a function's retry settings from Lambda, and write those that must change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from searchops.core.errors import DataError, SearchOpsError, TransientError, classify_client_error, code_of
from searchops.core.functions.settings import (
    IN_PROGRESS,
    SETTINGS,
    Change,
    Kind,
    Policy,
    Settings,
    differences,
    duplicate_finding,
    lease_finding,
    loss_finding,
    merge,
    stream_findings,
    visibility_finding,
    wanted,
)

# Lambda says so while it still takes up an earlier change; classify_client_error can not know that it passes.
_BUSY = ("ResourceConflictException", "ResourceInUseException")
_NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def words_of(error: BaseException) -> str:
    return f"{code_of(error)}: {(getattr(error, 'response', None) or {}).get('Error', {}).get('Message', '')}"


def classified(error: Exception) -> SearchOpsError:
    if code_of(error) in _BUSY:
        return TransientError("Lambda is still busy with another change of the same function", reason=words_of(error))
    return classify_client_error(error)


@dataclass(frozen=True, slots=True)
class Target:
    """One place that keeps settings: the asynchronous invocation of a function (no ``uuid``), or an event source mapping.

    :param settings: as they are to be
    """

    name: str
    uuid: str | None
    changes: tuple[Change, ...]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Found:
    """What is to change, and what a person should know; a finding stops nothing."""

    targets: tuple[Target, ...]
    findings: tuple[str, ...]

    @property
    def changes(self) -> list[tuple[Target, Change]]:
        return [(target, change) for target in self.targets for change in target.changes]


class RetrySettings:
    """The retry settings of one function.

    Nothing in Lambda's API compares before it writes: a change that somebody else makes between our look and our write is lost.

    :param client: boto3's ``lambda`` client
    :param sqs: gives the ``sqs`` client of a Region
    """

    def __init__(self, policy: Policy, client: Any, sqs: Callable[[str], Any]) -> None:
        self.policy = policy
        self._client = client
        self._sqs = sqs

    def look(self) -> Found:
        """Compare what is wanted with what is there. Writes nothing.

        :raises DataError: there is no such function, mapping or destination queue, or it may not be read
        """
        function = self._function()
        timeout = int(function["Timeout"])
        findings = lease_finding(self.policy, timeout)
        if self.policy.on_failure and ":sqs:" in self.policy.on_failure:
            self._attribute(self.policy.on_failure, "QueueArn", "on_failure")
        if self.policy.kind is Kind.ASYNCHRONOUS:
            target = self._target("asynchronous invocation", None, self._asynchronous())
            dead_letters = bool(function.get("DeadLetterConfig", {}).get("TargetArn"))
            in_progress = function.get("Environment", {}).get("Variables", {}).get(IN_PROGRESS, "")
            findings += loss_finding(self.policy, target.settings, dead_letters=dead_letters)
            findings += duplicate_finding(self.policy, target.settings, in_progress)
            return Found((target,), tuple(findings))
        targets = []
        for mapping in self._mappings():
            target = self._target(f"mapping of {mapping['EventSourceArn']}", mapping["UUID"], mapping)
            targets.append(target)
            if self.policy.kind is Kind.SQS:
                findings += self._visibility(mapping, timeout)
            else:
                findings += stream_findings(self.policy, target.name, target.settings)
        return Found(tuple(targets), tuple(findings))

    def write(self, target: Target) -> None:
        """Make the changes of one target and read them back.

        :raises TransientError: what is there afterwards is not what was written
        """
        if not target.changes:
            return
        if target.uuid is None:
            self._ask("put_function_event_invoke_config", **self._qualified(), **target.settings)
            now = self._asynchronous()
        else:
            changed = {change.setting.partition(".")[0] for change in target.changes}
            settings = {name: value for name, value in target.settings.items() if name in changed}
            self._ask("update_event_source_mapping", UUID=target.uuid, **settings)
            now = self._ask("get_event_source_mapping", UUID=target.uuid)
        if left := self._target(target.name, target.uuid, now).changes:
            raise TransientError(
                f"{self.policy.name}, {target.name}: expected the settings that were written, found other ones (somebody else changes "
                f"them, or Lambda has not taken them up yet): {'; '.join(map(str, left))}"
            )

    def _target(self, name: str, uuid: str | None, found: Mapping[str, Any]) -> Target:
        current = {setting: found[setting] for setting in SETTINGS[self.policy.kind] if setting in found}
        merged = merge(current, wanted(self.policy, current))
        return Target(name, uuid, differences(current, merged), merged)

    def _function(self) -> Mapping[str, Any]:
        try:
            return self._client.get_function_configuration(**self._qualified())  # type: ignore[no-any-return]
        except Exception as error:
            if code_of(error) == "ResourceNotFoundException":
                raise DataError(
                    f"there is no function {self.policy.name} in this account and Region: correct `function`, `qualifier` or `region` "
                    "of the entry in include/searchops.yaml, or deploy it",
                    reason=words_of(error),
                ) from error
            raise classified(error) from error

    def _asynchronous(self) -> Mapping[str, Any]:
        """Empty for a function that nobody has configured: AWS's defaults count."""
        try:
            return self._client.get_function_event_invoke_config(**self._qualified())  # type: ignore[no-any-return]
        except Exception as error:
            if code_of(error) == "ResourceNotFoundException":
                return {}
            raise classified(error) from error

    def _mappings(self) -> list[Mapping[str, Any]]:
        wanted_source = self.policy.source
        found = [
            mapping
            for mapping in self._all_mappings()
            if _kind_of(mapping.get("EventSourceArn", "")) is self.policy.kind
            and wanted_source in (None, mapping["EventSourceArn"])
        ]
        if not found:
            of = f" of {wanted_source}" if wanted_source else ""
            raise DataError(
                f"{self.policy.name} has no {self.policy.kind.value} mapping{of}: correct `kind` or `source` of the entry in "
                "include/searchops.yaml, or make the mapping"
            )
        return found

    def _all_mappings(self) -> Iterator[Mapping[str, Any]]:
        try:
            pages = self._client.get_paginator("list_event_source_mappings").paginate(FunctionName=self.policy.name)
            for page in pages:
                yield from page["EventSourceMappings"]
        except Exception as error:
            raise classified(error) from error

    def _visibility(self, mapping: Mapping[str, Any], timeout_seconds: int) -> list[str]:
        queue = mapping["EventSourceArn"]
        visibility = int(self._attribute(queue, "VisibilityTimeout", "the mapping"))
        return visibility_finding(
            self.policy, queue, visibility, timeout_seconds, mapping.get("MaximumBatchingWindowInSeconds") or 0
        )

    def _attribute(self, arn: str, name: str, named_by: str) -> str:
        region, account, queue = arn.split(":")[3:6]
        client = self._sqs(region)
        try:
            url = client.get_queue_url(QueueName=queue, QueueOwnerAWSAccountId=account)["QueueUrl"]
            return str(client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])
        except Exception as error:
            if code_of(error) in _NO_QUEUE:
                raise DataError(
                    f"{self.policy.name}: there is no queue {arn}, which {named_by} names; make it, or correct the entry in "
                    "include/searchops.yaml",
                    reason=words_of(error),
                ) from error
            raise classified(error) from error

    def _qualified(self) -> dict[str, str]:
        named = {"FunctionName": self.policy.function}
        return named | ({"Qualifier": self.policy.qualifier} if self.policy.qualifier else {})

    def _ask(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        try:
            return getattr(self._client, operation)(**arguments)  # type: ignore[no-any-return]
        except Exception as error:
            raise classified(error) from error


def _kind_of(source: str) -> Kind | None:
    service = source.split(":")[2] if source.count(":") > 1 else ""
    return {"sqs": Kind.SQS, "kinesis": Kind.STREAM, "dynamodb": Kind.STREAM}.get(service)

"""Decide what of a function's retry settings must change, and what about them will hurt.

Settings are in the shape of the Lambda API. What nobody named is kept: PutFunctionEventInvokeConfig removes what a request leaves
out, so a request holds all that is to be there afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

Settings: TypeAlias = Mapping[str, Any]

BATCH_FAILURES = "ReportBatchItemFailures"
IN_PROGRESS = "SEARCHOPS_IN_PROGRESS"
"""Environment variable of include/lambda/object_once: ``retry`` fails the duplicate of an event that is in progress."""
LAMBDAS_RETRIES = 2
"""Of an asynchronous invocation for which nobody has set them: Lambda API reference, PutFunctionEventInvokeConfig."""
VISIBILITY_FACTOR = 6
"""Lambda developer guide, "Creating and configuring an Amazon SQS event source mapping": visibility time-out of the queue."""


class Kind(Enum):
    """How events reach a function."""

    ASYNCHRONOUS = "asynchronous"
    STREAM = "stream"
    SQS = "sqs"


SETTINGS = {
    Kind.ASYNCHRONOUS: ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig"),
    Kind.STREAM: (
        "MaximumRetryAttempts",
        "MaximumRecordAgeInSeconds",
        "BisectBatchOnFunctionError",
        "FunctionResponseTypes",
        "ParallelizationFactor",
        "DestinationConfig",
    ),
    Kind.SQS: ("FunctionResponseTypes",),
}
"""For asynchronous invocation these are all that there are, so that a request can hold them all."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What somebody wants of a function; None: as it is. Ages and the lease in seconds.

    :param claims: the function claims its events, and tells duplicates by it
    """

    function: str
    kind: Kind
    qualifier: str | None = None
    source: str | None = None
    retries: int | None = None
    max_event_age: int | None = None
    on_failure: str | None = None
    bisect: bool | None = None
    report_batch_item_failures: bool | None = None
    parallelization_factor: int | None = None
    lease: float | None = None
    claims: bool = False

    @property
    def name(self) -> str:
        return f"{self.function}:{self.qualifier}" if self.qualifier else self.function


@dataclass(frozen=True, slots=True)
class Change:
    """One setting, by its path in AWS's names; None where AWS has none, so that its default counts."""

    setting: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.setting}: {_shown(self.before)} -> {_shown(self.after)}"


def wanted(policy: Policy, current: Settings) -> dict[str, Any]:
    """What the policy names, in AWS's shape."""
    age = "MaximumEventAgeInSeconds" if policy.kind is Kind.ASYNCHRONOUS else "MaximumRecordAgeInSeconds"
    destination = {"OnFailure": {"Destination": policy.on_failure}} if policy.on_failure else None
    named = {
        "MaximumRetryAttempts": policy.retries,
        age: policy.max_event_age,
        "BisectBatchOnFunctionError": policy.bisect,
        "FunctionResponseTypes": _response_types(policy.report_batch_item_failures, current),
        "ParallelizationFactor": policy.parallelization_factor,
        "DestinationConfig": destination,
    }
    return {name: value for name, value in named.items() if value is not None}


def _response_types(report: bool | None, current: Settings) -> list[str] | None:
    if report is None:
        return None
    others = [kind for kind in current.get("FunctionResponseTypes") or () if kind != BATCH_FAILURES]
    return [*others, BATCH_FAILURES] if report else others


def merge(current: Settings, named: Settings) -> dict[str, Any]:
    """The settings as they are to be: what is named, over all that is there."""
    merged = {name: value for name, value in current.items() if value is not None}
    for name, value in named.items():
        before = merged.get(name)
        merged[name] = merge(before if isinstance(before, Mapping) else {}, value) if isinstance(value, Mapping) else value
    return merged


def differences(before: Settings, after: Settings) -> tuple[Change, ...]:
    """The settings that differ; one that is empty is one that is not there."""
    old, new = dict(_flat(before)), dict(_flat(after))
    names = [*new, *(name for name in old if name not in new)]
    return tuple(Change(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name))


def _flat(settings: Settings, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        elif value not in (None, [], ()):
            yield path + name, value


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def lease_finding(policy: Policy, timeout_seconds: int) -> list[str]:
    if policy.lease is None or timeout_seconds <= policy.lease:
        return []
    return [
        f"the time-out of {policy.name} is {timeout_seconds} s and the lease of its claims {policy.lease:g} s: while it still works, "
        "another invocation may begin the same; make the lease longer than the time-out, or leave it to the remaining time"
    ]


def loss_finding(policy: Policy, settings: Settings, *, dead_letters: bool = False) -> list[str]:
    """
    :param settings: as they are to be
    :param dead_letters: the function has a dead-letter queue
    """
    if dead_letters or (settings.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination"):
        return []
    retries = _retries(settings)
    tries = f"is tried again {'once' if retries == 1 else 'twice'} only" if retries else "is never tried again"
    return [f"{policy.name} {tries} and has no on-failure destination: an event on which it fails or dies that often is lost"]


def stream_findings(policy: Policy, name: str, settings: Settings) -> list[str]:
    """
    :param name: of the mapping
    :param settings: as they are to be
    """
    retries, age = (_limit(settings.get(setting)) for setting in ("MaximumRetryAttempts", "MaximumRecordAgeInSeconds"))
    limits = [f"{retries} retries"] * (retries is not None) + [f"{age} s"] * (age is not None)
    findings = []
    if policy.report_batch_item_failures is None and BATCH_FAILURES not in (settings.get("FunctionResponseTypes") or ()):
        findings.append(
            f"{policy.name}, {name}: without {BATCH_FAILURES} records that the function answers as failed count as done, and are lost; set "
            "report_batch_item_failures, to false where the function raises instead"
        )
    if limits and not (settings.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination"):
        findings.append(
            f"{policy.name}, {name}: records that fail are given up after {' or '.join(limits)} and there is no on-failure destination: they "
            "are lost"
        )
    if not limits:
        findings.append(
            f"{policy.name}, {name}: a batch on which the function always fails or dies blocks its shard until the records expire; give it "
            "max_event_age or retries, and on_failure"
        )
    return findings


def _limit(value: int | None) -> int | None:
    """None for a limit that is none: -1, Lambda's default for streams."""
    return None if value is None or value < 0 else value


def duplicate_finding(policy: Policy, settings: Settings, in_progress: str) -> list[str]:
    """
    :param settings: as they are to be
    :param in_progress: what the function's environment says of duplicates (``IN_PROGRESS``)
    """
    retries = _retries(settings)
    if not policy.claims or not retries or in_progress == "retry":
        return []
    return [
        f"{policy.name} claims its events and Lambda tries {retries} times again: a try that finds the claim of one that died is answered "
        f"as a duplicate, with success, and the event is lost; expected {IN_PROGRESS}=retry in its environment, found "
        f"{repr(in_progress) if in_progress else 'none'}; or set retries to 0"
    ]


def _retries(settings: Settings) -> int:
    retries = settings.get("MaximumRetryAttempts")
    return LAMBDAS_RETRIES if retries is None else int(retries)


def visibility_finding(
    policy: Policy, queue: str, visibility_seconds: int, timeout_seconds: int, window_seconds: int
) -> list[str]:
    """``window_seconds``: the mapping's MaximumBatchingWindowInSeconds."""
    needed = VISIBILITY_FACTOR * timeout_seconds + window_seconds
    if visibility_seconds >= needed:
        return []
    window = f" + batching window of {window_seconds} s" if window_seconds else ""
    return [
        f"the visibility time-out of {queue} is {visibility_seconds} s: messages come again while {policy.name} still works on them; "
        f"expected at least {needed} s ({VISIBILITY_FACTOR} x the function's time-out of {timeout_seconds} s{window})"
    ]

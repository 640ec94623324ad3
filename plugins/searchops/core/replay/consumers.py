"""Who reads the stream of a table, and whether the records of a replay reach them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from searchops.core.errors import DataError, code_of
from searchops.core.functions.service import classified
from searchops.core.replay import filters
from searchops.core.replay.calls import NotAllowed
from searchops.core.replay.findings import Finding, error, note, warning
from searchops.core.replay.settings import Consumer, Settings
from searchops.core.replay.table import WITH_OLD_IMAGE, TableFacts

_RUNNING = ("Enabled", "Enabling", "Creating", "Updating")
EventSourceMapping: TypeAlias = Mapping[str, Any]
"""EventSourceMappingConfiguration of the Lambda API."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """The event source mappings of Lambda.

    :param of_stream: those of the table's stream
    :param of_consumer: for each declared function that has none there: those that it has
    """

    of_stream: tuple[EventSourceMapping, ...]
    of_consumer: Mapping[str, tuple[EventSourceMapping, ...]]


def function_of(mapping: EventSourceMapping) -> str:
    """The name in a function's ARN, which may end with an alias or version."""
    arn = str(mapping.get("FunctionArn", ""))
    return arn.split(":")[6] if arn.count(":") >= 6 else arn


def of_consumers(settings: Settings, facts: TableFacts, mapped: Mapped) -> list[Finding]:
    declared = {consumer.function: consumer for consumer in settings.consumers if consumer.function}
    found: list[Finding] = []
    for name in declared:
        own = [mapping for mapping in mapped.of_stream if function_of(mapping) == name]
        found += [finding for mapping in own for finding in _of_mapping(name, mapping)]
        if not own:
            found.append(_unmapped(name, facts, mapped.of_consumer.get(name, ())))
    found += [finding for consumer in settings.consumers for finding in _of_old_image(consumer, facts)]
    others = sorted({function_of(mapping) for mapping in mapped.of_stream} - set(declared))
    if others:
        found.append(
            warning(
                f"table {facts.name}: expected that only its consumers read the stream",
                f"the function {', '.join(others)} as well",
                "it gets every record of the replay: see that it can bear it, and add it to consumers so that its lag counts",
            )
        )
    if not settings.consumers and not others:
        remedy = "other readers (Kinesis adapters, pipelines) cannot be listed; name them in consumers so that their lag counts"
        found.append(warning(f"table {facts.name}: expected somebody who reads the stream", "no consumer", remedy))
    return found


def _unmapped(name: str, facts: TableFacts, elsewhere: Sequence[EventSourceMapping]) -> Finding:
    what = f"function {name}: expected a mapping on the stream of {facts.name}"
    earlier = [arn for mapping in elsewhere if f":table/{facts.name}/" in (arn := str(mapping.get("EventSourceArn", "")))]
    if earlier:
        return error(what, f"one on an earlier stream of the table, {earlier[0]}", f"map it to {facts.stream_arn}")
    return error(what, "none", "correct consumers, or map the function to the stream")


def _of_mapping(name: str, mapping: EventSourceMapping) -> list[Finding]:
    found, state = [], str(mapping.get("State", "Enabled"))
    if state not in _RUNNING:
        remedy = "records wait, and are lost after 24 hours: enable the mapping first"
        found.append(error(f"function {name}: expected its mapping to be Enabled", state, remedy))
    try:
        patterns = filters.patterns_of(mapping)
        passing = [pattern for pattern in patterns if filters.may_pass_touches(pattern)]
    except DataError as refused:
        reason = f"{refused} {refused.reason}".strip()
        return [*found, warning(f"function {name}: expected filters that can be read", reason, "see that they pass a MODIFY")]
    shown = " or ".join(str(pattern) for pattern in patterns)
    if patterns and not passing:
        remedy = "a touch is a MODIFY, which the filter does not pass: the function would get no record; add MODIFY to the filter"
        found.append(error(f"function {name}: expected a filter that passes a MODIFY", shown, remedy))
    elif patterns and all(map(filters.asks_for_content, passing)):
        remedy = "the dry run counts the items that it passes"
        found.append(note(f"function {name}: expected every record of the replay to pass", f"the filter {shown}", remedy))
    return found


def _of_old_image(consumer: Consumer, facts: TableFacts) -> list[Finding]:
    has_old = facts.stream_view in WITH_OLD_IMAGE
    if consumer.uses_old_image and not has_old:
        remedy = "correct uses_old_image, or the view of the stream"
        return [
            warning(f"{consumer.name}: expected a stream with the old image, which it uses", facts.stream_view or "none", remedy)
        ]
    if consumer.uses_old_image:
        return [
            warning(
                f"{consumer.name}: expected that it does not go by differences to OldImage",
                "that it uses OldImage",
                "in a replay both images differ by the marker (and a shared version) alone: it sees no change, and may pass over every "
                "record; have it ask searchops.core.replay.records.is_replay(record)",
            )
        ]
    return []


def read_mappings(client: Any, settings: Settings, facts: TableFacts) -> Mapped:
    """
    :param client: boto3's ``lambda`` client
    :raises NotAllowed: lambda:ListEventSourceMappings is missing
    """
    of_stream = _list_mappings(client, EventSourceArn=facts.stream_arn)
    there = {function_of(mapping) for mapping in of_stream}
    missing = [consumer.function for consumer in settings.consumers if consumer.function and consumer.function not in there]
    return Mapped(of_stream, {name: _list_mappings(client, FunctionName=name) for name in missing})


def _list_mappings(client: Any, **of: Any) -> tuple[EventSourceMapping, ...]:
    try:
        pages = client.get_paginator("list_event_source_mappings").paginate(**of)
        return tuple(mapping for page in pages for mapping in page["EventSourceMappings"])
    except Exception as failure:
        if code_of(failure) == "ResourceNotFoundException":  # there is no such function
            return ()
        known = classified(failure)
        if code_of(failure).startswith("AccessDenied"):
            raise NotAllowed("lambda:ListEventSourceMappings", "consumers", known.reason) from failure
        raise known from failure

"""Look whether a table can be replayed, and what a person should know before it is: nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Any

from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.target import Target, read_target
from searchops.core.errors import DataError, code_of
from searchops.core.replay.calls import NotAllowed, asked
from searchops.core.replay.consumers import Mapped, of_consumers, read_mappings
from searchops.core.replay.findings import Finding, Level, error, note, warning
from searchops.core.replay.fitness import of_dates, of_day, of_markers, of_rewrite, of_table
from searchops.core.replay.settings import Settings
from searchops.core.replay.table import ACTIVE, Item, TableFacts, read_table

LOOKED_AT = 100
"""Items that are looked at for dates and markers of another form; read units for so many, at most 1 MB."""
# What takes the 20 digits of a marker; a document with it is refused by every other type.
_TAKES_DIGITS = ("keyword", "text", "wildcard", "match_only_text", "search_as_you_type", "long", "unsigned_long", "double")


@dataclass(frozen=True, slots=True)
class Clients:
    """boto3's ``dynamodb`` and ``lambda``, and opensearch-py's client of the domain.

    None where there is nothing to be asked; a finding says so.
    """

    dynamodb: Any
    functions: Any = None
    node: Any = None


class NotFit(DataError):
    """The table cannot be replayed as it is."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was seen of a table, and what follows from it.

    :param mapped: None where nobody could be asked
    """

    facts: TableFacts
    findings: tuple[Finding, ...]
    mapped: Mapped | None = None

    def of(self, level: Level) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level is level)

    def require(self) -> TableFacts:
        """
        :raises NotFit: there is an error among the findings; its text holds them all
        """
        if errors := self.of(Level.ERROR):
            raise NotFit(
                f"table {self.facts.name} cannot be replayed: {'; '.join(map(str, errors))}",
                facts={f"Error {number}": str(error) for number, error in enumerate(errors, 1)},
            )
        return self.facts


def preflight(
    settings: Settings, clients: Clients, *, now: datetime, day: date | None = None, rewrite: bool = False, touches: bool = True
) -> Preflight:
    """Read what is there and give all findings. Takes a handful of calls and some read units; writes nothing.

    :param day: the day that is to be replayed, where it is one
    :param touches: look whether items may be touched, too
    :raises TableMissing, NotAllowed: the table cannot be described
    :raises TransientError: AWS or the node did not answer
    """
    facts = read_table(clients.dynamodb, settings.table)
    found = [*of_table(settings, facts), *of_rewrite(settings, rewrite=rewrite)]
    if settings.dates and day:
        found += of_day(settings.dates, day, now)
    found += _look_at_index(settings, clients.node)
    if facts.status not in (ACTIVE, "UPDATING"):  # it can be neither read nor written
        return Preflight(facts, tuple(found))
    found += _look_at_items(settings, facts, clients.dynamodb)
    found += _look_at_permission(settings, facts, clients.dynamodb) if touches else []
    if facts.stream_arn is None:
        return Preflight(facts, tuple(found))
    try:
        mapped = read_mappings(clients.functions, settings, facts) if clients.functions else None
        found += of_consumers(settings, facts, mapped) if mapped else [_unseen(facts, "no client of Lambda")]
    except NotAllowed as refused:
        mapped = None
        found.append(_unseen(facts, f"no permission for {refused.action}"))
    return Preflight(facts, tuple(found), mapped)


def _look_at_items(settings: Settings, facts: TableFacts, client: Any) -> list[Finding]:
    def markers() -> list[Finding]:
        return of_markers(settings, some_items(client, facts, settings.marker))

    found = _unless_refused(f"{settings.marker} of some items", markers)
    dates = settings.dates
    index = facts.index(dates.index) if dates else None
    if dates is None or index is None or index.partition_key != dates.attribute:
        return found

    def days() -> list[Finding]:
        items = some_items(client, facts, dates.attribute, index=dates.index)
        return of_dates(dates, [item[dates.attribute] for item in items])

    return [*found, *_unless_refused(f"days in the index {dates.index}", days)]


def _unless_refused(what: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """A look that may not be taken is no reason not to go on; that it was not taken has to be said."""
    try:
        return look()
    except NotAllowed as refused:
        return [warning(f"expected to see {what}", f"no permission for {refused.action}", "it was not looked at")]


def some_items(client: Any, facts: TableFacts, attribute: str, *, index: str | None = None, most: int = LOOKED_AT) -> list[Item]:
    """Up to ``most`` items, of them those that have the attribute; only that attribute of each."""
    place: dict[str, Any] = {"IndexName": index} if index else {}
    answer = asked(
        client.scan,
        facts.name,
        "Scan",
        **place,
        Limit=most,
        ProjectionExpression="#a",
        FilterExpression="attribute_exists(#a)",
        ExpressionAttributeNames={"#a": attribute},
    )
    return list(answer["Items"])


def _look_at_permission(settings: Settings, facts: TableFacts, client: Any) -> list[Finding]:
    """Ask for a write whose condition can never hold: it is refused for that, or for the permission. Consumes one write unit."""
    never = {"S": "searchops preflight", "N": "-1", "B": b"searchops preflight"}
    try:
        asked(
            client.update_item,
            facts.name,
            "UpdateItem",
            Key={name: {facts.key_types[name]: never[facts.key_types[name]]} for name in facts.keys},
            UpdateExpression="SET #marker = :none",
            ConditionExpression="attribute_exists(#key) AND attribute_not_exists(#key)",
            ExpressionAttributeNames={"#marker": settings.marker, "#key": facts.partition_key},
            ExpressionAttributeValues={":none": {"S": ""}},
        )
    except NotAllowed as refused:
        what = f"table {facts.name}: expected the permission to touch items"
        return [error(what, f"no permission for {refused.action}", "add it to the role")]
    except DataError as refused:
        condition = refused.__cause__ is not None and code_of(refused.__cause__) == "ConditionalCheckFailedException"
        if not condition and settings.marker not in facts.key_types:  # a marker that is a key is told by of_table
            raise
    return []


def _unseen(facts: TableFacts, found: str) -> Finding:
    remedy = "mappings and their filters were not looked at: see yourself that they pass a MODIFY"
    return warning(f"table {facts.name}: expected to see who reads its stream", found, remedy)


def _look_at_index(settings: Settings, client: Any) -> list[Finding]:
    if settings.index is None:
        return []
    if client is None:
        what = f"index {settings.index}: expected to see its mapping"
        return [warning(what, "no connection to the domain", f"see yourself that it takes the field {settings.marker}")]
    try:
        return of_index(settings, read_target(client, settings.index))
    except DataError as refused:
        return [error(f"index {settings.index}: expected one that documents can be written to", str(refused), "mend that first")]


def of_index(settings: Settings, target: Target) -> list[Finding]:
    """Whether documents with the marker are taken."""
    mapping, marker = target.mapping, settings.marker
    dynamic = str(mapping.get("dynamic", "true")).lower()
    field = (mapping.get("properties") or {}).get(marker)
    what = f"index {target.name}: expected a mapping that takes the field {marker}"
    if field is not None:
        type_ = field.get("type", "object")
        if type_ in _TAKES_DIGITS or field.get("enabled") is False:
            return []
        return [error(what, f"that it is mapped as {type_}", "name another marker, or build the index anew")]
    if dynamic == "strict" or (dynamic == "strict_allow_templates" and not _has_template(mapping, marker)):
        return [_strict(settings, what, dynamic, target.concrete)]
    if dynamic == "true":
        return [note(what, "dynamic: true", "the first document adds it as text with a keyword; a keyword alone is smaller")]
    return []


def _strict(settings: Settings, what: str, dynamic: str, concrete: str) -> Finding:
    """The function of this project leaves the marker out then; a pipeline writes what it gets."""
    by_pipeline = settings.scheme is VersionScheme.INGESTION or any(consumer.pipeline for consumer in settings.consumers)
    add = f'add it (PUT {concrete}/_mapping {{"properties": {{"{settings.marker}": {{"type": "keyword"}}}}}})'
    if by_pipeline:
        return error(what, f"dynamic: {dynamic} without it", f"every document of the replay would be rejected: {add}")
    remedy = (
        "stream_indexer leaves it out, and nothing in a document tells then that the replay wrote it; from any other function every "
        f"document of the replay is rejected: {add}"
    )
    return warning(what, f"dynamic: {dynamic} without it", remedy)


def _has_template(mapping: Mapping[str, Any], field: str) -> bool:
    """Only templates that go by the name: whether another one fits is known to the node alone."""
    rules = [rule for template in mapping.get("dynamic_templates") or () for rule in template.values()]
    return any("match" in rule and fnmatchcase(field, rule["match"]) for rule in rules)

"""Decide whether a table and its items are fit for a replay, from what was read of them.

Each function gives findings; `searchops.core.replay.preflight` reads what they need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from searchops.core.bulk.scheme import VersionScheme
from searchops.core.replay.choice import Dates
from searchops.core.replay.cost import PARTITION_WRITE_UNITS, usual_touch_units
from searchops.core.replay.findings import Finding, error, note, warning
from searchops.core.replay.model import AttributeValue
from searchops.core.replay.records import replay_id
from searchops.core.replay.selection import day_of
from searchops.core.replay.settings import Settings, VersionOwner
from searchops.core.replay.table import ACTIVE, PROVISIONED, WITH_NEW_IMAGE, WITH_OLD_IMAGE, IndexFacts, Item, TableFacts
from searchops.core.streams.writes import needs_old_image


def of_table(settings: Settings, facts: TableFacts) -> list[Finding]:
    """What the description of the table says by itself."""
    return [
        *_of_status(facts),
        *_of_stream(settings, facts),
        *_of_touched_attributes(settings, facts),
        *(of_date_index(settings.dates, facts) if settings.dates else ()),
        *_of_index_writes(settings, facts),
        *_of_capacity(settings, facts),
        *_of_replicas(facts),
    ]


def _of_status(facts: TableFacts) -> list[Finding]:
    if facts.status == ACTIVE:
        return []
    what = f"table {facts.name}: expected it to be ACTIVE"
    if facts.status == "UPDATING":
        return [warning(what, facts.status, "it takes touches; what is being changed may throttle them")]
    return [error(what, facts.status, "try again when it is ACTIVE")]


def _of_stream(settings: Settings, facts: TableFacts) -> list[Finding]:
    what = f"table {facts.name}: expected a stream with the new image"
    if facts.stream_arn is None:
        command = (
            f"aws dynamodb update-table --table-name {facts.name} "
            "--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
        )
        return [error(what, "no stream that is on", f"turn it on ({command}) and map the consumers to it")]
    remedy = "the view of a stream is fixed: turn it off, then on with NEW_AND_OLD_IMAGES, and map the consumers to the new one"
    if facts.stream_view not in WITH_NEW_IMAGE:
        return [error(what, f"the view {facts.stream_view}", remedy)]
    versioned = settings.scheme and settings.deletes and needs_old_image(settings.scheme, settings.deletes)
    if versioned and facts.stream_view not in WITH_OLD_IMAGE:
        return [
            error(
                f"table {facts.name}: expected a stream with both images, as index {settings.index} has versions by "
                f"{settings.version_attribute} and deletes {settings.deletes}",
                f"the view {facts.stream_view}",
                "only the old image shows the version of a delete, so stream_indexer refuses every record: where the application deletes "
                f"nothing, declare deletes: never for the index; else {remedy}",
            )
        ]
    return []


def _of_touched_attributes(settings: Settings, facts: TableFacts) -> list[Finding]:
    found = []
    for attribute, called in zip(settings.touched, ("marker", "version attribute"), strict=False):
        if attribute in facts.key_types:
            places = [index.name for index in facts.indexes if attribute in index.keys]
            of = f"the index {', '.join(places)}" if places else "the table"
            remedy = "name another marker" if called == "marker" else "leave the version to the application (version_owner)"
            what = f"table {facts.name}: expected the {called} {attribute} to be no key"
            found.append(error(what, f"it is a key of {of}", f"a touch would move the item there: {remedy}"))
    if facts.ttl_attribute in settings.touched:
        what = f"table {facts.name}: expected the marker {facts.ttl_attribute} to be an attribute of its own"
        found.append(error(what, "it is the TTL attribute", "name another marker"))
    return found


def of_date_index(dates: Dates, facts: TableFacts) -> list[Finding]:
    what = f"table {facts.name}: expected the index {dates.index} with the partition key {dates.attribute}"
    index = facts.index(dates.index)
    if index is None:
        names = ", ".join(each.name for each in facts.indexes) or "no index"
        return [
            error(what, names, "correct date_index, or make the index (python -m searchops.core.replay advise shows the command)")
        ]
    if not index.is_global:
        return [error(what, "a local index, which has the table's partition key", "make a global one, KEYS_ONLY")]
    if index.partition_key != dates.attribute:
        keys = " and ".join(index.keys)
        return [error(what, f"the key {keys}", "correct date_index, or make an index whose partition key is the day")]
    found = []
    if index.status != ACTIVE:
        remedy = "an index that is being filled lacks items: try again when it is ACTIVE"
        found.append(error(f"index {index.name}: expected it to be ACTIVE", index.status, remedy))
    type_, example = facts.key_types[dates.attribute], date(2026, 11, 21).strftime(dates.format)
    if type_ == "B" or (type_ == "N" and (dates.shards or not (example.isascii() and example.isdigit()))):
        written = f"{example}#0" if dates.shards else example
        found.append(
            error(
                f"index {index.name}: expected {dates.attribute} to be of a type that holds {written}",
                f"the type {type_}",
                "correct format and shards of date_index",
            )
        )
    return found


def written_indexes(settings: Settings, facts: TableFacts) -> list[IndexFacts]:
    """The indexes that every touch writes, too."""
    return [index for index in facts.indexes if index.is_written_by(*settings.touched)]


def _of_index_writes(settings: Settings, facts: TableFacts) -> list[Finding]:
    found = []
    for index in written_indexes(settings, facts):
        projects = "everything" if index.projection == "ALL" else " and ".join(a for a in settings.touched if a in index.included)
        found.append(
            warning(
                f"index {index.name}: expected that a touch does not write it",
                f"that it projects {projects}",
                "each touch consumes write units for the index as well; an index that is KEYS_ONLY, or does not include these "
                "attributes, costs none",
            )
        )
    return [*found, *_of_heat(settings, facts)]


def heat(settings: Settings, facts: TableFacts) -> float | None:
    """Write units a second, at full pace, on each partition of a day in the date index.

    All items of a day share one partition key there, so one partition takes all that its touches write into the index.

    :return: None where a touch does not write it, or where its items are not known yet
    """
    index = facts.index(settings.dates.index) if settings.dates else None
    units = usual_touch_units(facts, settings.touched)
    if index is None or settings.dates is None or units is None or not index.is_written_by(*settings.touched):
        return None
    own = usual_touch_units(_only(facts, index), settings.touched)
    share = own.index / units.total if own else 0.0
    return settings.wcu_per_second * share / (settings.dates.shards or 1)


def _only(facts: TableFacts, index: IndexFacts) -> TableFacts:
    return replace(facts, indexes=(index,))


def _of_heat(settings: Settings, facts: TableFacts) -> list[Finding]:
    hot = heat(settings, facts)
    if hot is None or hot <= PARTITION_WRITE_UNITS or settings.dates is None:
        return []
    shards = -(-hot * (settings.dates.shards or 1) // PARTITION_WRITE_UNITS)
    pace = settings.wcu_per_second * PARTITION_WRITE_UNITS / hot
    return [
        warning(
            f"index {settings.dates.index}: expected at most {PARTITION_WRITE_UNITS:,} write units a second on the partition of a day",
            f"{hot:,.0f} at {settings.wcu_per_second:g} write units a second",
            "the index would throttle the table, and the application with it: make it KEYS_ONLY, "
            f"spread the day over {shards:.0f} keys (shards), or lower wcu_per_second to {pace:,.0f}",
        )
    ]


def _of_capacity(settings: Settings, facts: TableFacts) -> list[Finding]:
    found = []
    pace, shares = settings.wcu_per_second, usual_touch_units(facts, settings.touched)
    if facts.billing == PROVISIONED:
        on_table = pace * (shares.table / shares.total if shares else 1.0)
        if facts.write_units and on_table > facts.write_units:
            found.append(_short(f"table {facts.name}", on_table, facts.write_units, "provisions"))
        for index in written_indexes(settings, facts):
            own = usual_touch_units(_only(facts, index), settings.touched)
            on_index = pace * own.index / shares.total if own and shares else pace / 2
            if index.write_units and on_index > index.write_units:
                found.append(_short(f"index {index.name}", on_index, index.write_units, "provisions"))
    elif facts.most_write_units and pace > facts.most_write_units:
        found.append(_short(f"table {facts.name}", pace, facts.most_write_units, "is allowed"))
    return found


def _short(of: str, wanted: float, there: int, how: str) -> Finding:
    return warning(
        f"{of}: expected capacity for {wanted:,.0f} write units a second beside the application's",
        f"that it {how} {there:,}",
        "a touch that is throttled throttles the application, too: lower wcu_per_second, or add capacity for the time of the replay",
    )


def _of_replicas(facts: TableFacts) -> list[Finding]:
    if not facts.replicas:
        return []
    return [
        warning(
            f"table {facts.name}: expected a table of one Region",
            f"replicas in {', '.join(facts.replicas)}",
            "a touch is written and charged there, too, and the streams there fire as well: their consumers see the replay",
        )
    ]


def of_dates(dates: Dates, values: Sequence[AttributeValue]) -> list[Finding]:
    """Compare days as items of the index have them with the format.

    :param values: of the date attribute, of items in the order of the index
    """
    what = f"index {dates.index}: expected days such as {_example(dates)} ({dates.format}{_spread(dates)})"
    if not values:
        return [note(what, "no item in the index", f"a replay by date finds only items that have {dates.attribute}")]
    texts = [str(next(iter(value.values()))) for value in values]
    wrong = [text for text in texts if read_day(dates, text) is None]
    if not wrong:
        return []
    found = f"{', '.join(map(repr, dict.fromkeys(wrong[:3])))} in {len(wrong)} of {len(texts)} items"
    remedy = "correct format and shards of date_index"
    if len(wrong) == len(texts):
        return [error(what, found, remedy)]
    return [warning(what, found, f"{remedy}; items whose day is written otherwise are in no replay by date")]


def _example(dates: Dates) -> str:
    return date(2026, 11, 21).strftime(dates.format) + ("#0" if dates.shards else "")


def _spread(dates: Dates) -> str:
    return f" and {dates.shards} shards" if dates.shards else ""


def read_day(dates: Dates, text: str) -> date | None:
    """The day that a value of the date attribute stands for; None where it is none of this form."""
    written, separator, shard = text.rpartition("#") if dates.shards else (text, "", "")
    if dates.shards and not (separator and shard.isascii() and shard.isdigit() and int(shard) < dates.shards):
        return None
    try:
        day = datetime.strptime(written, dates.format).date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None
    return day if day.strftime(dates.format) == written else None


def of_markers(settings: Settings, items: Sequence[Item]) -> list[Finding]:
    """
    :param items: some that have the marker's attribute
    """
    foreign = [item[settings.marker] for item in items if settings.marker in item and replay_id(item, settings.marker) is None]
    if not foreign:
        return []
    types = Counter(next(iter(value)) for value in foreign)
    return [
        error(
            f"table {settings.table}: expected only ids of replays (20 digits) in {settings.marker}",
            f"other values in {len(foreign)} of {len(items)} items that have it (type {', '.join(sorted(types))})",
            "the application uses this attribute: name another marker",
        )
    ]


def of_day(dates: Dates, day: date, now: datetime) -> list[Finding]:
    """
    :param now: with a time zone
    """
    today, what = day_of(now, dates.timezone), f"day {day}: expected a day that is over in {dates.timezone}"
    if day > today:
        return [error(what, f"that it is {today} there", "choose a day that has begun")]
    if day == today:
        return [warning(what, "that it is today", "items that are written after the replay has read the index are not in it")]
    return []


def of_rewrite(settings: Settings, *, rewrite: bool) -> list[Finding]:
    """Whether every document can be written again, where somebody asks for it."""
    if not rewrite:
        return []
    what = f"table {settings.table}: rewrite: expected touches whose records are newer than the documents"
    if settings.scheme is None:
        return [error(what, "no index in the entry of the table", "name the index that the stream is written to")]
    if settings.scheme is VersionScheme.ONCE:
        return [error(what, "the version scheme once", "documents of this index never change: build it anew")]
    if settings.scheme is VersionScheme.ATTRIBUTE and settings.version_owner is VersionOwner.APPLICATION:
        return [
            error(
                what,
                f"version_owner application: only the application increases {settings.version_attribute}",
                "a touch leaves the version as it is, so the index takes its record for the one that it has and keeps the document: leave "
                "rewrite out (missing and older documents are mended all the same), have the application increase the version, or, where "
                "every writer adds to it and none sets it, declare version_owner: shared",
            )
        ]
    return []


def rewrites(settings: Settings) -> bool | None:
    """Whether a touch has a document written again that the index holds already; None without an index."""
    match settings.scheme:
        case None:
            return None
        case VersionScheme.ATTRIBUTE:
            return settings.version_owner is VersionOwner.SHARED
        case VersionScheme.ONCE:
            return False
        case _:
            return True

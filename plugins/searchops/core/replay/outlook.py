"""What the consumers of a stream will see of a replay, estimated from sampled items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from searchops.core.bulk.dynamodb_json import attributes
from searchops.core.bulk.ids import Unfit, document_id, id_values, version_of
from searchops.core.bulk.node import ask, path
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.errors import DataError, TransientError
from searchops.core.replay import filters
from searchops.core.replay.consumers import Mapped, function_of
from searchops.core.replay.cost import touched
from searchops.core.replay.fitness import rewrites
from searchops.core.replay.selection import encoded
from searchops.core.replay.settings import Settings
from searchops.core.replay.table import WITH_OLD_IMAGE, Item, TableFacts


@dataclass(frozen=True, slots=True)
class Documents:
    """How documents of the index compare with their items.

    :param same: have the item's version; ``older`` and ``newer``: another one; ``missing``: there is none
    :param unfit: items that give no id or no version; their records are rejected
    """

    same: int = 0
    older: int = 0
    newer: int = 0
    missing: int = 0
    unfit: int = 0

    def scaled(self, factor: float) -> Documents:
        return Documents(**{name: round(number * factor) for name, number in asdict(self).items()})


def compare(settings: Settings, node: Any, items: Sequence[Item]) -> Documents | None:
    """Sampled items with their documents; None where nothing of it would decide what is written, or nobody can be asked."""
    recipe, by_version = settings.recipe, settings.scheme is VersionScheme.ATTRIBUTE
    if node is None or recipe is None or settings.index is None or not settings.ids_are_known:
        return None
    if settings.scheme not in (VersionScheme.ATTRIBUTE, VersionScheme.ONCE):
        return None
    wanted: list[tuple[str, int]] = []
    for item in items:
        values = attributes(encoded(item), recipe.needed)  # an id has binary keys as base64 text, as in a record
        try:
            version = version_of(values.get(recipe.attribute), recipe.attribute) if by_version else 1
            wanted.append((document_id(id_values(values, recipe.id.attributes)), version))
        except Unfit:
            continue
    found = _versions(node, settings.index, [id_ for id_, _ in wanted])
    pairs = [(found.get(id_), version) for id_, version in wanted]
    return Documents(
        same=sum(held is not None and (held == version or not by_version) for held, version in pairs),
        older=sum(held is not None and by_version and held < version for held, version in pairs),
        newer=sum(held is not None and by_version and held > version for held, version in pairs),
        missing=sum(held is None for held, _ in pairs),
        unfit=len(items) - len(wanted),
    )


def _versions(node: Any, index: str, ids: Sequence[str]) -> dict[str, int]:
    if not ids:
        return {}
    rows = ask(node, "POST", path(index, "_mget"), params={"_source": "false"}, body={"ids": list(ids)})["docs"]
    if failed := next((row["error"] for row in rows if "error" in row), None):
        raise TransientError(f"index {index}: a document could not be read", reason=str(failed.get("reason")))
    return {row["_id"]: row["_version"] for row in rows if row.get("found")}


def not_rewritten(settings: Settings, documents: Documents | None, factor: float) -> int | None:
    again = rewrites(settings)
    if again:
        return 0
    return round((documents.same + documents.newer) * factor) if again is False and documents else None


def sentences(
    settings: Settings,
    facts: TableFacts,
    mapped: Mapped | None,
    items: Sequence[Item],
    factor: float,
    documents: Documents | None,
) -> Iterator[str]:
    alone = f"{settings.marker} alone" if len(settings.touched) == 1 else " and ".join(settings.touched)
    old = f"OldImage, which differs by {alone}" if facts.stream_view in WITH_OLD_IMAGE else "no OldImage"
    yield f"each record is a MODIFY with the item as it is then, {settings.marker} included, as NewImage and {old}"
    for consumer in settings.consumers:
        if consumer.function and mapped:
            yield from _through_filters(consumer.function, facts, mapped, settings, items, factor)
        if consumer.uses_old_image:
            yield f"{consumer.name} uses OldImage: it sees no change in any of them"
    yield from _written(settings, documents, factor)


def _through_filters(
    function: str, facts: TableFacts, mapped: Mapped, settings: Settings, items: Sequence[Item], factor: float
) -> Iterator[str]:
    for mapping in mapped.of_stream:
        if function_of(mapping) != function:
            continue
        try:
            patterns = filters.patterns_of(mapping)
            passing = sum(filters.passes(_record(facts, settings, item), patterns) for item in items)
        except DataError as error:
            yield f"function {function}: what its filter passes is not known: {error}"
            continue
        records, batch = round(passing * factor), mapping.get("BatchSize") or 100
        of = f" of {round(len(items) * factor):,}, the rest is kept back by its filter" if passing < len(items) else ""
        yield f"function {function} gets {records:,} records{of}, up to {batch:,} at once"


def _record(facts: TableFacts, settings: Settings, item: Item) -> dict[str, Any]:
    """The record of a touch as Lambda hands it over."""
    images: dict[str, Any] = {"Keys": encoded(facts.key_of(item)), "NewImage": encoded(touched(item, settings.marker))}
    if facts.stream_view in WITH_OLD_IMAGE:
        images["OldImage"] = encoded(item)
    return {
        "eventName": filters.MODIFY,
        "eventSource": "aws:dynamodb",
        "dynamodb": {**images, "StreamViewType": facts.stream_view},
    }


def _written(settings: Settings, documents: Documents | None, factor: float) -> Iterator[str]:
    again, index = rewrites(settings), f"index {settings.index}"
    if again is None:
        return
    if again:
        yield f"{index}: every document is written again"
        return
    stays = "the documents never change" if settings.scheme is VersionScheme.ONCE else f"{settings.version_attribute} stays"
    if documents is None:
        yield f"{index}: {stays}, so documents that it has already are not written again; how many these are was not looked at"
        return
    all_ = documents.scaled(factor)
    yield (
        f"{index}: {stays}, so {all_.same + all_.newer:,} documents are not written again; "
        f"{all_.missing:,} are missing and {all_.older:,} older: these are written"
    )
    if all_.unfit:
        yield f"{index}: {all_.unfit:,} items give no id or no version: their records are rejected"

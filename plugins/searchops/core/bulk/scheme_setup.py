"""Write an index's scheme into its mapping, after looking whether its documents agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any

from searchops.core.bulk.node import Refused, ask, documents, path
from searchops.core.bulk.scheme import (
    FIELD,
    MAX_VERSION,
    PROPERTIES,
    SEQUENCE_DIGITS,
    Deletes,
    Scheme,
    SchemeMissing,
    VersionScheme,
)
from searchops.core.bulk.target import Target, check_one_index, read_target
from searchops.core.errors import DataError, TransientError

MOST_CHECKED = 200_000
"""Documents that are compared; of a larger index every n-th by the hash of its id."""
_MOST_SLICES = 1024
"""``index.max_slices_per_scroll`` unless an index says otherwise."""
_NAMED = 3

Fault = Callable[[Mapping[str, Any]], str | None]
"""What a hit says against a scheme."""


class Contradicted(DataError):
    """Documents of the index are not of the scheme that the inventory declares."""


@dataclass(frozen=True, slots=True)
class SchemePlan:
    """What an index lacks before the first write under a scheme.

    :param properties: the mapping needs the fields of tombstones and sequences
    :param scheme: ``_meta`` says nothing yet
    """

    target: Target
    properties: bool
    scheme: bool

    @property
    def changes(self) -> tuple[str, ...]:
        fields = f"add the field {FIELD} (deleted, deleted_at, sequence) to the mapping" if self.properties else ""
        scheme = "check the documents and write _meta.searchops.scheme" if self.scheme else ""
        return tuple(filter(None, (fields, scheme)))


@dataclass(frozen=True, slots=True)
class Checked:
    """How many documents were compared, of how many, and what with."""

    documents: int
    of: int
    what: str

    def __str__(self) -> str:
        return f"{self.documents} of {self.of} documents: {self.what}"


def plan_scheme(client: Any, index: str, scheme: Scheme) -> SchemePlan:
    """
    :raises SchemeDiffers: the index has another scheme, which is never changed
    :raises DataError: no such index, several behind the alias, or a field of the mapping is in the way
    """
    target = read_target(client, index)
    check_one_index(target, scheme)
    try:
        scheme.compare(index, target.meta)
        missing = False
    except SchemeMissing:
        missing = True
    return SchemePlan(target, needs_fields(scheme) and not _has_fields(target), missing)


def needs_fields(scheme: Scheme) -> bool:
    return scheme.deletes is Deletes.TOMBSTONE or scheme.version is VersionScheme.SEQUENCE


def _has_fields(target: Target) -> bool:
    """
    :raises DataError: the mapping has something else of these names
    """
    found = (target.mapping.get("properties") or {}).get(FIELD)
    if found is None:
        return False
    fields, wanted = found.get("properties"), PROPERTIES[FIELD]["properties"]
    wrong = [name for name in wanted if fields and name in fields and fields[name].get("type") != wanted[name]["type"]]
    if fields is None or wrong or found.get("enabled") is False or found.get("type") == "nested":
        named = ", ".join(f"{FIELD}.{name} is {fields[name].get('type', 'object')}" for name in wrong) if fields else f"{found!r}"
        raise DataError(
            f"index {target.concrete}: the mapping's field {FIELD} is to hold deleted (boolean), deleted_at (date) and sequence "
            f"(keyword), found {named}: build the index anew without that field"
        )
    return set(wanted) <= set(fields)


def write_scheme(client: Any, index: str, scheme: Scheme, *, most: int = MOST_CHECKED) -> Checked | None:
    """Add what is missing. Safe to repeat.

    :param most: compare at most about so many documents
    :return: what was compared; None where the scheme was there
    :raises Contradicted: a document is not of this scheme; nothing is written
    """
    plan = plan_scheme(client, index, scheme)
    concrete = plan.target.concrete
    checked = compare_documents(client, concrete, scheme, most=most) if plan.scheme else None
    if plan.properties:
        _add_fields(client, concrete)
    if plan.scheme:
        _add_meta(client, concrete, scheme)
    return checked


def _add_fields(client: Any, concrete: str) -> None:
    try:
        ask(client, "PUT", path(concrete, "_mapping"), body={"properties": PROPERTIES})
    except Refused as refused:
        raise DataError(
            f"index {concrete}: the field {FIELD}, which tombstones and sequences need, does not go into its mapping: {refused.reason}",
            reason=refused.reason,
        ) from refused


def _add_meta(client: Any, concrete: str, scheme: Scheme) -> None:
    """PUT _mapping replaces all of ``_meta``, hence read, merge, write, read back."""
    meta = _meta(client, concrete)
    wanted = {**(meta.get("searchops") or {}), "scheme": scheme.to_meta()}
    ask(client, "PUT", path(concrete, "_mapping"), body={"_meta": {**meta, "searchops": wanted}})
    if _meta(client, concrete).get("searchops") != wanted:
        raise TransientError(
            f"_meta.searchops of index {concrete}: expected what was just written, found other content: somebody else writes it too"
        )


def _meta(client: Any, concrete: str) -> dict[str, Any]:
    return dict(ask(client, "GET", path(concrete, "_mapping"))[concrete]["mappings"].get("_meta") or {})


def compare_documents(client: Any, concrete: str, scheme: Scheme, *, most: int = MOST_CHECKED) -> Checked:
    """Look at the documents for one that contradicts the scheme.

    :raises Contradicted: with up to three ids for each kind of contradiction
    """
    ask(client, "POST", path(concrete, "_refresh"))
    total = int(ask(client, "GET", path(concrete, "_count"))["count"])
    fault, what, fields = _comparison(scheme)
    if fault is None:
        return Checked(0, total, what)
    every = min(_MOST_SLICES, ceil(total / most)) if total > most else 1
    search = {"version": True, "_source": fields, **({"slice": {"id": 0, "max": every}} if every > 1 else {})}
    ids: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for hit in _some(documents(client, concrete, search), 2 * most):
        counts["documents"] += 1
        if found := fault(hit):
            counts[found] += 1
            ids.setdefault(found, [])
            if len(ids[found]) < _NAMED:
                ids[found].append(hit["_id"])
    if ids:
        raise _contradicted(concrete, scheme, ids, counts)
    return Checked(counts["documents"], total, what)


def _some(hits: Iterator[Mapping[str, Any]], most: int) -> Iterator[Mapping[str, Any]]:
    """Even the thousandth part of an index may be too much."""
    return islice(hits, most)


def _contradicted(concrete: str, scheme: Scheme, ids: Mapping[str, list[str]], counts: Counter[str]) -> Contradicted:
    told = "; ".join(f"{counts[fault]} documents {fault}, e.g. {', '.join(named)}" for fault, named in ids.items())
    return Contradicted(
        f"index {concrete}: the inventory declares {scheme.to_meta()}, but of {counts['documents']} documents {told}; "
        f"{_REMEDIES.get(scheme.version, 'correct the inventory')}",
        facts={"Documents compared": counts["documents"], **{fault: counts[fault] for fault in ids}},
    )


_REMEDIES = {
    VersionScheme.ATTRIBUTE: "write them with their version, e.g. by _reindex into a new index with version_type external and the script "
    "ctx._version = ctx._source.<attribute>, then move the alias; or correct the inventory",
    VersionScheme.ONCE: "documents that never change have version 1; correct the inventory, or load them into a new index",
    VersionScheme.SEQUENCE: "load them through searchops into a new index, which writes the sequence, then move the alias",
}


def _comparison(scheme: Scheme) -> tuple[Fault | None, str, list[str] | bool]:
    """What tells a contradiction, in words for a person, and the fields that it needs."""
    if scheme.version is VersionScheme.ATTRIBUTE:
        name = scheme.attribute
        return attribute_fault(name), f"{name} is a whole number and equal to _version", [name, f"{FIELD}.deleted"]
    if scheme.version is VersionScheme.ONCE:
        return once_fault, "_version is 1", False
    if scheme.version is VersionScheme.SEQUENCE:
        return sequence_fault, f"{FIELD}.sequence has {SEQUENCE_DIGITS} digits", [f"{FIELD}.sequence"]
    return None, f"nothing in them tells the scheme {scheme.version.value}", False


def attribute_fault(name: str) -> Fault:
    def fault(hit: Mapping[str, Any]) -> str | None:
        source = hit.get("_source") or {}
        if (source.get(FIELD) or {}).get("deleted") is True:
            return None  # a tombstone has nothing but its version
        value = source.get(name)
        if value is None:
            return f"have no {name}"
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_VERSION:
            return f"have a {name} that is no whole number from 0 to 2^63-1"
        return None if value == hit["_version"] else f"have a _version that is not their {name}"

    return fault


def once_fault(hit: Mapping[str, Any]) -> str | None:
    return None if hit["_version"] == 1 else "have been written more than once (_version is not 1)"


def sequence_fault(hit: Mapping[str, Any]) -> str | None:
    value = ((hit.get("_source") or {}).get(FIELD) or {}).get("sequence")
    right = isinstance(value, str) and len(value) == SEQUENCE_DIGITS and value.isascii() and value.isdigit()
    return None if right else f"have no {FIELD}.sequence of {SEQUENCE_DIGITS} digits"

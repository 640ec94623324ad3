"""Which indexes of a domain use a dictionary, what they were last given, and what new content needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from searchops.core.dictionary.analysis import use_of
from searchops.core.dictionary.model import IndexPolicy, IndexUse, Kind, Probe, Remedy, UseMode
from searchops.core.dictionary.node import REOPENING, Definitions, is_closed


@dataclass(frozen=True, slots=True)
class DomainRules:
    """What the inventory says about one domain: its dictionaries and its indexes (by alias or name)."""

    kinds: Mapping[str, Kind]
    policies: Mapping[str, IndexPolicy] = field(default_factory=dict)
    probes: Mapping[str, Sequence[Probe]] = field(default_factory=dict)

    def policy(self, index: str, definition: Mapping[str, Any]) -> IndexPolicy:
        named = [self.policies[name] for name in _names(index, definition) if name in self.policies]
        if not named:
            return IndexPolicy()
        # One index behind the aliases of two entries: what one of them forbids is not done.
        return replace(named[0], may_be_closed=all(policy.may_be_closed for policy in named))

    def probes_of(self, index: str, definition: Mapping[str, Any]) -> list[Probe]:
        return [probe for name in _names(index, definition) for probe in self.probes.get(name, ())]


def _names(index: str, definition: Mapping[str, Any]) -> tuple[str, ...]:
    return (index, *definition.get("aliases", {}))


def remedy(mode: UseMode, policy: IndexPolicy) -> Remedy:
    """What new content needs on an index; an index that may not be closed is only ever reported or rebuilt."""
    if mode is UseMode.AUTOMATIC:
        return Remedy.RELOAD
    wanted = policy.on_search_time_use if mode is UseMode.SEARCH_TIME else policy.on_index_time_use
    if wanted is Remedy.REOPEN and not policy.may_be_closed:
        return Remedy.REPORT if mode is UseMode.SEARCH_TIME else Remedy.REBUILD
    return wanted


def uses(definitions: Definitions, key: str, reference_path: str, rules: DomainRules) -> list[IndexUse]:
    """Every index that uses the dictionary ``key``, whose file is ``reference_path``, in the order of their names."""
    found = []
    for index, definition in sorted(definitions.items()):
        use = use_of(definition, reference_path)
        if use is None:
            continue
        recorded = recorded_dictionaries(definition)
        mine = recorded.get(key) or {}
        beside = _beside(definition, use.analyzers, key, recorded, rules)
        found.append(
            IndexUse(
                index=index,
                path=reference_path,
                analyzers=use.analyzers,
                mode=use.mode,
                remedy=remedy(use.mode, rules.policy(index, definition)),
                applied=mine.get("applied"),
                documents=mine.get("documents"),
                requested=mine.get("requested"),
                beside=mine.get("beside") or {},
                beside_now={other: recorded[other]["applied"] for other in beside},
                closed=is_closed(definition),
            )
        )
    return found


def _beside(
    definition: Mapping[str, Any], analyzers: tuple[str, ...], key: str, recorded: Mapping[str, Any], rules: DomainRules
) -> list[str]:
    """The user dictionaries on the same analyzers: a changed one gives an unchanged synonym file another meaning."""
    if rules.kinds.get(key) is Kind.KUROMOJI_USER_DICTIONARY:
        return []
    return [
        other
        for other, record in recorded.items()
        if other != key
        and rules.kinds.get(other) is Kind.KUROMOJI_USER_DICTIONARY
        and record.get("applied")
        and set(analyzers) & set(getattr(use_of(definition, record.get("path", "")), "analyzers", ()))
    ]


def files_of(definition: Mapping[str, Any], analyzers: tuple[str, ...]) -> Mapping[str, str]:
    """Path -> key of the dictionaries that we applied to these analyzers."""
    files = {}
    for key, record in recorded_dictionaries(definition).items():
        use = use_of(definition, record["path"]) if record.get("path") else None
        if use and set(use.analyzers) & set(analyzers):
            files[record["path"]] = key
    return files


def recorded_dictionaries(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    return _searchops(definition).get("dictionaries") or {}


def left_reopening(definition: Mapping[str, Any]) -> bool:
    """A run of ours was about to close the index, or closed it, and did not live to note that it is open again."""
    return REOPENING in _searchops(definition)


def _searchops(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    return (definition.get("mappings", {}).get("_meta") or {}).get("searchops") or {}

"""The index behind an alias, as a writer has to find it before its first write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from searchops.core.bulk.delivery import IndexClosed
from searchops.core.bulk.node import find, path
from searchops.core.bulk.scheme import Scheme, VersionScheme
from searchops.core.errors import DataError


class NoIndex(DataError):
    """There is no index or alias of that name."""


@dataclass(frozen=True, slots=True)
class Target:
    """The one index that writes to a name go to.

    :param name: what writers and searches call it
    :param concrete: the index itself; equal to ``name`` where that is no alias
    :param alias: the alias as the index has it: filter, is_write_index, routing
    :param alone: no other index is behind the alias
    """

    name: str
    concrete: str
    alias: Mapping[str, Any] | None
    alone: bool
    mapping: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.mapping.get("_meta") or {}

    @property
    def uuid(self) -> str:
        """Another one for each index that was ever made: a name, and an alias, can come to mean another index."""
        return str(self.settings.get("uuid", ""))

    @property
    def closed(self) -> bool:
        return str(self.settings.get("verified_before_close", "false")).lower() == "true"

    @property
    def default_pipeline(self) -> str | None:
        named = self.settings.get("default_pipeline")
        return named if named and named != "_none" else None


def read_target(client: Any, name: str) -> Target:
    """
    :raises NoIndex: there is none
    :raises DataError: not exactly one index that a write to the name goes to
    """
    found = find(client, path(name))
    if not found:
        raise NoIndex(
            f"index {name}: expected an index or an alias of that name, found none: make the index and its alias first "
            "(the node would make one by itself at the first write, without the right mapping)"
        )
    if name in found:
        return _target(name, name, found[name], alone=True)
    writable = [
        index for index, body in found.items() if len(found) == 1 or body["aliases"].get(name, {}).get("is_write_index") is True
    ]
    if len(writable) == 1 and found[writable[0]]["aliases"].get(name, {}).get("is_write_index") is not False:
        return _target(name, writable[0], found[writable[0]], alone=len(found) == 1)
    raise DataError(
        f"alias {name}: expected exactly one index that it writes to, found {', '.join(sorted(found))} behind it and none of them, "
        'or several, with "is_write_index": true: correct the alias'
    )


def _target(name: str, concrete: str, body: Mapping[str, Any], *, alone: bool) -> Target:
    alias = None if concrete == name else body["aliases"][name]
    return Target(name, concrete, alias, alone, body.get("mappings") or {}, body.get("settings", {}).get("index", {}))


def check_one_index(target: Target, scheme: Scheme) -> None:
    """:raises DataError: versions are to count, and documents of several indexes are found under one name"""
    if not target.alone and scheme.version is not VersionScheme.NONE:
        raise DataError(
            f"alias {target.name}: expected one index behind it, found others beside {target.concrete}: versions count within one index, "
            "so an older write of a document could stand in one while a newer one is in the other; take the others out of the alias"
        )


def compare_target(client: Any, index: str, scheme: Scheme) -> Target:
    """Look whether an index and a writer agree; it may be closed.

    :param index: the alias or name that the inventory has
    :raises DataError: no index, several behind the alias, or one whose ``_meta`` says otherwise (SchemeMissing, SchemeDiffers)
    """
    target = read_target(client, index)
    check_one_index(target, scheme)
    scheme.compare(index, target.meta)
    return target


def check_target(client: Any, index: str, scheme: Scheme) -> Target:
    """What every writer calls before its first write; `BulkIndexer` takes what it returns.

    :raises DataError: as `compare_target`
    :raises IndexClosed: it is closed; may be opened again
    """
    target = compare_target(client, index, scheme)
    if target.closed:
        raise IndexClosed(f"index {index} ({target.concrete}) is closed: open it, or wait for whoever closed it")
    return target

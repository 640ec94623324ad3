"""The filter of an alias that hides tombstones from search and count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from searchops.core.bulk.node import ask
from searchops.core.bulk.scheme import ALIVE, FIELD
from searchops.core.bulk.target import Target, read_target
from searchops.core.errors import DataError, TransientError


@dataclass(frozen=True, slots=True)
class AliasPlan:
    """:param wanted: the alias as it has to be; None where nothing is missing"""

    target: Target
    wanted: Mapping[str, Any] | None

    @property
    def changes(self) -> tuple[str, ...]:
        if self.wanted is None:
            return ()
        kept = ", which it keeps as well" if (self.target.alias or {}).get("filter") else ""
        return (f"give the alias {self.target.name} of {self.target.concrete} a filter that hides tombstones{kept}",)


def plan_alias_filter(client: Any, index: str) -> AliasPlan:
    """
    :raises DataError: the name is that of an index: only an alias can have a filter
    """
    target = read_target(client, index)
    if target.alias is None:
        raise DataError(_no_alias(index))
    if hides_tombstones(target.alias.get("filter")):
        return AliasPlan(target, None)
    return AliasPlan(target, with_filter(target.alias))


def set_alias_filter(client: Any, index: str) -> AliasPlan:
    """Add the filter and keep what the alias has: its own filter, its routing, that it is written through. Safe to repeat."""
    plan = plan_alias_filter(client, index)
    if plan.wanted is None:
        return plan
    add = {"index": plan.target.concrete, "alias": index, **plan.wanted}
    ask(client, "POST", "/_aliases", body={"actions": [{"add": add}]})
    if plan_alias_filter(client, index).wanted is not None:
        raise TransientError(
            f"alias {index}: expected the filter that was just set, found another one: somebody else changes the alias too"
        )
    return plan


def with_filter(alias: Mapping[str, Any]) -> dict[str, Any]:
    """An ``add`` action replaces all that the alias has on the index."""
    given = alias.get("filter")
    found = {"bool": {"filter": [given], **ALIVE["bool"]}} if given else dict(ALIVE)
    return {"is_write_index": True, **alias, "filter": found}


def hides_tombstones(found: Mapping[str, Any] | None) -> bool:
    """Whether a filter leaves out what is marked deleted, whatever else it says."""
    clauses = ((found or {}).get("bool") or {}).get("must_not") or []
    return any(_names_deleted(clause) for clause in (clauses if isinstance(clauses, list) else [clauses]))


def _names_deleted(clause: Mapping[str, Any]) -> bool:
    value = (clause.get("term") or {}).get(f"{FIELD}.deleted")
    return (value.get("value") if isinstance(value, Mapping) else value) is True


def _no_alias(index: str) -> str:
    return (
        f"index {index}: expected an alias, found an index of that name: deleted documents stay in it as tombstones, which only the filter "
        f"of an alias hides. Stop its writers, then: PUT /{index}/_block/write; POST /{index}/_clone/{index}-000001 with "
        '{"settings": {"index.blocks.write": null}} (keeps the versions); POST /_aliases with the actions remove_index '
        f'{index} and add {index}-000001 as {index} with "is_write_index": true, in one request; then run searchops_setup again. '
        "Or declare deletes: never"
    )

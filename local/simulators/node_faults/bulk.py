"""Take items out of a bulk request and put answers in their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Any

import orjson

_WITHOUT_SOURCE = "delete"
_NOTHING = object()


class NotBulk(ValueError):
    """A body that is no bulk request; the node says why."""


@dataclass(frozen=True, slots=True)
class Item:
    """One action with its bytes as they came, source line and line ends included."""

    action: str
    index: str | None
    id: str | None
    data: bytes


def split(body: bytes, index: str | None = None) -> list[Item]:
    """Take a body apart.

    :param index: of the path, for actions that name none
    :raises NotBulk: a line where an action belongs is none, the source of the last is missing, or the last line has no end
    """
    if not body.endswith(b"\n"):
        raise NotBulk(f"expected a line feed at the end, found {body[-20:]!r}")
    lines = (line + b"\n" for line in body[:-1].split(b"\n"))
    items = []
    for line in lines:
        if not line.strip():
            continue
        action, target = _action(line)
        source = b"" if action == _WITHOUT_SOURCE else next(lines, None)
        if source is None:
            raise NotBulk(f"the source of {line!r} is missing")
        items.append(Item(action, target.get("_index", index), target.get("_id"), line + source))
    return items


def _action(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        ((action, target),) = orjson.loads(line).items()
    except (ValueError, AttributeError) as error:
        raise NotBulk(f"expected an action, found {line[:80]!r}") from error
    if action not in ("index", "create", "update", "delete") or not isinstance(target, dict):
        raise NotBulk(f"expected index, create, update or delete, found {line[:80]!r}")
    return action, target


def choose(count: int, share: float, random: Random) -> set[int]:
    """Choose positions: that share of them, at least one if there is any."""
    return set(random.sample(range(count), min(count, max(1, round(count * share)))))


def merge(answer: bytes, items: Sequence[Item], refused: dict[int, dict[str, Any]], filter_path: str | None) -> bytes:
    """Put refusals, by position, between the items that the node has answered; `answer` is unfiltered, or empty if none was sent."""
    found: dict[str, Any] = orjson.loads(answer) if answer else {"took": 0, "errors": True, "items": []}
    answered = iter(found["items"])
    found["items"] = [
        {item.action: {"_index": item.index, "_id": item.id, **refused[position]}} if position in refused else next(answered)
        for position, item in enumerate(items)
    ]
    found["errors"] = True
    return orjson.dumps(filtered(found, filter_path))


def shortened(answer: bytes, share: float) -> bytes | None:
    """Leave out the last items of a bulk or multi-get answer, at least one; None if it has none."""
    try:
        found = orjson.loads(answer)
    except ValueError:
        return None
    name = next((name for name in ("items", "docs") if isinstance(found, dict) and found.get(name)), None)
    if name is None:
        return None
    entries = found[name]
    found[name] = entries[: len(entries) - max(1, round(len(entries) * share))]
    return orjson.dumps(found)


def filtered(value: Any, filter_path: str | None) -> Any:
    """Keep what a ``filter_path`` names, as the node does: objects and arrays that lose everything go too.

    :raises ValueError: it leaves out (``-took``) instead of naming
    """
    if not filter_path:
        return value
    patterns = [tuple(pattern.strip().split(".")) for pattern in filter_path.split(",")]
    if any(pattern[0].startswith("-") for pattern in patterns):
        raise ValueError(f"filter_path: only what is to be kept can be named here, found {filter_path}")
    kept = _keep(value, patterns)
    return {} if kept is _NOTHING else kept


def _keep(value: Any, patterns: Sequence[tuple[str, ...]]) -> Any:
    if isinstance(value, list):
        entries = [kept for entry in value if (kept := _keep(entry, patterns)) is not _NOTHING]
        return entries or _NOTHING
    if not isinstance(value, dict):
        return _NOTHING
    found = {}
    for name, child in value.items():
        rest = [left for pattern in patterns for left in _after(pattern, name)]
        kept = child if () in rest else _keep(child, rest) if rest else _NOTHING
        if kept is not _NOTHING:
            found[name] = kept
    return found or _NOTHING


def _after(pattern: tuple[str, ...], name: str) -> list[tuple[str, ...]]:
    """Return what is left of a pattern below a field of that name."""
    if not pattern:
        return []
    head, *tail = pattern
    if head == "**":
        return [pattern, *_after(tuple(tail), name)]
    return [tuple(tail)] if fnmatchcase(name, head) else []

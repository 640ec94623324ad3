"""Settings of an index that are relaxed for a load and put back afterwards.

What was there before is kept in the bucket before anything is changed, as ``relaxed/<index>.json``: a process that dies leaves it, and the
next run neither loses it nor takes the relaxed values for the original ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from searchops.core.bulk import places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.node import ask, find, path
from searchops.core.bulk.target import read_target
from searchops.core.errors import DataError

REFRESH, REPLICAS = "refresh_interval", "number_of_replicas"
_UNITS = {"nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Settings = Mapping[str, str | None]
"""Settings of an index as the node gives them: texts, None for one that is not set."""


@dataclass(frozen=True, slots=True)
class Record:
    """``index`` is the concrete one. ``relaxed`` is what a load has set, ``before`` what stood there."""

    index: str
    before: Settings
    relaxed: Settings

    def to_json(self) -> bytes:
        return json.dumps({"format": 1, "index": self.index, "before": dict(self.before), "relaxed": dict(self.relaxed)}).encode()

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Self:
        """:raises DataError: it is none of ours"""
        try:
            values = json.loads(content)
            return cls(str(values["index"]), dict(values["before"]), dict(values["relaxed"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{where}: expected the settings that an index had before a load, found something else: set them by hand, then "
                "delete the object"
            ) from error


@dataclass(frozen=True, slots=True)
class Changed:
    """What was set, and what was left because somebody else has changed it meanwhile."""

    index: str
    settings: Settings = field(default_factory=dict)
    left: Settings = field(default_factory=dict)


def plan_relaxing(
    current: Settings, record: Record | None, wish: Settings
) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """What stood there before any load, and what to set; neither holds a setting that is as loose as is wished.

    :param record: of an earlier load whose settings were not put back
    """
    before: dict[str, str | None] = {}
    relaxed: dict[str, str | None] = {}
    for name, wanted in wish.items():
        found = current.get(name)
        known = record is not None and name in record.relaxed and record.relaxed[name] == found
        if not known and not _looser(name, wanted, found):
            continue
        before[name] = record.before.get(name) if known and record is not None else found
        relaxed[name] = wanted if _looser(name, wanted, found) else found
    return before, relaxed


def _looser(name: str, wanted: str | None, found: str | None) -> bool:
    if wanted is None:
        return False
    if name == REPLICAS:
        return found is None or int(wanted) < int(found)
    return seconds(wanted) > seconds(found or "1s")


def seconds(interval: str) -> float:
    """
    :raises DataError: no interval as OpenSearch has it
    """
    match = re.fullmatch(r"(-1)|(\d+)(nanos|micros|ms|s|m|h|d)", interval.strip())
    if match is None:
        raise DataError(f"{REFRESH}: expected an interval such as 30s, or -1 for none, found {interval!r}")
    return float("inf") if match[1] else int(match[2]) * _UNITS[match[3]]


class RelaxedSettings:
    """Of one index, by the alias or name that its writers use."""

    def __init__(self, client: Any, bucket: Bucket, index: str) -> None:
        self._client = client
        self._bucket = bucket
        self._index = index
        self._key = places.relaxed_key(index)

    def relax(self, *, refresh_interval: str | None, replicas: int | None) -> Changed:
        """Make the index refresh less often, or have fewer replicas. Never the other way round, and safe to repeat.

        Replicas are left alone where the cluster sets their number itself (``auto_expand_replicas``).
        """
        wish: dict[str, str | None] = {REFRESH: refresh_interval} if refresh_interval else {}
        record = self._record()
        target = read_target(self._client, self._index)
        if record is not None and record.index != target.concrete:  # the alias was moved since
            self.restore()
            record = None
        if replicas is not None and str(target.settings.get("auto_expand_replicas", "false")) == "false":
            wish[REPLICAS] = str(replicas)
        before, relaxed = plan_relaxing(target.settings, record, wish)
        kept = record or Record(target.concrete, {}, {})
        whole = Record(target.concrete, {**kept.before, **before}, {**kept.relaxed, **relaxed})
        if not whole.relaxed:
            return Changed(target.concrete)
        self._bucket.put(self._key, whole.to_json())
        to_set = {name: value for name, value in relaxed.items() if target.settings.get(name) != value}
        self._set(target.concrete, to_set)
        return Changed(target.concrete, to_set)

    def is_relaxed(self) -> bool:
        """Whether a load has relaxed settings that were not put back."""
        return self._record() is not None

    def restore(self) -> Changed:
        """Put back what stood there before, and show what was written. Nothing to do where nothing was relaxed."""
        record = self._record()
        if record is None:
            return Changed(self._index)
        found = find(self._client, path(record.index, "_settings"))
        if found is None:  # the index is gone, and its settings with it
            self._bucket.delete(self._key)
            return Changed(record.index)
        current = found[record.index]["settings"]["index"]
        to_set = {name: value for name, value in record.before.items() if current.get(name) == record.relaxed.get(name)}
        left = {name: current.get(name) for name in record.before if name not in to_set}
        self._set(record.index, to_set)
        self._bucket.delete(self._key)
        ask(self._client, "POST", path(record.index, "_refresh"))
        return Changed(record.index, to_set, left)

    def _record(self) -> Record | None:
        content = self._bucket.get(self._key)
        return None if content is None else Record.from_json(content, f"s3://{self._bucket.name}/{self._key}")

    def _set(self, concrete: str, settings: Settings) -> None:
        if settings:
            ask(self._client, "PUT", path(concrete, "_settings"), body={"index": dict(settings)})

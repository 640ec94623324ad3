"""What an association does to the real OpenSearch node.

The files of packages are ``config/analyzers/<PackageID>``. When a version becomes ACTIVE the service makes it live only in indexes all of
whose uses of the file are search analyzers with ``updateable`` filters, through ``_plugins/_refresh_search_analyzers`` (developer guide,
custom packages); elsewhere the index has to be closed and opened, or its documents indexed again, by its owner.

**Differs from AWS**: that API belongs to a plugin that this node does not have, so an index is reloaded by close and open, where AWS
closes nothing. Close and open reads *every* file of the index. Each other file therefore gets back, for that moment, the bytes that the
index opened last, and then its newest ones again. The refresh of the real plugin rebuilds the whole analyzer of an updateable filter, its
tokenizer included (OpenSearch source, MapperService.reloadSearchAnalyzers), so on AWS a synonym refresh may also bring in a changed user
dictionary there [unknown]; here it never does. Another index that its owner opens within that moment reads the old bytes.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

UPDATEABLE_FILTERS = frozenset({"synonym", "synonym_graph", "keyword_marker"})
FOLDER = "analyzers"


@dataclass(frozen=True, slots=True)
class Use:
    """One component of an index's analysis that reads the file of a package."""

    package_id: str
    group: str
    component: str
    updateable: bool


def uses(analysis: Mapping[str, Any]) -> list[Use]:
    """The uses of packages in the ``index.analysis`` settings of an index.

    ``updateable`` as in the OpenSearch source: filters of type synonym, synonym_graph and keyword_marker take it, others ignore it.
    The engine itself refuses an updateable filter in an index analyzer, so such a use is in search analyzers only.
    """
    found: list[Use] = []
    for group in ("tokenizer", "filter", "char_filter"):
        for name, settings in analysis.get(group, {}).items():
            updateable = (
                group == "filter"
                and settings.get("type") in UPDATEABLE_FILTERS
                and str(settings.get("updateable", False)).lower() == "true"
            )
            paths = (value for value in settings.values() if isinstance(value, str) and value.startswith(f"{FOLDER}/"))
            found += [Use(path.removeprefix(f"{FOLDER}/"), group, name, updateable) for path in paths]
    return found


class Shelf:
    """The files of packages in the node's folder, with what each held at any time since this process has known it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._past: dict[str, list[tuple[float, bytes | None]]] = {}

    def current(self, package_id: str) -> bytes | None:
        return self._history(package_id)[-1][1]

    def at(self, package_id: str, moment: float) -> bytes | None:
        """What the file held at a moment (epoch seconds), None when it was not there."""
        history = self._history(package_id)
        return history[max(0, bisect.bisect_right(history, moment, key=lambda entry: entry[0]) - 1)][1]

    def put(self, package_id: str, content: bytes) -> None:
        """Replace a file in one step; readable by the user of the node, whoever runs this process."""
        history = self._history(package_id)
        part = self._folder / f".{package_id}.part"
        part.write_bytes(content)
        part.chmod(0o644)
        os.replace(part, self._folder / package_id)
        history.append((_milliseconds(), content))

    def delete(self, package_id: str) -> None:
        history = self._history(package_id)
        (self._folder / package_id).unlink(missing_ok=True)
        history.append((_milliseconds(), None))

    def _history(self, package_id: str) -> list[tuple[float, bytes | None]]:
        if package_id not in self._past:
            path = self._folder / package_id
            self._past[package_id] = [(0.0, path.read_bytes() if path.exists() else None)]
        return self._past[package_id]


def _milliseconds() -> float:
    """Now, cut to the millisecond in which the node tells when a shard was opened."""
    return int(time.time() * 1000) / 1000


class OpenSearchEffects:
    """Acts on one node, one change at a time.

    Which bytes an index has is not something that the node tells. But it tells when each primary shard was opened
    (``_recovery``, ``start_time_in_millis``: set at creation and at every open, by whomever), and what a file held then is known.
    """

    def __init__(self, url: str, folder: Path, *, timeout_seconds: float = 30.0) -> None:
        self._url = url
        self._shelf = Shelf(folder)
        self._timeout = timeout_seconds
        self._lock = threading.Lock()

    def users(self, package_id: str) -> list[str]:
        """Names of the indexes, closed ones included, that use a package."""
        return sorted(index for index, found in self._uses().items() if any(use.package_id == package_id for use in found))

    def remove(self, package_id: str) -> None:
        with self._lock:
            self._shelf.delete(package_id)

    def install(self, package_id: str, content: bytes, *, reload: bool) -> None:
        """Write the file, then reload the indexes that the service reloads, unless told not to."""
        with self._lock:
            self._shelf.put(package_id, content)
            if not reload:
                return
            for index, found in sorted(self._uses().items()):
                own = [use for use in found if use.package_id == package_id]
                if own and all(use.updateable for use in own):
                    others = {use.package_id for use in found} - {package_id}
                    self._reload_if_there(index, package_id, others)

    def _reload_if_there(self, index: str, package_id: str, others: set[str]) -> None:
        """Its owner may delete an index at any time."""
        try:
            self._reload(index, package_id, others)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != 404:
                raise

    def _reload(self, index: str, package_id: str, others: set[str]) -> None:
        opened_at = self._opened_at(index)
        if opened_at is None:
            return  # closed: whoever opens it reads the new bytes
        before = self._shelf.at(package_id, opened_at)
        if before == self._shelf.current(package_id):
            return
        with self._put_back(others, opened_at):
            self._call("POST", f"/{index}/_close")
            try:
                self._open(index)
            except requests.HTTPError as error:
                self._keep_old(index, package_id, before, error)

    @contextlib.contextmanager
    def _put_back(self, package_ids: set[str], moment: float) -> Iterator[None]:
        """For a while the files hold what they held at a moment."""
        newest: dict[str, bytes] = {}
        try:
            for id in sorted(package_ids):
                then, now = self._shelf.at(id, moment), self._shelf.current(id)
                if then is not None and now is not None and then != now:
                    newest[id] = now
                    self._shelf.put(id, then)
            yield
        finally:
            for id, content in newest.items():
                self._shelf.put(id, content)

    def _keep_old(self, index: str, package_id: str, before: bytes | None, error: requests.HTTPError) -> None:
        """The engine refuses the new file: the index goes on with the old one, as after a refresh that failed [unknown on AWS]."""
        print(
            f"packages: {index} refuses {package_id}, its old content stays live: {error}",
            file=sys.stderr,
            flush=True,
        )
        newest = self._shelf.current(package_id)
        if before is None or newest is None:
            raise error
        self._shelf.put(package_id, before)
        try:
            self._open(index)
        finally:
            self._shelf.put(package_id, newest)

    def _open(self, index: str) -> None:
        self._call("POST", f"/{index}/_open")
        self._wait_for_yellow(index)

    def _wait_for_yellow(self, index: str) -> None:
        """HTTP 408 when it takes too long, as the engine says it."""
        self._call("GET", f"/_cluster/health/{index}?wait_for_status=yellow&timeout={self._timeout:.0f}s")

    def _uses(self) -> dict[str, list[Use]]:
        answer = self._call("GET", "/_all/_settings/index.analysis.*?expand_wildcards=all")
        return {index: uses(body["settings"].get("index", {}).get("analysis", {})) for index, body in answer.items()}

    def _opened_at(self, index: str) -> float | None:
        """When the index was opened or created, in epoch seconds; None when it is closed."""
        rows = self._call("GET", f"/_cat/indices/{index}?format=json&expand_wildcards=all&h=status")
        if [row["status"] for row in rows] != ["open"]:
            return None
        self._wait_for_yellow(index)
        shards = self._call("GET", f"/{index}/_recovery")[index]["shards"]
        return float(min(shard["start_time_in_millis"] for shard in shards if shard["primary"])) / 1000

    def _call(self, method: str, path: str) -> Any:
        response = requests.request(method, self._url + path, timeout=self._timeout + 10)
        if not response.ok:
            raise requests.HTTPError(f"{method} {path}: HTTP {response.status_code}: {response.text[:500]}", response=response)
        return response.json()

"""What a dictionary sync asks of a domain's data plane."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from searchops.core.errors import DataError, SearchOpsError, TransientError, reasons_of

# An inline dictionary of 100,000 lines is built anew for each request, in about a second.
TEXTS_A_REQUEST = 500
POSITION_GAP = 100  # between two texts of one _analyze request; offsets have a gap of 1

Token = tuple[str, int, int]  # term, position from the first token of its text, position length
Definitions = Mapping[str, Mapping[str, Any]]

_DEFINITION = (
    "*.aliases,*.mappings,*.settings.index.analysis,*.settings.index.verified_before_close,*.settings.index.number_of_replicas"
)
# The reopening record in _meta.searchops: while it is there, the index was closed by us and has to be opened by us.
REOPENING = "reopening"


class Refused(DataError):
    """The engine does not build the analyzer."""


@dataclass(frozen=True, slots=True)
class Reopened:
    """What closing and opening an index took."""

    index: str
    seconds_closed: float
    health: str


class Node:
    """The data plane of one domain, through an opensearch-py client."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.calls = 0

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        self.calls += 1
        try:
            return self.client.transport.perform_request(method, path, **arguments)
        except Exception as error:
            raise _classified(error, f"{method} {path}") from error

    def definitions(self) -> Definitions:
        """Settings, mappings and aliases of all indexes of the domain, closed and hidden ones too."""
        return self._call("GET", "/*", params={"expand_wildcards": "all", "filter_path": _DEFINITION}) or {}

    def data_nodes(self) -> int:
        return int(self._call("GET", "/_cluster/health", params={"filter_path": "number_of_data_nodes"})["number_of_data_nodes"])

    def analyze(self, index: str | None, body: Mapping[str, Any], texts: Sequence[str]) -> list[tuple[Token, ...]]:
        """The tokens of each text.

        :param body: ``{"analyzer": name}`` for the live analyzer, or an inline one
        :raises Refused: the engine can not build the inline analyzer
        """
        path = _path(index, "_analyze") if index else "/_analyze"
        found: list[tuple[Token, ...]] = []
        for start in range(0, len(texts), TEXTS_A_REQUEST):
            found += self._analyze(path, body, texts[start : start + TEXTS_A_REQUEST])
        return found

    def _analyze(self, path: str, body: Mapping[str, Any], texts: Sequence[str]) -> list[tuple[Token, ...]]:
        try:
            answer = self._call("POST", path, body={**body, "text": list(texts)})
        except Refused as refused:
            # index.analyze.max_token_count: 10,000 tokens a request unless the index says otherwise.
            if len(texts) == 1 or "exceeded the allowed maximum" not in refused.reason:
                raise
            middle = len(texts) // 2
            return self._analyze(path, body, texts[:middle]) + self._analyze(path, body, texts[middle:])
        return split_tokens(texts, answer.get("tokens", []))

    def meta(self, index: str) -> dict[str, Any]:
        answer = self._call("GET", _path(index, "_mapping"), params={"expand_wildcards": "all"})
        return dict(answer[index]["mappings"].get("_meta") or {})

    def record(self, index: str, dictionary: str, **values: Any) -> None:
        """Keep what is known of a dictionary on an index in ``_meta.searchops.dictionaries``."""

        def change(searchops: dict[str, Any]) -> None:
            dictionaries = searchops.setdefault("dictionaries", {})
            dictionaries[dictionary] = {**dictionaries.get(dictionary, {}), **values}

        self._change_searchops_meta(index, change)

    def _change_searchops_meta(self, index: str, change: Callable[[dict[str, Any]], None]) -> None:
        """PUT _mapping replaces all of ``_meta``, hence read, change, write, read back. Works on a closed index too."""
        meta = self.meta(index)
        wanted = deepcopy(meta.get("searchops") or {})
        change(wanted)
        self._call("PUT", _path(index, "_mapping"), body={"_meta": {**meta, "searchops": wanted}})
        if self.meta(index).get("searchops") != wanted:
            raise TransientError(
                f"_meta.searchops of index {index}: expected what was just written, found other content: somebody else writes it too"
            )

    def health(self, index: str) -> str:
        return str(
            self._call("GET", _path("_cluster", "health", index), params={"filter_path": "status", "level": "cluster"})["status"]
        )

    def reopen(self, index: str, *, by: str, timeout_seconds: float = 120) -> Reopened:
        """Close and open an index so that it reads its files anew.

        While it is closed every search and write to it fails. A record in ``_meta`` says who closed it, so that whoever comes after a kill opens it.
        Waits until the index is as healthy as it was.
        """
        before = self.health(index)
        closing = {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        self._change_searchops_meta(index, lambda searchops: searchops.update({REOPENING: closing}))
        closed_at = time.monotonic()
        try:
            self._call("POST", _path(index, "_close"), params=_within(60))
        finally:
            health = self.open(index, wanted_health=before, timeout_seconds=timeout_seconds)
        return Reopened(index, time.monotonic() - closed_at, health)

    def open(self, index: str, *, wanted_health: str = "yellow", timeout_seconds: float = 120) -> str:
        """Open an index and wait until it is as healthy as wanted; red is never accepted. Safe to repeat.

        :raises SearchOpsError: the index does not open or stays unhealthy
        """
        wanted_health = "yellow" if wanted_health == "red" else wanted_health
        try:
            self._call("POST", _path(index, "_open"), params=_within(60))
        except Refused as refused:
            raise Refused(
                f"index {index} is closed and the engine does not open it: {refused.reason}; publish and associate content that it builds "
                "with the settings of this index, then run the DAG again: it opens what it closed",
                reason=refused.reason,
            ) from refused
        params = {"wait_for_status": wanted_health, **_within(timeout_seconds)}
        try:
            answer = self._call("GET", _path("_cluster", "health", index), params=params)
        except TransientError as error:
            raise TransientError(
                f"index {index} was opened and is not {wanted_health} after {timeout_seconds:.0f} s: look at GET /_cluster/allocation/explain",
                reason=error.reason,
            ) from error
        self._change_searchops_meta(index, lambda searchops: searchops.pop(REOPENING, None))
        return str(answer["status"])


def _path(*parts: str) -> str:
    """A path whose parts are names: an index may be called ``%2a``, which must not be read as all indexes."""
    return "".join("/" + quote(part, safe="") for part in parts)


def _within(seconds: float) -> dict[str, Any]:
    """The engine's own time-out for a request, and the client's, which opensearch-py takes out of the parameters, a little above it."""
    return {"timeout": f"{seconds:.0f}s", "request_timeout": seconds + 10}


def is_closed(definition: Mapping[str, Any]) -> bool:
    return str(definition.get("settings", {}).get("index", {}).get("verified_before_close", "false")).lower() == "true"


def split_tokens(texts: Sequence[str], tokens: Sequence[Mapping[str, Any]]) -> list[tuple[Token, ...]]:
    """Give each text of one request its own tokens; the engine answers them in one list with running offsets in UTF-16 units."""
    found: list[list[Mapping[str, Any]]] = [[] for _ in texts]
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text.encode("utf-16-le")) // 2 + 1)
    number = 0
    for token in sorted(tokens, key=lambda token: token["start_offset"]):
        while token["start_offset"] >= starts[number + 1]:
            number += 1
        found[number].append(token)
    return [_relative(group) for group in found]


def _relative(tokens: Sequence[Mapping[str, Any]]) -> tuple[Token, ...]:
    first = min((token["position"] for token in tokens), default=0)
    return tuple(sorted((token["token"], token["position"] - first, token.get("positionLength", 1)) for token in tokens))


def _classified(error: Exception, what: str) -> SearchOpsError:
    status = getattr(error, "status_code", None)
    reason = reasons_of(getattr(error, "info", None)) or str(error)
    # A closed or missing index may be open, or replaced, at the next look.
    if (
        not isinstance(status, int)
        or status in (404, 408, 429, 502, 503, 504)
        or "index_closed_exception" in str(getattr(error, "error", ""))
    ):
        return TransientError(f"{what}: not answered ({status}): {reason}", reason=reason)
    if status == 413:
        return DataError(
            f"{what}: too large for one request of this domain (its instance type limits it): {reason}", reason=reason
        )
    if status in (401, 403):
        return DataError(
            f"{what}: the domain refused our credentials ({status}): {reason}; check the connection of opensearch_conn_id "
            "and the domain's role mapping",
            reason=reason,
        )
    return Refused(f"{what}: {reason}", reason=reason)

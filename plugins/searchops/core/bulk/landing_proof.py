"""Prove on the domain itself that what comes through the landing index keeps its id, its version and its routing."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from searchops.core.bulk.landing import LANDING_INDEX, PROBE_PREFIX
from searchops.core.bulk.node import ask, find, path
from searchops.core.bulk.scheme import ALIVE, FIELD, PROPERTIES
from searchops.core.errors import DataError, TransientError

log = logging.getLogger(__name__)

STALE_SECONDS = 3600.0
"""A probe index that is older was left by a run that was killed: a proof takes seconds."""
_PASSING = (429, 502, 503, 504)


def prove_landing(client: Any, *, now: Callable[[], float] = time.time) -> tuple[str, ...]:
    """Write through the landing index as Firehose does, into a probe index of its own that is removed afterwards.

    Firehose's own role is not proved by this: the requests are signed by the client's credentials.

    :return: what was proved
    :raises DataError: the domain did otherwise
    :raises TransientError: the domain had no time for it
    """
    remove_stale_probes(client, now())
    with _probe_index(client) as probe:
        first = [
            _envelope(probe, "newer", 2, {"n": 2}),
            _envelope(probe, "routed", 1, {"n": 1}, routing="elsewhere"),
            _envelope(probe, "deleted", 1, {"n": 1}),
            _envelope(f"no-{probe}", "stranger", 1, {"n": 1}),
        ]
        tombstone = {FIELD: {"deleted": True, "deleted_at": int(now() * 1000)}}
        second = [_envelope(probe, "newer", 1, {"n": 1}), _envelope(probe, "deleted", 2, tombstone)]
        _expect("documents with their ids and versions", [201, 201, 201, 400], _write(client, probe, first, "1"))
        _expect("an older version, then a tombstone", [409, 200], _write(client, probe, second, "2"))
        ask(client, "POST", path(probe, "_refresh"))
        _expect("version and content of the document", (2, {"n": 2}), _found(client, probe, "newer"))
        _expect("routing of the document", "elsewhere", _document(client, probe, "routed", "elsewhere").get("_routing"))
        _expect("documents that a search finds", 2, ask(client, "GET", path(probe, "_count"))["count"])
        _expect("version of the tombstone", 2, _document(client, probe, "deleted").get("_version"))
    return (
        "version 2, then version 1: the older one was refused (409)",
        "id and routing were kept",
        "a tombstone is hidden by the filter of the alias",
        "an index that is not listed was refused",
    )


def remove_stale_probes(client: Any, now: float) -> list[str]:
    """Remove what killed runs have left."""
    found = find(client, f"/{PROBE_PREFIX}*/_settings") or {}
    stale = [name for name, body in found.items() if now - int(body["settings"]["index"]["creation_date"]) / 1000 > STALE_SECONDS]
    for name in stale:
        log.warning("Removing the probe index %s, which a killed run has left", name)
        ask(client, "DELETE", path(name), params={"ignore_unavailable": "true"})
    return stale


@contextmanager
def _probe_index(client: Any) -> Iterator[str]:
    alias = f"{PROBE_PREFIX}{secrets.token_hex(6)}"
    index = f"{alias}-1"
    body = {
        "settings": {"index": {"number_of_shards": 1}},
        "mappings": {"dynamic": "strict", "properties": {"n": {"type": "long"}, **PROPERTIES}},
        "aliases": {alias: {"filter": ALIVE, "is_write_index": True}},
    }
    ask(client, "PUT", path(index), body=body)
    try:
        yield alias
    finally:
        # What the proof met goes before; the next one removes what stays.
        with contextlib.suppress(Exception):
            client.transport.perform_request("DELETE", path(index))


def _envelope(index: str, id: str, version: int, source: Mapping[str, Any], routing: str | None = None) -> dict[str, Any]:
    return {
        "index": index,
        "id": id,
        **({"routing": routing} if routing else {}),
        "version": version,
        "source": source,
    }


def _write(client: Any, probe: str, envelopes: Sequence[Mapping[str, Any]], request: str) -> list[int]:
    """As Firehose does: ids of its own, the landing index, no version."""
    lines: list[Mapping[str, Any]] = []
    for number, envelope in enumerate(envelopes):
        lines += [{"index": {"_index": LANDING_INDEX, "_id": f"{probe}-{request}-{number}"}}, envelope]
    body = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    answer = ask(client, "POST", "/_bulk", body=body)
    statuses = [int(item["index"]["status"]) for item in answer["items"]]
    if passing := [status for status in statuses if status in _PASSING]:
        raise TransientError(f"{LANDING_INDEX}: the domain has no time for the proof (status {passing[0]})")
    return statuses


def _document(client: Any, probe: str, id: str, routing: str | None = None) -> Mapping[str, Any]:
    place = path(probe, "_doc", id) + (f"?routing={routing}" if routing else "")
    return find(client, place) or {}


def _found(client: Any, probe: str, id: str) -> tuple[Any, Any]:
    document = _document(client, probe, id)
    return document.get("_version"), document.get("_source")


def _expect(what: str, expected: Any, found: Any) -> None:
    if expected != found:
        raise DataError(
            f"{LANDING_INDEX}: {what} through the landing index: expected {expected}, found {found}: nothing can be handed over to this "
            "domain by Firehose; look for ingest pipelines, index templates or plugins of the domain that reach into every index"
        )

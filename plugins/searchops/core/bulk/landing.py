"""The landing index: where Firehose writes, and from where a pipeline moves each document to its index.

Firehose chooses the ids of what it writes, knows no versions, and writes one index a stream. So it writes envelopes
(`searchops.core.bulk.envelope`) to the landing index of the domain, whose default pipeline sets index, id, routing and external version
from them. Measured on 3.8: nothing stays in the landing index; the target's final pipeline runs by itself, its default pipeline does not
and is called here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from searchops.core.bulk.node import ask, find, path
from searchops.core.bulk.target import read_target
from searchops.core.errors import DataError, TransientError

LANDING_INDEX = "searchops-overflow"
PIPELINE = "searchops-overflow"
PROBE_PREFIX = "searchops-probe-"
"""Indexes of `searchops.core.bulk.landing_proof`, which the pipeline always writes to: allowing one for the moment would change the
pipeline beside whoever installs it, and stay behind after a kill."""
DESCRIPTION = "searchops: moves what Firehose hands over to its index. Written by the DAG searchops_setup; do not edit."
# The metadata comes last, and a document may not bring it: it would lead past the list of targets.
SCRIPT = """\
if (!(ctx.index instanceof String) || !(params.targets.contains(ctx.index) || ctx.index.startsWith(params.probes))) {
  throw new IllegalArgumentException('searchops: no index that takes hand-overs: ' + ctx.index);
}
if (!(ctx.id instanceof String)) { throw new IllegalArgumentException('searchops: id is no text'); }
if (!(ctx.version instanceof Integer || ctx.version instanceof Long) || ctx.version < 0) {
  throw new IllegalArgumentException('searchops: version is no whole number from 0 to 2^63-1');
}
if (ctx.routing != null && !(ctx.routing instanceof String)) { throw new IllegalArgumentException('searchops: routing is no text'); }
if (!(ctx.source instanceof Map)) { throw new IllegalArgumentException('searchops: source is no object'); }
for (def name : params.metadata) {
  if (ctx.source.containsKey(name)) { throw new IllegalArgumentException('searchops: the document has a field ' + name); }
}
def index = ctx.remove('index');
def id = ctx.remove('id');
def version = ctx.remove('version');
def routing = ctx.remove('routing');
ctx.putAll(ctx.remove('source'));
ctx._index = index;
ctx._id = id;
ctx._routing = routing;
ctx._version = (long) version;
ctx._version_type = 'external';
"""
METADATA = ("_index", "_id", "_routing", "_version", "_version_type", "_if_seq_no", "_if_primary_term", "_op_type", "_ingest")
INDEX_BODY: Mapping[str, Any] = {
    "settings": {"index": {"number_of_shards": 1, "default_pipeline": PIPELINE}},
    # An envelope that passes the pipeline by is refused, and comes to Firehose's failures, instead of staying here unseen.
    "mappings": {"dynamic": "strict"},
}


@dataclass(frozen=True, slots=True)
class LandingPlan:
    """What the landing index of a domain lacks.

    :param targets: every index that it is to lead to, with the target's own default pipeline
    :param pipeline: its body, where it has to be written
    :param index: ``create``, ``settings`` or nothing
    :param left: documents that stand in the landing index; they came while it had no pipeline
    """

    targets: Mapping[str, str | None]
    pipeline: Mapping[str, Any] | None
    index: str | None
    left: int
    changes: tuple[str, ...]


def pipeline_body(targets: Mapping[str, str | None]) -> dict[str, Any]:
    """
    :param targets: names that envelopes may have, each with the default pipeline that its index has, if any
    """
    script = {"source": SCRIPT, "params": {"targets": sorted(targets), "probes": PROBE_PREFIX, "metadata": list(METADATA)}}
    own = [
        {"pipeline": {"name": pipeline, "if": f"ctx._index == {_painless(name)}", "tag": name}}
        for name, pipeline in sorted(targets.items())
        if pipeline
    ]
    return {"description": DESCRIPTION, "processors": [{"script": script}, *own]}


def _painless(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def targets_of(pipeline: Mapping[str, Any]) -> dict[str, str | None]:
    """The targets of a pipeline that `pipeline_body` made, of this version or an older one.

    :raises DataError: it is somebody else's
    """
    processors = pipeline.get("processors") or [{}]
    try:
        names = processors[0]["script"]["params"]["targets"]
        own = {entry["pipeline"]["tag"]: entry["pipeline"]["name"] for entry in processors[1:]}
    except (KeyError, TypeError) as error:
        raise DataError(
            f"the ingest pipeline {PIPELINE}: expected the one that searchops writes, found another "
            f"({pipeline.get('description') or 'without a description'}): rename it, or delete it if nothing uses it"
        ) from error
    return {name: own.get(name) for name in names}


def plan_landing(client: Any, index: str, siblings: Sequence[str] = ()) -> LandingPlan:
    """What is missing so that hand-overs reach an index. Indexes that were allowed before stay.

    :param siblings: the other indexes of the domain that hand over. The pipeline is replaced as a whole and the node does not compare
        before it writes: of two tasks that install it at once, each writes the targets of both
    :raises DataError: the index is missing, or the pipeline is somebody else's
    """
    current = (find(client, path("_ingest", "pipeline", PIPELINE)) or {}).get(PIPELINE)
    before = targets_of(current) if current else {}
    targets = {**before, **_targets(client, siblings), index: read_target(client, index).default_pipeline}
    body = pipeline_body(targets)
    added = [name for name in sorted(targets) if name not in before or before[name] != targets[name]]
    changes = []
    if current is None:
        changes.append(f"make the ingest pipeline {PIPELINE} for {', '.join(added)}")
    elif current != body:
        changes.append(f"bring the ingest pipeline {PIPELINE} up to date{': ' + ', '.join(added) if added else ''}")
    step, left = _index_step(client)
    if step:
        changes.append(
            {"create": f"make the index {LANDING_INDEX}"}.get(step, f"correct pipeline and mapping of the index {LANDING_INDEX}")
        )
    return LandingPlan(targets, body if current != body else None, step, left, tuple(changes))


def _targets(client: Any, names: Sequence[str]) -> dict[str, str | None]:
    """A sibling that is not there, or not as it has to be, is told by its own task."""
    found = {}
    for name in names:
        with contextlib.suppress(DataError):
            found[name] = read_target(client, name).default_pipeline
    return found


def _index_step(client: Any) -> tuple[str | None, int]:
    found = find(client, path(LANDING_INDEX))
    if not found:
        return "create", 0
    if LANDING_INDEX not in found:
        raise DataError(f"{LANDING_INDEX}: expected an index, found an alias of {', '.join(found)}: remove the alias")
    body = found[LANDING_INDEX]
    # Not _count: an index that somebody else has only just made has no shard that could.
    counted = ask(client, "GET", path(LANDING_INDEX, "_stats", "docs"))["_all"]["primaries"]
    left = int(counted.get("docs", {}).get("count", 0))
    right = body["settings"]["index"].get("default_pipeline") == PIPELINE and body["mappings"].get("dynamic") == "strict"
    return (None if right else "settings"), left


def install_landing(client: Any, index: str, siblings: Sequence[str] = ()) -> LandingPlan:
    """Make what is missing and look again. Safe to repeat, and for several at once.

    :return: what was missing
    """
    plan = plan_landing(client, index, siblings)
    if plan.pipeline:  # before the index: without it, an envelope would be refused
        ask(client, "PUT", path("_ingest", "pipeline", PIPELINE), body=plan.pipeline)
    if plan.index == "create":
        _create(client)
    elif plan.index:
        ask(client, "PUT", path(LANDING_INDEX, "_settings"), body={"index": {"default_pipeline": PIPELINE}})
        ask(client, "PUT", path(LANDING_INDEX, "_mapping"), body=INDEX_BODY["mappings"])
    if left := plan_landing(client, index, siblings).changes:
        raise TransientError(f"{LANDING_INDEX}: not there yet, or changed by somebody else: {'; '.join(left)}")
    return plan


def _create(client: Any) -> None:
    try:
        ask(client, "PUT", path(LANDING_INDEX), body=INDEX_BODY)
    except DataError as error:
        if "already exists" not in error.reason:  # somebody else was faster
            raise

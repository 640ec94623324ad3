"""Where a document can end: what the caller of each helper learns, against what the index holds, when requests fail.

Every way to fail is ordered from a proxy before a real node, and every caller works in a process of its own, which is ended when it does
not come back. What a caller *learns* of a document: indexed, or not indexed; what it is not told it does not know. 1,200 documents with
ids and external versions, 100 a request, for all callers; what happens to which request is the same for all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bulk.callers import BULK, CALLERS, HERE, PARALLEL, STREAMING, Call, Learned
from benchmarks.environment import client_of
from local.cloud import ROOT, Cloud
from local.results import Measure
from local.simulators.node_faults.control import FaultControl
from local.simulators.node_faults.faults import Fault, Kind

DOCUMENTS, CHUNK = 1_200, 100
LIMIT_SECONDS = 20.0
"""A caller that takes longer has not come back; the others need less than a tenth of it on a machine at rest."""
BUCKET = "bench"
FIGURES = ROOT / "build" / "bench" / "ends_table.json"
SETTINGS = {"number_of_shards": 2, "number_of_replicas": 0}
MAPPINGS = {
    "_meta": {"searchops": {"scheme": {"version": "attribute", "attribute": "version", "deletes": "tombstone"}}},
    "dynamic": "strict",
    "properties": {"n": {"type": "long"}, "text": {"type": "text"}},
}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to fail.

    :param faults: of the proxy
    :param options: of the helpers, beside their defaults
    :param bad: what is put into the document in the middle of the input: ``id``, ``surrogate``, ``type`` or nothing
    :param own_ids: False lets the node make the ids, which is not possible here
    :param documents: how many are sent
    :param client: of opensearch-py, beside its defaults; for all callers
    """

    name: str
    faults: Sequence[Fault] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    bad: str = ""
    own_ids: bool = True
    documents: int = DOCUMENTS
    client: Mapping[str, Any] = field(default_factory=dict)


_SOME = Fault(Kind.ITEM_429, after=2, share=0.1)
_RETRIES = {"max_retries": 3, "initial_backoff": 0.1}
_TELLING = {"raise_on_error": False}
WAYS: Sequence[Way] = (
    Way("10 of 1,200 documents get a 429, once", [_SOME]),
    Way("the same, with `max_retries=3`", [_SOME], _RETRIES),
    Way("the same, with `max_retries=3, raise_on_error=False`", [_SOME], {**_RETRIES, **_TELLING}),
    Way("a whole request gets a 429, once", [Fault(Kind.STATUS_429, after=2)]),
    Way("429 for every document, as long as anybody tries", [Fault(Kind.ITEM_429, times=None, share=1.0)]),
    Way("the same, with `raise_on_error=False`", [Fault(Kind.ITEM_429, times=None, share=1.0)], _TELLING),
    Way("the connection is lost after the node has indexed", [Fault(Kind.RESET_AFTER, after=2)]),
    Way("the same, ids made by the node", [Fault(Kind.RESET_AFTER, after=2)], own_ids=False),
    Way("502 after the node has indexed", [Fault(Kind.LATE_502, after=2)]),
    Way("no answer in time, the node has indexed", [Fault(Kind.TIMEOUT, after=2, seconds=6)], client={"timeout": 2}),
    Way("the answer lacks half of its items", [Fault(Kind.SHORT, after=2)]),
    Way("requests over 20 kB get a 413", [Fault(Kind.STATUS_413, times=None, min_bytes=20_000)], {"chunk_size": 1_000}),
    Way("one document has an id of 600 bytes", bad="id"),
    Way("one document holds half a surrogate pair", bad="surrogate"),
    Way("one document does not fit the mapping", bad="type"),
    Way("10 of 5,000 documents get a 429, once", [_SOME], documents=5_000),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a caller learned against what the index holds. The first three are documents of which it knows the truth.

    :param indexed: in the index, and the caller knows
    :param refused: not in the index, and the caller knows; it has to keep them itself
    :param kept: not in the index, but durable elsewhere and on a manifest
    :param lost: not in the index, and nothing was said of them
    :param unknown: in the index, and nothing was said of them
    :param wrong: told as not indexed although they are, or the other way round
    :param twice: in the index more than once
    :param raised: what the caller was left with; "" for nothing
    :param hangs: it did not come back
    """

    indexed: int = 0
    refused: int = 0
    kept: int = 0
    lost: int = 0
    unknown: int = 0
    wrong: int = 0
    twice: int = 0
    raised: str = ""
    hangs: bool = False

    @property
    def untrue(self) -> int:
        """Documents of which the caller does not know the truth."""
        return self.lost + self.unknown + self.wrong + self.twice

    @property
    def is_true(self) -> bool:
        return not (self.untrue or self.hangs)


def judge(learned: Learned, stored: Mapping[str, int], sent: Sequence[str]) -> Outcome:
    """
    :param stored: how often the index holds each document, by the name that it was sent under
    """
    ends = Counter(_end(learned.told.get(name), name in stored, name in learned.kept) for name in sent)
    twice = sum(count > 1 for count in stored.values())
    return Outcome(**ends, twice=twice, raised=learned.raised, hangs=learned.hangs)


def _end(told: bool | None, there: bool, kept: bool) -> str:
    if told is None:
        return "unknown" if there else "lost"
    if not told and kept:
        return "kept"
    if told != there:
        return "wrong"
    return "indexed" if there else "refused"


def measure(directory: Path, ways: Sequence[Way] = WAYS) -> list[Measure]:
    """One sample each: what happens here is no matter of time."""
    import boto3
    from opensearchpy import OpenSearch

    FIGURES.unlink(missing_ok=True)  # figures of an earlier run must not pass for those of this one
    with Cloud(directory, services=("opensearch", "aws", "proxy")) as cloud, client_of(cloud):
        s3: Any = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
        node = OpenSearch(cloud.endpoints["opensearch"], timeout=60)
        bench = Bench(node, FaultControl(cloud.endpoints["proxy"]), BUCKET)
        found = {way.name: bench.outcomes(way) for way in ways}
    write(FIGURES, ways, found)
    return figures(found)


class Bench:
    """A node behind a proxy, and a bucket for what is handed over."""

    def __init__(self, node: Any, proxy: FaultControl, bucket: str) -> None:
        self._node = node
        self._proxy = proxy
        self._bucket = bucket
        self._runs = 0

    def outcomes(self, way: Way) -> dict[str, Outcome]:
        return {caller: self.outcome(way, caller) for caller in CALLERS if way.own_ids or caller != HERE}

    def outcome(self, way: Way, caller: str) -> Outcome:
        self._runs += 1
        index = f"ends-{self._runs}"
        self._node.indices.create(index=index, body={"settings": SETTINGS, "mappings": MAPPINGS})
        self._proxy.clear()
        for fault in way.faults:
            self._proxy.order(fault)
        call = Call(
            caller,
            self._proxy.url,
            index,
            way.documents,
            dict(way.options),
            way.bad,
            way.own_ids,
            BUCKET,
            dict(way.client),
            CHUNK,
        )
        learned = run(call)
        self._proxy.clear()
        stored = self._stored(index, way.documents)
        self._node.indices.delete(index=index)
        return judge(learned, stored, [str(number) for number in range(way.documents)])

    def _stored(self, index: str, most: int) -> dict[str, int]:
        """By ``n``, which every document has; the ids may be the node's."""
        self._node.indices.refresh(index=index)
        body = {"size": 0, "aggs": {"n": {"terms": {"field": "n", "size": 2 * most}}}}
        buckets = self._node.search(index=index, body=body)["aggregations"]["n"]["buckets"]
        return {str(bucket["key"]): int(bucket["doc_count"]) for bucket in buckets}


def run(call: Call) -> Learned:
    """Let a process of its own call, and end it when it does not come back."""
    command = [sys.executable, "-m", "benchmarks.bulk.callers"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, error = process.communicate(json.dumps(asdict(call)), timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Learned(hangs=True)
    if process.returncode:
        raise RuntimeError(
            f"{call.caller}: expected the caller to end by itself, found exit code {process.returncode}: {error[-3000:]}"
        )
    return Learned(**json.loads(out.splitlines()[-1]))


def figures(found: Mapping[str, Mapping[str, Outcome]], callers: Sequence[str] = CALLERS) -> list[Measure]:
    """Over all ways: of how many documents each caller does not know the truth."""
    measures = []
    for caller in callers:
        outcomes = [by[caller] for by in found.values() if caller in by]
        goal = "== 0" if caller == HERE else None
        ways = sum(not outcome.is_true for outcome in outcomes)
        measures += [
            Measure(
                f"of {len(outcomes)} ways to fail, those after which a caller is not told the truth, {caller}",
                "ways",
                [ways],
                goal,
            ),
            Measure(
                f"documents of all ways of which the truth is not told, {caller}",
                "documents",
                [sum(o.untrue for o in outcomes)],
                goal,
            ),
        ]
    return measures


def write(path: Path, ways: Sequence[Way], found: Mapping[str, Mapping[str, Outcome]]) -> None:
    """Keep what the table in docs is made of."""
    rows = [
        {
            "way": way.name,
            "documents": way.documents,
            "outcomes": {caller: asdict(one) for caller, one in found[way.name].items()},
        }
        for way in ways
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


__all__ = ["BULK", "HERE", "PARALLEL", "STREAMING", "WAYS", "Bench", "Outcome", "Way", "judge", "measure"]

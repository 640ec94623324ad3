"""How long until 20,000 documents are all searchable on a node that refuses writes, and how much of them went there directly.

The node has a write pool of one thread with a queue of one. Somebody else writes to it at a fixed rate for the first 30 s, the same in every
arm. Ours tries for 5 s, then hands over to a Firehose stream in real time; a user of `streaming_bulk` sends what was refused again until
nothing is missing: at once, or after a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bulk import documents, foreign
from benchmarks.bulk.client import OURS
from benchmarks.bulk.documents import Document
from benchmarks.bulk.foreign import Load, Sent
from benchmarks.bulk.streams import make_stream
from benchmarks.environment import client_of
from local.cloud import Cloud
from local.results import Measure

ROUNDS = 9
DOCUMENTS = 20_000
PATIENCE_SECONDS = 5.0
NODE = {"thread_pool.write.size": 1, "thread_pool.write.queue_size": 1}
FOREIGN = (Load(requests_per_second=400, documents=50, shards=5), Load(requests_per_second=800, documents=50, shards=5))
"""Many small writers, such as stream consumers: 2,000 and 4,000 tasks a second for one thread."""
AT_ONCE, AFTER_A_SECOND = "streaming_bulk, repeated at once", "streaming_bulk, repeated after 1 s"
ARMS = (OURS, AT_ONCE, AFTER_A_SECOND)
INDEX, OTHERS, STREAM, BUCKET = "bench", "others", "bench-overflow", "bench"
DOMAIN_ARN = "arn:aws:es:ap-northeast-1:123456789012:domain/bench"
LONGEST_SECONDS = 300.0
GOAL, DIRECT_GOAL = "<= 0.5", ">= 0.5"


@dataclass(frozen=True, slots=True)
class Arm:
    """``direct``: share of the documents that the node took from the client itself, without a hand-over."""

    seconds: float
    direct: float
    foreign: Sent
    passes: int = 1


Round = Mapping[str, Arm]


def measure(directory: Path, rounds: int = ROUNDS, loads: Sequence[Load] = FOREIGN) -> list[Measure]:
    path = documents.file()
    step = documents.count(path) // DOCUMENTS
    given = list(documents.read(path, 0, step, DOCUMENTS))
    services = ("opensearch", "aws", "firehose", "packages")
    with Cloud(directory, services=services, speed=1, opensearch_settings=NODE) as cloud, client_of(cloud):
        bench = Bench(cloud, given)
        bench.furnish()
        bench.round(0, loads[0])  # a node and a client that have done nothing yet are slower: not counted
        return [each for load in loads for each in figures([bench.round(number, load) for number in range(rounds)], load)]


class Bench:
    """One node and one stream for all rounds; clients are made before the clock starts, in all arms."""

    def __init__(self, cloud: Cloud, given: Sequence[Document]) -> None:
        import boto3
        from botocore.config import Config
        from opensearchpy import OpenSearch

        from local.simulators.firehose.control import FirehoseControl
        from searchops.core.bulk.firehose import CLIENT, FirehoseLane

        self._url = cloud.endpoints["opensearch"]
        self._node: Any = OpenSearch(self._url, timeout=60)
        self._s3: Any = boto3.client("s3")
        self._stream = FirehoseControl(cloud.endpoints["firehose"])
        self._lane = FirehoseLane(boto3.client("firehose", config=Config(**CLIENT)), STREAM)
        self._given = given
        self._runs = 0

    def furnish(self) -> None:
        """Landing index and stream, as the DAG searchops_setup makes them; the least buffer that there is."""
        import boto3

        from searchops.core.bulk.landing import install_landing
        from searchops.core.bulk.stream import HandOverStream, Stream

        self._s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": self._s3.meta.region_name})
        self._empty(FOREIGN[0])
        install_landing(self._node, INDEX)
        stream = Stream(STREAM, INDEX, DOMAIN_ARN, BUCKET, buffer_mib=1, buffer_seconds=1)
        clients = {name: boto3.client(name) for name in ("firehose", "iam", "logs")}
        make_stream(HandOverStream(stream, **clients))

    def round(self, number: int, load: Load) -> Round:
        place = number % len(ARMS)
        return {arm: self._arm(arm, load) for arm in ARMS[place:] + ARMS[:place]}

    def _arm(self, name: str, load: Load) -> Arm:
        self._empty(load)
        arms: Mapping[str, Callable[[], tuple[float, int]]] = {
            OURS: self._ours,
            AT_ONCE: lambda: self._repeated(0.0),
            AFTER_A_SECOND: lambda: self._repeated(1.0),
        }
        with foreign.running(self._url, OTHERS, load) as others:
            began = time.monotonic()
            direct, passes = arms[name]()
            self._wait_until_searchable(began)
            seconds = time.monotonic() - began
        return Arm(seconds, direct, others.sent, passes)

    def _empty(self, load: Load) -> None:
        """New indexes on a node and a stream that are at rest."""
        if not self._stream.wait_until_empty(wait_seconds=LONGEST_SECONDS):
            raise RuntimeError(f"the stream still holds records after {LONGEST_SECONDS:.0f} s: {self._stream.streams()}")
        for index, shards in ((INDEX, 2), (OTHERS, load.shards)):
            self._node.indices.delete(index=index, ignore_unavailable=True)
            settings = {**documents.INDEX_BODY["settings"], "number_of_shards": shards, "refresh_interval": "1s"}
            mappings = documents.INDEX_BODY["mappings"] if index == INDEX else {"properties": {"words": {"type": "text"}}}
            self._node.indices.create(index=index, body={"settings": settings, "mappings": mappings})

    def _ours(self) -> tuple[float, int]:
        """Index with ledger, checkpoints and both lanes, then prove what was handed over."""
        from searchops.core.bulk import BulkIndexer, Deletes, Scheme, VersionScheme, index
        from searchops.core.bulk.lanes import HandOverLanes
        from searchops.core.bulk.stores import S3Checkpoints

        self._runs += 1
        place: Mapping[str, Any] = {"index": INDEX, "run": f"bench-{self._runs}", "input": "documents"}
        lanes = HandOverLanes(self._s3, BUCKET, **place, firehose=self._lane)
        scheme = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")
        operations = (index(document["id"], document, version=document["revision"]) for document in self._given)
        with BulkIndexer(self._node, INDEX, scheme, patience_seconds=PATIENCE_SECONDS, hand_over=lanes) as indexer:
            counts = indexer.run(operations, checkpoints=S3Checkpoints(self._s3, BUCKET, **place), input="documents")
        self._settle(place["run"], scheme)
        return counts.indexed / len(self._given), 1

    def _settle(self, run: str, scheme: Any) -> None:
        """Pass over the manifests until nothing of them is left."""
        from searchops.core.bulk.settle import Settler

        settler = Settler(self._node, self._s3, BUCKET, index=INDEX, scheme=scheme)
        end = time.monotonic() + LONGEST_SECONDS
        while not (found := settler.settle(run)).settled:
            if time.monotonic() > end or found.to_redrive:
                raise RuntimeError(f"not settled after {LONGEST_SECONDS:.0f} s, or by the stream alone: {found.facts}")
            time.sleep(0.2)

    def _repeated(self, pause_seconds: float) -> tuple[float, int]:
        """Send what was refused again; what the helper tells is enough to know which, as the ids are the caller's."""
        from opensearchpy import helpers

        missing, passes = list(self._given), 0
        while missing:
            passes += 1
            if passes > 1:
                time.sleep(pause_seconds)
            results = helpers.streaming_bulk(self._node, _actions(missing), raise_on_error=False, raise_on_exception=False)
            refused = {item["index"]["_id"] for ok, item in results if not ok and item["index"]["status"] != 409}
            missing = [document for document in missing if document["id"] in refused]
        return 1.0, passes

    def _wait_until_searchable(self, began: float) -> None:
        while True:
            self._node.indices.refresh(index=INDEX)
            count = self._node.count(index=INDEX)["count"]
            if count == len(self._given):
                return
            if time.monotonic() - began > LONGEST_SECONDS:
                raise RuntimeError(f"expected {len(self._given)} documents, found {count} after {LONGEST_SECONDS:.0f} s")
            time.sleep(0.1)


def _actions(given: Sequence[Document]) -> Iterator[Mapping[str, Any]]:
    for document in given:
        versions = {"version": document["revision"], "version_type": "external"}
        yield {"_index": INDEX, "_id": document["id"], **versions, "_source": document}


def figures(rounds: Sequence[Round], load: Load) -> list[Measure]:
    """Our seconds are compared with the better of the two others of the same round."""
    ratios = [one[OURS].seconds / min(one[AT_ONCE].seconds, one[AFTER_A_SECOND].seconds) for one in rounds]
    measures = [
        Measure(ratio_name(load), "ratio", ratios, GOAL),
        Measure(direct_name(load), "share", [one[OURS].direct for one in rounds], DIRECT_GOAL),
    ]
    for arm in ARMS:
        arms = [one[arm] for one in rounds]
        foreign_load = f"{arm}, others' {_rate(load)}"
        measures += [
            Measure(seconds_name(arm, load), "s", [one.seconds for one in arms]),
            Measure(f"{foreign_load}: requests reached", "1/s", [one.foreign.per_second for one in arms]),
            Measure(f"{foreign_load}: share refused with 429", "share", [one.foreign.refused_share for one in arms]),
            Measure(f"{foreign_load}: the latest request", "s", [one.foreign.late_seconds for one in arms]),
        ]
        if arm != OURS:
            measures.append(Measure(f"{foreign_load}: passes until nothing was missing", "passes", [one.passes for one in arms]))
    return measures


def ratio_name(load: Load) -> str:
    return f"until all are searchable and settled beside {_rate(load)}, {OURS} to the better of streaming_bulk"


def direct_name(load: Load) -> str:
    return f"documents indexed directly beside {_rate(load)}, {OURS}"


def seconds_name(arm: str, load: Load) -> str:
    return f"until all are searchable beside {_rate(load)}, {arm}"


def _rate(load: Load) -> str:
    return f"{load.requests_per_second:.0f} requests/s"

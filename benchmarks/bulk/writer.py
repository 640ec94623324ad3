"""How long the request path's function takes when the node takes nothing, beside when it takes everything.

The function is called in this process, its node is reached through the fault proxy. At 100 % each document of each request gets a 429, so all
of them go to Firehose and onto a manifest. `refresh` is off: with `wait_for`, the default, the time of the first kind would be that of the
index's refresh interval. Ten documents a request; the kinds take turns.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bulk import documents
from benchmarks.bulk.streams import make_stream
from benchmarks.environment import client_of
from local.cloud import Cloud
from local.demo.writer import load_handler
from local.results import Measure
from local.simulators.node_faults.control import FaultControl
from local.simulators.node_faults.faults import Fault, Kind

ROUNDS, CALLS, WARM_UP = 9, 200, 20
DOCUMENTS = 10
INDEX, STREAM, BUCKET = "bench", "bench-overflow", "bench"
DOMAIN_ARN = "arn:aws:es:ap-northeast-1:123456789012:domain/bench"
ALLOWED_MS = 50
TAKEN, REFUSED, PUT = "0 % 429", "100 % 429", "PutRecordBatch"
KINDS = (TAKEN, REFUSED, PUT)
GOAL_NAME = f"p99 of the handler at {REFUSED} less that at {TAKEN} and that of one {PUT}"


class Invocation:
    """What Lambda tells a function of one invocation."""

    aws_request_id = "bench"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@dataclass(frozen=True, slots=True)
class Round:
    """Milliseconds by kind."""

    ms: Mapping[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def p99(self, kind: str) -> float:
        return statistics.quantiles(self.ms[kind], n=100)[98]

    def over(self) -> float:
        return self.p99(REFUSED) - self.p99(TAKEN) - self.p99(PUT)


def measure(directory: Path, rounds: int = ROUNDS, calls: int = CALLS) -> list[Measure]:
    settings = {
        "SEARCHOPS_INDEX": INDEX,
        "SEARCHOPS_VERSION_SCHEME": "attribute",
        "SEARCHOPS_VERSION_ATTRIBUTE": "revision",
        "SEARCHOPS_DELETES": "tombstone",
        "SEARCHOPS_BUCKET": BUCKET,
        "SEARCHOPS_STREAM": STREAM,
        "SEARCHOPS_REFRESH": "false",
    }
    services = ("opensearch", "aws", "firehose", "proxy")
    with (
        Cloud(directory, services=services, speed=1) as cloud,
        client_of(cloud, SEARCHOPS_ENDPOINT=cloud.endpoints["proxy"], **settings),
    ):
        furnish(cloud)
        bench = Bench(cloud)
        bench.round(WARM_UP)
        return figures([bench.round(calls) for _ in range(rounds)])


def furnish(cloud: Cloud) -> None:
    """Index, landing index, bucket and stream, as the DAG searchops_setup makes them."""
    import boto3
    from opensearchpy import OpenSearch

    from searchops.core.bulk.landing import install_landing
    from searchops.core.bulk.scheme import PROPERTIES, Deletes, Scheme, VersionScheme
    from searchops.core.bulk.stream import HandOverStream, Stream

    node, s3 = OpenSearch(cloud.endpoints["opensearch"], timeout=60), boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    scheme = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")
    mappings = {
        **documents.INDEX_BODY["mappings"],
        "properties": {**documents.INDEX_BODY["mappings"]["properties"], **PROPERTIES},
        "_meta": {"searchops": {"scheme": scheme.to_meta()}},
    }
    node.indices.create(index=INDEX, body={"settings": documents.INDEX_BODY["settings"], "mappings": mappings})
    install_landing(node, INDEX)
    clients = {name: boto3.client(name) for name in ("firehose", "iam", "logs")}
    make_stream(HandOverStream(Stream(STREAM, INDEX, DOMAIN_ARN, BUCKET), **clients))


class Bench:
    """The function with its node behind the proxy, and a Firehose client of the same kind as its own."""

    def __init__(self, cloud: Cloud) -> None:
        import boto3
        from botocore.config import Config

        from searchops.core.bulk.firehose import CLIENT

        self._proxy = FaultControl(cloud.endpoints["proxy"])
        self._handler: Any = load_handler()
        self._firehose: Any = boto3.client("firehose", config=Config(**CLIENT))
        path = documents.file()
        self._given = list(documents.read(path, 0, documents.count(path) // 5_000))
        self._calls = 0

    def round(self, calls: int) -> Round:
        """The kinds in an order of chance, again and again, so that what the machine does meanwhile is felt by all."""
        found = Round()
        for _ in range(calls):
            for kind in random.sample(KINDS, len(KINDS)):
                found.ms[kind].append(self._timed(kind))
        return found

    def _timed(self, kind: str) -> float:
        self._proxy.clear()
        if kind == REFUSED:
            self._proxy.order(Fault(Kind.ITEM_429, times=None, share=1.0))
        given = self._next()
        if kind == PUT:
            return self._put(given)
        event = {"operations": [{"op": "index", "id": one["id"], "document": one} for one in given]}
        began = time.perf_counter()
        answer = self._handler.handler(event, Invocation())
        ms = (time.perf_counter() - began) * 1000
        expected = "indexed" if kind == TAKEN else "handed_over"
        if answer["counts"][expected] != len(given):
            raise RuntimeError(f"{kind}: expected {len(given)} {expected}, found {answer['counts']}")
        return ms

    def _put(self, given: Sequence[dict[str, Any]]) -> float:
        from searchops.core.bulk import envelope
        from searchops.core.bulk.encode import encode_source
        from searchops.core.bulk.model import HandedOver

        handed = [HandedOver(0, one["id"], encode_source(one), one["revision"]) for one in given]
        records = [{"Data": envelope.write(INDEX, document) + b"\n"} for document in handed]
        began = time.perf_counter()
        answer = self._firehose.put_record_batch(DeliveryStreamName=STREAM, Records=records)
        ms = (time.perf_counter() - began) * 1000
        if answer["FailedPutCount"]:
            raise RuntimeError(f"expected that the stream takes {len(records)} records, found {answer['FailedPutCount']} refused")
        return ms

    def _next(self) -> list[dict[str, Any]]:
        """Documents that the index has not, of ids that are new."""
        self._calls += 1
        first = self._calls * DOCUMENTS % (len(self._given) - DOCUMENTS)
        return [{**one, "id": f"{one['id']}-{self._calls}"} for one in self._given[first : first + DOCUMENTS]]


def figures(rounds: Sequence[Round]) -> list[Measure]:
    measures = [Measure(GOAL_NAME, "ms", [one.over() for one in rounds], f"<= {ALLOWED_MS}")]
    for kind in KINDS:
        name = kind if kind == PUT else f"the handler at {kind}"
        measures.append(Measure(f"p99 of {name}", "ms", [one.p99(kind) for one in rounds]))
        measures.append(Measure(f"median of {name}", "ms", [statistics.median(one.ms[kind]) for one in rounds]))
    return measures

"""What a run needs: an index, a bucket and a stream of its own, and proxies before everything that can fail."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import httpx
from opensearchpy import OpenSearch

from local.faults.documents import Scheme
from local.faults.place import REGION, Place, aws
from local.faults.scenario import Scenario
from local.simulators.firehose.api import application
from local.simulators.firehose.control import FirehoseControl
from local.simulators.firehose.effects import S3
from local.simulators.firehose.effects import OpenSearch as FirehoseNode
from local.simulators.firehose.service import FirehoseService
from local.simulators.firehose.settings import Settings
from local.simulators.http import Server
from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import EVERY_PATH
from searchops.core.bulk import scheme as schemes
from searchops.core.bulk.landing import LANDING_INDEX, install_landing
from searchops.core.bulk.stream import Stream, destination

SPEED = 600.0
"""A buffer of 60 s is delivered after 0.1 s, retries of two hours end after 12 s."""
_DOMAIN = f"arn:aws:es:{REGION}:123456789012:domain/search"
_SCHEMES = {
    Scheme.TOMBSTONES: schemes.Scheme(schemes.VersionScheme.ATTRIBUTE, schemes.Deletes.TOMBSTONE, attribute="revision"),
    Scheme.NEVER: schemes.Scheme(schemes.VersionScheme.ATTRIBUTE, schemes.Deletes.NEVER, attribute="revision"),
    Scheme.ONCE: schemes.Scheme(schemes.VersionScheme.ONCE, schemes.Deletes.NEVER),
    Scheme.SEQUENCE: schemes.Scheme(schemes.VersionScheme.SEQUENCE, schemes.Deletes.TOMBSTONE),
}


def scheme_of(scheme: Scheme) -> schemes.Scheme:
    return _SCHEMES[scheme]


def install(node_url: str, aliases: Iterable[str]) -> None:
    """Let the landing index of a node lead to the aliases of several worlds, which may then be used side by side."""
    with OpenSearch(node_url, timeout=60) as client:
        for alias in aliases:
            client.indices.create(index=f"{alias}-0", body={"aliases": {alias: {}}})
            install_landing(client, alias)


class World:
    """Proxies and a Firehose simulator in threads of this process, before a node and an S3 that others may share.

    :param alias: what the index of each run is called; one world an alias, after `install`
    """

    def __init__(self, node_url: str, s3_url: str, alias: str) -> None:
        self._true_node_url, self._true_s3_url, self._alias = node_url, s3_url, alias
        self.node = FaultProxy(node_url)
        self.delivery = FaultProxy(node_url)
        self.bucket = FaultProxy(s3_url)
        self._settings = Settings(speed=SPEED, creating_seconds=0, deleting_seconds=0, retry_first_seconds=20)
        self._service = FirehoseService(FirehoseNode(self.delivery.url), S3(s3_url), self._settings)
        self._server = Server(application(self._service))
        self.firehose = FirehoseControl(self._server.url)
        self._http = httpx.Client(base_url=node_url, trust_env=False, timeout=60)
        self._s3 = aws("s3", s3_url, attempts=3)
        self._streams = aws("firehose", self._server.url, attempts=3)
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        for proxy in (self.node, self.delivery, self.bucket):
            self._exits.enter_context(proxy)
        self._exits.enter_context(self._server)
        self._exits.callback(self._service.close)
        self._exits.callback(self.firehose.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.delete(f"/{self._alias}-*", params={"expand_wildcards": "all"})
        self._exits.close()
        self._http.close()

    def begin(self, scenario: Scenario, name: str) -> Place:
        """Make what the run needs, and let the faults begin.

        :param name: of the run, and of its bucket
        """
        self.calm()
        index, scheme = f"{self._alias}-{name}", scheme_of(scenario.scheme)
        self._ask("DELETE", f"/{self._alias}-*", params={"expand_wildcards": "all"})
        self._ask("PUT", f"/{index}", json=_index_body(self._alias, scheme))
        self._s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        stream = Stream(self._alias, self._alias, _DOMAIN, name, buffer_mib=1, buffer_seconds=60)
        self.firehose.reset()
        self.firehose.settings(speed=SPEED, creating_seconds=0, deleting_seconds=0)
        self._streams.create_delivery_stream(
            DeliveryStreamName=stream.name,
            AmazonopensearchserviceDestinationConfiguration=destination(stream, "arn:aws:iam::123456789012:role/firehose"),
        )
        self.disturb(scenario)
        return Place(
            self.node.url,
            self.bucket.url,
            self._server.url,
            self._true_node_url,
            self._true_s3_url,
            self._alias,
            index,
            name,
            f"run-{scenario.seed}",
        )

    def disturb(self, scenario: Scenario) -> None:
        """Let begin what the scenario says."""
        for order in scenario.orders:
            self.node.order(order)
        self.node.random(scenario.seed, scenario.node, seconds=0.2, paths=("_bulk", "_mget"))
        self.delivery.random(scenario.seed, scenario.delivery, seconds=0.1)
        self.bucket.random(scenario.seed, scenario.bucket, seconds=0.1, paths=(EVERY_PATH,))
        self.firehose.faults(*scenario.firehose)

    def happened(self) -> Counter[str]:
        """Every kind of fault that has struck since `begin`, by what was struck."""
        found: Counter[str] = Counter()
        for name, counts in (
            ("node", self.node.counts()),
            ("node, for Firehose", self.delivery.counts()),
            ("S3", self.bucket.counts()),
            ("Firehose", self.firehose.happened()),
        ):
            found.update({f"{name}: {kind}": count for kind, count in counts.items()})
        return found

    def calm(self) -> None:
        """End all faults."""
        for proxy in (self.node, self.delivery, self.bucket):
            proxy.clear()
        self.firehose.clear_faults()

    def reopen(self, place: Place, closed_seconds: float) -> None:
        """Close the index and open it again."""
        self._ask("POST", f"/{place.index}/_close")
        time.sleep(closed_seconds)
        self._ask("POST", f"/{place.index}/_open", params={"wait_for_active_shards": "1"})

    def deliver(self) -> None:
        """Let the stream come to the end of what it has."""
        if not self.firehose.flush(self._alias, wait_seconds=30):
            raise TimeoutError(f"the stream {self._alias} still holds records after 30 s")

    def quiet(self) -> None:
        """Wait until nothing is on its way to the node or to S3 any more."""
        for proxy in (self.node, self.bucket):
            proxy.release()
            proxy.wait_until_idle(30)
        self.deliver()

    def landed(self) -> int:
        """How many documents stand in the landing index, where none may stay."""
        self._ask("POST", f"/{LANDING_INDEX}/_refresh")
        return int(self._ask("GET", f"/{LANDING_INDEX}/_count")["count"])

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._http.request(method, path, **arguments)
        answer.raise_for_status()
        return answer.json()


def _index_body(alias: str, scheme: schemes.Scheme) -> dict[str, Any]:
    """As the setup leaves an index: fields, scheme, and an alias that hides tombstones."""
    fields = schemes.PROPERTIES if scheme.deletes is schemes.Deletes.TOMBSTONE else {}
    mappings: Mapping[str, Any] = {
        "_meta": {"searchops": {"scheme": scheme.to_meta()}},
        "dynamic": False,
        "properties": {"n": {"type": "integer"}, "word": {"type": "keyword"}, **fields},
    }
    settings = {"number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "-1"}
    return {"settings": settings, "mappings": mappings, "aliases": {alias: {"is_write_index": True, "filter": schemes.ALIVE}}}

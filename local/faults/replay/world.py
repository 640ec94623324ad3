"""What a run needs: a table with old items, its stream, the deployed consumer, its index, and an application that goes on writing."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from opensearchpy import OpenSearch

from local.demo.application import Application, writes
from local.demo.indexer import IndexerFunction
from local.faults.place import REGION, aws
from local.faults.replay.items import (
    DAY_INDEX,
    MARKER,
    Document,
    First,
    Scheme,
    attributes,
    first_items,
    older,
    plain,
    written_keys,
)
from local.faults.replay.place import Place
from local.faults.replay.scenario import Scenario
from local.simulators.dynamodb_faults.control import DynamoDBProxy
from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import EVERY_PATH
from local.simulators.streams.control import StreamsControl
from searchops.core.bulk import BulkIndexer
from searchops.core.bulk import scheme as schemes
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.redrive import Choice, Redrive
from searchops.core.bulk.settle import Settler
from searchops.core.idempotency.table import create_claims_table
from searchops.core.replay.arrivals import Arrivals
from searchops.core.replay.reconcile import Reconciler, Subject
from searchops.core.replay.table import read_table

CAUGHT_UP_SECONDS = 60.0
FUNCTION_SECONDS = 20
_DELIVERED = ("twice", "together", "kill_handler", "errors", "partial_failures")
_MOST_PUTS = 25
"""Of one BatchWriteItem: DynamoDB's own limit."""
_ID = "pk|sk"
_BY_ATTRIBUTE = schemes.Scheme(schemes.VersionScheme.ATTRIBUTE, schemes.Deletes.TOMBSTONE, attribute="revision", id=_ID)
_BY_SEQUENCE = schemes.Scheme(schemes.VersionScheme.SEQUENCE, schemes.Deletes.TOMBSTONE, id=_ID)


def scheme_of(scheme: Scheme) -> schemes.Scheme:
    return _BY_SEQUENCE if scheme.by_sequence else _BY_ATTRIBUTE


class World:
    """Proxies in threads of this process, before engines and simulators that others may share.

    :param endpoints: of a cloud, by service
    :param alias: what the index of each run is called; one world an alias
    """

    def __init__(self, endpoints: Mapping[str, str], alias: str) -> None:
        self._urls, self._alias = endpoints, alias
        self.dynamodb_faults = DynamoDBProxy(endpoints["dynamodb"])
        self.node_faults = FaultProxy(endpoints["opensearch"])
        self.bucket_faults = FaultProxy(endpoints["aws"])
        self._poller = StreamsControl(endpoints["streams"])
        self._dynamodb = aws("dynamodb", endpoints["dynamodb"], attempts=3, seconds=30)
        self._s3 = aws("s3", endpoints["aws"], attempts=3, seconds=30)
        self._node = OpenSearch(endpoints["opensearch"], timeout=60)
        self._http = httpx.Client(base_url=endpoints["opensearch"], trust_env=False, timeout=60)
        self._exits = ExitStack()
        self._function: IndexerFunction | None = None
        self._writing: Writing | None = None

    def __enter__(self) -> Self:
        for proxy in (self.dynamodb_faults, self.node_faults, self.bucket_faults):
            self._exits.enter_context(proxy)
        for connected in (self._poller, self._node, self._http):
            self._exits.callback(connected.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exits.close()

    def begin(self, scenario: Scenario, name: str, log: Path) -> Place:
        """Make what the run needs, and let faults and application begin.

        :param name: of the run; of its table, function and bucket
        :param log: of the application
        """
        now = int(time.time())
        first = first_items(scenario.seed, scenario.scheme, scenario.count, now, scenario.shards)
        place = self._place(name, self._create_table(name, first), now)
        self._create_index(place, scenario.scheme, first)
        create_claims_table(self._dynamodb, place.claims)
        self._s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        self._function = self._deploy(place, scenario)
        self._disturb(scenario, name)
        self._writing = Writing(self._dynamodb, place.table, scenario, first, log)
        self._writing.start()
        return place

    def end(self, place: Place) -> None:
        """Remove what costs memory; whatever has happened."""
        self.calm()
        self.stop_writing()
        if self._function is not None:
            self._function.delete()
            self._function = None
        self._dynamodb.update_table(TableName=place.claims, DeletionProtectionEnabled=False)
        for table in (place.table, place.claims):
            self._dynamodb.delete_table(TableName=table)
        self._http.delete(f"/{place.index}")

    # Faults

    def _disturb(self, scenario: Scenario, function: str) -> None:
        for order in scenario.orders:
            self.dynamodb_faults.order(order)
        self.dynamodb_faults.random(scenario.seed, scenario.dynamodb, operations=(), seconds=0.2, index=DAY_INDEX)
        self.bucket_faults.random(scenario.seed, scenario.bucket, seconds=0.1, paths=(EVERY_PATH,))
        self.node_faults.random(scenario.seed, scenario.node, seconds=0.2, paths=("_bulk",))
        for delivery in scenario.deliveries:
            order = getattr(self._poller, delivery.order)
            order(function, times=delivery.times, after=delivery.after, **delivery.options)

    def happened(self) -> Counter[str]:
        """Every kind of fault that has struck since the last `calm`, by what was struck; those of deliveries are told by `delivered`."""
        found: Counter[str] = Counter()
        for name, counts in (
            ("DynamoDB", self.dynamodb_faults.counts()),
            ("node", self.node_faults.counts()),
            ("S3", self.bucket_faults.counts()),
        ):
            found.update({f"{name}: {kind}": count for kind, count in counts.items()})
        return found

    def delivered(self, place: Place) -> Counter[str]:
        """Every kind of fault that deliveries have met, and how often handlers failed for it."""
        counts = self._poller.counts(place.table)
        return Counter({f"delivery: {kind}": counts[kind] for kind in _DELIVERED if counts[kind]})

    def calm(self) -> None:
        """End all faults but those that deliveries are still to meet."""
        for proxy in (self.dynamodb_faults, self.node_faults, self.bucket_faults):
            proxy.clear()

    def stop_writing(self) -> int:
        """End the application; how many writes it has done.

        :raises RuntimeError: it has failed
        """
        if self._writing is None:
            return 0
        writing, self._writing = self._writing, None
        return writing.stop()

    # The end of a run

    def come_to_rest(self, place: Place, scenario: Scenario) -> None:
        """Wait until what is on its way to the table is there and the consumer has read all; send again what was handed over.

        :raises TimeoutError: a shard is blocked
        """
        for proxy in (self.dynamodb_faults, self.bucket_faults):
            proxy.release()
            proxy.wait_until_idle(30)
        self._poller.wait_until_caught_up(place.table, wait_seconds=CAUGHT_UP_SECONDS)
        if lost := self._poller.counts(place.table)["discarded"]:
            raise TimeoutError(f"expected every record consumed, found {lost} that were given up")
        scheme = scheme_of(scenario.scheme)
        kept: dict[str, Any] = {"index": place.alias, "scheme": scheme}
        with BulkIndexer(self._node, place.alias, scheme, patience_seconds=10) as indexer:
            Redrive(indexer, self._s3, place.bucket, **kept).run(Choice())
        Settler(self._node, self._s3, place.bucket, **kept).settle()

    def arrivals(self, place: Place, scenario: Scenario, replay_id: str, began_at: float) -> Arrivals:
        """What the reconciliation of a replay says once all has come to rest: one look, and nothing is sent again."""
        facts = read_table(self._dynamodb, place.table)
        subject = Subject(
            replay_id=replay_id,
            table=facts,
            index=place.alias,
            scheme=scheme_of(scenario.scheme),
            id=("pk", "sk"),
            marker=MARKER,
            began_at=began_at,
            ttl_attribute=facts.ttl_attribute,
            adds_version=scenario.scheme.touches_raise_version,
        )
        bucket = Bucket(self._s3, place.bucket)
        return Reconciler(self._node, self._dynamodb, bucket, subject, grace_seconds=0).look().arrivals

    # What there is at the beginning

    def _place(self, name: str, stream: str, now: int) -> Place:
        return Place(
            self.dynamodb_faults.url,
            self.bucket_faults.url,
            self._urls["dynamodb"],
            self._urls["aws"],
            self._urls["opensearch"],
            name,
            stream,
            f"{name}-claims",
            name,
            self._alias,
            f"{self._alias}-{name}",
            now,
        )

    def _create_table(self, name: str, first: Mapping[str, First]) -> str:
        """The stream is on only when the items are there: it has no records of them."""
        self._dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "N"},
                {"AttributeName": "day", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
            GlobalSecondaryIndexes=[
                {
                    "IndexName": DAY_INDEX,
                    "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
        )
        puts = [{"PutRequest": {"Item": one.item}} for one in first.values()]
        for start in range(0, len(puts), _MOST_PUTS):
            answer = self._dynamodb.batch_write_item(RequestItems={name: puts[start : start + _MOST_PUTS]})
            if answer["UnprocessedItems"]:
                raise RuntimeError(
                    f"the table {name}: expected all items put, found {len(answer['UnprocessedItems'][name])} left"
                )
        ttl = {"Enabled": True, "AttributeName": "expires"}
        self._dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        made = self._dynamodb.update_table(TableName=name, StreamSpecification=stream)
        return str(made["TableDescription"]["LatestStreamArn"])

    def _create_index(self, place: Place, scheme: Scheme, first: Mapping[str, First]) -> None:
        mappings = {
            "_meta": {"searchops": {"scheme": scheme_of(scheme).to_meta()}},
            "dynamic": False,
            "properties": {"n": {"type": "integer"}, **schemes.PROPERTIES},
        }
        body = {
            "settings": {"number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "-1"},
            "mappings": mappings,
            "aliases": {place.alias: {"is_write_index": True, "filter": schemes.ALIVE}},
        }
        # What is left of a run that was interrupted has the alias.
        self._http.delete(f"/{place.alias}-*", params={"expand_wildcards": "all"}).raise_for_status()
        self._http.put(f"/{place.index}", json=body).raise_for_status()
        lines = "".join(f"{json.dumps(line)}\n" for line in _documents(scheme, first))
        answer = self._http.post(
            f"/{place.index}/_bulk", content=lines.encode(), headers={"Content-Type": "application/x-ndjson"}
        ).raise_for_status()
        if answer.json()["errors"]:
            raise RuntimeError(f"the documents of the beginning: {answer.text[:500]}")

    def _deploy(self, place: Place, scenario: Scenario) -> IndexerFunction:
        scheme = scheme_of(scenario.scheme)
        variables = {
            "SEARCHOPS_ENDPOINT": self.node_faults.url,
            "SEARCHOPS_INDEX": place.alias,
            "SEARCHOPS_ID": _ID,
            "SEARCHOPS_VERSION_SCHEME": scheme.version.value,
            "SEARCHOPS_VERSION_ATTRIBUTE": scheme.attribute,
            "SEARCHOPS_DELETES": scheme.deletes.value,
            "SEARCHOPS_BUCKET": place.bucket,
            "SEARCHOPS_MARKER": MARKER,
            "SEARCHOPS_TIMEOUT": "2",
        }
        function = IndexerFunction(self._client, name=place.table, environment=variables, timeout_seconds=FUNCTION_SECONDS)
        function.map(place.stream, BatchSize=50)
        return function

    def _client(self, service: str) -> Any:
        return _shared_client(service, self._urls["functions" if service == "lambda" else "aws"])


@cache
def _shared_client(service: str, url: str) -> Any:
    return aws(service, url, attempts=3, seconds=60)


def _documents(scheme: Scheme, first: Mapping[str, First]) -> Iterator[Mapping[str, Any]]:
    """What the index holds already, as lines of a bulk request."""
    for id, one in first.items():
        if one.document is Document.NONE:
            continue
        item = one.item if one.document is Document.SAME else older(one.item)
        if scheme.by_sequence:
            yield {"index": {"_id": id}}
            yield {**plain(item), schemes.FIELD: {"sequence": "0" * schemes.SEQUENCE_DIGITS}}
        else:
            yield {"index": {"_id": id, "version": int(item["revision"]["N"]), "version_type": "external"}}
            yield plain(item)


class Writing(threading.Thread):
    """The application at work, past all faults, until it is told to stop."""

    def __init__(self, dynamodb: Any, table: str, scenario: Scenario, first: Mapping[str, First], log: Path) -> None:
        super().__init__(name="application", daemon=True)
        self._dynamodb, self._table, self._scenario, self._log = dynamodb, table, scenario, log
        self._keys = written_keys(first, scenario.seed)
        self._stop_asked = threading.Event()
        self._failed: BaseException | None = None
        self._count = 0

    def run(self) -> None:
        try:
            self._write()
        except BaseException as error:
            self._failed = error

    def stop(self) -> int:
        self._stop_asked.set()
        self.join()
        if self._failed is not None:
            raise RuntimeError("the application has failed") from self._failed
        return self._count

    def _write(self) -> None:
        scenario, began = self._scenario, time.monotonic()
        with self._log.open("w", encoding="utf-8") as log:
            for write in writes(self._keys, scenario.seed):
                if self._stop_asked.wait(max(0.0, began + write.number / scenario.rate - time.monotonic())):
                    return
                given = attributes(int(write.key["sk"]["N"]), scenario.seed, scenario.shards, write=write.number)
                Application(self._dynamodb, self._table, log, given).send(write)
                self._count = write.number

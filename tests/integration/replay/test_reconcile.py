"""A replay of a real table is compared with a real index: what has arrived, what is late, what is missing and sent again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from botocore.config import Config
from opensearchpy import OpenSearch

from local.cloud import Cloud
from searchops.core.bulk import BulkIndexer, Deletes, Scheme, VersionScheme, delete, index
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.dynamodb_json import to_plain
from searchops.core.bulk.ids import document_id as id_of
from searchops.core.bulk.lanes import HandOverLanes
from searchops.core.bulk.model import HandedOver, Rejected
from searchops.core.bulk.scheme import PROPERTIES
from searchops.core.bulk.stores import RejectedObjects
from searchops.core.errors import DataError, TransientError
from searchops.core.idempotency.errors import InProgress
from searchops.core.idempotency.guard import Guard
from searchops.core.idempotency.table import create_claims_table
from searchops.core.replay.arrivals import Arrivals, Look
from searchops.core.replay.calls import CLIENT
from searchops.core.replay.model import Key, Outcome, Touched, Units
from searchops.core.replay.partiql import BatchTouch
from searchops.core.replay.reconcile import NotInIndex, OnTheWay, Reconciler, Subject, reconcile
from searchops.core.replay.selection import encoded
from searchops.core.replay.table import TableFacts, read_table
from searchops.core.replay.touch import Touch, replay_id_of
from searchops.core.replay.touched import TouchedPages
from searchops.core.replay.toucher import NAMESPACE, Toucher
from searchops.core.waiting import Cadence
from tests.conftest import aws_client
from tests.integration.replay.world import at

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision")
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE)
ONCE = Scheme(VersionScheme.ONCE, Deletes.NEVER)
OURS, LATER = replay_id_of(42), replay_id_of(43)
MARKER = "searchops_replay"
CLAIMS, BUCKET = "reconcile-claims", "reconciled-replays"
PAGE = 4
QUICK = Cadence(first_seconds=0.0, even_seconds=0.01, cap_seconds=0.01)
_numbers = itertools.count(1)


class Unpaced:
    def before(self, touches: int) -> None: ...

    def after(self, units: Units, *, touches: int = 1, throttled: str | None = None, written: int | None = None) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Clients:
    node: OpenSearch
    dynamodb: Any
    streams: Any
    s3: Any
    bucket: Bucket


class Place:
    """A table, an index that its stream feeds, and a bucket. The test is the consumer: nothing arrives by itself."""

    def __init__(self, clients: Clients, scheme: Scheme, *, adds_version: bool = False) -> None:
        self.name = f"reconciled-{next(_numbers)}"
        self.scheme, self.adds_version = scheme, adds_version
        self.node, self.dynamodb, self.streams = clients.node, clients.dynamodb, clients.streams
        self.s3, self.bucket = clients.s3, clients.bucket
        self.began_at = time.time() - 1
        self.lag: float | None = None
        self.sequences = itertools.count(10**24)
        self.facts = self._create()

    def _create(self) -> TableFacts:
        meta = {"searchops": {"scheme": self.scheme.to_meta()}}
        body = {
            "settings": {"number_of_shards": 2, "number_of_replicas": 0},
            "mappings": {"_meta": meta, "properties": {MARKER: {"type": "keyword"}, **PROPERTIES}},
            "aliases": {self.name: {}},
        }
        self.node.indices.create(index=f"{self.name}-1", body=body)
        self.dynamodb.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        return replace(read_table(self.dynamodb, self.name), ttl_attribute="expires")

    def close(self) -> None:
        self.node.indices.delete(index=f"{self.name}-1", ignore_unavailable=True)
        self.dynamodb.delete_table(TableName=self.name)

    # The application

    def put(self, numbers: Iterable[int], revision: int = 5, **attributes: Mapping[str, Any]) -> None:
        for number in numbers:
            item = {**key(number), "revision": {"N": str(revision)}, "name": {"S": f"名 {number}"}, **attributes}
            self.dynamodb.put_item(TableName=self.name, Item=item)

    def remove(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.dynamodb.delete_item(TableName=self.name, Key=key(number))

    # The replay

    def toucher(self) -> Toucher:
        return Toucher(
            client=self.dynamodb,
            facts=self.facts,
            marker=MARKER,
            guard=Guard(self.dynamodb, table=CLAIMS, namespace=NAMESPACE, lease=timedelta(seconds=60)),
            pace=Unpaced(),
            version_attribute="revision",
            adds_version=self.adds_version,
        )

    def touch(self, numbers: Iterable[int], replay_id: str = OURS, *, at_once: bool = False) -> None:
        """Touch items, and keep their keys in pages of four.

        :param at_once: in one batch
        """
        adds = {"version_attribute": "revision", "adds_version": self.adds_version}
        touch = Touch(self.dynamodb, self.facts, marker=MARKER, replay_id=replay_id, **adds)
        store = TouchedPages(self.bucket, self.name, replay_id)
        keys = [key(number) for number in numbers]
        touched: list[Any] = BatchTouch(self.dynamodb, self.facts, touch)(keys) if at_once else list(map(touch, keys))
        for page, first in enumerate(range(0, len(touched), PAGE)):
            store.keep("all", page, touched[first : first + PAGE])

    # The consumer

    def consume(self, numbers: Iterable[int]) -> None:
        """Index items as the table has them now, as the consumer does with their last records."""
        operations = []
        for number in numbers:
            item = self.dynamodb.get_item(TableName=self.name, Key=key(number), ConsistentRead=True).get("Item")
            sequence = str(next(self.sequences)) if self.scheme is SEQUENCE else None
            if item is None:
                version = 100 if self.scheme is ATTRIBUTE else None
                operations.append(delete(document_id(number), version=version, sequence=sequence))
            else:
                version = int(item["revision"]["N"]) if self.scheme is ATTRIBUTE else None
                source = orjson.dumps(to_plain(encoded(item)))
                operations.append(index(document_id(number), source, version=version, sequence=sequence))
        with BulkIndexer(self.node, self.name, self.scheme) as indexer:
            assert not indexer.write(operations).rejected

    # The reconciliation

    def subject(self, **changes: Any) -> Subject:
        values = {"replay_id": OURS, "table": self.facts, "index": self.name, "scheme": self.scheme, "id": ("pk", "sk")}
        more = {"marker": MARKER, "began_at": self.began_at, "ttl_attribute": "expires", "adds_version": self.adds_version}
        return Subject(**{**values, **more, **changes})

    def reconciler(self, *, again: Callable[..., list[Touched]] | None = None, grace: float = -10, **options: Any) -> Reconciler:
        """:param grace: below 0: what was touched just now can be missing"""
        subject = options.pop("subject", None) or self.subject()
        arguments = {"lag": lambda: self.lag, "again": again, "grace_seconds": grace, **options}
        return Reconciler(self.node, self.dynamodb, self.bucket, subject, **arguments)

    def look(self, **options: Any) -> Arrivals:
        return self.reconciler(**options).look().arrivals

    def missing_keys(self) -> int:
        return len(list(self.bucket.list(f"replays/{self.name}/{OURS}/missing/")))

    def records(self) -> list[tuple[str, str]]:
        """The stream's records that have changed a marker: number of the item and its marker, oldest first."""
        stream = self.facts.stream_arn
        found = []
        for shard in self.streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]:
            where = {"StreamArn": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
            iterator = self.streams.get_shard_iterator(**where)["ShardIterator"]
            while records := (answer := self.streams.get_records(ShardIterator=iterator))["Records"]:
                found += [record["dynamodb"] for record in records]
                iterator = answer.get("NextShardIterator")
                if not iterator:
                    break
        markers = [(image["Keys"]["sk"]["N"], _marker(image, "OldImage"), _marker(image, "NewImage")) for image in found]
        return [(number, after) for number, before, after in markers if after and before != after]


def _marker(image: Mapping[str, Any], which: str) -> str:
    return str(image.get(which, {}).get(MARKER, {}).get("S", ""))


def key(number: int) -> Key:
    return {"pk": {"S": "本|棚"}, "sk": {"N": str(number)}}


def document_id(number: int) -> str:
    return id_of(["本|棚", number])


def noted(number: int) -> Touched:
    return Touched(key(number), Outcome.TOUCHED, Units(1.0), 5)


MakePlace = Callable[..., Place]


@pytest.fixture(scope="module")
def clients(bulk_cloud: Cloud) -> Clients:
    node = OpenSearch(bulk_cloud.endpoints["opensearch"], max_retries=0, timeout=30)
    dynamodb = aws_client(bulk_cloud, "dynamodb", config=Config(**CLIENT))
    create_claims_table(dynamodb, CLAIMS)
    s3 = aws_client(bulk_cloud, "s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    return Clients(node, dynamodb, at(bulk_cloud.endpoints["dynamodb"], "dynamodbstreams"), s3, Bucket(s3, BUCKET))


@pytest.fixture
def make_place(clients: Clients) -> Iterator[MakePlace]:
    made: list[Place] = []

    def make(scheme: Scheme = ATTRIBUTE, **options: Any) -> Place:
        made.append(Place(clients, scheme, **options))
        return made[-1]

    yield make
    for place in made:
        place.close()


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    return make_place()


def test_nothing_is_short_once_the_consumer_has_caught_up(place: Place) -> None:
    place.put(range(10))
    place.touch(range(10))
    place.consume(range(10))

    assert reconcile(place.reconciler()) == Arrivals(arrived=10)
    assert place.missing_keys() == 0


@pytest.mark.parametrize("at_once", [False, True])
def test_an_equal_document_that_was_there_before_is_told_from_one_that_the_replay_has_mended(place: Place, at_once: bool) -> None:
    place.put(range(12))
    place.consume(range(7))
    place.touch(range(12), at_once=at_once)
    place.put([11], revision=6)
    place.consume(range(10))  # equal versions are not written again

    assert place.look() == Arrivals(arrived=3, already_there=7, missing=2)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_document_that_is_older_than_its_item_was_when_touched_is_missing(place: Place, at_once: bool) -> None:
    place.put(range(3), revision=4)
    place.consume(range(3))
    place.put(range(3), revision=5)
    place.touch(range(3), at_once=at_once)
    assert place.look() == Arrivals(missing=3)

    place.consume(range(3))

    assert place.look() == Arrivals(arrived=3)


def test_a_touch_that_raises_the_version_has_every_document_written_again(make_place: MakePlace) -> None:
    place = make_place(adds_version=True)
    place.put(range(5))
    place.consume(range(5))
    place.touch(range(5))
    assert place.look() == Arrivals(missing=5)

    place.consume(range(5))

    assert place.look() == Arrivals(arrived=5)


def test_what_the_application_has_written_since_counts_by_its_version(place: Place) -> None:
    place.put(range(4))
    place.touch(range(4))
    place.put([0, 1], revision=6)
    place.remove([2])
    place.consume(range(4))  # a newer document, a tombstone, and one of the touch

    assert place.look() == Arrivals(arrived=3, deleted=1)


def test_a_tombstone_that_hides_an_item_is_not_its_document(place: Place) -> None:
    """The application has begun anew with its versions, so the index takes the item that is there for older than its delete."""
    place.put(range(2))
    place.remove([0, 1])
    place.consume(range(2))
    place.put([0])
    place.touch(range(1))
    place.consume(range(1))

    assert place.look(grace=3600) == Arrivals(late=1)
    with pytest.raises(NotInIndex, match="1 of 1 touched items are not in the index"):
        reconcile(place.reconciler(), cadence=QUICK)


def test_items_that_are_deleted_or_expired_since_are_not_missed(place: Place) -> None:
    place.put(range(6))
    place.touch(range(6))
    place.remove([0, 1])
    place.put([2], expires={"N": str(int(time.time()) - 10)})
    place.put([3], expires={"N": str(int(time.time()) + 1000)})
    place.consume([5])

    assert place.look() == Arrivals(arrived=1, deleted=2, expired=1, missing=2)


def test_the_document_of_a_deleted_item_is_waited_for_until_it_goes(make_place: MakePlace) -> None:
    place = make_place(adds_version=True)
    place.put([0])
    place.consume([0])
    place.touch([0])
    place.remove([0])
    assert place.look() == Arrivals(late=1)

    place.consume([0])

    assert place.look() == Arrivals(deleted=1)


def test_what_the_consumer_can_not_have_read_is_late_and_then_missing(place: Place) -> None:
    place.put(range(8))
    place.touch(range(8))
    place.consume(range(4))
    place.lag = 3600.0

    assert place.look() == Arrivals(arrived=4, late=4)
    # Nor is the index asked for it as long as there is time.
    assert place.reconciler().look(patient=True).arrivals == Arrivals(late=8)
    place.lag = None
    assert place.look(grace=3600) == Arrivals(arrived=4, late=4)
    assert place.look() == Arrivals(arrived=4, missing=4)


def test_patience_ends_with_an_error_that_a_retry_may_mend(place: Place) -> None:
    place.put(range(3))
    place.touch(range(3))
    place.lag = 3600.0

    with pytest.raises(OnTheWay, match="3 of 3 touched items are still on their way") as told:
        reconcile(place.reconciler(), patience_seconds=0.05, cadence=QUICK)

    assert isinstance(told.value, TransientError)
    assert place.missing_keys() == 0


def test_what_is_late_is_waited_for(place: Place) -> None:
    place.put(range(9))
    place.touch(range(9))
    looks: list[Look] = []

    def consume_more(look: Look) -> None:
        looks.append(look)
        if len(looks) < 4:
            place.consume(range((len(looks) - 1) * 3, len(looks) * 3))

    arrivals = reconcile(place.reconciler(grace=3600), patience_seconds=60, cadence=QUICK, listener=consume_more)

    assert arrivals == Arrivals(arrived=9)
    assert [look.arrivals.late for look in looks] == [9, 6, 3, 0]


def test_what_is_missing_is_touched_again_and_makes_one_more_record(place: Place) -> None:
    place.put(range(10))
    place.touch(range(10))
    place.consume(range(7))
    toucher, sent = place.toucher(), []

    def again(keys: list[Key], id: str) -> list[Touched]:
        sent.append((sorted(int(key["sk"]["N"]) for key in keys), id))
        touched = toucher.again(keys, id)
        place.consume(sent[-1][0])
        return touched

    arrivals = reconcile(place.reconciler(again=again), cadence=QUICK)

    assert arrivals == Arrivals(arrived=10, again=3)
    assert sorted(sent) == [([7], f"{OURS}.01"), ([8, 9], f"{OURS}.01")]
    assert sorted(place.records()) == sorted(
        [(str(number), OURS) for number in range(10)] + [(str(number), f"{OURS}.01") for number in (7, 8, 9)]
    )
    assert place.missing_keys() == 0
    # A later task finds it so, too, and sends nothing.
    assert reconcile(place.reconciler(again=again)) == arrivals
    assert len(sent) == 2


def test_what_stays_missing_fails_and_says_where_the_keys_are(place: Place) -> None:
    place.put(range(30))
    place.touch(range(30))
    place.consume([0])
    rounds: list[str] = []

    def again(keys: list[Key], id: str) -> list[Touched]:
        rounds.append(id)
        return place.toucher().again(keys, id)

    with pytest.raises(NotInIndex, match="29 of 30 touched items are not in the index") as told:
        reconcile(place.reconciler(again=again), cadence=QUICK)

    error = told.value
    assert isinstance(error, DataError)
    assert sorted(set(rounds)) == [f"{OURS}.01", f"{OURS}.02"]
    assert f"s3://{BUCKET}/replays/{place.name}/{OURS}/missing/" in str(error)
    assert (len(error.keys), place.missing_keys()) == (20, 8)
    said = f"{error} {error.reason} {error.facts}"
    assert "本" not in said
    assert '"sk"' not in said
    # Two rounds are all that one replay has; a next task says the same at once.
    with pytest.raises(NotInIndex):
        reconcile(place.reconciler(again=again), cadence=QUICK)
    assert len(place.records()) == 30 + 2 * 29


def test_a_round_that_died_before_it_was_noted_is_ended_without_another_record(place: Place) -> None:
    place.put(range(3))
    place.touch(range(3))
    toucher = place.toucher()

    def dies(keys: list[Key], id: str) -> list[Touched]:
        toucher.again(keys, id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconcile(place.reconciler(again=dies), cadence=QUICK)

    def again(keys: list[Key], id: str) -> list[Touched]:
        touched = toucher.again(keys, id)
        place.consume(range(3))
        return touched

    assert reconcile(place.reconciler(again=again), cadence=QUICK) == Arrivals(arrived=3, again=3)
    assert len(place.records()) == 6


def test_what_a_later_replay_has_touched_is_not_touched_again(place: Place) -> None:
    place.put(range(3))
    place.touch(range(3))
    place.touch([1], LATER)

    with pytest.raises(NotInIndex):
        reconcile(place.reconciler(again=place.toucher().again, rounds=1), cadence=QUICK)

    assert [marker for number, marker in place.records() if number == "1"] == [OURS, LATER]
    place.consume(range(3))
    assert place.look() == Arrivals(arrived=3, again=3)


def test_nothing_is_touched_while_another_task_touches_the_table(place: Place) -> None:
    place.put([0])
    place.touch([0])
    toucher = place.toucher()

    with toucher.claimed(), pytest.raises(InProgress):
        reconcile(place.reconciler(again=place.toucher().again), cadence=QUICK)

    assert len(place.records()) == 1


def test_an_item_that_is_deleted_before_it_is_touched_again_is_deleted(place: Place) -> None:
    place.put(range(2))
    place.touch(range(2))

    def again(keys: list[Key], id: str) -> list[Touched]:
        place.remove([0])
        touched = place.toucher().again(keys, id)
        place.consume([1])
        return touched

    assert reconcile(place.reconciler(again=again), cadence=QUICK) == Arrivals(arrived=1, deleted=1, again=2)


def test_by_sequence_the_marker_shows_it_and_of_an_item_put_anew_its_content(make_place: MakePlace) -> None:
    place = make_place(SEQUENCE)
    place.put(range(7))
    place.consume(range(7))
    place.touch(range(7))
    place.put([4, 5, 6], price={"N": "1.10"}, image={"B": b"\x00\xff"})  # erases the marker
    place.consume([0, 1, 4, 5])
    place.put([5], price={"N": "1.20"})
    place.remove([6])
    assert place.look() == Arrivals(arrived=3, late=1, missing=3)

    def again(keys: list[Key], id: str) -> list[Touched]:
        touched = place.toucher().again(keys, id)
        place.consume([2, 3, 5])
        return touched

    place.consume([6])
    assert reconcile(place.reconciler(again=again), cadence=QUICK) == Arrivals(arrived=6, deleted=1, again=3)


def test_documents_that_never_change_have_to_be_there(make_place: MakePlace) -> None:
    place = make_place(ONCE)
    place.put(range(4))
    place.consume([0])
    place.touch(range(4))
    place.consume(range(3))

    assert place.look() == Arrivals(arrived=2, already_there=1, missing=1)


def test_what_the_consumer_has_handed_over_is_waited_for_and_not_touched_again(place: Place) -> None:
    place.put(range(3))
    place.touch(range(3))
    place.consume([0])
    lanes = HandOverLanes(place.s3, BUCKET, index=place.name, run="stream_indexer-2026-11-21", input="a", limit_seconds=1)
    lanes.hand_over(0, [HandedOver(number, document_id(number), b"{}", 5) for number in (1, 2)])

    with pytest.raises(OnTheWay, match="0 late, 2 handed over"):
        reconcile(place.reconciler(again=place.toucher().again), patience_seconds=0.05, cadence=QUICK)

    assert len(place.records()) == 3
    place.consume([1, 2])
    assert place.look() == Arrivals(arrived=3)


def test_what_the_consumer_has_set_aside_fails_and_is_not_touched_again(place: Place) -> None:
    place.put(range(4))
    place.touch(range(4))
    place.consume([0, 3])
    record = {"eventName": "MODIFY", "dynamodb": {"Keys": key(2)}}
    store = RejectedObjects(place.s3, BUCKET, index=place.name, run="stream_indexer-2026-11-21", input="a")
    rejected = Rejected(0, document_id(1), "mapper_parsing_exception", "no date", orjson.dumps({"dynamodb": {"Keys": key(1)}}))
    store.keep(0, [rejected, Rejected(1, "", "unreadable", "no version", orjson.dumps(record)), Rejected(2, "", "u", "r", b"?")])

    with pytest.raises(NotInIndex, match=r"2 of 4 touched items .* does not take them: .*rejected/.*stream_indexer-"):
        reconcile(place.reconciler(again=place.toucher().again), cadence=QUICK)

    assert place.look() == Arrivals(arrived=2, rejected=2)
    assert len(place.records()) == 4
    earlier = place.subject(began_at=time.time() + 3600)
    assert place.look(subject=earlier) == Arrivals(arrived=2, missing=2)


def test_a_closed_index_can_not_be_asked_now(place: Place) -> None:
    place.put([0])
    place.touch([0])
    place.consume([0])
    place.node.indices.close(index=f"{place.name}-1")

    with pytest.raises(TransientError):
        place.look()

    place.node.indices.open(index=f"{place.name}-1")
    place.node.cluster.health(index=f"{place.name}-1", wait_for_status="green")
    assert place.look() == Arrivals(arrived=1)


def test_an_index_that_is_gone_is_told(place: Place) -> None:
    place.put([0])
    place.touch([0])
    place.node.indices.delete(index=f"{place.name}-1")

    with pytest.raises(DataError, match=place.name):
        place.look()


def test_a_table_that_is_gone_is_told_only_when_it_has_to_be_asked(place: Place) -> None:
    place.put([0, 1])
    place.touch([0, 1])
    place.consume([0, 1])
    gone = place.subject(table=replace(place.facts, name="gone"))
    store = TouchedPages(place.bucket, "gone", OURS)
    store.keep("all", 0, [noted(number) for number in (0, 1)])
    assert place.look(subject=gone) == Arrivals(arrived=2)

    store.keep("all", 1, [noted(2)])
    with pytest.raises(DataError, match="table gone: expected it"):
        place.look(subject=gone)


def test_a_lag_that_can_not_be_asked_for_stays_what_it_was(place: Place) -> None:
    place.put([0])
    place.touch([0])
    told = [3600.0]

    def lag() -> float:
        if not told:
            raise TransientError("throttled")
        return told.pop()

    reconciler = place.reconciler(lag=lag)

    assert [reconciler.look().arrivals for _ in range(2)] == [Arrivals(late=1)] * 2


def test_nothing_is_missing_while_nobody_has_told_the_lag(place: Place) -> None:
    place.put(range(4))
    place.touch(range(4))
    place.consume(range(3))

    def lag() -> float:
        raise TransientError("no answer from AWS")

    for patient in (True, False):
        assert place.reconciler(lag=lag).look(patient=patient).arrivals == Arrivals(arrived=3, late=1)


def test_an_empty_replay_is_done_at_once(place: Place) -> None:
    assert reconcile(place.reconciler()) == Arrivals()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": ("name",)}, "ids that are made of keys of the table"),
        ({"id": ()}, "none of attributes"),
        ({"scheme": SEQUENCE, "marker_kept": False}, "add the field"),
    ],
)
def test_a_replay_whose_arrival_can_not_be_shown_is_refused(place: Place, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        place.subject(**changes)


def test_thousands_of_items_are_asked_for_in_a_few_requests(place: Place) -> None:
    """Items that DynamoDB has deleted since; the index has no document of them either."""
    store = TouchedPages(place.bucket, place.name, OURS)
    for page in range(2):
        store.keep("all", page, [noted(page * 1_000 + number) for number in range(1_000)])
    reconciler = place.reconciler()

    assert reconciler.look().arrivals == Arrivals(deleted=2_000)
    assert reconciler.look().arrivals == Arrivals(deleted=2_000)

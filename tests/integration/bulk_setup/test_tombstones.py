"""Tombstones are swept, on a real node and S3."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError

from local.cloud import Cloud
from searchops.core.bulk import places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.manifests import FIREHOSE, Entry, Manifest, Manifests
from searchops.core.bulk.model import Counts
from searchops.core.bulk.runs import Ledgers
from searchops.core.bulk.scheme import PROPERTIES, Deletes, Scheme, VersionScheme
from searchops.core.bulk.scheme_setup import write_scheme
from searchops.core.bulk.tombstones import DAY, Tombstones
from tests.conftest import aws_client
from tests.integration.bulk_setup.conftest import MakeIndex, write

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision", "pk")
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE, id="pk")
DAYS = 8
_numbers = itertools.count(1)


@pytest.fixture
def bucket(bulk_cloud: Cloud) -> Bucket:
    s3, name = aws_client(bulk_cloud, "s3"), f"sweep-{next(_numbers)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    return Bucket(s3, name)


def tombstone(id: str, version: int, *, days: float) -> dict[str, Any]:
    deleted_at = int((time.time() - days * DAY) * 1000)
    return {"id": id, "version": version, "searchops": {"deleted": True, "deleted_at": deleted_at}}


@pytest.fixture
def index(node: OpenSearch, make_index: MakeIndex) -> str:
    """Two old tombstones, a young one and a document."""
    name = make_index(mappings={"properties": PROPERTIES})
    write_scheme(node, name, ATTRIBUTE)
    write(node, name, [tombstone("old", 7, days=9), tombstone("older", 3, days=30), tombstone("young", 5, days=7)])
    write(node, name, [{"id": "alive", "version": 4, "revision": 4}])
    return name


Make = Callable[..., Tombstones]


@pytest.fixture
def sweeper(node: OpenSearch, bucket: Bucket, index: str) -> Make:
    def make(client: Any = node, scheme: Scheme = ATTRIBUTE, name: str = index, **options: Any) -> Tombstones:
        return Tombstones(client, bucket, name, scheme, days=DAYS, **{"replays": tuple, **options})

    return make


def ids(node: OpenSearch, index: str) -> set[str]:
    node.indices.refresh(index=index)
    return {hit["_id"] for hit in node.search(index=f"{index}-1", body={"size": 100})["hits"]["hits"]}


def test_old_tombstones_go_and_everything_else_stays(node: OpenSearch, index: str, sweeper: Make) -> None:
    looked = sweeper().sweep(time.time(), dry_run=True)
    assert (looked.found, looked.deleted) == (2, 0)
    assert ids(node, index) == {"old", "older", "young", "alive"}

    swept = sweeper().sweep(time.time())

    assert (swept.found, swept.deleted, swept.kept, swept.gone, swept.held_by) == (2, 2, 0, 0, ())
    assert ids(node, index) == {"young", "alive"}
    assert sweeper().sweep(time.time()).found == 0


def test_an_item_that_is_made_again_right_after_the_sweep_is_not_refused(node: OpenSearch, index: str, sweeper: Make) -> None:
    sweeper().sweep(time.time())

    write(node, index, [{"id": "old", "version": 8, "revision": 8}])

    assert node.get(index=index, id="old")["_version"] == 8


def test_several_pages_and_documents_with_a_routing(node: OpenSearch, index: str, sweeper: Make) -> None:
    for number in range(25):
        made = tombstone(f"routed-{number}", 1, days=20)
        node.index(
            index=index,
            id=made.pop("id"),
            body={"searchops": made["searchops"]},
            routing=f"r{number % 3}",
            version=1,
            version_type="external",
        )
    node.indices.refresh(index=index)

    swept = sweeper(page=4).sweep(time.time())

    assert (swept.found, swept.deleted) == (27, 27)
    assert ids(node, index) == {"young", "alive"}


class Meddling:
    """A client beside which somebody else writes just before a tombstone is removed."""

    def __init__(self, node: OpenSearch, write: Callable[[], Any]) -> None:
        self._node, self._write = node, write
        self.transport = SimpleNamespace(perform_request=self._perform)

    def _perform(self, method: str, path: str, **arguments: Any) -> Any:
        if path.endswith("/_bulk"):
            self._write()
        return self._node.transport.perform_request(method, path, **arguments)


def test_a_tombstone_that_is_written_anew_between_search_and_delete_is_kept(node: OpenSearch, index: str, sweeper: Make) -> None:
    again = [{"id": "old", "version": 8, "revision": 8}, tombstone("older", 4, days=0)]

    swept = sweeper(Meddling(node, lambda: write(node, index, again))).sweep(time.time())

    assert (swept.found, swept.deleted, swept.kept) == (2, 0, 2)
    assert node.get(index=index, id="old")["_source"] == {"revision": 8}
    assert node.get(index=index, id="older")["_version"] == 4


def test_two_sweeps_at_once_do_no_harm(node: OpenSearch, index: str, sweeper: Make) -> None:
    swept = sweeper(Meddling(node, lambda: sweeper().sweep(time.time()))).sweep(time.time())

    assert (swept.found, swept.deleted, swept.kept, swept.gone) == (2, 0, 0, 2)
    assert ids(node, index) == {"young", "alive"}


def test_under_the_scheme_sequence_a_tombstone_that_was_written_anew_is_kept_as_well(
    node: OpenSearch, make_index: MakeIndex, sweeper: Make
) -> None:
    name = make_index(mappings={"properties": PROPERTIES})
    write_scheme(node, name, SEQUENCE)
    for id in ("old", "again"):
        made = tombstone(id, 0, days=9)["searchops"]
        node.index(index=name, id=id, body={"searchops": {**made, "sequence": "7".zfill(40)}}, refresh=True)
    alive = {"searchops": {"sequence": "8".zfill(40)}}

    client = Meddling(node, lambda: node.index(index=name, id="again", body=alive, refresh=True))
    swept = sweeper(client, SEQUENCE, name).sweep(time.time())

    assert (swept.found, swept.deleted, swept.kept) == (2, 1, 1)
    assert ids(node, name) == {"again"}


def test_an_older_write_is_kept_out_until_the_sweep_and_not_after_it(node: OpenSearch, index: str, sweeper: Make) -> None:
    """Why nothing may be on its way: this is what the rules of the sweep prevent."""
    with pytest.raises(ConflictError):
        write(node, index, [{"id": "old", "version": 6, "revision": 6}])
    sweeper().sweep(time.time())
    node.indices.close(index=f"{index}-1")
    node.indices.open(index=f"{index}-1", wait_for_active_shards=1)

    write(node, index, [{"id": "old", "version": 6, "revision": 6}])

    assert node.get(index=index, id="old")["_version"] == 6


@pytest.mark.parametrize("prefix", [places.manifests_prefix, places.spool_prefix, places.firehose_failed_prefix])
def test_what_was_handed_over_keeps_the_tombstones_that_are_not_much_older(
    node: OpenSearch, bucket: Bucket, index: str, sweeper: Make, prefix: Callable[[str], str]
) -> None:
    bucket.put(f"{prefix(index)}run/object", b"")
    later = time.time() + 8 * DAY

    swept = sweeper().sweep(later)

    assert swept.cutoff < time.time() - 1.9 * DAY
    assert ids(node, index) == {"alive"}, "two days older than what was handed over"

    write(node, index, [tombstone("fresh", 9, days=1)])
    assert sweeper().sweep(later + 30 * DAY).found == 0
    bucket.delete(f"{prefix(index)}run/object")
    assert sweeper().sweep(later + 30 * DAY).deleted == 1


def test_a_load_keeps_every_tombstone_until_its_hand_overs_are_settled(
    node: OpenSearch, bucket: Bucket, index: str, sweeper: Make
) -> None:
    ledgers, now = Ledgers(bucket, index), time.time()
    ledgers.open("manual__1", {"input": "s3://example/items.ndjson"}, now - 8 * DAY)

    held = sweeper().sweep(now)

    assert (held.found, held.deleted) == (2, 0)
    assert held.held_by == ("load manual__1 is open",)
    assert held.forgotten == held.held_by, "for more than a week"

    manifest = Manifest(index, "manual__1", "input", 0, now, [Entry(0, "1", FIREHOSE, 1)])
    key = Manifests(bucket, index).write(manifest)
    ledgers.close("manual__1", {"input": Counts(accepted=1, handed_over=1)}, now)
    assert sweeper().sweep(now).held_by == ("load manual__1 has hand-overs that are not settled",)
    ledgers.settle("manual__1", now, going=key)
    bucket.delete(key)
    assert sweeper().sweep(now).deleted == 2


def test_a_load_that_begins_during_the_sweep_stops_it(node: OpenSearch, bucket: Bucket, index: str, sweeper: Make) -> None:
    ledgers = Ledgers(bucket, index)
    client = Meddling(node, lambda: ledgers.open("begun", {}, time.time()))

    swept = sweeper(client, page=1).sweep(time.time())

    assert (swept.deleted, swept.held_by, swept.forgotten) == (1, ("load begun is open",), ())


def test_a_replay_keeps_every_tombstone(index: str, sweeper: Make) -> None:
    held = sweeper(replays=lambda: ["replay 7 of the table items"]).sweep(time.time())

    assert (held.found, held.deleted, held.held_by) == (2, 0, ("replay 7 of the table items",))

from __future__ import annotations

import gzip
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk import envelope, places
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.effects import NotHandedOver
from searchops.core.bulk.firehose import FirehoseLane
from searchops.core.bulk.lanes import SPOOL_BYTES, HandOverLanes, SpoolLane, cut
from searchops.core.bulk.manifests import Manifest, Manifests
from searchops.core.bulk.model import HandedOver
from searchops.core.errors import TransientError
from tests.unit.core.bulk.small_firehose import SmallFirehose, refusal
from tests.unit.core.bulk.small_s3 import SmallS3

INDEX, RUN, INPUT = "products", "manual__2026-11-21T10:00:00+09:00", "0a1b"


def documents(count: int, first: int = 0) -> list[HandedOver]:
    return [HandedOver(place, f"id-{place}", b'{"n":%d}' % place, place + 1) for place in range(first, first + count)]


def lanes_of(s3: SmallS3, firehose: SmallFirehose | None = None, limit: float = 0) -> HandOverLanes:
    lane = FirehoseLane(firehose, "stream", clock=firehose.clock, sleep=firehose.clock.sleep) if firehose else None
    return HandOverLanes(
        s3.client, s3.bucket, index=INDEX, run=RUN, input=INPUT, firehose=lane, limit_seconds=limit, clock=lambda: 1_700_000_000.5
    )


def manifests_of(s3: SmallS3) -> list[Manifest]:
    kept = Manifests(Bucket(s3.client, s3.bucket), INDEX)
    return [manifest for key in kept.keys(RUN) if (manifest := kept.read(key))]


def spooled(s3: SmallS3) -> list[bytes]:
    return [line for key in s3.keys("spool/") for line in gzip.decompress(s3.get(key)).splitlines()]


def test_what_firehose_takes_is_on_the_manifest_and_not_in_the_spool(s3):
    firehose = SmallFirehose()

    assert lanes_of(s3, firehose).hand_over(7, documents(3)) == {"firehose": 3}

    (manifest,) = manifests_of(s3)
    assert (manifest.run, manifest.input, manifest.batch, manifest.written_at) == (RUN, INPUT, 7, 1_700_000_000.5)
    assert [(entry.position, entry.id, entry.version, entry.lane) for entry in manifest.entries] == [
        (0, "id-0", 1, "firehose"),
        (1, "id-1", 2, "firehose"),
        (2, "id-2", 3, "firehose"),
    ]
    assert [envelope.read(record).id for record in firehose.taken] == ["id-0", "id-1", "id-2"]
    assert s3.keys("spool/") == []


def test_what_firehose_does_not_take_goes_to_the_spool(s3):
    firehose = SmallFirehose()
    firehose.orders = [{1}]

    assert lanes_of(s3, firehose).hand_over(0, documents(3)) == {"firehose": 2, "spool": 1}

    (manifest,) = manifests_of(s3)
    (key,) = s3.keys("spool/")
    assert [(entry.lane, entry.spool) for entry in manifest.entries] == [("firehose", None), ("spool", key), ("firehose", None)]
    assert [envelope.read(line).id for line in spooled(s3)] == ["id-1"]


@pytest.mark.parametrize("error", [refusal("ResourceNotFoundException"), refusal("ServiceUnavailableException", 503)])
def test_without_firehose_everything_goes_to_the_spool(s3, error):
    firehose = SmallFirehose()
    firehose.always = lambda: error

    assert lanes_of(s3, firehose).hand_over(0, documents(3)) == {"spool": 3}
    assert lanes_of(s3).hand_over(1, documents(2)) == {"spool": 2}


def test_what_only_the_spool_can_carry_is_not_offered_to_firehose(s3):
    firehose = SmallFirehose()
    special = [
        HandedOver(0, "by-sequence", b"{}", None, None, "0" * 40),
        HandedOver(1, "too-large", b'{"a":"%s"}' % (b"x" * 1_024_000), 1),
        HandedOver(2, "no-json", b'{"a":', 1),
        HandedOver(3, "fine", b"{}", 1),
    ]

    assert lanes_of(s3, firehose).hand_over(0, special) == {"firehose": 1, "spool": 3}
    assert [envelope.read(record).id for record in firehose.taken] == ["fine"]
    assert [envelope.read(line).source for line in spooled(s3)] == [document.source for document in special[:3]]


def test_a_spool_that_can_not_be_written_hands_nothing_over(s3):
    s3.fails = lambda operation, key: "InternalError" if operation == "PutObject" and key.startswith("spool/") else ""

    with pytest.raises(NotHandedOver, match="3 documents could not be handed over: Firehose left 3") as caught:
        lanes_of(s3).hand_over(0, documents(3))

    assert "InternalError" in caught.value.reason
    assert s3.keys() == []


@pytest.mark.parametrize(("code", "lasting"), [("InternalError", False), ("AccessDenied", True), ("NoSuchBucket", True)])
def test_without_its_manifest_nothing_counts_as_handed_over(s3, code, lasting):
    s3.fails = lambda operation, key: code if key.startswith("manifests/") else ""

    with pytest.raises(NotHandedOver, match="Firehose left 0") as caught:
        lanes_of(s3, SmallFirehose()).hand_over(0, documents(3))

    assert caught.value.lasting is lasting


def test_what_is_on_a_manifest_was_durable_before(s3):
    lanes_of(s3, SmallFirehose()).hand_over(0, documents(1))
    lanes_of(s3).hand_over(1, documents(1))

    written = [key.partition("/")[0] for operation, key in s3.calls if operation == "PutObject"]
    assert written == ["manifests", "spool", "manifests"]


def test_a_batch_that_is_handed_over_again_adds_a_manifest_and_no_second_spool_object(s3):
    for moment in (1.0, 2.0):
        lanes = lanes_of(s3)
        lanes._clock = lambda moment=moment: moment
        lanes.hand_over(0, documents(3))

    assert [manifest.written_at for manifest in sorted(manifests_of(s3), key=lambda manifest: manifest.written_at)] == [1.0, 2.0]
    assert len(s3.keys("spool/")) == 1


def test_two_conditional_writes_that_meet_are_tried_again(s3):
    met = []

    def conflict(operation: str, key: str) -> str:
        if operation != "PutObject" or not key.startswith("spool/") or len(met) == 2:
            return ""
        met.append(key)
        return "ConditionalRequestConflict"

    s3.fails = conflict
    assert lanes_of(s3).hand_over(0, documents(3)) == {"spool": 3}
    assert len(spooled(s3)) == 3


def test_a_conflict_that_does_not_end_is_a_transient_error(s3):
    s3.fails = lambda operation, key: "ConditionalRequestConflict"

    with pytest.raises(TransientError):
        Bucket(s3.client, s3.bucket, sleep=lambda seconds: None).put_once("key", b"")


def test_many_threads_hand_over_at_once(s3):
    firehose = SmallFirehose()
    firehose.orders = [{0, 2} for _ in range(8)]
    lanes = lanes_of(s3, firehose)
    threads = [threading.Thread(target=lanes.hand_over, args=(batch, documents(5, batch * 5))) for batch in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    entries = [entry for manifest in manifests_of(s3) for entry in manifest.entries]
    assert sorted(entry.position for entry in entries) == list(range(40))
    carried = [envelope.read(line) for line in [*firehose.taken, *spooled(s3)]]
    assert sorted(read.id for read in carried) == sorted(f"id-{place}" for place in range(40))


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=60), st.integers(1, 100))
def test_the_spool_is_cut_within_its_limit_and_loses_nothing(lines, limit):
    parts = list(cut(lines, limit))

    assert [place for part in parts for place in part] == list(range(len(lines)))
    for part in parts:
        assert len(part) == 1 or sum(len(lines[place]) + 1 for place in part) <= limit
    for part, following in pairwise(parts):
        assert sum(len(lines[place]) + 1 for place in [*part, following[0]]) > limit


def test_a_spool_object_holds_its_lines_and_is_named_by_them(s3):
    lane = SpoolLane(Bucket(s3.client, s3.bucket), INDEX, RUN)
    large = [b"x" * (SPOOL_BYTES // 2), b"y" * (SPOOL_BYTES // 2), b"z"]

    keys = lane.put(large)

    assert lane.put(large) == keys
    assert keys[0] != keys[1] == keys[2]
    assert sorted(set(keys)) == s3.keys(places.spool_prefix(INDEX, RUN))
    assert [gzip.decompress(s3.get(key)).splitlines() for key in (keys[0], keys[1])] == [large[:1], large[1:]]


def test_no_documents_are_no_objects(s3):
    assert SpoolLane(Bucket(s3.client, s3.bucket), INDEX, RUN).put([]) == []
    assert s3.keys() == []

"""What is handed over is never lost: with Firehose or S3 failing, and in a process that dies."""

from __future__ import annotations

import pytest

from local.cloud import Cloud
from searchops.core.bulk.effects import NotHandedOver
from searchops.core.bulk.model import HandedOver
from tests.integration.bulk_handover import mortal
from tests.integration.bulk_handover.conftest import RUN, MakePlace, Place, documents


@pytest.fixture
def streamed(make_place: MakePlace) -> Place:
    return make_place(stream=True)


def bring_home(place: Place) -> None:
    """Deliver, redrive and settle what was handed over."""
    place.deliver()
    place.redrive()
    result = place.settle()
    assert result.settled, result


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "throttle", "last": 2},
        {"kind": "server_error", "last": 2},
        {"kind": "reset", "last": 1},
        {"kind": "server_error_after", "last": 1},
        {"kind": "reset_after", "last": 1},
        {"kind": "fail_records", "last": 3, "share": 0.3},
        {"kind": "fail_records", "last": 3, "share": 0.3, "taken": True},
        {"kind": "twice"},
    ],
    ids=lambda fault: fault["kind"] + ("_taken" if fault.get("taken") else ""),
)
def test_a_stream_that_stumbles_takes_everything_in_the_end(streamed: Place, fault: dict[str, object]) -> None:
    options = dict(fault)
    streamed.control.fault(str(options.pop("kind")), "PutRecordBatch", stream=streamed.alias, **options)

    assert streamed.lanes(limit=20).hand_over(0, documents(600)) == {"firehose": 600}

    bring_home(streamed)
    assert streamed.held() == {f"id-{n}": (5, {"n": n}) for n in range(600)}


@pytest.mark.parametrize("kind", ["throttle", "server_error", "reset"])
def test_what_a_stream_does_not_take_in_time_arrives_by_the_spool(streamed: Place, kind: str) -> None:
    streamed.control.fault(kind, "PutRecordBatch", stream=streamed.alias)

    assert streamed.lanes(limit=0).hand_over(0, documents(50)) == {"spool": 50}

    bring_home(streamed)
    assert len(streamed.held()) == 50


def test_the_request_path_makes_one_call_and_spools_what_fails_in_it(streamed: Place) -> None:
    streamed.control.fault("fail_records", "PutRecordBatch", stream=streamed.alias, positions=[0, 2])
    streamed.control.reset_calls()

    assert streamed.lanes(limit=0).hand_over(0, documents(5)) == {"firehose": 3, "spool": 2}

    assert streamed.control.calls()["PutRecordBatch"] == 1
    bring_home(streamed)
    assert len(streamed.held()) == 5


def test_a_stream_that_does_not_exist_is_no_loss(place: Place) -> None:
    assert place.lanes().hand_over(0, documents(3)) == {"spool": 3}


def test_the_real_quota_is_kept_to_and_the_rest_is_spooled(streamed: Place) -> None:
    large = [HandedOver(n, f"id-{n}", b'{"text":"%s"}' % (b"x" * 100_000), 5) for n in range(40)]

    lanes = streamed.lanes(limit=1.5).hand_over(0, large)  # 4 MB at 1 MiB/s

    assert lanes["firehose"] + lanes["spool"] == 40
    assert lanes["firehose"] >= 10
    bring_home(streamed)
    assert len(streamed.held()) == 40


def test_documents_that_neither_lane_takes_are_not_handed_over(streamed: Place) -> None:
    streamed.control.fault("server_error", "PutRecordBatch", stream=streamed.alias)
    streamed.s3.fails = lambda operation, key: "SlowDown" if operation == "PutObject" else ""

    with pytest.raises(NotHandedOver, match="50 documents could not be handed over"):
        streamed.lanes(limit=0).hand_over(0, documents(50))

    streamed.s3.fails = lambda operation, key: ""
    assert streamed.s3.keys() == []


def test_what_is_not_on_a_manifest_is_handed_over_again_and_is_there_once(streamed: Place) -> None:
    streamed.s3.fails = lambda operation, key: "InternalError" if key.startswith("manifests/") else ""
    with pytest.raises(NotHandedOver):
        streamed.lanes().hand_over(0, documents(30))
    streamed.s3.fails = lambda operation, key: ""

    streamed.lanes().hand_over(0, documents(30))

    bring_home(streamed)
    assert streamed.held() == {f"id-{n}": (5, {"n": n}) for n in range(30)}


def test_a_process_that_dies_anywhere_is_made_good_by_the_next(bulk_cloud: Cloud, streamed: Place) -> None:
    where = mortal.Where(bulk_cloud.environment, streamed.url, streamed.s3.bucket, streamed.alias, RUN)
    handed = [*documents(20), HandedOver(20, "id-20", b'{"n":20,"text":"%s"}' % (b"x" * 1_024_000), 5)]

    deaths = 0
    while mortal.hand_over(where, handed, die_after=deaths + 1):
        deaths += 1
    assert deaths == 3  # after PutRecordBatch, after the spool's object, after the manifest
    streamed.deliver()

    lives = 0
    while mortal.redrive_and_settle(where, die_after=lives + 1):
        lives += 1

    # Firehose delivered each record as often as it got it: what came late is a 409, which is a failure to it, or an overwriting of itself.
    streamed.redrive()
    assert streamed.settle().settled
    assert sorted(streamed.held()) == sorted(f"id-{n}" for n in range(21))
    assert {version for version, _ in streamed.held().values()} == {5}
    assert lives >= 5
    assert streamed.s3.keys() == []

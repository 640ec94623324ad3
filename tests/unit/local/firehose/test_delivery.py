"""How records get from the buffer to the node, and what becomes of those that do not."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from local.simulators.firehose.documents import Answer, S3Object
from local.simulators.firehose.effects import S3 as S3Buckets
from local.simulators.firehose.effects import OpenSearch
from tests.unit.local.firehose.world import S3, World, answer_all


def test_records_wait_for_the_interval_and_keep_their_order(world: World) -> None:
    world.create()
    world.put_documents({"n": 1}, {"n": 2})

    world.pass_time(59)
    assert world.indexed() == []
    world.pass_time(2)

    assert world.indexed() == [{"n": 1}, {"n": 2}]
    assert (world.state()["taken"], world.state()["delivered"], world.state()["buffered"]) == (2, 2, 0)
    assert world.objects == []


def test_a_full_buffer_does_not_wait(world: World) -> None:
    world.create()
    world.put_documents({"text": "x" * 900_000})
    world.now += 1
    world.put_documents({"text": "y" * 300_000})

    world.pass_time(0)

    assert [len(documents) for documents in world.requests] == [1], "one more would be above the size"
    assert world.state()["buffered"] == 1


def test_a_faster_clock_shortens_the_interval_and_a_flush_ends_it(world: World) -> None:
    world.create()
    world.service.configure({"speed": 60})
    world.put_documents({"n": 1})
    world.pass_time(1.1)
    world.service.configure({"speed": 1})
    world.put_documents({"n": 2})
    for delivery in world.service.deliveries(None):
        delivery.flush()
    world.pass_time(0)
    world.put_documents({"n": 3})
    world.pass_time(0)

    assert world.indexed() == [{"n": 1}, {"n": 2}]


def test_each_document_has_an_id_of_its_own_and_keeps_it_when_it_is_sent_again(world: World) -> None:
    world.create()
    world.put_documents({"n": 1}, {"n": 1})
    world.answers = [answer_all(429, type="rejected_execution_exception", reason="full")]

    world.pass_time(70)

    first, second = world.requests
    assert first == second
    assert [action["_index"] for action, _ in first] == ["landing", "landing"]
    assert len({action["_id"] for action, _ in first}) == 2


def test_without_ids_the_node_makes_them(world: World) -> None:
    world.create(DocumentIdOptions={"DefaultDocumentIdFormat": "NO_DOCUMENT_ID"})
    world.put_documents({"n": 1})
    world.answers = [answer_all(400, type="mapper_parsing_exception", reason="no")]
    world.pass_time(60)

    assert world.requests == [[({"_index": "landing"}, {"n": 1})]]
    assert "esDocumentId" not in world.lines()[0]


@pytest.mark.parametrize(
    ("period", "index"),
    [
        ("NoRotation", "landing"),
        ("OneHour", "landing-2025-06-15-15"),
        ("OneDay", "landing-2025-06-15"),
        ("OneWeek", "landing-2025-w24"),
        ("OneMonth", "landing-2025-06"),
    ],
)
def test_the_index_rotates_by_the_time_of_arrival(world: World, period: str, index: str) -> None:
    world.create(IndexRotationPeriod=period)
    world.put_documents({"n": 1})
    world.pass_time(60)

    assert world.requests[0][0][0]["_index"] == index


@pytest.mark.parametrize(
    "trouble",
    [
        answer_all(429, type="rejected_execution_exception", reason="full"),
        answer_all(503, type="unavailable_shards_exception", reason="no shard"),
        lambda _: Answer(429, b"too many"),
        lambda _: Answer(0, reason="ConnectError: refused"),
        lambda _: Answer(200, b'{"items": [{"index": {"status": 201}}'),
        lambda _: Answer(200, b'{"items": []}'),
    ],
)
def test_what_may_pass_is_tried_again_until_the_duration_has_passed(world: World, trouble: Any) -> None:
    world.create()
    world.put_documents({"n": 1}, {"n": 2})
    world.answers = [trouble] * 100

    world.pass_time(60 + 290)
    tries = len(world.requests)
    assert 5 < tries < 30
    assert world.objects == []
    world.pass_time(40)

    assert [line["attemptsMade"] for line in world.lines()] == [len(world.requests)] * 2
    assert world.state()["failed"] == 2
    assert world.state()["under_way"] == 0


def test_a_duration_of_zero_means_one_attempt(world: World) -> None:
    world.create(RetryOptions={"DurationInSeconds": 0})
    world.put_documents({"n": 1})
    world.answers = [answer_all(429, type="rejected_execution_exception", reason="full")]
    world.pass_time(60)

    assert [(line["attemptsMade"], line["errorCode"]) for line in world.lines()] == [(1, "429")]


def test_only_the_documents_that_were_not_indexed_are_sent_again_and_later_ones_do_not_wait_for_them(world: World) -> None:
    world.create(BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 0})

    def half(documents: list[dict[str, Any]]) -> Answer:
        items = [{"index": {"status": 201 if document["n"] % 2 else 429}} for document in documents]
        return Answer(200, json.dumps({"items": items}).encode())

    world.answers = [half]
    world.put_documents({"n": 1}, {"n": 2})
    world.pass_time(0)
    world.put_documents({"n": 3})
    world.pass_time(10)

    assert world.indexed() == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 2}]
    assert (world.state()["delivered"], world.state()["retried"]) == (3, 1)


def test_a_failure_is_written_to_s3_as_the_guide_says(world: World) -> None:
    world.create()
    world.put_documents({"text": "東京"})
    error = {"type": "mapper_parsing_exception", "reason": "failed to parse"}
    world.answers = [answer_all(400, **error)]
    arrived = world.now
    world.pass_time(60)

    (written,) = world.objects
    assert written.bucket == "backup"
    assert written.key.startswith("overflow/AmazonOpenSearchService_failed/2025/06/15/15/overflow-1-2025-06-15-15-")
    (line,) = world.lines()
    assert json.loads(base64.b64decode(line.pop("rawData"))) == {"text": "東京"}
    assert json.loads(line.pop("errorMessage")) == error
    assert line == {
        "attemptsMade": 1,
        "arrivalTimestamp": int(arrived * 1000),
        "errorCode": "400",
        "attemptEndingTimestamp": int((arrived + 60) * 1000),
        "esDocumentId": world.requests[0][0][0]["_id"],
        "esIndexName": "landing",
        "esTypeName": "",
    }


@pytest.mark.parametrize(
    ("data", "is_malformed"),
    [
        (b'{"a": 1}', False),
        (b'{"a": 1}\n', False),
        (b'{"a": 1}{"a": 2}', True),
        (b'{"a": 1}\n{"a": 2}\n', True),
        (b'{\n"a": 1}', True),
        (b"[1]", True),
        (b'{"a": NaN}', True),
        (b'{"a": "\xff"}', True),
        (b"", True),
        (b"[" * 100_000, True),
    ],
)
def test_a_record_that_is_no_single_json_object_fails_alone(world: World, data: bytes, is_malformed: bool) -> None:
    world.create()
    world.service.put("overflow", [b'{"good": 1}', data, b'{"good": 2}'])
    world.pass_time(60)

    good = [document for document in world.indexed() if "good" in document]
    assert good == [{"good": 1}, {"good": 2}]
    assert [line["errorCode"] for line in world.lines()] == ["ES.MalformedData"] * is_malformed
    assert world.state()["delivered"] == 3 - is_malformed


@pytest.mark.parametrize(
    ("setting", "is_tried_again", "failed"),
    [("failure", False, 1), ("delivered", False, 0), ("retry", True, 1)],
)
def test_a_conflict_ends_as_it_is_set(setting: str, is_tried_again: bool, failed: int) -> None:
    world = World(conflict=setting)
    world.create()
    world.put_documents({"n": 1})
    world.answers = [answer_all(409, type="version_conflict_engine_exception", reason="older")] * 100
    world.pass_time(60 + 400)

    assert (len(world.requests) > 1) is is_tried_again
    assert [line["errorCode"] for line in world.lines()] == ["409"] * failed


@pytest.mark.parametrize("folder", ["AmazonOpenSearchService-failed", "elasticsearch_failed"])
@pytest.mark.parametrize(
    ("prefixes", "start"),
    [
        ({"Prefix": "a/"}, "a/{}/2025/06/15/15/overflow-1-"),
        ({}, "{}/2025/06/15/15/overflow-1-"),
        ({"Prefix": "a/", "ErrorOutputPrefix": "errors/"}, "errors/{}/2025/06/15/15/overflow-1-"),
        ({"ErrorOutputPrefix": "e/!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd}/"}, "e/{}/2025-06-15/overflow-1-"),
    ],
)
def test_the_folder_of_what_failed_follows_the_prefixes(folder: str, prefixes: dict[str, str], start: str) -> None:
    world = World(failure_folder=folder)
    world.create(S3Configuration={key: value for key, value in S3.items() if key != "Prefix"} | prefixes)
    world.put_documents("not an object")
    world.pass_time(60)

    assert [row.key.startswith(start.format(folder)) for row in world.objects] == [True]


def test_failures_may_be_compressed(world: World) -> None:
    world.create(S3Configuration=S3 | {"CompressionFormat": "GZIP"})
    world.put_documents("not an object")
    world.pass_time(60)

    assert world.objects[0].key.endswith(".gz")
    assert json.loads(gzip.decompress(world.objects[0].body))["errorCode"] == "ES.MalformedData"


def test_all_documents_are_backed_up_once_when_that_is_wanted(world: World) -> None:
    world.create(S3BackupMode="AllDocuments")
    world.answers = [answer_all(429)]
    world.put_documents({"n": 1}, {"n": 2})
    world.pass_time(70)

    assert [(row.key[:24], row.body) for row in world.objects] == [("overflow/2025/06/15/15/o", b'{"n": 1}{"n": 2}')]
    assert world.state()["delivered"] == 2


def test_nothing_goes_on_while_s3_cannot_be_written_and_nothing_is_lost(world: World) -> None:
    world.create(BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 0})
    world.s3_is_down = True
    world.put_documents("not an object", {"n": 1})
    world.pass_time(5)
    world.put_documents({"n": 2})
    world.pass_time(3600)
    assert world.indexed() == [{"n": 1}]
    assert (world.state()["unwritten_objects"], world.state()["buffered"]) == (1, 1)

    world.s3_is_down = False
    world.pass_time(5)

    assert world.indexed() == [{"n": 1}, {"n": 2}]
    assert len(world.lines()) == 1


def test_a_paused_stream_takes_records_and_delivers_them_when_it_goes_on(world: World) -> None:
    world.create()
    (delivery,) = world.service.deliveries("overflow")
    delivery.pause(True)
    world.put_documents({"n": 1})
    world.pass_time(3600)
    assert world.indexed() == []
    assert world.state()["oldest_seconds"] == 3600

    delivery.pause(False)
    world.pass_time(0)

    assert world.indexed() == [{"n": 1}]
    assert world.state()["oldest_seconds"] is None


def test_a_request_to_the_node_has_at_most_five_mebibytes(world: World) -> None:
    world.create(BufferingHints={"SizeInMBs": 100, "IntervalInSeconds": 60})
    for n in range(12):
        world.now += 1  # the quota's
        world.put_documents({"n": n, "text": "x" * 1_000_000})
    world.pass_time(60)

    assert [len(documents) for documents in world.requests] == [5, 5, 2]


def test_a_node_and_a_bucket_that_do_not_answer_are_trouble_that_may_pass() -> None:
    nowhere = "http://127.0.0.1:9"

    assert OpenSearch(nowhere).bulk(b"").status == 0
    with pytest.raises(OSError, match="s3://backup/a cannot be written"):
        S3Buckets(nowhere).put(S3Object("backup", "a", b"", 1))

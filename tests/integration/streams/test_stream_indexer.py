"""An index that follows a table through its stream, whatever happens on the way."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from local.cloud import Cloud
from local.demo.application import writes
from local.demo.functions import wait_until
from local.simulators.node_faults.faults import Fault, Kind
from searchops.core.bulk.scheme import FIELD, MAX_VERSION, Scheme
from tests.integration.streams.conftest import ATTRIBUTE, BUCKET, IMMEDIATE, ONCE, SEQUENCE, MakeStage, Stage, sequences_of

ALL = 1.0
MARKER = "searchops_replay"
POISON = "no number"


def refuse(stage: Stage, share: float = ALL) -> None:
    stage.proxy.order(Fault(Kind.ITEM_429, times=None, share=share))


def is_deleted(hit: Any) -> bool:
    return bool(hit["_source"].get(FIELD, {}).get("deleted"))


@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE])
def test_the_index_follows_the_table(make_stage: MakeStage, scheme: Scheme) -> None:
    stage = make_stage(scheme)
    for number in range(20):
        stage.put(f"item-{number}", 1, n=number)
    stage.map()
    stage.caught_up()
    assert stage.documents() == stage.items()

    for number in range(10):
        stage.put(f"item-{number}", 2, n=number + 100)
        stage.delete(f"item-{number + 10}")
    stage.put("item-10", 4, n=0)
    stage.caught_up()

    assert stage.documents() == stage.items()
    assert len(stage.documents()) == 11
    assert is_deleted(stage.held()["item-11"])
    assert (stage.counts()["partial_failures"], stage.counts()["errors"]) == (0, 0)


def test_a_delete_has_the_next_version_of_the_item(stage: Stage) -> None:
    stage.put("a", 7)
    stage.delete("a")
    stage.map()
    stage.caught_up()

    assert stage.versions() == {"a": 8}


def test_a_sequence_number_is_kept_whole_and_is_no_version(make_stage: MakeStage) -> None:
    stage = make_stage(SEQUENCE)
    stage.map()
    for number in range(3):
        stage.put("a", 1, n=number)
        stage.caught_up()

    (hit,) = stage.held().values()
    sequence = hit["_source"][FIELD]["sequence"]
    assert len(sequence) == 40
    assert int(sequence) > MAX_VERSION
    assert (hit["_source"]["n"], hit["_version"]) == (2, 3)


def test_numbers_binary_and_sets_arrive_as_they_are(make_stage: MakeStage) -> None:
    # By itself OpenSearch makes no field for a number that long, nor one for whole numbers that takes fractions.
    stage = make_stage(mapping={"properties": {"long": {"type": "keyword"}, "many": {"type": "double"}}})
    item = {
        "pk": {"S": "東|京"},
        "revision": {"N": "1"},
        "long": {"N": "12345678901234567890123456789012345678"},
        "price": {"N": "1.10"},
        "bytes": {"B": b"\x00\xff"},
        "many": {"NS": ["1", "2.50"]},
        "nested": {"M": {"list": {"L": [{"NULL": True}, {"BS": [b"a"]}]}, "no": {"BOOL": False}}},
    }
    stage.dynamodb.put_item(TableName=stage.name, Item=item)
    stage.map()
    stage.caught_up()

    assert stage.rejected() == []
    document = stage.documents()["東|京"]
    assert (document["bytes"], document["nested"]) == ("AP8=", {"list": [None, ["YQ=="]], "no": False})
    assert (sorted(document["many"]), document["price"]) == ([1, 2.5], 1.1)
    assert document["long"] == 12345678901234567890123456789012345678


@pytest.mark.parametrize(
    ("mapping", "kept"),
    [
        ({}, True),
        ({"dynamic": "strict", "properties": {"pk": {"type": "keyword"}, "revision": {"type": "long"}}}, False),
        (
            {
                "dynamic": "strict",
                "properties": {"pk": {"type": "keyword"}, "revision": {"type": "long"}, MARKER: {"type": "keyword"}},
            },
            True,
        ),
    ],
)
def test_a_replays_marker_is_in_the_document_where_the_mapping_takes_it(
    make_stage: MakeStage, mapping: dict[str, Any], kept: bool
) -> None:
    stage = make_stage(mapping=mapping)
    stage.put("a", 1, n=1, **{MARKER: "0" * 19 + "7"})
    stage.map()
    stage.caught_up()

    assert stage.rejected() == []
    assert (MARKER in stage.documents()["a"]) is kept


def test_poison_is_set_aside_with_record_and_reason_and_blocks_nobody(stage: Stage) -> None:
    stage.put("a", 1, n=1)
    stage.put("b", 1, n=POISON)
    stage.dynamodb.put_item(TableName=stage.name, Item={"pk": {"S": "c"}, "n": {"N": "3"}})
    stage.put("d", 1, n=4)
    stage.map(BatchSize=100)
    stage.caught_up()

    assert set(stage.documents()) == {"a", "d"}
    mapper, unversioned = sorted(stage.rejected(), key=lambda document: document.position)
    assert (mapper.id, mapper.kind) == ("b", "mapper_parsing_exception")
    assert "failed to parse field [n]" in mapper.reason
    assert json.loads(mapper.line)["dynamodb"]["NewImage"]["n"] == {"S": POISON}
    assert unversioned.kind == "unreadable"
    assert "version attribute 'revision'" in unversioned.reason
    assert (stage.counts()["done"], stage.counts()["partial_failures"], stage.counts()["errors"]) == (4, 0, 0)


def test_of_an_item_whose_newest_record_is_poison_the_one_before_is_indexed(stage: Stage) -> None:
    stage.put("a", 1, n=1)
    stage.put("a", 2, n=2)
    stage.put("a", 3, n=POISON)
    stage.map()
    stage.caught_up()

    assert stage.versions() == {"a": 2}
    assert len(stage.rejected()) == 1


@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE])
def test_what_is_refused_is_handed_over_at_once_and_arrives_later(make_stage: MakeStage, scheme: Scheme) -> None:
    stage = make_stage(scheme)
    refuse(stage)
    for number in range(10):
        stage.put(f"item-{number}", 1, n=number)
    stage.map()
    stage.caught_up()

    assert (stage.documents(), stage.counts()["partial_failures"]) == ({}, 0)
    assert {entry.id for manifest in stage.manifests() for entry in manifest.entries} == set(stage.items())
    stage.proxy.clear()
    stage.redrive()
    assert stage.documents() == stage.items()
    stage.settle()
    assert stage.manifests() == []


@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE])
def test_of_an_item_whose_newest_record_is_handed_over_and_turns_out_to_be_poison_the_one_before_arrives(
    make_stage: MakeStage, scheme: Scheme
) -> None:
    stage = make_stage(scheme)
    refuse(stage)
    stage.put("a", 1, n=1)
    stage.put("a", 2, n=2)
    stage.put("a", 3, n=POISON)
    stage.map()
    stage.caught_up()
    stage.proxy.clear()

    stage.redrive()

    assert stage.documents()["a"]["n"] == 2
    assert [document.kind for document in stage.rejected()] == ["mapper_parsing_exception"]
    stage.settle()
    assert stage.manifests() == []


@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE])
def test_an_older_write_that_was_handed_over_brings_no_deleted_item_back(make_stage: MakeStage, scheme: Scheme) -> None:
    stage = make_stage(scheme)
    refuse(stage)
    stage.put("a", 1)
    stage.map()
    stage.caught_up()
    stage.proxy.clear()
    stage.delete("a")
    stage.caught_up()
    assert is_deleted(stage.held()["a"])

    stage.redrive()

    assert is_deleted(stage.held()["a"])
    assert stage.documents() == {}


def test_where_nothing_may_be_handed_over_a_refused_record_holds_back_what_is_behind_it_and_nothing_else(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(IMMEDIATE)
    stage.map()
    stage.put("a", 1)
    stage.caught_up()
    refuse(stage)
    stage.put("b", 1)
    wait_until(lambda: stage.counts()["partial_failures"] >= 2, "it has been refused twice")
    assert set(stage.documents()) == {"a"}

    stage.proxy.clear()
    stage.delete("a")
    stage.caught_up()

    assert stage.documents() == stage.items()
    assert (stage.manifests(), stage.rejected(), stage.counts()["errors"]) == ([], [], 0)


@pytest.mark.parametrize("kind", [Kind.STATUS_503, Kind.RESET_AFTER, Kind.RESET_BEFORE, Kind.LATE_502, Kind.CUT, Kind.SHORT])
def test_what_may_or_may_not_have_been_written_comes_again(stage: Stage, kind: Kind) -> None:
    stage.proxy.order(Fault(kind))
    for number in range(5):
        stage.put(f"item-{number}", 1, n=number)
    stage.delete("item-3")
    stage.map()
    stage.caught_up()

    assert stage.proxy.counts() == {kind: 1}
    assert stage.documents() == stage.items()
    assert stage.counts()["partial_failures"] == 1
    assert stage.manifests() == []


def test_a_handler_that_is_killed_between_its_effect_and_its_answer_does_no_harm(stage: Stage) -> None:
    stage.map()
    stage.put("warm", 1)
    stage.caught_up()
    stage.proxy.order(Fault(Kind.SLOW, seconds=30))
    stage.control.kill_handler(stage.name, seconds=1)
    stage.put("a", 1)
    stage.delete("warm")
    wait_until(lambda: stage.counts()["errors"] == 1, "the handler was killed")
    stage.proxy.release()
    stage.caught_up()

    assert stage.proxy.counts()[Kind.SLOW] == 1
    assert stage.versions() == {"a": 1, "warm": 2}
    assert stage.documents() == stage.items()


@pytest.mark.parametrize("scheme", [ATTRIBUTE, SEQUENCE, ONCE])
def test_a_batch_that_comes_twice_or_to_two_handlers_at_once_is_one(make_stage: MakeStage, scheme: Scheme) -> None:
    stage = make_stage(scheme)
    stage.control.deliver_twice(stage.name)
    stage.control.deliver_together(stage.name, after=1)
    stage.put("a", 1, n=1)
    stage.put("b", 1, n=POISON)
    stage.map()
    stage.caught_up()
    stage.put("c", 1, n=POISON)
    stage.put("d", 1, n=4)
    stage.caught_up()

    counts = stage.counts()
    assert (counts["twice"], counts["together"], counts["partial_failures"]) == (1, 1, 0)
    assert set(stage.documents()) == {"a", "d"}
    assert len(set(sequences_of(stage.rejected()))) == 2


def test_a_poller_that_is_killed_goes_on_and_the_index_with_it(bulk_cloud: Cloud, stage: Stage) -> None:
    stage.map(BatchSize=5)
    for number in range(30):
        stage.put(f"item-{number}", 1, n=number)
    wait_until(lambda: stage.counts()["done"] > 0, "it has begun")

    bulk_cloud.process("streams").kill()
    for number in range(15):
        stage.delete(f"item-{number}")
    stage.caught_up()

    assert stage.documents() == stage.items()


@pytest.mark.parametrize("view", ["KEYS_ONLY", "OLD_IMAGE"])
def test_a_stream_that_does_not_show_the_items_fails_the_function_and_loses_nothing(make_stage: MakeStage, view: str) -> None:
    stage = make_stage(view=view)
    stage.put("a", 1)
    stage.map()
    wait_until(lambda: stage.counts()["errors"] >= 2, "it has failed twice")

    assert (stage.held(), stage.rejected(), stage.counts()["done"]) == ({}, [], 0)


def test_an_index_of_documents_that_never_change_keeps_what_is_there_and_rejects_deletes(make_stage: MakeStage) -> None:
    stage = make_stage(ONCE)
    stage.map()
    stage.put("a", 1, n=1)
    stage.caught_up()
    stage.put("a", 2, n=2)
    stage.caught_up()
    stage.delete("a")
    stage.caught_up()

    assert stage.documents()["a"]["n"] == 1
    (rejected,) = stage.rejected()
    assert "no deletes" in rejected.reason


def test_what_lambda_gives_up_is_in_the_bucket_with_its_records(stage: Stage) -> None:
    """An outage that is longer than the mapping waits: the shard goes on, and the records can be replayed by their keys."""
    stage.proxy.order(Fault(Kind.STATUS_503, times=None))
    stage.put("a", 1)
    stage.map(MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{BUCKET}"}})
    stage.caught_up()
    stage.proxy.clear()
    stage.put("b", 1)
    stage.caught_up()

    assert set(stage.documents()) == {"b"}
    assert stage.counts()["handed_over"] == 1


FAULTS = {
    Kind.ITEM_429: 0.1,
    Kind.RESET_AFTER: 0.05,
    Kind.LATE_504: 0.05,
    Kind.RESET_DURING: 0.05,
    Kind.CUT: 0.05,
    Kind.DUPLICATE: 0.1,
}


@pytest.mark.parametrize(("scheme", "seed"), [(ATTRIBUTE, 1), (SEQUENCE, 2)])
def test_an_application_that_goes_on_writing_finds_its_table_in_the_index_whatever_fails(
    bulk_cloud: Cloud, make_stage: MakeStage, scheme: Scheme, seed: int
) -> None:
    stage = make_stage(scheme)
    stage.proxy.random(seed, FAULTS)
    stage.map(ParallelizationFactor=3, BatchSize=10)
    for number in range(3):
        stage.control.deliver_twice(stage.name, after=2 + 5 * number)
        stage.control.deliver_together(stage.name, after=3 + 5 * number)
        stage.control.kill_handler(stage.name, after=4 + 5 * number, seconds=0.05)
    poison = set()
    keys = [{"pk": {"S": f"item-{number}"}} for number in range(25)]
    for one in islice(writes(keys, seed), 250):
        pk = one.key["pk"]["S"]
        if one.operation == "delete":
            stage.delete(pk)
        elif one.number % 50 == 0:
            poison.add(f"poison-{one.number}")
            stage.put(f"poison-{one.number}", one.revision, n=POISON)
        else:
            stage.put(pk, one.revision, n=one.number)
        if one.number == 120:
            bulk_cloud.process("streams").kill()
    stage.caught_up(wait_seconds=120)
    stage.proxy.clear()

    stage.redrive()

    items = stage.items()
    assert stage.documents() == {id: item for id, item in items.items() if id not in poison}
    assert {document.id for document in stage.rejected()} == poison
    assert (stage.control.mappings(stage.name)[0].open, stage.counts()["discarded"]) == (0, 0)

"""Which replay a task goes on with, and which it begins."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.config import Config

from local.simulators.dynamodb_faults.control import DynamoDBProxy
from local.simulators.dynamodb_faults.faults import Fault, Kind
from searchops.core.errors import DataError, TransientError
from searchops.core.idempotency.errors import TableMissing
from searchops.core.replay.checkpoint import TableCheckpoints
from searchops.core.replay.identity import Replays, State
from searchops.core.replay.model import Counts
from searchops.core.replay.selection import All, ByKey, PartitionKey, Sample
from tests.integration.replay.world import at


@pytest.fixture
def replays(dynamodb: Any, claims: str) -> Replays:
    return Replays(dynamodb, claims)


@pytest.fixture
def table() -> str:
    return f"t-{uuid.uuid4().hex}"


def test_a_replay_that_nobody_has_begun_is_new(replays: Replays, table: str):
    replay = replays.open(table, Sample(5), 17)

    assert (replay.replay_id, replay.state, replay.resumed) == ("00000000000000000017", State.OPEN, False)
    assert replays.look(table, Sample(5)) == replay
    assert replays.look(table, Sample(6)) is None


def test_a_replay_that_was_not_finished_is_gone_on_with_under_its_own_id(replays: Replays, table: str):
    first = replays.open(table, Sample(5), 17)

    second = replays.open(table, Sample(5), 18)

    assert (second.replay_id, second.resumed, second.created_at) == (first.replay_id, True, first.created_at)


def test_a_replay_that_was_finished_is_followed_by_a_new_one(replays: Replays, table: str):
    replays.finish(replays.open(table, Sample(5), 17), Counts(selected=5, touched=5))
    ended = replays.look(table, Sample(5))

    second = replays.open(table, Sample(5), 18)

    assert (ended.state, ended.counts) == (State.FINISHED, Counts(selected=5, touched=5))
    assert (second.replay_id, second.resumed) == ("00000000000000000018", False)
    assert replays.look(table, Sample(5)).counts is None


def test_a_replay_that_was_abandoned_is_followed_by_a_new_one(replays: Replays, table: str):
    replays.abandon(replays.open(table, Sample(5), 17))

    assert replays.open(table, Sample(5), 18).replay_id == "00000000000000000018"


def test_other_selections_have_replays_of_their_own(replays: Replays, table: str):
    for fence, selection in enumerate([Sample(5), All(), ByKey((PartitionKey({"B": b"\0"}),))], 1):
        assert not replays.open(table, selection, fence).resumed

    assert [replay.selection for replay in replays.unfinished(table)] == [Sample(5), All(), ByKey((PartitionKey({"B": b"\0"}),))]


def test_a_scan_is_gone_on_with_in_the_segments_that_it_began_with(replays: Replays, table: str):
    replays.open(table, All(segments=4), 17)

    assert replays.open(table, All(segments=9), 18).selection == All(segments=4)


def test_what_is_unfinished_is_what_was_begun_and_not_ended(replays: Replays, table: str):
    replays.finish(replays.open(table, Sample(1), 1), Counts())
    replays.abandon(replays.open(table, Sample(2), 2))
    replays.open(table, Sample(3), 3)

    assert [replay.selection for replay in replays.unfinished(table)] == [Sample(3)]
    assert replays.unfinished("another") == []


def test_a_task_whose_claim_was_lost_neither_begins_nor_ends_a_replay(replays: Replays, table: str):
    late = replays.open(table, Sample(5), 17)
    replays.finish(late, Counts())
    replays.finish(replays.open(table, Sample(5), 19), Counts())

    with pytest.raises(TransientError, match="begun and ended behind the claim"):
        replays.open(table, Sample(5), 18)
    with pytest.raises(
        TransientError, match="expected the replay 00000000000000000017 to be open, found 00000000000000000019, finished"
    ):
        replays.finish(late, Counts())


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_a_lost_answer_to_any_of_its_writes_makes_no_difference(proxy: DynamoDBProxy, claims: str, table: str, after: int):
    client = at(proxy.url, "dynamodb", config=Config(retries={"mode": "legacy"}))
    replays = Replays(client, claims)
    proxy.order(Fault(Kind.RESET_AFTER, after=after))

    replay = replays.open(table, Sample(5), 17)
    ended = replays.finish(replay, Counts(selected=1, deleted=1))

    assert not replay.resumed
    assert replays.look(table, Sample(5)).counts == ended.counts
    assert replays.unfinished(table) == []


def test_without_a_table_of_claims_a_person_is_told_what_to_do(dynamodb: Any):
    with pytest.raises(TableMissing, match="searchops_setup"):
        Replays(dynamodb, "no-such-table").open("t", Sample(1), 1)


def test_a_replay_that_is_open_never_expires_and_one_that_has_ended_does(
    replays: Replays, dynamodb: Any, claims: str, table: str
):
    def expiry() -> Any:
        item = dynamodb.get_item(TableName=claims, Key={"id": {"S": f"replay#{table}#{replay.digest}"}})["Item"]
        return item.get("expires_at")

    replay = replays.open(table, Sample(5), 17)
    assert expiry() is None
    replays.finish(replay, Counts())
    assert int(expiry()["N"]) > replay.created_at.timestamp() + 89 * 86400
    replays.open(table, Sample(5), 18)
    assert expiry() is None


def test_a_checkpoint_in_the_table_of_claims_is_read_as_it_was_written(dynamodb: Any, claims: str, table: str):
    store = TableCheckpoints(dynamodb, claims, table)

    assert store.load("a") is None
    store.save("a", b'{"page": 1}')
    store.save("a", '{"page": "語"}'.encode())
    assert store.load("a") == '{"page": "語"}'.encode()
    assert TableCheckpoints(dynamodb, claims, f"{table}-2").load("a") is None


def test_a_selection_that_is_too_long_to_be_kept_is_refused(replays: Replays, table: str):
    keys = ByKey(tuple(PartitionKey({"S": f"{number}{'x' * 1000}"}) for number in range(400)))

    with pytest.raises(DataError, match="put the keys into a list in S3"):
        replays.open(table, keys, 17)
    assert replays.unfinished(table) == []

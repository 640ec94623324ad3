"""What a batch of touches does and tells, on Amazon's own engine: as much as touches one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.simulators.dynamodb_faults.control import DynamoDBProxy
from local.simulators.dynamodb_faults.faults import Fault, Kind
from searchops.core.replay.selection import All
from searchops.core.replay.touched import TouchedPages, name_of
from tests.integration.replay.world import Replayed, Table, item


def versions(replayed: Replayed, table: Table, replay_id: str) -> dict[str, int | None]:
    """The version that is kept with each touched key, by its name."""
    pages = TouchedPages(replayed.bucket, table.name, replay_id)
    return {name_of(entry.key): entry.version for page in pages.pages() for entry in pages.read(page)}


def test_a_batch_tells_the_version_of_each_item(replayed: Replayed, tables: Callable[..., Table]):
    table = tables()
    numbers = [{"N": "7"}, {"N": "0"}, {"N": "9223372036854775807"}, {"N": "1.5"}, {"S": "8"}]
    keys = table.put(item("a", sk, revision=revision) for sk, revision in enumerate(numbers))

    done = replayed.run(table, All(1), batches=True, adds_version=False)

    told = versions(replayed, table, done.replay.replay_id)
    assert [told[name_of(key)] for key in keys] == [7, 0, 9223372036854775807, None, None]


def test_a_batch_whose_answer_was_lost_tells_the_versions_at_the_next_try(
    replayed: Replayed, tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any
):
    table = tables()
    table.put(item("a", number, revision={"N": str(100 + number)}) for number in range(30))
    proxy.order(Fault(Kind.RESET_AFTER, operations=("BatchExecuteStatement",)))

    done = replayed.run(table, All(1), client=behind, batches=True, adds_version=False)

    assert done.counts.before > 0
    assert sorted(versions(replayed, table, done.replay.replay_id).values()) == list(range(100, 130))


def test_a_batch_brings_no_items_where_no_version_is_asked_for(
    replayed: Replayed, tables: Callable[..., Table], dynamodb: Any, monkeypatch: Any
):
    table = tables()
    table.put(item("a", number) for number in range(3))
    answers = []
    dynamodb.meta.events.register("after-call.dynamodb.BatchExecuteStatement", lambda parsed, **_: answers.append(parsed), "kept")
    try:
        done = replayed.run(table, All(1), batches=True, adds_version=False, version_attribute=None)
    finally:
        dynamodb.meta.events.unregister("after-call.dynamodb.BatchExecuteStatement", unique_id="kept")

    assert [set(response) for answer in answers for response in answer["Responses"]] == [{"TableName"}] * 3
    assert set(versions(replayed, table, done.replay.replay_id).values()) == {None}

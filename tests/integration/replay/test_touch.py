"""What a touch does to an item, and what it tells, on Amazon's own engine."""

from __future__ import annotations

import runpy
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config

from local.simulators.dynamodb_faults.control import DynamoDBProxy
from local.simulators.dynamodb_faults.faults import Fault, Kind
from searchops.core.errors import TransientError
from searchops.core.replay import calls
from searchops.core.replay.calls import NotAllowed, Throttled
from searchops.core.replay.model import Outcome, Units
from searchops.core.replay.touch import FIVE_YEARS_SECONDS, Touch, replay_id_of
from tests.integration.replay.world import MARKER, Table, at, item, records, touches

FIRST, SECOND, THIRD = (replay_id_of(number) for number in (8, 9, 10))


def touch(table: Table, replay_id: str = SECOND, client: Any = None, **settings: Any) -> Touch:
    return Touch(client or table.client, table.facts, marker=MARKER, replay_id=replay_id, **settings)


def one(table: Table, **attributes: Any) -> Any:
    (key,) = table.put([item("a", 1, **attributes)])
    return key


def test_a_touch_makes_a_record_and_a_put_of_the_same_content_makes_none(tables: Callable[..., Table], streams: Any):
    table = tables()
    key = one(table)
    table.put([item("a", 1)])

    assert touch(table)(key).outcome is Outcome.TOUCHED

    events = [(record["eventName"], record["dynamodb"].get("NewImage", {}).get(MARKER)) for record in records(streams, table)]
    assert events == [("INSERT", None), ("MODIFY", {"S": SECOND})]


def test_a_touch_changes_the_marker_alone(tables: Callable[..., Table]):
    table = tables()
    key = one(table, text={"S": "x"})

    touch(table)(key)

    assert table.get(key) == item("a", 1, text={"S": "x"}) | {MARKER: {"S": SECOND}}


def test_three_touches_of_one_replay_make_one_record(tables: Callable[..., Table], streams: Any):
    table = tables()
    key = one(table)

    outcomes = [touch(table, adds_version=True, version_attribute="revision")(key) for _ in range(3)]

    assert [touched.outcome for touched in outcomes] == [Outcome.TOUCHED, Outcome.OURS_BEFORE, Outcome.OURS_BEFORE]
    assert [touched.version for touched in outcomes] == [1001, 1001, 1001]
    assert set(touches(records(streams, table), SECOND).values()) == {1}


def test_an_earlier_replay_does_not_come_after_a_later_one(tables: Callable[..., Table]):
    table = tables()
    key = one(table)

    assert [touch(table, id_)(key).outcome for id_ in (SECOND, FIRST, THIRD, SECOND)] == [
        Outcome.TOUCHED,
        Outcome.COVERED,
        Outcome.TOUCHED,
        Outcome.COVERED,
    ]
    assert table.get(key)[MARKER] == {"S": THIRD}


def test_a_follow_up_touches_once_more_and_does_not_hide_the_replay(tables: Callable[..., Table]):
    table = tables()
    key = one(table)
    ids = [SECOND, f"{SECOND}.01", f"{SECOND}.01", SECOND, THIRD]

    assert [touch(table, id_)(key).outcome for id_ in ids] == [
        Outcome.TOUCHED,
        Outcome.TOUCHED,
        Outcome.OURS_BEFORE,
        Outcome.OURS_BEFORE,
        Outcome.TOUCHED,
    ]


def test_a_put_of_the_application_erases_the_marker_and_the_item_is_touched_again(tables: Callable[..., Table]):
    table = tables()
    key = one(table)

    assert touch(table)(key).outcome is Outcome.TOUCHED
    one(table, text={"S": "new"})
    assert touch(table)(key).outcome is Outcome.TOUCHED
    assert table.get(key)["text"] == {"S": "new"}


def test_a_deleted_item_does_not_come_back(tables: Callable[..., Table]):
    table = tables()
    key = one(table)
    table.client.delete_item(TableName=table.name, Key=key)

    assert touch(table, version_attribute="revision", adds_version=True)(key).outcome is Outcome.DELETED
    assert table.get(key) is None


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (lambda now: {"N": str(now - 10)}, Outcome.EXPIRED),
        (lambda now: {"N": str(now + 100)}, Outcome.TOUCHED),
        (lambda now: {"N": str(now - FIVE_YEARS_SECONDS - 100)}, Outcome.TOUCHED),
        (lambda now: {"S": "1"}, Outcome.TOUCHED),
    ],
)
def test_an_item_that_expires_is_left_alone(tables: Callable[..., Table], value: Callable[[int], Any], outcome: Outcome):
    table = tables()
    key = one(table, gone_at=value(int(time.time())))

    assert touch(table, ttl_attribute="gone_at")(key).outcome is outcome
    assert touch(table, ttl_attribute="other")(key).outcome in (Outcome.TOUCHED, Outcome.OURS_BEFORE)


def test_the_ttl_attribute_of_a_table_is_read_from_it(tables: Callable[..., Table]):
    assert tables(ttl="gone_at").facts.ttl_attribute == "gone_at"


@pytest.mark.parametrize(
    "value", [{"S": "done"}, {"S": ""}, {"S": "0"}, {"S": "0000-11-21"}, {"N": "1"}, {"BOOL": True}, {"L": []}]
)
def test_a_marker_that_the_application_uses_is_left_alone(tables: Callable[..., Table], value: Any):
    table = tables()
    key = one(table, **{MARKER: value})

    assert touch(table)(key).outcome is Outcome.MARKER_MISUSED
    assert table.get(key)[MARKER] == value


def test_an_item_of_400_kb_has_no_room_for_the_marker(tables: Callable[..., Table]):
    table = tables()
    size = 400 * 1024 - 45  # the rest of the item has some 33 bytes
    key = one(table, text={"S": "x" * size})

    assert touch(table)(key).outcome is Outcome.TOO_LARGE


def test_a_version_that_is_no_number_is_left_alone(tables: Callable[..., Table]):
    table = tables()
    key = one(table, revision={"S": "7"})

    assert touch(table, version_attribute="revision", adds_version=True)(key).outcome is Outcome.VERSION_MISUSED
    assert touch(table, version_attribute="revision")(key) == touch(table)(key).__class__(key, Outcome.TOUCHED, Units(1))
    assert table.get(key)["revision"] == {"S": "7"}


@pytest.mark.parametrize(("adds", "version"), [(False, 1000), (True, 1001)])
def test_the_version_after_the_touch_is_told(tables: Callable[..., Table], adds: bool, version: int):
    table = tables()
    key = one(table)

    touched = touch(table, version_attribute="revision", adds_version=adds)(key)

    assert touched.version == version
    assert table.get(key)["revision"] == {"N": str(version)}


def test_the_units_of_table_and_index_are_told_apart(tables: Callable[..., Table]):
    """A touch is a write of the whole item, and of its copy in an index that holds everything."""
    wide, narrow = tables(projection={"ProjectionType": "ALL"}), tables()
    large = {"text": {"S": "x" * 9000}}

    assert touch(wide)(one(wide, **large)).units == Units(9, 9)
    assert touch(narrow)(one(narrow, **large)).units == Units(9, 0)


def test_a_refused_touch_is_reckoned_with_the_size_of_the_item(tables: Callable[..., Table]):
    table = tables()
    key = one(table, text={"S": "x" * 9000})
    touch(table)(key)

    assert touch(table)(key).units == Units(9)


def test_numbers_and_bytes_are_touched_by_their_keys(tables: Callable[..., Table]):
    numbers, binary = tables(pk="N", sk=None), tables(pk="B", sk="B")
    (big,) = numbers.put([{"pk": {"N": "12345678901234567890123456789012345678"}}])
    (bytes_,) = binary.put([{"pk": {"B": b"\0\xff"}, "sk": {"B": b"\xff"}}])

    assert touch(numbers)(big).outcome is touch(binary)(bytes_).outcome is Outcome.TOUCHED
    assert (len(numbers.items()), len(binary.items())) == (1, 1)


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER, Kind.INTERNAL_ERROR_AFTER, Kind.CUT, Kind.BAD_CHECKSUM, Kind.TIMEOUT])
def test_a_touch_whose_answer_is_lost_knows_itself_at_the_next_try(
    tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any, kind: Kind
):
    table = tables()
    key = one(table)
    proxy.order(Fault(kind, seconds=5))
    through = touch(table, client=behind, version_attribute="revision", adds_version=True)

    with pytest.raises(TransientError):
        through(key)
    proxy.release()
    again = through(key)

    assert (again.outcome, again.version) == (Outcome.OURS_BEFORE, 1001)
    assert table.get(key)["revision"] == {"N": "1001"}


def test_a_touch_that_comes_late_does_nothing_any_more(tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any):
    """The network holds a request back, and the engine gets it behind the touch of a later replay, or of a retry."""
    table = tables()
    key = one(table)
    proxy.order(Fault(Kind.DELAYED, seconds=30))

    with pytest.raises(TransientError):
        touch(table, FIRST, behind, version_attribute="revision", adds_version=True)(key)
    touch(table, SECOND, version_attribute="revision", adds_version=True)(key)
    proxy.release()
    behind.close()
    proxy.wait_until_idle()

    assert (table.get(key)[MARKER], table.get(key)["revision"]) == ({"S": SECOND}, {"N": "1001"})


@pytest.mark.parametrize(
    ("kind", "scope"),
    [(Kind.THROTTLE_TABLE, "table"), (Kind.THROTTLE_INDEX, "index"), (Kind.THROTTLE_PARTITION, "partition")],
)
def test_a_throttled_touch_says_what_was_short(
    tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any, kind: Kind, scope: str
):
    table = tables()
    key = one(table)
    proxy.order(Fault(kind))

    with pytest.raises(Throttled) as raised:
        touch(table, client=behind)(key)

    assert raised.value.scope == scope
    assert touch(table, client=behind)(key).outcome is Outcome.TOUCHED


@pytest.fixture(params=["legacy", "standard", "adaptive"])
def told_otherwise(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, proxy: DynamoDBProxy) -> Any:
    """A client of touches in an environment that says how botocore is to try again."""
    monkeypatch.setenv("AWS_RETRY_MODE", request.param)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    as_written = runpy.run_path(calls.__file__)["CLIENT"]  # botocore completes what it is given, so that the first client decides
    return at(proxy.url, "dynamodb", config=Config(**as_written))


def test_every_throttled_touch_is_told_whatever_the_environment_says_of_tries(
    tables: Callable[..., Table], proxy: DynamoDBProxy, told_otherwise: Any
):
    table = tables()
    key = one(table)
    proxy.order(Fault(Kind.THROTTLE_TABLE, times=3))
    through = touch(table, client=told_otherwise)

    for _ in range(3):
        with pytest.raises(Throttled):
            through(key)

    assert through(key).outcome is Outcome.TOUCHED
    assert told_otherwise.meta.config.retries["mode"] == "legacy"  # adaptive would wait before it sends: not to be seen here


def test_a_damaged_answer_is_no_answer_whatever_the_environment_says_of_tries(
    tables: Callable[..., Table], proxy: DynamoDBProxy, told_otherwise: Any
):
    table = tables()
    key = one(table)
    proxy.order(Fault(Kind.BAD_CHECKSUM))
    through = touch(table, client=told_otherwise)

    with pytest.raises(TransientError, match="damaged"):
        through(key)

    assert through(key).outcome is Outcome.OURS_BEFORE


def test_a_missing_permission_is_named(tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any):
    table = tables()
    proxy.order(Fault(Kind.ACCESS_DENIED))

    with pytest.raises(NotAllowed, match="dynamodb:UpdateItem"):
        touch(table, client=behind)(one(table))

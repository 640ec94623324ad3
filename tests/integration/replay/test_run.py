"""The whole loop on Amazon's own engine: faults and kills at every write, then a resume."""

from __future__ import annotations

import gc
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from local.cloud import Cloud
from local.demo.application import Application, last_writes, writes
from local.demo.application import name_of as name_in_log
from local.simulators.dynamodb_faults.control import DynamoDBProxy
from local.simulators.dynamodb_faults.faults import Fault, Kind
from searchops.core.errors import DataError, SearchOpsError, TransientError
from searchops.core.idempotency.errors import ClaimLost, InProgress
from searchops.core.replay import select, toucher
from searchops.core.replay.calls import NotAllowed
from searchops.core.replay.identity import State
from searchops.core.replay.lag import ConsumerLate, Supplied, Thresholds, Watch
from searchops.core.replay.model import Counts, Key, Units
from searchops.core.replay.pace import Pacer
from searchops.core.replay.run import PageDone, Standing
from searchops.core.replay.selection import All, ByDate, ByKey, PartitionKey, Selection
from searchops.core.replay.touch import StrangeMarker, replay_id_of
from searchops.core.replay.touched import name_of
from tests.integration.replay.mortal import Killed, Mortality
from tests.integration.replay.world import DAY, MARKER, Replayed, Table, at, item, records, some_items, touches

TODAY = ByDate("by_day", "day", date(2026, 11, 21), (DAY,))
AFTER_THE_LEASE = 61
MOST_WRITES = 60


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "PAGE_ITEMS", 5)
    monkeypatch.setattr("searchops.core.replay.run.AHEAD_KEYS", 10)


class ByOrder(Exception):
    """Ends a try."""


def partition(name: str) -> ByKey:
    return ByKey((PartitionKey({"S": name}),))


def settle(proxy: DynamoDBProxy, client: Any) -> None:
    """Wait until the engine has had all that the client sent, requests that were held back included."""
    client.close()
    gc.collect()  # a connection whose answer was cut is held by the error that told of it
    proxy.wait_until_idle()


def revisions(table: Table, keys: list[Key]) -> Counter[str]:
    return Counter(table.get(key)["revision"]["N"] for key in keys)


@pytest.mark.parametrize("selection", [TODAY, All(4), partition("p")])
def test_every_item_is_touched_once_and_on_the_list(
    replayed: Replayed, tables: Callable[..., Table], streams: Any, selection: Selection
):
    table = tables()
    keys = table.put(item("p", number) for number in range(23))

    done = replayed.run(table, selection)

    assert (done.counts.selected, done.counts.touched, done.counts.reached) == (23, 23, 23)
    assert done.counts.table_units == 23
    assert done.replay.state is State.FINISHED
    assert touches(records(streams, table), done.replay.replay_id) == Counter(map(name_of, keys))
    assert replayed.kept(table, done.replay.replay_id) == Counter(map(name_of, keys))


def test_an_empty_day_succeeds_and_says_0(replayed: Replayed, tables: Callable[..., Table]):
    done = replayed.run(tables(), TODAY)

    assert (done.counts, done.replay.state) == (Counts(read_units=done.counts.read_units), State.FINISHED)


def test_a_day_that_is_replayed_again_is_touched_again_under_a_later_id(replayed: Replayed, tables: Callable[..., Table]):
    table = tables()
    keys = table.put(some_items(7))

    first, second = replayed.run(table, TODAY), replayed.run(table, TODAY)

    assert first.replay.replay_id < second.replay.replay_id
    assert (first.counts.touched, second.counts.touched) == (7, 7)
    assert revisions(table, keys) == {"1002": 7}


def test_items_that_can_not_take_the_marker_are_counted_by_reason(
    replayed: Replayed, tables: Callable[..., Table], caplog: pytest.LogCaptureFixture
):
    table = tables(ttl="gone_at")
    table.put(
        [
            item("a", 1),
            item("a", 2, gone_at={"N": "1800000000"}),
            item("a", 3, **{MARKER: {"S": "mine"}}),
            item("a", 4, revision={"S": "x"}),
            item("a", 6, text={"S": "x" * (400 * 1024 - 45)}),
        ]
    )
    pages: list[PageDone] = []

    done = replayed.run(table, TODAY, pages.append, clock=lambda: 1_800_000_010.0)

    assert (done.counts.selected, done.counts.touched) == (5, 1)
    assert done.counts.skipped == {"expired": 1, "too_large": 1, "marker_misused": 1, "version_misused": 1}
    assert sorted(touched.outcome for page in pages for touched in page.skipped) == sorted(done.counts.skipped)
    assert 'not touched, too_large: {"pk": {"S": "a"}, "sk": {"N": "6"}}' in caplog.text


def test_progress_is_told_after_every_page(replayed: Replayed, tables: Callable[..., Table]):
    table = tables()
    table.put(some_items(23))
    pages: list[PageDone] = []

    done = replayed.run(table, All(3), pages.append)

    told = [page.counts.selected for page in pages]
    assert told == sorted(told)
    assert pages[-1].counts == pages[-1].here == done.counts
    assert (pages[-1].parts_done, pages[-1].parts) == (3, 3)


def test_a_pause_is_told_while_it_lasts_and_then_the_next_try_goes_on(
    replayed: Replayed, tables: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
):
    """The consumer falls behind after 20 touches, by a clock that goes 30 s on with each look."""
    monkeypatch.setattr("searchops.core.replay.run.TELL_SECONDS", 0.01)
    table = tables()
    keys = table.put(some_items(40))
    clock, told = itertools.count(0, 30), list[tuple[Standing, str]]()
    watch = Watch(
        {"indexer": Supplied(lambda: 960.0 if pace.consumed.total >= 20 else 1.0)},
        Thresholds.of(timedelta(minutes=15)),
        clock=lambda: next(clock),
    )
    pace = Pacer(1e7, lag=watch, look_seconds=0.0, sleep=lambda seconds: time.sleep(seconds / 20))

    with pytest.raises(ConsumerLate, match="indexer is 16 min behind"):
        replayed.run(table, TODAY, on_wait=lambda standing: told.append((standing, pace.said)), pace=pace)
    done = replayed.run(table, TODAY)

    standing, said = told[-1]
    assert 0 < standing.here.selected < 40
    assert standing.here == standing.counts
    assert "paused: indexer is 16 min behind, limit 15 min; waited " in said
    assert (done.replay.resumed, done.replay.replay_id) == (True, standing.replay.replay_id)
    assert done.counts.before < 40
    assert revisions(table, keys) == {"1001": 40}


def test_a_second_replay_of_the_table_is_refused_while_one_runs(replayed: Replayed, tables: Callable[..., Table]):
    table = tables()
    table.put(some_items(20))
    refused: list[BaseException] = []

    def second(page: PageDone) -> None:
        with pytest.raises(InProgress) as raised:
            replayed.run(table, All())
        refused.append(raised.value)

    first = replayed.run(table, TODAY, second)

    assert first.counts.touched == 20
    assert refused
    assert replayed.run(table, All()).counts.touched == 20


def test_a_replay_that_lost_its_claim_stops_and_lets_its_successor_finish(replayed: Replayed, tables: Callable[..., Table]):
    """Its machine sleeps for longer than the lease, and another task goes on with the replay meanwhile."""
    table = tables()
    keys = table.put(some_items(40))
    slept = 0.0
    successors = []

    def sleep(page: PageDone) -> None:
        nonlocal slept
        if not successors:
            successors.append(replayed.run(table, TODAY, ahead=AFTER_THE_LEASE))
            slept = AFTER_THE_LEASE

    with pytest.raises(ClaimLost):
        replayed.run(table, TODAY, sleep, ahead=lambda: slept)

    (successor,) = successors
    assert (successor.replay.resumed, successor.counts.selected) == (True, 40)
    assert revisions(table, keys) == {"1001": 40}
    assert replayed.run(table, partition("p1")).counts.selected == 6  # the claim is free


class Sleeper(Pacer):
    """Lets something happen while a touch waits for its turn."""

    def __init__(self, before_touch: int, happens: Callable[[], None]) -> None:
        super().__init__(1e7)
        self.asked, self.answered = 0, 0
        self._before_touch, self._happens = before_touch, happens

    def before(self, touches: int = 1) -> None:
        self.asked += 1
        if self.asked == self._before_touch:
            self._happens()
        super().before(touches)

    def after(self, units: Units, **told: Any) -> None:
        self.answered += 1
        super().after(units, **told)


def test_a_claim_that_is_lost_while_a_touch_waits_for_its_turn_is_not_used_any_more(
    replayed: Replayed, tables: Callable[..., Table]
):
    table = tables()
    keys = table.put(some_items(5))
    slept = 0.0

    def sleep() -> None:
        nonlocal slept
        replayed.run(table, TODAY, ahead=AFTER_THE_LEASE)
        slept = AFTER_THE_LEASE

    pace = Sleeper(3, sleep)
    with pytest.raises(ClaimLost):
        replayed.run(table, TODAY, ahead=lambda: slept, pace=pace, threads=1)

    assert pace.answered == 2
    assert revisions(table, keys) == {"1001": 5}


def test_an_error_in_the_middle_is_gone_on_from_and_books_add_up(
    replayed: Replayed, tables: Callable[..., Table], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    table = tables()
    keys = table.put(some_items(43))
    pages: list[PageDone] = []

    def end(page: PageDone) -> None:
        pages.append(page)
        if len(pages) == 3:
            raise ByOrder

    with pytest.raises(ByOrder):
        replayed.run(table, All(2), end)
    done = replayed.run(table, All(7), pages.append)

    assert done.replay.resumed
    assert done.replay.replay_id == pages[0].replay.replay_id
    assert pages[3].counts.selected > pages[2].counts.selected > pages[3].here.selected
    assert (done.counts.selected, done.counts.reached) == (43, 43)
    assert revisions(table, keys) == {"1001": 43}
    assert replayed.kept(table, done.replay.replay_id) == Counter(map(name_of, keys))
    assert "goes on, which was begun at" in caplog.text


def test_a_replay_of_other_items_in_between_covers_what_it_has_touched(
    replayed: Replayed, tables: Callable[..., Table], streams: Any
):
    table = tables()
    keys = table.put(some_items(21))

    def end(page: PageDone) -> None:
        raise ByOrder

    with pytest.raises(ByOrder):
        replayed.run(table, TODAY, end)
    between = replayed.run(table, partition("p3"))
    done = replayed.run(table, TODAY)

    assert done.replay.replay_id < between.replay.replay_id
    assert (done.counts.selected, done.counts.reached + done.counts.covered) == (21, 21)
    found = records(streams, table)
    later = touches(found, between.replay.replay_id)
    assert all(touches(found, done.replay.replay_id)[name] + later[name] >= 1 for name in map(name_of, keys))
    assert max(touches(found, done.replay.replay_id).values()) == 1


@pytest.mark.parametrize("batches", [False, True])
def test_items_with_an_id_that_no_replay_has_had_are_no_success(
    replayed: Replayed, tables: Callable[..., Table], *, batches: bool
):
    """As in a copy of a table whose replays have another table of claims: each touch would be refused, and nothing would fire."""
    table = tables()
    later = replay_id_of(2**60)
    table.put(item("a", number, **{MARKER: {"S": later}}) for number in range(9))

    with pytest.raises(
        StrangeMarker, match=rf"expected in {MARKER} ids of replays up to \d+, .*found {later}: .*name another marker"
    ):
        replayed.run(table, TODAY, batches=batches, adds_version=False)

    assert replayed.job(table, TODAY).replays.look(table.name, TODAY).state is State.OPEN


def test_the_id_of_a_successor_is_a_claim_that_was_lost(replayed: Replayed, tables: Callable[..., Table]):
    """Asleep for longer than its lease, by a clock that does not say so; meanwhile all was touched by a later replay."""
    table = tables()
    table.put(some_items(40))
    later = []

    def sleep(page: PageDone) -> None:
        if not later:
            later.append(replayed.run(table, All(), ahead=AFTER_THE_LEASE))

    with pytest.raises(ClaimLost):
        replayed.run(table, TODAY, sleep)


@pytest.mark.parametrize("kill", ["before", "after"])
def test_a_kill_at_any_write_is_harmless(replayed: Replayed, tables: Callable[..., Table], dynamodb_cloud: Cloud, kill: str):
    """Dead before the n-th write, or behind it: nothing is sent any more, not even the release of the claim. Then the task is tried again."""
    table = tables()
    for number in range(1, MOST_WRITES):
        keys = table.put(item(f"k{number}", sort) for sort in range(7))
        selection = partition(f"k{number}")
        mortality = Mortality(dynamodb_cloud, number, kill)
        ahead = number * 2 * AFTER_THE_LEASE
        try:
            replayed.run(
                table,
                selection,
                client=mortality.dynamodb,
                home=mortality.dynamodb,
                bucket=mortality.bucket(replayed.bucket),
                ahead=ahead,
            )
        except Killed:
            found = replayed.job(table, selection).replays.look(table.name, selection)
            if found is None or found.state is State.OPEN:  # else it was killed at its very end: all is done and noted
                done = replayed.run(table, selection, ahead=ahead + AFTER_THE_LEASE)
                assert (done.counts.selected, done.counts.reached) == (7, 7)
        else:
            assert number > 18  # fence, claim, note, id, 7 touches, 2 pages and their checkpoints, end, note, release
            break

        assert revisions(table, keys) == {"1001": 7}
        replay_id = replayed.job(table, selection).replays.look(table.name, selection).replay_id
        assert replayed.kept(table, replay_id) == Counter(map(name_of, keys))
    else:
        pytest.fail("never came to its end")


LOSSY = {
    Kind.RESET_BEFORE: 0.04,
    Kind.RESET_AFTER: 0.04,
    Kind.INTERNAL_ERROR: 0.04,
    Kind.INTERNAL_ERROR_AFTER: 0.04,
    Kind.CUT: 0.04,
    Kind.BAD_CHECKSUM: 0.04,
    Kind.THROTTLE_TABLE: 0.03,
    Kind.THROTTLE_INDEX: 0.03,
    Kind.THROTTLE_PARTITION: 0.03,
    Kind.DELAYED: 0.02,
}


@pytest.mark.parametrize("retries", [{"total_max_attempts": 1}, {"mode": "legacy"}, {"mode": "standard"}])
def test_no_fault_makes_a_touch_happen_twice_or_not_at_all(
    replayed: Replayed, tables: Callable[..., Table], proxy: DynamoDBProxy, streams: Any, retries: dict[str, Any]
):
    table = tables()
    keys = table.put(some_items(120))
    proxy.random(7, LOSSY, operations=("UpdateItem", "Query", "Scan"), table=table.name, seconds=0.1)
    client = at(proxy.url, "dynamodb", config=Config(retries=retries, max_pool_connections=20, read_timeout=5))

    done = replayed.run(table, TODAY, client=client)
    settle(proxy, client)

    assert (done.counts.selected, done.counts.reached) == (120, 120)
    assert sum(proxy.counts().values()) > 20
    assert revisions(table, keys) == {"1001": 120}
    assert touches(records(streams, table), done.replay.replay_id) == Counter(map(name_of, keys))
    assert replayed.kept(table, done.replay.replay_id) == Counter(map(name_of, keys))


def test_throttling_reaches_the_pace_with_its_reason(
    replayed: Replayed, tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any
):
    table = tables()
    table.put(some_items(30))
    for kind, times in ((Kind.THROTTLE_TABLE, 3), (Kind.THROTTLE_INDEX, 2), (Kind.THROTTLE_PARTITION, 1)):
        proxy.order(Fault(kind, times=times, table=table.name))
    pace = Pacer(1e7)

    done = replayed.run(table, TODAY, client=behind, pace=pace)

    assert done.counts.touched == 30
    assert pace.throttles == {"table": 3, "index": 2, "partition": 1}
    assert pace.consumed.table == 30


def test_a_table_that_throttles_for_ever_fails_the_try_and_not_the_replay(
    replayed: Replayed, tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any, monkeypatch: pytest.MonkeyPatch
):
    table = tables()
    keys = table.put(some_items(12))
    monkeypatch.setattr(toucher, "PATIENCE_SECONDS", 0.3)
    proxy.order(Fault(Kind.THROTTLE_PARTITION, times=None, after=6, table=table.name))

    with pytest.raises(TransientError, match="UpdateItem is throttled by the partition"):
        replayed.run(table, TODAY, client=behind)
    proxy.clear()
    done = replayed.run(table, TODAY, client=behind)

    assert done.counts.reached == 12
    assert revisions(table, keys) == {"1001": 12}


def test_the_wait_for_a_turn_does_not_count_as_throttled(
    replayed: Replayed, tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any, monkeypatch: pytest.MonkeyPatch
):
    table = tables()
    table.put(some_items(3))
    monkeypatch.setattr(toucher, "PATIENCE_SECONDS", 0.0)
    proxy.order(Fault(Kind.THROTTLE_TABLE, table=table.name))

    assert replayed.run(table, TODAY, client=behind).counts.touched == 3


@pytest.mark.parametrize("operation", ["UpdateItem", "Query"])
def test_a_missing_permission_ends_the_try_at_once(
    replayed: Replayed, tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any, operation: str
):
    table = tables()
    table.put(some_items(12))
    proxy.order(Fault(Kind.ACCESS_DENIED, operations=(operation,), times=None, table=table.name))

    with pytest.raises(NotAllowed, match=f"dynamodb:{operation}"):
        replayed.run(table, TODAY, client=behind)

    assert proxy.counts()[Kind.ACCESS_DENIED] <= 10  # one for each key of the two pages under way; the third is not begun
    proxy.clear()
    assert replayed.run(table, TODAY, client=behind).counts.reached == 12


def test_a_selection_that_does_not_fit_the_table_begins_nothing(replayed: Replayed, tables: Callable[..., Table]):
    table = tables()
    wrong = ByKey((PartitionKey({"N": "1"}),))

    with pytest.raises(DataError):
        replayed.run(table, wrong)

    assert replayed.job(table, wrong).replays.unfinished(table.name) == []


def test_a_replay_that_is_told_to_stop_goes_on_later(replayed: Replayed, tables: Callable[..., Table]):
    table = tables()
    keys = table.put(some_items(40))
    stop, pace = threading.Event(), Pacer(1e7)

    def end(page: PageDone) -> None:
        stop.set()
        pace.stop()

    with pytest.raises(SearchOpsError, match="stopped"):
        replayed.run(table, TODAY, end, stop=stop, pace=pace)
    done = replayed.run(table, TODAY)

    assert (done.counts.selected, done.replay.resumed) == (40, True)
    assert revisions(table, keys) == {"1001": 40}


def test_what_is_missing_is_touched_once_more_under_a_follow_up(replayed: Replayed, tables: Callable[..., Table], streams: Any):
    table = tables()
    keys = table.put(some_items(9))
    done = replayed.run(table, TODAY)
    follow_up = f"{done.replay.replay_id}.01"

    for _ in range(2):
        again = replayed.job(table, TODAY).toucher.again(keys[:4], follow_up)

    assert Counter(touched.outcome.value for touched in again) == {"before": 4}
    found = records(streams, table)
    assert touches(found, follow_up) == Counter(map(name_of, keys[:4]))
    assert touches(found, done.replay.replay_id) == Counter(map(name_of, keys))


def test_no_update_of_the_application_is_lost_and_nothing_deleted_comes_back(
    replayed: Replayed, tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any, streams: Any, tmp_path: Path
):
    """The application writes what it likes while the table is replayed through faults, killed after some pages, and gone on with."""
    table = tables()
    keys = table.put(some_items(150))
    busy, quiet = keys[:60], keys[60:]
    proxy.random(11, LOSSY, table=table.name, seconds=0.1)
    stop, log = threading.Event(), tmp_path / "writes.ndjson"

    def write() -> None:
        with log.open("w") as lines:
            application = Application(table.client, table.name, lines, {"day": {"S": DAY}})
            for planned in itertools.takewhile(lambda _: not stop.is_set(), writes(busy, seed=3)):
                application.send(planned)

    def end_at(number: int) -> Callable[[PageDone], None]:
        left = itertools.count(1)

        def on_page(page: PageDone) -> None:
            if next(left) == number:
                raise ByOrder

        return on_page

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in (3, 4):
            with pytest.raises(ByOrder):
                replayed.run(table, All(3), end_at(number), client=behind, adds_version=False)
        done = replayed.run(table, All(3), client=behind, adds_version=False)
    finally:
        stop.set()
        writer.join()
    settle(proxy, behind)

    last = {name: write.done for name, write in last_writes(log).items() if write.done}
    assert len(last) > 10
    for key in busy:
        if written := last.get(name_in_log(key)):
            found = table.get(key)
            assert (found is None) == (written.operation == "delete")
            assert found is None or found["app"] == {"N": str(written.number)}
    assert all(table.get(key)[MARKER] == {"S": done.replay.replay_id} for key in quiet)
    touched = touches(records(streams, table), done.replay.replay_id)
    assert {touched[name_of(key)] for key in quiet} == {1}


def test_batches_touch_every_item_once_too(
    replayed: Replayed, tables: Callable[..., Table], proxy: DynamoDBProxy, behind: Any, streams: Any
):
    table = tables()
    keys = table.put(some_items(130))
    for kind in LOSSY:
        proxy.order(Fault(kind, operations=("BatchExecuteStatement",)))

    done = replayed.run(table, TODAY, client=behind, batches=True, adds_version=False)

    assert (done.counts.selected, done.counts.reached) == (130, 130)
    assert proxy.counts() == dict.fromkeys(LOSSY, 1)
    assert touches(records(streams, table), done.replay.replay_id) == Counter(map(name_of, keys))


def test_batches_tell_items_apart_that_can_not_take_the_marker(replayed: Replayed, tables: Callable[..., Table]):
    table = tables(ttl="gone_at")
    table.put(
        [
            item("a", 1),
            item("a", 2, gone_at={"N": "1800000000"}),
            item("a", 3, **{MARKER: {"S": "mine"}}),
            item("a", 4, gone_at={"S": "later"}),
            item("a", 6, text={"S": "x" * (400 * 1024 - 45)}),
        ]
    )

    done = replayed.run(table, TODAY, batches=True, adds_version=False, clock=lambda: 1_800_000_010.0)

    assert (done.counts.selected, done.counts.touched) == (5, 2)
    assert done.counts.skipped == {"expired": 1, "too_large": 1, "marker_misused": 1}


def test_batches_can_not_add_to_a_version(replayed: Replayed, tables: Callable[..., Table]):
    with pytest.raises(DataError, match="found batches"):
        replayed.job(tables(), TODAY, batches=True)

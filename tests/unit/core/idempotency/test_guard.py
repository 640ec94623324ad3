from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from searchops.core.errors import DataError, TransientError
from searchops.core.idempotency.errors import (
    ClaimEnded,
    ClaimLost,
    FailedBefore,
    InProgress,
    NotJson,
    PayloadMismatch,
    ResultTooLarge,
    TableRefused,
)
from searchops.core.idempotency.guard import Claim, Completed, Guard, lambda_lease
from searchops.core.idempotency.model import MAX_RESULT_BYTES, Status
from tests.unit.core.idempotency.conftest import Clock
from tests.unit.core.idempotency.memory_table import MemoryTable, refuse


def claimed(guard: Guard, key: str = "k", **more: Any) -> Claim:
    claim = guard.claim(key, **more)
    assert isinstance(claim, Claim)
    return claim


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class TestRun:
    def test_the_first_caller_and_those_after_it_get_the_same_result(self, guard: Guard):
        first = guard.run("k", lambda claim: {"words": ("東京", "塔"), 1: 2.5})

        assert first == guard.run("k", lambda claim: pytest.fail("done before")) == {"words": ["東京", "塔"], "1": 2.5}

    def test_a_data_error_is_recorded_and_not_tried_again_until_it_is_reset(self, guard: Guard):
        def work(claim: Claim) -> None:
            raise DataError("line 7 is bad", reason="ValidationException")

        with pytest.raises(DataError, match="line 7"):
            guard.run("k", work)
        with pytest.raises(FailedBefore) as again:
            guard.run("k", lambda claim: pytest.fail("tried again"))

        assert again.value.reason == "line 7 is bad (ValidationException)"
        assert guard.reset("k")
        assert not guard.reset("k")
        assert guard.run("k", lambda claim: claim.attempt) == 2

    @pytest.mark.parametrize("error", [TransientError("throttled"), ValueError("a mistake"), KeyboardInterrupt()])
    def test_any_other_error_lets_the_key_go_at_once(self, guard: Guard, error: BaseException):
        def work(claim: Claim) -> None:
            raise error

        with pytest.raises(type(error)):
            guard.run("k", work)

        assert guard.run("k", lambda claim: claim.attempt) == 2

    def test_the_same_key_with_another_payload_is_an_error(self, guard: Guard):
        guard.run("k", lambda claim: 1, payload={"a": 1, "b": 2})

        assert guard.run("k", lambda claim: 2, payload={"b": 2, "a": 1}) == 1
        with pytest.raises(PayloadMismatch, match="k: expected the payload"):
            guard.run("k", lambda claim: 2, payload={"a": 1})

    def test_a_result_is_forgotten_after_its_time(self, guard: Guard, clock: Clock):
        guard.run("k", lambda claim: 1, payload="one")
        clock.now += timedelta(days=7).total_seconds() + 1

        assert guard.look("k") is None
        assert guard.run("k", lambda claim: 2, payload="two") == 2


class TestClaim:
    def test_a_key_that_another_has_is_refused_and_the_error_says_until_when(self, guard: Guard, clock: Clock):
        claimed(guard)

        with pytest.raises(InProgress) as refused:
            guard.claim("k")

        assert refused.value.until.timestamp() == clock.now + 60

    def test_a_dead_owner_is_followed_after_its_lease_and_can_not_end_the_claim_of_its_successor(
        self, guard: Guard, clock: Clock
    ):
        late = claimed(guard)
        clock.now += 60
        successor = claimed(guard)

        for end in (late.complete, late.release, lambda: late.fail("late"), late.extend, late.check):
            with pytest.raises(ClaimLost, match=f"taken over by owner {successor.owner} with fence {successor.fence}"):
                end()
        assert (successor.attempt, successor.fence > late.fence) == (2, True)
        assert successor.complete("mine") == "mine"

    def test_an_owner_that_nobody_followed_may_complete_late(self, guard: Guard, clock: Clock):
        late = claimed(guard)
        clock.now += 3600

        late.complete(1)

        assert guard.claim("k") == Completed(1, late.fence)

    def test_an_owner_whose_record_is_gone_is_told_so(self, guard: Guard, table: MemoryTable):
        claim = claimed(guard)
        table.remove("claim#test#k")

        with pytest.raises(ClaimLost, match="its record is gone"):
            claim.complete(1)

    def test_asking_whether_a_claim_holds_extends_one_whose_lease_has_passed(self, guard: Guard, clock: Clock):
        claim = claimed(guard, lease=timedelta(seconds=5))
        clock.now += 5
        claim.check()
        clock.now += 4

        with pytest.raises(InProgress):
            guard.claim("k")

    def test_a_claim_tells_how_it_ended_and_nothing_that_is_not_recorded(self, guard: Guard, table: MemoryTable):
        ended = [claimed(guard, key) for key in "abc"]
        for claim, end in zip(ended, (Claim.complete, Claim.release, lambda claim: claim.fail("bad")), strict=True):
            end(claim)
        unanswered = claimed(guard, "d")
        answer_lost_once(table)
        with pytest.raises(TransientError):
            unanswered.fail("bad")

        assert [claim.status for claim in ended] == [Status.COMPLETED, Status.RELEASED, Status.FAILED_PERMANENT]
        assert unanswered.status is Status.IN_PROGRESS

    @pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "ResourceNotFoundException"])
    def test_what_the_table_refuses_is_never_recorded_as_a_failure_of_the_work(self, guard: Guard, table: MemoryTable, code: str):
        refuse(table, code, lambda request: ":completed" in request["ExpressionAttributeValues"])
        with pytest.raises(TableRefused):
            guard.run("k", lambda claim: 1)

        record = guard.look("k")
        assert record
        assert record.status is Status.RELEASED

    def test_a_claim_ends_once(self, guard: Guard):
        claim = claimed(guard)
        claim.complete(1)

        with pytest.raises(ClaimEnded):
            claim.complete(2)

    def test_an_owner_that_completes_again_for_want_of_an_answer_gets_what_it_recorded(self, guard: Guard, table: MemoryTable):
        claim = claimed(guard)
        answer_lost_once(table)
        with pytest.raises(TransientError, match="no answer"):
            claim.complete(1)

        assert claim.complete(2) == 1

    def test_many_owners_that_let_a_key_go_in_between_do_not_keep_a_claim_in_a_circle(self, guard: Guard, table: MemoryTable):
        send, other = table.update_item, Guard(table, table="claims", namespace="test")

        def overtaken(**request: Any) -> Any:
            if "ConditionExpression" in request:
                table.update_item = send
                Guard(table, table="claims", namespace="test").claim("k").release()
                table.update_item = overtaken
            return send(**request)

        table.update_item = overtaken

        with pytest.raises(TransientError, match="10 times another owner had it"):
            guard.claim("k")
        table.update_item = send
        assert other.claim("k")


class TestContextManager:
    def test_a_block_that_does_not_complete_completes_without_a_result(self, guard: Guard):
        with claimed(guard):
            pass

        assert guard.claim("k") == Completed(None, 1)

    def test_a_block_that_lost_its_claim_does_not_end_quietly(self, guard: Guard, clock: Clock):
        late = claimed(guard)
        clock.now += 60
        claimed(guard)
        with pytest.raises(ClaimLost):
            late.extend()

        with pytest.raises(ClaimLost), late:
            pass

    def test_the_first_error_is_told_when_the_claim_can_not_be_ended(self, guard: Guard, clock: Clock):
        late = claimed(guard)
        clock.now += 60
        claimed(guard)

        with pytest.raises(ValueError, match="first") as raised, late:
            raise ValueError("first")

        assert "the claim could not be ended: k: the claim of owner" in raised.value.__notes__[0]


class TestLimits:
    @pytest.mark.parametrize("payload", [b"bytes", object(), float("nan"), {"a": {1, 2}}, "\ud83d", {(1, 2): 3}])
    def test_a_payload_that_can_not_be_hashed_is_refused_before_anything_is_written(
        self, guard: Guard, table: MemoryTable, payload: Any
    ):
        with pytest.raises(NotJson, match="the payload: expected"):
            guard.claim("k", payload=payload)

        assert not table.items

    def test_a_payload_that_is_nested_without_end_is_refused(self, guard: Guard):
        endless: list[Any] = []
        endless.append(endless)

        with pytest.raises(NotJson):
            guard.claim("k", payload=endless)

    def test_a_result_of_the_largest_size_is_kept(self, guard: Guard):
        result = "塔" * ((MAX_RESULT_BYTES - 2) // 3)

        assert guard.run("k", lambda claim: result) == guard.claim("k").result == result

    @pytest.mark.parametrize(("result", "error"), [("x" * (MAX_RESULT_BYTES - 1), ResultTooLarge), (b"bytes", NotJson)])
    def test_a_result_that_can_not_be_kept_closes_the_key_because_the_work_was_done(
        self, guard: Guard, result: Any, error: type[Exception]
    ):
        with pytest.raises(error):
            guard.run("k", lambda claim: result)

        record = guard.look("k")
        assert record
        assert record.status is Status.FAILED_PERMANENT
        assert record.reason.startswith("the work was done, and its result could not be kept")
        with pytest.raises(FailedBefore):
            guard.run("k", lambda claim: pytest.fail("done twice"))

    @pytest.mark.parametrize("key", ["", None, 7, "\ud83d"])
    def test_a_key_has_to_be_a_text(self, guard: Guard, key: Any):
        with pytest.raises(DataError, match="the key of a claim"):
            guard.claim(key)

    def test_keys_that_are_too_long_for_a_table_are_told_apart(self, guard: Guard, table: MemoryTable):
        for end in "ab":
            guard.run("塔" * 600 + end, lambda claim: 1)

        claims = [key for key in table.items if key.startswith("claim#")]
        assert len(claims) == 2
        assert all(len(key.encode()) <= 2048 for key in claims)

    def test_a_reason_that_no_table_can_hold_is_made_to_fit(self, guard: Guard):
        claimed(guard).fail("\udcff" + "x" * 9000)

        record = guard.look("k")
        assert record
        assert record.reason == "?" + "x" * 3999

    @pytest.mark.parametrize(
        "settings", [{"namespace": "a#b"}, {"namespace": ""}, {"lease": timedelta(0)}, {"keep": timedelta(-1)}]
    )
    def test_settings_without_sense_are_refused(self, table: MemoryTable, settings: dict[str, Any]):
        with pytest.raises(DataError, match="expected"):
            Guard(table, **{"table": "claims", "namespace": "test"} | settings)

    def test_no_line_of_the_log_holds_what_was_sent_or_returned(
        self, guard: Guard, clock: Clock, caplog: pytest.LogCaptureFixture
    ):
        with caplog.at_level(logging.DEBUG, "searchops"):
            claimed(guard, payload="secret-payload")
            clock.now += 60
            guard.run("k", lambda claim: "secret-result", payload="secret-payload")
            claimed(guard, "other").fail("secret-reason")

        assert "k: taken over" in caplog.text
        assert "k: COMPLETED" in caplog.text
        assert "secret" not in caplog.text


class TestOnce:
    def test_a_coroutine_is_refused_at_once(self, guard: Guard):
        async def handler(event: str) -> None: ...

        with pytest.raises(TypeError, match="found a coroutine"):
            guard.once(key=str)(handler)

    def test_a_function_runs_once_for_each_key(self, guard: Guard):
        calls = []

        @guard.once(key=lambda event: event["id"], payload=lambda event: event)
        def handler(event: dict[str, Any]) -> int:
            """What it does."""
            calls.append(event)
            return len(calls)

        assert [handler({"id": "a"}), handler({"id": "a"}), handler({"id": "b"})] == [1, 1, 2]
        assert (handler.__name__, handler.__doc__) == ("handler", "What it does.")
        with pytest.raises(PayloadMismatch):
            handler({"id": "a", "more": 1})

    def test_a_function_with_a_parameter_for_it_gets_the_claim(self, guard: Guard):
        @guard.once(key=lambda event, context: event, lease=lambda event, context: lambda_lease(context))
        def handler(event: str, context: Any, claim: Claim) -> list[int]:
            record = guard.look(event)
            assert record
            return [claim.fence, record.lease_until_ms - record.claimed_at_ms]

        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 5000)
        assert handler("k", context) == [1, 15_000]


class TestHeartbeat:
    """On the real clock: a thread waits."""

    @pytest.fixture
    def guard(self, table: MemoryTable) -> Guard:
        return Guard(table, table="claims", namespace="test", lease=timedelta(milliseconds=60))

    def lease_of(self, guard: Guard) -> int:
        record = guard.look("k")
        assert record
        return record.lease_until_ms

    def test_it_keeps_the_lease_in_front_of_the_clock(self, guard: Guard):
        with claimed(guard) as claim, claim.heartbeat():
            first = self.lease_of(guard)
            until(lambda: self.lease_of(guard) >= first + 180)  # three leases
            with pytest.raises(InProgress):
                guard.claim("k")

        assert isinstance(guard.claim("k"), Completed)
        assert not heartbeats()

    def test_it_tells_when_another_owner_has_the_key(self, guard: Guard, table: MemoryTable):
        claim = claimed(guard)
        with claim.heartbeat():
            table.items["claim#test#k"]["owner"]["S"] = "another"
            until(lambda: claim._lost is not None)

        with pytest.raises(ClaimLost, match="taken over by owner another"):
            claim.check()

    def test_it_goes_on_after_a_call_without_an_answer(self, guard: Guard, table: MemoryTable):
        claim = claimed(guard)
        answer_lost_once(table)
        with claim.heartbeat():
            first = claim._lease_until_ms
            until(lambda: claim._lease_until_ms > first)
            claim.check()

    def test_a_call_that_gets_no_answer_does_not_hold_the_end_of_the_block(self, guard: Guard, table: MemoryTable):
        send, under_way, answered = table.update_item, threading.Event(), threading.Event()

        def held(**request: Any) -> Any:
            if threading.current_thread().name.startswith("heartbeat"):
                under_way.set()
                assert answered.wait(20)
            return send(**request)

        table.update_item = held
        with claimed(guard) as claim:
            with claim.heartbeat():
                assert under_way.wait(20)
            still_held = heartbeats()
            claim.complete(1)
        answered.set()

        assert still_held
        until(lambda: not heartbeats())
        assert isinstance(guard.claim("k"), Completed)

    def test_a_block_that_completes_before_it_ends_is_not_disturbed(self, guard: Guard):
        with claimed(guard) as claim, claim.heartbeat():
            claim.complete(1)

        assert claim._lost is None


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("heartbeat")]


def answer_lost_once(table: MemoryTable) -> None:
    send = table.update_item

    def lost(**request: Any) -> Any:
        table.update_item = send
        send(**request)
        raise ReadTimeoutError(endpoint_url="memory")

    table.update_item = lost

"""Passes over the queue of failed events: SQS and the claims in moto, and a Lambda that notes what it is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchops.core.errors import DataError, TransientError
from searchops.core.functions.queue import FailedEventQueue
from searchops.core.functions.redrive import CLOCKS_APART, Choice, Fate, Outcome, Redrive, not_found, object_keys
from searchops.core.idempotency.errors import TableMissing
from searchops.core.idempotency.guard import LEASE, Claim, Guard
from searchops.core.idempotency.model import Status
from tests.unit.small_functions import TABLE, SmallFunctions

ALL = Choice()
LOOK = Choice(send=False)


def guard(world: SmallFunctions, namespace: str = "", **options: Any) -> Guard:
    return Guard(world.dynamodb, table=TABLE, namespace=namespace or f"redrive-{world.name}", **options)


def redrive(world: SmallFunctions, **options: Any) -> Redrive:
    queue = FailedEventQueue(world.sqs, world.queue)
    given = {"guard": guard(world), "function": world.name, "count_lag_seconds": 0.2, **options}
    return Redrive(queue, world.functions, **given)


def fates(outcome: Outcome) -> dict[str, dict[str, int]]:
    return {group.error: {fate.value: count for fate, count in group.fates.items()} for group in outcome.groups.values()}


def test_a_look_shows_the_groups_and_leaves_every_message_to_be_had(world: SmallFunctions) -> None:
    ids = [world.fail({"n": n}) for n in range(12)]
    world.fail({}, error="KeyError")

    outcome = redrive(world).run(LOOK)

    assert fates(outcome) == {"RetriesExhausted: ValueError": {"not chosen": 12}, "RetriesExhausted: KeyError": {"not chosen": 1}}
    group = outcome.groups["RetriesExhausted: ValueError"]
    assert (group.oldest, len(group.requests), set(group.requests) <= set(ids)) == ("2026-11-14T18:16:05.568Z", 3, True)
    assert world.sent == []
    assert world.counts() == (13, 0)


def test_a_function_that_fails_at_once_again_is_sent_each_event_once_a_pass(world: SmallFunctions) -> None:
    for n in range(3):
        world.fail({"n": n})
    time.sleep(0.002)  # SQS tells milliseconds
    take = world.functions.invoke

    def fail_again(**request: Any) -> Any:
        world.fail(json.loads(request["Payload"]), error="KeyError")
        return take(**request)

    outcome = Redrive(
        FailedEventQueue(world.sqs, world.queue),
        SimpleNamespace(invoke=fail_again),
        guard(world),
        function=world.name,
        count_lag_seconds=0.2,
    ).run(ALL)

    assert fates(outcome) == {
        "RetriesExhausted: ValueError": {"sent": 3},
        "RetriesExhausted: KeyError": {"came during this run": 3},
    }
    assert outcome.problem() is None
    assert len(world.sent) == 3
    assert world.counts() == (3, 0)


def test_every_failed_event_is_sent_once_with_its_payload_and_leaves_the_queue(world: SmallFunctions) -> None:
    payloads = [{"n": n, "text": "東京"} for n in range(25)]
    for payload in payloads:
        world.fail(payload)

    outcome = redrive(world).run(ALL)

    assert sorted(world.payloads, key=lambda payload: payload["n"]) == payloads
    assert fates(outcome) == {"RetriesExhausted: ValueError": {"sent": 25}}
    assert outcome.problem() is None
    assert world.left() == 0
    assert redrive(world).run(ALL).groups == {}


def test_only_the_chosen_kinds_are_sent_and_at_most_as_many_as_asked_for(world: SmallFunctions) -> None:
    for n in range(4):
        world.fail({"n": n})
    world.fail({}, error="KeyError")

    outcome = redrive(world).run(Choice(errors=["RetriesExhausted: ValueError", "typo"], limit=3))

    assert len(world.sent) == 3
    assert fates(outcome) == {
        "RetriesExhausted: ValueError": {"sent": 3, "not chosen": 1},
        "RetriesExhausted: KeyError": {"not chosen": 1},
    }
    assert world.counts() == (2, 0)
    assert list(not_found(Choice(errors=["RetriesExhausted: ValueError", "typo"]), outcome)) == ["typo"]


def test_two_copies_of_a_record_are_sent_once(world: SmallFunctions) -> None:
    for _ in range(2):
        world.fail({"n": 1}, "the-same")

    outcome = redrive(world).run(ALL)

    assert world.payloads == [{"n": 1}]
    assert fates(outcome) == {"RetriesExhausted: ValueError": {"sent": 1, "sent before": 1}}
    assert world.left() == 0


def test_a_record_that_was_sent_and_not_deleted_is_only_deleted(world: SmallFunctions) -> None:
    request_id = world.fail({"n": 1})
    claim = guard(world).claim(request_id, {"n": 1})
    assert isinstance(claim, Claim)
    claim.complete({"sent": True})

    assert redrive(world).run(ALL).count(Fate.SENT_BEFORE) == 1
    assert world.sent == []
    assert world.left() == 0


def test_a_record_that_another_pass_is_sending_is_kept_and_the_run_is_not_done(world: SmallFunctions) -> None:
    request_id = world.fail({"n": 1})
    guard(world).claim(request_id, {"n": 1})

    outcome = redrive(world).run(ALL)

    assert fates(outcome) == {"RetriesExhausted: ValueError": {"in progress": 1}}
    assert isinstance(outcome.problem(), TransientError)
    assert world.counts() == (1, 0)


@pytest.mark.parametrize(
    "body",
    [
        "no json",
        "{}",
        '{"requestContext": {"requestId": "a", "functionArn": "arn:aws:lambda:x:1:function:other", "condition": "x"}}',
    ],
)
def test_a_message_that_is_no_record_is_kept_and_reported_and_holds_up_nobody(world: SmallFunctions, body: str) -> None:
    world.put(body)
    world.fail({"n": 1})
    world.put(body)

    outcome = redrive(world).run(ALL)

    assert outcome.unreadable.total() == 2
    assert world.payloads == [{"n": 1}]
    assert world.counts() == (2, 0)
    assert outcome.facts["Unreadable"] == 2


def test_another_event_under_a_known_request_id_is_kept_and_reported(world: SmallFunctions) -> None:
    world.fail({"n": 1}, "the-same")
    redrive(world).run(ALL)
    world.fail({"n": 2}, "the-same")

    outcome = redrive(world).run(ALL)

    assert dict(outcome.unreadable) == {"another event was sent under its requestId": 1}
    assert world.left() == 1


def test_nothing_of_the_events_is_in_what_is_reported(world: SmallFunctions, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="searchops")
    world.fail({"name": "SECRET"})
    world.put('{"SECRET": 1}')
    world.put("SECRET")

    outcome = redrive(world).run(ALL)

    told = json.dumps([outcome.as_json(), dict(outcome.facts), outcome.title, [str(group) for group in outcome.groups.values()]])
    assert "SECRET" not in told + caplog.text


@pytest.mark.parametrize("code", ["InvalidRequestContentException", "RequestTooLargeException"])
def test_an_event_that_lambda_will_never_take_is_kept_and_asked_for_again_after_a_reset_only(
    world: SmallFunctions, code: str
) -> None:
    world.fail({"n": 1})
    world.refusals = [code]

    first, second = redrive(world).run(ALL), redrive(world).run(ALL)

    assert first.count(Fate.REFUSED) == second.count(Fate.NEEDS_RESET) == 1
    assert isinstance(first.problem(), DataError)
    assert isinstance(second.problem(), DataError)
    assert world.sent == []
    assert world.counts() == (1, 0)
    assert redrive(world).run(Choice(reset=True)).count(Fate.SENT) == 1
    assert world.left() == 0


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("AccessDeniedException", DataError),
        ("ResourceNotFoundException", DataError),
        ("TooManyRequestsException", TransientError),
        ("ServiceException", TransientError),
    ],
)
def test_what_is_no_fault_of_the_event_ends_the_pass_and_can_be_tried_again_at_once(
    world: SmallFunctions, code: str, family: type[Exception]
) -> None:
    for n in range(3):
        world.fail({"n": n})
    world.refusals = [None, *[code] * 10]  # botocore itself tries again

    with pytest.raises(family, match="Invoke"):
        redrive(world).run(ALL)
    assert (len(world.sent), world.counts()) == (1, (2, 0))

    world.refusals = []
    assert redrive(world).run(ALL).count(Fate.SENT) == 2
    assert sorted(payload["n"] for payload in world.payloads) == [0, 1, 2]


def notification(key: str) -> dict[str, Any]:
    object_ = {"key": key, "size": 1, "eTag": "e", "sequencer": "0A"}
    s3 = {"bucket": {"name": "example-bucket"}, "object": object_}
    return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}


def test_what_failed_for_good_in_the_function_itself_needs_a_reset(world: SmallFunctions) -> None:
    of_function = guard(world, world.name)
    bad, good = notification("bad"), notification("good")
    (key,) = object_keys(bad)
    claim = of_function.claim(key, {})
    assert isinstance(claim, Claim)
    claim.fail("a data error")
    for payload in (bad, good, {"not": "from S3"}):
        world.fail(payload)

    outcome = redrive(world, events=(of_function, object_keys)).run(ALL)

    assert fates(outcome) == {"RetriesExhausted: ValueError": {"sent": 2, "needs a reset": 1}}
    assert isinstance(outcome.problem(), DataError)
    assert "`reset`" in str(outcome.problem())
    assert bad not in world.payloads
    assert world.counts() == (1, 0)

    assert redrive(world, events=(of_function, object_keys)).run(Choice(reset=True)).count(Fate.SENT) == 1
    assert bad in world.payloads
    assert isinstance(of_function.claim(key, {}), Claim)


@pytest.mark.parametrize("choice", [ALL, Choice(reset=True)])
def test_an_event_whose_claim_of_the_function_still_runs_is_kept_and_sent_after_the_lease(
    world: SmallFunctions, choice: Choice
) -> None:
    events = (guard(world, world.name), object_keys)
    seconds_ago = LEASE.total_seconds() + CLOCKS_APART.total_seconds() / 2  # the lease has ended by our clock alone
    payloads = {"now": notification("now"), "just": notification("just"), "long ago": notification("long ago")}
    for (name, payload), ago in zip(payloads.items(), (0, seconds_ago, 2 * seconds_ago), strict=True):
        dead = guard(world, world.name, clock=lambda ago=ago: time.time() - ago)
        assert isinstance(dead.claim(*object_keys(payload), {}), Claim), name
        world.fail(payload)

    outcome = redrive(world, events=events).run(choice)

    assert fates(outcome) == {"RetriesExhausted: ValueError": {"in progress": 2, "sent": 1}}
    assert world.payloads == [payloads["long ago"]]
    assert isinstance(outcome.problem(), TransientError)
    assert "the function has a claim whose lease has not ended" in str(outcome.problem())
    assert world.counts() == (2, 0)


def refuse_when_sent(world: SmallFunctions, error: type[BaseException] | None = None) -> None:
    """From the first invocation on the table of claims refuses every write, or the process dies before it."""

    def refuse(**_: Any) -> Any:
        if world.sent and error:
            raise error
        answer = {"Error": {"Code": "AccessDeniedException", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        return (SimpleNamespace(status_code=400), answer) if world.sent else None

    world.dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", refuse)


def test_an_event_that_lambda_has_taken_leaves_the_queue_though_that_could_not_be_noted(
    world: SmallFunctions, caplog: pytest.LogCaptureFixture
) -> None:
    request_id = world.fail({"n": 1})
    refuse_when_sent(world)

    outcome = redrive(world).run(ALL)

    assert (outcome.count(Fate.SENT), outcome.problem(), world.left()) == (1, None, 0)
    assert f"Request {request_id} was sent, which could not be noted" in caplog.text
    record = guard(world).look(request_id)
    assert record
    assert record.status is Status.IN_PROGRESS


def test_a_claim_is_not_let_go_once_lambda_has_taken_the_event(world: SmallFunctions) -> None:
    request_id = world.fail({"n": 1})
    refuse_when_sent(world, Died)

    with pytest.raises(Died):
        redrive(world).run(ALL)

    record = guard(world).look(request_id)
    assert record
    assert record.status is Status.IN_PROGRESS


def test_a_pass_that_is_told_to_end_gives_back_what_it_has_not_sent(world: SmallFunctions) -> None:
    for n in range(5):
        world.fail({"n": n})
    running = redrive(world)
    world.functions.meta.events.register_first("before-call.lambda.Invoke", lambda **_: running.stop())

    outcome = running.run(ALL)

    assert (len(world.sent), world.counts()) == (1, (4, 0))
    assert outcome.as_json()["cut_short"] == "it was told to end"
    assert isinstance(outcome.problem(), TransientError)


def test_a_look_that_ran_out_of_time_says_that_it_has_not_seen_all(world: SmallFunctions) -> None:
    for n in range(15):
        world.fail({"n": n})
    now = iter([0.0, 0.0, 97.0])

    outcome = redrive(world, clock=lambda: next(now)).run(LOOK)

    assert outcome.title.startswith("10 failed events")
    assert "not all messages were looked at: its time was over" in outcome.title
    assert outcome.facts["Looked at"] == "not all messages: its time was over"
    assert "Looked at" not in redrive(world).run(LOOK).facts


def late_counts(world: SmallFunctions, *held: int) -> None:
    """Let SQS count late: so many messages held, first to last."""
    counts = iter(held)

    def count(parsed: dict[str, Any], **_: Any) -> None:
        if (late := next(counts, None)) is not None:
            parsed["Attributes"]["ApproximateNumberOfMessagesNotVisible"] = str(late)

    world.sqs.meta.events.register("after-call.sqs.GetQueueAttributes", count)


def test_a_run_right_after_another_is_not_misled_by_a_count_that_is_late(world: SmallFunctions) -> None:
    world.fail({"n": 1})
    late_counts(world, 3, 3, 3, 0)

    outcome = redrive(world, count_lag_seconds=60).run(ALL)

    assert (outcome.count(Fate.SENT), outcome.elsewhere, outcome.problem()) == (1, 0, None)


def test_a_look_does_not_wait_for_a_count_that_is_late(world: SmallFunctions) -> None:
    late_counts(world, *[3] * 100)

    assert redrive(world, count_lag_seconds=60).run(LOOK).elsewhere == 3


def test_messages_that_another_reader_holds_make_the_run_wait_for_them(world: SmallFunctions) -> None:
    world.fail({"n": 1})
    world.sqs.receive_message(QueueUrl=world.queue_url, VisibilityTimeout=600)

    outcome = redrive(world).run(ALL)

    assert outcome.elsewhere == 1
    assert isinstance(outcome.problem(), TransientError)


def test_a_pass_ends_before_what_it_holds_comes_back(world: SmallFunctions) -> None:
    for n in range(25):
        world.fail({"n": n})
    now = iter([0.0, 0.0, 95.0, 97.0])

    outcome = redrive(world, clock=lambda: next(now)).run(ALL)

    assert (outcome.cut_short, len(world.sent), world.counts()) == ("its time was over", 20, (5, 0))
    assert isinstance(outcome.problem(), TransientError)


def test_a_missing_queue_and_a_missing_table_are_named_and_the_table_with_the_dag_that_makes_it(world: SmallFunctions) -> None:
    nowhere = FailedEventQueue(world.sqs, world.queue.replace("-failed", "-nowhere"))
    with pytest.raises(DataError, match=r"there is no queue .*-nowhere: correct `on_failure`"):
        Redrive(nowhere, world.functions, guard(world), function=world.name).run(ALL)

    world.fail({"n": 1})
    no_table = Guard(world.dynamodb, table="nowhere", namespace="x")
    with pytest.raises(TableMissing, match="searchops_setup"):
        redrive(world, guard=no_table).run(ALL)
    assert world.counts() == (1, 0)


class Died(BaseException):
    """The process is gone: nothing after this call happens."""


def die_at(world: SmallFunctions, number: int, when: str) -> Callable[[], None]:
    """Let every client fail for good from its call of that number on, before or after the service did it; what it held is back at once."""
    calls = 0

    def count(**_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls >= number:
            raise Died

    clients = (world.sqs, world.functions, world.dynamodb)
    for client in clients:
        client.meta.events.register(f"{when}-call", count)

    def hold_nothing(params: dict[str, Any], **_: Any) -> None:
        params["VisibilityTimeout"] = 0

    world.sqs.meta.events.register("provide-client-params.sqs.ReceiveMessage", hold_nothing)

    def live() -> None:
        world.sqs.meta.events.unregister("provide-client-params.sqs.ReceiveMessage", hold_nothing)
        for client in clients:
            client.meta.events.unregister(f"{when}-call", count)

    return live


@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_a_pass_dies_nothing_is_lost_and_only_an_invocation_without_a_record_is_repeated(
    world: SmallFunctions, when: str
) -> None:
    at_once = guard(world, lease=timedelta(milliseconds=1))
    for number in range(1, 40):
        world.fail({"n": number}, f"id-{number}")
        live = die_at(world, number, when)
        try:
            redrive(world, guard=at_once).run(ALL)
            died = False
        except Died:
            died = True
        finally:
            live()
        before = [payload for payload in world.payloads if payload["n"] == number]
        outcome = redrive(world, guard=at_once).run(ALL)
        after = [payload for payload in world.payloads if payload["n"] == number]

        assert after, f"lost when it died {when} call {number}"
        assert len(after) <= 2
        assert world.left() == 0
        if len(after) == 2:
            assert len(before) == 1
            assert outcome.count(Fate.SENT) == 1
        if not died:
            assert number > 7
            return
    raise AssertionError("a pass has no end")


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["good", "other", "garbage"]), max_size=12),
    st.booleans(),
    st.none() | st.integers(1, 3),
)
def test_every_message_is_sent_or_kept(world: SmallFunctions, kinds: list[str], send: bool, limit: int | None) -> None:
    world = SmallFunctions(world.url)
    for number, kind in enumerate(kinds):
        if kind == "garbage":
            world.put("x")
        else:
            world.fail({"n": number}, error="KeyError" if kind == "other" else "ValueError")

    outcome = redrive(world).run(Choice(errors=["RetriesExhausted: ValueError"], limit=limit, send=send))

    expected = min(kinds.count("good"), limit or len(kinds)) if send else 0
    assert len(world.sent) == outcome.count(Fate.SENT) == expected
    assert world.counts() == (len(kinds) - expected, 0)
    assert outcome.unreadable.total() == kinds.count("garbage")
    assert sum(group.count for group in outcome.groups.values()) == len(kinds) - kinds.count("garbage")

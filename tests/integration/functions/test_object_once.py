"""Events that come twice, at the same moment, too late, or whose worker dies: what S3, the table and the caller see."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from local.demo.functions import SHORT_LEASE, ObjectFunction, wait_until
from local.simulators.functions.control import FunctionsControl
from tests.integration.functions.conftest import SYNONYMS

Deploy = Callable[..., ObjectFunction]


def outcomes(results: Sequence[dict[str, Any]]) -> list[str]:
    assert not [result for result in results if result["failed"]], results
    return sorted(answer["outcome"] for result in results for answer in result["payload"]["answers"])


def answer_of(result: dict[str, Any]) -> dict[str, Any]:
    """What the function answered to an invocation with one event."""
    (answer,) = result["payload"]["answers"]
    return dict(answer)


def kill_after_the_effect(function: ObjectFunction, control: FunctionsControl, key: str) -> None:
    """Kill the worker that is held there, and hold no other."""
    wait_until(lambda: function.effects(key), "the worker has had its effect")
    (pid,) = control.running(function.name)
    os.kill(pid, signal.SIGKILL)
    function.let_go(key)


def test_one_event_delivered_five_times_at_once_has_one_effect_and_five_successes(function: ObjectFunction) -> None:
    event = function.put("五回.txt", SYNONYMS)

    first = function.together(*[event] * 5)
    (later,) = function.together(event)

    assert outcomes(first).count("done") == 1
    assert set(outcomes(first)) <= {"done", "duplicate", "in progress"}
    assert (function.runs("五回.txt"), len(function.effects("五回.txt"))) == (1, 1)
    (done,) = [answer for answer in map(answer_of, first) if answer["outcome"] == "done"]
    assert answer_of(later) == done | {"outcome": "duplicate"}


def test_an_event_that_the_queue_delivers_three_times_has_one_effect(function: ObjectFunction) -> None:
    event = function.put("copies.txt", SYNONYMS)
    function.control.copies(3)

    request_id = function.invoke_later(event)

    wait_until(lambda: [found["state"] for found in _deliveries(function, request_id)] == ["succeeded"] * 3, "all succeed")
    assert function.runs("copies.txt") == 1


def test_the_older_of_two_events_that_come_out_of_order_is_dropped(function: ObjectFunction) -> None:
    older = function.put("order.txt", b"old, former\n")
    newer = function.put("order.txt", b"new, latest\n")

    answers = [outcomes(function.together(event)) for event in (newer, older, newer)]

    assert answers == [["done"], ["older"], ["duplicate"]]
    assert function.runs("order.txt") == 1


def test_the_same_content_written_again_after_another_is_a_change_of_its_own(function: ObjectFunction) -> None:
    contents = (b"a, b\n", b"c, d\n", b"a, b\n")

    answers = [outcomes(function.together(function.put("aba.txt", content))) for content in contents]

    assert answers == [["done"]] * 3
    assert function.runs("aba.txt") == 3


def test_an_object_that_was_replaced_meanwhile_is_left_to_the_event_of_its_successor(function: ObjectFunction) -> None:
    older = function.put("replaced.txt", b"old, former\n")
    function.put("replaced.txt", b"new, latest\n")

    (result,) = function.together(older)

    assert answer_of(result)["result"]["checked"] is False
    assert function.effects("replaced.txt") == []


def test_a_data_error_delivered_three_times_is_attempted_once(function: ObjectFunction) -> None:
    event = function.put("bad.csv", b"too,few\n")

    answers = [answer_of(result) for _ in range(3) for result in function.together(event)]

    assert [answer["outcome"] for answer in answers] == ["rejected"] * 3
    assert {answer["reason"] for answer in answers} == {"bad.csv: entry 1: expected 4 fields, found 2"}
    assert function.runs("bad.csv") == 1
    record = function.record("bad.csv")
    assert record["status"]["S"] == "FAILED_PERMANENT"
    assert "expires_at" not in record


def test_a_data_error_fails_the_invocation_when_that_is_asked_for(deploy: Deploy) -> None:
    function = deploy(environment={"SEARCHOPS_ON_DATA_ERROR": "failure"})
    event = function.put("asked.csv", b"too,few\n")

    results = [function.together(event)[0] for _ in range(2)]

    assert [result["failed"] for result in results] == [True, True]
    assert [result["payload"]["errorType"] for result in results] == ["DataError", "FailedBefore"]
    assert function.runs("asked.csv") == 1


@pytest.mark.parametrize(("setting", "failed"), [("success", False), ("retry", True)])
def test_a_duplicate_of_an_event_in_progress_is_answered_as_configured(deploy: Deploy, setting: str, failed: bool) -> None:
    key = f"held-{setting}.txt"
    function = deploy(environment={"SEARCHOPS_IN_PROGRESS": setting})
    event = function.put(key, SYNONYMS)
    function.hold(key)
    first = function.invoke_later(event)
    wait_until(lambda: function.effects(key), "the first works")

    (duplicate,) = function.together(event)
    function.let_go(key)

    assert duplicate["failed"] is failed
    assert duplicate["payload"]["errorType"] == "InProgress" if failed else outcomes([duplicate]) == ["in progress"]
    wait_until(lambda: function.delivery(first)["state"] == "succeeded", "the first completes")
    assert function.runs(key) == 1


def test_a_killed_worker_is_taken_over_when_its_lease_has_passed(deploy: Deploy, control: FunctionsControl) -> None:
    function = deploy(timeout_seconds=1)  # so the lease is at most 11 s
    function.retry(0)
    event = function.put("killed.txt", SYNONYMS)
    function.hold("killed.txt")
    killed = function.invoke_later(event)
    wait_until(lambda: function.effects("killed.txt"), "the first has had its effect")
    for pid in control.running(function.name):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: function.delivery(killed)["state"] == "handed over", "the first is dead")
    function.let_go("killed.txt")

    early = outcomes(function.together(event))
    wait_until(lambda: outcomes(function.together(event)) == ["done"], "the lease passes", 30)

    assert early == ["in progress"]
    assert outcomes(function.together(event)) == ["duplicate"]
    assert (function.runs("killed.txt"), len(function.effects("killed.txt"))) == (2, 1)


@pytest.mark.usefixtures("half_minutes")
def test_lambdas_own_retries_outlast_the_lease_of_a_killed_worker(deploy: Deploy, control: FunctionsControl) -> None:
    function = deploy(handler=SHORT_LEASE, environment={"LEASE_SECONDS": "6", "SEARCHOPS_IN_PROGRESS": "retry"})
    function.retry(2)  # after two seconds, and four more
    event = function.put("retried.txt", SYNONYMS)
    function.hold("retried.txt")
    killed = function.invoke_later(event)
    kill_after_the_effect(function, control, "retried.txt")

    wait_until(lambda: function.delivery(killed)["state"] not in ("running", "waiting"), "Lambda is through")

    assert (function.delivery(killed)["state"], function.delivery(killed)["attempts"]) == ("succeeded", 3)
    assert function.record("retried.txt")["status"]["S"] == "COMPLETED"
    assert (function.runs("retried.txt"), len(function.effects("retried.txt"))) == (2, 1)


def test_a_queue_keeps_the_message_of_a_killed_worker_until_another_has_done_the_work(
    deploy: Deploy, control: FunctionsControl
) -> None:
    function = deploy(handler=SHORT_LEASE, environment={"LEASE_SECONDS": "6"})
    queue = function.sqs.create_queue(QueueName="of-a-killed-worker", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    function.hold("queued.txt")
    body = json.dumps(function.put("queued.txt", SYNONYMS))
    sent = function.sqs.send_message(QueueUrl=queue, MessageBody=body)["MessageId"]
    with ThreadPoolExecutor() as pool:
        first = pool.submit(control.poll, function.name, queue)
        kill_after_the_effect(function, control, "queued.txt")
    polls: list[dict[str, Any]] = []

    def deleted() -> bool:
        polls.append(control.poll(function.name, queue))
        return bool(polls[-1]["deleted"])

    wait_until(deleted, "the lease passes")

    assert (first.result()["failed"], first.result()["deleted"]) == (True, [])
    assert polls[0]["payload"] == {"batchItemFailures": [{"itemIdentifier": sent}]}
    assert function.record("queued.txt")["status"]["S"] == "COMPLETED"
    assert (function.runs("queued.txt"), len(function.effects("queued.txt"))) == (2, 1)


def test_results_are_remembered_for_longer_than_a_queue_can_keep_a_failed_event(function: ObjectFunction) -> None:
    function.together(function.put("kept.txt", SYNONYMS))

    record = function.record("kept.txt")
    assert int(record["expires_at"]["N"]) - int(record["claimed_at"]["N"]) / 1000 > timedelta(days=14).total_seconds()


def test_the_late_completion_of_a_paused_worker_is_refused(deploy: Deploy, control: FunctionsControl) -> None:
    function = deploy(handler=SHORT_LEASE, environment={"LEASE_SECONDS": "1"})
    queue = function.retry(0)
    event = function.put("paused.txt", SYNONYMS)
    function.hold("paused.txt")
    late = function.invoke_later(event)
    wait_until(lambda: function.effects("paused.txt"), "the first has had its effect")
    (paused,) = control.running(function.name)
    os.kill(paused, signal.SIGSTOP)
    function.let_go("paused.txt")
    wait_until(lambda: outcomes(function.together(event)) == ["done"], "a second takes over")
    taken_over = function.record("paused.txt")

    os.kill(paused, signal.SIGCONT)
    failure = function.failure(queue)["responsePayload"]

    assert failure["errorType"] == "ClaimLost"
    assert "taken over by owner" in failure["errorMessage"]
    assert function.delivery(late)["attempts"] == 1
    assert function.record("paused.txt") == taken_over
    assert answer_of(function.together(event)[0])["result"]["pid"] != paused
    assert (function.runs("paused.txt"), len(function.effects("paused.txt"))) == (2, 1)


def test_a_transient_error_lets_the_claim_go_and_the_retry_succeeds(function: ObjectFunction) -> None:
    event = function.put("flaky.txt", SYNONYMS)
    function.break_("flaky.txt", runs=2)

    (direct,) = function.together(event)
    released = function.record("flaky.txt")["status"]["S"]
    request_id = function.invoke_later(event)
    wait_until(lambda: function.delivery(request_id)["state"] in ("succeeded", "discarded"), "it is over")

    assert (direct["failed"], direct["payload"]["errorType"], released) == (True, "ConnectionError", "RELEASED")
    assert (function.delivery(request_id)["state"], function.delivery(request_id)["attempts"]) == ("succeeded", 2)
    assert (function.runs("flaky.txt"), len(function.effects("flaky.txt"))) == (3, 1)


def test_an_event_that_fails_for_good_reaches_the_destination_with_its_payload(deploy: Deploy) -> None:
    function = deploy()
    queue = function.retry(2)
    event = function.put("never.txt", SYNONYMS)
    function.break_("never.txt", runs=100)

    request_id = function.invoke_later(event)
    failure = function.failure(queue)

    assert failure["requestPayload"] == event
    assert failure["requestContext"] | {"functionArn": ""} == {
        "requestId": request_id,
        "functionArn": "",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert function.runs("never.txt") == 3
    assert function.record("never.txt")["status"]["S"] == "RELEASED"


def test_a_batch_of_a_queue_gives_back_only_what_has_to_come_again(function: ObjectFunction) -> None:
    queue = function.sqs.create_queue(QueueName="batch", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    bodies = {
        "good": function.put("batch-good.txt", SYNONYMS),
        "bad": function.put("batch-bad.csv", b"too,few\n"),
        "flaky": function.put("batch-flaky.txt", SYNONYMS),
        "other": {"detail-type": "Scheduled Event", "source": "aws.events"},
    }
    function.break_("batch-flaky.txt", runs=1)
    sent = {
        name: function.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body))["MessageId"]
        for name, body in bodies.items()
    }

    polled = [function.control.poll(function.name, queue) for _ in range(2)]

    assert [poll["received"] for poll in polled] == [4, 2]
    assert sorted(polled[0]["deleted"]) == sorted([sent["good"], sent["bad"]])
    assert polled[1]["deleted"] == [sent["flaky"]]
    assert polled[1]["payload"]["batchItemFailures"] == [{"itemIdentifier": sent["other"]}]


def test_without_reported_failures_a_mapping_deletes_what_failed(function: ObjectFunction) -> None:
    queue = function.sqs.create_queue(QueueName="unreported", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    function.sqs.send_message(QueueUrl=queue, MessageBody='{"source": "aws.events"}')

    polled = function.control.poll(function.name, queue, report_failures=False)

    assert len(polled["deleted"]) == len(polled["payload"]["batchItemFailures"]) == 1


def test_without_the_table_every_event_fails_and_the_error_names_the_dag_that_makes_it(deploy: Deploy) -> None:
    function = deploy(table="searchops-not-there")

    (result,) = function.together(function.put("no-table.txt", SYNONYMS))

    assert (result["failed"], result["payload"]["errorType"]) == (True, "TableMissing")
    assert "searchops_setup" in result["payload"]["errorMessage"]
    assert function.runs("no-table.txt") == 0


def test_an_event_that_is_not_from_s3_fails(function: ObjectFunction) -> None:
    (result,) = function.together({"source": "aws.events", "detail-type": "Scheduled Event"})

    assert (result["failed"], result["payload"]["errorType"]) == (True, "DataError")
    assert "found an event of aws.events" in result["payload"]["errorMessage"]


def _deliveries(function: ObjectFunction, request_id: str) -> list[dict[str, Any]]:
    return [found for found in function.control.deliveries(function.name) if found["request_id"] == request_id]

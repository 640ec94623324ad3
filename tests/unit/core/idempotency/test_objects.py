"""What is answered to an event, beside moto's table: one caller at a time."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from searchops.core.errors import DataError, TransientError
from searchops.core.idempotency.errors import FailedBefore, InProgress, PayloadMismatch, TableMissing, TableRefused
from searchops.core.idempotency.guard import Claim, Guard
from searchops.core.idempotency.model import Status
from searchops.core.idempotency.objects import ObjectOnce, Outcome, Sequencers, claim_key
from searchops.core.idempotency.table import create_claims_table
from searchops.core.object_events import Change, ObjectEvent, padded, read
from tests.unit.core.idempotency.memory_table import MemoryTable, refuse

EVENT = ObjectEvent("uploads", "a.txt", Change.CREATED, padded("10"), etag="e1", size=3)
MINUTE = timedelta(minutes=1)


class Once:
    """ObjectOnce on a namespace of its own; `work` counts its runs and does what `does` says."""

    def __init__(self, client: Any, table: str = "claims", **options: Any) -> None:
        self.runs = 0
        self.does: Callable[[ObjectEvent, Claim], Any] = lambda event, claim: event.key
        place: dict[str, Any] = {"table": table, "namespace": uuid.uuid4().hex}
        self.guard = Guard(client, **place)
        self.sequencers = Sequencers(client, **place)
        self.once = ObjectOnce(self.guard, self.sequencers, self._work, **options)

    def handle(self, event: ObjectEvent) -> tuple[Outcome, Any]:
        answer = self.once.handle(event, MINUTE)
        return answer.outcome, answer.result

    def _work(self, event: ObjectEvent, claim: Claim) -> Any:
        self.runs += 1
        return self.does(event, claim)


@pytest.fixture(scope="module")
def client(s3_url: str) -> Any:
    client = boto3.client(
        "dynamodb",
        endpoint_url=s3_url,
        region_name="ap-northeast-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    create_claims_table(client, "claims")
    return client


def created(key: str) -> dict[str, Any]:
    return notification(key, "ObjectCreated:Put", eTag="e1", size=3, sequencer="10")


def notification(key: str, name: str, **of_object: Any) -> dict[str, Any]:
    s3 = {"bucket": {"name": "uploads"}, "object": {"key": key} | of_object}
    return {"Records": [{"eventSource": "aws:s3", "eventName": name, "s3": s3}]}


def queued(*bodies: Any) -> dict[str, Any]:
    records = [
        {"messageId": f"m{number}", "eventSource": "aws:sqs", "body": json.dumps(body)} for number, body in enumerate(bodies)
    ]
    return {"Records": records}


def raising(error: Exception) -> Callable[[ObjectEvent, Claim], Any]:
    def work(event: ObjectEvent, claim: Claim) -> Any:
        raise error

    return work


def test_a_duplicate_gets_the_stored_result(client: Any) -> None:
    once = Once(client)

    assert [once.handle(EVENT) for _ in range(3)] == [(Outcome.DONE, "a.txt"), *[(Outcome.DUPLICATE, "a.txt")] * 2]
    assert once.runs == 1


def test_a_newer_event_makes_an_older_one_superfluous_even_when_the_newer_failed(client: Any) -> None:
    once = Once(client)
    newer = replace(EVENT, sequencer=padded("11"), etag="e2")
    once.does = raising(DataError("bad"))
    rejected = once.handle(newer)
    once.does = lambda event, claim: "fine"

    assert (rejected, once.handle(EVENT)) == ((Outcome.REJECTED, None), (Outcome.OLDER, None))
    assert once.runs == 1


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_in_whatever_order_changes_come_the_work_never_goes_backwards(client: Any, order: list[int]) -> None:
    once, worked = Once(client), []
    once.does = lambda event, claim: worked.append(event.sequencer)

    for number in order:
        once.handle(replace(EVENT, sequencer=padded(f"{number:X}"), etag=f"e{number}"))

    assert worked == sorted(set(worked))
    assert worked[-1] == padded(f"{max(order):X}")


def test_another_object_has_an_order_of_its_own(client: Any) -> None:
    once = Once(client)
    once.handle(replace(EVENT, sequencer=padded("FF")))

    assert once.handle(replace(EVENT, key="b.txt"))[0] is Outcome.DONE


def test_a_data_error_is_recorded_and_not_tried_again(client: Any) -> None:
    once = Once(client)
    once.does = raising(DataError("line 3 is bad"))

    first, second = (once.once.handle(EVENT, MINUTE) for _ in range(2))

    assert (first.outcome, first.reason, once.runs) == (Outcome.REJECTED, "line 3 is bad", 1)
    assert second == first
    once.guard.reset(claim_key(EVENT))
    once.handle(EVENT)
    assert once.runs == 2


def test_a_data_error_fails_every_delivery_when_that_is_asked_for(client: Any) -> None:
    once = Once(client, on_data_error="failure")
    once.does = raising(DataError("line 3 is bad"))

    for expected in (DataError, FailedBefore, FailedBefore):
        with pytest.raises(expected):
            once.handle(EVENT)

    assert once.runs == 1


def test_a_result_that_can_not_be_kept_is_not_worked_out_again(client: Any) -> None:
    once = Once(client)
    once.does = lambda event, claim: "x" * 400_000

    answers = [once.once.handle(EVENT, MINUTE) for _ in range(2)]

    assert [answer.outcome for answer in answers] == [Outcome.REJECTED] * 2
    assert "the result has 400,002 bytes" in answers[0].reason
    assert once.runs == 1


@pytest.mark.parametrize("error", [TransientError("throttled"), ConnectionError("reset"), KeyError("a mistake")])
def test_every_other_error_lets_the_event_be_tried_again(client: Any, error: Exception) -> None:
    once = Once(client)
    once.does = raising(error)
    with pytest.raises(type(error)):
        once.handle(EVENT)
    once.does = lambda event, claim: claim.attempt

    assert once.handle(EVENT) == (Outcome.DONE, 2)


def test_work_that_meets_another_key_in_progress_is_not_taken_for_a_duplicate(client: Any) -> None:
    once, other = Once(client), Once(client)
    other.guard.claim("k")
    once.does = lambda event, claim: other.guard.claim("k")

    with pytest.raises(InProgress):
        once.handle(EVENT)

    once.does = lambda event, claim: "let go"
    assert once.handle(EVENT) == (Outcome.DONE, "let go")


def test_a_claim_that_can_not_be_recorded_is_no_fault_of_the_event(client: Any) -> None:
    once = Once(client, table="not-there")

    with pytest.raises(TableMissing, match="searchops_setup"):
        once.handle(EVENT)


@pytest.mark.parametrize(("in_progress", "raises"), [("success", False), ("retry", True)])
def test_a_duplicate_of_an_event_in_progress_is_answered_as_configured(client: Any, in_progress: Any, raises: bool) -> None:
    once = Once(client, in_progress=in_progress)
    once.guard.claim(claim_key(EVENT), asdict(EVENT))

    if raises:
        with pytest.raises(InProgress):
            once.handle(EVENT)
    else:
        assert once.handle(EVENT) == (Outcome.IN_PROGRESS, None)
    assert once.runs == 0


@pytest.mark.parametrize("in_progress", ["success", "retry"])
def test_a_message_of_a_queue_comes_again_until_its_outcome_is_recorded(client: Any, in_progress: Any) -> None:
    once = Once(client, in_progress=in_progress)
    (event,) = read(created("a.txt"))
    claim = once.guard.claim(claim_key(event), asdict(event))  # of a worker that is dead, perhaps
    batch = queued(created("a.txt"), created("b.txt"))

    early = once.once(batch, lambda: MINUTE)
    assert isinstance(claim, Claim)
    claim.release()

    assert early == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert once.once(batch, lambda: MINUTE) == {"batchItemFailures": []}
    assert once.runs == 2


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_a_refusal_that_could_not_be_recorded_is_not_answered_with_success(code: str) -> None:
    table = MemoryTable()
    once = Once(table)
    once.does = raising(DataError("line 3 is bad"))
    refuse(table, code, lambda request: ":failed" in request["ExpressionAttributeValues"])

    with pytest.raises(TransientError, match="that could not be recorded") as raised:
        once.handle(EVENT)

    assert "line 3 is bad" in raised.value.reason
    assert "by order" in raised.value.reason
    record = once.guard.look(claim_key(EVENT))
    assert record
    assert record.status is Status.IN_PROGRESS


def test_work_that_can_not_ask_for_its_claim_is_tried_again() -> None:
    table = MemoryTable()
    once, denied = Once(table), True

    def check(event: ObjectEvent, claim: Claim) -> str:
        claim._lease_until_ms = 0
        claim.check()
        return "done"

    once.does = check
    refuse(table, "AccessDeniedException", lambda request: denied and request["UpdateExpression"].startswith("SET #lease_until"))
    with pytest.raises(TableRefused, match="not allowed to call dynamodb:UpdateItem"):
        once.handle(EVENT)
    denied = False

    assert once.handle(EVENT) == (Outcome.DONE, "done")


def test_a_late_owner_does_not_refuse_what_its_successor_has_done() -> None:
    table = MemoryTable()
    once = Once(table)

    def late(event: ObjectEvent, claim: Claim) -> None:
        table.items[claim._id]["lease_until"]["N"] = "0"
        successor = once.guard.claim(claim.key, asdict(event))
        assert isinstance(successor, Claim)
        successor.complete("the successor's")
        raise DataError("the object is gone")

    once.does = late
    with pytest.raises(TransientError, match="that could not be recorded"):
        once.handle(EVENT)

    assert once.handle(EVENT) == (Outcome.DUPLICATE, "the successor's")


def test_the_end_of_an_old_version_does_not_drop_the_newest(client: Any) -> None:
    once = Once(client)
    newest = replace(EVENT, version_id="v2", sequencer=padded("20"))
    once.does = raising(ConnectionError("reset"))
    with pytest.raises(ConnectionError):
        once.handle(newest)
    once.does = lambda event, claim: event.change
    gone = ObjectEvent("uploads", "a.txt", Change.VERSION_REMOVED, padded("30"), version_id="v1")

    assert once.handle(gone) == (Outcome.DONE, "version-removed")
    assert once.handle(newest) == (Outcome.DONE, "created")
    assert once.handle(replace(gone, sequencer=padded("11"), version_id="v0"))[0] is Outcome.DONE


def test_a_delete_marker_that_is_made_and_removed_is_two_changes(client: Any) -> None:
    once = Once(client)
    made = notification("a.txt", "ObjectRemoved:DeleteMarkerCreated", versionId="m1", sequencer="21")
    removed = notification("a.txt", "ObjectRemoved:Delete", versionId="m1", sequencer="22")

    answers = [once.once(event, lambda: MINUTE)["answers"][0]["outcome"] for event in (made, removed, made, removed)]

    assert answers == ["done", "done", "duplicate", "duplicate"]


def test_one_version_told_with_another_content_is_refused(client: Any) -> None:
    once = Once(client)
    event = replace(EVENT, version_id="v1")
    once.handle(event)

    with pytest.raises(PayloadMismatch, match="expected the payload that the key was first used with"):
        once.handle(replace(event, etag="other"))


@pytest.mark.parametrize(("name", "value"), [("in_progress", "maybe"), ("on_data_error", "")])
def test_a_setting_that_is_none_of_the_choices_is_refused(client: Any, name: str, value: str) -> None:
    with pytest.raises(DataError, match=f"{name}: expected success or"):
        Once(client, **{name: value})


def test_changes_that_differ_have_keys_that_differ() -> None:
    changes = [
        EVENT,
        replace(EVENT, change=Change.REMOVED, etag=None),
        replace(EVENT, sequencer=padded("11")),
        replace(EVENT, etag="e2"),
        replace(EVENT, version_id="v1"),
        replace(EVENT, version_id="v1", change=Change.REMOVED),
        replace(EVENT, version_id="v1", change=Change.REMOVED, sequencer=padded("11")),
        replace(EVENT, version_id="v1", change=Change.VERSION_REMOVED),
        replace(EVENT, version_id="v2:uploads/a.txt"),
        replace(EVENT, key="b/a.txt"),
        replace(EVENT, bucket="uploads2"),
    ]

    assert len({claim_key(change) for change in changes}) == len(changes)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TransientError("OpenSearch does not answer", reason="503"), "TransientError: OpenSearch does not answer (503)"),
        (ClientError({"Error": {"Code": "NoSuchBucket", "Message": "of a secret"}}, "GetObject"), "NoSuchBucket by GetObject"),
        (KeyError("a mistake"), "KeyError: 'a mistake'"),
    ],
)
def test_the_log_tells_why_a_message_is_given_back(
    client: Any, caplog: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    once = Once(client)
    once.does = raising(error)

    once.once(queued(created("a.txt")), lambda: MINUTE)

    assert told in caplog.text
    assert "uploads/a.txt: to be delivered again" in caplog.text
    assert "secret" not in caplog.text
    assert ("raise error" in caplog.text) is isinstance(error, KeyError)  # a mistake of the program needs its place


def test_no_reason_and_no_result_is_logged(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    once = Once(client)
    with caplog.at_level(logging.DEBUG, logger="searchops"):
        once.does = lambda event, claim: "the secret result"
        once.handle(EVENT)
        once.does = raising(DataError("the secret reason"))
        once.handle(replace(EVENT, key="b.txt"))

    assert "rejected" in caplog.text
    assert "secret" not in caplog.text

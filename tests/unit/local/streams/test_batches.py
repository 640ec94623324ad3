"""What becomes of a batch, decided without a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulators.streams.batches import (
    MAX_PAYLOAD_BYTES,
    Answer,
    Batch,
    Failure,
    Step,
    after,
    failure,
    first_records,
    lane_of,
    wait_seconds,
    without_expired,
)
from local.simulators.streams.mapping import StreamMapping
from local.simulators.streams.records import Record, aws_sequence

TABLE = "arn:aws:dynamodb:ddblocal:000000000000:table/t/stream/x"


def mapping(**settings: Any) -> StreamMapping:
    return StreamMapping("uuid", "arn:aws:lambda:ap-northeast-1:123456789012:function:f", TABLE, **settings)


def record(number: int, text: str = "{}", created: float = 0.0) -> Record:
    return Record(str(number).zfill(21), aws_sequence(str(number)), f"key-{number}", created, created, text)


def batch(count: int, **options: Any) -> Batch:
    return Batch(tuple(record(number) for number in range(1, count + 1)), **options)


def numbers(records: Sequence[Record]) -> list[int]:
    return [int(record.local) for record in records]


def reported(*positions: int) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": record(position + 1).sequence} for position in positions]}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (None, None),
        ({}, None),
        ("ok", None),
        ({"batchItemFailures": []}, None),
        ({"batchItemFailures": None}, None),
        (reported(2), Failure(2, whole=False)),
        (reported(2, 1), Failure(1, whole=False)),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, Failure(0, whole=True)),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, Failure(0, whole=True)),
        ({"batchItemFailures": [{"item": "1"}]}, Failure(0, whole=True)),
        ({"batchItemFailures": [*reported(2)["batchItemFailures"], {"itemIdentifier": "7"}]}, Failure(0, whole=True)),
        ({"batchItemFailures": "all"}, Failure(0, whole=True)),
        ({"batchItemFailures": 3}, Failure(0, whole=True)),
    ],
)
def test_an_answer_tells_from_where_on_records_come_again(payload: Any, expected: Failure | None) -> None:
    assert failure(Answer("r", False, payload), batch(3), report_failures=True) == expected


def test_a_function_that_fails_fails_the_batch_whatever_it_reports_and_reports_count_only_when_asked_for() -> None:
    assert failure(Answer("r", True, reported(1)), batch(3), report_failures=True) == Failure(0, whole=True)
    assert failure(Answer("r", False, reported(1)), batch(3), report_failures=False) is None


def test_without_a_limit_a_batch_comes_again_for_ever() -> None:
    step = after(batch(2, retries=500, invocations=501), mapping(), Failure(0, whole=True))

    assert step == Step(again=(batch(2, retries=501, invocations=501),))


def test_a_batch_whose_retries_are_used_up_is_discarded_from_the_failed_record_on() -> None:
    step = after(batch(3, retries=2, invocations=3), mapping(retries=2), Failure(1, whole=False))

    assert (numbers(step.done), step.again) == ([1], ())
    assert step.discarded
    assert (numbers(step.discarded.records), step.discarded.invocations) == ([2, 3], 3)


def test_splitting_uses_up_no_retries() -> None:
    step = after(batch(3, retries=1), mapping(retries=1, bisect=True), Failure(0, whole=True))

    assert [(numbers(part.records), part.retries) for part in step.again] == [([1, 2], 1), ([3], 1)]


def test_with_bisecting_a_partial_answer_splits_at_the_record_it_names() -> None:
    step = after(batch(4, retries=1), mapping(retries=1, bisect=True), Failure(2, whole=False))

    assert numbers(step.done) == [1, 2]
    assert [(numbers(part.records), part.retries) for part in step.again] == [([3, 4], 1)]


def test_a_partial_answer_that_names_the_first_record_is_a_failed_attempt() -> None:
    step = after(batch(2), mapping(retries=1, bisect=True), Failure(0, whole=False))

    assert [(numbers(part.records), part.retries) for part in step.again] == [([1, 2], 1)]


@given(count=st.integers(1, 40), poison=st.sets(st.integers(1, 40)), retries=st.integers(0, 3), report=st.booleans())
def test_bisecting_ends_and_discards_the_poison_records_when_the_function_raises(
    count: int, poison: set[int], retries: int, report: bool
) -> None:
    settings = mapping(bisect=True, retries=retries, report_failures=report)
    waiting, done, discarded = [batch(count)], [], []
    while waiting:
        current, *waiting = waiting
        failed = Failure(0, whole=True) if poison & set(numbers(current.records)) else None
        step = after(current, settings, failed)
        done += numbers(step.done)
        discarded += numbers(step.discarded.records if step.discarded else ())
        waiting = [*step.again, *waiting]

    assert discarded == sorted(poison & set(range(1, count + 1)))
    assert sorted(done + discarded) == list(range(1, count + 1))


def test_records_that_are_too_old_are_given_up_in_the_services_time() -> None:
    old, new = record(1, created=940.0), record(2, created=990.0)
    given = Batch((old, new))

    assert without_expired(given, mapping(max_age_seconds=60), 1000.0, speed=1).discarded is None
    step = without_expired(given, mapping(max_age_seconds=60), 1000.0, speed=2)
    assert (step.discarded, step.again) == (Batch((old,)), (Batch((new,)),))
    assert without_expired(given, mapping(), 1e9, speed=60).discarded is None


def test_a_batch_takes_so_many_records_and_so_many_bytes_and_one_at_least() -> None:
    large = "x" * (MAX_PAYLOAD_BYTES // 2)
    queue = [record(number, large) for number in range(1, 5)]

    assert numbers(first_records([record(number) for number in range(1, 9)], 3)) == [1, 2, 3]
    assert numbers(first_records(queue, 100)) == [1, 2]
    assert numbers(first_records([record(1, large * 3), record(2)], 100)) == [1]


def test_an_item_keeps_its_lane_and_items_share_them() -> None:
    lanes = [lane_of(f"key-{number}", 4) for number in range(100)]

    assert lanes == [lane_of(f"key-{number}", 4) for number in range(100)]
    assert set(lanes) == {0, 1, 2, 3}


def test_waits_double_up_to_a_limit() -> None:
    assert [wait_seconds(failures) for failures in (1, 2, 3, 30)] == [1.0, 2.0, 4.0, 30.0]

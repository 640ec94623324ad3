"""Sequence numbers, filters, progress and checkpoints of the stream poller."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulators.streams.filters import passes
from local.simulators.streams.mapping import StreamMapping
from local.simulators.streams.orders import Order, Orders
from local.simulators.streams.progress import Checkpoints, Progress
from local.simulators.streams.records import Record, aws_sequence, local_sequence, read_record

MINUTE = datetime(2026, 11, 21, 18, 22, tzinfo=UTC)
STREAM = "arn:aws:dynamodb:ddblocal:000000000000:table/t/stream/x"


def found(number: int = 7, **fields: Any) -> dict[str, Any]:
    change = {
        "ApproximateCreationDateTime": MINUTE,
        "Keys": {"id": {"S": "a"}, "n": {"B": b"\x00"}},
        "SequenceNumber": str(number).zfill(21),
        "SizeBytes": 6,
        "StreamViewType": "NEW_IMAGE",
    }
    return {"eventID": "e", "eventName": "INSERT", "eventVersion": "1.1", "awsRegion": "ddblocal", "dynamodb": change, **fields}


def record(number: int) -> Record:
    return Record(str(number).zfill(21), aws_sequence(str(number)), "k", 0.0, 0.0, "{}")


numbers = st.integers(1, 10**21 - 1)


@given(first=numbers, second=numbers)
def test_sequence_numbers_have_awss_length_and_keep_their_order(first: int, second: int) -> None:
    one, two = aws_sequence(str(first).zfill(21)), aws_sequence(str(second).zfill(21))

    assert (int(one) < int(two)) == (first < second)
    assert 22 <= len(one) <= 28
    assert int(one) > 2**63
    assert local_sequence(one) == str(first).zfill(21)


def test_sequence_numbers_get_longer_so_that_they_do_not_compare_as_text() -> None:
    assert aws_sequence("9") > aws_sequence("10")
    assert len(aws_sequence("9")) == len(aws_sequence("10")) - 1


def test_the_age_of_a_record_is_that_of_its_reading_if_it_fits_the_minute() -> None:
    begin = MINUTE.timestamp()

    assert read_record(found(), STREAM, "r", begin + 7).created == begin + 7
    assert read_record(found(), STREAM, "r", begin + 3600).created == begin + 60


def test_a_removal_without_a_name_is_one_of_the_ttl() -> None:
    event = json.loads(read_record(found(eventName="UNKNOWN_TO_SDK_VERSION"), STREAM, "r", 0).text)

    assert (event["eventName"], event["userIdentity"]["principalId"]) == ("REMOVE", "dynamodb.amazonaws.com")


def test_an_identity_that_is_there_is_kept() -> None:
    given = found(eventName="REMOVE", userIdentity={"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"})

    identity = json.loads(read_record(given, STREAM, "r", 0).text)["userIdentity"]
    assert identity == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ({"eventName": ["INSERT"]}, True),
        ({"eventName": ["MODIFY", "REMOVE"]}, False),
        ({"eventName": [{"anything-but": ["REMOVE"]}]}, True),
        ({"eventName": [{"anything-but": [{"prefix": "IN"}]}]}, False),
        ({"dynamodb": {"NewImage": {"kind": {"S": ["word"]}}}}, True),
        ({"dynamodb": {"NewImage": {"kind": {"S": [{"prefix": "wo"}]}}}}, True),
        ({"dynamodb": {"NewImage": {"kind": {"S": [{"suffix": "xx"}]}}}}, False),
        ({"dynamodb": {"NewImage": {"kind": {"S": [{"equals-ignore-case": "WORD"}]}}}}, True),
        ({"dynamodb": {"NewImage": {"kind": {"S": [{"exists": False}]}}}}, False),
        ({"dynamodb": {"NewImage": {"other": {"S": [{"exists": False}]}}}}, True),
        ({"dynamodb": {"NewImage": {"price": {"N": [{"numeric": [">", 1]}]}}}}, False),
        ({"dynamodb": {"SizeBytes": [{"numeric": [">", 1, "<=", 6]}]}}, True),
        ({"dynamodb": {"NewImage": {"tags": {"SS": ["b"]}}}}, True),
        ({"$or": [{"eventName": ["REMOVE"]}, {"dynamodb": {"SizeBytes": [6]}}]}, True),
    ],
)
def test_a_filter_lets_through_what_its_pattern_describes(pattern: dict[str, Any], fits: bool) -> None:
    image = {"kind": {"S": "word"}, "price": {"N": "5"}, "tags": {"SS": ["a", "b"]}}
    event = {"eventName": "INSERT", "dynamodb": {"NewImage": image, "SizeBytes": 6}}

    assert passes(event, [json.dumps(pattern)]) is fits
    assert passes(event, ['{"eventName":["NOTHING"]}', json.dumps(pattern)]) is fits


def test_without_filters_all_passes_and_an_unknown_rule_is_refused() -> None:
    assert passes({}, [])
    with pytest.raises(ValueError, match="expected one of exists, prefix"):
        passes({"a": "b"}, ['{"a": [{"cidr": "10.0.0.0/8"}]}'])


@given(order=st.permutations(range(1, 9)))
def test_a_checkpoint_never_passes_a_record_that_is_open(order: list[int]) -> None:
    progress = Progress()
    progress.add(record(number) for number in range(1, 9))
    done: set[int] = set()
    for number in order:
        progress.done([record(number)])
        done.add(number)
        reached = int(progress.checkpoint or 0)
        assert set(range(1, reached + 1)) <= done
        assert reached + 1 not in done
        assert progress.open_count == 8 - len(done)
    assert progress.oldest is None


def test_checkpoints_outlive_the_process_but_not_the_mapping(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "streams.json")
    assert kept.of("m") is None
    kept.keep("m", {})
    kept.keep("m", {"shard-1": "7"})
    kept.keep("gone", {"shard-1": "1"})

    again = Checkpoints(tmp_path / "streams.json")
    assert again.of("m") == {"shard-1": "7"}
    again.forget_all_but({"m"})
    assert Checkpoints(tmp_path / "streams.json").of("gone") is None


def test_a_mapping_is_read_with_lambdas_defaults_and_zero_is_a_setting() -> None:
    least = {"UUID": "u", "FunctionArn": "arn:aws:lambda:r:1:function:f", "EventSourceArn": STREAM}
    bare = StreamMapping.from_configuration(least)
    assert (bare.batch_size, bare.retries, bare.max_age_seconds, bare.lanes, bare.destination) == (100, -1, -1, 1, "")
    assert (bare.function_name, bare.table) == ("f", "t")

    full = StreamMapping.from_configuration(
        {
            **least,
            "MaximumRetryAttempts": 0,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "BisectBatchOnFunctionError": True,
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:r:1:q"}},
            "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]},
        }
    )
    assert (full.retries, full.report_failures, full.bisect, full.destination) == (0, True, True, "arn:aws:sqs:r:1:q")
    assert full.filters == ('{"eventName": ["INSERT"]}',)


def test_an_order_strikes_as_often_as_it_says_the_oldest_first_and_only_its_function() -> None:
    orders = Orders()
    orders.add(Order("twice", "f", times=2, after=1))
    orders.add(Order("together"))

    drawn = [orders.draw(function) for function in ("f", "g", "f", "f", "f")]
    assert [order and order.kind for order in drawn] == ["together", None, "twice", "twice", None]


def test_what_is_no_order_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of twice, together, kill_handler"):
        Order.parse({"kind": "thrice"})
    with pytest.raises(ValueError, match="an order is"):
        Order.parse({"colour": "red"})

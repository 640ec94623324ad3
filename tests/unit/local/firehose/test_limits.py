"""What a call may hold, and how much of it a second."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from local.simulators.firehose.control import FirehoseControl
from local.simulators.firehose.quota import Quota, TokenBucket
from local.simulators.firehose.settings import MIB, Settings
from tests.unit.local.firehose.world import World


def put(client: Any, *records: bytes, name: str = "overflow") -> dict[str, Any]:
    return dict(client.put_record_batch(DeliveryStreamName=name, Records=[{"Data": data} for data in records]))


def refusal(client: Any, *records: bytes, name: str = "overflow") -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        put(client, *records, name=name)
    return raised.value.response["Error"]["Code"], raised.value.response["Error"]["Message"]


def test_a_call_within_the_limits_is_taken_whole(world: World, client: Any) -> None:
    world.create()
    world.service.configure({"bytes_per_second": None})

    answers = [put(client, *[b"{}"] * 500), put(client, b"x" * 1_024_000), put(client, *[b"x" * 1_000_000] * 3)]

    assert [answer["FailedPutCount"] for answer in answers] == [0, 0, 0]
    assert len({row["RecordId"] for answer in answers for row in answer["RequestResponses"]}) == 504


@pytest.mark.parametrize(
    ("records", "code", "message"),
    [
        ([b"{}"] * 501, "ValidationException", "at 'records' failed .* less than or equal to 500"),
        ([], "ValidationException", "at 'records' failed .* greater than or equal to 1"),
        ([b"{}", b"x" * 1_024_001], "ValidationException", "at 'records.2.member.data' failed .* less than or equal to 1024000"),
        ([b"x" * 800_000] * 5, "InvalidArgumentException", "Records size exceeds 4 MB limit"),
    ],
)
def test_a_call_beyond_a_limit_is_refused_whole(world: World, client: Any, records: list[bytes], code: str, message: str) -> None:
    world.create()

    found, text = refusal(client, *records)

    assert found == code
    assert re.search(message, text)
    assert world.state()["taken"] == 0


def test_the_size_of_a_call_may_be_counted_before_base64(world: World, client: Any) -> None:
    world.create()
    world.service.configure({"call_limit_counts": "raw", "bytes_per_second": None})

    assert put(client, *[b"x" * 800_000] * 5)["FailedPutCount"] == 0
    assert refusal(client, *[b"x" * 900_000] * 5)[0] == "InvalidArgumentException"


@pytest.mark.parametrize("name", ["", "x" * 65, "under/way"])
def test_a_name_that_no_stream_can_have_is_refused(client: Any, name: str) -> None:
    assert refusal(client, b"{}", name=name)[0] == "ValidationException"


def test_records_beyond_the_quota_fail_one_by_one_and_pass_later(world: World, client: Any) -> None:
    world.create()

    answer = put(client, *[b"x" * 400_000] * 4, b"{}")

    errors = [row.get("ErrorCode") for row in answer["RequestResponses"]]
    assert errors == [None, None, "ServiceUnavailableException", "ServiceUnavailableException", None]
    assert answer["FailedPutCount"] == 2
    assert answer["RequestResponses"][2]["ErrorMessage"] == "Slow down."
    world.now += 1
    assert put(client, *[b"x" * 400_000] * 2)["FailedPutCount"] == 0
    assert (world.state()["taken"], world.state()["refused"]) == (5, 2)


def test_a_call_over_the_quota_may_fail_as_a_whole(world: World, client: Any, control: FirehoseControl) -> None:
    world.create()
    control.settings(over_quota="call")

    assert refusal(client, *[b"x" * 400_000] * 4) == ("ServiceUnavailableException", "Slow down.")
    assert world.state()["taken"] == 0


def test_too_many_requests_fail_as_a_whole(world: World, client: Any, control: FirehoseControl) -> None:
    world.create()
    control.settings(requests_per_second=2)
    put(client, b"{}")
    put(client, b"{}")

    assert refusal(client, b"{}")[0] == "ServiceUnavailableException"
    world.now += 0.5
    assert put(client, b"{}")["FailedPutCount"] == 0


def test_the_shipped_quotas_are_those_of_the_region() -> None:
    settings = Settings()

    assert (settings.bytes_per_second, settings.records_per_second, settings.requests_per_second) == (MIB, 100_000, 1_000)
    assert sum(Quota(settings, 0.0).admit([1] * 100_001, 0.0)) == 100_000


@given(
    rate=st.integers(1, 1000),
    burst=st.integers(1, 3),
    asked=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 500)), max_size=50),
)
def test_never_more_passes_than_the_rate_and_the_burst_allow(rate: int, burst: int, asked: list[tuple[float, int]]) -> None:
    bucket, now, passed = TokenBucket(rate, burst, 0.0), 0.0, 0
    for pause, tokens in asked:
        now += pause
        passed += tokens if bucket.take(tokens, now) else 0

        assert passed <= rate * (now + burst) + 1e-6


@given(sizes=st.lists(st.integers(0, 2000), max_size=50))
def test_a_stream_without_a_quota_takes_everything(sizes: list[int]) -> None:
    settings = Settings(bytes_per_second=None, records_per_second=None, requests_per_second=None)

    assert all(Quota(settings, 0.0).admit(sizes, 0.0))
    assert TokenBucket(None, 1, 0.0).take(math.inf, 0.0)


@pytest.mark.parametrize(
    "wrong", [{"colour": 1}, {"speed": 0}, {"bytes_per_second": 0}, {"conflict": "maybe"}, {"creating_seconds": "long"}]
)
def test_a_setting_that_there_is_not_is_refused(control: FirehoseControl, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        control.settings(**wrong)

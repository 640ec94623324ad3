from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.firehose import MAX_CALL_BYTES, FirehoseLane, Pace, call_bytes, fits, next_call
from tests.unit.core.bulk.small_firehose import SmallFirehose, refusal

SIZES = st.lists(st.integers(0, 2_000) | st.integers(100_000, 1_023_999), max_size=40) | st.lists(st.just(10), max_size=1_600)


def lane_of(firehose: SmallFirehose, **options: object) -> FirehoseLane:
    return FirehoseLane(firehose, "stream", clock=firehose.clock, sleep=firehose.clock.sleep, **options)


def records(count: int, size: int = 20) -> list[bytes]:
    return [str(number).zfill(size).encode() for number in range(count)]


@given(SIZES)
def test_no_call_passes_a_limit_and_nothing_is_lost_or_out_of_order(sizes):
    firehose = SmallFirehose()  # which asserts the limits
    lines = [b"x" * size for size in sizes]

    assert lane_of(firehose).put(lines, 1e9) == []
    assert firehose.taken == [line + b"\n" for line in lines]


@given(SIZES)
def test_a_call_is_as_full_as_the_limits_allow(sizes):
    lines = [b"x" * size for size in sizes]
    left = list(range(len(lines)))
    while left:
        count = next_call(lines, left)
        if count < min(len(left), 500):
            assert sum(call_bytes(lines[place]) for place in left[: count + 1]) + 512 > MAX_CALL_BYTES
        left = left[count:]


@given(st.lists(st.sets(st.integers(0, 499)), max_size=6), st.integers(1, 1_200))
def test_only_what_failed_is_sent_again(failures, count):
    firehose = SmallFirehose()
    firehose.orders = list(failures)
    lines = records(count)

    assert lane_of(firehose).put(lines, 1e9) == []
    assert sorted(firehose.taken) == [line + b"\n" for line in lines]


def test_the_four_mebibytes_of_a_call_are_counted_in_base64():
    lines = [b"x" * 1_023_999] * 5

    assert next_call(lines, range(5)) == 3
    assert lane_of(firehose := SmallFirehose()).put(lines, 1e9) == []
    assert [len(call) for call in firehose.calls] == [3, 2]


def test_a_record_of_exactly_1000_kib_with_its_line_break_fits():
    assert fits(b"x" * 1_023_999)
    assert not fits(b"x" * 1_024_000)


def test_the_request_path_offers_each_record_once_and_does_not_wait():
    firehose = SmallFirehose()
    firehose.orders = [set(), set(), {2}]

    assert lane_of(firehose).put(records(1_200), 0) == [1_002]
    assert ([len(call) for call in firehose.calls], firehose.clock.slept) == ([500, 500, 200], [])


def test_on_the_request_path_a_call_that_fails_as_a_whole_is_the_last():
    firehose = SmallFirehose()
    firehose.orders = [{4}, refusal("ServiceUnavailableException", 503)]

    assert lane_of(firehose).put(records(1_200), 0) == [4, *range(500, 1_200)]
    assert len(firehose.calls) == 2


def test_on_the_request_path_no_call_begins_late():
    firehose = SmallFirehose(seconds_a_call=0.8)

    assert lane_of(firehose).put(records(1_500), 0) == list(range(1_000, 1_500))


def test_what_fits_in_no_call_in_time_comes_back_in_order():
    firehose = SmallFirehose(seconds_a_call=1.0)

    assert lane_of(firehose).put(records(2_000), 1.5) == list(range(1_000, 2_000))


def test_a_call_that_fails_as_a_whole_is_made_again_within_the_limit():
    firehose = SmallFirehose()
    firehose.orders = [
        refusal("ServiceUnavailableException", 503),
        ReadTimeoutError(endpoint_url="https://firehose.example"),
        refusal("InternalFailure", 500),
    ]

    assert lane_of(firehose).put(records(3), 30) == []
    assert len(firehose.calls) == 4
    assert len(firehose.clock.slept) >= 3


def test_a_stream_that_takes_nothing_is_given_up_when_the_limit_is_over():
    firehose = SmallFirehose()
    firehose.always = lambda: refusal("ServiceUnavailableException", 503)
    began = firehose.clock.now

    assert lane_of(firehose).put(records(3), 5) == [0, 1, 2]
    assert firehose.clock.now - began <= 5


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException", "InvalidKMSResourceException"])
def test_a_stream_that_can_not_be_used_is_left_alone_for_a_while(code, caplog):
    firehose = SmallFirehose()
    firehose.orders = [refusal(code)]
    lane = lane_of(firehose)

    assert lane.put(records(3), 30) == [0, 1, 2]
    assert lane.put(records(3), 30) == [0, 1, 2]
    assert len(firehose.calls) == 1
    assert code in caplog.text

    firehose.clock.now += 11
    assert lane.put(records(3), 30) == []


def test_a_stream_out_of_reach_does_not_make_every_request_wait_for_it():
    firehose = SmallFirehose()
    firehose.always = lambda: ReadTimeoutError(endpoint_url="https://firehose.example")
    lane = lane_of(firehose)

    for _ in range(5):
        assert lane.put(records(1), 0) == [0]
    assert len(firehose.calls) == 1


def test_a_throttled_request_does_not_keep_the_next_one_from_trying():
    firehose = SmallFirehose()
    firehose.orders = [refusal("ServiceUnavailableException", 503)]
    lane = lane_of(firehose)

    assert lane.put(records(1), 0) == [0]
    assert lane.put(records(1), 0) == []


def test_an_answer_that_is_too_short_counts_for_nothing():
    firehose = SmallFirehose()
    answer = firehose.put_record_batch
    lines = records(3)
    firehose.put_record_batch = _short_once(answer)

    assert lane_of(firehose).put(lines, 30) == []
    assert len(firehose.calls) == 2


def _short_once(answer):
    answers = []

    def put(**call):
        answers.append(answer(**call))
        return {**answers[-1], "RequestResponses": answers[-1]["RequestResponses"][:1]} if len(answers) == 1 else answers[-1]

    return put


def test_an_error_of_ours_is_not_taken_for_one_of_firehose():
    firehose = SmallFirehose()
    firehose.orders = [KeyError("a bug")]

    with pytest.raises(KeyError):
        lane_of(firehose).put(records(1), 30)


def test_nothing_is_held_back_before_the_stream_is_full():
    firehose = SmallFirehose()

    assert lane_of(firehose).put(records(5_000, 2_000), 1) == []
    assert firehose.clock.slept == []


def test_after_a_throttling_the_pace_is_that_of_the_quota():
    firehose = SmallFirehose()
    firehose.orders = [set(range(500))]
    began = firehose.clock.now

    assert lane_of(firehose).put(records(10_000, 1_023), 1e9) == []  # 10.24 MB: 9.77 s at 1 MiB/s
    assert 9.0 < firehose.clock.now - began < 13.0


def test_a_pace_that_comes_too_late_leaves_the_rest_to_the_spool():
    firehose = SmallFirehose()
    firehose.orders = [{0}]
    began = firehose.clock.now

    left = lane_of(firehose).put(records(10_000, 1_023), 3)

    assert 5_000 < len(left) < 9_500
    assert left == sorted(left)
    assert firehose.clock.now - began < 4


@given(st.lists(st.tuples(st.integers(1, 4 * 2**20), st.integers(1, 500)), min_size=1, max_size=50))
def test_threads_share_one_pace(calls):
    firehose = SmallFirehose()
    pace = Pace(1_000, 10, 100, clock=firehose.clock)
    pace.throttled()
    begins = []

    def reserve(size, count):
        begins.append((pace.reserve(size, count, 1e12), size, count))

    threads = [threading.Thread(target=reserve, args=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    begins.sort()
    for (begin, size, count), (following, _, _) in pairwise(begins):
        assert following - begin >= max(size / 1_000, 1 / 10, count / 100) - 1e-6 * following


def test_a_reservation_that_is_too_late_takes_nothing():
    firehose = SmallFirehose()
    pace = Pace(100, clock=firehose.clock)
    pace.throttled()

    assert pace.reserve(1_000, 1, firehose.clock.now) == 0
    assert pace.reserve(1_000, 1, firehose.clock.now + 9) is None
    assert pace.reserve(1_000, 1, firehose.clock.now + 10) == 10


@pytest.mark.parametrize("rates", [(0, 1, 1), (1, -1, 1)])
def test_a_pace_of_nothing_is_refused(rates):
    with pytest.raises(ValueError, match="rates above 0"):
        Pace(*rates)

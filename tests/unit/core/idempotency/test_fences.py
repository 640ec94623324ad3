from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

from searchops.core.idempotency.fences import BLOCK, Fences
from tests.unit.core.idempotency.conftest import Clock


class Counter:
    """The item of the table."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.calls = 0

    def __call__(self, count: int) -> int:
        self.calls += 1
        self.value += count
        return self.value


def test_a_block_serves_many_claims(clock: Clock):
    counter = Counter(5 * BLOCK)
    fences = Fences(counter, 1000, clock)

    assert [fences.take() for _ in range(3)] == [5 * BLOCK + 1, 5 * BLOCK + 2, 5 * BLOCK + 3]
    assert counter.calls == 1


def test_threads_never_get_the_same_number(clock: Clock):
    fences = Fences(Counter(), 1000, clock)
    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(lambda _: [fences.take() for _ in range(200)], range(16)))

    assert all(numbers == sorted(numbers) for numbers in taken)
    assert len(set(itertools.chain(*taken))) == 3200


def test_a_number_above_one_of_another_process_comes_from_a_new_block(clock: Clock):
    counter = Counter()
    fences = Fences(counter, 1000, clock)
    fences.take()
    counter(BLOCK)

    assert fences.take(above=BLOCK + 1) == 2 * BLOCK + 1


def test_an_exhausted_block_is_followed_by_another(clock: Clock):
    fences = Fences(Counter(), 1000, clock)
    fences.take()
    fences._next = BLOCK

    assert [fences.take(), fences.take()] == [BLOCK, BLOCK + 1]


def test_a_block_is_thrown_away_when_it_is_a_quarter_as_old_as_records_get(clock: Clock):
    fences = Fences(Counter(), 1000, clock)
    fences.take()
    clock.now += 250
    assert fences.take() == 2
    clock.now += 1

    assert fences.take() == BLOCK + 1


def test_a_block_is_thrown_away_after_an_hour_at_the_latest_and_when_the_clock_went_back(clock: Clock):
    fences = Fences(Counter(), 1e9, clock)
    fences.take()
    clock.now += 3601
    assert fences.take() == BLOCK + 1
    clock.now -= 1

    assert fences.take() == 2 * BLOCK + 1


def test_a_counter_that_was_deleted_is_set_above_the_keys_that_are_left(clock: Clock):
    counter = Counter()
    fences = Fences(counter, 1000, clock)

    assert fences.take(above=7 * BLOCK + 3) > 7 * BLOCK + 3
    assert fences.take(above=7 * BLOCK + 3) > 7 * BLOCK + 3
    assert counter.calls == 2

"""The real races, on Amazon's engine: each shape a hundred times."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud
from searchops.core.idempotency.errors import ClaimLost, InProgress
from searchops.core.idempotency.guard import Claim, Completed, Guard
from tests.integration.forked import forked
from tests.integration.idempotency.mortal import die_after_the_effect, effect

ROUNDS = 100
THREADS = 64
KEYS = 2000
TAKERS = 4
AFTER_THE_LEASE = 61
NewGuard = Callable[..., Guard]
_processes = forked(die_after_the_effect.__module__)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls at the same moment and return what they returned or raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except (InProgress, ClaimLost) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def claims_in(outcomes: Sequence[Any]) -> list[Claim]:
    return [outcome for outcome in outcomes if isinstance(outcome, Claim)]


def test_of_64_threads_on_one_key_one_wins(new_guard: NewGuard):
    guard = new_guard()
    for key in range(10):
        outcomes = at_once(*[lambda key=key: guard.claim(str(key))] * THREADS)

        assert Counter(type(outcome) for outcome in outcomes) == {Claim: 1, InProgress: THREADS - 1}


def test_of_the_threads_on_each_of_2000_keys_one_wins(new_guard: NewGuard):
    guards = [new_guard(), new_guard()]
    tries = [str(key) for key in range(KEYS) for _ in range(TAKERS)]
    # Close to one another in time, and in another order each time.
    tries = [key for start in range(0, len(tries), THREADS) for key in random.sample(tries[start : start + THREADS], THREADS)]

    def won(number: int) -> str | None:
        try:
            return tries[number] if isinstance(guards[number % 2].claim(tries[number]), Claim) else None
        except InProgress:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        winners = Counter(key for key in pool.map(won, range(len(tries))) if key is not None)

    assert len(winners) == KEYS
    assert set(winners.values()) == {1}


def test_a_late_owner_never_changes_what_its_successor_recorded(new_guard: NewGuard):
    owner, successor = new_guard(), new_guard(ahead=AFTER_THE_LEASE)
    for key in map(str, range(ROUNDS)):
        late = owner.claim(key)
        following = successor.claim(key)
        following.complete("successor")

        with pytest.raises(ClaimLost, match=f"fence {following.fence}, now COMPLETED"):
            random.choice([late.complete, late.release, late.extend])()
        assert owner.claim(key) == Completed("successor", following.fence)


def test_an_owner_that_completes_while_another_takes_over_is_either_in_time_or_told(new_guard: NewGuard):
    owner, successor = new_guard(), new_guard(ahead=AFTER_THE_LEASE)
    for key in map(str, range(ROUNDS)):
        late = owner.claim(key)

        completed, taken = at_once(lambda late=late: late.complete("late"), lambda key=key: successor.claim(key))

        if completed == "late":
            assert taken == Completed("late", late.fence)
        else:
            assert isinstance(completed, ClaimLost)
            assert taken.complete("successor") == "successor"
            assert taken.fence > late.fence
        assert owner.claim(key).result == ("late" if completed == "late" else "successor")


def test_one_of_many_takes_over_from_a_dead_owner(new_guard: NewGuard):
    dead, takers = new_guard(), [new_guard(ahead=AFTER_THE_LEASE) for _ in range(8)]
    for key in map(str, range(ROUNDS)):
        first = dead.claim(key)

        outcomes = at_once(*[lambda guard=guard, key=key: guard.claim(key) for guard in takers])

        (winner,) = claims_in(outcomes)
        assert (winner.attempt, winner.fence > first.fence) == (2, True)


def test_threads_that_let_keys_go_hand_them_on_with_growing_fences(new_guard: NewGuard):
    guards = [new_guard() for _ in range(8)]
    fences: list[int] = []

    def take_and_let_go(guard: Guard) -> None:
        for _ in range(25):
            try:
                with guard.claim("k") as claim:
                    fences.append(claim.fence)  # within the claim, so in the order of the owners
                    claim.release()
            except InProgress:
                pass

    with ThreadPoolExecutor(len(guards)) as pool:
        list(pool.map(take_and_let_go, guards))

    assert fences == sorted(set(fences))
    assert len(fences) >= 25


def test_what_a_worker_that_was_killed_after_its_effect_left_is_finished_by_the_next(
    new_guard: NewGuard, dynamodb_cloud: Cloud, claims_table: str, tmp_path: Path
):
    """Real processes, SIGKILL. The effect happens twice, as is said, with a higher fence the second time; it is recorded once."""
    settings = {"table": claims_table, "namespace": tmp_path.name}
    now, later = new_guard(**settings), new_guard(ahead=AFTER_THE_LEASE, **settings)

    for key in map(str, range(ROUNDS)):
        effects = tmp_path / key
        worker = _processes.Process(target=die_after_the_effect, args=(settings, client_of(dynamodb_cloud), key, effects))
        worker.start()
        worker.join(60)
        assert worker.exitcode == -signal.SIGKILL

        with pytest.raises(InProgress):
            now.claim(key)
        with later.claim(key) as claim:
            effect(effects, claim.fence)
            claim.complete("finished")

        first, second = map(int, effects.read_text().split())
        assert first < second == claim.fence
        assert now.claim(key) == Completed("finished", claim.fence)


def client_of(cloud: Cloud) -> dict[str, Any]:
    variables = cloud.environment
    return {
        "region_name": variables["AWS_REGION"],
        "endpoint_url": variables["AWS_ENDPOINT_URL_DYNAMODB"],
        "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
    }

"""What goes wrong, by the seed."""

from __future__ import annotations

from collections import Counter

import pytest

from local.faults.__main__ import numbers
from local.faults.bulk import measures
from local.faults.documents import Scheme
from local.faults.run import Outcome
from local.faults.scenario import Scenario
from local.simulators.node_faults.faults import Kind

SCENARIOS = [Scenario.draw(seed) for seed in range(1, 201)]


def test_a_seed_draws_the_same_each_time() -> None:
    assert Scenario.draw(17) == Scenario.draw(17)


def test_a_fifth_of_the_runs_is_killed_and_half_of_them_closed() -> None:
    assert sum(bool(scenario.kills and scenario.kill_settling) for scenario in SCENARIOS) == 40
    assert sum(bool(scenario.reopened) for scenario in SCENARIOS) == 100


def test_every_scheme_and_every_kind_of_fault_is_tried() -> None:
    schemes = Counter(scenario.scheme for scenario in SCENARIOS)
    kinds = {kind for scenario in SCENARIOS for kind in (*scenario.node, *(order.kind for order in scenario.orders))}
    firehose = {order["kind"] for scenario in SCENARIOS for order in scenario.firehose}

    assert set(schemes) == set(Scheme)
    assert schemes[Scheme.TOMBSTONES] > 100
    assert kinds == set(Kind)
    assert firehose >= {"throttle", "fail_records", "reset_after", "twice", "server_error_after"}


def test_seeds_are_given_one_by_one_or_from_to() -> None:
    assert numbers("1-3,7") == [1, 2, 3, 7]
    with pytest.raises(ValueError, match="invalid literal"):
        numbers("all")


def test_the_results_count_every_kind_of_fault_and_say_how_many_runs_were_wrong() -> None:
    right = Outcome(1, "once, never", happened=Counter({"node: cut": 2}), lives=1, kills=1, seconds=2.0)
    wrong = Outcome(2, "once, never", wrong=["1 documents lost: a"], happened=Counter({"node: cut": 3}), lives=3, seconds=4.0)

    found = {measure.name: measure for measure in measures([wrong, right], 5.0)}

    assert found["fault: node: cut"].samples == [5]
    assert found["seeds"].samples == [1, 2]
    assert found["runs in which something is wrong"].holds is False
    assert found["runs killed by SIGKILL"].samples == [1]

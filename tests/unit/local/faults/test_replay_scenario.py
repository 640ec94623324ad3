"""What is replayed and what goes wrong, by the seed."""

from __future__ import annotations

from collections import Counter

from local.faults.replay.campaign import measures
from local.faults.replay.items import Document, Kind, Scheme, first_items, name_of, written_keys
from local.faults.replay.run import Outcome
from local.faults.replay.scenario import Scenario
from local.simulators.dynamodb_faults.faults import Kind as DynamoDBKind

SCENARIOS = [Scenario.draw(seed) for seed in range(1, 101)]
NOW = 1_800_000_000


def test_a_seed_draws_the_same_each_time() -> None:
    assert Scenario.draw(17) == Scenario.draw(17)
    assert first_items(17, Scheme.SHARED, 50, NOW) == first_items(17, Scheme.SHARED, 50, NOW)


def test_half_of_the_runs_is_killed_and_two_fifths_have_two_replays_of_one_day_at_once() -> None:
    assert sum(bool(scenario.kills) for scenario in SCENARIOS) == 50
    assert sum(len(set(scenario.groups[0])) < len(scenario.groups[0]) for scenario in SCENARIOS) == 40


def test_every_scheme_way_to_select_and_kind_of_fault_is_tried() -> None:
    schemes = Counter(scenario.scheme for scenario in SCENARIOS)
    kinds = {kind for scenario in SCENARIOS for kind in (*scenario.dynamodb, *(order.kind for order in scenario.orders))}
    deliveries = {delivery.order for scenario in SCENARIOS for delivery in scenario.deliveries}
    tasks = {(bool(task.day), bool(task.partitions)) for scenario in SCENARIOS for task in scenario.tasks}

    assert min(schemes[scheme] for scheme in Scheme) >= 33
    assert kinds == set(DynamoDBKind) - {DynamoDBKind.ACCESS_DENIED}
    assert deliveries == {"deliver_twice", "deliver_together", "kill_handler"}
    assert tasks == {(True, False), (False, True), (False, False)}
    assert any(scenario.batches for scenario in SCENARIOS)
    assert {scenario.shards for scenario in SCENARIOS} == {0, 3}


def test_a_table_holds_items_of_every_kind_and_the_index_some_of_them() -> None:
    first = first_items(5, Scheme.SHARED, 300, NOW).values()

    assert {one.kind for one in first} == set(Kind)
    assert {one.document for one in first} == set(Document)


def test_the_application_leaves_alone_what_ttl_may_remove() -> None:
    first = first_items(5, Scheme.SHARED, 300, NOW)
    names = {name_of(key) for key in written_keys(first, 5)}

    assert names - set(first)
    assert not {name for name, one in first.items() if one.kind in (Kind.EXPIRED, Kind.TOO_LARGE)} & names


def test_the_results_count_every_kind_of_fault_and_say_how_many_runs_were_wrong() -> None:
    right = Outcome(1, "sequence", happened=Counter({"DynamoDB: cut": 2}), kills=1, replays=4, resumed=1, lives=5)
    wrong = Outcome(2, "sequence", wrong=["1 items lost: a"], happened=Counter({"DynamoDB: cut": 3}), replays=4, lives=4)

    found = {measure.name: measure for measure in measures([wrong, right], 5.0)}

    assert found["fault: DynamoDB: cut"].samples == [5]
    assert found["replays"].samples == [8]
    assert found["runs in which something is wrong"].holds is False

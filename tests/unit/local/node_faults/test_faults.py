from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from local.simulators.node_faults.faults import Draw, Fault, Faults, Kind, Plan

PROBABILITIES = {Kind.ITEM_429: 0.3, Kind.ITEM_BLOCK_403: 0.1, Kind.RESET_AFTER: 0.2, Kind.CUT: 0.1, Kind.SLOW: 0.1}


def kinds(draw: Draw | None) -> tuple[Kind, ...]:
    return tuple(fault.kind for fault in (draw.items, draw.whole) if fault) if draw else ()


def drawn(seed: int, requests: list[tuple[str, int]]) -> Counter[tuple[str, int, tuple[Kind, ...]]]:
    faults = Faults()
    faults.follow(Plan(seed, PROBABILITIES))
    return Counter((path, size, kinds(faults.draw(path, size))) for path, size in requests)


def test_a_seed_draws_the_same_whatever_order_the_requests_come_in() -> None:
    requests = [("/a/_bulk", size) for size in (10, 20, 30, 30, 30)] * 40
    shuffled = Random(7).sample(requests, len(requests))

    assert drawn(1, requests) == drawn(1, shuffled)
    assert drawn(1, requests) != drawn(2, requests)


def test_a_seed_draws_the_same_for_an_index_of_another_name() -> None:
    met = []
    for index in ("a", "b"):
        faults = Faults()
        faults.follow(Plan(1, PROBABILITIES))
        met.append([kinds(faults.draw(f"/{index}/_bulk", size)) for size in range(100)])

    assert met[0] == met[1]


def test_kinds_come_as_often_as_planned_and_together() -> None:
    faults = Faults()
    faults.follow(Plan(3, PROBABILITIES))

    met = [kinds(faults.draw("/_bulk", size)) for size in range(5_000)]

    counts = Counter(kind for found in met for kind in found)
    assert {kind: counts[kind] / 5_000 for kind in PROBABILITIES} == pytest.approx(PROBABILITIES, abs=0.03)
    assert (Kind.ITEM_429, Kind.RESET_AFTER) in met


def test_a_plan_leaves_other_paths_alone_and_items_where_there_are_none() -> None:
    faults = Faults()
    faults.follow(Plan(3, {Kind.ITEM_429: 1, Kind.CUT: 1}, paths=("_bulk", "_mget")))

    assert kinds(faults.draw("/x/_bulk", 1)) == (Kind.ITEM_429, Kind.CUT)
    assert kinds(faults.draw("/_mget", 1)) == (Kind.CUT,)
    assert faults.draw("/x/_doc/_bulky", 1) is None


def test_an_order_and_a_plan_of_every_path_strike_also_what_is_no_node() -> None:
    faults = Faults()
    faults.order(Fault(Kind.STATUS_503, path="*"))
    faults.follow(Plan(1, {Kind.RESET_BEFORE: 1.0}, paths=("*",)))

    assert [kinds(faults.draw("/bucket/a/key.json", 7)) for _ in range(2)] == [(Kind.STATUS_503,), (Kind.RESET_BEFORE,)]


def test_orders_of_one_path_follow_each_other() -> None:
    faults = Faults()
    faults.order(Fault(Kind.CUT))
    faults.order(Fault(Kind.SLOW, after=1))
    faults.order(Fault(Kind.NOT_JSON))
    faults.order(Fault(Kind.ITEM_429, times=None, after=2))

    met = [kinds(faults.draw("/_bulk", 1)) for _ in range(4)]

    assert met == [(Kind.CUT,), (Kind.SLOW,), (Kind.ITEM_429, Kind.NOT_JSON), (Kind.ITEM_429,)]


def test_an_order_goes_before_the_plan() -> None:
    faults = Faults()
    faults.follow(Plan(1, {Kind.CUT: 1}))
    faults.order(Fault(Kind.SLOW))

    assert [kinds(faults.draw("/_bulk", 1)) for _ in range(2)] == [(Kind.SLOW,), (Kind.CUT,)]

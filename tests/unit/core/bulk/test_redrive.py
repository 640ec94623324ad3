"""What a pass says of itself; what it does is tried on the real node in tests/integration/bulk_handover."""

from __future__ import annotations

import pytest

from searchops.core.bulk.envelope import Envelope
from searchops.core.bulk.redrive import Choice, Fate, Outcome
from searchops.core.bulk.undelivered import Line
from searchops.core.errors import DataError, TransientError

NOW = 1_700_000_000.0
KEY = "spool/products/run/0a1b2c.ndjson.gz"


def line(kind: str = "429", at: float = 1_000.0, number: int = 0) -> Line:
    return Line(number, b"", Envelope("products", f"id-{number}", b"{}", 1), kind, "words of the cluster", at)


@pytest.mark.parametrize("fate", list(Fate))
def test_a_pass_has_a_problem_where_something_is_left_or_lost_to_the_index(fate):
    outcome = Outcome("products")
    outcome.add(line(), fate, KEY)

    expected = {
        Fate.REJECTED: DataError,
        Fate.UNREADABLE: DataError,
        Fate.OTHER_INDEX: DataError,
    }.get(fate)
    problem = outcome.problem(NOW)
    assert problem is None if expected is None else type(problem) is expected


def test_a_busy_cluster_is_no_problem_before_something_has_waited_for_a_day():
    outcome = Outcome("products", cut_short="busy")
    outcome.leave(NOW)
    outcome.leave(NOW - 86_400)
    outcome.leave(NOW - 10)

    assert outcome.problem(NOW) is None
    assert "busy" in outcome.title
    problem = outcome.problem(NOW + 1)
    assert isinstance(problem, TransientError)
    assert "handed over at 2023-11-13T22:13:20+00:00 still wait" in str(problem)


def test_an_object_that_can_not_be_read_is_told():
    assert "1 objects can not be read" in str(Outcome("products", broken=["key"]).problem(NOW))


def test_groups_come_largest_first_with_times_the_place_of_the_first_and_remedy():
    outcome = Outcome("products", objects=2)
    outcome.add(line("409"), Fate.SUPERSEDED, KEY)
    for number, at in enumerate([3_000.0, 1_000.0, 2_000.0, 4_000.0]):
        outcome.add(line("429", at, number), Fate.INDEXED, KEY)

    first, second = outcome.as_json()["groups"]

    assert (first["kind"], first["count"], first["fates"], first["first"]) == ("429", 4, {"indexed": 4}, f"{KEY}:1")
    assert (first["oldest"], first["newest"]) == ("1970-01-01T00:16:40+00:00", "1970-01-01T01:06:40+00:00")
    assert "nothing to do" in second["remedy"]
    assert outcome.title == "products: 5 documents in 2 objects: 4 indexed, 1 superseded"
    assert list(outcome.facts)[-2:] == ["429", "409"]


def test_neither_facts_nor_log_nor_xcom_have_words_of_the_cluster_which_may_quote_a_document():
    outcome = Outcome("products")
    outcome.add(line(), Fate.REJECTED, KEY)

    told = [outcome.facts, outcome.title, outcome.problem(NOW), *outcome.largest_first, outcome.as_json()]
    assert not any("words of the cluster" in str(each) for each in told)


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(send=False), False),
        (Choice(kinds=("429",)), True),
        (Choice(kinds=("409",)), False),
        (Choice(min_age_seconds=60), True),
        (Choice(min_age_seconds=61), False),
        (Choice(max_age_seconds=60), True),
        (Choice(max_age_seconds=59), False),
    ],
)
def test_a_choice_is_by_kind_and_age(choice, taken):
    assert choice.takes(line(at=1_000.0), 1_060.0) is taken

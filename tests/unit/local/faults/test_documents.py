"""What a run sends: the same for a seed, and of every kind that a referee can tell apart."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from local.faults.documents import Flaw, Scheme, Sent, documents, routing_of, source_bytes

SEEDS = range(10)


def sent(scheme: Scheme) -> list[list[Sent]]:
    return [documents(seed, scheme, 1_000) for seed in SEEDS]


def test_a_seed_sends_the_same_each_time_and_another_one_something_else() -> None:
    assert str(documents(7, Scheme.TOMBSTONES, 100)) == str(documents(7, Scheme.TOMBSTONES, 100))
    assert str(documents(7, Scheme.TOMBSTONES, 100)) != str(documents(8, Scheme.TOMBSTONES, 100))


@pytest.mark.parametrize("scheme", [Scheme.TOMBSTONES, Scheme.SEQUENCE])
def test_documents_are_deleted_made_again_repeated_and_written_late(scheme: Scheme) -> None:
    seen: Counter[str] = Counter()
    for run in sent(scheme):
        before: dict[str, list[Sent]] = defaultdict(list)
        for document in run:
            if document.flaw:
                continue
            past = before[document.id]
            seen["deleted"] += document.kind == "delete"
            seen["made again"] += bool(past) and past[-1].kind == "delete" and document.kind == "index"
            seen["repeated"] += document in past
            seen["late"] += any(int(document.order) < int(other.order) for other in past)
            seen["equal"] += any(int(document.order) == int(other.order) and document.source != other.source for other in past)
            past.append(document)

    assert all(seen[what] > 50 for what in ("deleted", "made again", "repeated", "late", "equal")), seen


def test_an_event_has_one_content() -> None:
    for run in sent(Scheme.ONCE):
        contents = defaultdict(set)
        for document in run:
            if document.flaw is None:
                contents[document.id].add((document.kind, source_bytes(document)))

        assert all(len(found) == 1 for found in contents.values())
        assert len(contents) < sum(document.flaw is None for document in run)


@pytest.mark.parametrize("scheme", Scheme)
def test_some_documents_are_bad_in_every_way_that_the_scheme_knows(scheme: Scheme) -> None:
    flaws = Counter(document.flaw for run in sent(scheme) for document in run if document.flaw)

    orders = {Flaw.NEGATIVE, Flaw.TOO_GREAT, Flaw.FRACTION, Flaw.NO_ORDER}
    assert set(flaws) == set(Flaw) - (orders if scheme is Scheme.ONCE else set())


def test_an_id_keeps_its_routing() -> None:
    for run in sent(Scheme.TOMBSTONES):
        assert all(document.routing == routing_of(document.id) for document in run if document.flaw is None)
    assert {routing_of(f"a-{number}") is None for number in range(20)} == {True, False}


def test_sequence_numbers_are_as_long_as_those_of_a_stream() -> None:
    lengths = Counter(len(document.order) for document in documents(1, Scheme.SEQUENCE, 1_000) if document.flaw is None)

    assert set(lengths) == {1, 22}

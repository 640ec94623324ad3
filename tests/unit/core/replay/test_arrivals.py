"""What a document, or the lack of one, says of an item that was touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.errors import DataError
from searchops.core.replay.arrivals import (
    BY_MARKER,
    MOST_AGAIN,
    Arrival,
    Arrivals,
    Look,
    Proof,
    Step,
    end_of_unproved,
    follow_up,
    is_alive,
    most_again,
    next_step,
)
from searchops.core.replay.records import is_replay, replay_id
from searchops.core.replay.touch import replay_id_of
from searchops.core.replay.touched import Written

OURS = replay_id_of(42)
LATER = replay_id_of(43)
EARLIER = replay_id_of(41)
FENCES = st.integers(1, 2**63)
ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision")
ITEM = {"pk": {"S": "a"}}


def touch(version: int | None = 5) -> Written:
    return Written({"pk": {"S": "a"}}, version, at=1_000.0)


def held(version: int = 5, marker: Any = None, **source: Any) -> dict[str, Any]:
    return {"found": True, "_version": version, "_source": {**source, **({} if marker is None else {"searchops_replay": marker})}}


def proof(version: VersionScheme = VersionScheme.ATTRIBUTE, *, adds_version: bool = False) -> Proof:
    return Proof(replace(ATTRIBUTE, version=version), "searchops_replay", OURS, adds_version)


TOMBSTONE = {"searchops": {"deleted": True}}
ABSENT = {"found": False}


@pytest.mark.parametrize(
    ("document", "end"),
    [
        (ABSENT, None),
        (held(4), None),
        (held(4, OURS), None),
        (held(5), Arrival.ALREADY_THERE),
        (held(5, EARLIER), Arrival.ALREADY_THERE),
        (held(5, OURS), Arrival.ARRIVED),
        (held(5, LATER), Arrival.ARRIVED),
        (held(6), Arrival.ARRIVED),
        (held(6, **TOMBSTONE), None),
    ],
)
def test_an_attribute_as_version_shows_it(document: dict[str, Any], end: Arrival | None) -> None:
    assert proof().of(touch(5), document) is end


def test_a_version_that_the_touch_has_raised_is_only_there_since_the_touch() -> None:
    assert proof(adds_version=True).of(touch(5), held(5)) is Arrival.ARRIVED
    assert proof(adds_version=True).of(touch(5), held(4)) is None


@pytest.mark.parametrize("version", [VersionScheme.ATTRIBUTE, *sorted(BY_MARKER, key=lambda scheme: scheme.value)])
@pytest.mark.parametrize(
    ("marker", "end"),
    [
        (None, None),
        (EARLIER, None),
        ("words of the application", None),
        (7, None),
        (OURS, Arrival.ARRIVED),
        (follow_up(OURS, 1), Arrival.ARRIVED),
        (LATER, Arrival.ARRIVED),
    ],
)
def test_without_a_version_of_the_item_the_marker_shows_it(version: VersionScheme, marker: Any, end: Arrival | None) -> None:
    assert proof(version).of(touch(None), held(99, marker)) is end


@pytest.mark.parametrize("version", sorted(BY_MARKER, key=lambda scheme: scheme.value))
def test_versions_that_the_index_counts_itself_show_nothing(version: VersionScheme) -> None:
    assert proof(version).of(touch(5), held(99)) is None


def test_a_document_that_never_changes_only_has_to_be_there() -> None:
    once = proof(VersionScheme.ONCE)

    assert once.of(touch(5), held(1)) is Arrival.ALREADY_THERE
    assert once.of(touch(5), held(1, OURS)) is Arrival.ARRIVED
    assert once.of(touch(5), ABSENT) is None


@given(FENCES, st.integers(1, 99), st.integers(1, 99))
def test_a_round_comes_after_its_replay_and_before_the_next_one(fence: int, one: int, other: int) -> None:
    ours, later = replay_id_of(fence), replay_id_of(fence + 1)
    rounds = sorted([one, other])

    ids = [ours, *(follow_up(ours, round) for round in rounds), later]

    assert sorted(ids) == ids
    assert all(replay_id({"m": {"S": id}}, "m") == id for id in ids)


@given(FENCES, st.integers(1, 99))
def test_the_record_of_a_round_is_a_replays(fence: int, round: int) -> None:
    before, after = (
        {**ITEM, "searchops_replay": {"S": id}} for id in (replay_id_of(fence), follow_up(replay_id_of(fence), round))
    )

    assert is_replay({"eventName": "MODIFY", "dynamodb": {"OldImage": before, "NewImage": after}}) is True


@pytest.mark.parametrize("round", [0, 100])
def test_rounds_are_counted_from_1_to_99(round: int) -> None:
    with pytest.raises(ValueError, match="1 to 99"):
        follow_up(OURS, round)


NOWHERE: dict[str, Any] = {
    "deletes": Deletes.TOMBSTONE,
    "ttl_attribute": "expires",
    "now": 2_000,
    "equal": False,
    "handed_over": False,
    "rejected": False,
}


@pytest.mark.parametrize(
    ("document", "item", "elsewhere", "end"),
    [
        (ABSENT, ITEM, {}, Arrival.MISSING),
        (held(4), ITEM, {}, Arrival.MISSING),
        (ABSENT, None, {}, Arrival.DELETED),
        (held(4, **TOMBSTONE), None, {}, Arrival.DELETED),
        (held(4), None, {}, Arrival.LATE),
        (held(4), None, {"deletes": Deletes.NEVER}, Arrival.DELETED),
        (held(4), {**ITEM, "expires": {"N": "1999"}}, {}, Arrival.EXPIRED),
        (held(4), {**ITEM, "expires": {"N": "2001"}}, {}, Arrival.MISSING),
        (held(4), {**ITEM, "expires": {"S": "1999"}}, {}, Arrival.MISSING),
        (held(4), {**ITEM, "expires": {"N": "1999"}}, {"ttl_attribute": None}, Arrival.MISSING),
        (ABSENT, ITEM, {"handed_over": True}, Arrival.HANDED_OVER),
        (ABSENT, ITEM, {"rejected": True}, Arrival.REJECTED),
        (ABSENT, ITEM, {"handed_over": True, "rejected": True}, Arrival.HANDED_OVER),
        (ABSENT, None, {"rejected": True}, Arrival.DELETED),
        (held(4), ITEM, {"equal": True, "handed_over": True, "rejected": True}, Arrival.ARRIVED),
        (held(4), {**ITEM, "expires": {"N": "1999"}}, {"equal": True}, Arrival.EXPIRED),
    ],
)
def test_what_the_index_does_not_show_is_told_by_the_table_and_the_consumers_places(
    document: dict[str, Any], item: Any, elsewhere: dict[str, Any], end: Arrival
) -> None:
    assert end_of_unproved(document, item, **{**NOWHERE, **elsewhere}) is end


WHOLE = {
    "pk": {"S": "本"},
    "price": {"N": "1.10"},
    "many": {"N": str(10**30)},
    "image": {"B": b"\x00\xff"},
    "tags": {"L": [{"S": "a"}, {"NULL": True}, {"M": {"on": {"BOOL": True}}}]},
}
SOURCE = {"pk": "本", "price": 1.1, "many": 10**30, "image": "AP8=", "tags": ["a", None, {"on": True}]}


@pytest.mark.parametrize("version", sorted(BY_MARKER, key=lambda scheme: scheme.value))
def test_an_item_that_was_put_anew_is_in_the_index_when_its_document_is_equal(version: VersionScheme) -> None:
    by_marker = proof(version)

    assert by_marker.compares
    assert by_marker.is_equal(WHOLE, held(**SOURCE))
    assert by_marker.is_equal(WHOLE, held(**SOURCE, searchops={"sequence": "1"}))
    assert not by_marker.is_equal(WHOLE, ABSENT)
    assert not by_marker.is_equal(WHOLE, held(**TOMBSTONE))
    assert not by_marker.is_equal(WHOLE, held(**{**SOURCE, "price": 1.2}))
    assert not by_marker.is_equal(WHOLE, held(**SOURCE, added_by="a pipeline"))
    assert not by_marker.is_equal({**WHOLE, "searchops_replay": {"S": OURS}}, held(**SOURCE))


def test_where_versions_decide_contents_are_not_compared() -> None:
    assert not proof().compares
    assert not proof().is_equal(WHOLE, held(**SOURCE))


def test_a_document_is_alive_unless_it_is_a_tombstone() -> None:
    assert is_alive(held())
    assert is_alive(held(searchops={"sequence": "1"}))
    assert is_alive(held(searchops="words"))
    assert not is_alive(held(**TOMBSTONE))
    assert not is_alive(ABSENT)


ENDS = st.lists(st.sampled_from(Arrival), max_size=30)


@given(ENDS, ENDS)
def test_every_touched_item_has_one_end_and_the_sums_agree(one: list[Arrival], other: list[Arrival]) -> None:
    both = Arrivals.of(one, again=len(one)) + Arrivals.of(other)

    assert both == Arrivals.of([*one, *other], again=len(one))
    assert both.touched == len(one) + len(other)
    assert both.touched == both.consumed + both.late
    assert both.consumed == both.in_index + both.gone + both.handed_over + both.rejected + both.missing
    assert both.short == both.waiting + both.rejected + both.missing
    assert Arrivals.from_json(both.to_json()) == both


@pytest.mark.parametrize("values", [{}, {"arrived": "many"}, None])
def test_what_are_no_arrivals_is_refused(values: Any) -> None:
    with pytest.raises(DataError, match="arrivals"):
        Arrivals.from_json(values)


@pytest.mark.parametrize(
    ("arrivals", "sendable", "patient", "step"),
    [
        (Arrivals(), 0, True, Step.DONE),
        (Arrivals(arrived=5, already_there=1, deleted=1, expired=1), 0, False, Step.DONE),
        (Arrivals(late=1), 0, True, Step.WAIT),
        (Arrivals(late=1), 0, False, Step.FAIL),
        (Arrivals(handed_over=1), 0, True, Step.WAIT),
        (Arrivals(handed_over=1), 0, False, Step.FAIL),
        (Arrivals(missing=1, late=1), 1, True, Step.WAIT),
        (Arrivals(missing=1), 1, True, Step.AGAIN),
        (Arrivals(missing=1), 1, False, Step.AGAIN),
        (Arrivals(missing=1), 0, True, Step.FAIL),
        (Arrivals(missing=2), 1, True, Step.AGAIN),
        (Arrivals(rejected=1), 0, True, Step.FAIL),
        (Arrivals(rejected=1, missing=1), 1, True, Step.AGAIN),
        (Arrivals(missing=MOST_AGAIN), MOST_AGAIN, True, Step.AGAIN),
        (Arrivals(missing=MOST_AGAIN + 1), MOST_AGAIN + 1, True, Step.FAIL),
        (Arrivals(missing=30_000, arrived=270_000), 30_000, True, Step.AGAIN),
        (Arrivals(missing=30_001, arrived=269_999), 30_001, True, Step.FAIL),
    ],
)
def test_what_is_late_is_waited_for_and_what_is_missing_is_sent_again_unless_it_is_too_much(
    arrivals: Arrivals, sendable: int, patient: bool, step: Step
) -> None:
    assert next_step(Look(arrivals, sendable), patient=patient) is step


@given(ENDS, st.integers(0, 30), st.booleans())
def test_a_look_ends_well_only_when_nothing_is_short(ends: list[Arrival], sendable: int, patient: bool) -> None:
    look = Look(Arrivals.of(ends), min(sendable, ends.count(Arrival.MISSING)))

    step = next_step(look, patient=patient)

    assert (step is Step.DONE) is (look.arrivals.short == 0)
    if step is Step.AGAIN:
        assert 0 < look.sendable <= most_again(look.arrivals)
        assert not look.arrivals.waiting
    if step is Step.WAIT:
        assert patient
        assert look.arrivals.waiting


def test_arrivals_are_told_in_a_line() -> None:
    arrivals = Arrivals(arrived=1_200, already_there=3, deleted=2, late=4, missing=1, again=7)

    assert str(arrivals) == (
        "touched 1,210, consumed 1,206, in the index 1,203, already there 3, deleted 2, late 4, missing 1, sent again 7"
    )
    assert str(Arrivals(arrived=1)) == "touched 1, consumed 1, in the index 1"

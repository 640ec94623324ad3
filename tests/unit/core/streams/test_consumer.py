"""What becomes of a batch, and of the batches after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.errors import DataError
from searchops.core.streams.consumer import Fate, Outcome, consume
from searchops.core.streams.records import StreamRecord, View
from searchops.core.streams.writes import Rule, WrongView
from tests.unit.core.streams.events import Items, batch, cut, record, sequence
from tests.unit.core.streams.small_index import Letters, SmallIndex

ATTRIBUTE = Rule(Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision"), ("pk",))
SEQUENCE = Rule(Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE), ("pk",))
RULES = st.sampled_from([ATTRIBUTE, SEQUENCE])
NOTHING: dict[str, Any] = {"batchItemFailures": []}

Change = tuple[str, str]
CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "put", "delete", "poison", "unreadable"])), max_size=12
)
SIZES = st.lists(st.integers(1, 6), max_size=12)


def stream_of(changes: Sequence[Change]) -> tuple[StreamRecord, ...]:
    """``poison`` is what the index rejects, ``unreadable`` what gives no write."""
    items = Items()
    for key, what in changes:
        if what == "delete":
            items.delete(key)
        else:
            items.put(key, **({"poison": "x"} if what == "poison" else {"x": {"Z": "1"}} if what == "unreadable" else {}))
    return items.batch()


def bad(records: Sequence[StreamRecord]) -> set[str]:
    """Records that can not be indexed."""
    return {one.sequence for one in records if one.new and not {"poison", "x"}.isdisjoint(one.new)}


def sequences(outcome: Outcome) -> list[str]:
    return [letter.record.sequence for letter in outcome.letters]


@pytest.fixture
def index() -> SmallIndex:
    return SmallIndex(ATTRIBUTE.scheme)


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def items() -> Items:
    return Items()


@given(RULES, CHANGES, SIZES)
def test_what_the_index_holds_does_not_depend_on_how_records_fall_into_batches(
    rule: Rule, changes: list[Change], sizes: list[int]
) -> None:
    records = stream_of(changes)
    one_by_one, in_batches, letters = SmallIndex(rule.scheme), SmallIndex(rule.scheme), Letters()

    for alone in records:
        consume([alone], rule, one_by_one, Letters())
    for some in cut(records, sizes):
        assert consume(some, rule, in_batches, letters).answer() == NOTHING

    assert in_batches.held == one_by_one.held
    assert set(letters.kept) <= bad(records)


@given(RULES, CHANGES, SIZES, st.lists(st.sampled_from(["refused", "away", "letters", "killed", "well"]), max_size=20))
def test_whatever_fails_on_the_way_the_index_follows_and_every_bad_record_that_was_sent_is_in_its_place(
    rule: Rule, changes: list[Change], sizes: list[int], troubles: list[str]
) -> None:
    records = stream_of(changes)
    expected, index, letters = SmallIndex(rule.scheme), SmallIndex(rule.scheme), Letters()
    for alone in records:
        consume([alone], rule, expected, Letters())

    for some in cut(records, sizes):
        left: Sequence[StreamRecord] = some
        while left:
            trouble = troubles.pop() if troubles else "well"
            index.away, letters.away = trouble == "away", trouble == "letters"
            index.refused = {"a", "c"} if trouble == "refused" else set()
            outcome = consume(left, rule, index, letters)
            if trouble != "killed":  # else nobody gets the answer, and the batch comes again
                left = from_first(left, outcome.answer())

    assert index.held == expected.held
    last = {one.keys["pk"]["S"]: one.sequence for one in records}
    assert set(letters.kept) >= bad(records) & set(last.values())
    assert set(letters.kept) <= bad(records)


@given(RULES, CHANGES, SIZES, st.lists(st.sets(st.sampled_from("abc")), max_size=12))
def test_what_is_handed_over_leaves_the_index_as_if_it_had_been_taken_at_once(
    rule: Rule, changes: list[Change], sizes: list[int], refused: list[set[str]]
) -> None:
    records = stream_of(changes)
    expected, index = SmallIndex(rule.scheme), SmallIndex(rule.scheme, hands_over=True)
    for alone in records:
        consume([alone], rule, expected, Letters())

    for some in cut(records, sizes):
        index.refused = refused.pop() if refused else set()
        assert consume(some, rule, index, Letters()).answer() == NOTHING
    index.redrive()

    assert index.held == expected.held


def from_first(records: Sequence[StreamRecord], answer: dict[str, Any]) -> Sequence[StreamRecord]:
    """What a mapping sends again."""
    if not answer["batchItemFailures"]:
        return []
    (named,) = answer["batchItemFailures"]
    positions = [position for position, one in enumerate(records) if one.sequence == named["itemIdentifier"]]
    return records[positions[0] :]


def test_a_batch_that_is_well_has_the_answer_that_names_none(index: SmallIndex, letters: Letters, items: Items) -> None:
    items.put("a")
    items.put("b")
    items.delete("a")

    outcome = consume(items.batch(), ATTRIBUTE, index, letters)

    assert outcome.answer() == NOTHING
    assert (outcome.counts, outcome.why) == ({"merged": 1, "indexed": 2}, "")
    assert index.sent == [["a", "b"]]


def test_a_superseded_record_of_the_batch_is_not_sent(index: SmallIndex, letters: Letters, items: Items) -> None:
    for number in range(5):
        items.put("a", n=number)

    outcome = consume(items.batch(), ATTRIBUTE, index, letters)

    assert index.sent == [["a"]]
    assert index.held["a"][1]["n"] == 4
    assert outcome.fates == [Fate.MERGED] * 4 + [Fate.INDEXED]


def test_a_write_that_is_older_than_what_the_index_holds_has_its_end(index: SmallIndex, letters: Letters, items: Items) -> None:
    index.held["a"] = (99, None)
    items.put("a")

    assert consume(items.batch(), ATTRIBUTE, index, letters).fates == [Fate.SUPERSEDED]
    assert index.held["a"] == (99, None)


def test_a_bad_record_is_set_aside_and_its_neighbours_are_indexed(index: SmallIndex, letters: Letters) -> None:
    records = stream_of([("a", "put"), ("b", "poison"), ("c", "unreadable"), ("a", "put")])

    outcome = consume(records, ATTRIBUTE, index, letters)

    assert outcome.answer() == NOTHING
    assert set(index.held) == {"a"}
    first, second = outcome.letters
    assert (first.position, first.id, first.kind, first.record) == (1, "b", "mapper_parsing_exception", records[1])
    assert (second.position, second.id, second.kind) == (2, "", "unreadable")
    assert "expected a DynamoDB type" in second.reason
    assert sequences(outcome) == list(letters.kept)


def test_where_the_newest_write_is_rejected_the_one_before_it_is_indexed(index: SmallIndex, letters: Letters) -> None:
    records = stream_of([("a", "put"), ("a", "put"), ("a", "poison"), ("a", "poison"), ("b", "put")])

    outcome = consume(records, ATTRIBUTE, index, letters)

    assert index.sent == [["a", "b"], ["a"], ["a"]]
    assert outcome.fates == [Fate.MERGED, Fate.INDEXED, Fate.REJECTED, Fate.REJECTED, Fate.INDEXED]
    assert index.held["a"][0] == 4


@pytest.mark.parametrize("hands_over", [True, False])
def test_what_is_refused_is_handed_over_or_comes_again_from_there(letters: Letters, hands_over: bool) -> None:
    index = SmallIndex(ATTRIBUTE.scheme, hands_over=hands_over)
    index.refused = {"b"}
    records = stream_of([("a", "put"), ("b", "put"), ("c", "put"), ("b", "put")])

    outcome = consume(records, ATTRIBUTE, index, letters)

    if hands_over:
        # The older record of b too: whether the index takes the newer one is not known yet.
        assert outcome.fates == [Fate.INDEXED, Fate.HANDED_OVER, Fate.INDEXED, Fate.HANDED_OVER]
        assert [operation.version for operation in index.handed_over] == [2, 4]
        assert outcome.answer() == NOTHING
    else:
        # The older record of b comes again too: were it done, a mapping that gives up on the newer one would have lost both.
        assert outcome.fates == [Fate.INDEXED, None, Fate.INDEXED, None]
        assert outcome.answer() == {"batchItemFailures": [{"itemIdentifier": sequence(2)}]}
        assert outcome.why


def test_a_domain_that_is_away_fails_the_batch_from_the_first_that_needs_it(index: SmallIndex, letters: Letters) -> None:
    index.away = True
    records = stream_of([("a", "unreadable"), ("b", "put"), ("c", "unreadable")])

    outcome = consume(records, ATTRIBUTE, index, letters)

    assert outcome.answer() == {"batchItemFailures": [{"itemIdentifier": sequence(2)}]}
    assert set(letters.kept) == {sequence(1), sequence(3)}
    assert "does not answer" in outcome.why


def test_a_bad_record_that_could_not_be_kept_has_no_end(index: SmallIndex, letters: Letters) -> None:
    letters.away = True
    records = stream_of([("a", "put"), ("b", "poison"), ("c", "put")])

    outcome = consume(records, ATTRIBUTE, index, letters)

    assert outcome.answer() == {"batchItemFailures": [{"itemIdentifier": sequence(2)}]}
    assert (outcome.letters, set(index.held)) == ([], {"a", "c"})
    assert "bucket" in outcome.why


def test_a_stream_of_the_wrong_view_fails_the_invocation_and_sets_nothing_aside(index: SmallIndex, letters: Letters) -> None:
    records = batch(record(1, {"pk": "a", "revision": 1}, view=View.KEYS_ONLY))

    with pytest.raises(WrongView):
        consume(records, ATTRIBUTE, index, letters)

    assert (letters.kept, index.held) == ({}, {})


@pytest.mark.parametrize("breaks", ["write", "keep"])
def test_what_a_person_has_to_mend_fails_the_invocation(letters: Letters, index: SmallIndex, breaks: str) -> None:
    class Forbidden:
        def write(self, operations: Any, *, older: Any) -> Any:
            raise DataError("not allowed")

        def keep(self, letters: Any) -> None:
            raise DataError("not allowed")

    records = stream_of([("a", "put"), ("b", "poison")])
    writer: Any = Forbidden() if breaks == "write" else index
    place: Any = Forbidden() if breaks == "keep" else letters

    with pytest.raises(DataError, match="not allowed"):
        consume(records, ATTRIBUTE, writer, place)


def test_a_batch_of_nothing_is_done(index: SmallIndex, letters: Letters) -> None:
    assert consume([], ATTRIBUTE, index, letters).answer() == NOTHING
    assert index.sent == []


def test_under_once_a_second_record_of_a_document_changes_nothing(letters: Letters) -> None:
    rule = Rule(Scheme(VersionScheme.ONCE, Deletes.NEVER), ("pk",))
    index = SmallIndex(rule.scheme)
    removed = record(3, None, {"pk": "a"})

    outcome = consume(batch(record(1, {"pk": "a"}), record(2, {"pk": "a"}, {"pk": "a"}), removed), rule, index, letters)

    assert outcome.fates == [Fate.MERGED, Fate.INDEXED, Fate.REJECTED]
    assert "no deletes" in outcome.letters[0].reason

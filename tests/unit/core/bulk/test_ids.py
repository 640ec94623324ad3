from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from searchops.core.bulk.ids import IdRule, IdScheme, Unfit, document_id, version_of, version_of_delete
from searchops.core.bulk.scheme import MAX_ID_BYTES, MAX_VERSION

TEXTS = st.text(st.sampled_from("ab|:{}sha256é東\U0001f600"), min_size=1, max_size=8) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1
)
LONG = st.text("ab|東", min_size=100, max_size=600)
KEYS = st.integers(1, 3).flatmap(
    lambda length: st.lists(st.lists(TEXTS | LONG, min_size=length, max_size=length), min_size=2, max_size=2)
)
NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)


@given(KEYS)
@example([["a|b", "c"], ["a", "b|c"]])
@example([["a" * 513], ["a" * 514]])
@example([["sha256:" + "0" * 64], ["x" * 600]])
def test_different_keys_never_give_one_id_and_equal_keys_do(keys: list[list[str]]) -> None:
    one, other = keys

    assert (document_id(one) == document_id(other)) == (one == other)
    assert document_id(one) == document_id(list(one))


@given(st.lists(TEXTS | LONG | NUMBERS, min_size=1, max_size=3))
def test_every_id_is_one_that_opensearch_takes(values: list[Any]) -> None:
    assert 1 <= len(document_id(values).encode()) <= MAX_ID_BYTES


def test_the_hash_of_a_long_key_is_no_id_that_another_key_can_have() -> None:
    hashed = document_id(["x" * 600])

    assert hashed.startswith("sha256:")
    assert document_id([hashed]) != hashed


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a"], "a"),
        (["a|b"], "a|b"),
        (["product#1", "v0"], "product#1|v0"),
        (["a", 7], "a|7"),
        ([Decimal("7"), Decimal("1.50")], "7|1.5"),
        ([Decimal("1E+2")], "100"),
        ([Decimal("-0")], "0"),
        ([Decimal("12345678901234567890123456789012345678")], "12345678901234567890123456789012345678"),
        (["東" * 170], "東" * 170),
    ],
)
def test_a_plain_key_is_its_own_id_as_ingestion_makes_it(values: list[Any], expected: str) -> None:
    assert document_id(values) == expected


@given(NUMBERS, NUMBERS)
@example(Decimal("1E+2"), 100)
def test_two_numbers_have_one_id_only_when_they_are_equal(one: Any, other: Any) -> None:
    assert (document_id([one]) == document_id([other])) == (one == other)


@pytest.mark.parametrize("value", [None, "", True, 1.5, 1.0, float(2**53), [], {}, b"a", Decimal("NaN"), "\ud83d"])
def test_a_value_that_has_no_one_text_gives_no_id(value: Any) -> None:
    with pytest.raises(Unfit, match="id: expected"):
        document_id(["a|b", value])


@pytest.mark.parametrize("value", [0, 1, MAX_VERSION, Decimal("12"), Decimal("12.0")])
def test_a_whole_number_is_a_version(value: Any) -> None:
    assert version_of(value, "revision") == value
    assert type(version_of(value, "revision")) is int


@pytest.mark.parametrize("value", [None, True, -1, MAX_VERSION + 1, 12.7, 12.0, "12", Decimal("12.7"), Decimal("-1"), [12]])
def test_anything_else_is_no_version_and_the_attribute_is_named(value: Any) -> None:
    with pytest.raises(Unfit, match="version attribute 'revision': expected a whole number"):
        version_of(value, "revision")


def test_a_delete_is_newer_than_the_image_that_it_deletes() -> None:
    assert version_of_delete(7, "revision") == 8
    assert version_of_delete(MAX_VERSION, "revision") == MAX_VERSION


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (IdRule(IdScheme.ATTRIBUTES, ("pk", "sk")), "pk|sk"),
        (IdRule(IdScheme.POSITION), "position"),
        (IdRule(IdScheme.CONTENT), "content"),
    ],
)
def test_a_rule_is_said_in_the_words_of_the_scheme(rule: IdRule, words: str) -> None:
    assert rule.words == words

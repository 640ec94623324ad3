from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import boto3.dynamodb.types
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulators.streams.records import plain
from searchops.core.bulk.encode import encode_source
from searchops.core.bulk.ids import Unfit, document_id
from searchops.core.bulk.model import Kind
from searchops.core.bulk.scheme import MAX_VERSION, Deletes, Scheme, VersionScheme
from searchops.core.streams.records import View
from searchops.core.streams.writes import Rule, Write, WrongView, by_document, takes
from tests.unit.core.streams.events import read, sequence

ATTRIBUTE = Rule(Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision"), ("pk",))
SEQUENCE = Rule(Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE), ("pk",))
ONCE = Rule(Scheme(VersionScheme.ONCE, Deletes.NEVER), ("pk",))
NONE = Rule(Scheme(VersionScheme.NONE, Deletes.IMMEDIATE), ("pk",))
COMPOSITE = Rule(ATTRIBUTE.scheme, ("pk", "sk"))
ITEM = {"pk": "a", "revision": 7, "name": "塔"}
DIGITS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**37), max_value=10**37).filter(
    lambda number: len(number.as_tuple().digits) <= 38 and abs(number.adjusted()) < 100
)
VALUES = st.recursive(
    st.text() | DIGITS | st.booleans() | st.none() | st.binary() | st.sets(st.binary(min_size=1), min_size=1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_a_document_has_every_value_of_the_item_with_all_its_digits(item: dict[str, Any]) -> None:
    serializer = boto3.dynamodb.types.TypeSerializer()
    image = {name: plain(serializer.serialize(value)) for name, value in item.items()} | {"pk": {"S": "a"}}

    operation = SEQUENCE.operation(read(1, image))
    document = orjson.loads(encode_source(operation.source))

    numbers = {name: value for name, value in item.items() if isinstance(value, Decimal) and name != "pk"}
    text = encode_source(operation.source).decode()
    assert set(document) == {*item, "pk"}
    assert all(str(number) in text for number in numbers.values())
    assert all(document[name] == value for name, value in item.items() if isinstance(value, str | bool) and name != "pk")


def test_binary_is_base64_text_and_sets_are_lists() -> None:
    image = {
        "pk": "a",
        "b": {"B": "AP8="},
        "bs": {"BS": ["YQ=="]},
        "ns": {"NS": ["1.10", "12345678901234567890"]},
        "ss": {"SS": ["x"]},
    }

    document = encode_source(SEQUENCE.operation(read(1, image)).source)

    assert document == b'{"pk":"a","b":"AP8=","bs":["YQ=="],"ns":[1.10,12345678901234567890],"ss":["x"]}'


def test_an_item_is_indexed_with_its_own_version() -> None:
    operation = ATTRIBUTE.operation(read(1, ITEM))

    assert (operation.kind, operation.id, operation.version, operation.sequence) == (Kind.INDEX, "a", 7, None)


def test_a_delete_has_the_version_after_the_last() -> None:
    operation = ATTRIBUTE.operation(read(1, None, ITEM))

    assert (operation.kind, operation.id, operation.version) == (Kind.DELETE, "a", 8)


def test_under_sequence_the_number_of_the_record_is_carried_whole_and_is_no_version() -> None:
    written, deleted = SEQUENCE.operation(read(1, {"pk": "a"})), SEQUENCE.operation(read(2, None, {"pk": "a"}))

    assert (written.version, written.sequence) == (None, sequence(1))
    assert (deleted.kind, deleted.version, deleted.sequence) == (Kind.DELETE, None, sequence(2))
    assert int(sequence(1)) > MAX_VERSION


@pytest.mark.parametrize("rule", [ONCE, NONE])
def test_the_other_schemes_carry_neither(rule: Rule) -> None:
    operation = rule.operation(read(1, {"pk": "a"}))

    assert (operation.version, operation.sequence) == (None, None)


def test_the_id_is_that_of_a_load_of_the_same_item() -> None:
    keys = {"pk": "東|京", "sk": Decimal("1E+2")}

    operation = COMPOSITE.operation(read(1, {**keys, "revision": 1}, keys=("pk", "sk")))

    assert operation.id == document_id(["東|京", Decimal(100)])
    assert COMPOSITE.operation(read(2, None, {**keys, "revision": 1}, keys=("pk", "sk"))).id == operation.id


def test_an_attribute_that_the_mapping_does_not_take_is_left_out() -> None:
    rule = Rule(SEQUENCE.scheme, ("pk",), ("searchops_replay",))

    operation = rule.operation(read(1, {"pk": "a", "searchops_replay": "0" * 20}))

    assert operation.source == {"pk": "a"}


@pytest.mark.parametrize(
    ("mapping", "taken"),
    [
        ({}, True),
        ({"dynamic": "true"}, True),
        ({"dynamic": False}, True),
        ({"dynamic": "false"}, True),
        ({"dynamic": "strict"}, False),
        ({"dynamic": "strict_allow_templates", "properties": {"pk": {}}}, False),
        ({"dynamic": "strict", "properties": {"searchops_replay": {"type": "keyword"}}}, True),
    ],
)
def test_a_strict_mapping_takes_a_marker_that_it_names(mapping: dict[str, Any], taken: bool) -> None:
    assert takes(mapping, "searchops_replay") is taken


@pytest.mark.parametrize(
    ("rule", "new", "old", "message"),
    [
        (ATTRIBUTE, {"pk": "a"}, None, "version attribute 'revision': expected a whole number"),
        (ATTRIBUTE, {"pk": "a", "revision": Decimal("1.5")}, None, "found 1.5"),
        (ATTRIBUTE, {"pk": "a", "revision": "7"}, None, "found a str"),
        (ATTRIBUTE, {"pk": "a", "revision": -1}, None, "found -1"),
        (ATTRIBUTE, {"revision": 1}, None, "id attribute 'pk': expected a value, found none"),
        (COMPOSITE, {"pk": "a", "sk": "", "revision": 1}, None, "found an empty text"),
        (ATTRIBUTE, {"pk": "a", "revision": 1, "x": {"Z": "1"}}, None, "expected a DynamoDB type"),
        (ATTRIBUTE, {"pk": "a", "revision": 1, "x": {"N": "1,5"}}, None, "expected a number, found the text '1,5'"),
        (ATTRIBUTE, {"pk": "a", "revision": 1, "x": {}}, None, "expected attributes in DynamoDB JSON"),
        (ATTRIBUTE, {"pk": "a", "revision": 1, "x": {"L": 5}}, None, "expected attributes in DynamoDB JSON"),
        (ATTRIBUTE, None, {"pk": "a"}, "version attribute 'revision'"),
        (ONCE, None, {"pk": "a"}, "the index is declared to have no deletes"),
        (Rule(SEQUENCE.scheme, ("sku",)), None, {"pk": "a"}, "id attribute 'sku'"),
    ],
)
def test_a_record_that_gives_no_write_says_why(rule: Rule, new: Any, old: Any, message: str) -> None:
    with pytest.raises(Unfit) as told:
        rule.operation(read(1, new, old))

    assert message in str(told.value)


@pytest.mark.parametrize("view", [View.KEYS_ONLY, View.OLD_IMAGE])
@pytest.mark.parametrize("rule", [ATTRIBUTE, SEQUENCE, ONCE, NONE])
def test_a_stream_that_does_not_show_the_item_is_no_fault_of_a_record(view: View, rule: Rule) -> None:
    with pytest.raises(WrongView, match=f"the stream's view is {view}, expected NEW_AND_OLD_IMAGES"):
        rule.operation(read(1, ITEM, ITEM, view=view))


@pytest.mark.parametrize(
    ("rule", "serves"),
    [
        (ATTRIBUTE, False),
        (Rule(Scheme(VersionScheme.ATTRIBUTE, Deletes.IMMEDIATE, "revision"), ("pk",)), False),
        (Rule(Scheme(VersionScheme.ATTRIBUTE, Deletes.NEVER, "revision"), ("pk",)), True),
        (SEQUENCE, True),
        (ONCE, True),
        (NONE, True),
    ],
)
def test_new_images_alone_serve_where_a_delete_needs_no_version_of_the_item(rule: Rule, serves: bool) -> None:
    """Told with the first record, not with the first delete, weeks later."""
    one = read(1, ITEM, view=View.NEW_IMAGE)
    if serves:
        assert rule.operation(one).id == "a"
        return
    with pytest.raises(WrongView, match="the version of a delete comes from the last revision"):
        rule.operation(one)


def test_under_sequence_a_delete_of_new_images_alone_is_done_by_its_key() -> None:
    operation = SEQUENCE.operation(read(1, None, {"pk": "a"}, view=View.NEW_IMAGE))

    assert (operation.kind, operation.id, operation.sequence) == (Kind.DELETE, "a", sequence(1))


def writes(rule: Rule, *records: Any) -> list[Write]:
    return [Write(position, rule.operation(record)) for position, record in enumerate(records)]


def positions(found: list[list[Write]]) -> list[list[int]]:
    return [[write.position for write in those] for those in found]


def test_of_each_document_the_newest_write_is_the_last() -> None:
    found = by_document(writes(ATTRIBUTE, read(1, ITEM), read(2, {"pk": "b", "revision": 1}), read(3, None, ITEM)))

    assert positions(found) == [[0, 2], [1]]


def test_the_version_decides_and_not_the_order_and_the_order_where_versions_are_equal() -> None:
    changes = [read(number, {"pk": "a", "revision": revision}) for number, revision in enumerate([3, 2, 3, 1])]

    assert positions(by_document(writes(ATTRIBUTE, *changes))) == [[3, 1, 0, 2]]


def test_sequence_numbers_are_compared_as_numbers() -> None:
    shorter, longer = read(1, {"pk": "a"}), read(2, {"pk": "a"})
    longer = replace(longer, sequence="1" + "0" * 30)

    assert positions(by_document(writes(SEQUENCE, longer, shorter))) == [[1, 0]]

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk import envelope
from searchops.core.bulk.envelope import Unusable
from searchops.core.bulk.model import HandedOver, index
from searchops.core.bulk.scheme import MAX_VERSION, Deletes, Scheme, VersionScheme

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=8,
)
SOURCES = st.dictionaries(TEXT | st.just('","source":'), JSON, max_size=4).map(orjson.dumps)
TRICKY = st.sampled_from(['","source":{', '\\","source":', "東京\u2028", "a|b", '"'])
DOCUMENTS = st.builds(
    lambda id, source, routing, order: HandedOver(
        0, id, source, order if isinstance(order, int) else None, routing, order if isinstance(order, str) else None
    ),
    TEXT | TRICKY,
    SOURCES,
    st.none() | TEXT | TRICKY,
    st.integers(0, MAX_VERSION) | st.integers(0, 10**40 - 1).map(lambda number: str(number).zfill(40)),
)
ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision")
ONCE = Scheme(VersionScheme.ONCE, Deletes.NEVER)
SEQUENCE = Scheme(VersionScheme.SEQUENCE, Deletes.TOMBSTONE)


@given(DOCUMENTS, TEXT | TRICKY)
def test_what_was_handed_over_is_read_as_it_was(document, target):
    read = envelope.read(envelope.write(target, document))

    assert (read.index, read.id, read.routing, read.version, read.sequence, read.source) == (
        target,
        document.id,
        document.routing,
        document.version,
        document.sequence,
        document.source,
    )


@given(DOCUMENTS)
def test_an_envelope_is_one_line_of_json(document):
    line = envelope.write("products", document)

    assert b"\n" not in line
    assert orjson.loads(line)["source"] == orjson.loads(document.source)


@given(DOCUMENTS, st.data())
def test_half_an_envelope_is_never_taken_for_a_whole_one(document, data):
    line = envelope.write("products", document)
    half = line[: data.draw(st.integers(0, len(line) - 1))]

    try:
        read = envelope.read(half)
    except Unusable:
        return
    # What is left is no JSON, so that the cluster refuses it.
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(read.source)


@pytest.mark.parametrize("number", [b"1.10", b"123456789012345678901234567890", b"1e400"])
def test_a_number_that_no_parser_keeps_is_handed_over_as_it_was_written(number):
    source = b'{"price":' + number + b"}"

    assert envelope.read(envelope.write("products", HandedOver(0, "1", source, 1))).source == source


def test_a_document_may_have_a_source_of_its_own():
    source = b'{"a":1,"source":{"b":2,"source":"c"}}'

    assert envelope.read(envelope.write("products", HandedOver(0, ',"source":', source, 1))).source == source


def test_a_document_on_several_lines_becomes_one_line():
    source = b'{\n "a": "b\\nc"\n}'

    line = envelope.write("products", HandedOver(0, "1", source, 1))

    assert b"\n" not in line
    assert orjson.loads(envelope.read(line).source) == {"a": "b\nc"}


def test_a_document_that_is_no_json_travels_as_it_is():
    source = b'{"a": 1}, "index": "other"'

    read = envelope.read(envelope.write("products", HandedOver(0, "1", source, 1)))

    assert (read.index, read.source) == ("products", source)
    assert not envelope.is_document(source)
    assert not envelope.is_document(b"[1]")
    assert envelope.is_document(b'{"a": 1}')


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"index":"p","id":"1","version":1}',
        b'{"index":"p","id":1,"version":1,"source":{}}',
        b'{"index":"p","id":"1","version":-1,"source":{}}',
        b'{"index":"p","id":"1","version":true,"source":{}}',
        b'{"index":"p","id":"1","version":"1","source":{}}',
        b'{"index":"p","id":"1","source":{}}',
        b'{"index":"p","id":"1","version":9223372036854775808,"source":{}}',
        b'{"index":"p","id":"1","version":1,"sequence":"1","source":{}}',
        b'{"index":"p","id":"1","routing":5,"version":1,"source":{}}',
        b'{"index":p,"source":{}}',
    ],
)
def test_a_line_that_is_no_envelope_is_unusable(line):
    with pytest.raises(Unusable):
        envelope.read(line)


def test_it_is_sent_again_as_the_scheme_of_the_index_has_it():
    by_version = envelope.read(envelope.write("p", HandedOver(0, "1", b"{}", 1, "r")))
    by_sequence = envelope.read(envelope.write("p", HandedOver(0, "1", b"{}", None, None, "0" * 40)))

    assert by_version.operation(ATTRIBUTE) == index("1", b"{}", version=1, routing="r")
    assert by_version.operation(ONCE) == index("1", b"{}", routing="r")
    assert by_sequence.operation(SEQUENCE) == index("1", b"{}", sequence="0" * 40)


@pytest.mark.parametrize(
    ("scheme", "order"),
    [(SEQUENCE, (1, None)), (ATTRIBUTE, (None, "0" * 40)), (Scheme(VersionScheme.NONE, Deletes.NEVER), (1, None))],
)
def test_it_is_not_sent_into_an_index_whose_scheme_has_changed_since(scheme, order):
    read = envelope.read(envelope.write("p", HandedOver(0, "1", b"{}", order[0], None, order[1])))

    with pytest.raises(Unusable, match=f"the index has version scheme {scheme.version.value}"):
        read.operation(scheme)

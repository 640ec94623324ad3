from __future__ import annotations

import base64
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk import envelope
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.manifests import FIREHOSE, SPOOL
from searchops.core.bulk.model import HandedOver
from searchops.core.bulk.places import firehose_failed_prefix, spool_key
from searchops.core.bulk.remedies import OTHER, remedy
from searchops.core.bulk.undelivered import BrokenObject, Undelivered, failed, kind_of, lines_of, spooled

SPOOLED = Undelivered("spool/products/r/ab.ndjson.gz", SPOOL, 1_000.0, "r")
FAILED = Undelivered("firehose-failed/products/elasticsearch_failed/2026/x", FIREHOSE, 1_000.0)


def written(count: int) -> list[bytes]:
    return [envelope.write("products", HandedOver(n, f"id-{n}", b'{"n":%d}' % n, n)) for n in range(count)]


def failure(record: bytes, **changes: object) -> bytes:
    values = {"errorCode": "429", "errorMessage": "", "arrivalTimestamp": 5_000, "rawData": base64.b64encode(record).decode()}
    return json.dumps(values | changes).encode()


@given(st.integers(0, 50), st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_an_object_is_read_line_by_line_compressed_or_not(count, packed, end):
    for item, lines in ((SPOOLED, written(count)), (FAILED, [failure(record + b"\n") for record in written(count)])):
        content = end.join(lines) + end
        read = list(lines_of(item, gzip.compress(content) if packed else content))

        assert [(line.number, line.envelope.id, line.raw) for line in read] == [
            (n, f"id-{n}", record) for n, record in enumerate(written(count))
        ]


@given(st.data())
def test_half_an_object_gives_its_first_lines_and_then_breaks(data):
    lines = written(20)
    packed = gzip.compress(b"\n".join(lines))
    cut = data.draw(st.integers(2, len(packed) - 1))
    read = []

    with pytest.raises(BrokenObject):
        read.extend(lines_of(SPOOLED, packed[:cut]))  # extend keeps what came before the error
    assert [line.raw for line in read] == lines[: len(read)]


@given(st.binary(max_size=200) | st.sampled_from([b"[]", b"1", b'"x"', b"null", b'{"rawData":1}', b'{"rawData":"\xff"}']))
def test_whatever_stands_there_becomes_lines_and_none_is_dropped(content):
    if content.startswith(b"\x1f\x8b"):
        return
    for item in (SPOOLED, FAILED):
        read = list(lines_of(item, content))

        assert len(read) == sum(bool(line.strip()) for line in content.split(b"\n"))
        assert all(line.envelope is not None or (line.kind, bool(line.words)) == ("unreadable", True) for line in read)


def test_the_time_of_a_failure_is_that_of_its_arrival_where_it_is_known():
    lines = [failure(written(1)[0]), failure(written(1)[0], arrivalTimestamp=None), failure(b"{}")]

    assert [line.at for line in lines_of(FAILED, b"\n".join(lines))] == [5.0, 1_000.0, 5.0]


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("400", '{"type": "mapper_parsing_exception", "reason": "failed to parse [n] of type"}', "400 mapper_parsing_exception"),
        ("409", "version_conflict_engine_exception: [id]: version conflict", "409 version_conflict_engine_exception"),
        (429, "", "429"),
        ("ES.MalformedData", "One or more records are malformed.", "ES.MalformedData"),
        ("ES.ServiceException", "no answer", "ES.ServiceException"),
        (None, "", "unknown"),
        ("a text with 東京", '{"type": 5}', "unknown"),
        ("400", '["strict_dynamic_mapping_exception"]', "400 strict_dynamic_mapping_exception"),
    ],
)
def test_a_kind_is_made_of_words_of_the_cluster_and_none_of_the_document(code, message, kind):
    assert kind_of({"errorCode": code, "errorMessage": message}) == kind
    (line,) = lines_of(FAILED, failure(written(1)[0], errorCode=code, errorMessage=message))
    assert line.kind == kind


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("spooled", "run the redrive"),
        ("unreadable", "moves them to rejected/"),
        ("400 mapper_parsing_exception", "correct the mapping"),
        ("400 strict_dynamic_mapping_exception", "correct the mapping"),
        ("409 version_conflict_engine_exception", "nothing to do"),
        ("409", "nothing to do"),
        ("429", "the cluster was busy"),
        ("429 rejected_execution_exception", "the cluster was busy"),
        ("429 cluster_block_exception", "remove the cause and the block"),
        ("404 index_not_found_exception", "the index was missing"),
        ("400 index_closed_exception", "open it"),
        ("403 security_exception", "role of the stream"),
        ("400 illegal_argument_exception", "searchops_setup"),
        ("413", "too large"),
        ("503", "did not answer"),
        ("ES.ServiceException", "did not answer"),
        ("ES.MalformedData", "malformed"),
        ("418 teapot_exception", OTHER),
    ],
)
def test_every_kind_has_a_remedy(kind, words):
    assert words in remedy(kind)


def test_only_what_waits_for_this_index_is_found(s3):
    ours = [spool_key("products", run, "ab") for run in ("one", "two")]
    failures = [f"{firehose_failed_prefix('products')}AmazonOpenSearchService-failed/2026/11/21/10/s-1"]
    for key in [
        *ours,
        *failures,
        spool_key("products-2", "one", "ab"),
        f"{firehose_failed_prefix('products')}processing-failed/x",
    ]:
        s3.put(key, b"")
    bucket = Bucket(s3.client, s3.bucket)

    assert [(item.key, item.run, item.lane) for item in spooled(bucket, "products")] == [
        (ours[0], "one", SPOOL),
        (ours[1], "two", SPOOL),
    ]
    assert [item.key for item in spooled(bucket, "products", "two")] == ours[1:]
    assert [(item.key, item.run, item.lane) for item in failed(bucket, "products")] == [(failures[0], "", FIREHOSE)]

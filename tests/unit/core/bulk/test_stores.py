from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk import places, stores
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.manifests import Entry, Manifest, Manifests
from searchops.core.bulk.model import Rejected
from searchops.core.bulk.stores import RejectedObjects, S3Checkpoints, read_rejected
from searchops.core.errors import DataError, TransientError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
WHERE = {"index": "products", "run": "r", "input": "0a1b"}


@given(st.lists(st.builds(Rejected, st.integers(0, 2**40), TEXT, TEXT, TEXT, st.binary() | TEXT.map(str.encode), TEXT)))
def test_a_rejected_document_is_read_as_it_was(documents):
    content = gzip.compress(b"".join(map(stores._line, documents)))

    assert list(read_rejected(content)) == documents


def test_rejected_documents_are_kept_by_batch_and_the_last_writing_counts(s3):
    store = RejectedObjects(s3.client, s3.bucket, **WHERE)
    store.keep(3, [Rejected(1, "a", "k", "r", b"{}"), Rejected(2, "b", "k", "r", b"{}")])
    store.keep(3, [Rejected(2, "b", "k", "r", b"\xff", "file:3")])

    (key,) = s3.keys()
    assert key == places.rejected_key("products", "r", "0a1b", 3)
    assert list(read_rejected(s3.get(key))) == [Rejected(2, "b", "k", "r", b"\xff", "file:3")]


def test_what_an_earlier_try_rejected_behind_its_checkpoint_is_forgotten(s3):
    store = RejectedObjects(s3.client, s3.bucket, **WHERE)
    other = RejectedObjects(s3.client, s3.bucket, **{**WHERE, "input": "0a1b2"})
    for each, batch in ((store, 7), (store, 8), (store, 10), (other, 9)):
        each.keep(batch, [Rejected(batch, "a", "k", "r", b"{}")])

    store.forget(8)

    assert s3.keys() == [places.rejected_key("products", "r", "0a1b", 7), places.rejected_key("products", "r", "0a1b2", 9)]
    store.forget(0)
    assert len(s3.keys()) == 1


def test_an_id_that_utf8_can_not_hold_is_kept_as_it_would_be_written(s3):
    RejectedObjects(s3.client, s3.bucket, **WHERE).keep(0, [Rejected(1, "a\ud83d", "bad_id", "id: \ud83d", b"{}")])

    (key,) = s3.keys()
    assert [document.id for document in read_rejected(s3.get(key))] == ["a\\ud83d"]


def test_a_store_that_can_not_be_written_says_so(s3):
    s3.fails = lambda operation, key: "SlowDown"

    with pytest.raises(TransientError):
        RejectedObjects(s3.client, s3.bucket, **WHERE).keep(0, [])
    with pytest.raises(TransientError):
        S3Checkpoints(s3.client, s3.bucket, **WHERE).save(b"1")
    with pytest.raises(TransientError):
        S3Checkpoints(s3.client, s3.bucket, **WHERE).load()


def test_a_checkpoint_is_that_of_its_input(s3):
    first, second = (S3Checkpoints(s3.client, s3.bucket, **{**WHERE, "input": name}) for name in ("a", "b"))

    assert first.load() is None
    first.save(b"1")
    first.save(b"2")
    assert (first.load(), second.load()) == (b"2", None)


ENTRIES = st.builds(
    Entry,
    st.integers(0, 2**40),
    TEXT,
    st.sampled_from(["firehose", "spool"]),
    st.none() | st.integers(0, 2**63 - 1),
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
)


@given(st.builds(Manifest, TEXT, TEXT, TEXT, st.integers(0, 10**8), st.floats(0, 1e11), st.lists(ENTRIES).map(tuple)))
def test_a_manifest_is_read_as_it_was(manifest):
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_manifests_are_found_by_run_and_one_that_is_gone_is_none(s3):
    kept = Manifests(Bucket(s3.client, s3.bucket), "products")
    keys = [kept.write(Manifest("products", run, "0a1b", 3, 1.0, ())) for run in ("r", "s")]

    assert list(kept.keys()) == keys
    assert list(kept.keys("s")) == keys[1:]
    kept.remove(keys[0])
    kept.remove(keys[0])
    assert kept.read(keys[0]) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        gzip.compress(b"{}", mtime=0)[:-4],
        gzip.compress(b'{"format":2}', mtime=0),
        gzip.compress(b"[]", mtime=0),
        b"\x1f\x8b\x08\0\0\0\0\0\0\xffxx",
    ],
)
def test_a_manifest_that_can_not_be_read_is_an_error_that_names_it(s3, content):
    s3.put("manifests/products/r/a/00000001-b.json.gz", content)

    with pytest.raises(DataError, match=r"manifests/products/r/a/00000001-b\.json\.gz: expected a manifest"):
        Manifests(Bucket(s3.client, s3.bucket), "products").read("manifests/products/r/a/00000001-b.json.gz")

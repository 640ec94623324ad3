from __future__ import annotations

import re

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from searchops.core.dictionary import store
from searchops.core.dictionary.model import sha256
from searchops.core.dictionary.store import DictionaryStore, read_source
from searchops.core.errors import DataError, TransientError
from tests.unit.small_world import SmallWorld

CONTENT = "東京, とうきょう\n".encode()


@pytest.fixture
def kept(world: SmallWorld) -> DictionaryStore:
    return DictionaryStore(world.s3, world.bucket_name)


def test_content_is_kept_under_its_fingerprint_readable_by_the_service(world, kept):
    key = kept.put("synonyms", CONTENT)

    head = world.s3.head_object(Bucket=world.bucket_name, Key=key)
    assert key == f"dictionaries/synonyms/{sha256(CONTENT)}"
    assert (head["ServerSideEncryption"], head["ContentLength"]) == ("AES256", len(CONTENT))
    assert kept.get("synonyms", sha256(CONTENT)) == CONTENT


def test_content_is_written_once(world, kept):
    world.s3.put_bucket_versioning(Bucket=world.bucket_name, VersioningConfiguration={"Status": "Enabled"})

    for _ in range(3):
        kept.put("synonyms", CONTENT)

    assert len(world.s3.list_object_versions(Bucket=world.bucket_name)["Versions"]) == 1


def test_an_object_that_somebody_changed_is_never_taken_for_what_its_name_says(world, kept):
    key = kept.put("synonyms", CONTENT)
    world.s3.put_object(Bucket=world.bucket_name, Key=key, Body=b"other")

    for use in (
        lambda: kept.get("synonyms", sha256(CONTENT)),
        lambda: kept.find("synonyms", sha256(CONTENT)),
        lambda: kept.put("synonyms", CONTENT),
    ):
        with pytest.raises(
            DataError, match=f"{sha256(CONTENT)}: expected content with that sha256, found {sha256(b'other')[:12]}"
        ):
            use()


def test_content_that_is_not_kept_is_found_as_none_and_got_as_an_error(kept):
    assert kept.find("synonyms", None) is None
    assert kept.find("synonyms", sha256(b"x")) is None
    with pytest.raises(DataError, match="expected an object, found none"):
        kept.get("synonyms", sha256(b"x"))


@pytest.mark.parametrize("use", [lambda kept: kept.put("synonyms", CONTENT), lambda kept: kept.get("synonyms", sha256(CONTENT))])
def test_a_bucket_that_does_not_exist_is_an_error_of_data(world, use):
    with pytest.raises(DataError, match="NoSuchBucket"):
        use(DictionaryStore(world.s3, "no-such-bucket"))


def test_a_source_is_a_file_or_an_object(world, tmp_path):
    (tmp_path / "synonyms.txt").write_bytes(CONTENT)
    world.s3.put_object(Bucket=world.bucket_name, Key="a/b.txt", Body=CONTENT)

    assert read_source("include/synonyms.txt", tmp_path / "synonyms.txt", None) == CONTENT
    assert read_source(f"s3://{world.bucket_name}/a/b.txt", None, world.s3) == CONTENT


def test_a_source_that_is_missing_is_named_as_the_inventory_names_it(world, tmp_path):
    with pytest.raises(
        DataError, match=r"^include/synonyms\.txt: expected a dictionary file, found none that can be read \(No such"
    ):
        read_source("include/synonyms.txt", tmp_path / "synonyms.txt", None)
    where = f"s3://{world.bucket_name}/none.txt"
    with pytest.raises(DataError, match=rf"^{re.escape(where)}: expected an object, found none \(NoSuchKey\)"):
        read_source(where, None, world.s3)


def test_a_folder_is_no_source(tmp_path):
    with pytest.raises(DataError, match=r"include: expected a dictionary file"):
        read_source("include", tmp_path, None)


def test_a_source_that_is_far_too_large_is_refused_before_it_is_read(world, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MAX_BYTES", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    world.s3.put_object(Bucket=world.bucket_name, Key="large", Body=b"x" * 11)

    with pytest.raises(DataError, match="large: 11 bytes, expected at most 10"):
        read_source("large", tmp_path / "large", None)
    with pytest.raises(DataError, match="11 bytes, expected at most 10"):
        read_source(f"s3://{world.bucket_name}/large", None, world.s3)


def test_a_connection_that_breaks_may_be_better_next_time():
    class Client:
        def get_object(self, **_: str) -> None:
            raise ConnectionClosedError(endpoint_url="https://s3.example")

        put_object = get_object

    for use in (lambda kept: kept.put("synonyms", CONTENT), lambda kept: kept.find("synonyms", sha256(CONTENT))):
        with pytest.raises(TransientError, match="no answer from AWS"):
            use(DictionaryStore(Client(), "bucket"))


def test_wrong_credentials_are_told_as_such():
    class Client:
        def get_object(self, **_: str) -> None:
            raise ClientError({"Error": {"Code": "InvalidAccessKeyId", "Message": "no such key id"}}, "GetObject")

    with pytest.raises(DataError, match="AWS does not accept the credentials"):
        read_source("s3://bucket/key", None, Client())

"""The list of touched keys, as it is kept and read back."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.scheme import MAX_VERSION
from searchops.core.errors import DataError, TransientError
from searchops.core.replay.model import Key, Outcome, Touched, Units
from searchops.core.replay.touched import Missing, MissingPages, TouchedPages, Written, name_of
from tests.unit.core.bulk.small_s3 import SmallS3, client_of
from tests.unit.core.replay.memory_s3 import MemoryS3

REPLAY = "42".zfill(20)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
VALUES = st.one_of(
    st.builds(lambda text: {"S": text}, TEXT),
    st.builds(lambda number: {"N": str(number)}, st.integers(-(10**37), 10**37)),
    st.builds(lambda content: {"B": content}, st.binary(min_size=1, max_size=20)),
)
KEYS = st.fixed_dictionaries({"pk": VALUES, "sk": VALUES})
VERSIONS = st.none() | st.integers(0, MAX_VERSION)


def touched(key: Key, version: int | None = None, outcome: Outcome = Outcome.TOUCHED) -> Touched:
    return Touched(key, outcome, Units(1.0), version)


def key(number: int) -> Key:
    return {"pk": {"S": f"item-{number}"}}


@pytest.fixture
def s3() -> MemoryS3:
    return MemoryS3()


@pytest.fixture
def pages(s3: MemoryS3) -> TouchedPages:
    return TouchedPages(s3.bucket, "products", REPLAY)


def all_of(pages: TouchedPages) -> list[Written]:
    return [entry for page in pages.pages() for entry in pages.read(page)]


@given(st.lists(st.tuples(KEYS, VERSIONS), max_size=20), st.sampled_from(["all", "date-20261121!230", "ど" * 400, "a/b"]))
def test_a_page_is_read_as_it_was_kept_whatever_its_keys_are(entries: list[tuple[Key, int | None]], part: str) -> None:
    s3 = MemoryS3()
    pages = TouchedPages(s3.bucket, "products", REPLAY)

    pages.keep(part, 3, [touched(key, version) for key, version in entries])

    found = sorted((name_of(entry.key), -1 if entry.version is None else entry.version) for entry in all_of(pages))
    assert found == sorted((name_of(key), -1 if version is None else version) for key, version in entries)
    assert all(len(name.encode()) < 1024 and name.startswith(f"replays/products/{REPLAY}/touched/") for name in s3.objects)


@given(st.data())
def test_pages_that_are_done_again_after_crashes_count_once(data: st.DataObject) -> None:
    """A page may be done again as it was, or with other items where the table has changed meanwhile."""
    s3 = MemoryS3()
    pages = TouchedPages(s3.bucket, "products", REPLAY)
    tries = data.draw(st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 8))), max_size=8))
    for page, numbers in tries:
        pages.keep("all", page, [touched(key(number), version=page) for number in numbers])

    found = sorted((page.name, name_of(entry.key)) for page in pages.pages() for entry in pages.read(page))

    assert found == sorted({(f"all/{page:08d}", name_of(key(number))) for page, numbers in tries for number in numbers})


def test_a_page_is_written_once_however_its_threads_come_in(s3: MemoryS3, pages: TouchedPages) -> None:
    entries = [touched(key(number), 5) for number in range(100)]

    pages.keep("all", 0, entries)
    s3.now += 60
    pages.keep("all", 0, entries[::-1])

    assert s3.puts == 1
    assert {entry.at for entry in all_of(pages)} == {s3.now - 60}


def test_what_is_done_again_has_its_latest_version_and_time(s3: MemoryS3, pages: TouchedPages) -> None:
    pages.keep("all", 0, [touched(key(1), 5), touched(key(2), None)])
    s3.now += 60
    pages.keep("all", 0, [touched(key(1), 4)])

    first, second = sorted(all_of(pages), key=lambda entry: name_of(entry.key))
    assert (first.version, first.at) == (5, s3.now)
    assert (second.version, second.at) == (None, s3.now - 60)


def test_a_key_that_was_selected_twice_counts_twice(pages: TouchedPages) -> None:
    pages.keep("list", 0, [touched(key(1), 5), touched(key(1), 5, Outcome.OURS_BEFORE)])

    assert len(all_of(pages)) == 2


def test_what_is_touched_again_belongs_to_its_page(s3: MemoryS3, pages: TouchedPages) -> None:
    for number in range(3):
        pages.keep("all", number, [touched(key(number), 5), touched(key(number + 100), 5)])
    page = list(pages.pages())[1]
    s3.now += 900

    pages.keep_again(page, 1, [touched(key(1), 6)])

    assert [page.name for page in pages.pages()] == ["all/00000000", "all/00000001", "all/00000002"]
    again, before = sorted(pages.read(pages.reread(page)), key=lambda entry: -entry.round)
    assert again == Written(key(1), 6, s3.now, 1)
    assert before == Written(key(101), 5, s3.now - 900, 0)
    assert len(pages.read(page)) == 2  # as it was listed before


def test_pages_of_one_replay_are_not_those_of_another(s3: MemoryS3, pages: TouchedPages) -> None:
    for table, replay in (("products", "43".zfill(20)), ("products-2", REPLAY)):
        TouchedPages(s3.bucket, table, replay).keep("all", 0, [touched(key(1))])

    assert all_of(pages) == []


def test_a_page_of_which_nothing_was_touched_leaves_nothing(s3: MemoryS3, pages: TouchedPages) -> None:
    pages.keep("all", 0, [])

    assert s3.objects == {}


@pytest.mark.parametrize("version", [-1, MAX_VERSION + 1, 10**30])
def test_a_version_that_no_document_can_have_is_none(pages: TouchedPages, version: int) -> None:
    pages.keep("all", 0, [touched(key(1), version)])

    assert [entry.version for entry in all_of(pages)] == [None]


@pytest.mark.parametrize(
    "content", [b"half a gz", gzip.compress(b'{"key": {"pk"', mtime=0), gzip.compress(b'{"version": 1}\n', mtime=0)]
)
def test_a_list_that_can_not_be_read_says_what_to_do(s3: MemoryS3, pages: TouchedPages, content: bytes) -> None:
    pages.keep("all", 0, [touched(key(1))])
    (name,) = s3.objects
    s3.objects[name] = (content, s3.now)

    with pytest.raises(DataError, match=f"s3://b/{name}.*replay the selection again"):
        all_of(pages)


def test_an_object_that_goes_between_listing_and_reading_is_told(s3: MemoryS3, pages: TouchedPages) -> None:
    pages.keep("all", 0, [touched(key(1))])
    (page,) = pages.pages()
    s3.objects.clear()

    with pytest.raises(DataError) as told:
        pages.read(page)
    assert "it is gone" in told.value.reason


def test_an_object_of_another_name_is_told(s3: MemoryS3, pages: TouchedPages) -> None:
    s3.objects[f"replays/products/{REPLAY}/touched/all/notes.txt"] = (b"", s3.now)

    with pytest.raises(DataError, match=r"notes\.txt.*move it away"):
        list(pages.pages())


MISSING = st.builds(Missing, KEYS, VERSIONS, TEXT, VERSIONS, st.integers(0, 99))


@given(st.lists(MISSING, max_size=5))
def test_what_is_missing_is_read_as_it_was_written_and_goes_when_it_has_come(entries: list[Missing]) -> None:
    s3 = MemoryS3()
    pages = TouchedPages(s3.bucket, "products", REPLAY)
    pages.keep("all", 7, [touched(key(1))])
    (page,) = pages.pages()
    missing = MissingPages(s3.bucket, "products", REPLAY)

    missing.write(page, entries)

    assert missing.read(page) == entries
    assert missing.names() == ({"all/00000007"} if entries else set())
    missing.write(page, [])
    assert (missing.read(page), missing.names(), len(s3.objects)) == ([], set(), 1)


def test_the_list_is_kept_in_s3(s3_url: str, quick_clients: Any) -> None:
    real = SmallS3(client_of(s3_url))
    pages = TouchedPages(Bucket(real.client, real.bucket), "products", REPLAY)
    pages.keep("date-20261121!230", 0, [touched({"pk": {"B": b"\x00\xff"}}, 7)])
    pages.keep("date-20261121!230", 0, [touched({"pk": {"B": b"\x00\xff"}}, 7)])

    (name,) = real.keys()
    assert name.startswith(f"replays/products/{REPLAY}/touched/date-20261121!230/00000000-")
    ((entry,),) = [pages.read(page) for page in pages.pages()]
    assert (entry.key, entry.version) == ({"pk": {"B": b"\x00\xff"}}, 7)

    real.fails = lambda operation, key: "SlowDown"
    with pytest.raises(TransientError):
        pages.keep("all", 1, [touched(key(1))])

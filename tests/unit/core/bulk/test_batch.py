"""How the input is cut: in order, nothing lost or doubled, and no id twice under way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk import Deletes, End, Operation, Scheme, Unreadable, VersionScheme, index, update
from searchops.core.bulk.batch import Batch, Batcher, Sizes, Wait
from searchops.core.bulk.encode import Encoder, Unencodable

ENCODER = Encoder(Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE), clock=lambda: 0.0)
Line = Operation | Unreadable

good = st.builds(
    lambda id, length: index(id, {"text": "x" * length}, version=1), st.sampled_from("abcdefgh"), st.integers(0, 300)
)
too_large = st.builds(lambda id: index(id, {"text": "x" * 2000}, version=1), st.sampled_from("abcdefgh"))
unencodable = st.builds(lambda id: index(id, {"n": math.nan}, version=1), st.sampled_from("abcdefgh"))
unreadable = st.builds(lambda length: Unreadable("no JSON", b"?" * length, "file:1"), st.integers(0, 300))
inputs = st.lists(st.one_of(good, good, good, too_large, unencodable, unreadable), max_size=60)
sizes = st.builds(lambda size, documents: (size, documents), st.integers(1, 1000), st.integers(1, 10))
REQUEST_BYTES = 1000


def batcher(lines: Sequence[Line], size: tuple[int, int], under_way: set[str], **options: object) -> Batcher:
    return Batcher(iter(lines), ENCODER, Sizes(*size, REQUEST_BYTES), under_way=under_way, **options)  # type: ignore[arg-type]


def batches(lines: Sequence[Line], size: tuple[int, int] = (1000, 10), **options: object) -> list[Batch]:
    """All batches, each of which ends before the next is cut."""
    return list(iter(batcher(lines, size, set(), **options).next, None))  # type: ignore[arg-type]


def sent(batch: Batch) -> list[str]:
    return [batch.operation(place).id for place, line in enumerate(batch.lines) if line]


def what_is_wrong(line: Line) -> str:
    if isinstance(line, Unreadable):
        return "unreadable"
    try:
        return "too_large" if len(ENCODER.lines(line)) > REQUEST_BYTES else ""
    except Unencodable as error:
        return error.kind


@given(inputs, sizes)
def test_every_line_is_in_one_batch_in_its_order(lines: list[Line], size: tuple[int, int]) -> None:
    found = batches(lines, size)

    assert [batch.number for batch in found] == list(range(len(found)))
    assert [(batch.first, len(batch.ends)) for batch in found] == [
        (sum(len(before.ends) for before in found[:number]), len(batch.ends)) for number, batch in enumerate(found)
    ]
    places = [(batch, place) for batch in found for place in range(len(batch.ends))]
    assert len(places) == len(lines)
    for (batch, place), line in zip(places, lines, strict=True):
        wrong = what_is_wrong(line)
        assert batch.ends[place] is (End.REJECTED if wrong else None)
        assert batch.lines[place] == (b"" if wrong else ENCODER.lines(line))


@given(inputs, sizes)
def test_what_can_not_be_sent_is_rejected_at_its_position_as_it_was(lines: list[Line], size: tuple[int, int]) -> None:
    rejected = {document.position: document for batch in batches(lines, size) for document in batch.rejected}

    assert {position: document.kind for position, document in rejected.items()} == {
        position: wrong for position, line in enumerate(lines) if (wrong := what_is_wrong(line))
    }
    for position, document in rejected.items():
        line = lines[position]
        if isinstance(line, Unreadable):
            assert (document.line, document.where, document.reason) == (line.line, line.where, line.reason)
        else:
            assert document.id == line.id


@given(inputs, sizes)
def test_no_batch_is_larger_than_its_limit_but_for_one_document(lines: list[Line], size: tuple[int, int]) -> None:
    for batch in batches(lines, size):
        data = sum(map(len, batch.lines))
        assert 1 <= len(batch.ends) <= size[1]
        assert data <= size[0] or (len(sent(batch)) == 1 and data <= REQUEST_BYTES)


@given(inputs, sizes, st.data())
def test_no_id_is_under_way_twice(lines: list[Line], size: tuple[int, int], data: st.DataObject) -> None:
    """Batches end in any order; the one that is cut has to fit to those that have not."""
    under_way: set[str] = set()
    flying: list[Batch] = []
    order: list[Batch] = []
    cut = batcher(lines, size, under_way)
    while (batch := cut.next()) is not None or flying:
        if isinstance(batch, Batch):
            ids = sent(batch)
            assert len(ids) == len(set(ids))
            assert not under_way & set(ids)
            order.append(batch)
            flying.append(batch)
            under_way.update(batch.ids)
        else:
            assert flying, "waits for what has ended"
        while flying and (batch is None or isinstance(batch, Wait) or data.draw(st.booleans())):
            ended = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            under_way.difference_update(ended.ids)
            assert {id for other in flying for id in sent(other)} <= under_way
            if isinstance(batch, Wait):
                break
    assert sum(len(batch.ends) for batch in order) == len(lines)


@given(inputs, sizes, sizes, st.data())
def test_going_on_at_any_batch_gives_the_same_rest(
    lines: list[Line], size: tuple[int, int], other_size: tuple[int, int], data: st.DataObject
) -> None:
    first = batches(lines, size)
    kept = data.draw(st.integers(0, len(first)))
    position = sum(len(batch.ends) for batch in first[:kept])

    rest = batches(lines[position:], other_size, position=position, numbers=count(kept))

    assert [batch.number for batch in rest] == [kept + number for number in range(len(rest))]
    assert [line for batch in rest for line in batch.lines] == [line for batch in first[kept:] for line in batch.lines]
    assert [document for batch in rest for document in batch.rejected] == [
        document for batch in first[kept:] for document in batch.rejected
    ]


def test_an_id_that_no_set_can_hold_is_rejected_like_any_other() -> None:
    (batch,) = batches([index(["a"], {}, version=1), index("b", {}, version=1)])  # type: ignore[arg-type]

    assert batch.ids == {"b"}
    assert batch.rejected[0].id == "['a']"


def test_the_input_is_read_no_further_than_the_batch() -> None:
    read: list[int] = []

    def lines() -> Iterator[Line]:
        for number in count():
            read.append(number)
            yield index(str(number), {}, version=1)

    cut = Batcher(lines(), ENCODER, Sizes(10_000, 5), under_way=set())
    cut.next()

    assert len(read) == 5


def test_lines_that_end_as_rejected_count_for_what_a_batch_holds() -> None:
    """Else 5,000 lines of 10 MiB would be in memory at once."""
    line = Unreadable("no JSON", b"?" * 600)

    assert [len(batch.ends) for batch in batches([line] * 10)] == [2, 2, 2, 2, 2]


def test_a_document_that_is_larger_than_a_request_is_rejected_with_its_size() -> None:
    (batch,) = batches([index("a", b'{"text":"' + b"x" * 1000 + b'"}', version=1)])

    (document,) = batch.rejected
    assert document.reason == "1,072 bytes, a request may have 1,000"
    assert document.line.startswith(b'{"text":"xxx')


def test_bytes_that_are_no_json_are_kept_as_they_were() -> None:
    (batch,) = batches([index("a", b'{"a":\n"\xff', version=1)])

    assert batch.rejected[0].line == b'{"a":\n"\xff'


def test_a_document_with_a_lone_surrogate_is_kept_so_that_it_can_be_read() -> None:
    (batch,) = batches([index("a", {"text": "\ud83d"}, version=1)])

    assert batch.rejected[0].line == rb"{'text': '\ud83d'}"


@pytest.mark.parametrize("line", [{"_id": "a"}, None, ("a", {})])
def test_a_line_of_another_type_is_a_mistake_of_the_program(line: object) -> None:
    with pytest.raises(TypeError, match="made by index, create, update or delete"):
        batches([line])  # type: ignore[list-item]


def test_an_error_of_the_source_is_the_source_s() -> None:
    def lines() -> Iterator[Line]:
        yield index("a", {}, version=1)
        raise OSError("half a gzip")

    with pytest.raises(OSError, match="half a gzip"):
        Batcher(lines(), ENCODER, Sizes(), under_way=set()).next()


def test_each_result_counts_its_ends() -> None:
    (batch,) = batches([index("a", {}, version=1), index("b", {}, version=1), update("c", {}), index("d", {}, version=1)])
    batch.end_all([0, 1], End.INDEXED)
    batch.end(3, End.SUPERSEDED)

    result = batch.result()

    assert result.ends == [End.INDEXED, End.INDEXED, End.REJECTED, End.SUPERSEDED]
    counts = result.counts
    assert (counts.accepted, counts.indexed, counts.superseded, counts.rejected, counts.ended) == (4, 2, 1, 1, 4)


def test_a_result_counts_what_went_to_the_spool() -> None:
    (batch,) = batches([index("a", {}, version=1), index("b", {}, version=1)])
    batch.end_all([0, 1], End.HANDED_OVER)
    batch.lanes |= {"firehose": 1, "spool": 1}

    counts = batch.result().counts

    assert (counts.handed_over, counts.spooled, counts.ended) == (2, 1, 2)


def test_a_document_without_an_end_is_never_a_result() -> None:
    (batch,) = batches([index("a", {}, version=1)])

    with pytest.raises(RuntimeError, match="1 of 1 documents have no end"):
        batch.result()


def test_rejected_documents_that_could_not_be_kept_have_no_end() -> None:
    (batch,) = batches([index("a", {}, version=1), Unreadable("no JSON", b"?")])

    batch.forget_rejected()

    assert (batch.ends, batch.rejected) == ([None, None], [])


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 1000))
def test_parts_hold_every_document_and_no_more_than_is_allowed(lengths: list[int], limit: int) -> None:
    batch = Batch(0, 0, ENCODER)
    for length in lengths:
        batch.add(index("a", {}, version=1), b"x" * length)
    places = list(range(len(lengths)))

    parts = Sizes(limit, 100).split(batch, places)

    assert [place for part in parts for place in part] == places
    assert all(len(part) == 1 or batch.size_of(part) <= limit for part in parts)


@given(st.lists(st.integers(1, 4 * 2**20), max_size=20))
def test_what_was_too_large_is_not_tried_again_and_the_limit_never_falls_to_nothing(refused: list[int]) -> None:
    sizes = Sizes()
    for size in refused:
        before = sizes.bytes
        sizes.too_large(size)
        assert 64 * 1024 <= sizes.bytes <= before
        assert sizes.bytes < size or sizes.bytes == 64 * 1024


@pytest.mark.parametrize("values", [(0, 1, 10), (11, 1, 10), (5, 0, 10)])
def test_sizes_that_make_no_sense_are_refused(values: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 <= batch_bytes <= request_bytes"):
        Sizes(*values)


def test_batches_of_a_hot_id_wait_for_each_other() -> None:
    under_way: set[str] = set()
    cut = batcher([index("a", {}, version=version) for version in range(3)], (1000, 10), under_way)

    first = cut.next()
    assert isinstance(first, Batch)
    under_way.add("a")
    assert list(islice(iter(cut.next, None), 3)) == [Wait.ID] * 3
    under_way.clear()
    second = cut.next()
    assert isinstance(second, Batch)
    assert [batch.operation(0).version for batch in (first, second)] == [0, 1]

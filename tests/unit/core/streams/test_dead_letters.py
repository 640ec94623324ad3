from __future__ import annotations

import json

import pytest

from searchops.core.bulk.places import place_of
from searchops.core.bulk.stores import read_rejected
from searchops.core.errors import TransientError
from searchops.core.streams.consumer import DeadLetter
from searchops.core.streams.dead_letters import DeadLetterObjects
from tests.unit.core.bulk.small_s3 import SmallS3, client_of
from tests.unit.core.streams.events import batch, record, sequence


@pytest.fixture
def s3(s3_url: str, quick_clients: None) -> SmallS3:
    return SmallS3(client_of(s3_url))


def letters(*numbers: int) -> list[DeadLetter]:
    return [
        DeadLetter(position, one, f"id-{one.sequence}", "mapper_parsing_exception", "failed to parse")
        for position, one in enumerate(batch(*(record(number, {"pk": "東", "n": "\ud83d"}) for number in numbers)))
    ]


def test_a_record_is_kept_whole_with_the_reason_and_its_place(s3: SmallS3) -> None:
    place = DeadLetterObjects(s3.client, s3.bucket, "products")

    place.keep(letters(1, 2))

    (key,) = s3.keys()
    assert key == place.key(letters(1, 2))
    assert (place_of(key).index, place_of(key).run) == ("products", "stream_indexer-2026-11-21")
    first, second = read_rejected(s3.get(key))
    assert (first.position, first.id, first.kind, first.reason) == (
        0,
        f"id-{sequence(1)}",
        "mapper_parsing_exception",
        "failed to parse",
    )
    assert second.where == f"products:{sequence(2)}"
    assert json.loads(second.line) == record(2, {"pk": "東", "n": "\ud83d"})


def test_a_batch_that_comes_again_leaves_one_object_and_another_batch_another(s3: SmallS3) -> None:
    place = DeadLetterObjects(s3.client, s3.bucket, "products")

    place.keep(letters(1, 2))
    place.keep(letters(1, 2))
    assert len(s3.keys()) == 1
    place.keep(letters(3))

    assert len(s3.keys()) == 2


def test_a_record_without_a_time_has_the_day_of_today(s3: SmallS3) -> None:
    raw = record(1, {"pk": "a"})
    del raw["dynamodb"]["ApproximateCreationDateTime"]
    (one,) = batch(raw)

    key = DeadLetterObjects(s3.client, s3.bucket, "products", clock=lambda: 0.0).key([DeadLetter(0, one, "", "unreadable", "")])

    assert "/stream_indexer-1970-01-01/" in key


def test_a_bucket_that_does_not_answer_is_an_error_that_passes(s3: SmallS3) -> None:
    s3.fails = lambda operation, key: "SlowDown"

    with pytest.raises(TransientError):
        DeadLetterObjects(s3.client, s3.bucket, "products").keep(letters(1))

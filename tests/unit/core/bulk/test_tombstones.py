from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.manifests import FIREHOSE, Entry, Manifest, Manifests
from searchops.core.bulk.runs import Ledgers
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.bulk.tombstones import DAY, Tombstones, Way, removal
from searchops.core.errors import DataError
from tests.unit.core.bulk.small_s3 import SmallS3

HIT = {"_id": "a", "_version": 7, "_seq_no": 3, "_primary_term": 2}
moments = st.floats(min_value=1e9, max_value=2e9)


def scheme(version: VersionScheme) -> Scheme:
    return Scheme(version, Deletes.TOMBSTONE, "revision" if version is VersionScheme.ATTRIBUTE else "")


@given(now=moments, days=st.integers(2, 400), oldest=st.none() | moments)
def test_a_tombstone_goes_only_when_it_is_old_enough_and_two_days_older_than_what_is_on_its_way(
    now: float, days: int, oldest: float | None
) -> None:
    cutoff = Way(oldest).cutoff(now, days)

    assert cutoff <= now - days * DAY
    assert oldest is None or cutoff <= oldest - 2 * DAY
    assert cutoff in (now - days * DAY, (oldest or 0) - 2 * DAY)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (VersionScheme.ATTRIBUTE, {"_id": "a", "version": 7, "version_type": "external_gte"}),
        (VersionScheme.SEQUENCE, {"_id": "a", "if_seq_no": 3, "if_primary_term": 2}),
    ],
)
def test_a_tombstone_is_removed_only_as_it_was_found(version: VersionScheme, expected: dict[str, Any]) -> None:
    assert removal(HIT, scheme(version)) == expected
    assert removal({**HIT, "_routing": "r"}, scheme(version)) == {**expected, "routing": "r"}


def test_a_tombstone_stays_two_days_at_least() -> None:
    with pytest.raises(DataError, match="at least 2, found 1"):
        Tombstones(None, None, "items", scheme(VersionScheme.ATTRIBUTE), days=1, replays=tuple)  # type: ignore[arg-type]


def test_a_load_that_was_abandoned_keeps_tombstones_until_its_hand_overs_are_proved(s3: SmallS3) -> None:
    bucket = Bucket(s3.client, s3.bucket)
    ledgers, sweeper = (
        Ledgers(bucket, "items"),
        Tombstones(None, bucket, "items", scheme(VersionScheme.ATTRIBUTE), days=8, replays=tuple),
    )
    ledgers.open("run", {"a": "s3://bucket/a"}, now=1.0)
    key = Manifests(bucket, "items").write(Manifest("items", "run", "a", 0, 5.0, [Entry(0, "1", FIREHOSE, 1)]))
    assert sweeper.way(10 * DAY).forgotten == ("load run is open",)

    ledgers.abandon("run", now=2.0)

    assert sweeper.way(10 * DAY).open == ("load run has hand-overs that are not settled",)
    bucket.delete(key)
    assert sweeper.way(10 * DAY).open == ()

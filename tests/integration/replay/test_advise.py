"""``python -m searchops.core.replay advise TABLE``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.cloud import ROOT, Cloud
from tests.integration.replay.looked_at import BY_DAY, Place


@pytest.fixture
def place(dynamodb_cloud: Cloud) -> Iterator[Place]:
    place = Place(dynamodb_cloud)
    yield place
    place.close()


def advise(place: Place, *options: str, table: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "searchops.core.replay", "advise", table or place.name, *options],
        env={**place.cloud.full_environment(), "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_table_that_is_fit_ends_with_0_and_figures(place: Place) -> None:
    place.create()
    place.put(range(4))
    place.put([4], day={})
    place.map()

    told = advise(place, "--json")

    assert told.returncode == 0, told.stdout + told.stderr
    advice = json.loads(told.stdout)
    assert advice["fit"] is True
    assert advice["figures"]["items, by DynamoDB's last count"] == "5"
    assert advice["figures"]["without the date attribute"] == "1"
    assert advice["figures"]["write units of a touch"] == "1 of the table, 0 of its indexes"


def test_a_table_that_is_not_fit_ends_with_1_and_commands_that_mend_it(place: Place) -> None:
    place.create(stream="", indexes=())
    place.put([1], day={})

    told = advise(place)

    assert told.returncode == 1, told.stderr
    assert "something is to be changed before it is replayed" in told.stdout
    assert f"aws dynamodb update-table --table-name {place.name} --stream-specification StreamEnabled=true" in told.stdout
    assert '"Projection": {"ProjectionType": "KEYS_ONLY"}' in told.stdout


def test_a_day_in_one_key_is_not_enough_for_an_application_that_makes_more_items(place: Place) -> None:
    place.create()
    place.put([1])
    place.map()

    told = advise(place, "--new-items-per-second", "2500")

    assert told.returncode == 1
    assert "spread the day over 3 keys" in told.stdout


def test_an_index_that_projects_everything_is_to_be_changed(place: Place) -> None:
    place.create(indexes=[{**BY_DAY, "Projection": {"ProjectionType": "ALL"}}])
    place.put([1])
    place.map()

    told = advise(place)

    assert told.returncode == 1
    assert "an index that is KEYS_ONLY, or does not include these attributes, costs none" in told.stdout


def test_prices_that_cannot_be_had_are_a_note_with_the_reason(place: Place) -> None:
    place.create()
    place.put([1])
    place.map()

    told = advise(place, "--prices")

    assert told.returncode == 0, told.stdout + told.stderr
    assert "expected the prices of the Region, found none: no price: " in told.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--wcu", "0"), "expected a pace of more than 0 write units a second"),
        (("--timezone", "Asia/Tokio"), "expected a name such as Asia/Tokyo, found 'Asia/Tokio'"),
        (("--format", "%Y"), "expected one that tells days apart"),
        (("--profile", "nobody"), "no clients of AWS can be made"),
    ],
)
def test_a_wrong_argument_ends_with_2_and_one_line(place: Place, options: tuple[str, ...], words: str) -> None:
    place.create()

    told = advise(place, *options)

    assert (told.returncode, told.stdout) == (2, "")
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_table_that_is_missing_ends_with_2(place: Place) -> None:
    told = advise(place, table="no-such-table")

    assert told.returncode == 2
    assert told.stderr.startswith("table no-such-table: expected it in this account and Region, found none")

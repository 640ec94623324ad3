from __future__ import annotations

import math

import pytest

from searchops.core.errors import DataError
from searchops.core.replay.settings import VersionOwner
from tests.unit.core.replay.tables import recipe, settings


@pytest.mark.parametrize("pace", [0, -1, math.inf, math.nan])
def test_a_pace_that_never_ends_or_never_waits_is_refused(pace: float) -> None:
    with pytest.raises(
        DataError, match=r"table items: expected a pace of more than 0 write units a second, found .*wcu_per_second"
    ):
        settings(wcu_per_second=pace)


def test_a_shared_version_needs_an_attribute_to_add_to() -> None:
    shared = settings(version_owner=VersionOwner.SHARED, index="items", recipe=recipe())

    assert shared.touched == ("searchops_replay", "revision")
    assert settings(index="items", recipe=recipe()).touched == ("searchops_replay",)
    for changes in ({}, {"index": "items", "recipe": recipe("sequence")}):
        with pytest.raises(DataError, match="version_owner shared needs an index whose version is an attribute"):
            settings(version_owner=VersionOwner.SHARED, **changes)

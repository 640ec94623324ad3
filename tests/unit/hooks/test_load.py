from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk.places import MANIFESTS, manifest_key
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources import IdRule, IdScheme, Recipe
from searchops.core.errors import DataError
from searchops.hooks.bulk import scheme_of
from searchops.hooks.load import LoadClients, recipe_of, run_name
from searchops.inventory import WrittenIndex

NAMES = st.text(st.sampled_from("ab_.:+-é"), min_size=1, max_size=250)


def index(**fields: Any) -> WrittenIndex:
    place = {"region": "ap-northeast-1", "aws_conn_id": "a", "slack_conn_id": "s", "bucket": "example-bucket"}
    given: dict[str, Any] = {
        "name": "products",
        "domain": "search",
        "domain_name": "search",
        "opensearch_conn_id": "x",
        **place,
        "home": {"bucket": "example-bucket"},
        "body_path": None,
        "id": {"attributes": ["pk", "sk"]},
        "version": {"scheme": "attribute", "attribute": "revision"},
        "deletes": "tombstone",
        "tombstone_days": 8,
        "hand_over": None,
    }
    return WrittenIndex.model_validate(given | fields)


@given(st.tuples(NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES))
def test_loads_of_different_dags_groups_and_runs_have_different_names_that_fit_into_keys(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (run_name(*one) == run_name(*other)) == (one == other)
    key = manifest_key("a" * 80, run_name(*one), "0" * 16, 10**7, "0" * 16)
    assert key.startswith(MANIFESTS)
    assert len(key.encode()) <= 1024


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Recipe(IdRule(IdScheme.ATTRIBUTES, ("pk", "sk")), VersionScheme.ATTRIBUTE, "revision")),
        (
            {"id": {"scheme": "position"}, "version": {"scheme": "once"}, "deletes": "never", "tombstone_days": None},
            Recipe(IdRule(IdScheme.POSITION), VersionScheme.ONCE),
        ),
    ],
)
def test_a_load_makes_ids_as_the_scheme_of_the_index_says(fields: dict[str, Any], expected: Recipe) -> None:
    assert recipe_of(index(**fields)) == expected
    assert scheme_of(index(**fields)).id == expected.id.words


def test_files_of_a_worker_are_no_input() -> None:
    with pytest.raises(DataError, match="a worker's own disk is not that of others"):
        LoadClients(index()).plan(["/data/a.ndjson"], None)

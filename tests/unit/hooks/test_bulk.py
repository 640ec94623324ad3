from __future__ import annotations

from typing import Any

import pytest

from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.hooks.bulk import scheme_of
from searchops.inventory import WrittenIndex


def written(**fields: Any) -> WrittenIndex:
    return WrittenIndex.model_validate(
        {
            "name": "items",
            "domain": "search",
            "domain_name": "search",
            "opensearch_conn_id": "node",
            "region": "ap-northeast-1",
            "aws_conn_id": "aws_default",
            "slack_conn_id": "slack_default",
            "bucket": "example-bucket",
            "home": {"bucket": "example-bucket"},
            "body_path": None,
            "tombstone_days": None,
            "hand_over": None,
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("id", "words"),
    [({"attributes": ["pk", "sk"]}, "pk|sk"), ({"attributes": ["pk"]}, "pk"), ({"scheme": "position"}, "position")],
)
def test_a_scheme_says_how_ids_are_made_in_the_words_of_the_inventory(id: dict[str, Any], words: str) -> None:
    index = written(id=id, version={"scheme": "attribute", "attribute": "revision"}, deletes="tombstone", tombstone_days=8)

    assert scheme_of(index) == Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision", words)


def test_a_scheme_without_a_version_attribute_names_none() -> None:
    index = written(id={"scheme": "content"}, version={"scheme": "none", "reason": "a log"}, deletes="never")

    assert scheme_of(index).to_meta() == {"version": "none", "deletes": "never", "id": "content"}

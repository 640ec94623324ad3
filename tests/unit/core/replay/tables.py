"""A table as DynamoDB describes it, for tests that decide something about it."""

from __future__ import annotations

from typing import Any

from searchops.core.bulk.ids import IdRule, IdScheme
from searchops.core.bulk.scheme import VersionScheme
from searchops.core.bulk.sources.model import Recipe
from searchops.core.replay.choice import Dates
from searchops.core.replay.settings import Settings
from searchops.core.replay.table import IndexFacts, TableFacts

STREAM = "arn:aws:dynamodb:ap-northeast-1:123456789012:table/items/stream/2026-11-01T00:00:00.000"
DATES = Dates(index="by-day", attribute="created_ymd", format="%Y%m%d", timezone="Asia/Tokyo")
BY_DAY = IndexFacts("by-day", True, "created_ymd", None, "KEYS_ONLY", items=90, size_bytes=9_000)


def facts(**changes: Any) -> TableFacts:
    """A table that is fit for replays: 100 items of 500 bytes, 90 of them with a day."""
    values: dict[str, Any] = {
        "name": "items",
        "arn": STREAM.partition("/stream/")[0],
        "status": "ACTIVE",
        "partition_key": "pk",
        "sort_key": "sk",
        "key_types": {"pk": "S", "sk": "N", "created_ymd": "S"},
        "indexes": (BY_DAY,),
        "stream_arn": STREAM,
        "stream_view": "NEW_AND_OLD_IMAGES",
        "items": 100,
        "size_bytes": 50_000,
    }
    return TableFacts(**{**values, **changes})


def recipe(scheme: str = "attribute") -> Recipe:
    version = VersionScheme(scheme)
    return Recipe(IdRule(IdScheme.ATTRIBUTES, ("pk", "sk")), version, "revision" if version is VersionScheme.ATTRIBUTE else "")


def settings(**changes: Any) -> Settings:
    return Settings(**{"table": "items", "dates": DATES, **changes})

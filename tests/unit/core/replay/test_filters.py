"""Filters of event source mappings, asked about the record of a touch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from searchops.core.errors import DataError
from searchops.core.replay.filters import asks_for_content, may_pass_touches, passes, patterns_of

RECORD: dict[str, Any] = {
    "eventName": "MODIFY",
    "eventSource": "aws:dynamodb",
    "dynamodb": {
        "Keys": {"pk": {"S": "a"}},
        "NewImage": {"pk": {"S": "a"}, "kind": {"S": "Tool"}, "price": {"N": "100"}, "tags": {"SS": ["new", "red"]}},
    },
}


@pytest.mark.parametrize(
    ("pattern", "passing"),
    [
        ({"eventName": ["INSERT"]}, False),
        ({"eventName": ["INSERT", "REMOVE"]}, False),
        ({"eventName": ["INSERT", "MODIFY"]}, True),
        ({"eventName": [{"anything-but": ["MODIFY"]}]}, False),
        ({"eventName": [{"anything-but": "REMOVE"}]}, True),
        ({"eventName": [{"prefix": "MOD"}]}, True),
        ({"eventName": [{"suffix": "SERT"}]}, False),
        ({"eventName": [{"equals-ignore-case": "modify"}]}, True),
        ({"eventName": [{"exists": False}]}, False),
        ({"eventSource": ["aws:kinesis"]}, False),
        ({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["Tool"]}}}}, False),
        ({"dynamodb": {"NewImage": {"kind": {"S": ["Other"]}}}}, True),
        ({"$or": [{"eventName": ["INSERT"]}, {"eventName": ["MODIFY"]}]}, True),
        ({"$or": [{"eventName": ["INSERT"]}, {"eventName": ["REMOVE"]}]}, False),
        ({"eventID": ["1"]}, True),
        ({}, True),
    ],
)
def test_whether_a_modify_can_pass_is_known_without_its_content(pattern: dict[str, Any], passing: bool) -> None:
    assert may_pass_touches(pattern) is passing


@pytest.mark.parametrize(
    ("patterns", "passing"),
    [
        ([], True),
        ([{"eventName": ["INSERT"]}], False),
        ([{"eventName": ["INSERT"]}, {"eventName": ["MODIFY"]}], True),
        ([{"dynamodb": {"NewImage": {"kind": {"S": ["Tool"]}}}}], True),
        ([{"dynamodb": {"NewImage": {"kind": {"S": [{"equals-ignore-case": "tool"}]}}}}], True),
        ([{"dynamodb": {"NewImage": {"kind": {"S": [{"anything-but": ["Tool"]}]}}}}], False),
        ([{"dynamodb": {"NewImage": {"price": {"N": [{"numeric": [">", 1]}]}}}}], False),
        ([{"dynamodb": {"NewImage": {"price": {"N": ["100"]}}}}], True),
        ([{"dynamodb": {"NewImage": {"tags": {"SS": ["red"]}}}}], True),
        ([{"dynamodb": {"NewImage": {"searchops_replay": {"S": [{"exists": False}]}}}}], True),
        ([{"dynamodb": {"OldImage": {"kind": {"S": [{"exists": True}]}}}}], False),
    ],
)
def test_a_record_passes_when_one_pattern_fits(patterns: list[dict[str, Any]], passing: bool) -> None:
    assert passes(RECORD, patterns) is passing


def test_what_asks_for_content_is_told_from_what_does_not() -> None:
    assert asks_for_content({"dynamodb": {}})
    assert asks_for_content({"$or": [{"eventName": ["MODIFY"]}, {"dynamodb": {}}]})
    assert not asks_for_content({"eventName": ["MODIFY"]})


def test_a_rule_that_is_not_known_is_named() -> None:
    with pytest.raises(DataError, match="filter rule 'wildcard': expected one of exists, prefix"):
        passes(RECORD, [{"eventName": [{"wildcard": "*"}]}])


def test_patterns_are_read_from_a_mapping() -> None:
    mapping = {"FilterCriteria": {"Filters": [{"Pattern": json.dumps({"eventName": ["INSERT"]})}]}}

    assert patterns_of(mapping) == ({"eventName": ["INSERT"]},)
    assert patterns_of({}) == ()


@pytest.mark.parametrize(
    "mapping",
    [
        {"FilterCriteria": {"Filters": [{"Pattern": "{"}]}},
        {"FilterCriteria": {"Filters": [{"Pattern": "[]"}]}},
        {"FilterCriteria": {"Filters": [{}]}},
        {"FilterCriteriaError": {"ErrorCode": "KMSAccessDenied", "Message": "no"}},
    ],
)
def test_filters_that_cannot_be_read_are_no_filters_that_pass(mapping: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        patterns_of(mapping)

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest

from searchops.core.errors import DataError
from searchops.core.idempotency.guard import Guard
from searchops.core.idempotency.table import Change, create_claims_table, plan_claims_table


@pytest.fixture
def name() -> str:
    return f"claims-{uuid.uuid4().hex}"


def create(dynamodb: Any, name: str, key: str = "id", kind: str = "S") -> None:
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind}],
        BillingMode="PAY_PER_REQUEST",
    )


def test_a_table_is_planned_made_and_then_complete(dynamodb: Any, name: str):
    assert plan_claims_table(dynamodb, name) == (Change.CREATE, Change.EXPIRE)

    assert create_claims_table(dynamodb, name) == (Change.CREATE, Change.EXPIRE)

    assert plan_claims_table(dynamodb, name) == create_claims_table(dynamodb, name) == ()
    assert Guard(dynamodb, table=name, namespace="test").run("k", lambda claim: 1) == 1
    assert dynamodb.describe_table(TableName=name)["Table"]["DeletionProtectionEnabled"]


def test_a_plan_changes_nothing(dynamodb: Any, name: str):
    plan_claims_table(dynamodb, name)

    assert name not in dynamodb.list_tables()["TableNames"]


def test_what_is_missing_of_a_table_is_added(dynamodb: Any, name: str):
    create(dynamodb, name)

    assert plan_claims_table(dynamodb, name) == create_claims_table(dynamodb, name) == (Change.EXPIRE,)


def test_several_may_make_it_at_once(dynamodb: Any, name: str):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_claims_table(dynamodb, name), range(8)))

    assert Counter(chain(*made))[Change.CREATE] == 1
    assert plan_claims_table(dynamodb, name) == ()


@pytest.mark.parametrize(("key", "kind"), [("pk", "S"), ("id", "N")])
def test_a_table_with_another_key_is_refused(dynamodb: Any, name: str, key: str, kind: str):
    create(dynamodb, name, key, kind)

    for call in (plan_claims_table, create_claims_table):
        with pytest.raises(DataError, match=rf"expected id \(S\) as its only key, found {key} \({kind}\)"):
            call(dynamodb, name)


def test_a_table_whose_items_expire_by_another_attribute_is_refused(dynamodb: Any, name: str):
    create(dynamodb, name)
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})

    with pytest.raises(DataError, match="expected TTL by expires_at, found ttl"):
        create_claims_table(dynamodb, name)

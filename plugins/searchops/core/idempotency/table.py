"""Make the table of claims: what of it is missing, and the calls that add it. Safe to repeat, and for several at once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from searchops.core.errors import DataError, SearchOpsError, TransientError, code_of
from searchops.core.idempotency.errors import classified

KEY = "id"
TTL_ATTRIBUTE = "expires_at"
_KEY_SCHEMA = [{"AttributeName": KEY, "KeyType": "HASH"}]
_ATTRIBUTES = [{"AttributeName": KEY, "AttributeType": "S"}]


class Change(Enum):
    """One thing that is missing, in the order in which they are made."""

    CREATE = f"create the table: partition key {KEY} (text), on-demand capacity, protected from deletion"
    EXPIRE = f"turn on TTL by the attribute {TTL_ATTRIBUTE}"


def plan_claims_table(client: Any, table: str) -> tuple[Change, ...]:
    """What is missing; empty for a table that is ready. Changes nothing.

    :raises DataError: there is a table of that name that claims can not be kept in
    :raises TransientError: the table is being changed right now
    """
    found = _describe(client, table)
    if found is None:
        return tuple(Change)
    _check_key(table, found)
    if found["TableStatus"] in ("CREATING", "DELETING"):
        raise TransientError(f"the table {table!r} is {found['TableStatus']}: try again in a minute")
    return () if _expires(client, table) else (Change.EXPIRE,)


def create_claims_table(client: Any, table: str) -> tuple[Change, ...]:
    """Make what is missing, wait until it is there, and return what was made.

    Protected from deletion, because the fence numbers of a new table begin at 1, below those that effects have seen.

    :raises DataError: as of `plan_claims_table`, or without permission
    """
    made: list[Change] = []
    if _describe(client, table) is None and _create(client, table):
        made.append(Change.CREATE)
    _wait(client, table)
    if Change.EXPIRE in plan_claims_table(client, table) and _expire(client, table):
        made.append(Change.EXPIRE)
    return tuple(made)


def _describe(client: Any, table: str) -> Mapping[str, Any] | None:
    try:
        return client.describe_table(TableName=table)["Table"]  # type: ignore[no-any-return]
    except Exception as error:
        if code_of(error) == "ResourceNotFoundException":
            return None
        raise classified(error, table, "DescribeTable") from error


def _check_key(table: str, found: Mapping[str, Any]) -> None:
    types = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in found["AttributeDefinitions"]}
    if found["KeySchema"] != _KEY_SCHEMA or types[KEY] != "S":
        keys = ", ".join(f"{key['AttributeName']} ({types[key['AttributeName']]})" for key in found["KeySchema"])
        raise DataError(
            f"the table {table!r}: expected {KEY} (S) as its only key, found {keys}: name another table in defaults.claims_table "
            "of the inventory"
        )


def _create(client: Any, table: str) -> bool:
    try:
        client.create_table(
            TableName=table,
            KeySchema=_KEY_SCHEMA,
            AttributeDefinitions=_ATTRIBUTES,
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=True,
        )
    except Exception as error:
        if code_of(error) == "ResourceInUseException":  # somebody else was faster
            return False
        raise classified(error, table, "CreateTable") from error
    return True


def _wait(client: Any, table: str) -> None:
    try:
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 2, "MaxAttempts": 60})
    except Exception as error:
        raise _not_there(error, table) from error


def _not_there(error: Exception, table: str) -> SearchOpsError:
    if code_of(error):
        return classified(error, table, "DescribeTable")
    return TransientError(f"the table {table!r} was not ready within two minutes: try again", reason=str(error))


def _expires(client: Any, table: str) -> bool:
    try:
        found = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    except Exception as error:
        raise classified(error, table, "DescribeTimeToLive") from error
    status, attribute = found.get("TimeToLiveStatus", "DISABLED"), found.get("AttributeName")
    if status == "DISABLING":
        raise TransientError(f"the table {table!r}: TTL is being turned off, which takes up to an hour: try again after that")
    if status == "DISABLED":
        return False
    if attribute != TTL_ATTRIBUTE:
        raise DataError(
            f"the table {table!r}: expected TTL by {TTL_ATTRIBUTE}, found {attribute}: turn that off, or name another table in "
            "defaults.claims_table of the inventory"
        )
    return True


def _expire(client: Any, table: str) -> bool:
    try:
        client.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE})
    except Exception as error:
        if code_of(error) in ("ValidationException", "ResourceInUseException") and _expires(client, table):
            return False  # somebody else was faster
        raise classified(error, table, "UpdateTimeToLive") from error
    return True

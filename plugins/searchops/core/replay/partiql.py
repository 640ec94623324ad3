"""Touch 25 items a request, by PartiQL: for a replay that no budget holds back.

BatchExecuteStatement says what it has cost only for the batch as a whole, on DynamoDB Local not at all, and nothing of statements that were
refused (measured), so its units can not be paced. The consumers' lag is watched all the same. Each statement is on its own: one that fails
leaves its neighbours alone. It can not add to a version. Where one is to be told, each answer brings the whole item, as RETURNING names no
attributes: nothing less proves in the index what was touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from searchops.core.errors import SearchOpsError
from searchops.core.replay.calls import classified, damaged
from searchops.core.replay.effects import Keys
from searchops.core.replay.model import AttributeValue, Key, Outcome, Touched, Units
from searchops.core.replay.touch import FIVE_YEARS_SECONDS, LEAST_ID, Touch

MOST_STATEMENTS = 25
"""Of one BatchExecuteStatement: DynamoDB's own limit."""
# What a statement's error is called where it comes alone (botocore's model: BatchStatementErrorCodeEnum has other words for them).
_EXCEPTIONS = {
    "ConditionalCheckFailed": "ConditionalCheckFailedException",
    "ItemCollectionSizeLimitExceeded": "ItemCollectionSizeLimitExceededException",
    "ProvisionedThroughputExceeded": "ProvisionedThroughputExceededException",
    "ResourceNotFound": "ResourceNotFoundException",
    "TransactionConflict": "TransactionConflictException",
    "ValidationError": "ValidationException",
}

Answer = Touched | SearchOpsError


class BatchTouch:
    """Touches up to 25 items at once, as `touch` does one.

    :param touch: of the same client and table, which adds to no version; judges what was refused
    """

    def __init__(self, client: Any, facts: Keys, touch: Touch) -> None:
        self._client = client
        self._facts = facts
        self._touch = touch
        self._keys = [facts.partition_key, *([facts.sort_key] if facts.sort_key else [])]
        self._statement = self._prepare()

    def __call__(self, keys: Sequence[Key]) -> list[Answer]:
        """Send one request.

        :param keys: 1 to 25, all different
        :return: for each key what became of the item, or the error that it met
        :raises TransientError: there was no answer: each item may be touched or not, which another try finds out
        :raises DataError: no item of this table can be touched so
        """
        touch, now = self._touch, math.floor(self._touch.clock())
        statements = [
            {
                "Statement": self._statement,
                "Parameters": self._parameters(key, now),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
            for key in keys
        ]
        try:
            answer = self._client.batch_execute_statement(Statements=statements, ReturnConsumedCapacity="TOTAL")
        except Exception as error:
            raise classified(error, self._facts.name, "PartiQLUpdate") from error
        if "Responses" not in answer:
            raise damaged(self._facts.name, "PartiQLUpdate")
        told: Sequence[Mapping[str, Any]] = answer.get("ConsumedCapacity", ())
        each = sum(float(entry["CapacityUnits"]) for entry in told) / len(keys) if told else 1.0
        return [self._read(touch, key, response, now, each) for key, response in zip(keys, answer["Responses"], strict=True)]

    def _read(self, touch: Touch, key: Key, response: Mapping[str, Any], now: int, units: float) -> Answer:
        from botocore.exceptions import ClientError

        if "Error" not in response:
            item = response.get("Item")
            if touch.version_attribute and not item:
                return damaged(self._facts.name, "PartiQLUpdate")  # the item is touched; another try tells its version
            return Touched(key, Outcome.TOUCHED, Units(table=units), touch.version_in(item))
        told = response["Error"]
        code = _EXCEPTIONS.get(told["Code"], told["Code"])
        error = ClientError(
            {"Error": {"Code": code, "Message": told.get("Message", "")}, "Item": told.get("Item", {})},
            "PartiQLUpdate",
        )
        try:
            return touch.refused(key, error, now)
        except SearchOpsError as error:
            return error

    def _prepare(self) -> str:
        marker, ttl = _quoted(self._touch.marker), self._touch.ttl_attribute
        conditions = [f"{_quoted(name)} = ?" for name in self._keys]
        conditions.append(f"({marker} IS MISSING OR ({marker} >= ? AND {marker} < ?))")
        if ttl:
            name = _quoted(ttl)
            conditions.append(f"({name} IS MISSING OR NOT attribute_type({name}, ?) OR {name} > ? OR {name} < ?)")
        returning = " RETURNING ALL NEW *" if self._touch.version_attribute else ""
        # Names are quoted, values are parameters.
        return f"UPDATE {_quoted(self._facts.name)} SET {marker} = ? WHERE {' AND '.join(conditions)}{returning}"  # noqa: S608

    def _parameters(self, key: Key, now: int) -> list[AttributeValue]:
        ours: AttributeValue = {"S": self._touch.replay_id}
        times = [{"S": "N"}, {"N": str(now)}, {"N": str(now - FIVE_YEARS_SECONDS)}] if self._touch.ttl_attribute else []
        return [ours, *(key[name] for name in self._keys), {"S": LEAST_ID}, ours, *times]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

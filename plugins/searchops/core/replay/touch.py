"""Touch an item: the smallest write that makes a stream record, at most once a replay, and never one that undoes another's.

The marker is the id of the replay, 20 digits. It grows from replay to replay, so one comparison keeps an item from being touched twice by
a replay (a lost answer, a resume), and an earlier replay from coming after a later one. What a refused touch finds tells them apart.

An item whose record has not arrived is touched once more under a follow-up id, ``<replay id>.01`` (`arrivals.follow_up`): as a text it is
after the replay's own, and before the next replay's.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from searchops.core.errors import DataError, SearchOpsError, code_of
from searchops.core.replay import records
from searchops.core.replay.calls import classified, damaged, message_of
from searchops.core.replay.cost import item_bytes, write_units
from searchops.core.replay.effects import Keys
from searchops.core.replay.model import AttributeValue, Key, Outcome, Touched, Units
from searchops.core.replay.records import REPLAY_ID, REPLAY_ID_DIGITS
from searchops.core.replay.selection import encoded

Item = Mapping[str, AttributeValue]

FIVE_YEARS_SECONDS = 5 * 365 * 24 * 3600
"""TTL does not remove items whose time is further in the past (developer guide, "Using time to live"), so these are not expired."""

LEAST_ID = "0" * REPLAY_ID_DIGITS
"""A text of the application that is below it only looks like an earlier replay's id; it must not be written over."""
_REFUSED = "ConditionalCheckFailedException"
_NO_ROOM = ("ItemCollectionSizeLimitExceededException", "maximum allowed size")
_NO_NUMBER = ("incorrect data type", "Number overflow")


class StrangeMarker(DataError):
    """An item bears the id of a replay that can not have been: it is later than the claim under which the table is touched."""

    def __init__(self, table: str, marker: str, found: str, newest: str) -> None:
        super().__init__(
            f"the table {table!r}: expected in {marker} ids of replays up to {newest}, the newest that this table of claims has given, found "
            f"{found}: the items were copied from another table, another table of claims is in use, or it was made anew. Touches would "
            "leave such items alone, so no record of them would be made: name another marker (replay.marker of the table in "
            "include/searchops.yaml)"
        )


def replay_id_of(fence: int) -> str:
    """The id of the replay that a claim with this fence begins. As texts, later ids are greater: 2^63 has 19 digits."""
    if not 0 < fence < 10**REPLAY_ID_DIGITS:
        raise ValueError(f"a fence: expected 1 to 20 digits above 0, found {fence}")
    return f"{fence:0{REPLAY_ID_DIGITS}d}"


def judge(item: Item | None, *, marker: str, ours: str, ttl_attribute: str | None, now: int) -> Outcome | None:
    """Read from an item why its touch was refused; None when nothing of it says why.

    :param item: as it was when the touch was refused; None or empty: it was not there
    :param ours: the replay's id, or a follow-up id of it
    :param now: epoch seconds, as the touch had it
    """
    if not item:
        return Outcome.DELETED
    if marker in item:
        found = records.replay_id(item, marker)
        if found is None:
            return Outcome.MARKER_MISUSED
        if found >= ours:
            same = found[:REPLAY_ID_DIGITS] == ours[:REPLAY_ID_DIGITS]
            return Outcome.OURS_BEFORE if same else Outcome.COVERED
    return Outcome.EXPIRED if ttl_attribute and expired(item.get(ttl_attribute), now) else None


def expired(value: AttributeValue | None, now: int) -> bool:
    """Whether TTL may remove an item by this value of its attribute. One that is no number never expires."""
    try:
        at = Decimal(value["N"]) if value else None
    except (KeyError, InvalidOperation):
        return False
    return at is not None and now - FIVE_YEARS_SECONDS <= at <= now


class Touch:
    """Touches items of one table for one replay. Safe for threads as its client is.

    :param client: boto3's ``dynamodb`` client
    :param marker: the attribute that holds the replay's id; a key of nothing
    :param newest: the newest id that a replay of this table can have; None: that is not known
    :param ttl_attribute: None where nothing expires
    :param version_attribute: whose value is to be known after the touch; with it each answer brings the item, unless it is added to
    :param adds_version: add 1 to it (``version_owner: shared``)
    :param clock: epoch seconds
    """

    def __init__(
        self,
        client: Any,
        facts: Keys,
        *,
        marker: str,
        replay_id: str,
        newest: str | None = None,
        ttl_attribute: str | None = None,
        version_attribute: str | None = None,
        adds_version: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if adds_version and not version_attribute:
            raise DataError(f"the table {facts.name!r}: expected the version attribute that a touch adds 1 to, found none")
        if not REPLAY_ID.fullmatch(replay_id):
            raise ValueError(f"a replay's id: expected 20 digits, found {replay_id!r}")
        self.marker = marker
        self.replay_id = replay_id
        self.ttl_attribute = ttl_attribute
        self.version_attribute = version_attribute
        self.clock = clock
        self._client = client
        self._newest = newest
        self._table = facts.name
        self._adds_version = adds_version
        self._values: dict[str, AttributeValue] = {":id": {"S": replay_id}, ":least": {"S": LEAST_ID}}
        self._request = self._prepare(facts)

    def __call__(self, key: Key) -> Touched:
        """Send one request.

        :raises Throttled: the table, an index or a partition has had enough
        :raises TransientError: there was no answer: the item may be touched or not, which another try finds out
        :raises StrangeMarker: it bears an id that is later than all that were given
        :raises DataError: no item of this table can be touched so
        """
        now = math.floor(self.clock())
        times = {":now": {"N": str(now)}, ":ancient": {"N": str(now - FIVE_YEARS_SECONDS)}} if self.ttl_attribute else {}
        try:
            answer = self._client.update_item(Key=key, ExpressionAttributeValues={**self._values, **times}, **self._request)
        except Exception as error:
            return self.refused(key, error, now)
        if self.version_attribute and "Attributes" not in answer:
            raise damaged(self._table, "UpdateItem")  # the item is touched; another try tells its version
        return Touched(key, Outcome.TOUCHED, units_of(answer), self.version_in(answer.get("Attributes")))

    def _prepare(self, facts: Keys) -> dict[str, Any]:
        names = {"#marker": self.marker, "#pk": facts.partition_key}
        condition = "attribute_exists(#pk) AND (attribute_not_exists(#marker) OR #marker >= :least AND #marker < :id)"
        change = "SET #marker = :id"
        if self.ttl_attribute:
            names["#ttl"] = self.ttl_attribute
            self._values[":number"] = {"S": "N"}
            condition += " AND (NOT attribute_type(#ttl, :number) OR #ttl > :now OR #ttl < :ancient)"
        if self._adds_version and self.version_attribute:
            names["#version"] = self.version_attribute
            self._values[":one"] = {"N": "1"}
            change += " ADD #version :one"
        # UPDATED_NEW shows what the touch has written, so the version only where it adds to it.
        wanted = ("UPDATED_NEW" if self._adds_version else "ALL_NEW") if self.version_attribute else "NONE"
        return {
            "TableName": self._table,
            "UpdateExpression": change,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ReturnValues": wanted,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            "ReturnConsumedCapacity": "INDEXES",
        }

    def refused(self, key: Key, error: Exception, now: int) -> Touched:
        """What an error of a touch says of its item.

        :param error: of botocore
        :param now: epoch seconds, as the touch had it
        :raises SearchOpsError: nothing of that item alone; see `__call__`
        """
        if code_of(error) == _REFUSED:
            item = (getattr(error, "response", None) or {}).get("Item")
            outcome = judge(item, marker=self.marker, ours=self.replay_id, ttl_attribute=self.ttl_attribute, now=now)
            if outcome is None:
                raise SearchOpsError(
                    f"the table {self._table!r}: the touch of {json.dumps(encoded(key))} was refused, and the item does not show why"
                ) from error
            if outcome is Outcome.COVERED:
                self._expect_given(records.replay_id(item or {}, self.marker) or "")
            # A refused write is charged for the item that it found, and says nothing of it.
            return Touched(key, outcome, Units(table=float(write_units(item_bytes(item or {})))), self.version_in(item))
        words = f"{code_of(error)}: {message_of(error)}"
        if any(sign in words for sign in _NO_ROOM):
            return Touched(key, Outcome.TOO_LARGE, Units())
        if self._adds_version and any(sign in words for sign in _NO_NUMBER):
            return Touched(key, Outcome.VERSION_MISUSED, Units(table=1.0))
        raise classified(error, self._table, getattr(error, "operation_name", "UpdateItem")) from error

    def _expect_given(self, found: str) -> None:
        if self._newest is not None and found[:REPLAY_ID_DIGITS] > self._newest:
            raise StrangeMarker(self._table, self.marker, found, self._newest)

    def version_in(self, item: Item | None) -> int | None:
        """The version of an item, where it is to be known and a whole number."""
        name = self.version_attribute
        text = ((item or {}).get(name) or {}).get("N", "") if name else ""
        try:
            number = Decimal(text)
        except InvalidOperation:
            return None
        return int(number) if number == number.to_integral_value() else None


def units_of(answer: Mapping[str, Any]) -> Units:
    """What a write has cost; without a word of it, what the smallest one costs."""
    told = answer.get("ConsumedCapacity")
    if not told:
        return Units(table=1.0)
    total = float(told["CapacityUnits"])
    table = float(told.get("Table", {}).get("CapacityUnits", total))
    return Units(table, total - table)

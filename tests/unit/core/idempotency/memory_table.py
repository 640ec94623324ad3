"""A DynamoDB table in memory, with the client's own calls: evaluates the conditions and changes of the requests that it is sent.

Only what the requests of a claim need, and what those of aws-lambda-powertools do; anything else is an error. The integration tests
hold it against DynamoDB Local.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, dict[str, str]]
Seen = Callable[[str, Item | None, Item | None], None]

_TOKEN = re.compile(r"\s*(#\w+|:\w+|<=|>=|<>|[=<>(),]|\w+)")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


class MemoryTable:
    """``seen`` is called for each write with the key and the item before and after it."""

    def __init__(self, seen: Seen = lambda key, before, after: None) -> None:
        self.items: dict[str, Item] = {}
        self.seen = seen
        self._lock = threading.RLock()

    def update_item(self, *, TableName: str, Key: Item, UpdateExpression: str, **request: Any) -> dict[str, Any]:
        with self._lock:
            key, before = self._checked("UpdateItem", Key, request)
            after = copy.deepcopy(before) if before else {"id": {"S": key}}
            changed = _change(after, UpdateExpression, request)
            self._write(key, before, after)
        match request.get("ReturnValues", "NONE"):
            case "NONE":
                return {}
            case "ALL_OLD":
                return {"Attributes": copy.deepcopy(before)} if before else {}
            case "UPDATED_NEW":
                return {"Attributes": {name: copy.deepcopy(after[name]) for name in changed if name in after}}
            case other:
                raise NotImplementedError(other)

    def put_item(self, *, TableName: str, Item: Item, **request: Any) -> dict[str, Any]:
        key, before = self._checked("PutItem", Item, request)
        self._write(key, before, copy.deepcopy(Item))
        return {}

    def delete_item(self, *, TableName: str, Key: Item, **request: Any) -> dict[str, Any]:
        key, before = self._checked("DeleteItem", Key, request)
        self._write(key, before, None)
        return {}

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool) -> dict[str, Any]:
        found = self.items.get(Key["id"]["S"])
        return {"Item": copy.deepcopy(found)} if found else {}

    def remove(self, id_: str) -> None:
        """As TTL does."""
        self._write(id_, self.items[id_], None)

    def _checked(self, operation: str, key: Item, request: Mapping[str, Any]) -> tuple[str, Item | None]:
        id_ = key["id"]["S"]
        before = self.items.get(id_)
        if "ConditionExpression" in request and not _Condition(request, before or {}).holds():
            answer: dict[str, Any] = {
                "Error": {"Code": "ConditionalCheckFailedException", "Message": "The conditional request failed"}
            }
            if before and request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                answer["Item"] = copy.deepcopy(before)
            raise ClientError(answer, operation)
        return id_, before

    def _write(self, key: str, before: Item | None, after: Item | None) -> None:
        if after is None:
            self.items.pop(key, None)
        else:
            self.items[key] = after
        self.seen(key, before, after)


class _Condition:
    """Recursive descent: OR of ANDs of comparisons, functions and parentheses. What is missing, or of another type, is no match."""

    def __init__(self, request: Mapping[str, Any], item: Item) -> None:
        self._tokens = _TOKEN.findall(request["ConditionExpression"])
        self._names = request.get("ExpressionAttributeNames", {})
        self._values = request.get("ExpressionAttributeValues", {})
        self._item = item

    def holds(self) -> bool:
        outcome = self._any()
        if self._tokens:
            raise NotImplementedError(f"condition: {self._tokens}")
        return outcome

    def _any(self) -> bool:
        outcomes = [self._all()]
        while self._accept("OR"):
            outcomes.append(self._all())
        return any(outcomes)

    def _all(self) -> bool:
        outcomes = [self._one()]
        while self._accept("AND"):
            outcomes.append(self._one())
        return all(outcomes)

    def _one(self) -> bool:
        token = self._tokens.pop(0)
        if token == "(":
            outcome = self._any()
            self._expect(")")
            return outcome
        if token in ("attribute_exists", "attribute_not_exists"):
            self._expect("(")
            exists = self._names[self._tokens.pop(0)] in self._item
            self._expect(")")
            return exists == (token == "attribute_exists")
        left = self._item.get(self._names[token])
        compare = _COMPARISONS[self._tokens.pop(0)]
        right = self._values[self._tokens.pop(0)]
        return left is not None and left.keys() == right.keys() and compare(_comparable(left), _comparable(right))

    def _accept(self, token: str) -> bool:
        if self._tokens[:1] == [token]:
            self._tokens.pop(0)
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise NotImplementedError(f"condition: expected {token}, found {self._tokens}")


def _comparable(value: Mapping[str, str]) -> Any:
    ((kind, content),) = value.items()
    return Decimal(content) if kind == "N" else content.encode()


def _change(item: Item, expression: str, request: Mapping[str, Any]) -> list[str]:
    """Carry out the clauses; the names of the attributes that they touch."""
    names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
    changed = []
    for verb, sign, value in _actions(expression):
        name = names[sign]
        changed.append(name)
        if verb == "SET":
            item[name] = copy.deepcopy(values[value])
        elif verb == "REMOVE":
            item.pop(name, None)
        else:
            item[name] = {"N": str(Decimal(item.get(name, {"N": "0"})["N"]) + Decimal(values[value]["N"]))}
    return changed


def _actions(expression: str) -> Iterator[tuple[str, str, str]]:
    tokens, verb = _TOKEN.findall(expression), ""
    while tokens:
        token = tokens.pop(0)
        if token in ("SET", "REMOVE", "ADD"):
            verb = token
            continue
        if token == ",":
            continue
        if verb == "SET" and tokens.pop(0) != "=":
            raise NotImplementedError(expression)
        yield verb, token, tokens.pop(0) if verb in ("SET", "ADD") else ""


def refuse(table: MemoryTable, code: str, which: Callable[[Mapping[str, Any]], bool]) -> None:
    """Answer every UpdateItem that ``which`` picks out with an error."""
    send = table.update_item

    def update_item(**request: Any) -> Any:
        if which(request):
            raise ClientError({"Error": {"Code": code, "Message": "by order"}}, "UpdateItem")
        return send(**request)

    table.update_item = update_item  # type: ignore[method-assign]

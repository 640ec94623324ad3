"""How far a replay is: a checkpoint a part, good for that part of that replay only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from searchops.core.errors import DataError
from searchops.core.idempotency.errors import classified
from searchops.core.replay.effects import CheckpointStore
from searchops.core.replay.model import Counts
from searchops.core.replay.select import Cursor

KEEP = timedelta(days=90)
"""How long a checkpoint outlives its last change. Without it a replay begins at the start, and finds its own marker: correct, for the price
of a write for each item."""
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A part up to which all is done and kept.

    :param page: pages that are done
    :param cursor: where the next one begins; None at the beginning and at the end
    """

    part: str
    page: int = 0
    cursor: Cursor | None = None
    counts: Counts = field(default_factory=Counts)
    done: bool = False

    def after(self, counts: Counts, cursor: Cursor | None) -> Checkpoint:
        """The checkpoint behind one more page."""
        return replace(self, page=self.page + 1, cursor=cursor, counts=self.counts + counts, done=cursor is None)


class Checkpoints:
    """The checkpoints of one replay.

    :param digest: of its selection
    """

    def __init__(self, store: CheckpointStore, *, table: str, digest: str, replay_id: str) -> None:
        self._store = store
        self._bound = {"format": _FORMAT, "table": table, "selection": digest, "replay_id": replay_id}

    def load(self, part: str) -> Checkpoint:
        """The checkpoint of a part, or that of its beginning.

        :raises DataError: the store holds one of something else
        """
        content = self._store.load(self._name(part))
        if content is None:
            return Checkpoint(part)
        expected = {**self._bound, "part": part}
        try:
            values = json.loads(content)
            found = {name: values.get(name) for name in expected}
            if found == expected:
                return Checkpoint(
                    part, int(values["page"]), values["cursor"], Counts.from_json(values["counts"]), bool(values["done"])
                )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"checkpoint {self._name(part)}: expected one of a replay, found {content[:80]!r}: remove it, and the part begins anew",
                reason=f"{type(error).__name__}: {error}",
            ) from error
        differing = ", ".join(
            f"{name} {found[name]!r} for {expected[name]!r}" for name in expected if found[name] != expected[name]
        )
        raise DataError(
            f"checkpoint {self._name(part)}: expected one of this replay, found {differing}: two replays keep their checkpoints under "
            "one name: give each a store of its own"
        )

    def save(self, checkpoint: Checkpoint) -> None:
        values = {
            **self._bound,
            "part": checkpoint.part,
            "page": checkpoint.page,
            "cursor": checkpoint.cursor,
            "counts": checkpoint.counts.to_json(),
            "done": checkpoint.done,
        }
        self._store.save(self._name(checkpoint.part), json.dumps(values).encode())

    def _name(self, part: str) -> str:
        return f"{self._bound['replay_id']}.{part}"


class TableCheckpoints:
    """`effects.CheckpointStore` in the table of claims: beside the replay's identity, so whoever finds that finds them.

    Items ``checkpoint#<table>#<name>``, 1 to 10 write units for each page.

    :param table: that is replayed
    """

    def __init__(
        self, client: Any, claims_table: str, table: str, *, keep: timedelta = KEEP, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._claims_table = claims_table
        self._table = table
        self._keep = keep
        self._clock = clock

    def load(self, name: str) -> bytes | None:
        try:
            answer = self._client.get_item(TableName=self._claims_table, Key=self._key(name), ConsistentRead=True)
        except Exception as error:
            raise classified(error, self._claims_table, "GetItem") from error
        found: Mapping[str, Any] = answer.get("Item", {})
        return found["checkpoint"]["S"].encode() if "checkpoint" in found else None

    def save(self, name: str, checkpoint: bytes) -> None:
        expires_at = int(self._clock() + self._keep.total_seconds())
        try:
            self._client.update_item(
                TableName=self._claims_table,
                Key=self._key(name),
                UpdateExpression="SET #checkpoint = :checkpoint, #expires_at = :expires_at",
                ExpressionAttributeNames={"#checkpoint": "checkpoint", "#expires_at": "expires_at"},
                ExpressionAttributeValues={":checkpoint": {"S": checkpoint.decode()}, ":expires_at": {"N": str(expires_at)}},
            )
        except Exception as error:
            raise classified(error, self._claims_table, "UpdateItem") from error

    def _key(self, name: str) -> dict[str, Any]:
        return {"id": {"S": f"checkpoint#{self._table}#{name}"}}

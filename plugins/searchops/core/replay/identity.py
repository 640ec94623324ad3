"""The id of a replay: made and kept before the first touch, and found again by what is replayed.

Beside the claims, in the same table:

=====================================  ==================================================================================
``replay#<table>#<digest>``            the newest replay of a selection: id, state, selection, counts. No TTL while it is open
``replays#<table>``                    the digests whose replay may be open; no TTL
=====================================  ==================================================================================

A replay that is open when a task starts is gone on with, whichever run or try it was begun in; one that is finished is followed by a new
one. So a retry goes on and a reprocess begins again, though Airflow makes no difference between them. The id is the fence of the claim of
the table under which the replay was begun. Whoever goes on with it has a claim of its own with a higher fence, and keeps the id.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from searchops.core.errors import DataError, TransientError, code_of
from searchops.core.idempotency.errors import classified
from searchops.core.replay.model import Counts
from searchops.core.replay.selection import Selection, digest, from_json, to_json
from searchops.core.replay.touch import replay_id_of

KEEP = timedelta(days=90)
"""How long a replay that has ended is remembered."""
MAX_SELECTION_BYTES = 300_000
"""Of a selection, which is kept with its replay: an item has at most 400 KB."""

_NAME = re.compile(r"#(\w+)")


class State(StrEnum):
    OPEN = "open"
    FINISHED = "finished"
    ABANDONED = "abandoned"
    """A person has said that it is not to be gone on with."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay of one selection.

    :param selection: as it was when the replay began: its segments are those of the checkpoints
    :param resumed: it was begun by an earlier task
    :param counts: of a replay that has ended
    """

    table: str
    digest: str
    replay_id: str
    selection: Selection
    state: State
    created_at: datetime
    resumed: bool = False
    counts: Counts | None = None


class Replays:
    """The replays of the tables of an account and Region.

    :param client: boto3's ``dynamodb`` client; its own retries are welcome, a repeated call knows itself
    :param claims_table: the table of claims, with ``id`` as its key
    """

    def __init__(self, client: Any, claims_table: str, *, keep: timedelta = KEEP, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._claims_table = claims_table
        self._keep = keep
        self._clock = clock

    def open(self, table: str, selection: Selection, fence: int) -> Replay:
        """Go on with the replay of a selection that is open, or begin one. To be called under the claim of the table.

        :param fence: of that claim
        :raises DataError: the selection is too long to be kept
        :raises TransientError: a later replay has been begun and ended meanwhile, so the claim is not ours any more
        """
        of, ours, now, written = digest(selection), replay_id_of(fence), self._now(), kept_form(table, selection)
        # First: a digest that is noted and has no open replay is passed over, one that is not noted would be overlooked.
        self._note(table, of, "ADD")
        found = self._update(
            _item_id(table, of),
            "SET #replay_id = :id, #state = :open, #selection = :selection, #created_at = :now REMOVE #counts, #ended_at, #expires_at",
            "attribute_not_exists(#state) OR (#state <> :open AND #replay_id < :id)",
            {":id": ours, ":open": State.OPEN, ":selection": written, ":now": now.isoformat()},
        )
        if found is None:
            return Replay(table, of, ours, selection, State.OPEN, now)
        before = _replay(table, of, found)
        if before.state is not State.OPEN:
            raise TransientError(
                f"the table {table!r}: the replay {before.replay_id} of the same selection has been begun and ended behind the claim "
                f"{ours} of this task: try again"
            )
        return replace(before, resumed=before.replay_id != ours)

    def finish(self, replay: Replay, counts: Counts) -> Replay:
        """Note that a replay is done; what comes next of its selection is a new one.

        :raises TransientError: it is not open any more, as somebody else has ended it
        """
        return self._end(replay, State.FINISHED, counts)

    def abandon(self, replay: Replay) -> Replay:
        """Let the next replay of the selection be a new one, although this one is not done.

        :raises TransientError: it is not open any more
        """
        return self._end(replay, State.ABANDONED, None)

    def look(self, table: str, selection: Selection) -> Replay | None:
        """The newest replay of a selection; None where there is none, or none is remembered."""
        return self._look(table, digest(selection))

    def unfinished(self, table: str) -> list[Replay]:
        """The replays of a table that somebody has begun and nobody has ended, the oldest first."""
        noted = self._get(_notes_id(table)).get("open", {}).get("SS", ())
        found = [replay for of in noted if (replay := self._look(table, of)) and replay.state is State.OPEN]
        return sorted(found, key=lambda replay: replay.replay_id)

    def _end(self, replay: Replay, state: State, counts: Counts | None) -> Replay:
        now = self._now()
        told = {":counts": json.dumps(counts.to_json())} if counts else {}
        found = self._update(
            _item_id(replay.table, replay.digest),
            "SET #state = :ended, #ended_at = :now, #expires_at = :expires_at" + (", #counts = :counts" if told else ""),
            "#replay_id = :id AND #state = :open",
            {
                ":id": replay.replay_id,
                ":open": State.OPEN,
                ":ended": state,
                ":now": now.isoformat(),
                ":expires_at": int((now + self._keep).timestamp()),
                **told,
            },
        )
        if found is not None:
            there = _replay(replay.table, replay.digest, found) if found else None
            # Ours, where the answer of an earlier try was lost.
            if there is None or (there.replay_id, there.state) != (replay.replay_id, state):
                words = f"{there.replay_id}, {there.state}" if there else "none"
                raise TransientError(
                    f"the table {replay.table!r}: expected the replay {replay.replay_id} to be open, found {words}: try again"
                )
        self._note(replay.table, replay.digest, "DELETE")
        return replace(replay, state=state, counts=counts)

    def _look(self, table: str, of: str) -> Replay | None:
        item = self._get(_item_id(table, of))
        return _replay(table, of, item) if item else None

    def _note(self, table: str, of: str, change: str) -> None:
        request = {
            "Key": {"id": {"S": _notes_id(table)}},
            "UpdateExpression": f"{change} #open :digest",
            "ExpressionAttributeNames": {"#open": "open"},
            "ExpressionAttributeValues": {":digest": {"SS": [of]}},
        }
        try:
            self._client.update_item(TableName=self._claims_table, **request)
        except Exception as error:
            raise classified(error, self._claims_table, "UpdateItem") from error

    def _update(self, id_: str, change: str, condition: str, values: Mapping[str, str | int]) -> Mapping[str, Any] | None:
        """None when the condition held; else the item that is there, empty without one."""
        names = set(_NAME.findall(f"{change} {condition}"))
        try:
            self._client.update_item(
                TableName=self._claims_table,
                Key={"id": {"S": id_}},
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in names},
                ExpressionAttributeValues={
                    name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)} for name, value in values.items()
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except Exception as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return (getattr(error, "response", None) or {}).get("Item", {})  # type: ignore[no-any-return]
            raise classified(error, self._claims_table, "UpdateItem") from error
        return None

    def _get(self, id_: str) -> Mapping[str, Any]:
        try:
            answer = self._client.get_item(TableName=self._claims_table, Key={"id": {"S": id_}}, ConsistentRead=True)
        except Exception as error:
            raise classified(error, self._claims_table, "GetItem") from error
        return answer.get("Item", {})  # type: ignore[no-any-return]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC).replace(microsecond=0)


def kept_form(table: str, selection: Selection) -> str:
    """A selection as it is kept with its replay.

    :raises DataError: it is too long for that
    """
    written = json.dumps(to_json(selection))
    if len(written) > MAX_SELECTION_BYTES:
        raise DataError(
            f"the table {table!r}: expected a selection of at most {MAX_SELECTION_BYTES:,} bytes, found {len(written):,}: put the keys "
            "into a list in S3"
        )
    return written


def _item_id(table: str, of: str) -> str:
    return f"replay#{table}#{of}"


def _notes_id(table: str) -> str:
    return f"replays#{table}"


def _replay(table: str, of: str, item: Mapping[str, Any]) -> Replay:
    try:
        counts = json.loads(item["counts"]["S"]) if "counts" in item else None
        return Replay(
            table=table,
            digest=of,
            replay_id=item["replay_id"]["S"],
            selection=from_json(json.loads(item["selection"]["S"])),
            state=State(item["state"]["S"]),
            created_at=datetime.fromisoformat(item["created_at"]["S"]),
            counts=Counts.from_json(counts) if counts is not None else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"the item {_item_id(table, of)} of the table of claims: expected a replay, found {sorted(item)}: was it written by hand?",
            reason=f"{type(error).__name__}: {error}",
        ) from error

"""Workers with a defect each: what a referee is there to find."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from local.faults.replay.items import MARKER, name_of
from local.faults.replay.worker import Order, Worker
from searchops.core.replay import run
from searchops.core.replay.calls import classified
from searchops.core.replay.identity import Replays
from searchops.core.replay.model import Counts, Key, Outcome, Touched, Units
from searchops.core.replay.run import Done, Job
from searchops.core.replay.select import Reader
from searchops.core.replay.touch import Touch
from searchops.core.replay.touched import TouchedPages

_prepare, _pages = Touch._prepare, Reader.pages
_MUCH_BYTES = 10_000
"""Of the log of the application: about 50 writes."""
_LATER_MARKER = re.compile(re.escape(" AND (attribute_not_exists(#marker) OR #marker >= :least AND #marker < :id)"))


def _with_condition(change: Any) -> None:
    def prepare(touch: Touch, facts: Any) -> dict[str, Any]:
        request = _prepare(touch, facts)
        condition = change(request["ConditionExpression"])
        assert condition != request["ConditionExpression"]
        words = f"{condition} {request['UpdateExpression']}"  # DynamoDB refuses names and values that are not used
        touch._values = {name: value for name, value in touch._values.items() if name in words}
        names = {name: value for name, value in request["ExpressionAttributeNames"].items() if name in words}
        return {**request, "ConditionExpression": condition, "ExpressionAttributeNames": names}

    Touch._prepare = prepare  # type: ignore[method-assign]


class TouchesWhatIsTouched(Worker):
    """Without looking at the marker."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        _with_condition(lambda condition: _LATER_MARKER.sub("", condition))


class _Dawdles(Worker):
    """The application writes much between the reading of a page and its touches."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)

        def pages(reader: Reader, part: str, cursor: Any = None) -> Any:
            for page in _pages(reader, part, cursor):
                self.read(page.keys)
                self._wait()
                yield page

        Reader.pages = pages  # type: ignore[method-assign]

    def read(self, keys: Sequence[Key]) -> None: ...

    def _wait(self) -> None:
        log = self.order.journal.with_name("writes.ndjson")
        end, enough = time.monotonic() + 30, log.stat().st_size + _MUCH_BYTES
        while log.stat().st_size < enough and time.monotonic() < end:
            time.sleep(0.01)


class TouchesWhatIsGone(_Dawdles):
    """Without looking whether the item is there, so that it makes items."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        _with_condition(lambda condition: re.sub(r"attribute_exists\(#pk\) AND ", "", condition))


class ReadsAndPuts(_Dawdles):
    """As the scripts do that are found on the web: what the application writes in between is lost."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._items: dict[str, Any] = {}

        def touch(self_: Touch, key: Any) -> Touched:
            found = self._items[name_of(key)]
            try:
                self_._client.put_item(TableName=self_._table, Item={**found, MARKER: {"S": self_.replay_id}})
            except Exception as error:
                raise classified(error, self_._table, "PutItem") from error
            number = found["revision"].get("N")
            return Touched(key, Outcome.TOUCHED, Units(table=1.0), int(number) if number else None)

        Touch.__call__ = touch  # type: ignore[method-assign]

    def read(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self._items[name_of(key)] = self.dynamodb.get_item(TableName=self.facts.name, Key=key, ConsistentRead=True).get(
                "Item", {**key, "revision": {"N": "0"}}
            )


class SkipsPages(Worker):
    """Of each part the second page is read and never touched."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)

        def pages(reader: Reader, part: str, cursor: Any = None) -> Any:
            for number, page in enumerate(_pages(reader, part, cursor)):
                yield replace(page, keys=()) if number == 1 else page

        Reader.pages = pages  # type: ignore[method-assign]


class ChecksOffBeforeItTouches(Worker):
    """A page that has been read counts as done, so that a kill loses its touches."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        turns = run._Run._turns

        def early(self: Any) -> Any:
            for part, page in turns(self):
                self._checkpoints.save(self._at[part].after(Counts(), page.cursor))
                yield part, page

        run._Run._turns = early  # type: ignore[method-assign]


class GoesOnWithWhatIsFinished(Worker):
    """A day that is replayed again gets the id that it had, and no item is touched."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)

        def finish(replays: Replays, replay: Any, counts: Any) -> Any:
            return replace(replay, counts=counts)

        Replays.finish = finish  # type: ignore[method-assign]


class CountsOneTooMany(Worker):
    def report(self, done: Done) -> None:
        counts = replace(done.counts, selected=done.counts.selected + 1, touched=done.counts.touched + 1)
        super().report(replace(done, counts=counts))


class ForgetsKeys(Worker):
    """Of each page the first key is not on the list."""

    def job(self) -> Job:
        def touched(replay_id: str) -> Any:
            return _Forgetful(TouchedPages(self.bucket, self.facts.name, replay_id))

        return replace(super().job(), touched=touched)


class _Forgetful:
    def __init__(self, store: TouchedPages) -> None:
        self._store = store

    def keep(self, part: str, page: int, entries: Sequence[Touched]) -> None:
        self._store.keep(part, page, entries[1:])

"""Stream records as Lambda hands them over, and items that change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from searchops.core.streams.records import StreamRecord, View, read_event

STREAM = "arn:aws:dynamodb:ap-northeast-1:123456789012:table/products/stream/2026-11-21T00:00:00.000"
CREATED = 1_795_219_200  # 2026-11-21


def sequence(number: int) -> str:
    """Sequence numbers of one length, as those of one shard and day have."""
    return str(62 * 10**20 + number)


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Texts and numbers in DynamoDB JSON."""
    return {
        name: {"N": str(value)} if isinstance(value, int | Decimal) else {"S": value} if isinstance(value, str) else value
        for name, value in values.items()
    }


def record(
    number: int = 1,
    new: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
    *,
    keys: tuple[str, ...] = ("pk",),
    view: View = View.NEW_AND_OLD_IMAGES,
) -> dict[str, Any]:
    """A change of an item; the images are plain values or DynamoDB JSON."""
    shown = new if new is not None else old if old is not None else {}
    name = "REMOVE" if new is None else "INSERT" if old is None else "MODIFY"
    images: dict[str, Any] = {}
    if new is not None and view in (View.NEW_IMAGE, View.NEW_AND_OLD_IMAGES):
        images["NewImage"] = typed(new)
    if old is not None and view in (View.OLD_IMAGE, View.NEW_AND_OLD_IMAGES):
        images["OldImage"] = typed(old)
    return {
        "eventID": f"event-{number}",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "ap-northeast-1",
        "dynamodb": {
            "ApproximateCreationDateTime": CREATED,
            "Keys": typed({key: shown[key] for key in keys if key in shown}),
            **images,
            "SequenceNumber": sequence(number),
            "SizeBytes": 26,
            "StreamViewType": view.value,
        },
        "eventSourceARN": STREAM,
    }


def batch(*records: Mapping[str, Any]) -> tuple[StreamRecord, ...]:
    return read_event({"Records": list(records)})


def read(*arguments: Any, **options: Any) -> StreamRecord:
    """One record."""
    return batch(record(*arguments, **options))[0]


class Items:
    """A table whose stream is written down: each change has the next sequence number, and a revision that only grows."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._items: dict[str, dict[str, Any]] = {}
        self._revisions: dict[str, int] = {}

    def put(self, key: str, **attributes: Any) -> None:
        # Beyond that of a delete, which is one more than the last.
        self._revisions[key] = self._revisions.get(key, 0) + 2
        new = {"pk": key, "revision": self._revisions[key], **attributes}
        self._add(new, self._items.get(key))
        self._items[key] = new

    def delete(self, key: str) -> None:
        if key in self._items:
            self._add(None, self._items.pop(key))

    def batch(self) -> tuple[StreamRecord, ...]:
        return batch(*self.records)

    def _add(self, new: Mapping[str, Any] | None, old: Mapping[str, Any] | None) -> None:
        self.records.append(record(len(self.records) + 1, new, old))


def cut(records: Iterable[StreamRecord], sizes: Iterable[int]) -> list[tuple[StreamRecord, ...]]:
    """The records in batches of these sizes, and of one record when there are no sizes left."""
    left, batches = list(records), []
    for size in sizes:
        if left:
            batches.append(tuple(left[:size]))
            del left[:size]
    return batches + [(one,) for one in left]

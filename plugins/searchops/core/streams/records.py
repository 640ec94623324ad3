"""The records of a DynamoDB stream as Lambda hands them to a function.

Sources: AWS Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB" (example event); DynamoDB API reference, Record and
StreamRecord.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from searchops.core.bulk.scheme import SEQUENCE_DIGITS
from searchops.core.errors import DataError

SOURCE = "aws:dynamodb"

Image = Mapping[str, Any]
"""An item, or its key, in DynamoDB JSON."""


class NoStreamEvent(DataError):
    """What invokes the function is no DynamoDB stream. No record of it can be named, so the invocation fails."""


class Change(StrEnum):
    INSERT = "INSERT"
    MODIFY = "MODIFY"
    REMOVE = "REMOVE"


class View(StrEnum):
    """What the records of a stream hold beside the keys; chosen when the stream is switched on, and never changed."""

    KEYS_ONLY = "KEYS_ONLY"
    NEW_IMAGE = "NEW_IMAGE"
    OLD_IMAGE = "OLD_IMAGE"
    NEW_AND_OLD_IMAGES = "NEW_AND_OLD_IMAGES"


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One change of one item.

    :param sequence: its sequence number, 21 to 40 digits. Later changes of an item have a greater *number*; as texts of different
        lengths they do not compare
    :param new: the item after the change; None where it is gone, or the view has none
    :param old: the item before it; None where it was not there, or the view has none
    :param stream: ARN
    :param created_at: when the change was made, in epoch seconds, cut to the second
    """

    sequence: str
    change: Change
    view: View
    keys: Image
    new: Image | None
    old: Image | None
    stream: str
    created_at: float
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def where(self) -> str:
        """Its place, for a person: the table and the sequence number."""
        return f"{self.stream.partition(':table/')[2].partition('/')[0] or self.stream}:{self.sequence}"

    @property
    def line(self) -> bytes:
        """The record as it came, as one line of JSON."""
        return json.dumps(self.raw, separators=(",", ":")).encode()  # ASCII, so that a lone surrogate is no matter


def read_event(event: Any) -> tuple[StreamRecord, ...]:
    """The records of an event, oldest first; none of an event without records.

    :raises NoStreamEvent: it is none of a DynamoDB stream; names what was found, without content
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        raise _unexpected(_described(event))
    return tuple(map(_record, records))


def _record(record: Any) -> StreamRecord:
    source = record.get("eventSource", record.get("EventSource")) if isinstance(record, Mapping) else None
    if source != SOURCE:
        raise _unexpected(f"a record of {source}" if isinstance(source, str) else "a record without eventSource")
    change = record.get("dynamodb")
    if not isinstance(change, Mapping):
        raise _unexpected("a record without its part dynamodb")
    sequence, keys, created = change.get("SequenceNumber"), change.get("Keys"), change.get("ApproximateCreationDateTime")
    if not isinstance(sequence, str) or not _is_sequence(sequence):
        raise _unexpected(f"a record whose SequenceNumber is not 1 to {SEQUENCE_DIGITS} digits")
    try:
        return StreamRecord(
            sequence=sequence,
            change=Change(str(record.get("eventName"))),
            view=View(str(change.get("StreamViewType"))),
            keys=keys if isinstance(keys, Mapping) else {},
            new=change.get("NewImage"),
            old=change.get("OldImage"),
            stream=str(record.get("eventSourceARN", "")),
            created_at=float(created) if isinstance(created, int | float) else 0.0,
            raw=record,
        )
    except ValueError as error:  # of an enum: names the value
        raise _unexpected(f"a record with {error}") from None


def _is_sequence(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= SEQUENCE_DIGITS


def _unexpected(found: str) -> NoStreamEvent:
    return NoStreamEvent(
        f"expected an event of a DynamoDB stream (Records of {SOURCE}), found {found}: check what invokes the function; it goes with an "
        "event source mapping of a table's stream"
    )


def _described(event: Any) -> str:
    return f"the keys {sorted(map(str, event))[:10]}" if isinstance(event, Mapping) else f"a {type(event).__name__}"

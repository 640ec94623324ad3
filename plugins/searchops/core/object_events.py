"""Read what S3 tells of its objects: directly, or through EventBridge, SNS, SQS, and the two before through SQS.

Sources: Amazon S3 user guide, "Event message structure" and "EventBridge event message structure"; AWS Lambda developer guide, "Using
Lambda with Amazon SQS", "Using Lambda with Amazon SNS".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus

from searchops.core.errors import DataError

SEQUENCER_DIGITS = 64
_HEXADECIMAL = re.compile(rf"[0-9A-Fa-f]{{1,{SEQUENCER_DIGITS}}}")
_NULL_VERSION = "null"  # of an object that was written while its bucket's versioning was off: the next such write has the same


class Change(StrEnum):
    """``VERSION_REMOVED``: one version, or a delete marker, is gone for good, which need not be the newest of its object."""

    CREATED = "created"
    REMOVED = "removed"
    VERSION_REMOVED = "version-removed"


_PERMANENT = {"Delete", "Permanently Deleted"}  # what comes after "ObjectRemoved:", and EventBridge's deletion-type
# Other events, of tags or access lists, bear no sequencer.
_CHANGES = {
    "ObjectCreated": Change.CREATED,
    "ObjectRemoved": Change.REMOVED,
    "LifecycleExpiration": Change.REMOVED,
    "Object Created": Change.CREATED,
    "Object Deleted": Change.REMOVED,
}


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One change of one object. The same change told twice, or through another service, is an equal value.

    ``sequencer``: greater is later, for events of the same bucket and key; see `padded`. ``version_id`` is None in a bucket without
    versions. ``etag`` and ``size`` are None for a removal.
    """

    bucket: str
    key: str
    change: Change
    sequencer: str
    version_id: str | None = None
    etag: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a queue: what it told, or why it could not be read."""

    id: str
    events: tuple[ObjectEvent, ...] = ()
    error: DataError | None = None


def read(event: Any) -> tuple[ObjectEvent, ...]:
    """The changes that an invocation or the body of a message tells; none for the event by which S3 tests a configuration.

    :raises DataError: it is not from S3, or a change cannot be told from it; names what was found, without content
    """
    if not isinstance(event, Mapping):
        raise _not_from_s3(f"a {type(event).__name__}")
    if event.get("Event") == "s3:TestEvent":
        return ()
    if event.get("Type") == "Notification":
        return read(_from_json(event.get("Message"), "the Message of an SNS notification"))
    if event.get("source") == "aws.s3":
        return (_from_eventbridge(event),)
    if records := _records(event, "aws:s3"):
        return tuple(map(_from_notification, records))
    if records := _records(event, "aws:sns"):
        return tuple(change for record in records for change in _from_sns(record))
    raise _not_from_s3(_described(event))


def is_batch(event: Any) -> bool:
    """Whether Lambda read the event from an SQS queue."""
    return isinstance(event, Mapping) and bool(_records(event, "aws:sqs"))


def messages(batch: Mapping[str, Any]) -> list[Message]:
    """The messages of a batch, each read by itself: one that cannot be read does not hold up its neighbours."""
    return [_message(record) for record in batch["Records"]]


def padded(sequencer: str | None) -> str:
    """A sequencer in the form in which two can be compared as texts: upper case, zeros added on the right.

    :raises DataError: not 1 to 64 hexadecimal digits
    """
    if not isinstance(sequencer, str) or not _HEXADECIMAL.fullmatch(sequencer):
        raise DataError(f"sequencer: expected 1 to {SEQUENCER_DIGITS} hexadecimal digits, found {_type(sequencer)}")
    return sequencer.upper().ljust(SEQUENCER_DIGITS, "0")


def _message(record: Mapping[str, Any]) -> Message:
    id_ = str(record.get("messageId", ""))
    try:
        return Message(id_, read(_from_json(record.get("body"), "the body of an SQS message")))
    except DataError as error:
        return Message(id_, error=error)


def _from_sns(record: Mapping[str, Any]) -> tuple[ObjectEvent, ...]:
    notification = record.get("Sns")
    message = notification.get("Message") if isinstance(notification, Mapping) else None
    return read(_from_json(message, "the Message of an SNS record"))


def _from_notification(record: Mapping[str, Any]) -> ObjectEvent:
    try:
        name, bucket, object_ = record["eventName"], record["s3"]["bucket"]["name"], record["s3"]["object"]
        key = unquote_plus(object_["key"], errors="strict")
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise _incomplete("a record of an S3 notification", error) from None
    kind, _, detail = name.removeprefix("s3:").partition(":") if isinstance(name, str) else (name, "", "")
    return _event(kind, detail, bucket, key, object_, etag="eTag", version="versionId")


def _from_eventbridge(event: Mapping[str, Any]) -> ObjectEvent:
    try:
        kind, bucket, object_ = event["detail-type"], event["detail"]["bucket"]["name"], event["detail"]["object"]
        key = object_["key"]  # not URL-encoded, unlike that of a notification
    except (KeyError, TypeError) as error:
        raise _incomplete("an EventBridge event of S3", error) from None
    return _event(kind, event["detail"].get("deletion-type"), bucket, key, object_, etag="etag", version="version-id")


def _event(
    kind: Any, deletion: Any, bucket: Any, key: Any, object_: Mapping[str, Any], *, etag: str, version: str
) -> ObjectEvent:
    change = _CHANGES.get(kind) if isinstance(kind, str) else None
    if change is None:
        raise DataError(
            f"expected an event of an object that was created or removed, found {kind!r}: narrow the notification to these"
        )
    version_id, tag, size = object_.get(version), object_.get(etag), object_.get("size")
    for name, value in (("bucket", bucket), ("key", key), (version, version_id), (etag, tag)):
        if not isinstance(value, str) and (value is not None or name in ("bucket", "key")):
            raise DataError(f"an S3 event: {name}: expected a text, found {_type(value)}")
    if not bucket or not key:
        raise DataError("an S3 event: expected a bucket and a key, found an empty text")
    sequencer = padded(object_.get("sequencer"))
    if change is Change.REMOVED and version_id and isinstance(deletion, str) and deletion in _PERMANENT:
        change = Change.VERSION_REMOVED
    version_id = None if version_id in (None, "", _NULL_VERSION) else version_id
    if change is not Change.CREATED:  # what is told of its content differs by the way
        return ObjectEvent(bucket, key, change, sequencer, version_id)
    if tag is None:
        raise DataError(f"an S3 event: {etag}: expected the tag of the created object, found none")
    return ObjectEvent(bucket, key, change, sequencer, version_id, tag.strip('"'), size if isinstance(size, int) else None)


def _from_json(text: Any, where: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise DataError(f"{where}: expected JSON, found {_type(text)} that is none") from None


def _records(event: Mapping[str, Any], source: str) -> list[Any]:
    """The records of an event, where all are from that source; none otherwise."""
    records = event.get("Records")
    return records if isinstance(records, list) and all(_source(record) == source for record in records) else []


def _source(record: Any) -> Any:
    """SNS writes the name with a capital letter."""
    return record.get("eventSource", record.get("EventSource")) if isinstance(record, Mapping) else None


def _not_from_s3(found: str) -> DataError:
    return DataError(
        "expected an S3 notification or an EventBridge event of the source aws.s3, directly or through SNS or SQS, "
        f"found {found}: check what invokes the function"
    )


def _described(event: Mapping[str, Any]) -> str:
    records = event.get("Records")
    sources = {str(_source(record)) for record in records} if isinstance(records, list) else set()
    if sources:
        return f"records of {', '.join(sorted(sources))}"
    return (
        f"an event of {event['source']}" if isinstance(event.get("source"), str) else f"the keys {sorted(map(str, event))[:10]}"
    )


def _incomplete(what: str, error: Exception) -> DataError:
    return DataError(f"{what}: expected the bucket and the key of an object, found one that is not complete ({error!r})"[:300])


def _type(value: Any) -> str:
    return "none" if value is None else f"a {type(value).__name__}"

"""What becomes of records: the bulk request, the reading of its answer, the objects in S3. Nothing here has an effect."""

from __future__ import annotations

import base64
import gzip
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from local.simulators.firehose.settings import MIB, Settings

MAX_BULK_BYTES = 5 * MIB
MALFORMED = "ES.MalformedData"
_MALFORMED_MESSAGE = (
    "One or more records are malformed. Please ensure that each record is single valid JSON object "
    "and that it does not contain newlines."
)
_ROTATION = {"OneHour": "-%Y-%m-%d-%H", "OneDay": "-%Y-%m-%d", "OneWeek": "-%G-w%V", "OneMonth": "-%Y-%m"}
_JAVA_TIME = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


@dataclass(frozen=True, slots=True)
class Record:
    """A record that a stream has taken; ``arrival`` in epoch seconds, ``again``: how many more deliveries a test has ordered."""

    id: str
    data: bytes
    arrival: float
    again: int = 0
    attempts: int = 0

    def attempted(self) -> Record:
        return replace(self, attempts=self.attempts + 1)


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how a stream delivers: what is left of the destination's description."""

    stream: str
    version: str
    index: str
    rotation: str
    own_ids: bool
    buffer_bytes: int
    buffer_seconds: float
    retry_seconds: float
    bucket: str
    prefix: str
    error_prefix: str | None
    gzip: bool
    all_documents: bool

    @classmethod
    def of(cls, stream: str, version: str, destination: Mapping[str, Any]) -> Target:
        s3 = destination["S3DestinationDescription"]
        return cls(
            stream=stream,
            version=version,
            index=destination["IndexName"],
            rotation=destination["IndexRotationPeriod"],
            own_ids=destination["DocumentIdOptions"]["DefaultDocumentIdFormat"] == "FIREHOSE_DEFAULT",
            buffer_bytes=destination["BufferingHints"]["SizeInMBs"] * MIB,
            buffer_seconds=destination["BufferingHints"]["IntervalInSeconds"],
            retry_seconds=destination["RetryOptions"]["DurationInSeconds"],
            bucket=s3["BucketARN"].rpartition(":")[2],
            prefix=s3.get("Prefix", ""),
            error_prefix=s3.get("ErrorOutputPrefix"),
            gzip=s3["CompressionFormat"] == "GZIP",
            all_documents=destination["S3BackupMode"] == "AllDocuments",
        )

    def index_of(self, record: Record) -> str:
        """The index of a record, of the UTC time of its arrival when the index rotates."""
        if self.rotation == "NoRotation":
            return self.index
        return self.index + datetime.fromtimestamp(record.arrival, UTC).strftime(_ROTATION[self.rotation])


class End(Enum):
    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt did to a record; ``code`` and ``message`` as S3 gets them."""

    end: End
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the node said to a bulk request; ``status`` 0 when it said nothing that can be used."""

    status: int
    body: bytes = b""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class S3Object:
    bucket: str
    key: str
    body: bytes
    records: int


def is_single_json_object(data: bytes) -> bool:
    """Tell whether a record is what the destination wants: UTF-8, one flattened JSON object on one line (guide, "Data delivery format").

    A newline at the very end is allowed.
    """
    line = data[:-1] if data.endswith(b"\n") else data
    if b"\n" in line or b"\r" in line:
        return False
    try:
        return isinstance(json.loads(line, parse_constant=_refuse), dict)
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> None:
    """NaN and the infinities, which Python's parser would let pass."""
    raise ValueError(constant)


def malformed(record: Record) -> Outcome | None:
    return None if is_single_json_object(record.data) else Outcome(End.FAILED, MALFORMED, _MALFORMED_MESSAGE)


def bulk_requests(records: Sequence[Record], target: Target) -> Iterator[tuple[list[Record], bytes]]:
    """The bulk bodies of a batch, each with its records."""
    part: list[Record] = []
    lines: list[bytes] = []
    size = 0
    for record in records:
        action = {"_index": target.index_of(record)} | ({"_id": record.id} if target.own_ids else {})
        entry = b'{"index":%b}\n%b\n' % (json.dumps(action).encode(), record.data.rstrip(b"\n"))
        if part and size + len(entry) > MAX_BULK_BYTES:
            yield part, b"".join(lines)
            part, lines, size = [], [], 0
        part.append(record)
        lines.append(entry)
        size += len(entry)
    if part:
        yield part, b"".join(lines)


def outcomes(answer: Answer, count: int, conflict: str) -> list[Outcome]:
    """The end of each of ``count`` records. An answer that is no whole answer says nothing: all are sent again."""
    if answer.status != 200:
        code = str(answer.status) if answer.status else "ES.ServiceException"
        return [Outcome(End.RETRY, code, answer.reason or answer.body[:1000].decode(errors="replace"))] * count
    try:
        items = [item["index"] for item in json.loads(answer.body)["items"]]
    except (ValueError, KeyError, TypeError) as error:
        return [Outcome(End.RETRY, "ES.ServiceException", f"an answer that cannot be read: {error!r}")] * count
    if len(items) != count:
        return [Outcome(End.RETRY, "ES.ServiceException", f"{len(items)} answers to {count} documents")] * count
    return [_outcome(item, conflict) for item in items]


def _outcome(item: Mapping[str, Any], conflict: str) -> Outcome:
    status = item["status"]
    if status < 300 or (status == 409 and conflict == "delivered"):
        return Outcome(End.DELIVERED)
    again = status == 429 or status >= 500 or (status == 409 and conflict == "retry")
    return Outcome(End.RETRY if again else End.FAILED, str(status), json.dumps(item.get("error", {}), ensure_ascii=False))


def failure_object(failed: Sequence[tuple[Record, Outcome]], target: Target, now: float, settings: Settings) -> S3Object:
    """What failed, as JSON lines (guide, "Handle data delivery failures", Amazon OpenSearch Service)."""
    lines = [
        {
            "attemptsMade": record.attempts,
            "arrivalTimestamp": int(record.arrival * 1000),
            "errorCode": outcome.code,
            "errorMessage": outcome.message,
            "attemptEndingTimestamp": int(now * 1000),
            "rawData": base64.b64encode(record.data).decode(),
            **({"esDocumentId": record.id} if target.own_ids else {}),
            "esIndexName": target.index_of(record),
            "esTypeName": "",
        }
        for record, outcome in failed
    ]
    body = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    return _object(target, failure_prefix(target, now, settings.failure_folder), now, body, len(failed))


def backup_object(records: Sequence[Record], target: Target, now: float) -> S3Object:
    """All documents as they came, one behind the other: nothing is put between them."""
    return _object(target, dated(target.prefix, now), now, b"".join(record.data for record in records), len(records))


def failure_prefix(target: Target, now: float, folder: str) -> str:
    prefix = target.prefix if target.error_prefix is None else target.error_prefix
    expression = "!{firehose:error-output-type}"
    return dated(prefix.replace(expression, folder) if expression in prefix else f"{prefix}{folder}/", now)


def dated(prefix: str, now: float) -> str:
    """A prefix with its ``!{timestamp:…}`` expressions evaluated; one without gets YYYY/MM/dd/HH/ behind it."""
    moment = datetime.fromtimestamp(now, UTC)

    def evaluated(match: re.Match[str]) -> str:
        pattern = match[1]
        for java, python in _JAVA_TIME.items():
            pattern = pattern.replace(java, python)
        return moment.strftime(pattern.replace("'", ""))

    found, expressions = re.subn(r"!\{timestamp:([^}]*)\}", evaluated, prefix)
    return found if expressions else f"{prefix}{moment:%Y/%m/%d/%H/}"


def _object(
    target: Target, prefix: str, now: float, body: bytes, records: int, new_id: Callable[[], uuid.UUID] = uuid.uuid4
) -> S3Object:
    moment = datetime.fromtimestamp(now, UTC)
    key = f"{prefix}{target.stream}-{target.version}-{moment:%Y-%m-%d-%H-%M-%S}-{new_id()}{'.gz' if target.gzip else ''}"
    return S3Object(target.bucket, key, gzip.compress(body, 1) if target.gzip else body, records)

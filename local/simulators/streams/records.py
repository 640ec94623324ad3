"""A stream record as a handler sees it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.simulators.streams.filters import passes

FEWEST_DIGITS, MOST_DIGITS = 22, 28
LOCAL_DIGITS = 21
_MINUTE = 60.0
_TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    :param local: DynamoDB Local's sequence number, by which the stream is read
    :param sequence: the one that everybody else sees
    :param key: of the item; records of one key are never in two places at once
    :param created: when it was made, in epoch seconds, as exactly as can be known
    :param text: JSON
    :param wanted: it passes the mapping's filters
    """

    local: str
    sequence: str
    key: str
    created: float
    read: float
    text: str
    wanted: bool = True

    @property
    def size(self) -> int:
        """Of its JSON, in bytes; texts that are not ASCII count as three each character."""
        return len(self.text) if self.text.isascii() else 3 * len(self.text)


def aws_sequence(local: str) -> str:
    """Give a sequence number of DynamoDB Local the looks of AWS's, in the same order.

    The numbers get longer as they grow, so that whoever compares them as text, or as 64-bit numbers, is found out.
    """
    number = int(local)
    digits = min(FEWEST_DIGITS + len(str(number)) - 1, MOST_DIGITS)
    return str(62 * 10 ** (digits - 2) + number)


def local_sequence(sequence: str) -> str:
    """The number of DynamoDB Local behind one that `aws_sequence` made."""
    return str(int(sequence) - 62 * 10 ** (len(sequence) - 2)).zfill(LOCAL_DIGITS)


def read_record(found: Mapping[str, Any], stream: str, region: str, now: float, filters: tuple[str, ...] = ()) -> Record:
    """Make a record of what GetRecords gave at ``now``."""
    change = dict(found["dynamodb"])
    minute = change["ApproximateCreationDateTime"].timestamp()
    local = change["SequenceNumber"]
    change |= {"SequenceNumber": aws_sequence(local), "ApproximateCreationDateTime": int(minute)}
    seen = {
        "eventID": found["eventID"],
        "eventName": found["eventName"],
        "eventVersion": found["eventVersion"],
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": plain(change),
        "eventSourceARN": stream,
        **_identity(found),
    }
    if seen["eventName"] not in ("INSERT", "MODIFY", "REMOVE"):
        seen |= {"eventName": "REMOVE", "userIdentity": _TTL}
    return Record(
        local=local,
        sequence=change["SequenceNumber"],
        key=json.dumps(plain(change["Keys"]), sort_keys=True),
        created=min(max(now, minute), minute + _MINUTE),
        read=now,
        text=json.dumps(seen, ensure_ascii=False),
        wanted=passes(seen, filters),
    )


def _identity(found: Mapping[str, Any]) -> dict[str, Any]:
    identity = found.get("userIdentity")
    return {"userIdentity": {"type": identity["Type"], "principalId": identity["PrincipalId"]}} if identity else {}


def plain(value: Any) -> Any:
    """Put bytes into base64, as an event has them."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: plain(child) for name, child in value.items()}
    return [plain(child) for child in value] if isinstance(value, list) else value

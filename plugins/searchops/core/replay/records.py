"""Tell the stream records that a replay has made from those of the application.

For consumers that do more than index: send a mail, count, publish. What they do for a change they may not want to do again for a touch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MARKER = "searchops_replay"
"""The attribute that a touch sets, unless the table's entry in the inventory says otherwise."""
REPLAY_ID_DIGITS = 20
REPLAY_ID = re.compile(rf"[0-9]{{{REPLAY_ID_DIGITS}}}(?:\.[0-9]{{2}})?", re.ASCII)
"""A replay's id, or that of a round in which it touches again what has not arrived: ``.01``, ``.02`` behind it (`arrivals.follow_up`)."""


def is_replay(record: Mapping[str, Any], marker: str = MARKER) -> bool | None:
    """Whether a stream record was made by a replay's touch: its marker has become another, later replay id.

    None: that can not be known. The record has no image of the item before (a stream of NEW_IMAGE), which may have borne the same marker:
    an application that changes a touched item leaves the marker where it is. Without images (KEYS_ONLY, OLD_IMAGE) nothing is known of
    any change.

    An application that writes a whole item which it has read earlier can put back a marker that another write has erased; such a write
    looks like a touch.

    :param record: as Lambda hands it over, or as GetRecords of the low-level client gives it
    """
    if record.get("eventName") != "MODIFY":  # a touch neither makes an item nor removes one
        return False
    images = record["dynamodb"]
    if (new := images.get("NewImage")) is None:
        return None
    after = replay_id(new, marker)
    if after is None:
        return False
    if (old := images.get("OldImage")) is None:
        return None
    return after > (replay_id(old, marker) or "")


def replay_id(item: Mapping[str, Any], marker: str = MARKER) -> str | None:
    """The id of the last replay that touched an item; None where none has, or where the marker is no replay id.

    As texts the later one is the greater: ids have one length, and those of rounds are between their replay's and the next one's.

    :param item: in DynamoDB JSON
    """
    value = item.get(marker)
    text = value.get("S") if isinstance(value, Mapping) else None
    return text if isinstance(text, str) and REPLAY_ID.fullmatch(text) else None

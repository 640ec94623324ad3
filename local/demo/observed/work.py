"""Work that can be watched and held: around the function's own work, which the zip holds as ``checked.py``.

In the bucket that OBSERVATIONS names an object ``runs/<key>/<uuid>`` is left for each run. ``broken/<key>`` holds the number of runs
that fail before the work; while there is a ``held/<key>`` a run waits after the work, before it ends.
"""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

import checked
from botocore.exceptions import ClientError

from searchops.core.idempotency.guard import Claim
from searchops.core.object_events import ObjectEvent

BUCKET = os.environ["OBSERVATIONS"]


def work(event: ObjectEvent, claim: Claim) -> dict[str, Any]:
    s3 = checked.s3()
    s3.put_object(Bucket=BUCKET, Key=f"runs/{event.key}/{uuid.uuid4()}")
    runs = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"runs/{event.key}/")["KeyCount"]
    if runs <= int(_read(f"broken/{event.key}") or 0):
        raise ConnectionError("something that the work needs does not answer")
    result = checked.work(event, claim)
    while _read(f"held/{event.key}") is not None:
        time.sleep(0.05)
    return {**result, "pid": os.getpid(), "fence": claim.fence}


def _read(key: str) -> bytes | None:
    try:
        content: bytes = checked.s3().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    return content

"""The Lambda function: an S3 event comes in, perhaps twice, and is worked on once.

Handler: ``handler.handler``. What it does with an object is in ``work.py``. Settings are environment variables:

==========================  ==============================================================================================
SEARCHOPS_CLAIMS_TABLE      the table that the DAG searchops_setup makes; default ``searchops-claims``
SEARCHOPS_NAMESPACE         keeps this function's claims apart from others'; default ``object-once``
SEARCHOPS_KEEP_DAYS         how long results are remembered; default 15, longer than a queue of failed events can keep one (14)
SEARCHOPS_IN_PROGRESS       answer to an event that another invocation works on: ``success`` (default) or ``retry``, which a
                            function needs that Lambda tries again (retries 1 or 2). A message of a queue always comes again
SEARCHOPS_ON_DATA_ERROR     answer to an event whose data is refused: ``success`` (default) or ``failure``, which brings it to
                            the on-failure destination: the way back for a person who mends the cause
SEARCHOPS_CHECKS_BUCKET     where ``work.py`` records what it found; default the object's own bucket
==========================  ==============================================================================================

The function's role needs dynamodb:UpdateItem on the table, and what ``work.py`` does with S3.
"""

from __future__ import annotations

import functools
import logging
import os
from datetime import timedelta
from typing import Any

import boto3
import work

from searchops.core.errors import DataError
from searchops.core.idempotency.guard import Guard, lambda_lease
from searchops.core.idempotency.objects import ObjectOnce, Sequencers

logging.getLogger().setLevel(logging.INFO)


@functools.cache
def _once() -> ObjectOnce:
    """Made at the first invocation and kept, as its clients and its block of fences are."""
    setting = os.environ.get
    client = boto3.client("dynamodb")
    place: dict[str, Any] = {
        "table": setting("SEARCHOPS_CLAIMS_TABLE", "searchops-claims"),
        "namespace": setting("SEARCHOPS_NAMESPACE", "object-once"),
        "keep": timedelta(days=_days("SEARCHOPS_KEEP_DAYS", "15")),
    }
    return ObjectOnce(
        Guard(client, **place),
        Sequencers(client, **place),
        work.work,
        in_progress=setting("SEARCHOPS_IN_PROGRESS", "success"),  # type: ignore[arg-type]  # ObjectOnce looks at the value
        on_data_error=setting("SEARCHOPS_ON_DATA_ERROR", "success"),  # type: ignore[arg-type]
    )


def _days(name: str, default: str) -> float:
    text = os.environ.get(name, default)
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{name}: expected a number of days, found {text!r}") from None


def handler(event: Any, context: Any) -> dict[str, Any]:
    return _once()(event, lambda: lambda_lease(context))

"""Promise 11 in one object: errors of data are not retried, transient ones are."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from searchops.core.errors import DataError, TransientError


def retry_policy(transient_delay: timedelta) -> ExceptionRetryPolicy:
    """Any other error is left to the task's own ``retries`` and ``retry_delay``; ``retries`` bounds the transient ones too."""
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=DataError, action=RetryAction.FAIL, reason="stays wrong however often it is tried"),
            RetryRule(exception=TransientError, retry_delay=transient_delay, reason="may pass"),
        ]
    )


RETRY_DELAY = timedelta(seconds=float(os.environ.get("SEARCHOPS_RETRY_SECONDS", "30")))
RETRY_POLICY = retry_policy(RETRY_DELAY)
"""For every task of ours. ``SEARCHOPS_RETRY_SECONDS`` sets the wait before a transient error is tried again; 30 by default."""

"""Promise 11 in one object: errors of data are not retried, transient ones are, ever more slowly."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryDecision, RetryRule

from searchops.core.errors import DataError, TransientError

LONGEST = 10
"""The longest wait before another try, in first waits."""


class GrowingRetryPolicy(ExceptionRetryPolicy):
    """The delay of a rule is that before the second try; it doubles with each further one, to at most ten times as much.

    A task's own ``retry_exponential_backoff`` would not do: Airflow takes a rule's delay as it is.
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        decision = super().evaluate(exception, try_number, max_tries, context)
        if decision.retry_delay is None:
            return decision
        # A task that was cleared often has a high number.
        return replace(decision, retry_delay=decision.retry_delay * min(LONGEST, 2 ** (try_number - 1)))


def retry_policy(transient_delay: timedelta) -> GrowingRetryPolicy:
    """Any other error is left to the task's own ``retries`` and ``retry_delay``; ``retries`` bounds the transient ones too."""
    return GrowingRetryPolicy(
        rules=[
            RetryRule(exception=DataError, action=RetryAction.FAIL, reason="stays wrong however often it is tried"),
            RetryRule(exception=TransientError, retry_delay=transient_delay, reason="may pass"),
        ]
    )


RETRY_DELAY = timedelta(seconds=float(os.environ.get("SEARCHOPS_RETRY_SECONDS", "30")))
RETRY_POLICY = retry_policy(RETRY_DELAY)
"""For every task of ours. ``SEARCHOPS_RETRY_SECONDS`` sets the first wait before a transient error is tried again; 30 by default."""

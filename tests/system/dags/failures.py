"""DAGs that fail in the ways that a person has to hear of, each told by the notifier of the repository's DAGs."""

from __future__ import annotations

import os
import signal

from airflow.sdk import dag, get_current_context, task

from searchops.core.errors import DataError
from searchops.notifications.slack import FailureNotifier
from searchops.reporting import reporting

BUCKET = "example-searchops"
TOLD = FailureNotifier(bucket=BUCKET)


def s3() -> object:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    return AwsBaseHook(client_type="s3").conn


@dag(schedule=None, on_failure_callback=TOLD)
def process_dies() -> None:
    @task(retries=0)
    def killed() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    killed()


@dag(schedule=None, on_failure_callback=TOLD)
def worker_dies() -> None:
    @task(retries=0)
    def killed() -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    killed()


@dag(schedule=None, on_failure_callback=TOLD)
def twelve_fail() -> None:
    @task(retries=0)
    def fails(number: int) -> None:
        with reporting(get_current_context(), s3, BUCKET):
            raise DataError(f"number {number} is wrong", reason="it was made so")

    fails.expand(number=list(range(12)))


process_dies()
worker_dies()
twelve_fail()

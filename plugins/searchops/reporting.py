"""Leave in S3 what a failing task has to say, for people and for the notifier."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


@contextmanager
def reporting(context: Context, s3: Callable[[], Any], bucket: str, *, facts: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Write ``reports/<dag>/<run>/<task>.json`` for the error with which the task ends, and let the error pass on.

    A bucket that can not be written never hides the error.

    :param facts: what a person has to know of the task beside what the error tells
    """
    try:
        yield
    except Exception as error:
        from searchops.core.report import Report, ReportStore

        report = Report.failure(error, **_task(context))
        report = replace(report, facts={**report.facts, **(facts or {})})
        try:
            ReportStore(s3(), bucket).write(report)
        except Exception:
            log.exception("The report of this failure could not be written to s3://%s/%s", bucket, report.key)
        raise


def report_done(context: Context, s3: Callable[[], Any], bucket: str, title: str, facts: Mapping[str, Any]) -> None:
    """Write the same object for a task that has done its work and has something to say.

    Work that is done stays done: a bucket that can not be written is told in the log alone.
    """
    from searchops.core.report import SUCCEEDED, Report, ReportStore

    report = Report(outcome=SUCCEEDED, title=title, facts=facts, **_task(context))
    try:
        ReportStore(s3(), bucket).write(report)
    except Exception:
        log.exception("What this task has done could not be written to s3://%s/%s", bucket, report.key)


def _task(context: Context) -> dict[str, Any]:
    ti: Any = context["ti"]
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": -1 if ti.map_index is None else ti.map_index,
        "try_number": ti.try_number,
    }

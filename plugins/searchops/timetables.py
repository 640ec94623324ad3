"""Schedules of DAGs that the scheduler never runs by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.timetables.interval import CronDataIntervalTimetable

if TYPE_CHECKING:
    from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction


class BackfillOnlyTimetable(CronDataIntervalTimetable):
    """The intervals of a cron expression, for backfills alone: nothing is scheduled. For DAGs with ``catchup=False``.

    An end date in the past would do as much, and silently take every task out of a run that is triggered for a later logical date, which is
    what the form of the UI asks for: the run is a success at once, and nothing was done (Airflow 3.3, `DagRun.verify_integrity`).
    """

    @property
    def summary(self) -> str:
        return f"backfill only, {super().summary}"

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        # The scheduler asks with the DAG's own catchup, a backfill always with it.
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(last_automated_data_interval=last_automated_data_interval, restriction=restriction)

"""What Airflow loads as a plugin: the timetables. It finds the package searchops by plugins/ being on sys.path."""

from __future__ import annotations

from airflow.sdk.plugins_manager import AirflowPlugin

from searchops.timetables import BackfillOnlyTimetable


class SearchopsPlugin(AirflowPlugin):
    name = "searchops"
    timetables = [BackfillOnlyTimetable]  # noqa: RUF012 - Airflow's own declaration

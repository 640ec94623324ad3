"""What Airflow loads as a plugin. It finds the package searchops by plugins/ being on sys.path; there is nothing to register."""

from __future__ import annotations

from airflow.sdk.plugins_manager import AirflowPlugin


class SearchopsPlugin(AirflowPlugin):
    name = "searchops"

"""
### Send the items of a day through their stream again

One DAG for each table of the inventory that has a `date_index`. Press **Backfill** on its page and choose a range of dates: one run for each
day touches every item of that day, so that DynamoDB Streams sends it to its consumers again. Nothing is scheduled.

- **Which day**: that on which a run's data interval begins, in the time zone of the table's `date_index`. Give the range in that time zone
  (in the UI: switch the time zone in the user menu): from 00:00 of the first day to 00:00 of the last one, which is included.
- **A day once more**: choose *All Runs* under *Reprocess Behavior*. *Missing Runs* takes days that have no run yet, *Missing and Errored Runs*
  also those whose run has failed; such a run goes on where it was, or, when all was touched, replays the day again.
- **Today**, or days that are not in a row: trigger a run and name them (`days`, or `first_day` and `last_day`). A backfill takes past days only.
- **Dry run**: `dry_run` shows items, bytes, capacity units, duration, cost and what the consumers will see; nothing is written. In a backfill:
  tick *Override parameters on existing runs*. A run keeps its parameters: after a dry run the same days need *All Runs* **and** the parameter
  given again.

A run that is killed or cleared goes on with the same replay; `abandon` gives one up that is not to be gone on with. Two runs of one table
wait for each other: a Pool has one slot a table. See docs/stream_replay.md.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from searchops.dags import dag_for, entries, told
from searchops.inventory import Table
from searchops.notifications.slack import FailureNotifier
from searchops.task_groups.replay import ARGUMENTS, MEND, PARAMS, stream_replay
from searchops.timetables import BackfillOnlyTimetable

DAY = {"format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
FORM = {
    "days": Param(
        [],
        type="array",
        items={"type": "string", **DAY},
        description="Days to replay, one a line, e.g. 2026-11-21, in the time zone of the table. Not for a backfill: its runs have a day each.",
    ),
    "first_day": Param(None, type=["null", "string"], description="Or the first day of a range.", **DAY),
    "last_day": Param(None, type=["null", "string"], description="The last day of the range, which is included.", **DAY),
    **PARAMS,
    "dry_run": Param(
        False,
        type="boolean",
        description="Count and tell what a replay would do and cost; nothing is written. Reading costs read units.",
    ),
}
DATA_INTERVAL = "{{ dag_run.data_interval_start.isoformat() if dag_run.run_type.value == 'backfill' else '' }}"


def from_entry(table: Table) -> dict[str, Any]:
    zone = table.date_index.timezone if table.date_index else "UTC"
    return {
        "schedule": BackfillOnlyTimetable("@daily", timezone=zone),
        "on_failure_callback": FailureNotifier(**told(table.written_index or table.home), mend=MEND),
        "params": FORM,
        "doc_md": f"{__doc__}\n**This table**: `{table.table}`, days in `{zone}`, at most {table.replay.wcu_per_second:g} write units a "
        "second.\n",
    }


for name, entry in entries("tables").items():
    if isinstance(entry, Table) and entry.date_index is None:
        continue

    @dag_for(
        entry,
        dag_id=f"stream_replay_{name}",
        from_entry=from_entry,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags={"replay"},
    )
    def replay_days(table: Table) -> None:
        stream_replay(
            table,
            {
                "interval_start": DATA_INTERVAL,
                "days": "{{ params.days | tojson }}",
                "first_day": "{{ params.first_day or '' }}",
                "last_day": "{{ params.last_day or '' }}",
                "filter": "{{ params.filter | tojson }}",
            },
            **ARGUMENTS,
        )

"""A program: what Airflow makes of `stream_replay_products` in a database of its own, without a scheduler; JSON to standard output.

Its home, with an empty database, is in the environment. Runs are ended by hand, as if all their tasks had.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models import DagModel, DagRun
from airflow.models.backfill import Backfill, ReprocessBehavior, _create_backfill
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select

from local.cloud import ROOT

DAG_ID = "stream_replay_products"


def dag() -> dict[str, Any]:
    with create_session() as session:
        found = session.scalar(select(DagModel).where(DagModel.dag_id == DAG_ID))
        return {"is_paused": found.is_paused, "next": found.next_dagrun_create_after, "schedule": found.timetable_summary}


def runs() -> list[dict[str, Any]]:
    with create_session() as session:
        return [
            {
                "type": str(run.run_type),
                "state": str(run.state),
                "start": run.data_interval_start.isoformat(),
                "conf": run.conf,
                "tasks": sorted(task.task_id for task in run.get_task_instances(session=session)),
            }
            for run in session.scalars(select(DagRun).order_by(DagRun.id))
        ]


def end(state: DagRunState) -> None:
    with create_session() as session:
        for backfill in session.scalars(select(Backfill)):
            backfill.completed_at = datetime.now(UTC)
        for run in session.scalars(select(DagRun)):
            run.set_state(state)
            for task in run.get_task_instances(session=session):
                task.set_state("success", session=session)


def backfill(first: str, last: str, reprocess: str = "none", conf: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The runs that are to be done then."""
    _create_backfill(
        dag_id=DAG_ID,
        from_date=datetime.fromisoformat(first),
        to_date=datetime.fromisoformat(last),
        max_active_runs=1,
        reverse=False,
        dag_run_conf=conf,
        triggering_user_name="somebody",
        reprocess_behavior=ReprocessBehavior(reprocess),
        run_on_latest_version=True,
    )
    return [run for run in runs() if run["state"] == "queued"]


def by_the_form(conf: dict[str, Any]) -> dict[str, Any]:
    """A run as the form of the UI triggers it: for the present time."""
    now = datetime.now(UTC)
    with create_session() as session:
        run = trigger_dag(
            DAG_ID,
            triggered_by=DagRunTriggeredByType.UI,
            run_id="manual__form",
            conf=conf,
            logical_date=now,
            run_after=now,
            session=session,
        )
        if not run.get_task_instances(session=session):
            run.verify_integrity(session=session, dag_version_id=run.created_dag_version_id)
    return runs()[-1]


def main() -> None:
    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
    sync_bag_to_db(DagBag(ROOT / "dags" / "stream_replay.py"), "dags-folder", None)
    one = ("2026-11-11T00:00:00+09:00", "2026-11-11T00:00:00+09:00")
    found: dict[str, Any] = {"dag": dag()}
    found["three days"] = backfill(one[0], "2026-11-13T00:00:00+09:00", conf={"dry_run": True})
    end(DagRunState.SUCCESS)
    for choice in ReprocessBehavior:
        found[choice.value] = backfill(*one, reprocess=choice.value)
        end(DagRunState.SUCCESS)
    found["completed, with parameters"] = backfill(*one, reprocess="completed", conf={"dry_run": False})
    end(DagRunState.FAILED)
    found["failed, of a failed run"] = backfill(*one, reprocess="failed")
    end(DagRunState.SUCCESS)
    found["in UTC"] = backfill("2026-10-01T00:00:00+00:00", "2026-10-03T00:00:00+00:00")
    end(DagRunState.SUCCESS)
    found["form"] = by_the_form({"days": ["2026-11-21"]})
    found["dag afterwards"] = dag()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

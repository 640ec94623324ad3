"""What tests, benchmarks and the demo ask of a running Airflow, through its REST API."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

ENDED = ("success", "failed")
_POLL_SECONDS = 0.5
# httpx doubles its pause from 0.5 s on: about 30 s, which a restarted API server needs at most.
_CONNECT_RETRIES = 6
# On SQLite a backfill is refused with HTTP 503 when the scheduler writes while its runs are made.
_SQLITE_SECONDS = 180


class AirflowClient:
    """One logged-in user of an Airflow; a refused connection is tried again, because the server may be starting.

    Safe for threads: they write one after the other, because on SQLite two writes at once end with HTTP 500 after a stall of 5 s.

    :raises httpx.HTTPStatusError: (every method) Airflow refuses the request
    """

    def __init__(self, base_url: str, password: str, user: str = "admin") -> None:
        self._writing = threading.Lock()
        transport = httpx.HTTPTransport(retries=_CONNECT_RETRIES)
        self._http = httpx.Client(base_url=base_url, transport=transport, timeout=30, trust_env=False)
        token = self._answer("POST", "/auth/token", json={"username": user, "password": password})["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> None:
        """Block until the DAG processor has delivered the DAG.

        :raises TimeoutError: it did not; the message holds the import errors
        """
        deadline = time.monotonic() + timeout
        while self._http.get(f"/api/v2/dags/{dag_id}").status_code != httpx.codes.OK:
            if time.monotonic() > deadline:
                raise TimeoutError(f"there is no DAG {dag_id} after {timeout:.0f} s; import errors: {self.import_errors()}")
            time.sleep(_POLL_SECONDS)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, logical_date: str | None = None) -> str:
        """Start a run and return its run_id; waits for the DAG to appear first.

        :param logical_date: an ISO time; the form of the UI sends the present one
        """
        self.wait_for_dag(dag_id)
        run_id = f"manual__{uuid.uuid4()}"
        self._answer(
            "POST",
            f"/api/v2/dags/{dag_id}/dagRuns",
            json={"dag_run_id": run_id, "logical_date": logical_date, "conf": dict(conf or {})},
        )
        return run_id

    def start_backfill(self, dag_id: str, from_date: str, to_date: str, **options: Any) -> int:
        """Ask for a backfill as the form of the UI does, with what it sends where nothing was changed, and return its id.

        :param from_date: and ``to_date``: ISO times; every run whose data interval begins between them, both included
        :param options: other fields of the request: ``reprocess_behavior``, ``dag_run_conf``, …
        :raises httpx.HTTPStatusError: 409 while another backfill of the DAG goes on, 4xx for a range without an interval that is over
        """
        body = {
            "dag_id": dag_id,
            "from_date": from_date,
            "to_date": to_date,
            "max_active_runs": 1,
            "reprocess_behavior": "none",
            "run_backwards": False,
            "run_on_latest_version": True,
            "dag_run_conf": None,
            **options,
        }
        deadline, passing = time.monotonic() + _SQLITE_SECONDS, {httpx.codes.SERVICE_UNAVAILABLE}
        while True:
            try:
                return int(self._answer("POST", "/api/v2/backfills", json=body)["id"])
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in passing or time.monotonic() > deadline:
                    raise
                # What was begun is taken back, which may fail as well: the scheduler ends it then.
                passing |= {httpx.codes.CONFLICT, httpx.codes.INTERNAL_SERVER_ERROR}
            time.sleep(_POLL_SECONDS)

    def wait_for_backfill(self, backfill_id: int, timeout: float = 300) -> None:
        """Block until all runs of a backfill have ended.

        :raises TimeoutError: they go on; the message holds the runs of its DAG
        """
        deadline = time.monotonic() + timeout
        while not (found := self._answer("GET", f"/api/v2/backfills/{backfill_id}"))["completed_at"]:
            if time.monotonic() > deadline:
                states = {run["dag_run_id"]: run["state"] for run in self.runs(found["dag_id"])}
                raise TimeoutError(f"backfill {backfill_id} goes on after {timeout:.0f} s: {states}")
            time.sleep(_POLL_SECONDS)

    def wait_for_backfills(self, dag_id: str, timeout: float = 300) -> None:
        """Block until all backfills of a DAG have ended, whoever began them. That is some time after their last run.

        :raises TimeoutError: one goes on
        """
        for backfill in self._pages("/api/v2/backfills", "backfills", dag_id=dag_id):
            self.wait_for_backfill(backfill["id"], timeout)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all runs of a DAG by logical date: dag_run_id, run_type, state, data_interval_start, conf, …"""
        return list(self._pages(f"/api/v2/dags/{dag_id}/dagRuns", "dag_runs", order_by="logical_date"))

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear all tasks of a run, as a person does in the UI: it runs again."""
        self._answer("POST", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear", json={"dry_run": False})

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._answer("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        return found

    def wait(self, dag_id: str, run_id: str, timeout: float = 180) -> str:
        """Block until the run has ended and return `success` or `failed`.

        :raises TimeoutError: it goes on; the message holds the states of its tasks
        """
        deadline = time.monotonic() + timeout
        while (state := self.run(dag_id, run_id)["state"]) not in ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_id} {run_id} is {state} after {timeout:.0f} s: {self.task_states(dag_id, run_id)}")
            time.sleep(_POLL_SECONDS)
        return str(state)

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, *states: str, timeout: float = 60) -> str:
        """Block until the task is in one of the states and return that.

        :raises TimeoutError: it is not; the message holds the states of all tasks
        """
        deadline = time.monotonic() + timeout
        while (state := self.task_states(dag_id, run_id).get(task_id)) not in states:
            if time.monotonic() > deadline:
                tasks = self.task_states(dag_id, run_id)
                raise TimeoutError(f"{task_id} of {dag_id} {run_id} is not {' or '.join(states)} after {timeout:.0f} s: {tasks}")
            time.sleep(_POLL_SECONDS)
        return str(state)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return list(self._pages(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances"))

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return state by task id; a mapped task is `task_id[map_index]`."""
        return {_label(task): task["state"] for task in self.task_instances(dag_id, run_id)}

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of one try, a line an event, and one for each exception that came with it."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self._answer("GET", path, params={"map_index": map_index, "full_content": True})["content"]
        return "\n".join(text for line in content for text in _log_lines(line))

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self._answer("GET", path, params={"map_index": map_index, "deserialize": True})["value"]

    def import_errors(self) -> dict[str, str]:
        """Return the stack trace by DAG file."""
        return {error["filename"]: error["stack_trace"] for error in self._pages("/api/v2/importErrors", "import_errors")}

    def dag_ids(self) -> list[str]:
        return [dag["dag_id"] for dag in self._pages("/api/v2/dags", "dags")]

    def unpause(self, dag_id: str) -> None:
        self._answer("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run `success`, `failed` or `queued`; its running tasks are told to end."""
        self._answer("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", json={"state": state})

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task `success`, `failed` or `skipped`, as a person does in the UI; if it runs, it is told to end."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._answer("PATCH", path, json={"new_state": state})

    def dag(self, dag_id: str) -> dict[str, Any]:
        """Return what the DAG's page shows of it: tags, timetable, doc_md, …"""
        found: dict[str, Any] = self._answer("GET", f"/api/v2/dags/{dag_id}/details")
        return found

    def blockers(self, dag_id: str, run_id: str, task_id: str) -> list[str]:
        """Return why a task is not started, as the UI says it."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/dependencies"
        return [dependency["reason"] for dependency in self._answer("GET", path)["dependencies"]]

    def asset_events(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the asset events that the tasks of a run have emitted: uri, extra, source_task_id, …"""
        return list(self._pages("/api/v2/assets/events", "asset_events", source_dag_id=dag_id, source_run_id=run_id))

    def import_pools(self, file: Path) -> None:
        """Create or change the pools of a file, as `airflow pools import` does, without the 4 s that the command takes to load."""
        for name, pool in json.loads(file.read_text(encoding="utf-8")).items():
            body = {"name": name, "description": "", "include_deferred": False} | pool
            if name in self.pools():
                self._answer("PATCH", f"/api/v2/pools/{name}", json=body)
            else:
                self._answer("POST", "/api/v2/pools", json=body)

    def pools(self) -> dict[str, int]:
        """Return the number of slots by pool."""
        return {pool["name"]: pool["slots"] for pool in self._pages("/api/v2/pools", "pools")}

    def close(self) -> None:
        self._http.close()

    def _pages(self, path: str, key: str, size: int = 100, **filters: str) -> Iterator[dict[str, Any]]:
        offset, total = 0, 1
        while offset < total:
            page = self._answer("GET", path, params={"limit": size, "offset": offset, **filters})
            yield from page[key]
            offset, total = offset + size, page["total_entries"]

    def _answer(self, method: str, path: str, **arguments: Any) -> Any:
        with contextlib.nullcontext() if method == "GET" else self._writing:
            response = self._http.request(method, path, **arguments)
        if response.is_error:
            message = f"{method} {path}: HTTP {response.status_code} {response.text[:500]}"
            raise httpx.HTTPStatusError(message, request=response.request, response=response)
        return response.json()


def _log_lines(line: Any) -> Iterator[str]:
    if not isinstance(line, dict):
        yield str(line)
        return
    yield str(line["event"])
    for error in line.get("error_detail") or ():
        yield f"{error['exc_type']}: {error['exc_value']}"


def _label(task: Mapping[str, Any]) -> str:
    return task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"

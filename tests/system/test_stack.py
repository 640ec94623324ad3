"""The whole local cloud with a real Airflow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import psutil

from local.cloud import ROOT, Cloud
from local.processes import get


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.2)


def test_every_process_of_the_cloud_listens_on_loopback_only(airflow_cloud: Cloud) -> None:
    listening = {
        (process.name(), connection.laddr.ip)
        for process in psutil.Process(airflow_cloud.state.pid).children(recursive=True)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert len(listening) > 1
    assert {address.removeprefix("::ffff:") for _, address in listening} <= {"127.0.0.1", "::1"}, listening


def test_the_ui_lets_the_user_in_and_nobody_else(airflow_cloud: Cloud) -> None:
    url, state = airflow_cloud.endpoints["airflow"], airflow_cloud.state

    def login(password: str) -> int:
        return httpx.post(f"{url}/auth/token", json={"username": state.user, "password": password}, trust_env=False).status_code

    assert httpx.get(url, trust_env=False, follow_redirects=True).is_success
    assert login(state.password) == httpx.codes.CREATED
    assert login("admin") == httpx.codes.UNAUTHORIZED


def test_the_dags_of_the_repository_load_and_their_pools_exist(airflow_cloud: Cloud) -> None:
    pools = json.loads((ROOT / "include" / "pools.json").read_text(encoding="utf-8"))
    airflow_cloud.airflow.wait_for_dag("dictionary_sync_products-search")

    assert airflow_cloud.airflow.import_errors() == {}
    assert set(pools) <= set(airflow_cloud.airflow.pools())


def test_a_killed_triggerer_comes_back(airflow_cloud: Cloud) -> None:
    def last_heartbeat() -> datetime:
        body = get(f"{airflow_cloud.endpoints['airflow']}/api/v2/monitor/health")
        return datetime.fromisoformat(json.loads(body or b"")["triggerer"]["latest_triggerer_heartbeat"])

    killed = airflow_cloud.process("airflow-triggerer")
    left = killed.children(recursive=True)
    killed.kill()
    killed_at = datetime.now(UTC)

    wait_until(lambda: last_heartbeat() > killed_at)
    assert airflow_cloud.process("airflow-triggerer").pid != killed.pid
    assert not psutil.wait_procs([killed, *left], timeout=5)[1]
    assert [process.restarts for process in airflow_cloud.state.processes if process.name == "airflow-triggerer"] == [1]

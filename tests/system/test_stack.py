"""The whole local cloud with a real Airflow."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from datetime import UTC, datetime

import httpx
import psutil

from local.cloud import Cloud
from local.demo.world import Project
from local.processes import get
from tests.system.company import Company, wait_for
from tests.system.stories import Stories


def listens_on(process: psutil.Process) -> list[str]:
    """The addresses on which a process listens; none when it has just ended, as parsers and tasks do."""
    with contextlib.suppress(psutil.NoSuchProcess):
        connections = process.net_connections(kind="inet")
        return [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]
    return []


def test_every_process_of_the_cloud_listens_on_loopback_only(airflow_cloud: Cloud) -> None:
    processes = psutil.Process(airflow_cloud.state.pid).children(recursive=True)
    listening = {address for process in processes for address in listens_on(process)}

    services = {process.name: process.pid for process in airflow_cloud.state.processes}
    assert set(services.values()) <= {process.pid for process in processes}
    assert {"airflow-api-core", "airflow-dag-processor", "airflow-triggerer", "airflow-scheduler"} <= set(services)
    assert listening
    assert {address.removeprefix("::ffff:") for address in listening} <= {"127.0.0.1", "::1"}, listening


def test_the_ui_lets_the_user_in_and_nobody_else(airflow_cloud: Cloud) -> None:
    url, state = airflow_cloud.endpoints["airflow"], airflow_cloud.state

    def login(password: str) -> int:
        return httpx.post(f"{url}/auth/token", json={"username": state.user, "password": password}, trust_env=False).status_code

    assert httpx.get(url, trust_env=False, follow_redirects=True).is_success
    assert login(state.password) == httpx.codes.CREATED
    assert login("admin") == httpx.codes.UNAUTHORIZED


def test_the_dags_of_the_repository_load_and_their_pools_exist(airflow_cloud: Cloud) -> None:
    pools = json.loads(Project(airflow_cloud.directory / "project").pools.read_text(encoding="utf-8"))
    airflow_cloud.airflow.wait_for_dag("dictionary_sync_products-search")

    assert airflow_cloud.airflow.import_errors() == {}
    assert set(pools) <= set(airflow_cloud.airflow.pools())


def test_a_killed_triggerer_comes_back(airflow_cloud: Cloud, stories: Stories) -> None:
    stories["late"].result()  # which kills it too

    def last_heartbeat() -> datetime:
        body = get(f"{airflow_cloud.endpoints['airflow']}/api/v2/monitor/health")
        return datetime.fromisoformat(json.loads(body or b"")["triggerer"]["latest_triggerer_heartbeat"])

    def restarts() -> int:
        return next(process.restarts for process in airflow_cloud.state.processes if process.name == "airflow-triggerer")

    before = restarts()
    killed = airflow_cloud.process("airflow-triggerer")
    left = killed.children(recursive=True)
    killed.kill()
    killed_at = datetime.now(UTC)

    wait_for(lambda: last_heartbeat() > killed_at, 90)
    assert airflow_cloud.process("airflow-triggerer").pid != killed.pid
    assert not psutil.wait_procs([killed, *left], timeout=5)[1]
    assert restarts() == before + 1


def test_no_run_of_all_these_was_told_twice(company: Company) -> None:
    assert company.slack is not None
    run = company.finish(company.start("broken"), "broken")  # whoever is alone here has a run at least
    told = Counter(run_told(str(message["text"])) for message in company.slack.messages())

    assert told[run.run_id] == 0
    assert [run_id for run_id, count in told.items() if count > 1] == []


def run_told(text: str) -> str:
    """The run that a message is about, whatever made it: its second line is a link with the run's id."""
    found = re.search(r"^Run: <[^|>]+\|([^>]+)>$", text, re.MULTILINE)
    assert found, f"expected a message with a link to its run, found {text}"
    return found[1]


def test_no_log_holds_a_secret_or_a_document(company: Company) -> None:
    slack = json.loads(company.cloud.environment["AIRFLOW_CONN_SLACK_DEFAULT"])["password"].rpartition("/")[2]
    canaries = company.canaries
    hidden = {
        "token of Slack": slack,
        "AWS secret": canaries.aws,
        "password of the domain": canaries.node,
        "document": canaries.document,
        "password of the UI": company.cloud.state.password,
        **{name: company.cloud.environment[name] for name in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__FERNET_KEY")},
    }
    directory = company.cloud.directory
    logs = [*(directory / "airflow" / "logs").rglob("*.log"), *(directory / "logs").glob("airflow-*.log")]
    texts = {log: log.read_text(encoding="utf-8", errors="replace") for log in logs}

    assert len(texts) > 5
    assert "config_error" in "".join(texts.values())
    assert [(name, log) for log, text in texts.items() for name, secret in hidden.items() if secret in text] == []

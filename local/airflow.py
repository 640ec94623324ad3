"""A whole Airflow on SQLite and the LocalExecutor, as processes of the local cloud.

Two API processes, because on SQLite a single one stalls on its own writes while tasks run; no log servers and no scheduler health
server, because they listen on every interface.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import secrets
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.engines import cache_directory, make_cache_directory
from local.processes import LOOPBACK, Service, answers, free_port, get

USER = "admin"
# How long running tasks may go on once the scheduler is told to stop; then they are killed, because tasks ignore SIGTERM.
DRAIN_SECONDS = 5
RESTARTS = 5


@dataclass(frozen=True, slots=True)
class AirflowStack:
    """One Airflow: its folder, where it answers, the environment that all of its processes share."""

    home: Path
    logs: Path
    port: int
    execution_port: int
    password: str
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def restore_database(self) -> bool:
        """Copy the empty database of this Airflow version from the cache, which saves 6 s; False when there is none yet."""
        template = _database_template(cache_directory())
        if template.exists():
            shutil.copyfile(template, self.home / "airflow.db")
        return template.exists()

    def migrate(self) -> Service:
        """Return the command that makes the database."""
        return self._service("airflow-db-migrate", "db", "migrate", one_shot=True)

    def keep_database(self) -> None:
        """Put the freshly made database into the cache."""
        template = _database_template(make_cache_directory())
        unfinished = template.with_suffix(f".{secrets.token_hex(4)}")
        with sqlite3.connect(self.home / "airflow.db") as made, sqlite3.connect(unfinished) as copy:
            made.backup(copy)
        unfinished.rename(template)

    def stages(self) -> list[list[Service]]:
        """Return the processes in the order of their start; stopped in reverse, tasks can report until the end."""
        execution_url = f"http://{LOOPBACK}:{self.execution_port}/execution/health"
        execution = ["api-server", "--apps", "execution", "--port", str(self.execution_port)]
        return [
            [
                self._service(
                    "airflow-api-core", "api-server", "--apps", "core", is_ready=lambda: answers(f"{self.url}/api/v2/version")
                ),
                self._service("airflow-api-execution", *execution, is_ready=lambda: answers(execution_url)),
            ],
            [
                self._service("airflow-dag-processor", "dag-processor", is_ready=lambda: self._is_healthy("dag_processor")),
                self._service(
                    "airflow-triggerer", "triggerer", "--skip-serve-logs", is_ready=lambda: self._is_healthy("triggerer")
                ),
            ],
            [
                self._service(
                    "airflow-scheduler",
                    *("scheduler", "--skip-serve-logs"),
                    is_ready=lambda: self._is_healthy("scheduler"),
                    stop_seconds=DRAIN_SECONDS,
                )
            ],
        ]

    def _is_healthy(self, component: str) -> bool:
        body = get(f"{self.url}/api/v2/monitor/health")
        return body is not None and json.loads(body)[component]["status"] == "healthy"

    def _service(
        self,
        name: str,
        *arguments: str,
        is_ready: Callable[[], bool] = lambda: True,
        stop_seconds: float = 8,
        one_shot: bool = False,
    ) -> Service:
        return Service(
            name=name,
            command=[str(Path(sys.executable).with_name("airflow")), *arguments],
            environment=self.environment,
            log=self.logs / f"{name}.log",
            directory=self.home,
            is_ready=is_ready,
            ready_seconds=120,
            stop_seconds=stop_seconds,
            restarts=RESTARTS,
            one_shot=one_shot,
        )


def create_stack(directory: Path, dags: Path, plugins: Path, base: Mapping[str, str]) -> AirflowStack:
    """Make an empty Airflow home under `directory` with fresh ports, keys and password.

    :param base: environment of a child process, with everything that DAGs and hooks look for
    """
    home = directory / "airflow"
    home.mkdir(parents=True)
    password = secrets.token_urlsafe(12)
    passwords = home / "passwords.json"
    passwords.touch(mode=0o600)
    passwords.write_text(json.dumps({USER: password}), encoding="utf-8")
    port, execution_port = free_port(), free_port()
    settings = {
        "AIRFLOW_HOME": str(home),
        **_option("core", dags_folder=dags, plugins_folder=plugins, load_examples=False, dags_are_paused_at_creation=False),
        **_option(
            "core", executor="LocalExecutor", parallelism=4, fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        ),
        **_option("core", simple_auth_manager_users=f"{USER}:admin", simple_auth_manager_passwords_file=passwords),
        **_option("core", execution_api_server_url=f"http://{LOOPBACK}:{execution_port}/execution/"),
        **_option("database", sql_alchemy_conn=f"sqlite:///{home}/airflow.db"),
        **_option("api", host=LOOPBACK, port=port, base_url=f"http://{LOOPBACK}:{port}", secret_key=secrets.token_hex(32)),
        **_option("api_auth", jwt_secret=secrets.token_hex(64)),
        **_option("dag_processor", refresh_interval=5, min_file_process_interval=5, dag_version_inflation_check_level="error"),
        # A task that was killed is noticed after 20 s instead of 5 min, the waits of a killed triggerer are taken over after 15 s.
        **_option("scheduler", enable_health_check=False, task_instance_heartbeat_sec=4, task_instance_heartbeat_timeout=20),
        **_option("scheduler", task_instance_heartbeat_timeout_detection_interval=5),
        **_option("triggerer", job_heartbeat_sec=2, triggerer_health_check_threshold=15),
    }
    return AirflowStack(home, directory / "logs", port, execution_port, password, {**base, **settings})


def _option(section: str, **values: object) -> dict[str, str]:
    return {f"AIRFLOW__{section.upper()}__{key.upper()}": str(value) for key, value in values.items()}


def _database_template(cache: Path) -> Path:
    return cache / f"airflow-{importlib.metadata.version('apache-airflow-core')}.db"


def connections(endpoints: Mapping[str, str]) -> dict[str, str]:
    """Return the Airflow connections of the local cloud, as environment variables."""
    found: dict[str, object] = {"AWS_DEFAULT": {"conn_type": "aws"}}
    if url := endpoints.get("opensearch"):
        host, port = _host_and_port(url)
        found["PRODUCTS_SEARCH"] = {"conn_type": "opensearch", "host": host, "port": port, "extra": {"use_ssl": False}}
    if url := endpoints.get("slack"):
        host, port = _host_and_port(url)
        # The Slack provider appends the password to the host: http://HOST:PORT/services/T00/B00/<token>
        found["SLACK_DEFAULT"] = {
            "conn_type": "slackwebhook",
            "schema": "http",
            "host": f"{host}:{port}/services",
            "password": f"T00/B00/{secrets.token_hex(12)}",
        }
    return {f"AIRFLOW_CONN_{name}": json.dumps(connection) for name, connection in found.items()}


def _host_and_port(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)

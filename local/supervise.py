"""The supervisor process of a local cloud: `python -m local.supervise DIRECTORY --options JSON [--owner PID]`."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil

from local.airflow import USER, AirflowStack, connections, create_stack
from local.airflow_client import AirflowClient
from local.aws import VARIABLES_TO_UNSET, client_environment, loopback_past_proxies, moto, without_inherited_settings
from local.cloud import EXIT_ALREADY_UP, ROOT, AlreadyUp, Options, State, only_one
from local.dynamodb import dynamodb_local
from local.opensearch import OpenSearchNode
from local.processes import LOOPBACK, Service, answers, free_port
from local.supervisor import StopRequested, Supervisor

log = logging.getLogger(__name__)
# A test may kill the stream poller that often.
_POLLER_RESTARTS = 1000


class CloudProcesses:
    """Everything that one cloud consists of, and the state file that tells of it."""

    def __init__(self, directory: Path, options: Options, owner: int | None) -> None:
        self._directory = directory
        self._options = options
        self._supervisor = Supervisor(owner=owner, on_change=self._report)
        self._state = State(pid=os.getpid(), created=psutil.Process().create_time())
        self._node = None
        if "opensearch" in options.services:
            self._node = OpenSearchNode(directory, settings=options.opensearch_settings)

    def run(self) -> int:
        """Run until we are asked to stop; return the exit code."""
        error = ""
        self._report()
        try:
            self._start()
            self._report(status="ready")
            self._supervisor.watch()
        except StopRequested:
            log.info("asked to stop while starting")
        except Exception as failure:
            log.exception("the cloud did not start")
            error = str(failure)
        self._supervisor.stop()
        if self._node:
            self._node.remove()
        (self._directory / "environment").unlink(missing_ok=True)
        self._report(status="failed" if error else "stopped", error=error)
        return 1 if error else 0

    def _start(self) -> None:
        endpoints = self._endpoints()
        client = self._client_environment(endpoints)
        base = without_inherited_settings(os.environ) | client | {"PYTHONUNBUFFERED": "1"}
        stack = None
        if "airflow" in self._options.services:
            stack = create_stack(self._directory, self._options.dags, ROOT / "plugins", base)
            endpoints["airflow"] = stack.url
            client |= {name: value for name, value in stack.environment.items() if name.startswith("AIRFLOW_")}
            self._state = replace(self._state, user=USER, password=stack.password)
        _write_environment(self._directory / "environment", client)
        self._state = replace(self._state, endpoints=endpoints, environment=client)
        self._supervisor.start(*self._engines(endpoints, base))
        self._supervisor.start(*self._simulators(endpoints, base))
        if stack:
            self._start_airflow(stack)
        self._supervisor.wait_until_ready()
        if stack and self._options.pools.exists():
            AirflowClient(stack.url, stack.password).import_pools(self._options.pools)

    def _start_airflow(self, stack: AirflowStack) -> None:
        if not stack.restore_database():
            self._supervisor.run(stack.migrate())
            stack.keep_database()
        for stage in stack.stages():
            self._supervisor.start(*stage)

    def _endpoints(self) -> dict[str, str]:
        endpoints = {
            name: f"http://{LOOPBACK}:{free_port()}" for name in self._options.services if name not in ("opensearch", "airflow")
        }
        if self._node:
            self._state = replace(self._state, analyzers_dir=str(self._node.analyzers_dir))
            endpoints["opensearch"] = self._node.url
        return endpoints

    def _client_environment(self, endpoints: Mapping[str, str]) -> dict[str, str]:
        inventory = {"SEARCHOPS_INVENTORY": str(self._options.inventory)} if self._options.inventory else {}
        local = client_environment(endpoints) | connections(endpoints) | loopback_past_proxies(os.environ)
        return local | inventory | dict(self._options.extra_environment)

    def _engines(self, endpoints: Mapping[str, str], base: Mapping[str, str]) -> list[Service]:
        engines = [self._node.prepare()] if self._node else []
        if url := endpoints.get("aws"):
            engines.append(moto(url, base, self._directory / "logs"))
        if url := endpoints.get("dynamodb"):
            engines.append(dynamodb_local(url, self._directory / "logs"))
        return engines

    def _simulators(self, endpoints: Mapping[str, str], base: Mapping[str, str]) -> list[Service]:
        simulators = []
        speed = ["--speed", str(self._options.speed)] if self._options.speed is not None else []
        if "functions" in endpoints:
            arguments = ["--aws-endpoint", endpoints["aws"], *speed]
            simulators.append(self._simulator("functions", endpoints["functions"], arguments, base))
        if "streams" in endpoints:
            simulators.append(self._streams(endpoints, speed, base))
        if "firehose" in endpoints:
            arguments = ["--opensearch-url", endpoints["opensearch"], "--s3-endpoint", endpoints["aws"], *speed]
            simulators.append(self._simulator("firehose", endpoints["firehose"], arguments, base))
        if "packages" in endpoints and self._node:
            aws = ["--s3-endpoint", endpoints["aws"]]
            node = ["--opensearch-url", endpoints["opensearch"], "--analyzers-dir", str(self._node.analyzers_dir)]
            simulators.append(self._simulator("packages", endpoints["packages"], [*aws, *node, *speed], base))
        if "proxy" in endpoints:
            node = ["--node-url", endpoints["opensearch"]]
            simulators.append(self._simulator("proxy", endpoints["proxy"], node, base, module="node_faults"))
        if "dynamodb_proxy" in endpoints:
            arguments = ["--dynamodb-url", endpoints["dynamodb"]]
            simulators.append(
                self._simulator("dynamodb_proxy", endpoints["dynamodb_proxy"], arguments, base, module="dynamodb_faults")
            )
        if "slack" in endpoints:
            simulators.append(self._simulator("slack", endpoints["slack"], [], base))
        return simulators

    def _streams(self, endpoints: Mapping[str, str], speed: list[str], base: Mapping[str, str]) -> Service:
        """The stream poller, which goes on from its checkpoints when a test has killed it."""
        arguments = ["--dynamodb-url", endpoints["dynamodb"], "--functions-url", endpoints["functions"]]
        arguments += ["--aws-endpoint", endpoints["aws"], "--state", str(self._directory / "streams.json"), *speed]
        return replace(self._simulator("streams", endpoints["streams"], arguments, base), restarts=_POLLER_RESTARTS)

    def _simulator(self, name: str, url: str, arguments: list[str], base: Mapping[str, str], module: str = "") -> Service:
        return Service(
            name=name,
            command=[sys.executable, "-m", f"local.simulators.{module or name}", "--port", url.rpartition(":")[2], *arguments],
            environment=base,
            log=self._directory / "logs" / f"{name}.log",
            directory=ROOT,
            is_ready=lambda: answers(f"{url}/_control/health"),
            stop_seconds=3,
        )

    def _report(self, status: str | None = None, error: str = "") -> None:
        self._state = replace(self._state, processes=self._supervisor.states(), status=status or self._state.status, error=error)
        self._state.write(self._directory)


def _write_environment(path: Path, variables: Mapping[str, str]) -> None:
    """Write what `source` makes of a shell a client of the cloud; it holds keys, so only its owner may read it."""
    path.touch(mode=0o600)
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    path.write_text(f"unset {' '.join(VARIABLES_TO_UNSET)}\n{''.join(exports)}", encoding="utf-8")


def _empty(directory: Path) -> None:
    """Remove what an earlier cloud left: every cloud starts from nothing, as most of its parts keep their data in memory."""
    os.truncate(directory / "supervisor.log", 0)
    for file in ("environment", "streams.json"):
        (directory / file).unlink(missing_ok=True)
    for folder in ("airflow", "logs"):
        shutil.rmtree(directory / folder, ignore_errors=True)
    (directory / "logs").mkdir()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.supervise", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--options", required=True, type=Options.from_json)
    parser.add_argument("--owner", type=int, help="pid of our parent, at whose end everything is stopped")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with only_one(arguments.directory):
            _empty(arguments.directory)
            return CloudProcesses(arguments.directory, arguments.options, arguments.owner).run()
    except AlreadyUp:
        return EXIT_ALREADY_UP


if __name__ == "__main__":
    sys.exit(main())

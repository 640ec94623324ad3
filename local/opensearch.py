"""A real OpenSearch node with kuromoji that answers on 127.0.0.1 only.

Many nodes run from one unpacked distribution: each has its own config, data and logs, and starts empty. Files under
`analyzers_dir/<PackageID>` are to it what associated packages are to a domain (`synonyms_path: analyzers/F111`).
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.engines import UNPRIVILEGED_USER, make_cache_directory, opensearch_home, opensearch_jdk, running_as_root
from local.processes import LOOPBACK, Child, Service, answers, free_port


class OpenSearchNode:
    """One node. As a context manager it is started, waited for and stopped; the local cloud starts its `service` itself.

    :param directory: holds logs/opensearch.log and, unless we are root, the node's own folder
    :param settings: further lines of opensearch.yml, e.g. ``{"thread_pool.write.queue_size": 1}``
    :param heap: JVM heap; 512m answers after about 12 s and takes 0.8 GB
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, Any] | None = None, heap: str = "512m") -> None:
        self._directory = directory.absolute()
        self._settings = dict(settings or {})
        self._heap = heap
        self._http_port = free_port()
        self._child: Child | None = None
        self.url = f"http://{LOOPBACK}:{self._http_port}"
        self.home = _node_home(self._directory)
        self.config_dir = self.home / "config"
        self.analyzers_dir = self.config_dir / "analyzers"

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError("the node is not running")
        return self._child.pid

    def prepare(self) -> Service:
        """Write the node's folder and return how it is started."""
        distribution = opensearch_home()
        jdk = opensearch_jdk()
        self._write_home(distribution)
        return Service(
            name="opensearch",
            command=[str(distribution / "bin" / "opensearch")],
            environment={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self.home),
                "OPENSEARCH_JAVA_HOME": str(jdk.home),
                "OPENSEARCH_PATH_CONF": str(self.config_dir),
                "OPENSEARCH_TMPDIR": str(self.home / "tmp"),
            },
            log=self._directory / "logs" / "opensearch.log",
            directory=self.home,
            is_ready=lambda: answers(f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s"),
            ready_seconds=180,
            stop_seconds=20,
            user=UNPRIVILEGED_USER if running_as_root() else None,
        )

    def remove(self) -> None:
        """Delete the node's folder with its data."""
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        self._child = Child(self.prepare())
        try:
            self._child.start()
            self._child.wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None
        self.remove()

    def _write_home(self, distribution: Path) -> None:
        self.remove()
        shutil.copytree(distribution / "config", self.config_dir)
        for folder in ("data", "logs", "tmp", "config/analyzers"):
            (self.home / folder).mkdir(parents=True)
        (self.config_dir / "opensearch.yml").write_text(self._yaml(), encoding="utf-8")
        options = self.config_dir / "jvm.options"
        options.write_text(_own_jvm_options(options.read_text(encoding="utf-8"), self._heap), encoding="utf-8")
        if running_as_root():
            _give_to(UNPRIVILEGED_USER, self.home)

    def _yaml(self) -> str:
        settings: dict[str, Any] = {
            "cluster.name": "searchops-local",
            "node.name": "local",
            "path.data": str(self.home / "data"),
            "path.logs": str(self.home / "logs"),
            "network.host": LOOPBACK,
            "http.port": self._http_port,
            "transport.port": free_port(),
            "discovery.type": "single-node",
            # A developer's full disk would otherwise turn every index read-only.
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in (settings | self._settings).items())


def _node_home(directory: Path) -> Path:
    """Return the node's folder; for root one that the unprivileged user can reach, unlike /root and pytest's folders."""
    if not running_as_root():
        return directory / "opensearch"
    return make_cache_directory() / "nodes" / hashlib.sha256(str(directory).encode()).hexdigest()[:16]


def _own_jvm_options(options: str, heap: str) -> str:
    """Set the heap, and drop what writes into the distribution that all nodes share (relative paths: gc.log, heap dumps)."""
    kept = [
        line
        for line in options.splitlines()
        if not line.startswith(("-Xms", "-Xmx")) and "logs/" not in line and "=data" not in line
    ]
    return "\n".join([*kept, f"-Xms{heap}", f"-Xmx{heap}", ""])


def _give_to(user: str, folder: Path) -> None:
    account = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)

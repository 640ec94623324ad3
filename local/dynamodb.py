"""DynamoDB Local, Amazon's own engine, that answers on 127.0.0.1 only and keeps everything in memory."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from local.engines import dynamodb_home, dynamodb_jdk
from local.processes import LOOPBACK, Service

# Amazon's ServerRunner listens on every interface and has no option against it; this one is compiled by `java` at each start.
_MAIN = Path(__file__).with_name("LoopbackDynamoDb.java")


def dynamodb_local(url: str, logs: Path) -> Service:
    """Return the engine: it answers after about 4 s and takes 0.3 GB.

    Nothing of our environment is passed on: it needs no credentials, and a JAVA_TOOL_OPTIONS could open a port.
    """
    home, port = dynamodb_home(), int(url.rpartition(":")[2])
    options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.library.path={home}"]
    return Service(
        name="dynamodb",
        command=[str(dynamodb_jdk().home / "bin" / "java"), *options, "-cp", f"{home}/*", str(_MAIN), str(port)],
        environment={"PATH": os.environ.get("PATH", os.defpath)},
        log=logs / "dynamodb.log",
        directory=logs,
        is_ready=lambda: _listens(port),
        stop_seconds=3,
    )


def _listens(port: int) -> bool:
    """Tell whether the port is open: every request without a signature is answered with 400."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False

"""`python -m benchmarks.delay HOST PORT SECONDS`: a relay that gives every answer later by that time, and takes next to no CPU for it.

The proxy of the tests reads each request and costs a core about as much as the engine does: beside it, on two cores, a client is measured
less than the proxy. This one passes bytes. It prints its port and ends with its input.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit

from local.cloud import ROOT


@contextmanager
def delayed(url: str, seconds: float) -> Iterator[str]:
    """
    :return: the URL of a relay before ``url``
    """
    at = urlsplit(url)
    command = [sys.executable, "-m", "benchmarks.delay", str(at.hostname), str(at.port), str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError(f"{' '.join(command)}: expected its port, found that it ended with {process.wait()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()


class _Answers(asyncio.Protocol):
    """What comes from the engine, for one client."""

    def __init__(self, client: asyncio.Transport, seconds: float) -> None:
        self._client = client
        self._seconds = seconds

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self._client.write, data)

    def connection_lost(self, error: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self._client.close)


class _Requests(asyncio.Protocol):
    """What comes from one client."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._host, self._port, self._seconds = host, port, seconds
        self._engine: asyncio.Transport | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = cast("asyncio.Transport", transport)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            engine, _ = await loop.create_connection(lambda: _Answers(self._client, self._seconds), self._host, self._port)
        except OSError:
            self._client.abort()
            return
        engine.write(self._early)
        self._engine = engine

    def data_received(self, data: bytes) -> None:
        if self._engine is None:
            self._early += data
        else:
            self._engine.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._connecting.cancel()
        if self._engine is not None:
            self._engine.close()


async def _serve(host: str, port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Requests(host, port, seconds), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))

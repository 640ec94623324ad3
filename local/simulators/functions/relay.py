"""A port of this machine that leads to another machine's: a function takes plain HTTP from no machine but its own."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

PORT = 9200


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    target: tuple[str, int]


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as other:
            back = threading.Thread(target=_pass_on, args=(other, self.request), daemon=True)
            back.start()
            _pass_on(self.request, other)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # whichever end is gone, the other one sees it
        while some := source.recv(65_536):
            sink.sendall(some)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def relayed(url: str, port: int = PORT) -> Iterator[str]:
    """Lead to the host and port of a URL while the block runs.

    :param port: on the loopback; 0 takes a free one
    :return: the URL on this machine
    """
    target = urlsplit(url)
    with _Server(("127.0.0.1", port), _Connection) as server:
        server.target = (target.hostname or "", target.port or 80)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()

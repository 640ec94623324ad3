"""The port that leads functions to a node on another machine."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from local.simulators.functions.relay import relayed


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_what_is_sent_to_the_port_reaches_the_other_machine_and_its_answer_comes_back() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as node:
        threading.Thread(target=node.serve_forever, daemon=True).start()
        body = bytes(range(256)) * 4_000
        with relayed(f"http://127.0.0.1:{node.server_address[1]}", port=0) as url:
            for _ in range(2):
                assert requests.post(url, body, timeout=10).content == body
        node.shutdown()

    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.post(url, b"", timeout=10)

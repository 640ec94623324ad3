"""One object behind an S3 that breaks connections as it is told to; what moto can not do."""

from __future__ import annotations

import hashlib
import re
import threading
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import boto3
from botocore.config import Config


class BreakingS3:
    """``cuts``: after how many bytes of each answer in turn its connection ends; an answer beyond them is whole.

    ``statuses``: what the next requests are answered with instead.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.ranges: list[tuple[int, int]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @cached_property
    def client(self) -> Any:
        return boto3.session.Session().client(
            "s3",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{self._server.server_port}",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        s3 = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if s3.statuses:
                    self._refuse(s3.statuses.pop(0), "InternalError")
                elif self.headers["If-Match"].strip('"') != s3.etag:
                    self._refuse(412, "PreconditionFailed")
                else:
                    self._answer()

            def _answer(self) -> None:
                first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())  # type: ignore[union-attr]
                part = s3.content[first : last + 1]
                s3.ranges.append((first, last))
                self.send_response(206)
                self.send_header("ETag", f'"{s3.etag}"')
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                self.wfile.write(part[: s3.cuts.pop(0)] if s3.cuts else part)
                self.close_connection = True

            def _refuse(self, status: int, code: str) -> None:
                body = f"<Error><Code>{code}</Code><Message>as ordered</Message></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        return Handler

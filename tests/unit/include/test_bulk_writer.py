"""The request path's function: its settings, how it speaks to a domain, and its zip."""

from __future__ import annotations

import hashlib
import http.server
import importlib.metadata
import json
import re
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import opensearchpy
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from local.cloud import ROOT
from local.demo.functions import builder
from local.demo.writer import FUNCTION, load_handler
from searchops.core.bulk import function
from searchops.core.bulk.function import IDLE_SECONDS
from searchops.core.bulk.places import manifest_key, spool_key
from searchops.core.bulk.request_path import read_request
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.errors import DataError

build = builder()
handler = load_handler()
GOOD = {
    "SEARCHOPS_ENDPOINT": "https://search-products.ap-northeast-1.es.amazonaws.com",
    "SEARCHOPS_INDEX": "products",
    "SEARCHOPS_VERSION_SCHEME": "attribute",
    "SEARCHOPS_VERSION_ATTRIBUTE": "revision",
    "SEARCHOPS_DELETES": "tombstone",
    "SEARCHOPS_BUCKET": "example-searchops",
    "SEARCHOPS_STREAM": "products-overflow",
    "AWS_REGION": "ap-northeast-1",
}
LEFT_OUT = ""
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath")
PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
import handler
try:
    handler.handler([], None)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def settings(**changes: str) -> Any:
    return handler.Settings.from_environment({**GOOD, **changes})


def test_settings_are_those_of_the_inventory_and_have_short_time_outs() -> None:
    found = settings()

    assert found.scheme == Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision")
    assert (found.region, found.refresh, found.timeout_seconds, found.aws_timeout_seconds) == (
        "ap-northeast-1",
        "wait_for",
        10,
        2,
    )


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9200", "http://localhost:9200/", "http://[::1]:9200"])
def test_plain_http_is_spoken_to_this_machine_itself(endpoint: str) -> None:
    assert settings(SEARCHOPS_ENDPOINT=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SEARCHOPS_ENDPOINT", LEFT_OUT, "expected https://<host of the domain>, found ''"),
        ("SEARCHOPS_ENDPOINT", "http://search-products.example.com", "expected https://"),
        ("SEARCHOPS_ENDPOINT", "http://127.0.0.1.example.com", "expected https://"),
        ("SEARCHOPS_ENDPOINT", "search-products.example.com", "expected https://"),
        ("SEARCHOPS_ENDPOINT", "https://user:secret@example.com", "expected https://"),
        ("SEARCHOPS_ENDPOINT", "https://example.com/products", "expected https://"),
        ("SEARCHOPS_ENDPOINT", "https://example.com:nine", "expected https://"),
        ("SEARCHOPS_ENDPOINT", "https://[::1", "expected https://"),
        ("SEARCHOPS_INDEX", LEFT_OUT, "SEARCHOPS_INDEX: expected the name"),
        ("AWS_REGION", LEFT_OUT, "SEARCHOPS_REGION: expected a Region"),
        ("SEARCHOPS_VERSION_SCHEME", LEFT_OUT, "expected one of attribute, once, sequence, none, found ''"),
        ("SEARCHOPS_VERSION_SCHEME", "ingestion", "found 'ingestion'"),
        ("SEARCHOPS_VERSION_SCHEME", "once", "SEARCHOPS_VERSION_ATTRIBUTE: expected one with"),
        ("SEARCHOPS_VERSION_ATTRIBUTE", LEFT_OUT, "SEARCHOPS_VERSION_ATTRIBUTE: expected one with"),
        ("SEARCHOPS_DELETES", "soft", "expected one of tombstone, immediate, never, found 'soft'"),
        ("SEARCHOPS_DELETES", "immediate", "nothing is handed over with version scheme attribute and deletes immediate"),
        ("SEARCHOPS_BUCKET", LEFT_OUT, "SEARCHOPS_STREAM: expected SEARCHOPS_BUCKET as well"),
        ("SEARCHOPS_REFRESH", "now", "expected one of wait_for, true, false"),
        ("SEARCHOPS_TIMEOUT", "0", "expected a number of seconds above 0, found '0'"),
        ("SEARCHOPS_TIMEOUT", "ten", "found 'ten'"),
        ("SEARCHOPS_AWS_TIMEOUT", "-1", "found '-1'"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(name: str, value: str, message: str) -> None:
    with pytest.raises(DataError) as told:
        settings(**{name: value})

    assert message in str(told.value)


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(DataError) as told:
        handler.Settings.from_environment({})

    assert all(name in str(told.value) for name in ("ENDPOINT", "INDEX", "REGION", "VERSION_SCHEME", "DELETES"))


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What stands for a domain: takes everything, and keeps requests and connections."""
    kept = SimpleNamespace(requests=[], connections=0)

    class Taking(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            kept.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept.requests.append((self.command, self.path, dict(self.headers), body))
            meta = {"searchops": {"scheme": settings().scheme.to_meta()}}
            told: Any = {"products": {"aliases": {}, "mappings": {"_meta": meta}, "settings": {}}}
            if self.command == "POST":
                told = {"errors": False, "items": [{"index": {"status": 201}}]}
            answer = json.dumps(told, separators=(",", ":")).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, f"testing-{name}")
    yield kept
    server.shutdown()
    server.server_close()


def write(writer: Any) -> Any:
    request = read_request([{"op": "index", "id": "a", "version": 1, "document": {"name": "塔"}}], writer.settings.scheme)
    return writer.write(request, "request", lambda: 30.0)


def test_a_request_that_is_refused_leaves_nothing_of_itself_in_the_log(
    domain: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handler, "_writer", lambda: handler.Writer(settings()))
    context = SimpleNamespace(aws_request_id="request-1")

    told = handler.handler({"operations": [], "jane@example.com": 1}, context)

    assert (told["status"], "jane@example.com" in told["error"]) == (400, True)
    assert "request request-1 refused with 400" in caplog.text
    assert "jane" not in caplog.text


def test_requests_are_signed_with_the_functions_own_credentials(domain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = handler.Writer(settings())
    plain = opensearchpy.OpenSearch
    address = urlsplit(domain.url)
    host = [{"host": address.hostname, "port": address.port}]
    monkeypatch.setattr(  # the domain here has no certificate
        opensearchpy, "OpenSearch", lambda **options: plain(**options | {"hosts": host, "use_ssl": False})
    )

    write(writer)

    for method, path, headers, body in domain.requests:
        assert headers["X-Amz-Content-SHA256"] == hashlib.sha256(body).hexdigest()
        assert signature(method, f"{domain.url}{path}", headers, body) == headers["Authorization"]
    assert [method for method, *_ in domain.requests] == ["GET", "POST"]


def signature(method: str, url: str, headers: dict[str, str], body: bytes) -> str:
    """Lambda's credentials make this one, and no others."""
    names = ("X-Amz-Content-SHA256", "X-Amz-Date", "X-Amz-Security-Token")
    request = AWSRequest(method, url, {name: headers[name] for name in names}, body or None)
    request.context["timestamp"] = headers["X-Amz-Date"]
    secrets = [f"testing-{name}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
    auth = SigV4Auth(Credentials(*secrets), "es", "ap-northeast-1")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    scope = f"{secrets[0]}/{auth.credential_scope(request)}"
    signed = auth.signed_headers(auth.headers_to_sign(request))
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={auth.signature(text, request)}"


def test_a_domain_is_spoken_to_with_tls_that_is_verified(domain: Any) -> None:
    """A server without TLS is no domain: not one byte of a document is sent to it."""
    writer = handler.Writer(settings(SEARCHOPS_ENDPOINT=domain.url.replace("http", "https")))

    outcome = write(writer)

    assert outcome.written is None
    assert domain.requests == []


def test_a_connection_is_used_again_until_it_has_been_idle_for_long(domain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = handler.Writer(settings(SEARCHOPS_ENDPOINT=domain.url))
    write(writer)
    at_first = domain.connections

    write(writer)
    again = domain.connections
    later = time.time() + IDLE_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    write(writer)

    assert (again, domain.connections) == (at_first, at_first + 1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target: Path = build.build(FUNCTION, tmp_path_factory.mktemp("zip") / "bulk_writer.zip")
    return target


def test_the_same_sources_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    assert build.build(FUNCTION, tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_the_zip_holds_nothing_of_the_machine_that_built_it(archive: Path) -> None:
    content = zipfile.ZipFile(archive)
    names = content.namelist()

    assert names == sorted(names)
    assert not [name for name in names if name.startswith(("/", "..", "bin/")) or name.endswith((".pyc", "/RECORD"))]
    assert {"handler.py", "orjson/__init__.py", "opensearchpy/__init__.py"} <= set(names)
    assert not {name.partition("/")[0] for name in names} & {
        "airflow",
        "boto3",
        "botocore",
        "pyarrow",
        "pydantic",
        "pydantic_core",
    }
    assert not [name for name in names if sys.prefix.encode() in content.read(name)]


def test_the_function_runs_from_the_zip_with_what_lambda_has_besides(archive: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(archive).extractall(tmp_path / "task")
    (tmp_path / "runtime").mkdir()
    for package in RUNTIME:
        (tmp_path / "runtime" / package).symlink_to(Path(sysconfig.get_path("purelib")) / package)

    # -I and -S: neither our directory nor what is installed is on the path.
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(tmp_path / "task"), str(tmp_path / "runtime")],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("DataError: the function's environment variables are wrong: ")


def test_the_zip_has_all_that_its_packages_need_but_the_grpc_client() -> None:
    listed = {line for line in (FUNCTION / "requirements.txt").read_text().splitlines() if not line.startswith("#")}
    needed = {
        canonicalize_name(requirement.name)
        for name in listed
        for requirement in map(Requirement, importlib.metadata.requires(name) or [])
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }

    assert needed - {canonicalize_name(name) for name in listed} == {"opensearch-protobufs"}


def test_the_policy_of_the_page_allows_what_the_function_writes_and_no_other_key() -> None:
    page = (ROOT / "docs" / "bulk_writer.md").read_text(encoding="utf-8")
    (policy,) = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", page, re.M | re.S) if '"Statement"' in block]
    looking, writing, firehose, s3 = policy["Statement"]
    run = f"{handler.RUN}-2026-11-21"

    assert [statement["Action"] for statement in policy["Statement"]] == [
        "es:ESHttpGet",
        "es:ESHttpPost",
        "firehose:PutRecordBatch",
        "s3:PutObject",
    ]
    assert looking["Resource"].endswith("/products")
    assert [path.rpartition("/products/")[2] for path in writing["Resource"]] == ["_bulk", "_mget"]
    for key in (manifest_key("products", run, "request", 0, "d" * 16), spool_key("products", run, "d" * 64)):
        assert sum(fnmatchcase(f"arn:aws:s3:::example-searchops/{key}", allowed) for allowed in s3["Resource"]) == 1
    assert all("*" not in part for part in firehose["Resource"].split("/"))


def test_every_setting_is_explained_where_it_is_read() -> None:
    source = (FUNCTION / "handler.py").read_text(encoding="utf-8")
    read = source + Path(function.__file__).read_text(encoding="utf-8")

    assert set(re.findall(r'"(SEARCHOPS_\w+)"', read)) == set(re.findall(r"^(SEARCHOPS_\w+) ", source, re.M))

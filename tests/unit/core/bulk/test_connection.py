"""One request is one attempt, whatever client the user has: signed or not, compressing or not, of either kind."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import ipaddress
import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opensearchpy import (
    OpenSearch,
    RequestsAWSV4SignerAuth,
    RequestsHttpConnection,
    Urllib3AWSV4SignerAuth,
    Urllib3HttpConnection,
)

from searchops.core.bulk.connection import IndexConnection
from searchops.core.errors import DataError, TransientError

KEYS = Credentials("AKIDEXAMPLE", "secret")
REGION = "ap-northeast-1"
BODY = b'{"index":{"_id":"a"}}\n{"text":"the body of a document"}\n'
WELL = b'{"errors":false,"items":[{"index":{"status":201}},{"index":{"status":200}}]}'
BAD = json.dumps(
    {"errors": True, "items": [{"index": {"status": 400, "error": {"type": "t", "reason": "value: 'the body of a document'"}}}]}
).encode()
CONNECTIONS = [(Urllib3HttpConnection, Urllib3AWSV4SignerAuth), (RequestsHttpConnection, RequestsAWSV4SignerAuth)]
both = pytest.mark.parametrize(("connection_class", "signer"), CONNECTIONS, ids=["urllib3", "requests"])


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def plain(self) -> bytes:
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body


@dataclass
class Cluster:
    """Answers as told, and remembers what it got."""

    status: int = 200
    answer: bytes = WELL
    type: str = "application/json; charset=UTF-8"
    received: list[Received] = field(default_factory=list)
    port: int = 0

    def client(self, connection_class: type = Urllib3HttpConnection, **options: Any) -> OpenSearch:
        return OpenSearch([{"host": "127.0.0.1", "port": self.port}], connection_class=connection_class, **options)


@contextmanager
def serving(cluster: Cluster) -> Iterator[Cluster]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    cluster.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with serving(Cluster()) as cluster:
        yield cluster


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            cluster.received.append(Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(cluster.status)
            self.send_header("content-type", cluster.type)
            self.send_header("content-length", str(len(cluster.answer)))
            self.end_headers()
            self.wfile.write(cluster.answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@both
@pytest.mark.parametrize("own_gzip", [False, True])
@pytest.mark.parametrize("client_gzip", [False, True])
def test_a_body_arrives_as_it_was_compressed_once_at_most(
    cluster: Cluster, connection_class: type, signer: Any, own_gzip: bool, client_gzip: bool
) -> None:
    client = cluster.client(connection_class, http_compress=client_gzip)

    answer = IndexConnection(client, "products", gzip=own_gzip).bulk(BODY)

    (request,) = cluster.received
    assert (answer.status, answer.taken, request.plain) == (200, 2, BODY)
    assert (request.headers.get("content-encoding") == "gzip") == (own_gzip or client_gzip)
    assert request.headers["content-type"] == "application/x-ndjson"
    assert "transfer-encoding" not in request.headers


@both
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_signature_holds_for_the_bytes_that_were_sent(
    cluster: Cluster, connection_class: type, signer: Any, gzipped: bool
) -> None:
    connection = IndexConnection(cluster.client(connection_class, http_auth=signer(KEYS, REGION)), "東京", gzip=gzipped)

    connection.bulk(BODY)
    connection.get([{"_id": "a"}])

    for request in cluster.received:
        headers = request.headers
        assert headers["x-amz-content-sha256"] == hashlib.sha256(request.body).hexdigest()
        assert headers["authorization"] == _authorization(f"http://127.0.0.1:{cluster.port}{request.path}", request)


def _authorization(url: str, request: Received) -> str:
    """Sign again what has arrived, as the service does."""
    names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    again = AWSRequest("POST", url, data=request.body, headers={name: request.headers[name] for name in names if name != "host"})
    again.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(KEYS, "es", REGION)
    canonical = signer.canonical_request(again)
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(again)}, SignedHeaders={';'.join(names)}, "
        f"Signature={signer.signature(signer.string_to_sign(again, canonical), again)}"
    )


@both
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_client_that_repeats_requests_does_not_repeat_ours(
    cluster: Cluster, connection_class: type, signer: Any, status: int
) -> None:
    cluster.status, cluster.answer = status, b"<html>"
    client = cluster.client(connection_class, max_retries=3, retry_on_timeout=True, retry_on_status=(429, 502, 503, 504))

    answer = IndexConnection(client, "products").bulk(BODY)

    assert (answer.status, len(cluster.received)) == (status, 1)


@both
def test_no_document_and_no_reason_is_logged_at_any_level(
    cluster: Cluster, connection_class: type, signer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("opensearch", "opensearchpy.trace"):
        logging.getLogger(name).addHandler(caplog.handler)
        caplog.set_level(logging.DEBUG, name)
    connection = IndexConnection(cluster.client(connection_class), "products")

    for cluster.status, cluster.answer in ((200, BAD), (400, BAD), (503, BAD)):
        connection.bulk(BODY)
    for name in ("opensearch", "opensearchpy.trace"):
        logging.getLogger(name).removeHandler(caplog.handler)

    assert "the body of a document" not in caplog.text


@both
def test_a_connection_that_is_lost_is_a_line_of_the_log(
    connection_class: type, signer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    IndexConnection(Cluster(port=1).client(connection_class), "products", timeout_seconds=5).bulk(BODY)

    (line,) = caplog.text.splitlines()
    assert "/products/_bulk" in line


def test_what_others_do_with_the_client_is_logged_as_ever(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "opensearch")
    client = cluster.client()
    IndexConnection(client, "products").bulk(BODY)

    cluster.answer = b'{"hits":{"total":"theirs"}}'
    client.search(index="products", body={"query": {"match_all": {}}})

    assert "theirs" in caplog.text


@both
def test_a_connection_that_is_refused_is_no_answer(connection_class: type, signer: Any) -> None:
    client = Cluster(port=1).client(connection_class, max_retries=3)

    answer = IndexConnection(client, "products", timeout_seconds=5).bulk(BODY)

    assert answer.status == 0
    assert answer.words.startswith("no answer: ")


@pytest.mark.parametrize(
    ("answer", "status", "taken"),
    [
        (WELL, 200, 2),
        (WELL[:-1], 0, None),
        (WELL[:-20], 0, None),
        (b"<html>Welcome to nginx!</html>", 0, None),
        (b"", 0, None),
        (b"null", 200, None),
        (b'{"errors":false}', 200, None),
        (b'{"took":1,"errors":false,"items":[{"index":{"status":201}}]}', 200, None),
    ],
)
def test_half_an_answer_is_none(cluster: Cluster, answer: bytes, status: int, taken: int | None) -> None:
    cluster.answer = answer

    found = IndexConnection(cluster.client(), "products").bulk(BODY)

    assert (found.status, found.taken) == (status, taken)


@pytest.mark.parametrize("answer", [BAD[:-2], b"the body of a document"])
def test_what_is_told_of_half_an_answer_quotes_none_of_it(cluster: Cluster, answer: bytes) -> None:
    cluster.answer = answer

    words = IndexConnection(cluster.client(), "products").bulk(BODY).words

    assert words == f"HTTP 200, and {len(answer)} characters that are no JSON"


@pytest.mark.parametrize(
    "answer", [b'{"Message":"the words"}', b'{"message":"the words"}', b'{"error":"the words"}', b"the words"]
)
def test_the_words_of_whoever_refuses_are_kept(cluster: Cluster, answer: bytes) -> None:
    cluster.status, cluster.answer = 403, answer

    assert "the words" in IndexConnection(cluster.client(), "products").bulk(BODY).error


def test_a_name_is_no_path(cluster: Cluster) -> None:
    IndexConnection(cluster.client(), "a/b%2a?x").bulk(BODY)

    assert cluster.received[0].path.startswith("/a%2Fb%252a%3Fx/_bulk?filter_path=")


@both
def test_credentials_that_are_missing_are_no_lost_connection(cluster: Cluster, connection_class: type, signer: Any) -> None:
    class NoKeys:
        def get_frozen_credentials(self) -> None:
            raise NoCredentialsError

    client = cluster.client(connection_class, http_auth=signer(NoKeys(), REGION))

    with pytest.raises(DataError, match="no usable AWS credentials"):
        IndexConnection(client, "products").bulk(BODY)


def test_a_time_that_is_over_ends_before_the_request(cluster: Cluster) -> None:
    def over() -> float:
        raise TransientError("the time is over")

    with pytest.raises(TransientError, match="the time is over"):
        IndexConnection(cluster.client(), "products", timeout_seconds=over).bulk(BODY)
    assert cluster.received == []


@both
def test_a_certificate_of_a_stranger_is_told_at_once(
    connection_class: type, signer: Any, tls_server: Callable[[], int], tmp_path: Path
) -> None:
    client = OpenSearch([{"host": "127.0.0.1", "port": tls_server()}], use_ssl=True, connection_class=connection_class)

    with pytest.raises(DataError, match="check host and ca_certs of the connection"):
        IndexConnection(client, "products", timeout_seconds=5).bulk(BODY)


@both
def test_a_port_that_speaks_no_tls_is_no_answer(cluster: Cluster, connection_class: type, signer: Any) -> None:
    client = cluster.client(connection_class, use_ssl=True)

    answer = IndexConnection(client, "products", timeout_seconds=5).bulk(BODY)

    assert (answer.status, answer.words.startswith("no ")) == (0, True)


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Starts a server whose certificate nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(Cluster()))
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield lambda: server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path

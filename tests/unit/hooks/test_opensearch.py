from __future__ import annotations

import json
from typing import Any

import pytest
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import TransportError

from local.simulators.http import Application, ConnectionReset, Request, Response, Server, json_response
from searchops.hooks.opensearch import OpenSearchDomainHook


def connection(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PRODUCTS_SEARCH", json.dumps({"conn_type": "opensearch", **values}))


def host_of(hook: OpenSearchDomainHook) -> dict[str, Any]:
    (host,) = hook.client.transport.hosts
    return {name: host.get(name) for name in ("host", "port")} | {"ssl": hook.client.transport.get_connection().use_ssl}


@pytest.fixture
def hook() -> OpenSearchDomainHook:
    return OpenSearchDomainHook(opensearch_conn_id="products_search")


@pytest.mark.parametrize(
    ("values", "port", "ssl"),
    [
        ({}, 443, True),
        ({"port": 9243}, 9243, True),
        ({"extra": {"use_ssl": False}}, 9200, False),
        ({"port": 9201, "extra": {"use_ssl": False}}, 9201, False),
    ],
)
def test_the_connection_says_where_the_domain_is(hook, monkeypatch, values, port, ssl):
    connection(monkeypatch, host="search.example", login="user", password="secret", **values)

    assert host_of(hook) == {"host": "search.example", "port": port, "ssl": ssl}


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://search.example", {"host": "search.example", "port": 443, "ssl": True}),
        ("http://127.0.0.1:9200", {"host": "127.0.0.1", "port": 9200, "ssl": False}),
    ],
)
def test_a_connection_without_a_host_leads_to_the_endpoint_that_is_looked_up(monkeypatch, endpoint, expected):
    connection(monkeypatch, login="user", password="secret")
    asked: list[str] = []

    def look_up() -> str:
        asked.append(endpoint)
        return endpoint

    hook = OpenSearchDomainHook(opensearch_conn_id="products_search", endpoint=look_up)

    assert host_of(hook) == expected
    assert host_of(hook) == expected
    assert len(asked) == 1


def test_a_connection_without_a_host_and_nothing_to_look_up_says_what_is_missing(hook, monkeypatch):
    connection(monkeypatch)

    with pytest.raises(ValueError, match="connection products_search has no host: give it one"):
        _ = hook.client


def test_a_connection_that_is_given_as_a_uri_can_say_no(hook, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PRODUCTS_SEARCH", "opensearch://127.0.0.1:9201/?use_ssl=false")

    assert host_of(hook) == {"host": "127.0.0.1", "port": 9201, "ssl": False}


def test_certificates_are_verified_unless_the_connection_says_otherwise(monkeypatch):
    for extra, verified in (({}, True), ({"verify_certs": False}, False)):
        connection(monkeypatch, host="search.example", login="user", password="x", extra=extra)
        client = OpenSearchDomainHook(opensearch_conn_id="products_search").client
        assert bool(client.transport.get_connection().session.verify) is verified


def seen_by_a_server(monkeypatch: pytest.MonkeyPatch, answer: Any, **values: Any) -> tuple[list[Request], Any]:
    """The requests that a server gets from the hook's client, and what the client makes of the answer."""
    requests: list[Request] = []

    def root(request: Request) -> Response:
        requests.append(request)
        return answer(request)

    app = Application("data plane")
    app.route("GET", "/", root)
    with Server(app) as server:
        host, port = server.url.removeprefix("http://").split(":")
        connection(monkeypatch, host=host, port=int(port), extra={"use_ssl": False}, **values)
        client = OpenSearchDomainHook(opensearch_conn_id="products_search").client
        try:
            outcome: Any = client.transport.perform_request("GET", "/")
        except Exception as error:
            outcome = error
    return requests, outcome


def test_a_login_goes_with_every_request(monkeypatch):
    ((request,), _) = seen_by_a_server(monkeypatch, lambda _: json_response({}), login="user", password="secret")

    assert request.headers["authorization"].startswith("Basic ")


def test_a_plain_connection_without_a_login_is_not_signed(monkeypatch):
    ((request,), _) = seen_by_a_server(monkeypatch, lambda _: json_response({}))

    assert "authorization" not in request.headers


def test_a_connection_without_a_login_signs_with_the_aws_connection(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://AKIAEXAMPLE:secret@/?region_name=ap-northeast-1")
    connection(monkeypatch, host="search.example")
    hook = OpenSearchDomainHook(opensearch_conn_id="products_search", region_name="ap-northeast-1")

    import requests

    prepared = requests.Request("GET", "https://search.example/_cluster/health").prepare()
    signed = hook.client.transport.get_connection().session.auth(prepared)

    assert "AKIAEXAMPLE" in signed.headers["Authorization"]
    assert "/ap-northeast-1/es/aws4_request" in signed.headers["Authorization"]


def _reset(_: Request) -> Response:
    raise ConnectionReset


@pytest.mark.parametrize(
    "answer", [_reset, lambda _: json_response({}, 503), lambda _: json_response({}, 429)], ids=["reset", "503", "429"]
)
def test_no_request_is_sent_twice_by_itself(monkeypatch, answer):
    requests, outcome = seen_by_a_server(monkeypatch, answer)

    assert len(requests) == 1
    assert isinstance(outcome, NoConnection | TransportError)

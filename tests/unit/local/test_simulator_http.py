from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
import requests

from local.simulators.http import Application, ConnectionReset, Request, Response, Server, json_response


def reset(_: Request) -> Response:
    raise ConnectionReset


def broken(_: Request) -> Response:
    raise RuntimeError("out of order")


@pytest.fixture
def server():
    app = Application("sample")
    app.route(
        "POST", "/services/{path+}", lambda request: json_response({"path": request.parameters["path"], "got": request.json()})
    )
    app.route(
        "GET", "/things/{id}", lambda request: json_response({"id": request.parameters["id"], "query": request.query}), "GetThing"
    )
    app.route("GET", "/things/special", lambda _: json_response({"id": "the special one"}), "GetSpecial")
    app.route("GET", "/reset", reset)
    app.route("GET", "/broken", broken)
    with Server(app) as server:
        yield server


def call(server: Server, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    response = requests.request(method, server.url + path, data=body, timeout=5)
    return response.status_code, response.json()


def test_a_route_takes_its_parameters_from_the_path_and_the_query(server):
    assert call(server, "GET", "/things/a%20b?x=1&x=2") == (200, {"id": "a b", "query": {"x": ["1", "2"]}})


def test_the_more_exact_route_wins(server):
    assert call(server, "GET", "/things/special") == (200, {"id": "the special one"})


def test_a_greedy_part_takes_slashes(server):
    assert call(server, "POST", "/services/T0/B0/x", b'{"text": "\xe8\xaa\x9e"}') == (
        200,
        {"path": "T0/B0/x", "got": {"text": "語"}},
    )


def test_a_body_that_is_not_json_is_the_callers_mistake(server):
    status, answer = call(server, "POST", "/services/x", b"{")

    assert status == 400
    assert "expected a JSON body" in answer["message"]


def test_an_unknown_route_is_404_and_a_failing_handler_500_with_its_reason(server):
    assert call(server, "GET", "/nothing")[0] == 404
    assert call(server, "GET", "/broken") == (500, {"message": "sample: RuntimeError: out of order"})


def test_a_reset_is_seen_by_the_client_as_a_reset(server):
    with pytest.raises(requests.ConnectionError, match="Connection reset by peer"):
        call(server, "GET", "/reset")


def test_calls_are_counted_by_operation_and_control_calls_are_not(server):
    call(server, "GET", "/things/1")
    call(server, "GET", "/things/2")
    with pytest.raises(requests.ConnectionError):
        call(server, "GET", "/reset")

    assert call(server, "GET", "/_control/calls") == (200, {"GET /reset": 1, "GetThing": 2})
    assert [(entry["operation"], entry["status"]) for entry in call(server, "GET", "/_control/log")[1]] == [
        ("GetThing", 200),
        ("GetThing", 200),
        ("GET /reset", 0),
    ]

    call(server, "POST", "/_control/calls/reset")
    assert call(server, "GET", "/_control/calls") == (200, {})


def test_one_connection_serves_many_requests(server):
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5)
    for _ in range(3):
        connection.request("GET", "/_control/health")
        response = connection.getresponse()
        assert json.loads(response.read()) == {"status": "ok", "name": "sample"}
        assert not response.will_close
    connection.close()


@pytest.mark.parametrize("headers", [{"Host": "rebound.example:80"}, {"Origin": "https://page.example"}, {"Origin": "null"}])
def test_a_web_page_that_is_led_here_is_refused(server, headers):
    """A browser sends the page's origin, and after a change of the name's address the page's own name as host."""
    answer = requests.get(f"{server.url}/_control/calls", headers=headers, timeout=5)

    assert answer.status_code == 403
    assert server.application.log.calls() == []


def test_a_client_of_this_machine_may_name_it_either_way(server):
    port = server.url.rpartition(":")[2]
    for name in ("127.0.0.1", "localhost"):
        headers = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
        assert requests.get(f"{server.url}/_control/health", headers=headers, timeout=5).status_code == 200

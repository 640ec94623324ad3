"""Each kind as a client sees it, before an upstream that keeps what reaches it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.simulators.http import Application, Request, Response, Server
from local.simulators.node_faults.control import FaultProxy
from local.simulators.node_faults.faults import Fault, Kind

BODY = b"".join(b'{"index":{"_index":"things","_id":"%d"}}\n{"n":%d}\n' % (number, number) for number in range(8))
WHOLE_ANSWERS = [
    (Kind.STATUS_429, 429, b'"rejected_execution_exception"', False),
    (Kind.STATUS_429_TEXT, 429, b"429 Too Many Requests /_bulk", False),
    (Kind.STATUS_413, 413, b'{"Message": "Request size exceeded 10485760 bytes"}', False),
    (Kind.STATUS_413_HTML, 413, b"<title>413 Request Entity Too Large</title>", False),
    (Kind.STATUS_500, 500, b"<html>", False),
    (Kind.STATUS_502, 502, b"<title>502 Bad Gateway</title>", False),
    (Kind.STATUS_503, 503, b"<html>", False),
    (Kind.STATUS_504, 504, b"<html>", False),
    (Kind.LATE_502, 502, b"<html>", True),
    (Kind.LATE_504, 504, b"<html>", True),
    (Kind.NOT_JSON, 200, b"<html>", True),
]


class Upstream:
    """Takes bulk requests as a node does and remembers them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.requests: list[Request] = []
        self.arrived = threading.Condition()
        self.application = Application("upstream")
        self.application.route("POST", "/{path+}", self._bulk)
        self.application.route("PUT", "/{path+}", self._bulk)
        self.application.route("HEAD", "/{path+}", lambda _: Response(200, b"12345", {"X-Kept": "yes"}))
        self.application.route("GET", "/{path+}", lambda _: Response(404, b"\x00raw", {"X-Kept": "yes"}))

    def _bulk(self, request: Request) -> Response:
        with self.arrived:
            self.requests.append(request)
            self.bodies.append(request.body)
            self.arrived.notify_all()
        if "gzip" in request.headers.get("content-encoding", ""):
            return Response(200, gzip.compress(b'{"took":1}'), {"Content-Encoding": "gzip"})
        actions = [json.loads(line) for line in request.body.splitlines() if b'"_id"' in line]
        items = [{"index": {**action["index"], "status": 201}} for action in actions if "index" in action]
        body = json.dumps({"took": 1, "errors": False, "items": items}).encode()
        return Response(200, body, {"Content-Type": "application/json"})

    def wait_for(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.bodies) >= count, 10)


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with Server(upstream.application) as server, FaultProxy(server.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)
    yield connection
    connection.close()


def send(client: http.client.HTTPConnection, path: str = "/_bulk", body: bytes = BODY, **headers: str) -> tuple[int, bytes]:
    client.request("POST", path, body, {"Content-Type": "application/x-ndjson", **headers})
    response = client.getresponse()
    return response.status, response.read()


def bulk(client: http.client.HTTPConnection, path: str = "/_bulk", body: bytes = BODY, **headers: str) -> dict[str, Any]:
    status, answer = send(client, path, body, **headers)
    assert status == 200
    found: dict[str, Any] = json.loads(answer)
    return found


def test_a_request_and_its_answer_pass_unchanged_over_one_connection(client, upstream) -> None:
    client.connect()
    port = client.sock.getsockname()[1]
    for _ in range(3):
        client.request("POST", "/a/_bulk?x=%20&filter_path=took", BODY, {"X-Opaque-Id": "7"})
        response = client.getresponse()
        answer = response.read()

    assert client.sock.getsockname()[1] == port
    assert (response.status, json.loads(answer)["errors"]) == (200, False)
    assert upstream.bodies == [BODY] * 3
    assert upstream.requests[0].headers["x-opaque-id"] == "7"
    assert upstream.requests[0].query == {"x": [" "], "filter_path": ["took"]}


def test_other_methods_pass_and_so_do_refusals_of_the_node(client) -> None:
    client.request("HEAD", "/things")
    head = client.getresponse()
    assert (head.read(), head.headers["Content-Length"], head.headers["X-Kept"]) == (b"", "5", "yes")
    client.request("GET", "/things")
    answer = client.getresponse()
    assert (answer.status, answer.read(), answer.headers["X-Kept"]) == (404, b"\x00raw", "yes")


def test_ten_mebibytes_and_gzip_pass_as_they_are(client, upstream) -> None:
    large = b"x" * (10 << 20)
    send(client, body=large)
    packed = gzip.compress(BODY)
    client.request("POST", "/_bulk", packed, {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})
    response = client.getresponse()

    assert gzip.decompress(response.read()) == b'{"took":1}'
    assert response.headers["Content-Encoding"] == "gzip"
    assert upstream.bodies == [large, packed]


def test_refused_items_do_not_reach_the_node_and_are_answered_in_their_places(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.ITEM_429, share=0.5))

    answer = bulk(client)

    refused = {position for position, item in enumerate(answer["items"]) if item["index"]["status"] == 429}
    assert [item["index"]["_id"] for item in answer["items"]] == [str(number) for number in range(8)]
    assert len(refused) == 4
    assert answer["errors"] is True
    assert all(answer["items"][position]["index"]["error"]["type"] == "rejected_execution_exception" for position in refused)
    assert [json.loads(line)["n"] for line in upstream.bodies[0].splitlines()[1::2]] == sorted(set(range(8)) - refused)
    assert [(entry.kind, entry.items, entry.bytes) for entry in proxy.journal()] == [(Kind.ITEM_429, 4, len(BODY))]
    assert bulk(client)["errors"] is False


@pytest.mark.parametrize(
    ("kind", "status", "type_"),
    [
        (Kind.ITEM_BLOCK_429, 429, "cluster_block_exception"),
        (Kind.ITEM_BLOCK_403, 403, "cluster_block_exception"),
        (Kind.ITEM_INDEX_CLOSED, 400, "index_closed_exception"),
    ],
)
def test_a_request_all_of_whose_items_are_refused_does_not_reach_the_node(client, proxy, upstream, kind, status, type_) -> None:
    proxy.order(Fault(kind, share=1))

    answer = bulk(client, "/other/_bulk?filter_path=items.*.status,items.*.error.type")

    assert answer == {"items": [{"index": {"status": status, "error": {"type": type_}}}] * 8}
    assert upstream.bodies == []


def test_items_of_a_gzip_body_are_refused_too(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.ITEM_429, share=0.25))

    answer = bulk(client, body=gzip.compress(BODY), **{"Content-Encoding": "gzip", "Accept-Encoding": "gzip"})

    assert sorted(item["index"]["status"] for item in answer["items"]) == [201] * 6 + [429] * 2
    assert upstream.bodies[0].count(b"\n") == 12


def test_what_is_no_bulk_request_passes_and_is_not_counted(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.ITEM_429, times=None))
    for body in (b'{"index":{}}\n', b"no json\n{}\n", BODY[:-1], b"", b"\n"):
        send(client, body=body)

    assert upstream.bodies == [b'{"index":{}}\n', b"no json\n{}\n", BODY[:-1], b"", b"\n"]
    assert proxy.counts() == {}


@pytest.mark.parametrize(("kind", "status", "text", "handled"), WHOLE_ANSWERS, ids=[entry[0].value for entry in WHOLE_ANSWERS])
def test_a_whole_request_is_answered_with_the_status(client, proxy, upstream, kind, status, text, handled) -> None:
    proxy.order(Fault(kind))

    found, answer = send(client)

    assert (found, text in answer, bool(upstream.bodies)) == (status, True, handled)
    assert proxy.counts() == {kind: 1}
    assert bulk(client)["errors"] is False


@pytest.mark.parametrize(
    ("kind", "handled"), [(Kind.RESET_BEFORE, False), (Kind.RESET_DURING, False), (Kind.RESET_AFTER, True)], ids=str
)
def test_a_reset_is_a_reset_and_the_node_has_done_the_work_or_not(client, proxy, upstream, kind, handled) -> None:
    proxy.order(Fault(kind))

    with pytest.raises(ConnectionResetError):
        send(client)

    assert bool(upstream.bodies) is handled
    client.close()
    assert bulk(client)["errors"] is False


def test_a_reset_within_a_large_request_ends_the_sending(proxy, upstream) -> None:
    proxy.order(Fault(Kind.RESET_DURING))
    address = urlsplit(proxy.url)

    with socket.create_connection((address.hostname, address.port)) as connection, pytest.raises(ConnectionError):  # noqa: PT012
        connection.sendall(b"POST /_bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n\r\n")
        connection.sendall(b"x" * 50_000_000)
        connection.recv(1)

    assert upstream.bodies == []


def test_a_timeout_comes_after_the_node_has_done_the_work(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.TIMEOUT, seconds=600))
    client.timeout = 0.2

    with pytest.raises(TimeoutError):
        send(client)
    client.close()

    proxy.wait_until_idle()
    assert upstream.bodies == [BODY]


def test_a_held_request_is_let_go_without_an_answer(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.TIMEOUT, seconds=600))
    client.request("POST", "/_bulk", BODY)
    upstream.wait_for(1)
    while not proxy.counts():
        pass

    proxy.clear()

    with pytest.raises(http.client.RemoteDisconnected):
        client.getresponse()


def test_a_delayed_request_reaches_the_node_behind_a_newer_one(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.DELAYED, seconds=600))
    with pytest.raises(ConnectionResetError):
        send(client)
    client.close()
    newer = BODY.replace(b'"n"', b'"m"')
    bulk(client, body=newer)
    client.close()
    with pytest.raises(TimeoutError, match="found 1"):
        proxy.wait_until_idle(0.05)

    proxy.release()

    proxy.wait_until_idle()
    assert upstream.bodies == [newer, BODY]


def test_a_cut_answer_lacks_half_of_its_bytes(client, proxy, upstream) -> None:
    whole = len(send(client)[1])
    proxy.order(Fault(Kind.CUT))

    with pytest.raises(http.client.IncompleteRead) as cut:
        send(client)

    assert (len(cut.value.partial), cut.value.expected) == (whole // 2, whole - whole // 2)
    assert len(upstream.bodies) == 2


@pytest.mark.parametrize(("share", "left"), [(0, 7), (0.5, 4), (1, 0)])
def test_a_short_answer_is_json_with_fewer_items(client, proxy, upstream, share, left) -> None:
    proxy.order(Fault(Kind.SHORT, share=share))

    assert [item["index"]["_id"] for item in bulk(client)["items"]] == [str(number) for number in range(left)]
    assert upstream.bodies == [BODY]


def test_a_slow_answer_waits_until_it_is_let_go(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.SLOW, seconds=600))
    client.request("POST", "/_bulk", BODY)
    while not proxy.counts():
        pass

    proxy.release()

    assert len(json.loads(client.getresponse().read())["items"]) == 8


@pytest.mark.parametrize("kind", [Kind.DUPLICATE, Kind.DUPLICATE_LAST])
def test_a_duplicated_request_reaches_the_node_twice_and_is_answered_once(client, proxy, upstream, kind) -> None:
    proxy.order(Fault(kind))

    bulk(client)
    bulk(client, body=BODY[: len(BODY) // 2])

    assert upstream.bodies == [BODY, BODY, BODY[: len(BODY) // 2]]


def test_refused_items_and_a_lost_answer_meet_in_one_request(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.ITEM_429))
    proxy.order(Fault(Kind.RESET_AFTER))

    with pytest.raises(ConnectionResetError):
        send(client)

    assert upstream.bodies[0].count(b"\n") == 8
    assert proxy.counts() == {Kind.ITEM_429: 1, Kind.RESET_AFTER: 1}


def test_the_second_request_of_a_duplicate_leaves_out_the_same_items(client, proxy, upstream) -> None:
    proxy.order(Fault(Kind.ITEM_429))
    proxy.order(Fault(Kind.DUPLICATE_LAST))

    answer = bulk(client)

    assert upstream.bodies[0] == upstream.bodies[1] != BODY
    assert sum(item["index"]["status"] == 429 for item in answer["items"]) == 4


def test_orders_pass_other_paths_other_sizes_and_the_first_requests(client, proxy) -> None:
    proxy.order(Fault(Kind.STATUS_503, times=2, after=1, path="_mget"))
    proxy.order(Fault(Kind.STATUS_413, times=None, min_bytes=len(BODY)))

    assert [send(client, "/things/_mget")[0] for _ in range(4)] == [200, 503, 503, 200]
    assert [send(client, body=BODY)[0], send(client, body=BODY[len(BODY) // 2 :])[0], send(client)[0]] == [413, 200, 413]
    proxy.clear()
    assert (send(client)[0], proxy.counts()) == (200, {})


def test_an_order_that_makes_no_sense_is_refused(proxy) -> None:
    with pytest.raises(ValueError, match="item_429 strikes items of _bulk only"):
        Fault(Kind.ITEM_429, path="_mget")
    with pytest.raises(ValueError, match="at most 1 in all"):
        proxy.random(1, {Kind.CUT: 0.7, Kind.SLOW: 0.4})


def test_a_node_that_is_gone_is_a_reset(client, proxy, upstream) -> None:
    with Server(Application("gone")) as gone:
        pass
    with FaultProxy(gone.url) as before_nothing:
        client = http.client.HTTPConnection(before_nothing.url.removeprefix("http://"), timeout=10)
        with pytest.raises(ConnectionResetError):
            send(client)
        client.close()


def test_half_a_request_of_a_client_that_died_does_not_reach_the_node(proxy, upstream) -> None:
    address = urlsplit(proxy.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(b"POST /_bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:100])

    proxy.wait_until_idle()
    assert upstream.bodies == []


def test_a_whole_request_of_a_client_that_died_has_reached_the_node_when_the_proxy_is_idle(proxy, upstream) -> None:
    address = urlsplit(proxy.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(b"POST /_bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)

    proxy.wait_until_idle()
    assert upstream.bodies == [BODY]

"""What becomes of a document after answers that no node gives when it is asked to: HTTP as it is, answers as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opensearchpy import OpenSearch

from searchops.core.bulk import BulkIndexer, Deletes, End, Scheme, VersionScheme, delete, delivery, index
from searchops.core.bulk.model import HandedOver
from searchops.core.bulk.target import Target

ATTRIBUTE = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="revision")
TARGET = Target("products", "products-1", {}, True, {}, {})
OURS_OR_THEIRS = {"status": 500, "error": {"type": "null_pointer_exception", "reason": "…"}}
DONE = {"status": 201}
REFUSED = {"status": 429, "error": {"type": "rejected_execution_exception", "reason": "…"}}


class Node:
    """Answers bulk requests with the items that it was given, in turn; the last ones again and again."""

    def __init__(self, *answers: Sequence[dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.paths: list[str] = []

    def answer(self, path: str) -> bytes:
        self.paths.append(path)
        items = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return json.dumps({"errors": True, "items": [{"index": item} for item in items]}).encode()


@pytest.fixture
def indexer_of() -> Iterator[Callable[..., BulkIndexer]]:
    servers: list[ThreadingHTTPServer] = []

    def make(node: Node, **options: Any) -> BulkIndexer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(node))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = OpenSearch([{"host": "127.0.0.1", "port": server.server_port}])
        return BulkIndexer(client, "products", ATTRIBUTE, **{"target": TARGET, **options})

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def _handler(node: Node) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer = node.answer(self.path)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.mark.parametrize(
    ("answers", "attempts"),
    [
        ([[REFUSED, REFUSED, REFUSED], [REFUSED, REFUSED, REFUSED], [DONE, DONE, DONE]], [1, 2]),
        ([[DONE, REFUSED, REFUSED], [DONE, REFUSED], [DONE]], [1, 1]),
    ],
    ids=["nothing is taken", "a part is taken"],
)
def test_waits_grow_only_while_the_node_takes_nothing(
    indexer_of: Callable[..., BulkIndexer], monkeypatch: pytest.MonkeyPatch, answers: list[Any], attempts: list[int]
) -> None:
    asked: list[int] = []

    def no_wait(attempt: int, *, patience_seconds: float) -> float:
        asked.append(attempt)
        return 0.0

    monkeypatch.setattr(delivery, "backoff_seconds", no_wait)

    written = indexer_of(Node(*answers), patience_seconds=60).write([index(name, {}, version=1) for name in "abc"])

    assert (set(written.ends), asked) == ({End.INDEXED}, attempts)


@pytest.mark.parametrize("patience", [0, 60])
def test_an_exception_that_does_not_come_again_is_not_the_documents(
    indexer_of: Callable[..., BulkIndexer], patience: int
) -> None:
    node = Node([DONE, OURS_OR_THEIRS], [DONE])

    written = indexer_of(node, patience_seconds=patience).write([index("a", {}, version=1), index("b", {}, version=1)])

    assert (written.ends, len(node.paths)) == ([End.INDEXED, End.INDEXED], 2)


@pytest.mark.parametrize("patience", [0, 60])
def test_an_exception_that_comes_again_is_the_documents(indexer_of: Callable[..., BulkIndexer], patience: int) -> None:
    node = Node([DONE, OURS_OR_THEIRS], [OURS_OR_THEIRS])

    written = indexer_of(node, patience_seconds=patience).write([index("a", {}, version=1), index("b", {}, version=1)])

    assert (written.ends, len(node.paths)) == ([End.INDEXED, End.REJECTED], 2)
    assert written.rejected[0].kind == "null_pointer_exception"


class Lane:
    """Takes everything."""

    def __init__(self) -> None:
        self.taken: list[list[HandedOver]] = []

    def hand_over(self, batch: int, documents: Sequence[HandedOver]) -> dict[str, int]:
        self.taken.append(list(documents))
        return {"spool": len(documents)}


def test_with_a_document_that_is_handed_over_go_its_older_writes_at_positions_of_their_own(
    indexer_of: Callable[..., BulkIndexer],
) -> None:
    lane, node = Lane(), Node([REFUSED, DONE, REFUSED])
    indexer = indexer_of(node, patience_seconds=0, hand_over=lane)
    older = {name: [delete(name, version=version) for version in (1, 2)] for name in "ab"}

    written = indexer.write([index(name, {}, version=3) for name in "abc"], older=older)

    assert written.ends == [End.HANDED_OVER, End.INDEXED, End.HANDED_OVER]
    (documents,) = lane.taken
    assert [(one.position, one.id, one.version) for one in documents] == [(3, "a", 1), (4, "a", 2), (0, "a", 3), (2, "c", 3)]


@pytest.mark.parametrize(("alias", "required"), [({}, True), (None, False)])
def test_an_alias_has_to_be_one_at_every_write(
    indexer_of: Callable[..., BulkIndexer], alias: dict[str, Any] | None, required: bool
) -> None:
    node = Node([DONE])
    target = Target("products", "products-1" if alias is not None else "products", alias, True, {}, {})

    indexer_of(node, target=target).write([index("a", {}, version=1)])

    assert ("require_alias=true" in node.paths[0]) is required

"""What of a domain's answers is passing and what is not, and that a search that has to see all does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import TransportError

from searchops.core.bulk.node import Refused, ask, documents, find, path
from searchops.core.errors import DataError, TransientError


def error(status: int, kind: str = "some_exception", reason: str = "because") -> TransportError:
    return TransportError(
        status, kind, {"error": {"type": kind, "reason": reason, "caused_by": {"reason": "of this"}}, "status": status}
    )


class Client:
    """Answers in their order; an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.calls = list(answers), []  # type: ignore[var-annotated]
        self.transport = SimpleNamespace(perform_request=self._perform)

    def _perform(self, method: str, path: str, **arguments: Any) -> Any:
        self.calls.append((method, path))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("given", "family"),
    [
        (error(400), Refused),
        (error(404), Refused),
        (error(401), DataError),
        (error(403, "security_exception"), DataError),
        (error(403, "cluster_block_exception"), TransientError),
        (error(400, "index_closed_exception"), TransientError),
        (error(429), TransientError),
        (error(503), TransientError),
        (NoConnection("N/A", "refused", OSError("refused")), TransientError),
        (TransportError(502, "<html>bad gateway</html>", "<html>bad gateway</html>"), TransientError),
        (TransportError(400, {"error": "text"}, {"error": "text"}), Refused),
    ],
    ids=str,
)
def test_an_answer_that_may_be_another_one_later_is_tried_again(given: Exception, family: type[Exception]) -> None:
    with pytest.raises(family) as raised:
        ask(Client(given), "PUT", "/items")

    assert "PUT /items" in str(raised.value)


def test_the_reason_and_its_cause_are_told() -> None:
    with pytest.raises(Refused, match="because; because of this"):
        ask(Client(error(400)), "PUT", "/items")


def test_what_is_not_there_is_none_and_what_can_not_be_seen_is_an_error() -> None:
    assert find(Client(error(404)), "/items") is None
    with pytest.raises(DataError, match="role mapping"):
        find(Client(error(403)), "/items")


def test_a_name_is_never_read_as_a_pattern_or_a_path() -> None:
    assert path("%2a", "a/b", "_count") == "/%252a/a%2Fb/_count"


def page(*ids: str, failed: int = 0, timed_out: bool = False) -> dict[str, Any]:
    return {
        "_scroll_id": "s",
        "timed_out": timed_out,
        "_shards": {"failed": failed},
        "hits": {"hits": [{"_id": id} for id in ids]},
    }


def test_all_pages_are_read_and_the_scroll_is_ended() -> None:
    client = Client(page("a", "b"), page("c"), page(), {})

    assert [hit["_id"] for hit in documents(client, "items", {})] == ["a", "b", "c"]
    assert client.calls[-1] == ("DELETE", "/_search/scroll")


def test_a_reader_that_stops_early_ends_the_scroll_as_well() -> None:
    client = Client(page("a", "b"), {})
    hits = documents(client, "items", {})

    next(hits)
    hits.close()

    assert client.calls[-1] == ("DELETE", "/_search/scroll")


@pytest.mark.parametrize(
    "answers", [[page("a", failed=1), {}], [page("a"), page("b", failed=1), {}], [page("a", timed_out=True), {}]]
)
def test_a_search_of_which_a_shard_does_not_answer_is_not_taken_for_all(answers: list[Any]) -> None:
    with pytest.raises(TransientError, match="has to see every document"):
        list(documents(Client(*answers), "items", {}))


def test_a_search_that_the_node_has_lost_can_be_begun_again() -> None:
    with pytest.raises(TransientError, match="lost a search"):
        list(documents(Client(page("a"), error(404, "search_context_missing_exception"), {}), "items", {}))

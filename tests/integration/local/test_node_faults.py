"""The fault proxy before a real node: what it says looks as the node's own words, and the index agrees with it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.cloud import Cloud
from local.opensearch import OpenSearchNode
from local.simulators.node_faults.answers import item_refusal
from local.simulators.node_faults.bulk import filtered
from local.simulators.node_faults.control import FaultControl, FaultProxy
from local.simulators.node_faults.faults import Fault, Kind

ACTIONS = [
    *({"index": {"_id": f"i{number}"}} for number in range(6)),
    {"create": {"_id": "c"}},
    {"update": {"_id": "absent"}},
    {"delete": {"_id": "absent"}},
    {"index": {}},
]
FILTERS = [
    "errors,items.*.status,items.*.error",
    "took,errors,items.index.error.type",
    "items.*.error",
    "items",
    "**.status",
    "errors",
    "items.*._i*",
    "nothing",
]


@pytest.fixture(scope="module")
def node(small_queue_node: OpenSearchNode) -> OpenSearchNode:
    """One client after the other is no load: the node with the small queue serves all tests."""
    return small_queue_node


@pytest.fixture(scope="module")
def proxy(node: OpenSearchNode) -> Iterator[FaultProxy]:
    with FaultProxy(node.url) as proxy:
        yield proxy
        proxy.clear()


@pytest.fixture
def index(node: OpenSearchNode, proxy: FaultProxy) -> str:
    """Return the name of a new, empty index; nothing is ordered from the proxy."""
    proxy.clear()
    name = f"faults-{uuid.uuid4().hex[:12]}"
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    httpx.put(f"{node.url}/{name}", json={"settings": settings}, trust_env=False, timeout=30).raise_for_status()
    return name


def body(actions: list[dict[str, Any]]) -> bytes:
    lines = []
    for action in actions:
        lines.append(json.dumps(action))
        if "delete" not in action:
            lines.append(json.dumps({"doc": {"n": 1}} if "update" in action else {"n": 1}))
    return "".join(f"{line}\n" for line in lines).encode()


def bulk(url: str, index: str, actions: list[dict[str, Any]], filter_path: str | None = None) -> httpx.Response:
    parameters = {"filter_path": filter_path} if filter_path else {}
    headers = {"Content-Type": "application/x-ndjson"}
    return httpx.post(
        f"{url}/{index}/_bulk", content=body(actions), params=parameters, headers=headers, trust_env=False, timeout=30
    )


def ids(node: OpenSearchNode, index: str) -> set[str]:
    httpx.post(f"{node.url}/{index}/_refresh", trust_env=False, timeout=30).raise_for_status()
    found = httpx.get(f"{node.url}/{index}/_search?size=1000&_source=false", trust_env=False, timeout=30).json()
    return {hit["_id"] for hit in found["hits"]["hits"]}


def count(node: OpenSearchNode, index: str) -> int:
    httpx.post(f"{node.url}/{index}/_refresh", trust_env=False, timeout=30).raise_for_status()
    found: int = httpx.get(f"{node.url}/{index}/_count", trust_env=False, timeout=30).json()["count"]
    return found


def wording(error: dict[str, Any]) -> str:
    """Leave out the numbers and the class of the task that was refused: a bulk request has several, any of them may be."""
    return re.sub(r"@[0-9a-f]+|\d+|(?<=rejected execution of )\S+", "", json.dumps(error))


def shape(value: Any) -> Any:
    """Return names and types without values."""
    if isinstance(value, dict):
        return {name: shape(child) for name, child in value.items()}
    return [shape(child) for child in value] if isinstance(value, list) else type(value).__name__


def test_refused_items_are_not_in_the_index_and_the_others_are(node: OpenSearchNode, proxy: FaultProxy, index: str) -> None:
    proxy.order(Fault(Kind.ITEM_429, share=0.4))
    actions = [{"index": {"_id": str(number)}} for number in range(100)]

    answer = bulk(proxy.url, index, actions).json()

    written = {item["index"]["_id"] for item in answer["items"] if item["index"]["status"] == 201}
    refused = {item["index"]["_id"] for item in answer["items"] if item["index"]["status"] == 429}
    assert (len(written), len(refused), answer["errors"]) == (60, 40, True)
    assert ids(node, index) == written


@pytest.mark.parametrize("filter_path", FILTERS)
def test_an_answer_is_filtered_as_the_node_filters_it(node: OpenSearchNode, index: str, filter_path: str) -> None:
    stale = {"index": {"_id": "i0", "version": 0, "version_type": "external"}}
    bulk(node.url, index, ACTIONS)  # from now on every action ends in the same way each time

    whole, own = (bulk(node.url, index, [*ACTIONS, stale], path).json() for path in (None, filter_path))

    assert json.dumps(shape(filtered(whole, filter_path))) == json.dumps(shape(own))


def test_every_kind_of_action_is_answered_in_its_place(node: OpenSearchNode, proxy: FaultProxy, index: str) -> None:
    """Actions with and without a source line, an id of the node's own, and failures of its own between refusals."""
    proxy.order(Fault(Kind.ITEM_429, share=0.5))

    items = bulk(proxy.url, index, ACTIONS).json()["items"]

    assert [next(iter(item)) for item in items] == [next(iter(action)) for action in ACTIONS]
    entries = [next(iter(item.values())) for item in items]
    written = {entry["_id"] for entry in entries if entry["status"] == 201}
    assert sum(entry["status"] == 429 for entry in entries) == 5
    assert ids(node, index) == written


@pytest.mark.parametrize(
    ("kind", "prepare"),
    [
        (Kind.ITEM_BLOCK_403, ("PUT", "_settings", {"index.blocks.write": True})),
        (Kind.ITEM_BLOCK_429, ("PUT", "_settings", {"index.blocks.read_only_allow_delete": True})),
        (Kind.ITEM_INDEX_CLOSED, ("POST", "_close", None)),
    ],
)
def test_a_refusal_is_worded_as_the_node_words_it(
    node: OpenSearchNode, proxy: FaultProxy, index: str, kind: Kind, prepare: tuple[str, str, Any]
) -> None:
    method, path, content = prepare
    proxy.order(Fault(kind, share=1))
    actions = [{"index": {"_id": "1"}}, {"delete": {"_id": "2"}}]

    said = bulk(proxy.url, index, actions).json()
    httpx.request(method, f"{node.url}/{index}/{path}", json=content, trust_env=False, timeout=30).raise_for_status()
    own = bulk(node.url, index, actions[:1]).json()

    assert shape(said["items"][0]) == shape(own["items"][0])
    said_error, own_error = said["items"][0]["index"], own["items"][0]["index"]
    assert said_error["status"] == own_error["status"]
    assert {**said_error["error"], "index_uuid": ""} == {**own_error["error"], "index_uuid": ""}


def test_after_a_lost_answer_the_documents_are_there(node: OpenSearchNode, proxy: FaultProxy, index: str) -> None:
    proxy.order(Fault(Kind.RESET_AFTER))
    proxy.order(Fault(Kind.RESET_BEFORE, after=1))
    for name in ("lost", "never"):
        with pytest.raises(httpx.ReadError):
            bulk(proxy.url, index, [{"index": {"_id": name}}])

    assert ids(node, index) == {"lost"}


def test_the_second_of_two_equal_requests_meets_the_conflict_of_the_first(proxy: FaultProxy, index: str) -> None:
    action = [{"index": {"_id": "1", "version": 5, "version_type": "external"}}]
    proxy.order(Fault(Kind.DUPLICATE_LAST))

    assert bulk(proxy.url, index, action).json()["items"][0]["index"]["status"] == 409


def test_a_node_with_a_small_queue_refuses_items_under_load(node: OpenSearchNode, proxy: FaultProxy, index: str) -> None:
    """The proxy adds nothing: what is refused is refused by the node, in the words that the proxy has of it."""

    def load(client: int) -> list[dict[str, Any]]:
        items = []
        for request in range(10):
            actions = [{"index": {"_id": f"{client}-{request}-{number}"}} for number in range(200)]
            items += [item["index"] for item in bulk(proxy.url, index, actions).json()["items"]]
        return items

    with ThreadPoolExecutor(24) as threads:
        items = [item for found in threads.map(load, range(24)) for item in found]

    refused = [item for item in items if item["status"] == 429]
    assert {item["status"] for item in items} == {201, 429}
    assert {wording(item["error"]) for item in refused} == {wording(item_refusal(Kind.ITEM_429, index)["error"])}
    assert count(node, index) == len(items) - len(refused)
    assert proxy.counts() == {}


def test_a_cloud_runs_a_proxy_before_a_node_with_settings_of_its_own(tmp_path: Path) -> None:
    settings = {"thread_pool.write.size": 1, "thread_pool.write.queue_size": 3}
    with Cloud(tmp_path, services=("opensearch", "proxy"), opensearch_settings=settings) as cloud:
        pools = httpx.get(f"{cloud.endpoints['proxy']}/_nodes/thread_pool", trust_env=False, timeout=30).json()["nodes"]
        control = FaultControl(cloud.endpoints["proxy"])
        control.random(1, {Kind.STATUS_503: 1}, paths=("_mget",))
        status = httpx.post(f"{cloud.endpoints['proxy']}/_mget", json={}, trust_env=False, timeout=30).status_code
        counts = control.counts()
        control.close()

    (pool,) = [node["thread_pool"]["write"] for node in pools.values()]
    assert (pool["size"], pool["queue_size"]) == (1, 3)
    assert (status, counts) == (503, {Kind.STATUS_503: 1})

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from local.engines import running_as_root
from local.opensearch import OpenSearchNode
from local.processes import session_members


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearchNode]:
    with OpenSearchNode(tmp_path_factory.mktemp("node")) as node:
        yield node


def test_the_node_is_healthy_when_the_context_is_entered(node: OpenSearchNode) -> None:
    health = httpx.get(f"{node.url}/_cluster/health", trust_env=False).json()

    assert health["status"] in ("green", "yellow")


def test_kuromoji_splits_a_compound_word(node: OpenSearchNode) -> None:
    answer = httpx.post(f"{node.url}/_analyze", json={"tokenizer": "kuromoji_tokenizer", "text": "関西国際空港"}, trust_env=False)

    assert [token["token"] for token in answer.json()["tokens"]] == ["関西", "関西国際空港", "国際", "空港"]


def test_an_index_reads_its_synonyms_from_the_analyzers_folder(node: OpenSearchNode) -> None:
    (node.analyzers_dir / "F111").write_text("会う, 逢う\n", encoding="utf-8")
    synonyms = {"type": "synonym_graph", "synonyms_path": "analyzers/F111", "updateable": True}
    analysis = {
        "filter": {"synonyms": synonyms},
        "analyzer": {"search": {"tokenizer": "whitespace", "filter": ["synonyms"]}},
    }

    created = httpx.put(f"{node.url}/synonyms", json={"settings": {"analysis": analysis}}, trust_env=False, timeout=30)
    answer = httpx.post(f"{node.url}/synonyms/_analyze", json={"analyzer": "search", "text": "会う"}, trust_env=False)

    assert created.is_success, created.text
    assert {token["token"] for token in answer.json()["tokens"]} == {"会う", "逢う"}


def test_the_node_does_not_run_as_root(node: OpenSearchNode) -> None:
    assert psutil.Process(node.pid).uids().real != 0
    assert running_as_root() or psutil.Process(node.pid).uids().real == psutil.Process().uids().real


def test_the_node_listens_on_loopback_only(node: OpenSearchNode) -> None:
    listening = [
        connection.laddr.ip
        for process in session_members(node.pid)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert len(listening) >= 2, "HTTP and transport"
    assert {address.removeprefix("::ffff:") for address in listening} <= {"127.0.0.1", "::1"}


def test_a_stopped_node_leaves_neither_process_nor_folder(tmp_path: Path) -> None:
    with OpenSearchNode(tmp_path, settings={"thread_pool.write.queue_size": 7}) as node:
        settings = httpx.get(f"{node.url}/_nodes/settings?flat_settings=true", trust_env=False).json()
        pid, home = node.pid, node.home

    assert '"thread_pool.write.queue_size": "7"' in str(settings).replace("'", '"')
    assert not psutil.pid_exists(pid)
    assert not home.exists()

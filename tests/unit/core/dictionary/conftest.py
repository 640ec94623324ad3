from __future__ import annotations

from collections.abc import Iterator

import pytest
from opensearchpy import OpenSearch

from local.simulators.http import Server
from searchops.core.dictionary.node import Node
from tests.unit.tiny_node import TinyNode


@pytest.fixture
def tiny() -> TinyNode:
    return TinyNode()


@pytest.fixture
def node(tiny: TinyNode) -> Iterator[Node]:
    with Server(tiny.application) as server:
        yield Node(OpenSearch(server.url, max_retries=0))

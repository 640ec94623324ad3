"""The page's examples run as they are printed."""

from __future__ import annotations

import re
from typing import Any

import boto3
import pytest

from searchops.inventory import project_root
from tests.unit.core.idempotency.memory_table import MemoryTable

PAGE = project_root() / "docs" / "idempotency.md"


@pytest.fixture
def example(table: MemoryTable, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's examples define, one after the other; ``sent`` is what they sent, with its version."""
    monkeypatch.setattr(boto3, "client", lambda service: {"dynamodb": table}[service])
    sent: list[tuple[int, int]] = []

    def send(invoice: dict[str, int], version: int) -> str:
        sent.append((invoice["number"], version))
        return f"sent {invoice['number']}"

    names: dict[str, Any] = {"send": send, "sent": sent}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, names)  # noqa: S102
    return names


@pytest.mark.parametrize("way", ["send_once", "remind", "send_by_hand"])
def test_each_example_does_its_work_once_and_gives_the_result_again(example: dict[str, Any], way: str) -> None:
    results = [example[way]({"number": 7}) for _ in range(2)]

    assert results == ["sent 7"] * 2
    assert [number for number, _ in example["sent"]] == [7]

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from searchops.inventory import Inventory, load


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Inventory]:
    """Load a text as ``include/searchops.yaml`` of a project of its own."""

    def read(text: str) -> Inventory:
        path = tmp_path / "include" / "searchops.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return load(path)

    return read

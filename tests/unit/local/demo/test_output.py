"""What the demo shows and leaves, without an engine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from local.cloud import ROOT
from local.demo.__main__ import show
from local.engines import OPENSEARCH_VERSION
from local.results import Act

RUN = "manual__27228198-8fc0-4aa6-b3d3-f486c140cb40"
ADDRESS = f"http://127.0.0.1:23956/dags/dictionary_sync_products-search/runs/{RUN}"
FACTS = {
    "seconds closed for the user dictionary": {"products-1": 0.47},
    "a word": {"search": "アメリカ人", "tokens before": "アメリカ 人"},
    "failed task": "user-dictionary.plan",
    "Slack": f"*failed*\nRun: <{ADDRESS}|{RUN}>\n• Line [201]: duplicate [アメリカ人]\n  <{ADDRESS}/tasks/plan?try_number=1|log>",
    "history": {"v2": f"searchops sha256={'45c1b002abc1' + '0' * 52}"},
}


@pytest.fixture
def shown() -> str:
    console = Console(width=80, file=io.StringIO())
    show(console, Act("4 a title that is longer than its little table", True, 29.8, FACTS))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_act_fits_80_columns(shown: str) -> None:
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert shown.startswith("Act 4 a title that is longer than its little table: came true (30 s)\n")


def test_words_and_ids_stay_on_one_line(shown: str) -> None:
    for whole in (
        f"Run: {RUN}",
        "user-dictionary.plan",
        "tokens before: アメリカ 人",
        "[アメリカ人]",
        "sha256=45c1b002abc1…",
        "log",
    ):
        assert any(whole in line for line in shown.splitlines()), whole
    assert "http" not in shown


def test_a_demo_that_can_not_start_says_why_and_leaves_no_result_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"name": "searchops", "acts": [{"passed": true}]}')
    (tmp_path / "cache" / f"opensearch-{OPENSEARCH_VERSION}").mkdir(parents=True)
    environment = os.environ | {"OPENSEARCH_JAVA_HOME": str(tmp_path), "SEARCHOPS_CACHE": str(tmp_path / "cache")}

    answer = subprocess.run(
        [sys.executable, "-m", "local.demo", "--directory", tmp_path],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1, answer.stderr
    assert "the local cloud did not start" in answer.stdout
    assert "holds no bin/java" in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr
    assert not (tmp_path / "demo.json").exists()

"""The documents keep up with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from searchops.core.functions.redrive import Fate
from searchops.core.replay.arrivals import Arrival
from searchops.core.replay.choice import Choice
from searchops.core.replay.model import Outcome
from searchops.inventory.models import (
    Consumer,
    DateIndex,
    Defaults,
    DomainEntry,
    FunctionEntry,
    IndexEntry,
    Model,
    PackageEntry,
    Replay,
    TableEntry,
    Waits,
)
from searchops.task_groups.dictionary import TASKS
from searchops.task_groups.replay import PARAMS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
JOB = (ROOT / "docs" / "dictionary_sync.md").read_text(encoding="utf-8")
FUNCTIONS = (ROOT / "docs" / "functions.md").read_text(encoding="utf-8")
REPLAY = (ROOT / "docs" / "stream_replay.md").read_text(encoding="utf-8")
REPLAYED_TABLES = (ROOT / "docs" / "stream_replay_tables.md").read_text(encoding="utf-8")

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    return _CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The ids that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_and_picture_of_a_page_is_there(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        if "://" not in link and (not file.exists() or (anchor and anchor not in anchors(file))):
            broken.append(link)

    assert not broken


def test_every_picture_is_shown_and_small() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in _LINK.findall(prose(page))}
    pictures = set((ROOT / "docs" / "images").iterdir())

    assert pictures <= shown
    assert all(picture.stat().st_size < 300_000 for picture in pictures)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for code in _CODE.findall(page.read_text(encoding="utf-8")) for target in _MAKE.findall(code)}

    assert named <= targets


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_explained(task: str) -> None:
    assert re.search(rf"^\| `{task}` \|", JOB, re.MULTILINE)


@pytest.mark.parametrize("model", [Defaults, PackageEntry, DomainEntry, Waits, IndexEntry], ids=lambda model: model.__name__)
def test_every_field_of_the_inventory_is_explained(model: type[Model]) -> None:
    comments = re.findall(r"(\w+): .*#", (ROOT / "include" / "searchops.yaml").read_text(encoding="utf-8"))
    explained = {*re.findall(r"`([a-z_]+)`", JOB), *comments}

    assert set(model.model_fields) - explained == set()


def test_every_field_of_a_function_and_every_fate_of_a_failed_event_is_explained() -> None:
    explained = {*re.findall(r"`([a-z_]+)`", FUNCTIONS)}

    assert set(FunctionEntry.model_fields) - explained == set()
    assert all(re.search(rf"^\| {fate.value} \|", FUNCTIONS, re.MULTILINE) for fate in Fate)


@pytest.mark.parametrize("model", [TableEntry, DateIndex, Consumer, Replay], ids=lambda model: model.__name__)
def test_every_field_of_a_table_is_explained(model: type[Model]) -> None:
    assert set(model.model_fields) - {*re.findall(r"`([a-z_]+)`", REPLAYED_TABLES)} == set()


def test_every_field_of_the_forms_of_a_replay_is_explained() -> None:
    wanted = {*(field.name for field in fields(Choice)), *PARAMS, "dry_run"} - {"interval_start"}

    assert wanted - {*re.findall(r"`([a-z_]+)`", REPLAY)} == set()


# What has arrived is "in the index" there; what was touched before is "touched".
@pytest.mark.parametrize("end", sorted({*Outcome, *Arrival} - {Outcome.OURS_BEFORE, Arrival.ARRIVED}))
def test_every_end_of_an_item_of_a_replay_is_explained(end: str) -> None:
    assert re.search(rf"^\| [^|]*{end.replace('_', ' ')}", REPLAY, re.MULTILINE)


def test_every_dag_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert all(f"| `{path.stem}" in readme for path in (ROOT / "dags").glob("*.py"))

"""The page that explains every field."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from searchops.inventory import project_root, reference
from searchops.inventory.__main__ import main
from searchops.inventory.models import Model
from searchops.inventory.types import Duration, Key


class Small(Model):
    """A mapping
    of two lines."""

    kind: Literal["a", "b"]
    share: float = Field(default=0.5, ge=0, le=1, description="From pk|sk, *all* < half.")
    names: Annotated[tuple[Key, ...], Field(min_length=1)] | None = None
    wait: Duration = Field(default="90s", validate_default=True)


class Around(Model):
    small: Small | None = None
    all: tuple[Small, ...] = ()


def row(page: str, field: str) -> list[str]:
    (line,) = re.findall(rf"^\| `{field}` \|.*$", page, re.MULTILINE)
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_shipped_page_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference", "--output", "-"]) == 0

    shipped = (project_root() / "docs" / "inventory.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == shipped, "run: python -m searchops.inventory reference"


def test_every_field_has_a_value_a_default_and_a_meaning() -> None:
    rows = [line for line in reference.reference().splitlines() if line.startswith("| `")]

    assert len(rows) > 40
    assert [line for line in rows if not all(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])] == []


def test_a_field_is_told_with_its_type_its_limits_and_its_default() -> None:
    page = reference.mapping("small", Small)

    assert page.startswith("## `small`\n\nA mapping of two lines.\n")
    assert row(page, "kind") == ["`kind`", "`a` or `b`", "**needed**", ""]
    assert row(page, "share") == ["`share`", "a number, at least 0, at most 1", "`0.5`", r"From pk\|sk, \*all\* \< half."]
    assert row(page, "names")[1:3] == ["a list, each a key", "none"]


def test_a_mapping_inside_another_has_a_table_of_its_own_to_which_its_field_leads() -> None:
    page = reference.mapping("around.<key>", Around)

    assert row(page, "small")[1] == "[a mapping](#aroundkeysmall)"
    assert row(page, "all")[1] == "a list, each [a mapping](#aroundkeyall)"
    assert re.findall(r"^#+ .*$", page, re.MULTILINE) == [
        "## `around.<key>`",
        "### `around.<key>.small`",
        "### `around.<key>.all[]`",
    ]


def test_a_type_that_nobody_has_put_into_words_is_named() -> None:
    class Wrong(Model):
        day: date | None = None

    with pytest.raises(NotImplementedError, match=r"wrong\.day: .*WORDS, found .*date"):
        reference.mapping("wrong", Wrong)


def test_the_commands_that_write_a_file_leave_it_readable(tmp_path: Any) -> None:
    assert main(["reference", "--output", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8").startswith("# The inventory")

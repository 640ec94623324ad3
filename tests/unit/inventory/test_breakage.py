"""Whatever is wrong with one entry, the others stay as they are."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from searchops.inventory import Inventory, InventoryError, load

BASE: dict[str, Any] = {
    "defaults": {"region": "ap-northeast-1", "bucket": "example-bucket"},
    "packages": {f"words-{n}": {"kind": "synonyms", "source": f"include/{n}.txt", "on_drift": "fail"} for n in "abc"},
    "domains": {
        f"domain-{n}": {
            "opensearch_conn_id": n,
            "schedule": "0 3 * * *",
            "timezone": "Asia/Tokyo",
            "deadline": "2h",
            "packages": [f"words-{n}"],
            "preview": {"max_changed_documents": 10, "min_rbo": 0.5},
        }
        for n in "abc"
    },
    "indexes": {
        f"items-{n}": {
            "domain": f"domain-{n}",
            "body": "include/items.json",
            "id": {"attributes": ["pk"]},
            "version": {"scheme": "attribute", "attribute": "revision"},
            "hand_over": {"patience": "2m"},
            "probes": [{"text": "t", "analyzer": "a", "contains": ["t"]}],
        }
        for n in "abc"
    },
    "tables": {
        f"table-{n}": {
            "index": f"items-{n}",
            "date_index": {"name": "by-day", "attribute": "day", "timezone": "Asia/Tokyo"},
            "consumers": [{"function": "stream-indexer"}],
            "replay": {"wcu_per_second": 200, "max_lag": "15m"},
        }
        for n in "abc"
    },
}
SECTIONS = (("packages", "words"), ("domains", "domain"), ("indexes", "items"), ("tables", "table"))
PATHS = {"source_path", "body_path", "packages", "indexes", "written_index"}

# Text begins with junk, so that it is by no chance the name of a neighbour.
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20).map(lambda text: f"junk{text}")
)
junk = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(leaves, inner, max_size=3), max_leaves=6)


def load_data(data: Any) -> Inventory:
    return load_bytes(yaml.safe_dump(data, allow_unicode=True).encode())


def load_bytes(content: bytes) -> Inventory:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "include" / "searchops.yaml"
        path.parent.mkdir()
        path.write_bytes(content)
        return load(path)


@st.composite
def broken_files(draw: st.DrawFn) -> dict[str, Any]:
    """BASE with one to three pieces of an entry of letter "b" replaced, removed or added."""
    data = copy.deepcopy(BASE)
    section, prefix = draw(st.sampled_from(SECTIONS))
    entry = data[section][f"{prefix}-b"]
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.sampled_from(["replace", "remove", "add", "all"])):
            case "replace":
                entry[draw(st.sampled_from(sorted(map(str, entry))))] = draw(junk)
            case "remove" if len(entry) > 1:
                entry.pop(draw(st.sampled_from(sorted(entry, key=str))))
            case "add":
                entry[draw(leaves)] = draw(junk)
            case "all":
                data[section][f"{prefix}-b"] = draw(junk)
    return data


@settings(deadline=None)  # writes a file
@given(broken_files())
def test_a_broken_entry_never_changes_its_neighbours(data: dict[str, Any]) -> None:
    found, whole = load_data(data), load_data(BASE)

    for letter in "ac":
        for section, prefix in SECTIONS:
            key = f"{prefix}-{letter}"
            expected = getattr(whole, section)[key].model_dump(mode="json", exclude=PATHS)
            entry = getattr(found, section)[key]
            assert entry.model_dump(mode="json", exclude=PATHS) == expected
        domain = found.domains[f"domain-{letter}"]
        assert [package.key for package in domain.packages] == [f"words-{letter}"]
        assert [index.name for index in domain.indexes] == [f"items-{letter}"]
        assert found.tables[f"table-{letter}"].written_index == found.written_indexes[f"items-{letter}"]


@settings(deadline=None)  # writes a file
@given(broken_files())
def test_a_domain_is_never_good_without_what_its_file_names(data: dict[str, Any]) -> None:
    found = load_data(data)

    if "domain-b" in found.domains:
        listed = data["domains"]["domain-b"].get("packages", [])
        assert [package.key for package in found.domains["domain-b"].packages] == listed
        index = data["indexes"]["items-b"]
        if isinstance(index, dict) and index.get("domain") == "domain-b":
            assert [index.name for index in found.domains["domain-b"].indexes] == ["items-b"]
    for entry in found.broken:
        assert entry.errors
        assert all(message.startswith("include/searchops.yaml: ") and "\n" not in message for message in entry.errors)


@settings(deadline=None)  # writes a file
@given(
    st.dictionaries(
        st.sampled_from(["defaults", "packages", "domains", "indexes", "tables", "x"]) | leaves,
        junk | st.dictionaries(leaves, junk, max_size=4),
    )
)
def test_a_mapping_of_any_content_loads(data: dict[Any, Any]) -> None:
    found = load_data(data)

    assert not found.domains


@settings(deadline=None)  # writes a file
@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>?'\"# \n\t,0.<", max_size=60).map(str.encode))
@example(b"a: &a [*a]")
@example(b"domains: {a: &a {b: *a}}")
@example(b"? [a]\n: 1")
@example(b"a: !!int x")
@example(b"a: 2024-13-45")
@example(b"[" * 5000)
def test_bytes_load_or_raise_the_one_error(content: bytes) -> None:
    with contextlib.suppress(InventoryError):
        load_bytes(content)

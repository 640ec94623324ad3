"""Read a YAML file as data in which every value still knows its line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


class DocumentError(ValueError):
    """The text is not a YAML mapping that means one thing."""


class _Loader(yaml.CSafeLoader):
    """YAML in which a date stays text.

    Dates have no use in the inventory, and an impossible one (``2024-13-45``) would raise from the middle of the file instead of
    being the error of its entry.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping and where its parts stand in the text."""

    data: dict[Any, Any]
    _root: yaml.Node
    repeated: Mapping[tuple[str, ...], list[str]]
    """Sentences about keys that are given twice, by the section, or section and entry, that they make unusable."""

    def line(self, path: Sequence[str | int]) -> int:
        """Line (from 1) of the value at a path, or of the nearest thing around it that the text has."""
        node = self._root
        line: int = node.start_mark.line
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return line + 1


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line, item
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):  # what a merge (<<) brings in stands before what replaces it
            if isinstance(key, yaml.ScalarNode) and key.value == step:
                return key.start_mark.line, value
    return None


def parse(content: bytes) -> Document:
    """Parse a document whose top is a mapping.

    :raises DocumentError: not YAML, not a mapping, or a section that is given twice
    """
    try:
        loader = _Loader(content)
        try:
            root = loader.get_single_node()
            repeated = _repeated_keys(root) if isinstance(root, yaml.MappingNode) else {}
            data = loader.construct_document(root) if isinstance(root, yaml.MappingNode) else None
        finally:
            loader.dispose()
    except DocumentError:
        raise
    except yaml.MarkedYAMLError as error:
        raise DocumentError(f"is not YAML: {_problem(error, content)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"is not YAML: {error}") from error
    if root is None or not isinstance(data, dict):
        raise DocumentError("expected a mapping with sections such as domains at the top, found something else or nothing")
    return Document(data, root, repeated)


def _problem(error: yaml.MarkedYAMLError, content: bytes) -> str:
    if error.problem_mark is None:
        return str(error.problem or error.context)
    line = error.problem_mark.line
    if any(re.match(rb" *\t", text) for text in content.splitlines()[line : line + 1]):
        return f"found a tab before the text of line {line + 1}; YAML indents with spaces"
    return f"{error.problem or error.context} in line {line + 1}"


def _repeated_keys(root: yaml.MappingNode) -> dict[tuple[str, ...], list[str]]:
    """YAML's own answer to a repeated key is to drop the first one silently."""
    if twice := _twice(root):
        raise DocumentError(next(iter(twice.values())))
    known: dict[int, list[str]] = {}
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for section, entries in root.value:
        if not isinstance(entries, yaml.MappingNode):
            continue
        for name, sentence in _twice(entries).items():
            found[section.value, name].append(sentence)
        for key, entry in entries.value:
            found[section.value, str(key.value)] += _repeated_within(entry, known)
    return {path: sentences for path, sentences in found.items() if sentences}


def _repeated_within(node: yaml.Node, known: dict[int, list[str]]) -> list[str]:
    """The sentences of a node and all below it; a node that several aliases name is read once."""
    if not isinstance(node, yaml.CollectionNode):
        return []
    if id(node) not in known:
        known[id(node)] = []  # for an alias that leads back here
        children = [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
        own = list(_twice(node).values()) if isinstance(node, yaml.MappingNode) else []
        known[id(node)] = list(dict.fromkeys([*own, *(text for child in children for text in _repeated_within(child, known))]))
    return known[id(node)]


def _twice(node: yaml.MappingNode) -> dict[str, str]:
    """A sentence for every key that this mapping gives twice."""
    lines: dict[tuple[str, str], int] = {}
    sentences = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line, name = key.start_mark.line + 1, (key.tag, key.value)
        if name in lines:
            sentences[key.value] = f'the key "{key.value}" is given twice, in lines {lines[name]} and {line}; keep one of them'
        lines[name] = line
    return sentences

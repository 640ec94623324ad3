"""Read a YAML file as data in which every value still knows its line."""

from __future__ import annotations

from collections.abc import Sequence
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

    :raises DocumentError: not YAML, not a mapping, or a key that is given twice
    """
    try:
        loader = _Loader(content)
        try:
            root = loader.get_single_node()
            _refuse_repeated_keys(root, set())
            data = loader.construct_document(root) if isinstance(root, yaml.MappingNode) else None
        finally:
            loader.dispose()
    except DocumentError:
        raise
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DocumentError(f"is not YAML: {error.problem or error.context}{where}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"is not YAML: {error}") from error
    if root is None or not isinstance(data, dict):
        raise DocumentError("expected a mapping with sections such as domains at the top, found something else or nothing")
    return Document(data, root)


def _refuse_repeated_keys(node: yaml.Node | None, seen: set[int]) -> None:
    """YAML's own answer to a repeated key is to drop the first one silently."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return
    seen.add(id(node))
    lines: dict[tuple[str, str], int] = {}
    for child in node.value:
        key, value = child if isinstance(node, yaml.MappingNode) else (None, child)
        if isinstance(key, yaml.ScalarNode):
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                raise DocumentError(f'the key "{key.value}" is given twice, in lines {lines[name]} and {line}; keep one of them')
            lines[name] = line
        _refuse_repeated_keys(value, seen)

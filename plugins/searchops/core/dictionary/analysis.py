"""How an index uses a dictionary, and the same analyzers with other content, written inline for ``_analyze``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from searchops.core.dictionary.model import UseMode
from searchops.core.errors import DataError

# Filters with an analysis mode in OpenSearch 3.8; a stop filter has none, so its file is never reloaded.
UPDATEABLE = {"synonym", "synonym_graph", "keyword_marker"}
_KINDS = ("tokenizer", "filter", "char_filter")

Analysis = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Use:
    """The analyzers of one index that read a file, and when they do."""

    analyzers: tuple[str, ...]
    mode: UseMode


def use_of(definition: Mapping[str, Any], reference_path: str) -> Use | None:
    """How the index with this definition (an entry of ``GET /<index>``) uses the file, or None."""
    analysis = analysis_of(definition)
    analyzers = tuple(
        name for name, analyzer in analysis.get("analyzer", {}).items() if _reads(analysis, analyzer, reference_path)
    )
    if not analyzers:
        return None
    if index_time_analyzers(definition, analysis) & set(analyzers):
        return Use(analyzers, UseMode.INDEX_TIME)
    components = [component for name in analyzers for component in _components(analysis, analysis["analyzer"][name])]
    readers = [component for component in components if reference_path in component.values()]
    automatic = all(_updateable(component) for component in readers)
    # A typed analyzer (`"type": "kuromoji"`) reads the file itself and is never reloaded.
    automatic &= not any(reference_path in analysis["analyzer"][name].values() for name in analyzers)
    return Use(analyzers, UseMode.AUTOMATIC if automatic else UseMode.SEARCH_TIME)


def analysis_of(definition: Mapping[str, Any]) -> Analysis:
    return definition.get("settings", {}).get("index", {}).get("analysis", {})  # type: ignore[no-any-return]


def _updateable(component: Mapping[str, Any]) -> bool:
    return component.get("type") in UPDATEABLE and str(component.get("updateable", "")).lower() == "true"


def _names(value: Any) -> list[str]:
    """Names in a setting, which the engine takes as a list or as one text with commas."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else list(value or [])


def _components(analysis: Analysis, analyzer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in _KINDS:
        for name in _names(analyzer.get(kind)):
            component = analysis.get(kind, {}).get(name)
            if component is not None:
                yield component
                yield from _inner(analysis, component)


def _inner(analysis: Analysis, component: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The filters that a `condition` (``filter``) or a `multiplexer` (``filters``: each a chain with commas) holds by name, at any depth."""
    for chain in [*_names(component.get("filter")), *_names(component.get("filters"))]:
        for name in _names(chain):
            if inner := analysis.get("filter", {}).get(name):
                yield inner
                yield from _inner(analysis, inner)


def _reads(analysis: Analysis, analyzer: Mapping[str, Any], path: str) -> bool:
    return path in analyzer.values() or any(path in component.values() for component in _components(analysis, analyzer))


def index_time_analyzers(definition: Mapping[str, Any], analysis: Analysis) -> set[str]:
    """The analyzers that run when documents are indexed: a field's ``analyzer``, and the index's ``default``."""
    used = {field["analyzer"] for field in _fields(definition.get("mappings", {})) if "analyzer" in field}
    return used | ({"default"} & set(analysis.get("analyzer", {})))


def _fields(mapping: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All field definitions, with their sub-fields, objects and dynamic templates."""
    for group in ("properties", "fields"):
        for field in mapping.get(group, {}).values():
            yield field
            yield from _fields(field)
    for template in mapping.get("dynamic_templates", []):
        for rule in template.values():
            field = rule.get("mapping", {})
            yield field
            yield from _fields(field)


def inline(definition: Mapping[str, Any], analyzer: str, contents: Mapping[str, Sequence[str] | None]) -> dict[str, Any]:
    """A body for ``POST /<index>/_analyze`` that does what the named analyzer does, with ``contents`` (lines by path) in place of those files.

    With None for its lines a file stays named, and the engine reads it as it is now, which the index may not have done yet.
    Components that read none of these files are named, not copied: the index resolves them.

    :raises DataError: the analyzer is not a custom one, or one of its filters holds a reader of the files: it cannot be written inline
    """
    analysis = analysis_of(definition)
    wanted = analysis["analyzer"][analyzer]
    if wanted.get("type", "custom") != "custom":
        raise DataError(
            f'analyzer {analyzer} is of type "{wanted["type"]}": expected a custom analyzer (tokenizer, filters), because only such a one can be '
            "compared with new content; rewrite it as custom in the index body"
        )
    body: dict[str, Any] = {}
    for kind in _KINDS:
        parts = [_inline_component(analysis, kind, name, contents) for name in _names(wanted.get(kind))]
        if parts:
            body[kind] = parts[0] if kind == "tokenizer" else parts
    return body


def file_analyzers(definition: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, every custom analyzer of an index that reads files, written inline with these files named: what opening the index builds."""
    analysis = analysis_of(definition)
    files = {value for kind in _KINDS for part in analysis.get(kind, {}).values() for value in _files(part)}
    readers = [
        name
        for name, analyzer in analysis.get("analyzer", {}).items()
        if analyzer.get("type", "custom") == "custom" and any(_reads(analysis, analyzer, path) for path in files)
    ]
    return {name: inline(definition, name, dict.fromkeys(files)) for name in readers}


def _inline_key(setting: str) -> str | None:
    """The setting that takes the lines themselves in place of the file that this one names, or None."""
    if setting == "user_dictionary":
        return "user_dictionary_rules"
    return setting.removesuffix("_path") if setting.endswith("_path") else None


def _files(component: Mapping[str, Any]) -> list[str]:
    return [value for key, value in component.items() if _inline_key(key) and isinstance(value, str)]


def _inline_component(analysis: Analysis, kind: str, name: str, contents: Mapping[str, Sequence[str] | None]) -> Any:
    component = analysis.get(kind, {}).get(name)
    if component is None:
        return name
    if any(contents.get(path) is not None for inner in _inner(analysis, component) for path in _files(inner)):
        raise DataError(
            f'filter {name} is of type "{component.get("type")}" and holds a filter that reads a dictionary: the engine takes such a one by name '
            "only, so it can not be compared with new content; put the filter into the analyzer itself in the index body"
        )
    if not any(path in contents for path in _files(component)):
        return name
    written: dict[str, Any] = {}
    for key, value in component.items():
        lines = contents.get(value) if isinstance(value, str) else None
        inline_key = _inline_key(key)
        if inline_key and lines is not None:
            written[inline_key] = list(lines)
        elif key != "updateable":  # an inline filter lives for one request
            written[key] = value
    return written


def splits_compounds(definition: Mapping[str, Any], analyzer: str) -> bool:
    """Whether kuromoji gives the analyzer's synonym filter a graph of compounds, which that filter refuses.

    kuromoji's modes ``search`` (default) and ``extended`` do, unless ``discard_compound_token`` is set.
    """
    analysis = analysis_of(definition)
    tokenizer = analysis["analyzer"][analyzer].get("tokenizer")
    settings = analysis.get("tokenizer", {}).get(tokenizer, {"type": tokenizer})
    if settings.get("type") != "kuromoji_tokenizer":
        return False
    return settings.get("mode", "search") != "normal" and str(settings.get("discard_compound_token", "")).lower() != "true"

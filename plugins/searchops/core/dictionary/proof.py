"""Ask the engine: does it build a dictionary, and does an index serve it?

Both questions are put with inline analyzers (``_analyze``), which use the target's own engine and touch no index.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from searchops.core.dictionary.analysis import file_analyzers, inline, splits_compounds
from searchops.core.dictionary.formats import MAX_TEXTS
from searchops.core.dictionary.model import Kind, Probe
from searchops.core.dictionary.node import Node, Refused, Token
from searchops.core.errors import DataError

Contents = Mapping[str, Sequence[str]]

_SAMPLE = ["searchops"]
# For a dictionary that no index of the domain uses yet.
_GENERIC: Mapping[Kind, Any] = {
    Kind.SYNONYMS: lambda lines: {"tokenizer": "standard", "filter": ["lowercase", {"type": "synonym_graph", "synonyms": lines}]},
    Kind.KUROMOJI_USER_DICTIONARY: lambda lines: {"tokenizer": {"type": "kuromoji_tokenizer", "user_dictionary_rules": lines}},
    Kind.STOPWORDS: lambda lines: {"tokenizer": "standard", "filter": [{"type": "stop", "stopwords": lines}]},
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What new content changes in one text under one analyzer."""

    text: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A text for which the live analyzer does not give what the new files give."""

    text: str
    expected: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one analyzer of one index has to give once it serves the new content."""

    index: str
    analyzer: str
    texts: tuple[str, ...]
    tokens: tuple[tuple[Token, ...], ...]
    effects: tuple[Effect, ...] = field(default=())
    old_is_known: bool = True


MAX_WAITED_FOR = 20


def expectation_to(expectation: Expectation, wrong: Sequence[Mismatch]) -> dict[str, Any]:
    """What a wait has to look at until the analyzer is right, as JSON: at most 20 of the texts that are wrong now.

    A trigger's arguments are kept in a column of the metadata database; what is proved afterwards are all texts.
    """
    tokens = dict(zip(expectation.texts, expectation.tokens, strict=True))
    texts = [mismatch.text for mismatch in wrong[:MAX_WAITED_FOR]]
    return {
        "index": expectation.index,
        "analyzer": expectation.analyzer,
        "texts": texts,
        "tokens": [[list(token) for token in tokens[text]] for text in texts],
    }


def expectation_from(row: Mapping[str, Any]) -> Expectation:
    tokens = tuple(tuple((str(term), int(at), int(length)) for term, at, length in tokens) for tokens in row["tokens"])
    return Expectation(row["index"], row["analyzer"], tuple(row["texts"]), tokens)


def compile_on(
    node: Node, index: str, definition: Mapping[str, Any], analyzers: Iterable[str], contents: Contents, where: str
) -> None:
    """Let the engine build the index's own analyzers with the new content.

    :raises Refused: it does not; the message holds the engine's reason, and what to do where that is known
    """
    for analyzer in analyzers:
        try:
            node.analyze(index, inline(definition, analyzer, contents), _SAMPLE)
        except Refused as refused:
            hint = ""
            if "synonym" in str(refused).lower() and splits_compounds(definition, analyzer):
                hint = (
                    '; kuromoji splits compounds in mode "search" and the synonym filter refuses such words: set "discard_compound_token": true '
                    '(or "mode": "normal") on the tokenizer in the index body'
                )
            raise Refused(
                f"{where}: analyzer {analyzer} of index {index} does not build: {refused.reason or refused}{hint}",
                reason=refused.reason,
            ) from refused


def build_entries(build: Callable[[Sequence[str]], None], lines: Sequence[str]) -> None:
    """Build a dictionary of these lines; where the engine refuses it, name the first line with which it does.

    The engine itself says no more than "Failed to build synonyms" (OpenSearch 3.8), so the line is looked for by halving, in 20 builds for a million.

    :raises Refused: as ``build`` does, with the line where it is one of these
    """
    try:
        build(lines)
    except Refused as refused:
        line = _first_refused(build, lines)
        if line is None:
            raise
        raise Refused(f"{refused}; refused from this entry on: {line!r}", reason=refused.reason) from refused


def _first_refused(build: Callable[[Sequence[str]], None], lines: Sequence[str]) -> str | None:
    def builds(count: int) -> bool:
        try:
            build(lines[:count])
        except Refused:
            return False
        return True

    if not builds(0):
        return None
    return lines[bisect.bisect_left(range(1, len(lines)), True, key=lambda count: not builds(count))]


def compile_files(node: Node, index: str, definition: Mapping[str, Any]) -> None:
    """Let the engine build every analyzer of an index from the files as they are now, as opening it will.

    An index that was closed and whose files do not build can not be opened any more.

    :raises Refused: an analyzer does not build; the index has not been touched
    """
    for name, body in file_analyzers(definition).items():
        try:
            node.analyze(index, body, _SAMPLE)
        except Refused as refused:
            raise Refused(
                f"index {index} is not closed, because it could not be opened again: analyzer {name} does not build from the domain's files: "
                f"{refused.reason}",
                reason=refused.reason,
            ) from refused


def compile_alone(node: Node, kind: Kind, lines: Sequence[str], where: str) -> None:
    """Let the engine build a dictionary that no index uses yet, in the plainest analyzer of its kind."""
    try:
        node.analyze(None, _GENERIC[kind](list(lines)), _SAMPLE)
    except Refused as refused:
        raise Refused(f"{where}: the engine does not build it: {refused.reason or refused}", reason=refused.reason) from refused


def expect(
    node: Node,
    index: str,
    definition: Mapping[str, Any],
    analyzer: str,
    texts: Sequence[str],
    old: Contents,
    new: Contents,
    *,
    old_is_known: bool = True,
) -> Expectation:
    """Work out with inline analyzers what the live one has to give, and where that differs from the old content."""
    after = node.analyze(index, inline(definition, analyzer, new), texts)
    before = node.analyze(index, inline(definition, analyzer, old), texts)
    effects = tuple(
        Effect(text, terms(was), terms(becomes))
        for text, was, becomes in zip(texts, before, after, strict=True)
        if was != becomes
    )
    return Expectation(index, analyzer, tuple(texts), tuple(after), effects, old_is_known)


def terms(tokens: Iterable[Token]) -> tuple[str, ...]:
    """The terms in the order in which a reader meets them."""
    return tuple(term for term, _, _ in sorted(tokens, key=lambda token: (token[1], token[0])))


def mismatches(node: Node, expectation: Expectation) -> list[Mismatch]:
    """The texts for which the live analyzer gives other tokens than the new files do.

    ``_analyze`` answers from one copy of one shard on one node, so a domain with several data nodes is asked three times as often as it has nodes.
    """
    nodes = node.data_nodes()
    for _ in range(1 if nodes == 1 else 3 * nodes):
        live = node.analyze(expectation.index, {"analyzer": expectation.analyzer}, expectation.texts)
        wrong = [
            Mismatch(text, terms(wanted), terms(found))
            for text, wanted, found in zip(expectation.texts, expectation.tokens, live, strict=True)
            if wanted != found
        ]
        if wrong:
            return wrong
    return []


class NotServed(DataError):
    """An index does not give the tokens of the content that it should serve."""


def require_served(wrong: Sequence[Mismatch], expectation: Expectation) -> None:
    if not wrong:
        return
    first = wrong[0]
    raise NotServed(
        f"index {expectation.index} does not serve the new content: analyzer {expectation.analyzer} gives other tokens for {len(wrong)} of "
        f"{len(expectation.texts)} texts, e.g. for {first.text!r} expected {list(first.expected)}, found {list(first.found)}"
    )


def check_probe(node: Node, index: str, probe: Probe) -> None:
    """Put a probe of the inventory to the live analyzer.

    :raises NotServed: a term is missing
    """
    found = terms(node.analyze(index, {"analyzer": probe.analyzer}, [probe.text])[0])
    if missing := [term for term in probe.contains if term not in found]:
        raise NotServed(
            f"probe of index {index}: analyzer {probe.analyzer} gives {list(found)} for {probe.text!r}, expected it to contain {missing}"
        )


def spread(texts: Sequence[str], limit: int = MAX_TEXTS) -> list[str]:
    step = max(1.0, len(texts) / limit)
    return [texts[int(number * step)] for number in range(min(limit, len(texts)))]

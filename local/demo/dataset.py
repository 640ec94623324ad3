"""Documents, dictionaries and searches of the demo, made from JMdict.

The documents are entries that refer to other entries. The dictionaries are made from *other* entries:

- A word of the **user dictionary** is a compound that documents refer to. Their field ``terms`` holds it whole, but the engine
  cuts it in a query: a search for it finds those documents only once the word is in the user dictionary.
- A line of the **synonyms** holds the spellings of one entry (車両, 車輌, 車輛), one of which stands in the headword of a
  document. The headword with another spelling in its place finds the document only once the line is live.

The engine itself says which words and lines have that effect (``engine_tokens``); ``measure`` shows it on an index.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, permutations
from string import Template
from typing import Any

from opensearchpy import OpenSearch, helpers

from local.demo import jmdict
from local.demo.jmdict import Entry

USER_DICTIONARY, SYNONYMS = "user-dictionary", "synonyms"
"""The names of the two packages in the inventory, and of their placeholders in an index body."""

DOCUMENTS = 25_000
USER_DICTIONARY_SIZES = (50, 200, 800)
SYNONYMS_SIZES = (30, 120, 360)
SEARCH_ANALYZERS = {USER_DICTIONARY: "ja_search", SYNONYMS: "ja_synonym_search"}

Document = dict[str, Any]
Tokens = Callable[[Sequence[str]], list[list[str]]]

_COMPOUND = re.compile(r"[々一-鿿ァ-ヺー]{3,}")
_SPELLING = re.compile(r"[々一-鿿ぁ-ゖァ-ヺー]{2,}")
_KANJI = re.compile(r"[々一-鿿]+")
_LONGEST_SPELLING = 8


class PackageIdMissing(KeyError):
    """An index body names a package that has no id."""


@dataclass(frozen=True, slots=True)
class Search:
    """What somebody types, and the document (``_id``) that it should find once ``line`` is live."""

    dictionary: str
    text: str
    document: str
    line: str


@dataclass(frozen=True, slots=True)
class Generation:
    """One content of a dictionary; ``searches`` need its new lines, the ones that the generation before does not have."""

    content: bytes
    searches: tuple[Search, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A content that the engine does not compile, because of its line number ``line`` (from 1)."""

    content: bytes
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything that the demo loads and publishes.

    Each generation contains the one before; what is refused is the second one with a bad line at its end.
    """

    documents: tuple[Document, ...]
    user_dictionary: tuple[Generation, ...]
    synonyms: tuple[Generation, ...]
    refused_user_dictionary: Refused
    refused_synonyms: Refused


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found on a live index; ``tokens`` are those of its search analyzer."""

    search: Search
    hit: bool
    total: int
    tokens: tuple[str, ...]


def build(tokens: Tokens, entries: Sequence[Entry] | None = None, count: int = DOCUMENTS) -> Dataset:
    """Make the data set; the same entries and the same engine give the same bytes. Takes about 5 s for all of JMdict."""
    entries = jmdict.entries() if entries is None else entries
    chosen = document_entries(entries, count)
    documents = tuple(document(entry) for entry in chosen)
    words = user_dictionary_searches(entries, chosen, tokens)[: USER_DICTIONARY_SIZES[-1]]
    lines = synonym_searches(entries, chosen, tokens, avoid=[word.text for word in words])[: SYNONYMS_SIZES[-1]]
    user_dictionary, synonyms = generations(words, USER_DICTIONARY_SIZES), generations(lines, SYNONYMS_SIZES)
    return Dataset(
        documents=documents,
        user_dictionary=user_dictionary,
        synonyms=synonyms,
        refused_user_dictionary=refuse_user_dictionary(user_dictionary[1].content),
        refused_synonyms=refuse_synonyms(synonyms[1].content),
    )


def document_entries(entries: Sequence[Entry], count: int) -> list[Entry]:
    """The entries that become documents: those that refer to others first, then by id."""
    return sorted(entries, key=lambda entry: (not entry.related, entry.id))[:count]


def document_id(entry: Entry) -> str:
    return f"{entry.id}|entry"


def document(entry: Entry) -> Document:
    """A document of the index ``include/indexes/products.json``; its ``_id`` is ``pk|sk``."""
    return {
        "pk": str(entry.id),
        "sk": "entry",
        "revision": 1,
        "headword": entry.headword,
        "reading": list(entry.readings),
        "text": _text(entry),
        "terms": list(dict.fromkeys(entry.spellings + entry.related)),
        "gloss": list(entry.glosses),
    }


def _text(entry: Entry) -> str:
    return "、".join(entry.spellings)


def user_dictionary_searches(entries: Sequence[Entry], documents: Sequence[Entry], tokens: Tokens) -> list[Search]:
    """Compounds that documents refer to and the engine cuts, common ones first.

    No text of a document holds one of them, so that no search loses a document whose text was indexed in pieces. The document of
    a search does not hold all the pieces either, or it would be found without the word.
    """
    own = {spelling for entry in documents for spelling in entry.spellings}
    texts = "\n".join(_text(entry) for entry in documents)
    referring: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in documents:
        for spelling in entry.related:
            referring[spelling].append(entry)
    readings = {spelling: entry.readings[0] for entry in _common_first(entries, reverse=True) for spelling in entry.kanji}
    words = [
        spelling
        for entry in _common_first(entries)
        for spelling in entry.kanji
        if spelling in referring and spelling not in own and _COMPOUND.fullmatch(spelling) and spelling not in texts
    ]
    searches: dict[str, Search] = {}
    for word, pieces in zip(words, tokens(words), strict=True):
        found = next((entry for entry in referring[word] if not all(piece in _text(entry) for piece in pieces)), None)
        if len(pieces) > 1 and found is not None and len(referring[word]) <= _PAGE:
            searches.setdefault(
                word, Search(USER_DICTIONARY, word, document_id(found), user_dictionary_line(word, readings[word]))
            )
    return list(searches.values())


def user_dictionary_line(word: str, reading: str) -> str:
    """A line that makes ``word`` one token: ``text,segments,readings,part of speech``, the reading in katakana."""
    return f"{word},{word},{katakana(reading)},カスタム名詞"


def katakana(text: str) -> str:
    return "".join(chr(ord(character) + 0x60) if "ぁ" <= character <= "ゖ" else character for character in text)


def synonym_searches(
    entries: Sequence[Entry], documents: Sequence[Entry], tokens: Tokens, avoid: Sequence[str] = ()
) -> list[Search]:
    """Lines of spellings that rewrite the headword of a document, those in kanji alone and the common ones first.

    No spelling stands in two lines. ``avoid`` are words of the user dictionary: nothing that holds one is proposed, so that the two
    dictionaries work apart.
    """
    proposals = [
        proposal
        for proposal in _proposals(entries, documents)
        if not any(word in proposal.search.text or word in proposal.search.line for word in avoid)
    ]
    cut = zip(*(tokens(texts) for texts in zip(*(proposal.texts for proposal in proposals), strict=True)), strict=True)
    searches: list[Search] = []
    used: set[str] = set()
    for proposal, pieces in zip(proposals, cut, strict=True):
        spellings = set(proposal.search.line.split(", "))
        if not spellings & used and _bridges(*pieces):
            searches.append(proposal.search)
            used |= spellings
    return searches


def _bridges(
    spelling: Sequence[str], other: Sequence[str], headword: Sequence[str], rewritten: Sequence[str], text: Sequence[str]
) -> bool:
    """Whether a line with both spellings is what the rewritten headword needs to find the text; all as tokens.

    The synonym filter puts the tokens of one spelling beside those of the other, so both have to be cut out of their headword whole.
    """
    return (
        _replaced(rewritten, other, spelling) == list(headword) and set(headword) <= set(text) and not set(rewritten) <= set(text)
    )


@dataclass(frozen=True, slots=True)
class _Proposal:
    """``texts``: a spelling in the headword of a document, the one in its place, the headword, the rewritten headword, its text."""

    search: Search
    texts: tuple[str, str, str, str, str]


def _proposals(entries: Sequence[Entry], documents: Sequence[Entry]) -> Iterator[_Proposal]:
    holders = _holders(documents)
    taken = {entry.id for entry in documents}
    groups = [
        [spelling for spelling in entry.kanji if _SPELLING.fullmatch(spelling)]
        for entry in _common_first(entries)
        if entry.id not in taken
    ]
    for spellings in sorted(groups, key=lambda group: not all(map(_KANJI.fullmatch, group))):
        for spelling, other in permutations(spellings, 2):
            for holder in holders.get(spelling, ()):
                rewritten = holder.headword.replace(spelling, other)
                search = Search(SYNONYMS, rewritten, document_id(holder), ", ".join(spellings))
                yield _Proposal(search, (spelling, other, holder.headword, rewritten, _text(holder)))


def _holders(documents: Sequence[Entry]) -> Mapping[str, list[Entry]]:
    """Documents by every part of a headword that could be a spelling, at most three a part: more would only repeat the effect."""
    holders: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in documents:
        headword = entry.headword
        for start in range(len(headword)):
            for end in range(start + 2, min(len(headword), start + _LONGEST_SPELLING) + 1):
                part = headword[start:end]
                if part != headword and len(holders[part]) < 3:
                    holders[part].append(entry)
    return holders


def _replaced(tokens: Sequence[str], old: Sequence[str], new: Sequence[str]) -> list[str]:
    for start in range(len(tokens) - len(old) + 1):
        if list(tokens[start : start + len(old)]) == list(old):
            return [*tokens[:start], *new, *tokens[start + len(old) :]]
    return list(tokens)


def _common_first(entries: Sequence[Entry], reverse: bool = False) -> list[Entry]:
    return sorted(entries, key=lambda entry: (not entry.common, entry.id), reverse=reverse)


def generations(searches: Sequence[Search], sizes: Sequence[int]) -> tuple[Generation, ...]:
    """Contents with the first ``size`` lines each.

    :raises ValueError: there are not enough lines to make each generation larger than the one before
    """
    starts = (0, *sizes[:-1])
    if len(searches) <= starts[-1]:
        raise ValueError(
            f"expected more than {starts[-1]} lines for {len(sizes)} generations, found {len(searches)}: build from more entries"
        )
    return tuple(
        Generation(_content(search.line for search in searches[:size]), tuple(searches[start:size]))
        for start, size in zip(starts, sizes, strict=True)
    )


def refuse_user_dictionary(content: bytes) -> Refused:
    """The same with its first word once more at the end: ``Found duplicate term``."""
    return _refuse(content, content.decode().splitlines()[0])


def refuse_synonyms(content: bytes) -> Refused:
    """The same with a line of two arrows at the end, which no analyzer accepts: ``Failed to build synonyms``."""
    return _refuse(content, " => ".join((content.decode().splitlines()[0].split(", ") * 2)[:3]))


def _refuse(content: bytes, line: str) -> Refused:
    lines = [*content.decode().splitlines(), line]
    return Refused(_content(lines), len(lines), line)


def _content(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def render_body(body: str, package_ids: Mapping[str, str]) -> dict[str, Any]:
    """An index body (JSON) with every ``${package name}`` replaced by the id of that package.

    :raises PackageIdMissing: the body names a package that ``package_ids`` lacks
    """
    try:
        rendered: dict[str, Any] = json.loads(_Body(body).substitute(package_ids))
    except KeyError as error:
        raise PackageIdMissing(
            f"expected the id of package {error}, which the index body names, found ids of {sorted(package_ids)}"
        ) from error
    return rendered


class _Body(Template):
    idpattern = r"[a-z][a-z0-9-]*"


def engine_tokens(client: OpenSearch, body: Mapping[str, Any]) -> Tokens:
    """What the engine makes of queries without our files: by the tokenizer and filters of ``ja_search``, less the dictionary."""
    analysis = body["settings"]["analysis"]
    analyzer = analysis["analyzer"]["ja_search"]
    tokenizer = {name: value for name, value in analysis["tokenizer"][analyzer["tokenizer"]].items() if name != "user_dictionary"}

    def tokens(texts: Sequence[str]) -> list[list[str]]:
        # 200 short texts at once stay below the 10,000 tokens that _analyze gives at most (index.analyze.max_token_count).
        parts = (texts[start : start + 200] for start in range(0, len(texts), 200))
        return [
            found for part in parts for found in _analyze(client, part, {"tokenizer": tokenizer, "filter": analyzer["filter"]})
        ]

    return tokens


def _analyze(client: OpenSearch, texts: Sequence[str], analyzer: Mapping[str, Any], index: str | None = None) -> list[list[str]]:
    """The tokens of each text.

    The engine answers with one list for all: the offsets of a text, in UTF-16 units, begin one behind the end of the text before.
    """
    starts = list(accumulate((len(text.encode("utf-16-le")) // 2 + 1 for text in texts), initial=0))
    found: list[list[str]] = [[] for _ in texts]
    for token in client.indices.analyze(body={**analyzer, "text": list(texts)}, index=index)["tokens"]:
        found[bisect_right(starts, token["start_offset"]) - 1].append(token["token"])
    return found


_PAGE = 10


def query(text: str) -> dict[str, Any]:
    """What the demo's search box asks: the first ten documents, one field of which holds all words of ``text``."""
    return {
        "size": _PAGE,
        "_source": False,
        "query": {"multi_match": {"query": text, "fields": ["terms", "text"], "operator": "and"}},
    }


def measure(client: OpenSearch, index: str, searches: Sequence[Search]) -> list[Found]:
    """Run searches on a live index: whether the first ten hits hold the document, and the tokens of the live search analyzer."""
    return [found for start in range(0, len(searches), 100) for found in _measure(client, index, searches[start : start + 100])]


def _measure(client: OpenSearch, index: str, searches: Sequence[Search]) -> Iterator[Found]:
    answers = client.msearch(index=index, body=[line for search in searches for line in ({}, query(search.text))])["responses"]
    tokens: dict[Search, list[str]] = {}
    for dictionary, analyzer in SEARCH_ANALYZERS.items():
        chosen = [search for search in searches if search.dictionary == dictionary]
        if chosen:
            tokens |= zip(
                chosen, _analyze(client, [search.text for search in chosen], {"analyzer": analyzer}, index), strict=True
            )
    for search, answer in zip(searches, answers, strict=True):
        if "error" in answer:
            raise RuntimeError(f"{index}: the search for {search.text} failed: {answer['error']}")
        hits = answer["hits"]
        yield Found(
            search, search.document in {hit["_id"] for hit in hits["hits"]}, hits["total"]["value"], tuple(tokens[search])
        )


def load(client: OpenSearch, index: str, documents: Iterable[Document]) -> int:
    """Write documents under ``pk|sk``, refresh, and return how many the index then holds.

    :raises RuntimeError: the index does not hold exactly these documents
    :raises opensearchpy.helpers.BulkIndexError: a document was refused
    """
    actions = ({"_index": index, "_id": f"{item['pk']}|{item['sk']}", "_source": item} for item in documents)
    written, _ = helpers.bulk(client, actions, chunk_size=2000)
    client.indices.refresh(index=index)
    count = int(client.count(index=index)["count"])
    if count != written:
        raise RuntimeError(
            f"{index}: expected the {written} documents that were written, found {count}: load into an empty index"
        )
    return count

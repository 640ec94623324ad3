"""Read dictionary files: their entries, and the texts that tell one content from another."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from searchops.core.dictionary.model import Kind
from searchops.core.errors import DataError

MAX_TEXTS = 200
# The engine's own (Java) idea of a line and of what surrounds it: U+2028 ends no line, an ideographic space belongs to the word.
_LINE_END = re.compile(r"\r\n|\r|\n")
_BLANK = "".join(map(chr, range(0x21)))
_WORD = re.compile(r",|=>|((?:\\.|(?!,|=>).)+)")  # a word ends at a comma or an arrow that no backslash escapes
_ESCAPE = re.compile(r"\\(.)")


def lines(content: bytes, where: str) -> list[str]:
    """The lines of a file that say something, in order: no comments, no empty lines.

    :raises DataError: the file is not UTF-8 (the service takes nothing else; AWS developer guide, custom packages) or begins with a byte order mark
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{where}: line {line}: expected UTF-8, found byte 0x{content[error.start]:02x}; save the file as UTF-8"
        ) from None
    if text.startswith("\ufeff"):
        raise DataError(
            f"{where}: line 1: begins with a byte order mark, which would become part of the first word; save the file as UTF-8 without it"
        )
    stripped = (line.strip(_BLANK) for line in _LINE_END.split(text))
    return [line for line in stripped if line and not line.startswith("#")]


def words(kind: Kind, line: str) -> list[str]:
    """The words of one entry that a text has to hold for the entry to matter."""
    if kind is Kind.KUROMOJI_USER_DICTIONARY:
        return [field for field in next(csv.reader([line]), [])[:1] if field]
    if kind is Kind.STOPWORDS:
        return [line]
    return [word for word in (_ESCAPE.sub(r"\1", part).strip() for part in _WORD.findall(line)) if word]


def changed(old: Iterable[str] | None, new: Sequence[str]) -> list[str]:
    """The entries that only one of two contents has, in the order of the file; every entry when the old content is not known."""
    if old is None:
        return list(dict.fromkeys(new))
    before, after = dict.fromkeys(old), dict.fromkeys(new)
    return [line for line in after if line not in before] + [line for line in before if line not in after]


def all_texts(kind: Kind, entries: Sequence[str]) -> list[str]:
    """Every text in which an entry can show."""
    return list(dict.fromkeys(word for entry in entries for word in words(kind, entry)))


def telling_texts(kind: Kind, entries: Sequence[str], limit: int = MAX_TEXTS) -> list[str]:
    """Texts in which the entries can show, at most ``limit``, spread evenly over the entries.

    Each entry gives its first word before any gives its second.
    """
    if limit <= 0:
        return []
    step = max(1.0, len(entries) / limit)
    chosen = [entries[int(number * step)] for number in range(min(limit, len(entries)))]
    rounds = zip_longest(*(words(kind, entry) for entry in chosen))
    texts = dict.fromkeys(word for round_ in rounds for word in round_ if word is not None)
    return list(texts)[:limit]

"""The id of a document and its version, made from the values of its attributes: one way for loads, consumers and replays.

Two writers that make an id in two ways make two documents of one item, so nothing else makes ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import Any

from searchops.core.bulk.scheme import MAX_ID_BYTES, MAX_VERSION
from searchops.core.errors import DataError

SEPARATOR = "|"
HASHED = "sha256:"
"""What an id begins with that could not be the key itself; a key that begins so is hashed too, so no two forms ever meet."""


class Unfit(DataError):
    """A document whose values give no id or no version. It ends as rejected; its neighbours are not concerned."""


class IdScheme(Enum):
    ATTRIBUTES = "attributes"
    POSITION = "position"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class IdRule:
    """How the ids of an index are made, as its inventory entry says.

    :param attributes: for ATTRIBUTES: their names, in order
    """

    scheme: IdScheme
    attributes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What stands in the index's scheme: ``pk|sk``, ``position`` or ``content``."""
        return SEPARATOR.join(self.attributes) or self.scheme.value


def document_id(values: Sequence[Any]) -> str:
    """The id of a document with these key values.

    One value is the id itself, several are joined by ``|`` as OpenSearch Ingestion does (``pk|sk``). Where that would be ambiguous
    (one of several values holds ``|``), longer than 512 bytes, or begins with ``sha256:``, the id is ``sha256:`` and the 64 hex
    digits of the values' JSON-like form. For one number of values, different values never give one id; a number and the text of
    its digits are the same, as they are to Ingestion.

    :raises Unfit: a value is missing, empty, or of a type that has no one text
    """
    texts = [_text(value) for value in values]
    plain = texts[0] if len(texts) == 1 else SEPARATOR.join(texts)
    if (
        (len(plain) > MAX_ID_BYTES // 4 and len(_encoded(plain)) > MAX_ID_BYTES)
        or (len(texts) > 1 and plain.count(SEPARATOR) >= len(texts))
        or plain.startswith(HASHED)
    ):
        # Each text with its length before it: no two lists of texts give the same bytes.
        whole = b"".join(b"%d:%b" % (len(part), part) for part in map(_encoded, texts))
        return HASHED + sha256(whole).hexdigest()
    return plain


def content_id(content: bytes) -> str:
    """The id of a document that is known by its bytes alone: equal bytes are one document."""
    return HASHED + sha256(content).hexdigest()


def version_of(value: Any, attribute: str) -> int:
    """
    :raises Unfit: no whole number 0…2^63-1. ``12.0`` is refused like 12.7: a number with a fraction has been through a float,
        and beyond 2^53 two versions are one float
    """
    if type(value) is int and 0 <= value <= MAX_VERSION:
        return value
    if isinstance(value, Decimal) and value == value.to_integral_value() and 0 <= value <= MAX_VERSION:
        return int(value)
    found = "nothing" if value is None else _described(value)
    raise Unfit(f"version attribute {attribute!r}: expected a whole number 0…{MAX_VERSION}, found {found}")


def version_of_delete(last: Any, attribute: str) -> int:
    """The version of the delete of an item whose last image had the version ``last``: the next one.

    A delete leaves no image with a version of its own. With the last one it would be no newer than the document that it deletes;
    so whoever creates the item again goes on beyond this one.
    """
    return min(version_of(last, attribute) + 1, MAX_VERSION)


def id_values(values: Mapping[str, Any], attributes: Sequence[str]) -> list[Any]:
    """:raises Unfit: an attribute is missing"""
    try:
        return [values[name] for name in attributes]
    except KeyError as error:
        raise Unfit(f"id attribute {error.args[0]!r}: expected a value, found none") from None


def _text(value: Any) -> str:
    if type(value) is str and value:
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, Decimal) and value.is_finite():
        # Equal numbers have one text, however they were written (1E+2, 100, 100.0).
        return str(int(value)) if value == value.to_integral_value() else format(value.normalize(), "f")
    # A float has lost digits: 2^53 and 2^53+1 would be one id.
    raise Unfit(f"id: expected a text or a whole number within 64 bits, found {_described(value)}; write other numbers as text")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Unfit(f"id: expected text that UTF-8 can hold: {error.reason}") from None


def _described(value: Any) -> str:
    """The value, where it is short and no document's body: a person has to recognise it."""
    if value is None:
        return "null"
    if value == "":
        return "an empty text"
    if isinstance(value, bool | int | float | Decimal):
        return f"{value!s} ({type(value).__name__})"
    return f"a {type(value).__name__}"

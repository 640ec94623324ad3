"""Pages of rows that come in any order and yet each exactly once."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Row = TypeVar("Row")


class InvalidToken(ValueError):
    """A NextToken that no page gave."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a listing stands: rows are sorted by a hash of its nonce and their key, and all up to ``after`` have been given."""

    nonce: str
    after: str


def page(
    rows: Sequence[Row], key: Callable[[Row], str], size: int, token: str | None, *, shuffle: bool = True
) -> tuple[list[Row], str | None]:
    """The next rows of a listing and the token for those after them, None at its end.

    Each listing has an order of its own, as the service promises none; within a listing a row that is there all the time is given once,
    even when others come and go between the pages. Without ``shuffle`` the keys themselves are the order.
    """
    place = _decode(token) if token else _Place(secrets.token_hex(8), "")

    def rank(row: Row) -> str:
        return hashlib.sha256(f"{place.nonce}/{key(row)}".encode()).hexdigest() if shuffle else key(row)

    left = sorted((row for row in rows if rank(row) > place.after), key=rank)
    given = left[:size]
    return given, _encode(_Place(place.nonce, rank(given[-1]))) if len(left) > size else None


def _encode(place: _Place) -> str:
    return base64.urlsafe_b64encode(json.dumps([place.nonce, place.after]).encode()).decode()


def _decode(token: str) -> _Place:
    try:
        nonce, after = json.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise InvalidToken(f"NextToken {token[:40]!r} was not given by this service") from error
    return _Place(str(nonce), str(after))

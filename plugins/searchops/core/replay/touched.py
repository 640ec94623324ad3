"""The keys that a replay has touched, kept in S3 page by page, so that they can be looked for in the index.

::

    replays/<table>/<replay id>/touched/<part>/<page>[.again<round>]-<digest>.ndjson.gz
    replays/<table>/<replay id>/missing/<part>/<page>.ndjson.gz

An object of the first kind is written once and never changed: its name holds a digest of its lines. A page that is done again after a
crash makes the same object, or another one beside it where the table has changed meanwhile; both are read as one page then. What is
touched again (`reconcile`) lies beside its page as well, so S3 alone says how far a replay is.

Nothing removes them: a lifecycle rule on ``replays/`` may, after as long as a replay is remembered (`identity.KEEP`).
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from searchops.core.bulk.bucket import Bucket, Stored
from searchops.core.bulk.scheme import MAX_VERSION
from searchops.core.errors import DataError
from searchops.core.replay.model import Key, Touched
from searchops.core.replay.selection import decoded, encoded

PREFIX = "replays/"
MAX_ROUND = 99
_PART = re.compile(r"[A-Za-z0-9._!~-]{1,200}")
"""What `select.parts` makes. Anything else is named by its digest: a key of S3 has at most 1,024 bytes."""
_OBJECT = re.compile(r"(?P<page>.+/[0-9]{8,})(?:\.again(?P<round>[0-9]{2}))?-[0-9a-f]{16}\.ndjson\.gz")


class Written(NamedTuple):
    """A key that was touched.

    :param version: of the item after its touch, where it is a version that a document can have
    :param at: not later than this the touch was made (epoch seconds, by the clock of S3)
    :param round: how often the item was touched again because its document was missing
    """

    key: Key
    version: int | None
    at: float
    round: int = 0


class Missing(NamedTuple):
    """A key whose document has not come.

    :param id: of the document
    :param found: the version of the document that is there, None where there is none
    """

    key: Key
    version: int | None
    id: str
    found: int | None = None
    round: int = 0


@dataclass(frozen=True, slots=True)
class TouchedPage:
    """The objects of one page; ``name`` is ``<part>/<page>``."""

    name: str
    objects: tuple[Stored, ...] = field(repr=False)


class TouchedPages:
    """The touched keys of one replay; `effects.TouchedStore`. Pages are held one at a time.

    :param table: its name in AWS
    """

    def __init__(self, bucket: Bucket, table: str, replay_id: str) -> None:
        self._bucket = bucket
        self._prefix = f"{replay_prefix(table, replay_id)}touched/"

    def keep(self, part: str, page: int, entries: Sequence[Touched]) -> None:
        """Keep the keys of a page; doing it again is harmless. Called from several threads.

        :raises TransientError, DataError: they could not be written
        """
        self._write(f"{_part_name(part)}/{page:08d}", entries)

    def keep_again(self, page: TouchedPage, round: int, entries: Sequence[Touched]) -> None:
        """Keep which keys of a page were touched once more, because their documents were missing.

        :param round: 1 for the first time
        """
        if not 1 <= round <= MAX_ROUND:
            raise ValueError(f"expected round 1 to {MAX_ROUND}, found {round}")
        self._write(f"{page.name}.again{round:02d}", entries)

    def _write(self, name: str, entries: Sequence[Touched]) -> None:
        if not entries:
            return
        # Sorted, because threads touch in any order and equal pages are to be one object.
        content = b"".join(sorted(map(_touched_line, entries)))
        digest = hashlib.sha256(content).hexdigest()[:16]
        self._bucket.put_once(f"{self._prefix}{name}-{digest}.ndjson.gz", gzip.compress(content, 6, mtime=0))

    def pages(self) -> Iterator[TouchedPage]:
        """All pages, without their content."""
        yield from self._pages(self._prefix)

    def reread(self, page: TouchedPage) -> TouchedPage:
        """The page with the objects that it has now."""
        return next(self._pages(f"{self._prefix}{page.name}"), page)

    def _pages(self, prefix: str) -> Iterator[TouchedPage]:
        # The objects of a page follow each other: their keys share all before "-" and ".", which stand before every digit.
        for name, objects in groupby(self._bucket.list(prefix), lambda stored: self._match(stored.key)["page"]):
            yield TouchedPage(name, tuple(objects))

    def read(self, page: TouchedPage) -> list[Written]:
        """The keys of a page, each as its last touch has left it.

        A key that stands twice in one object was selected twice, and counts twice.

        :raises DataError: an object is gone or can not be read
        """
        found: dict[tuple[str, int], Written] = {}
        for stored in page.objects:
            round, seen = int(self._match(stored.key)["round"] or 0), Counter[str]()
            for values in self._lines(stored):
                name = name_of(values["key"])
                seen[name] += 1
                entry = Written(values["key"], values.get("version"), stored.modified_at, round)
                earlier = found.get((name, seen[name]))
                found[name, seen[name]] = _later(earlier, entry) if earlier else entry
        return list(found.values())

    def _match(self, key: str) -> re.Match[str]:
        match = _OBJECT.fullmatch(key.removeprefix(self._prefix))
        if match is None:
            raise DataError(
                f"s3://{self._bucket.name}/{key}: expected touched keys of a replay, found an object of another name: move it away"
            )
        return match

    def _lines(self, stored: Stored) -> list[dict[str, Any]]:
        return _read(self._bucket, stored.key, self._bucket.get(stored.key))


def _later(first: Written, second: Written) -> Written:
    versions = [version for version in (first.version, second.version) if version is not None]
    return Written(first.key, max(versions, default=None), max(first.at, second.at), max(first.round, second.round))


class MissingPages:
    """The keys of one replay whose documents are missing, as they were last looked for."""

    def __init__(self, bucket: Bucket, table: str, replay_id: str) -> None:
        self._bucket = bucket
        self._prefix = f"{replay_prefix(table, replay_id)}missing/"

    @property
    def uri(self) -> str:
        """Where they are, for a person."""
        return f"s3://{self._bucket.name}/{self._prefix}"

    def write(self, page: TouchedPage, missing: Sequence[Missing]) -> None:
        """Say which keys of a page are missing, in place of what was said before."""
        key = self._key(page)
        if missing:
            self._bucket.put(key, gzip.compress(b"".join(map(_missing_line, missing)), 6, mtime=0))
        else:
            self._bucket.delete(key)

    def read(self, page: TouchedPage) -> list[Missing]:
        key = self._key(page)
        content = self._bucket.get(key)
        return [] if content is None else [Missing(**values) for values in _read(self._bucket, key, content)]

    def names(self) -> set[str]:
        """The names of the pages of which keys are missing."""
        return {stored.key.removeprefix(self._prefix).removesuffix(".ndjson.gz") for stored in self._bucket.list(self._prefix)}

    def _key(self, page: TouchedPage) -> str:
        return f"{self._prefix}{page.name}.ndjson.gz"


def replay_prefix(table: str, replay_id: str) -> str:
    """Where a replay keeps what it has to say."""
    return f"{PREFIX}{_quote(table)}/{_quote(replay_id)}/"


def name_of(key: Key) -> str:
    """A key as text; equal keys have one, however their numbers are written."""
    return orjson.dumps(encoded(key, normal=True), option=orjson.OPT_SORT_KEYS).decode()


def _touched_line(entry: Touched) -> bytes:
    version = entry.version
    usable = {"version": version} if version is not None and 0 <= version <= MAX_VERSION else {}
    return orjson.dumps({"key": encoded(entry.key), **usable}, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _missing_line(entry: Missing) -> bytes:
    values = {name: value for name, value in entry._asdict().items() if value is not None}
    return orjson.dumps({**values, "key": encoded(entry.key)}, option=orjson.OPT_APPEND_NEWLINE)


def _read(bucket: Bucket, key: str, content: bytes | None) -> list[dict[str, Any]]:
    try:
        if content is None:
            raise ValueError("it is gone")
        return [_decoded(orjson.loads(line)) for line in gzip.decompress(content).splitlines()]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"s3://{bucket.name}/{key}: expected keys of a replay, found none that can be read: which items were touched is not known, so "
            "nothing can be said of them: replay the selection again",
            reason=f"{type(error).__name__}: {error}",
        ) from error


def _decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": None, **values, "key": decoded(values["key"])}


def _part_name(part: str) -> str:
    return part if _PART.fullmatch(part) else f"sha256={hashlib.sha256(part.encode()).hexdigest()}"


def _quote(name: str) -> str:
    """As in a URL, but with ``!``, which S3 calls safe in keys, for ``%``."""
    return quote(name, safe="").replace("%", "!")

"""The values of a dictionary sync: what we want, what AWS holds, how indexes use it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

_MESSAGE = re.compile(r"searchops sha256=([0-9a-f]{64})(?![0-9a-f])")


class Kind(Enum):
    """What the lines of a dictionary mean."""

    SYNONYMS = "synonyms"
    KUROMOJI_USER_DICTIONARY = "kuromoji_user_dictionary"
    STOPWORDS = "stopwords"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def short(fingerprint: str | None) -> str:
    """The form in which people read a fingerprint: its first 12 digits, as git does."""
    return fingerprint[:12] if fingerprint else "unknown content"


def commit_message(fingerprint: str, note: str = "") -> str:
    """The message that a published version bears; at most 160 characters (the CommitMessage limit of UpdatePackage)."""
    return f"searchops sha256={fingerprint} {note}".strip()[:160]


def fingerprint_in(message: str | None) -> str | None:
    """The fingerprint that a commit message of ours begins with, or None for a message that is not ours."""
    match = _MESSAGE.match(message or "")
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A file of ours. ``key`` is its name in the inventory."""

    key: str
    kind: Kind
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Version:
    """A row of a package's history."""

    name: str
    fingerprint: str | None
    created_at: float


@dataclass(frozen=True, slots=True)
class Package:
    """A regional custom package with its whole relevant history, as read in one look.

    ``history`` holds the rows up to the available version when that one is ours, all rows otherwise.
    """

    id: str
    name: str
    status: str
    available_version: str | None
    history: tuple[Version, ...] = ()
    error: str = ""
    updated_at: float | None = None

    @property
    def in_transit(self) -> bool:
        return self.status in {"COPYING", "VALIDATING"}

    @property
    def failed(self) -> bool:
        return self.status in {"COPY_FAILED", "VALIDATION_FAILED", "DELETE_FAILED"}

    @property
    def gone(self) -> bool:
        return self.status in {"DELETING", "DELETED"}

    def version(self, name: str | None) -> Version | None:
        return next((row for row in self.history if row.name == name), None)

    @property
    def fingerprint(self) -> str | None:
        row = self.version(self.available_version)
        return row.fingerprint if row else None

    @property
    def history_lags(self) -> bool:
        """The history does not list the available version yet, so its content cannot be told."""
        return self.available_version is not None and self.version(self.available_version) is None

    @property
    def ours(self) -> bool:
        """Any version of it was published by this project."""
        return any(row.fingerprint for row in self.history)


@dataclass(frozen=True, slots=True)
class Association:
    """A package on a domain; ``version`` is the one that the domain uses, ``asked`` the one that we know to be on its way to it."""

    package_id: str
    domain: str
    status: str
    version: str | None
    reference_path: str
    error: str = ""
    asked: str | None = None

    @property
    def in_transit(self) -> bool:
        return self.status in {"ASSOCIATING", "DISSOCIATING"}

    @property
    def failed(self) -> bool:
        return self.status in {"ASSOCIATION_FAILED", "DISSOCIATION_FAILED"}

    @property
    def active(self) -> bool:
        return self.status == "ACTIVE"


class UseMode(Enum):
    """How new content of a file reaches an index that uses it (AWS developer guide, custom packages)."""

    AUTOMATIC = "automatic"
    SEARCH_TIME = "search_time"
    INDEX_TIME = "index_time"


class Remedy(Enum):
    """What is done so that an index serves new content."""

    RELOAD = "reload"  # the service does it: wait for it
    REOPEN = "reopen"  # close and open the index
    REPORT = "report"  # not allowed to close it: a person has to
    REBUILD = "rebuild"  # documents hold old tokens: index them again


@dataclass(frozen=True, slots=True)
class IndexPolicy:
    """What the inventory says about an index. An index that it does not name is never closed."""

    on_search_time_use: Remedy = Remedy.REPORT
    on_index_time_use: Remedy = Remedy.REBUILD
    may_be_closed: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """A text for which a named analyzer of an index has to give these terms, whatever a dictionary changes."""

    analyzer: str
    text: str
    contains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexUse:
    """One index of the domain that uses one package, whose file it names as ``path``.

    ``applied``, ``documents`` and ``requested`` are fingerprints from the index's ``_meta.searchops.dictionaries``; ``beside`` names, by inventory
    key, the content of the other dictionaries on the same analyzers at the time when this one was last proved.
    """

    index: str
    path: str
    analyzers: tuple[str, ...]
    mode: UseMode
    remedy: Remedy
    applied: str | None = None
    documents: str | None = None
    requested: str | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    beside_now: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False

    def pending(self, fingerprint: str) -> bool:
        """Whether the index has still to be given this content."""
        if self.closed:
            return False  # serves nobody, and reads its files when somebody opens it
        if self.remedy is Remedy.REBUILD:
            return self.documents != fingerprint
        return self.applied != fingerprint or dict(self.beside) != dict(self.beside_now)

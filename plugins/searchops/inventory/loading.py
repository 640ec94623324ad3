"""Read an inventory: every entry validates alone, so that a mistake stays with the entry that has it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, overload

from pydantic import BaseModel, TypeAdapter, ValidationError

from searchops.inventory.document import Document, DocumentError, parse
from searchops.inventory.messages import explain, found, path_text, suggestion
from searchops.inventory.models import (
    DELETES,
    TOMBSTONE_DAYS,
    WRITING,
    Defaults,
    Domain,
    DomainEntry,
    File,
    Function,
    FunctionEntry,
    Home,
    Index,
    IndexEntry,
    Notice,
    Package,
    PackageEntry,
    Table,
    TableEntry,
    WrittenIndex,
)
from searchops.inventory.types import IndexName, Key

Section: TypeAlias = Literal["packages", "domains", "indexes", "functions", "written_indexes", "tables"]
M = TypeVar("M", bound=BaseModel)

ENVIRONMENT_VARIABLE = "SEARCHOPS_INVENTORY"

_INHERITED = ("region", "aws_conn_id", "slack_conn_id", "bucket")
_KEY: TypeAdapter[str] = TypeAdapter(Key)
_INDEX_NAME: TypeAdapter[str] = TypeAdapter(IndexName)


class InventoryError(ValueError):
    """The file as a whole can't be used: it is missing, is not YAML, is not a mapping or gives a section twice."""


@dataclass(frozen=True, slots=True)
class BrokenEntry:
    """An entry that can't be used, with complete sentences that say why (each begins with file and path).

    :param notice: for what becomes a DAG, when and where to tell of it: what of that could be read all the same
    """

    section: str
    key: str
    errors: tuple[str, ...]
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a file says.

    :param file: name of the file for people, relative to ``root`` (``include/searchops.yaml``)
    :param root: absolute path of the project, the folder above that of the file
    :param written_indexes: those of ``indexes`` that have id and version, on a domain that validates by itself
    :param broken: entries that do not validate, and domains, written indexes and tables that refer to one
    :param problems: the mistakes that no DAG of an entry shows: in ``defaults``, an unknown section, a broken package that no domain
        uses, a broken index that does not say on which domain it is
    """

    file: str
    root: Path
    packages: Mapping[str, Package]
    domains: Mapping[str, Domain]
    indexes: Mapping[str, Index]
    functions: Mapping[str, Function]
    written_indexes: Mapping[str, WrittenIndex]
    tables: Mapping[str, Table]
    defaults: Defaults | BrokenEntry
    broken: tuple[BrokenEntry, ...]
    problems: tuple[str, ...]

    @property
    def errors(self) -> tuple[str, ...]:
        """Every mistake once."""
        return tuple(dict.fromkeys([*self.problems, *(error for entry in self.broken for error in entry.errors)]))

    @overload
    def entries(self, section: Literal["packages"]) -> dict[str, Package | BrokenEntry]: ...
    @overload
    def entries(self, section: Literal["domains"]) -> dict[str, Domain | BrokenEntry]: ...
    @overload
    def entries(self, section: Literal["indexes"]) -> dict[str, Index | BrokenEntry]: ...
    @overload
    def entries(self, section: Literal["functions"]) -> dict[str, Function | BrokenEntry]: ...
    @overload
    def entries(self, section: Literal["written_indexes"]) -> dict[str, WrittenIndex | BrokenEntry]: ...
    @overload
    def entries(self, section: Literal["tables"]) -> dict[str, Table | BrokenEntry]: ...
    def entries(self, section: Section) -> Mapping[str, BaseModel | BrokenEntry]:
        """All entries of a section by key: the good ones, then the broken ones."""
        good: Mapping[str, BaseModel] = getattr(self, section)
        return {**good, **{entry.key: entry for entry in self.broken if entry.section == section}}

    def missing_files(self) -> list[str]:
        """Sentences about local files that entries name and that are not there.

        Not part of :func:`load`: a DAG file is parsed on machines and at moments when a dictionary may not be there yet.
        """
        named: list[tuple[str, str, Path | None]] = [
            *((f"packages.{key}.source", package.source, package.source_path) for key, package in self.packages.items()),
            *((f"indexes.{key}.body", str(index.body), index.body_path) for key, index in self.indexes.items()),
            *((f"indexes.{key}.queries", str(index.queries), index.queries_path) for key, index in self.indexes.items()),
        ]
        missing = [(at, name) for at, name, path in named if path and not path.is_file()]
        return [f'{self.file}: {at}: there is no file "{name}" in {self.root}' for at, name in missing]


def project_root() -> Path:
    """The folder that holds ``plugins/`` and ``include/``, seen from this module."""
    return Path(__file__).resolve().parents[3]


def inventory_path() -> Path:
    """The file that SEARCHOPS_INVENTORY names (relative to the project), or ``include/searchops.yaml``."""
    return project_root() / (os.environ.get(ENVIRONMENT_VARIABLE) or "include/searchops.yaml")


def inventory() -> Inventory:
    """The inventory of this installation, read again when the file has changed.

    :raises InventoryError: the file as a whole can't be used
    """
    path = inventory_path()
    try:
        status = path.stat()
    except OSError as error:
        raise InventoryError(_unreadable(path, error)) from error
    return _cached(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _cached(path: Path, mtime_ns: int, size: int) -> Inventory:
    return load(path)


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path}: expected the inventory of searchops, found {error.strerror}; {ENVIRONMENT_VARIABLE} names another file"


def load(path: Path) -> Inventory:
    """Read a file. A mistake raises only when it leaves no entry to speak of; every other one is in ``broken`` and ``problems``.

    A package that does not validate takes the domains with it that use it, and an index its domain: a sync that went on without
    them would leave a dictionary old, or treat an index as one that nobody has named, and be green.

    :raises InventoryError: the file as a whole can't be used
    """
    path = Path(os.path.abspath(path))
    root = path.parent.parent
    file = path.relative_to(root).as_posix()
    try:
        document = parse(path.read_bytes())
    except OSError as error:
        raise InventoryError(_unreadable(path, error)) from error
    except DocumentError as error:
        raise InventoryError(f"{file}: {error}") from error
    return _Reader(file, root, document).inventory()


_SHOWN: tuple[Section, ...] = ("domains", "functions", "written_indexes", "tables")
"""Sections whose broken entries become a DAG or a task that says what is wrong."""


_FIT_FOR_IDS = re.compile(r"[a-z0-9_.-]+")


def _is_written(raw: Any) -> bool:
    return isinstance(raw, dict) and any(raw.get(field) is not None for field in WRITING)


class _Refused(Exception):
    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)


class _Reader:
    """One pass over a document, sections in the order in which they need each other.

    :meth:`package`, :meth:`index`, :meth:`domain`, :meth:`function`, :meth:`written_index` and :meth:`table` build one entry, or raise
    :class:`_Refused` with all that is wrong with it.
    """

    def __init__(self, file: str, root: Path, document: Document) -> None:
        self.file, self.root, self.document = file, root, document
        self.general: list[str] = []  # sentences that are not about one entry
        self.of_defaults: list[str] = []  # those of them that are about defaults
        self.broken: dict[tuple[str, str], BrokenEntry] = {}
        self.raw = {section: self.mapping(section) for section in ("packages", "indexes", "domains", "functions", "tables")}
        self.publishers: dict[tuple[str, ...], str] = {}
        self.syncs: dict[tuple[str, ...], str] = {}
        self.set_up: dict[tuple[str, ...], str] = {}
        self.redriven: dict[tuple[str, str], str] = {}
        self.streams: dict[tuple[str, ...], str] = {}
        self.replayed: dict[tuple[str, ...], str] = {}
        # Names that are no text are in broken["indexes"] already.
        self.raw["written_indexes"] = {
            name: raw for name, raw in self.raw["indexes"].items() if isinstance(name, str) and _is_written(raw)
        }

    def inventory(self) -> Inventory:
        for section in self.document.data:
            if section not in File.model_fields:
                self.general.append(self.say((str(section),), f"unknown section; {suggestion(section, File.model_fields)}"))
        self.defaults = self.read_defaults()
        self.packages = self.section("packages", self.package)
        self.indexes = self.section("indexes", self.index)
        domains = self.section("domains", self.domain)
        functions = self.section("functions", self.function)
        self.written = self.section("written_indexes", self.written_index)
        tables = self.section("tables", self.table)
        broken = tuple(self.broken.values())
        shown = {sentence for entry in broken if entry.section in _SHOWN for sentence in entry.errors}
        told = [*self.general, *(sentence for entry in broken for sentence in entry.errors)]
        problems = tuple(sentence for sentence in dict.fromkeys(told) if sentence not in shown)
        defaults = self.defaults or BrokenEntry("defaults", "defaults", tuple(self.of_defaults))
        return Inventory(
            self.file,
            self.root,
            self.packages,
            domains,
            self.indexes,
            functions,
            self.written,
            tables,
            defaults,
            broken,
            problems,
        )

    def say(self, path: Sequence[str | int], text: str) -> str:
        return f"{self.file}: {path_text(path)}: {text} (line {self.document.line(path)})".replace("\n", "\\n")

    def mapping(self, section: str) -> dict[Any, Any]:
        value = self.document.data.get(section)
        if isinstance(value, dict) or value is None:
            return value or {}
        self.general.append(self.say((section,), f"expected a mapping, found {found(value)}"))
        return {}

    def check(self, path: tuple[str, ...], model: type[M], values: Any) -> M:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise _Refused(self.say((*path, *inner), text) for inner, text in explain(error, model)) from error

    def section(self, name: str, build: Callable[[str, Any], M]) -> dict[str, M]:
        good: dict[str, M] = {}
        for key, raw in self.raw[name].items():
            try:
                self.check_key(name, key)
                self.refuse_repeated(name, key)
                good[key] = build(key, raw)
            except _Refused as refused:
                notice = self.notice(self.place_of(name, raw)) if name in _SHOWN else None
                self.broken[name, str(key)] = BrokenEntry(name, str(key), tuple(dict.fromkeys(refused.sentences)), notice)
        return good

    def place_of(self, section: str, raw: Any) -> Any:
        """What an entry says of whom to tell: a domain itself, a written index by its domain."""
        if section == "domains":
            return raw
        domain = (
            self.raw["domains"].get(raw.get("domain"))
            if section == "written_indexes" and isinstance(raw.get("domain"), str)
            else None
        )
        return (
            {name: value for name, value in domain.items() if name not in ("schedule", "timezone")}
            if isinstance(domain, dict)
            else None
        )

    def refuse_repeated(self, *path: str) -> None:
        """Refuse an entry, or a section that has none, that gives a key twice."""
        sentences = [text for at, texts in self.document.repeated.items() if at[: len(path)] == path for text in texts]
        if sentences:
            raise _Refused(self.say(path, text) for text in sentences)

    def notice(self, raw: Any) -> Notice:
        """Each value that is good by itself, of the entry or else of ``defaults``."""
        values = self.defaults.model_dump(include=set(Notice.model_fields)) if self.defaults else {}
        for name in Notice.model_fields if isinstance(raw, dict) else ():
            try:
                values |= Notice.model_validate({name: raw[name]}).model_dump(include={name})
            except (KeyError, ValidationError):
                continue
        return Notice.model_validate(values)

    def check_key(self, section: str, key: Any) -> None:
        try:
            (_INDEX_NAME if section.endswith("indexes") else _KEY).validate_python(key)
        except ValidationError as error:
            raise _Refused(self.say((section, str(key)), text) for _, text in explain(error, File)) from error

    def read_defaults(self) -> Defaults | None:
        """None when the section is wrong; ``general`` then says why."""
        raw = self.document.data.get("defaults")
        try:
            self.refuse_repeated("defaults")
            return self.check(("defaults",), Defaults, {} if raw is None else raw)
        except _Refused as refused:
            self.of_defaults.extend(refused.sentences)
            self.general.extend(refused.sentences)
            return None

    def package(self, key: str, raw: Any) -> Package:
        path = ("packages", key)
        entry = self.check(path, PackageEntry, raw)
        local = not entry.source.startswith("s3://")
        values = {**dict(entry), "key": key, "source_path": self.root / entry.source if local else None}
        if entry.package_id is None and entry.name is None:
            values["name"] = key
        return self.check(path, Package, values)

    def index(self, name: str, raw: Any) -> Index:
        path = ("indexes", name)
        entry = self.check(path, IndexEntry, raw)
        if entry.domain not in self.raw["domains"]:
            known = suggestion(entry.domain, self.raw["domains"])
            raise _Refused([self.say((*path, "domain"), f'there is no domain "{entry.domain}"; {known}')])
        deletes = entry.deletes or (DELETES[entry.version.scheme][0] if entry.version else None)
        values = {
            **dict(entry),
            "name": name,
            "deletes": deletes,
            "tombstone_days": (entry.tombstone_days or TOMBSTONE_DAYS) if deletes == "tombstone" else None,
            "body_path": self.root / entry.body if entry.body else None,
            "queries_path": self.root / entry.queries if entry.queries else None,
        }
        return self.check(path, Index, values)

    def domain(self, key: str, raw: Any) -> Domain:
        path = ("domains", key)
        sentences = self.broken_indexes(key)
        try:
            entry = self.check(path, DomainEntry, raw)
        except _Refused as refused:
            raise _Refused([*refused.sentences, *sentences]) from refused
        sentences += self.unusable_packages(key, entry.packages)
        try:
            inherited = self.inherited(key, entry)
        except _Refused as refused:
            raise _Refused([*sentences, *refused.sentences]) from refused
        if sentences:
            raise _Refused(sentences)
        values = {
            **dict(entry),
            **inherited,
            "key": key,
            "domain_name": entry.domain_name or key,
            "packages": tuple(self.packages[name] for name in entry.packages),
            "indexes": tuple(index for index in self.indexes.values() if index.domain == key),
        }
        domain = self.check(path, Domain, values)
        if clashes := self.clashes(domain):
            raise _Refused(clashes)
        return domain

    def inherited(self, key: str, entry: DomainEntry) -> dict[str, str]:
        """What a domain says or leaves to ``defaults``."""
        if self.defaults is None:
            raise _Refused(self.general)
        inherited = {name: getattr(entry, name) or getattr(self.defaults, name) for name in _INHERITED}
        missing = [name for name in _INHERITED if not inherited[name]]
        if missing:
            raise _Refused(self.say(("domains", key, name), "is missing; give it here or in defaults") for name in missing)
        return inherited

    def written_index(self, name: str, raw: Any) -> WrittenIndex:
        """Of its domain only what leads there counts: a broken dictionary is no reason not to write."""
        path = ("indexes", name)
        if broken := self.broken.get(path):
            raise _Refused(broken.errors)
        index = self.indexes[name]
        if _FIT_FOR_IDS.fullmatch(name) is None:
            text = "an index that is written gives its name to DAGs; expected a-z, 0-9, _ . - only"
            raise _Refused([self.say(path, text)])
        try:
            entry = self.check(("domains", index.domain), DomainEntry, self.raw["domains"][index.domain])
            inherited = self.inherited(index.domain, entry)
        except _Refused as refused:
            raise _Refused([self.say((*path, "domain"), "its domain does not validate"), *refused.sentences]) from refused
        stream = index.hand_over.firehose if index.hand_over else None
        place = (inherited["region"], inherited["aws_conn_id"], stream or "")
        if stream and (other := self.streams.setdefault(place, name)) != name:
            text = f'"{stream}" is already the stream of indexes.{other}; give each index its own'
            raise _Refused([self.say((*path, "hand_over", "firehose"), text)])
        values = {
            **{field: value for field, value in dict(index).items() if field in WrittenIndex.model_fields},
            **inherited,
            "domain_name": entry.domain_name or index.domain,
            "opensearch_conn_id": entry.opensearch_conn_id,
            "home": Home.model_validate({**dict(self.defaults or {}), "bucket": inherited["bucket"]}),
        }
        return self.check(path, WrittenIndex, values)

    def function(self, key: str, raw: Any) -> Function:
        path = ("functions", key)
        entry = self.check(path, FunctionEntry, raw)
        if self.defaults is None:
            raise _Refused(self.general)
        region = entry.region or self.defaults.region
        sentences = [] if region else [self.say((*path, "region"), "is missing; give it here or in defaults")]
        if not self.defaults.bucket:
            sentences.append(self.say(("defaults", "bucket"), f'is missing; the function "{key}" needs it for its reports'))
        away = [name for name in ("region", "aws_conn_id") if getattr(entry, name) not in (None, getattr(self.defaults, name))]
        if entry.namespace and away:
            sentences.append(
                self.say(
                    (*path, "namespace"),
                    f"does not go with another {' or '.join(away)} than that of defaults: the function keeps its claims in its own account "
                    "and Region, where the redrive does not look; leave namespace out",
                )
            )
        if sentences:
            raise _Refused(sentences)
        values = {
            **dict(entry),
            "key": key,
            "region": region,
            "aws_conn_id": entry.aws_conn_id or self.defaults.aws_conn_id,
            "home": Home.model_validate(dict(self.defaults)),
        }
        function = self.check(path, Function, values)
        place = (
            function.region,
            function.aws_conn_id,
            function.function,
            function.qualifier or "",
            function.kind,
            function.source or "",
        )
        if (other := self.set_up.setdefault(place, key)) != key:
            raise _Refused([self.say((*path, "function"), f'"{function.function}" is already set up by functions.{other}')])
        queue = (function.function, function.failed_events or key)
        if (other := self.redriven.setdefault(queue, key)) != key:
            text = f'the failed events of "{function.function}" in this queue are already those of functions.{other}; give it its own'
            raise _Refused([self.say((*path, "on_failure"), text)])
        return function

    def table(self, key: str, raw: Any) -> Table:
        path = ("tables", key)
        entry = self.check(path, TableEntry, raw)
        if self.defaults is None:
            raise _Refused(self.general)
        written = self.written_index_of(key, entry.index) if entry.index else None
        region, bucket = entry.region or self.defaults.region, written.bucket if written else self.defaults.bucket
        sentences = [] if region else [self.say((*path, "region"), "is missing; give it here or in defaults")]
        if not bucket:
            sentences.append(self.say(("defaults", "bucket"), f'is missing; the table "{key}" needs it for its reports'))
        if sentences:
            raise _Refused(sentences)
        values = {
            **{field: value for field, value in dict(entry).items() if field in Table.model_fields},
            "key": key,
            "table": entry.table or key,
            "region": region,
            "aws_conn_id": entry.aws_conn_id or self.defaults.aws_conn_id,
            "written_index": written,
            "home": Home.model_validate({**dict(self.defaults), "bucket": bucket}),
        }
        table = self.check(path, Table, values)
        place = (table.region, table.aws_conn_id, table.table)
        if (other := self.replayed.setdefault(place, key)) != key:
            raise _Refused([self.say((*path, "table"), f'"{table.table}" is already the table of tables.{other}')])
        return table

    def written_index_of(self, key: str, name: str) -> WrittenIndex:
        """The index that a table's stream is written to."""
        path = ("tables", key, "index")
        if name in self.written:
            return self.written[name]
        if broken := self.broken.get(("written_indexes", name)) or self.broken.get(("indexes", name)):
            raise _Refused([self.say(path, f'the index "{name}" does not validate'), *broken.errors])
        if name in self.indexes:
            text = f'the index "{name}" has neither id nor version; an index that a stream is written to needs the two'
            raise _Refused([self.say(path, text)])
        raise _Refused([self.say(path, f'there is no index "{name}"; {suggestion(name, self.raw["indexes"])}')])

    def broken_indexes(self, domain: str) -> list[str]:
        sentences = []
        for name, raw in self.raw["indexes"].items():
            if (entry := self.broken.get(("indexes", str(name)))) and isinstance(raw, dict) and raw.get("domain") == domain:
                sentences += [self.say(("domains", domain), f'its index "{name}" does not validate'), *entry.errors]
        return sentences

    def unusable_packages(self, domain: str, names: Sequence[str]) -> list[str]:
        sentences = []
        for position, name in enumerate(names):
            path = ("domains", domain, "packages", position)
            if name in names[:position]:
                sentences.append(self.say(path, f'"{name}" is listed twice'))
            elif entry := self.broken.get(("packages", name)):
                sentences += [self.say(path, f'the package "{name}" does not validate'), *entry.errors]
            elif name not in self.packages:
                sentences.append(self.say(path, f'there is no package "{name}"; {suggestion(name, self.raw["packages"])}'))
        return sentences

    def clashes(self, domain: Domain) -> list[str]:
        """Two DAGs for one domain, or two dictionaries for one package, would undo each other's work every night."""
        path, place = ("domains", domain.key), (domain.region, domain.aws_conn_id)
        sync = (*place, domain.domain_name)
        published: dict[tuple[str, ...], str] = {
            (*place, package.package_id or package.name or ""): package.key for package in reversed(domain.packages)
        }
        sentences = []
        if other := self.syncs.get(sync):
            sentences.append(self.say((*path, "domain_name"), f'"{domain.domain_name}" is already the domain of domains.{other}'))
        for position, package in enumerate(domain.packages):
            identity = (*place, package.package_id or package.name or "")
            other = self.publishers.get(identity, published[identity])
            if other != package.key:
                text = f'"{identity[-1]}" already gets its content from packages.{other}'
                sentences.append(self.say((*path, "packages", position), text))
        if not sentences:
            self.syncs[sync] = domain.key
            self.publishers |= published
        return sentences

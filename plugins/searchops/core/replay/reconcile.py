"""Look whether all that a replay has touched has arrived in the index, wait for what is late, and touch again what is missing.

A look reads the list of touched keys page by page (`touched`), asks the index for their documents by ``_mget``, and the table and the
consumer's places only for what the index does not show. Everything that a look needs is in S3, the index and the table: one that dies is
done again, and two at once do no harm. `arrivals` decides.

*Late* is what was touched so shortly ago that the consumer, by its lag, can not have read it. *Missing* is what it must have read. The
keys of what is missing are in ``replays/<table>/<replay id>/missing/``; the errors name the place, not the keys, because they go to a chat.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import orjson

from searchops.core.bulk import places
from searchops.core.bulk.answers import Verdict, error_type, judge_found
from searchops.core.bulk.bucket import Bucket
from searchops.core.bulk.dynamodb_json import attributes
from searchops.core.bulk.ids import document_id
from searchops.core.bulk.manifests import Manifests
from searchops.core.bulk.node import ask, path
from searchops.core.bulk.scheme import Scheme
from searchops.core.bulk.stores import read_rejected
from searchops.core.errors import DataError, SearchOpsError, TransientError
from searchops.core.replay.arrivals import (
    BY_MARKER,
    Arrival,
    Arrivals,
    Look,
    Proof,
    Step,
    end_of_unproved,
    follow_up,
    is_tombstone,
    most_again,
    next_step,
)
from searchops.core.replay.calls import asked
from searchops.core.replay.effects import Keys
from searchops.core.replay.model import AttributeValue, Key, Touched
from searchops.core.replay.selection import decoded, encoded
from searchops.core.replay.touched import MAX_ROUND, Missing, MissingPages, TouchedPage, TouchedPages, Written, name_of
from searchops.core.waiting import Cadence

PATIENCE_SECONDS = 1_800.0
GRACE_SECONDS = 600.0
"""How much longer than its lag says a consumer may take: the longest batching window of a mapping is 300 s, and CloudWatch, which tells the
lag, is some minutes behind. Clocks differ by less."""
ROUNDS = 2
CONSUMER_RUN = "stream_indexer-"
"""What the runs of our stream consumer begin with: below it is what it has handed over and set aside (`streams.dead_letters`)."""
MOST_NAMED = 20
_DOCUMENTS = 1_000
"""Of one ``_mget``."""
_ITEMS = 100
"""Of one BatchGetItem: DynamoDB's own limit."""
_WHOLE_ITEMS = 25
"""The same where they are read whole, and their documents too: each has up to 400 KB."""
_THREADS = 4
_PAGES = 16
_CADENCE = Cadence()
_CLOCKS_SECONDS = 60.0
"""How far our clock and that of S3 may differ."""
_T = TypeVar("_T")

Again = Callable[[Sequence[Key], str], Sequence[Touched]]
"""Touches keys under a follow-up id, paced, by whoever holds the claim of the table; returns an end for each key."""

log = logging.getLogger(__name__)


class OnTheWay(TransientError):
    """The consumer has not come as far as the replay. Nothing is lost; look again later."""


class NotInIndex(DataError):
    """Items were touched, the consumer has gone on, and the index does not hold them.

    ``keys``: up to 20 of them, as text; for a log, not for a chat.
    """

    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """A replay and the index that its stream feeds.

    :param id: the attributes that document ids are made of; keys of the table, all of them
    :param began_at: of the replay (epoch seconds): what the consumer rejected before says nothing of it
    :param adds_version: ``version_owner: shared``
    :param marker_kept: documents of the index may have the marker (`streams.writes.takes`)
    :raises DataError: arrival can not be shown
    """

    replay_id: str
    table: Keys
    index: str
    scheme: Scheme
    id: tuple[str, ...]
    marker: str
    began_at: float
    ttl_attribute: str | None = None
    adds_version: bool = False
    marker_kept: bool = True

    def __post_init__(self) -> None:
        keys = {self.table.partition_key, self.table.sort_key}
        if not self.id or not set(self.id) <= keys:
            raise DataError(
                f"index {self.index}: expected ids that are made of keys of the table {self.table.name!r}, found "
                f"{', '.join(self.id) or 'none of attributes'}: a touched item could not be found in the index; correct "
                f"indexes.{self.index}.id"
            )
        if self.scheme.version in BY_MARKER and not self.marker_kept:
            raise DataError(
                f"index {self.index}: expected a mapping that takes the marker {self.marker!r}, found one that does not: with version "
                f"scheme {self.scheme.version.value} nothing else shows that a record has arrived; add the field (keyword) to the mapping"
            )

    @property
    def proof(self) -> Proof:
        return Proof(self.scheme, self.marker, self.replay_id, self.adds_version)

    def document_id(self, key: Key) -> str:
        values = attributes(encoded(key), self.id)
        return document_id([values[name] for name in self.id])


class Reconciler:
    """Looks of one replay whose touching has ended. Not safe for threads.

    :param client: an opensearch-py client
    :param dynamodb: boto3's low-level client
    :param bucket: where `TouchedPages` and the consumer keep their objects
    :param lag: the consumer's, in seconds; None where there is no data, as of one that is idle
    :param again: without it nothing is touched again
    :param rounds: how often an item that is missing is touched again, 0 to 99
    """

    def __init__(
        self,
        client: Any,
        dynamodb: Any,
        bucket: Bucket,
        subject: Subject,
        *,
        lag: Callable[[], float | None] = lambda: None,
        again: Again | None = None,
        rounds: int = ROUNDS,
        grace_seconds: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 0 <= rounds <= MAX_ROUND:
            raise ValueError(f"expected 0 to {MAX_ROUND} rounds, found {rounds}")
        self._bucket, self._subject = bucket, subject
        self._documents = _Documents(client, subject)
        self._items = _Items(dynamodb, subject)
        self._touched = TouchedPages(bucket, subject.table.name, subject.replay_id)
        self._missing = MissingPages(bucket, subject.table.name, subject.replay_id)
        self._lag, self._again, self._rounds = lag, again, rounds
        self._grace_seconds, self._clock = grace_seconds, clock
        self._known_lag = math.inf
        self._ended = Arrivals()
        self._open: list[TouchedPage] | None = None
        self._listed: set[str] = set()

    def look(self, *, patient: bool = False) -> Look:
        """One pass over the pages that are not ended yet.

        :param patient: do not ask the index for what the consumer can not have read, by its lag: it has enough to do then
        :raises TransientError: index, table or S3 can not be asked now
        :raises DataError: they can not be asked at all, or the list of touched keys is not whole
        """
        if self._open is None:
            self._listed = self._missing.names()
        pages: Iterable[TouchedPage] = self._touched.pages() if self._open is None else self._open
        moment = _Moment(self._clock(), self._seconds_of_lag(), patient, _Elsewhere(self._bucket, self._subject))
        still_open, found, ended = [], _Found(), self._ended
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="reconcile") as pool:
            for some in _chunks(iter(pages), _PAGES):
                for page, seen in zip(some, pool.map(partial(self._look_at, moment), some), strict=True):
                    if seen.arrivals.short:
                        still_open.append(page)
                        found = found + seen
                    else:
                        ended = ended + seen.arrivals
        # Only now, so that a look that fails in between is done again as a whole.
        self._open, self._ended = still_open, ended
        look = Look(ended + found.arrivals, found.sendable if self._again else 0, found.first)
        log.info("%s: replay %s: %s", self._subject.table.name, self._subject.replay_id, look.arrivals)
        return look

    def _seconds_of_lag(self) -> float:
        """What was heard last holds where it can not be asked for; infinite before that: nothing is missing that may not be read yet."""
        try:
            self._known_lag = self._lag() or 0.0
        except TransientError as error:
            log.warning("the consumer's lag could not be asked for: %s %s", error, error.reason)
        return self._known_lag

    def _look_at(self, moment: _Moment, page: TouchedPage) -> _Found:
        ends: list[Arrival] = []
        missing: list[Missing] = []
        entries = self._touched.read(page)
        for some in _chunks(iter(entries), _DOCUMENTS):
            here, gone = self._ends(moment, some)
            ends += here
            missing += gone
        if missing or page.name in self._listed:
            self._missing.write(page, missing)
            self._listed.add(page.name)
        again = sum(entry.round > 0 for entry in entries)
        sendable = sum(entry.round < self._rounds for entry in missing)
        return _Found(Arrivals.of(ends, again=again), sendable, tuple(name_of(entry.key) for entry in missing[:MOST_NAMED]))

    def _ends(self, moment: _Moment, entries: Sequence[Written]) -> tuple[list[Arrival], list[Missing]]:
        readable = [entry for entry in entries if moment.can_be_read(entry.at)]
        ends = [Arrival.LATE] * (len(entries) - len(readable))
        unproved: list[Written] = []
        documents = self._documents.of(readable)
        gone = self._gone(entry for entry, found in zip(readable, documents, strict=True) if is_tombstone(found.held))
        for entry, found in zip(readable, documents, strict=True):
            if end := self._subject.proof.of(entry, found.held):
                ends.append(end)
            elif name_of(entry.key) in gone:
                ends.append(Arrival.DELETED)
            elif moment.now < entry.at + moment.lag_seconds + self._grace_seconds:
                ends.append(Arrival.LATE)
            else:
                unproved.append(entry)
        missing: list[Missing] = []
        for some in _chunks(iter(unproved), _WHOLE_ITEMS if self._subject.proof.compares else _ITEMS):
            for entry, found, end in self._judged(moment, some):
                ends.append(end)
                if end is Arrival.MISSING:
                    missing.append(Missing(entry.key, entry.version, found.id, found.held.get("_version"), entry.round))
        return ends, missing

    def _gone(self, buried: Iterable[Written]) -> set[str]:
        """Of those whose documents are tombstones: the names of the keys of which the table has no item either."""
        keys = {name_of(entry.key): entry.key for entry in buried}
        return keys.keys() - self._items.of(keys.values()).keys()

    def _judged(self, moment: _Moment, unproved: Sequence[Written]) -> Iterator[tuple[Written, _Document, Arrival]]:
        """Find out of what the index does not show where it is.

        In this order, because documents move on meanwhile: first where the consumer may have put them, then the table, then the index
        again.
        """
        moment.elsewhere.read()
        items = self._items.of([entry.key for entry in unproved])
        documents = self._documents.of(unproved, whole=self._subject.proof.compares)
        for entry, found in zip(unproved, documents, strict=True):
            name = name_of(entry.key)
            yield entry, found, self._subject.proof.of(entry, found.held) or self._end(moment, name, found, items.get(name))

    def _end(self, moment: _Moment, name: str, found: _Document, item: Mapping[str, AttributeValue] | None) -> Arrival:
        return end_of_unproved(
            found.held,
            item,
            deletes=self._subject.scheme.deletes,
            ttl_attribute=self._subject.ttl_attribute,
            now=int(moment.now),
            equal=item is not None and self._subject.proof.is_equal(item, found.held),
            handed_over=found.id in moment.elsewhere.handed_over,
            rejected=found.id in moment.elsewhere.rejected or name in moment.elsewhere.rejected,
        )

    def send_again(self) -> int:
        """Touch what the last look has found missing once more, under a follow-up id, and note it beside its page.

        :return: how many keys
        """
        sent = 0
        if self._again is None:
            return sent
        for place, page in enumerate(self._open or ()):
            rounds: dict[int, dict[str, Key]] = {}
            for entry in self._missing.read(page):
                if entry.round < self._rounds:
                    rounds.setdefault(entry.round + 1, {})[name_of(entry.key)] = entry.key
            for round, keys in rounds.items():
                touched = self._again(list(keys.values()), follow_up(self._subject.replay_id, round))
                self._touched.keep_again(page, round, touched)
                sent += len(keys)
            if rounds:
                self._open[place] = self._touched.reread(page)  # type: ignore[index]
        log.info("%s: replay %s: %d items touched again", self._subject.table.name, self._subject.replay_id, sent)
        return sent

    def problem(self, look: Look) -> SearchOpsError:
        """What a person has to see to, where `next_step` says FAIL."""
        subject, arrivals = self._subject, look.arrivals
        where = f"table {subject.table.name}, replay {subject.replay_id}, index {subject.index}"
        facts = {"Table": subject.table.name, "Replay": subject.replay_id, "Index": subject.index, "Funnel": str(arrivals)}
        if arrivals.waiting and not arrivals.missing:
            return OnTheWay(
                f"{where}: {arrivals.waiting:,} of {arrivals.touched:,} touched items are still on their way ({arrivals.late:,} late, "
                f"{arrivals.handed_over:,} handed over): look at the consumer's lag and at what waits for a redrive, then clear this task",
                facts=facts,
            )
        facts["Missing keys"] = self._missing.uri
        error = NotInIndex(f"{where}: {self._what_is_short(look)}", facts=facts)
        error.keys = look.first
        return error

    def _what_is_short(self, look: Look) -> str:
        arrivals = look.arrivals
        rejected = places.rejected_prefix(self._subject.index)
        if not arrivals.missing:
            return (
                f"{arrivals.rejected:,} of {arrivals.touched:,} touched items are not in the index, because it does not take them: their "
                f"records and the reasons are below s3://{self._bucket.name}/{rejected}{CONSUMER_RUN}…; mend items or mapping, then replay them"
            )
        short = (
            f"{arrivals.missing:,} of {arrivals.touched:,} touched items are not in the index although the consumer has gone on; their keys "
            f"are below {self._missing.uri}"
        )
        if look.sendable > most_again(arrivals):
            return (
                f"{short}. So many are no fault of single records, so none was touched again: look whether the consumer is enabled, "
                "whether its filters let MODIFY pass and what its on-failure destination holds; then clear this task"
            )
        return f"{short}: look at the consumer's log and its on-failure destination; clear this task, or replay them, once it is mended"


def reconcile(
    reconciler: Reconciler,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    cadence: Cadence = _CADENCE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    listener: Callable[[Look], None] = lambda look: None,
) -> Arrivals:
    """Look until nothing is short; wait for what is late, touch again what is missing.

    :param patience_seconds: how long to wait for what is late, at the beginning and after each time that something was touched again
    :param listener: told what each look has found
    :raises OnTheWay: patience has ended before what is late has come
    :raises NotInIndex: something is missing for good
    """
    began = clock()
    while True:
        waited = clock() - began
        patient = waited < patience_seconds
        look = reconciler.look(patient=patient)
        listener(look)
        match next_step(look, patient=patient):
            case Step.DONE:
                return look.arrivals
            case Step.FAIL:
                if look.first:
                    log.error("missing, the first %d: %s", len(look.first), ", ".join(look.first))
                raise reconciler.problem(look)
            case Step.AGAIN:
                reconciler.send_again()
                began = clock()
            case Step.WAIT:
                sleep(min(cadence.delay(waited), max(0.0, patience_seconds - waited)))


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of the pages that are open."""

    arrivals: Arrivals = field(default_factory=Arrivals)
    sendable: int = 0
    first: tuple[str, ...] = ()

    def __add__(self, other: _Found) -> _Found:
        first = (*self.first, *other.first)[:MOST_NAMED]
        return _Found(self.arrivals + other.arrivals, self.sendable + other.sendable, first)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a look knows beforehand. ``now``: epoch seconds; ``lag_seconds``: infinite where nobody has told it."""

    now: float
    lag_seconds: float
    patient: bool
    elsewhere: _Elsewhere

    def can_be_read(self, touched_at: float) -> bool:
        """Whether it is worth while to look for it now."""
        return not self.patient or math.isinf(self.lag_seconds) or touched_at + self.lag_seconds <= self.now


@dataclass(frozen=True, slots=True)
class _Document:
    """``held`` is what ``_mget`` answers."""

    id: str
    held: Mapping[str, Any]


class _Documents:
    def __init__(self, client: Any, subject: Subject) -> None:
        self._client, self._subject = client, subject

    def of(self, entries: Sequence[Written], *, whole: bool = False) -> list[_Document]:
        """The documents of some keys, in their order.

        :param whole: not only what `Proof.of` needs of them
        """
        if not entries:
            return []
        ids = [self._subject.document_id(entry.key) for entry in entries]
        parameters = {
            "_source": "true" if whole else self._subject.proof.fields,
            "filter_path": "docs._version,docs.found,docs.error.type,docs._source",
        }
        answer = ask(self._client, "POST", path(self._subject.index, "_mget"), params=parameters, body={"ids": ids})
        documents: list[dict[str, Any]] = answer.get("docs") or []
        for document in documents:
            if "error" in document:
                raise self._refused(document["error"])
        if len(documents) != len(ids):
            raise TransientError(f"index {self._subject.index}: expected {len(ids)} answers of _mget, found {len(documents)}")
        return [_Document(id, document) for id, document in zip(ids, documents, strict=True)]

    def _refused(self, error: Any) -> SearchOpsError:
        verdict, index = judge_found(error), self._subject.index
        if verdict is Verdict.FORBIDDEN:
            return DataError(
                f"index {index}: the cluster does not let these credentials read documents: check the connection and its role",
                reason=error_type(error),
            )
        if verdict is Verdict.MISSING:
            return DataError(f"index {index}: expected an index or alias of that name, found none", reason=error_type(error))
        return TransientError(f"index {index}: its documents can not be read now ({error_type(error)})", reason=error_type(error))


class _Items:
    """Eventually consistent reads, at half the price: an item that was deleted within the second counts as missing, and a touch of it as
    nothing, because a touch looks itself."""

    def __init__(self, dynamodb: Any, subject: Subject) -> None:
        self._client, self._table = dynamodb, subject.table
        wanted = [subject.table.partition_key, subject.table.sort_key, subject.ttl_attribute]
        names = {f"#k{number}": name for number, name in enumerate(dict.fromkeys(filter(None, wanted)))}
        projection = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
        self._asked: Mapping[str, Any] = {} if subject.proof.compares else projection

    def of(self, keys: Iterable[Key]) -> dict[str, Mapping[str, AttributeValue]]:
        """Those items that are there, by `name_of` their keys: whole where they are compared, else keys and TTL."""
        unique = list({name_of(key): key for key in keys}.values())
        found: dict[str, Mapping[str, AttributeValue]] = {}
        for some in _chunks(iter(unique), _ITEMS):
            for item in self._read(some):
                found[name_of(self._key(item))] = item
        return found

    def _key(self, item: Mapping[str, AttributeValue]) -> Key:
        names = (self._table.partition_key, self._table.sort_key)
        return {name: item[name] for name in names if name is not None}

    def _read(self, keys: Sequence[Key]) -> Iterator[Mapping[str, AttributeValue]]:
        """DynamoDB answers for as many as it has capacity for, and names the others."""
        left: Any = {self._table.name: {"Keys": list(keys), **self._asked}}
        while left:
            answer = asked(self._batch_get, self._table.name, "BatchGetItem", RequestItems=left)
            yield from answer["Responses"].get(self._table.name, [])
            left = answer.get("UnprocessedKeys")

    def _batch_get(self, TableName: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.batch_get_item(**request)
        return answer


@dataclass(slots=True)
class _Elsewhere:
    """What the consumer has handed over and what it has set aside; read once a look, and only where something is not in the index.

    A record that gives no id is named by its key.
    """

    bucket: Bucket
    subject: Subject
    handed_over: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    _is_read: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> None:
        with self._lock:
            if not self._is_read:
                self._read_manifests()
                self._read_rejected()
                self._is_read = True

    def _read_manifests(self) -> None:
        manifests = Manifests(self.bucket, self.subject.index)
        for stored in self.bucket.list(f"{places.manifests_prefix(self.subject.index)}{CONSUMER_RUN}"):
            if manifest := manifests.read(stored.key):
                self.handed_over.update(entry.id for entry in manifest.entries)

    def _read_rejected(self) -> None:
        for stored in self.bucket.list(f"{places.rejected_prefix(self.subject.index)}{CONSUMER_RUN}"):
            if stored.modified_at < self.subject.began_at - _CLOCKS_SECONDS:
                continue
            for document in read_rejected(self.bucket.get(stored.key) or b""):
                self.rejected.add(document.id or _name_in(document.line))


def _name_in(line: bytes) -> str:
    """The key of the item that a stream record is of; "" where it has none."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        return name_of(decoded(orjson.loads(line)["dynamodb"]["Keys"]))
    return ""


def _chunks(values: Iterator[_T], size: int) -> Iterator[list[_T]]:
    while chunk := list(islice(values, size)):
        yield chunk

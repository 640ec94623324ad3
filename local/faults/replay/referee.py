"""A process of its own that knows what there was and what the application wrote, reads everything at the end, and says what is wrong.

It reads the table, its stream, the index and the bucket past all faults, and imports nothing of what it judges.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3
import httpx

from local.demo.application import Write
from local.faults.place import aws
from local.faults.referee import Held, Verdict, read_documents
from local.faults.replay.items import (
    MARKER,
    Document,
    First,
    Item,
    Kind,
    Scheme,
    Task,
    attributes,
    first_items,
    name_of,
    older,
    plain,
)
from local.faults.replay.place import Place
from local.simulators.streams.records import aws_sequence

_ID_DIGITS = 20
_SEQUENCE_DIGITS = 40
_SKIPPED = {
    "expired": Kind.EXPIRED,
    "too_large": Kind.TOO_LARGE,
    "marker_misused": Kind.MISUSED,
    "version_misused": Kind.NO_VERSION,
}
_ENDS = ("touched", "before", "covered", *_SKIPPED, "deleted")
_SESSION = boto3.session.Session()
for _name in ("s3", "dynamodb", "dynamodbstreams"):
    aws(_name, "http://127.0.0.1:9", session=_SESSION)


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be judged.

    :param tasks: of the scenario, by number
    :param journal: a line for each replay that a worker was told to be done; ``log``: of the application
    :param arrivals: what the reconciliation said, by replay id
    """

    seed: int
    scheme: Scheme
    count: int
    shards: int
    tasks: Sequence[Task]
    place: Place
    journal: Path
    log: Path
    arrivals: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Record:
    """One of the stream, by its sequence number; ``new`` and ``old`` are None where there was no item."""

    sequence: int
    name: str
    new: Item | None
    old: Item | None

    @property
    def touch(self) -> str:
        """The id that a touch has left, "" where this is the application's."""
        marker = _marker(self.new)
        return marker if _is_id(marker) and marker != _marker(self.old) else ""

    @property
    def changed(self) -> set[str]:
        """The attributes that differ, where there was an item before and after."""
        if self.new is None or self.old is None:
            return set()
        return {name for name in {*self.new, *self.old} if self.new.get(name) != self.old.get(name)}


@dataclass(frozen=True, slots=True)
class Ended:
    """A replay that a worker was told to be done.

    :param listed: how often each key stands on its list of touched keys
    :param reported: the counts of its report in S3
    """

    task: Task
    replay_id: str
    resumed: bool
    counts: Mapping[str, float]
    listed: Counter[str]
    reported: Mapping[str, float]
    arrivals: Mapping[str, int]


@dataclass(frozen=True)
class Found:
    """All that there is at the end.

    :param letters: sequence numbers of the records that were set aside; ``refused``: ids of documents that a redrive has set aside
    :param open: replays that nobody has ended
    """

    scheme: Scheme
    first: Mapping[str, First]
    writes: Sequence[tuple[Write, Item]]
    items: Mapping[str, Item]
    records: Sequence[Record]
    held: Mapping[str, Held]
    letters: frozenset[int] = frozenset()
    refused: frozenset[str] = frozenset()
    replays: Sequence[Ended] = ()
    open: Sequence[str] = ()

    @cached_property
    def by_item(self) -> Mapping[str, list[Record]]:
        found: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(self.records, key=lambda record: record.sequence):
            found[record.name].append(record)
        return found

    @cached_property
    def written(self) -> frozenset[str]:
        """Items that the application has had to do with."""
        return frozenset(name_of(write.key) for write, _ in self.writes)

    @property
    def names(self) -> list[str]:
        return sorted({*self.first, *self.items, *self.by_item, *self.held})


def judge(found: Found) -> Verdict:
    verdict = Verdict(documents=len(found.held))
    for judged in (_judge_table, _judge_touches, _judge_index, _judge_letters):
        wrong: dict[str, list[str]] = defaultdict(list)
        for name, what in judged(found):
            wrong[what].append(name)
        for what, which in wrong.items():
            verdict.add(what, which)
    for replay in found.replays:
        _judge_replay(verdict, found, replay)
    ids = Counter(replay.replay_id for replay in found.replays)
    verdict.add("replays that ended twice", [id for id, times in ids.items() if times > 1])
    verdict.add("replays left open", list(found.open))
    verdict.ends = _ends(found)
    return verdict


def _ends(found: Found) -> dict[str, int]:
    total: Counter[str] = Counter()
    for replay in found.replays:
        total.update({end: int(replay.counts[end]) for end in _ENDS})
    return {
        **total,
        "writes": len(found.writes),
        "records": len(found.records),
        "records of touches": sum(bool(record.touch) for record in found.records),
        "poison records": sum(bool(_flaw(found.scheme, record)) for record in found.records),
        "letters": len(found.letters),
    }


# The table

Finding = tuple[str, str]


def _judge_table(found: Found) -> Iterator[Finding]:
    """Compare the table with what the application has written, one write after the other, and nobody else."""
    expected: dict[str, Item | None] = {name: one.item for name, one in found.first.items()}
    for write, given in found.writes:
        name = name_of(write.key)
        expected[name] = _after(write, given, expected.get(name))
    for name in sorted({*expected, *found.items}):
        if what := _item_fault(found, name, expected.get(name), found.items.get(name)):
            yield name, what


def _after(write: Write, given: Item, before: Item | None) -> Item | None:
    marks = {"app": {"N": str(write.number)}, "revision": {"N": str(write.revision)}}
    if write.operation == "delete":
        return None
    return {**(given if write.operation == "put" else before or {}), **marks, **dict(write.key)}


def _item_fault(found: Found, name: str, expected: Item | None, item: Item | None) -> str:
    if expected is None:
        return "deleted items that are back" if item else ""
    if item is None:
        one = found.first.get(name)
        return "" if one and one.kind is Kind.EXPIRED else "items lost"  # TTL may have removed it
    if item.get("app") != expected.get("app"):
        return "updates of the application that are lost"
    expected = _raised(found, name, expected)
    if MARKER not in expected:
        item = _without_marker(item)
    return "" if item == expected else "items of other content"


def _raised(found: Found, name: str, expected: Item) -> Item:
    """Where touches raise the version: by one for each since the application wrote the item."""
    if not found.scheme.touches_raise_version or "N" not in expected["revision"]:
        return expected
    touches = 0
    for record in found.by_item.get(name, ()):
        touches = touches + 1 if record.touch else 0
    return {**expected, "revision": {"N": str(int(expected["revision"]["N"]) + touches)}}


# Touches


def _judge_touches(found: Found) -> Iterator[Finding]:
    for name, records in found.by_item.items():
        seen: set[str] = set()
        for record in records:
            if _marker(record.new) != _marker(record.old) and not record.touch:
                seen = set()  # the application has put the item anew, or removed it
            if record.touch and record.old is None:
                yield name, "items made by a touch"
            if record.touch in seen:
                yield name, f"items touched twice by the replay {record.touch}"
            if record.new and record.old and _written_by(record.new) < _written_by(record.old):
                yield name, "updates of the application that were undone"
            if record.changed == {"revision"}:  # a touch that found its own marker; the application changes `app` as well
                yield name, f"items touched twice by the replay {_marker(record.new)}"
            seen |= {record.touch} - {""}
        one = found.first.get(name)
        # TTL may remove an item at any moment, also while we read.
        if records[-1].new != found.items.get(name) and not (one and one.kind is Kind.EXPIRED):
            yield name, "items that are not as their last record says"
        if one and one.kind in (Kind.EXPIRED, Kind.TOO_LARGE) and any(record.touch for record in records):
            yield name, f"items touched that were {one.kind.value}"


def _judge_replay(verdict: Verdict, found: Found, replay: Ended) -> None:
    told = f"of the replay {replay.replay_id}"
    selected = {name: one for name, one in found.first.items() if replay.task.selects(one.item)}
    there = [name for name, one in selected.items() if one.takes_touch(found.scheme) and _was_there_throughout(found, name)]
    verdict.add(
        f"items without a record {told}",
        [name for name in there if not any(id >= replay.replay_id for id in _ids(found, name))],
    )
    of_it = {name for name in found.by_item if replay.replay_id in _ids(found, name)}
    verdict.add(f"keys listed without a touch {told}", sorted(set(replay.listed) - of_it))
    verdict.add(f"touched keys that are not listed {told}", sorted(of_it - set(replay.listed) - found.written))
    for wrong in (*_count_faults(found, replay, selected), *_arrival_faults(found, replay)):
        verdict.wrong.append(f"{wrong} {told}")


def _was_there_throughout(found: Found, name: str) -> bool:
    return all(record.new is not None for record in found.by_item.get(name, ()))


def _count_faults(found: Found, replay: Ended, selected: Mapping[str, First]) -> Iterator[str]:
    counts = replay.counts
    if replay.reported != counts:
        yield f"the report says {dict(replay.reported)}, the worker was told {dict(counts)}"
    if counts["selected"] != sum(counts[end] for end in _ENDS):
        yield f"the counts do not add up: {dict(counts)}"
    reached, listed = counts["touched"] + counts["before"], replay.listed.total()
    # A page that is done again after a kill may find other items than before.
    if reached > listed or (reached < listed and not replay.resumed):
        yield f"{reached:g} items are said to be touched, {listed} keys are listed"
    for reason, kind in _SKIPPED.items():
        if kind is Kind.NO_VERSION and not found.scheme.touches_raise_version:
            continue
        of_kind = [name for name, one in selected.items() if one.kind is kind]
        surely = [name for name in of_kind if name not in found.written and kind is not Kind.EXPIRED]
        if not len(surely) <= counts[reason] <= len(of_kind):
            yield f"{counts[reason]:g} items are said to be {reason}, expected {len(surely)} to {len(of_kind)}"


def _arrival_faults(found: Found, replay: Ended) -> Iterator[str]:
    """All has come to rest: what is touched is in the index, is gone, or is poison."""
    arrivals = replay.arrivals
    if open_ := {end: arrivals[end] for end in ("late", "missing", "handed_over") if arrivals[end]}:
        yield f"the reconciliation finds {open_}"
    poisoned = [name for name in replay.listed if any(_flaw(found.scheme, record) for record in found.by_item.get(name, ()))]
    surely = [
        name
        for name in poisoned
        if name not in found.written and found.first[name].document is Document.NONE and _flaw_of_last(found, name)
    ]
    if not len(surely) <= arrivals["rejected"] <= len(poisoned):
        yield f"the reconciliation finds {arrivals['rejected']} rejected, expected {len(surely)} to {len(poisoned)}"


# The index


def _judge_index(found: Found) -> Iterator[Finding]:
    """Each document has to be what the newest record says that the index can take, or what it was."""
    for name in found.names:
        records = [record for record in found.by_item.get(name, ()) if not _flaw(found.scheme, record)]
        held = found.held.get(name)
        one = found.first.get(name)
        what = _document_fault(found.scheme, records[-1], held) if records else _first_fault(one, held)
        if what and one and one.kind is Kind.EXPIRED:  # TTL may have removed it after the consumer had caught up
            what = _first_fault(one, held)
        if what:
            yield name, what


def _document_fault(scheme: Scheme, newest: Record, held: Held | None) -> str:
    if held is None:
        return "documents lost"
    if newest.new is None:
        if not held.deleted:
            return "deleted documents that are back"
    elif held.deleted:
        return "documents deleted that are in the table"
    elif _content(scheme, held.source) != _content(scheme, plain(newest.new)):
        return "documents of other content"
    if scheme.by_sequence:
        sequence = (held.source.get("searchops") or {}).get("sequence")
        return "" if sequence == str(newest.sequence).zfill(_SEQUENCE_DIGITS) else "documents of another sequence number"
    return "" if held.version == _version(newest) else "documents of another version"


def _first_fault(one: First | None, held: Held | None) -> str:
    if one is None or one.document is Document.NONE:
        return "documents that nobody sent" if held else ""
    if held is None:
        return "documents lost"
    item = one.item if one.document is Document.SAME else older(one.item)
    content = {name: value for name, value in held.source.items() if name != "searchops"}
    return "" if content == plain(item) else "documents of other content"


def _content(scheme: Scheme, document: Mapping[str, Any]) -> dict[str, Any]:
    """Where a touch leaves the version, the document of an equal one stays as it is, without the marker."""
    ours = {"searchops", MARKER} if scheme is Scheme.APPLICATION else {"searchops"}
    return {name: value for name, value in document.items() if name not in ours}


def _version(record: Record) -> int:
    if record.new is not None:
        return int(record.new["revision"]["N"])
    return int((record.old or {})["revision"]["N"]) + 1


# Poison


def _flaw(scheme: Scheme, record: Record) -> str:
    """``unreadable`` where a record gives no write, ``mapping`` where the index alone can tell, "" of a good one."""
    shown = record.old if record.new is None else record.new
    if not scheme.by_sequence and "N" not in (shown or {}).get("revision", {}):
        return "unreadable"
    return "mapping" if record.new is not None and "S" in record.new.get("n", {}) else ""


def _flaw_of_last(found: Found, name: str) -> str:
    return _flaw(found.scheme, found.by_item[name][-1])


def _judge_letters(found: Found) -> Iterator[Finding]:
    """What a newer record of the item overtakes in its batch is not sent, and so not refused."""
    for name, records in found.by_item.items():
        for record in records:
            flaw = _flaw(found.scheme, record)
            in_place = record.sequence in found.letters or (flaw == "mapping" and name in found.refused)
            if flaw and not in_place and (flaw == "unreadable" or record is records[-1]):
                yield name, "poison records that are not in their place"
            if not flaw and record.sequence in found.letters:
                yield name, "good records set aside"
    for sequence in found.letters - {record.sequence for record in found.records}:
        yield str(sequence), "records set aside that nobody made"


def _marker(item: Item | None) -> str:
    return str((item or {}).get(MARKER, {}).get("S", ""))


def _written_by(item: Item) -> int:
    """The number of the write that the item shows; they grow."""
    return int(item.get("app", {"N": "0"})["N"])


def _is_id(marker: str) -> bool:
    return marker[:_ID_DIGITS].isdigit() and len(marker[:_ID_DIGITS]) == _ID_DIGITS


def _ids(found: Found, name: str) -> set[str]:
    """The replays that have touched an item; what a replay has touched again counts for it."""
    return {record.touch[:_ID_DIGITS] for record in found.by_item.get(name, ()) if record.touch}


def _without_marker(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != MARKER}


# Reading


def look(case: Case) -> Found:
    """Read all that there is."""
    place = case.place
    dynamodb = aws("dynamodb", place.true_dynamodb_url, session=_SESSION, attempts=3, seconds=30)
    with httpx.Client(base_url=place.true_node_url, trust_env=False, timeout=60) as node:
        held, twice = read_documents(node, place.index)
    if twice:
        raise RuntimeError(f"documents twice: {twice}")
    bucket = _Bucket(aws("s3", place.true_s3_url, session=_SESSION, attempts=3, seconds=30), place.bucket)
    letters, refused = _letters(bucket, place.alias)
    return Found(
        scheme=case.scheme,
        first=first_items(case.seed, case.scheme, case.count, case.place.began_at, case.shards),
        writes=list(_writes(case)),
        items={name_of(item): item for item in _scanned(dynamodb, place.table)},
        records=list(_records(aws("dynamodbstreams", place.true_dynamodb_url, session=_SESSION, seconds=30), place.stream)),
        held=held,
        letters=letters,
        refused=refused,
        replays=[_ended(case, bucket, json.loads(line)) for line in case.journal.read_text().splitlines()],
        open=_left_open(dynamodb, place),
    )


def _writes(case: Case) -> Iterator[tuple[Write, Item]]:
    """The application's writes in their order, with what a put gave to the item. It ends with none under way."""
    for line in case.log.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        if "done" not in values:
            write = Write(**values)
            yield write, attributes(int(write.key["sk"]["N"]), case.seed, case.shards, write=write.number)


def _scanned(dynamodb: Any, table: str) -> Iterator[Item]:
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        yield from page["Items"]


def _records(streams: Any, arn: str) -> Iterator[Record]:
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        given = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = streams.get_shard_iterator(**given)["ShardIterator"]
        while iterator:
            answer = streams.get_records(ShardIterator=iterator, Limit=1000)
            for change in (record["dynamodb"] for record in answer["Records"]):
                sequence = int(aws_sequence(change["SequenceNumber"]))
                yield Record(sequence, name_of(change["Keys"]), change.get("NewImage"), change.get("OldImage"))
            iterator = answer.get("NextShardIterator") if answer["Records"] else None


def _letters(bucket: _Bucket, index: str) -> tuple[frozenset[int], frozenset[str]]:
    """Sequence numbers of the records that the consumer has set aside, and ids of what a redrive has."""
    letters, refused = set(), set()
    for line in bucket.lines(f"rejected/{index}/"):
        document = json.loads(line["document"])
        if "dynamodb" in document:
            letters.add(int(document["dynamodb"]["SequenceNumber"]))
        else:
            refused.add(str(line["id"]))
    return frozenset(letters), frozenset(refused)


def _ended(case: Case, bucket: _Bucket, told: Mapping[str, Any]) -> Ended:
    prefix = f"replays/{case.place.table}/{told['replay_id']}/"
    report = json.loads(bucket.get(f"{prefix}report.json"))
    return Ended(
        task=case.tasks[told["task"]],
        replay_id=told["replay_id"],
        resumed=told["resumed"],
        counts=told["counts"],
        listed=_listed(bucket, f"{prefix}touched/"),
        reported=report["counts"],
        arrivals=case.arrivals[told["replay_id"]],
    )


def _listed(bucket: _Bucket, prefix: str) -> Counter[str]:
    """Keys of the list. The objects of a page that was done twice stand side by side: a key counts once for both."""
    pages: dict[str, Counter[str]] = defaultdict(Counter)
    for key in bucket.keys(prefix):
        names = Counter(name_of(json.loads(line)["key"]) for line in bucket.get(key).splitlines())
        pages[key.rpartition("-")[0]] |= names
    return sum(pages.values(), Counter())


def _left_open(dynamodb: Any, place: Place) -> list[str]:
    """Digests of the selections whose replay nobody has ended. One may be noted that has: whoever ended it was killed before it said so."""

    def item(id: str) -> Mapping[str, Any]:
        answer = dynamodb.get_item(TableName=place.claims, Key={"id": {"S": id}}, ConsistentRead=True)
        found: Mapping[str, Any] = answer.get("Item", {})
        return found

    noted = item(f"replays#{place.table}").get("open", {}).get("SS", ())
    return [digest for digest in noted if item(f"replay#{place.table}#{digest}").get("state", {}).get("S") == "open"]


@dataclass(frozen=True, slots=True)
class _Bucket:
    s3: Any = field(repr=False)
    name: str

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def get(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.name, Key=key)["Body"].read()
        return gzip.decompress(body) if key.endswith(".gz") else body

    def lines(self, prefix: str) -> Iterable[dict[str, Any]]:
        for key in self.keys(prefix):
            yield from map(json.loads, self.get(key).splitlines())


def write_down(found: Found, file: Path) -> None:
    """A line for each item with all that is known of it, for whoever looks for the reason of a verdict."""
    with file.open("w", encoding="utf-8") as lines:
        for name in found.names:
            one, document = found.first.get(name), found.held.get(name)
            known = {
                "name": name,
                "first": {"kind": one.kind, "document": one.document, "item": one.item} if one else None,
                "writes": [asdict(write) for write, _ in found.writes if name_of(write.key) == name],
                "records": [_written_down(found, record) for record in found.by_item.get(name, ())],
                "item": found.items.get(name),
                "document": asdict(document) if document else None,
                "refused when sent again": name in found.refused,
            }
            lines.write(json.dumps(known, ensure_ascii=False) + "\n")


def _written_down(found: Found, record: Record) -> dict[str, Any]:
    return {
        "sequence": record.sequence,
        "touch": record.touch,
        "flaw": _flaw(found.scheme, record),
        "set aside": record.sequence in found.letters,
        "new": record.new,
        "old": record.old,
    }


def main(case: Case, answer: Connection) -> None:
    """Main of the referee's process. What it has found is kept beside the journal where something is wrong."""
    found = look(case)
    verdict = judge(found)
    if verdict.wrong:
        write_down(found, case.journal.with_name("found.ndjson"))
    answer.send(verdict)

"""A process of its own that knows what was sent, reads everything at the end, and says what is wrong.

It reads the index, the bucket and what the writer was told past all faults, and imports nothing of what it judges.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3
import httpx

from local.faults.documents import Flaw, Scheme, Sent, documents
from local.faults.place import Place, aws

MOST_NAMED = 5
_ENDS = ("indexed", "superseded", "rejected", "handed_over")
_LEFT = ("manifests/", "spool/", "firehose-failed/")
_SESSION = boto3.session.Session()
aws("s3", "http://127.0.0.1:9", session=_SESSION)


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be judged.

    :param handed_over: the positions on manifests before anything was settled
    :param lives: of the process that loaded
    :param landed: documents in the landing index
    """

    seed: int
    scheme: Scheme
    count: int
    place: Place
    journal: Path
    lives: int
    handed_over: frozenset[int]
    landed: int


@dataclass(slots=True)
class Verdict:
    """``wrong`` names each thing that is not as it has to be; the others are counts."""

    wrong: list[str] = field(default_factory=list)
    documents: int = 0
    ends: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, which: Sequence[Any]) -> None:
        if which:
            named = ", ".join(map(str, which[:MOST_NAMED]))
            self.wrong.append(f"{len(which)} {what}: {named}")


@dataclass(frozen=True, slots=True)
class Held:
    """A document as the index has it."""

    version: int
    source: dict[str, Any]
    routing: str | None

    @property
    def deleted(self) -> bool:
        return bool((self.source.get("searchops") or {}).get("deleted"))


def judge(case: Case) -> Verdict:
    verdict = Verdict()
    sent = documents(case.seed, case.scheme, case.count)
    with httpx.Client(base_url=case.place.true_node_url, trust_env=False, timeout=60) as node:
        held, twice = read_documents(node, case.place.index)
        found_by_search = _count(node, case.place.alias)
    verdict.add("documents twice", twice)
    verdict.documents = len(held)
    _judge_documents(verdict, case.scheme, sent, held)
    alive = sum(not document.deleted for document in held.values())
    if found_by_search != alive:
        verdict.wrong.append(f"a search finds {found_by_search} documents, {alive} are alive")
    bucket = _Bucket(aws("s3", case.place.true_s3_url, session=_SESSION, attempts=3), case.place)
    _judge_books(verdict, case, sent, held, bucket)
    for prefix in _LEFT:
        verdict.add(f"objects left under {prefix}", bucket.keys(prefix))
    if case.landed:
        verdict.wrong.append(f"{case.landed} documents stand in the landing index")
    return verdict


def read_documents(node: httpx.Client, index: str) -> tuple[dict[str, Held], list[str]]:
    """All documents, tombstones too, and the ids that there are more than once."""
    node.post(f"/{index}/_refresh").raise_for_status()
    body = {"query": {"match_all": {}}, "version": True, "track_total_hits": True, "size": 10_000}
    answer = node.post(f"/{index}/_search", json=body).raise_for_status().json()
    hits = answer["hits"]["hits"]
    if answer["_shards"]["failed"] or answer["hits"]["total"]["value"] != len(hits):
        raise RuntimeError(f"expected every document of {index}, found {len(hits)} of {answer['hits']['total']}")
    held = {hit["_id"]: Held(hit["_version"], hit["_source"], hit.get("_routing")) for hit in hits}
    return held, [id for id, count in Counter(hit["_id"] for hit in hits).items() if count > 1]


def _count(node: httpx.Client, alias: str) -> int:
    return int(node.get(f"/{alias}/_count").raise_for_status().json()["count"])


# Documents


def order_of(scheme: Scheme, sent: Sent) -> int:
    return 1 if scheme is Scheme.ONCE else int(sent.order)


def _order_held(scheme: Scheme, document: Held) -> int:
    if scheme is not Scheme.SEQUENCE:
        return document.version
    padded = str((document.source.get("searchops") or {}).get("sequence", ""))
    return int(padded) if len(padded) == 40 and padded.isdigit() else -1


def _judge_documents(verdict: Verdict, scheme: Scheme, sent: Sequence[Sent], held: Mapping[str, Held]) -> None:
    wrong: dict[str, list[str]] = defaultdict(list)
    by_id: dict[str, list[Sent]] = defaultdict(list)
    for document in sent:
        if document.flaw is None:
            by_id[document.id].append(document)
    wrong["documents that nobody sent"] = [id for id in held if id not in by_id]
    for id, all_of_it in by_id.items():
        newest = max(order_of(scheme, document) for document in all_of_it)
        allowed = [document for document in all_of_it if order_of(scheme, document) == newest]
        if fault := _fault(scheme, newest, allowed, held.get(id)):
            wrong[fault].append(id)
    for what, which in wrong.items():
        verdict.add(what, which)


def _fault(scheme: Scheme, newest: int, allowed: Sequence[Sent], found: Held | None) -> str:
    """What is wrong with a document, if anything is. Of writes of an equal version any may be the one that stays."""
    if found is None:
        return "documents lost"
    order = _order_held(scheme, found)
    if order < newest:
        came_back = not found.deleted and any(document.kind == "delete" for document in allowed)
        return "deleted documents that came back" if came_back else "older writes over newer ones"
    if order > newest:
        return "versions that nobody sent"
    if found.routing != allowed[0].routing:
        return "documents of another routing"
    if not any(_same(document, found) for document in allowed):
        return "documents of other content"
    return ""


def _same(sent: Sent, found: Held) -> bool:
    content = {name: value for name, value in found.source.items() if name != "searchops"}
    if sent.kind == "delete":
        return found.deleted and not content
    return not found.deleted and content == sent.source


# Books


class _Bucket:
    def __init__(self, s3: Any, place: Place) -> None:
        self._s3 = s3
        self._place = place

    def keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._place.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def get(self, key: str) -> bytes:
        body: bytes = self._s3.get_object(Bucket=self._place.bucket, Key=key)["Body"].read()
        return gzip.decompress(body) if key.endswith(".gz") else body

    def lines(self, prefix: str) -> Iterator[dict[str, Any]]:
        for key in self.keys(prefix):
            for line in self.get(key).splitlines():
                yield json.loads(line)


def handed_over(place: Place, s3: Any) -> frozenset[int]:
    """The positions that are on manifests."""
    bucket = _Bucket(s3, place)
    manifests = [json.loads(bucket.get(key)) for key in bucket.keys(f"manifests/{place.alias}/{place.run}/")]
    return frozenset(entry["position"] for manifest in manifests for entry in manifest["entries"])


def _judge_books(verdict: Verdict, case: Case, sent: Sequence[Sent], held: Mapping[str, Held], bucket: _Bucket) -> None:
    ledger = json.loads(bucket.get(f"ledger/{case.place.alias}/{case.place.run}.json"))
    counts = verdict.ends = {name: ledger["counts"][name] for name in ("accepted", *_ENDS)}
    if ledger["state"] != "settled":
        verdict.wrong.append(f"the ledger's state is {ledger['state']}, expected settled")
    if counts["accepted"] != case.count or sum(counts[end] for end in _ENDS) != case.count:
        verdict.wrong.append(f"the ledger does not add up to {case.count}: {counts}")
    rejected = [line["position"] for line in bucket.lines(f"rejected/{case.place.alias}/{case.place.run}/{case.place.input}/")]
    _judge_rejected(verdict, case, sent, rejected, counts["rejected"])
    if counts["handed_over"] > len(case.handed_over) or (case.lives == 1 and counts["handed_over"] != len(case.handed_over)):
        verdict.wrong.append(f"{counts['handed_over']} handed over in the ledger, {len(case.handed_over)} on manifests")
    _judge_journal(verdict, case, sent, held, counts)


def _judge_rejected(verdict: Verdict, case: Case, sent: Sequence[Sent], rejected: Sequence[int], count: int) -> None:
    """The load rejects what is bad and nothing else. What the node alone can tell may have been handed over before it could."""
    known = {position for position, document in enumerate(sent) if document.flaw and not document.flaw.known_by_node_alone}
    bad = {position for position, document in enumerate(sent) if document.flaw} | _contradicted(case.scheme, sent)
    verdict.add("good documents rejected", sorted(set(rejected) - bad))
    verdict.add("bad documents not rejected", sorted(known - set(rejected)))
    twice = [position for position, times in Counter(rejected).items() if times > 1]
    if case.lives == 1:  # what is done again after a kill may be cut into other batches, and is then kept twice
        verdict.add("documents kept twice as rejected", twice)
    if count > len(set(rejected)) or (case.lives == 1 and count != len(rejected)):
        verdict.wrong.append(f"{count} rejected in the ledger, {len(rejected)} documents kept")


def _contradicted(scheme: Scheme, sent: Sequence[Sent]) -> set[int]:
    """Positions of a delete and an index operation of one version: which of them is true nobody can say, so the later may be rejected."""
    kinds: dict[tuple[str, int], set[bool]] = defaultdict(set)
    good = {position: (document.id, order_of(scheme, document)) for position, document in enumerate(sent) if not document.flaw}
    for position, key in good.items():
        kinds[key].add(sent[position].kind == "delete")
    return {position for position, key in good.items() if len(kinds[key]) > 1}


def _judge_journal(
    verdict: Verdict, case: Case, sent: Sequence[Sent], held: Mapping[str, Held], counts: Mapping[str, int]
) -> None:
    """Compare each end that the writer was told with what there is. A batch that a killed process had under way is told again."""
    told: dict[int, str] = {}
    for line in case.journal.read_text().splitlines():
        values = json.loads(line)
        told.update(enumerate(values["ends"], values["first"]))
    if case.lives == 1 and (
        len(told) != case.count or Counter(told.values()) != Counter({end: counts[end] for end in _ENDS if counts[end]})
    ):
        verdict.wrong.append(f"the writer was told {dict(Counter(told.values()))}, the ledger says {dict(counts)}")
    wrong: dict[str, list[int]] = defaultdict(list)
    contradicted = _contradicted(case.scheme, sent)
    for position, end in told.items():
        if position in contradicted and end == "rejected":
            continue
        if fault := _end_fault(case, position, sent[position], end, held.get(sent[position].id)):
            wrong[fault].append(position)
    for what, which in wrong.items():
        verdict.add(what, which)


def _end_fault(case: Case, position: int, sent: Sent, end: str, found: Held | None) -> str:
    if end == "rejected":
        return "" if sent.flaw else "good documents told to be rejected"
    if end == "handed_over":
        return "" if position in case.handed_over else "documents handed over on no manifest"
    if sent.flaw is not None:
        # A scripted upsert that finds a later sequence looks no further.
        return "" if _seen_as_older(case.scheme, sent, end, found) else f"bad documents told to be {end}"
    order = _order_held(case.scheme, found) if found else -1
    if end == "superseded" and order <= order_of(case.scheme, sent):
        return "documents told to be superseded by nothing newer"
    return "documents told to be indexed that are not" if order < order_of(case.scheme, sent) else ""


def _seen_as_older(scheme: Scheme, sent: Sent, end: str, found: Held | None) -> bool:
    if scheme is not Scheme.SEQUENCE or sent.flaw is not Flaw.MAPPING or found is None:
        return False
    return _order_held(scheme, found) >= order_of(scheme, sent) and end in ("superseded", "indexed")


def main(case: Case, answer: Connection) -> None:
    """Main of the referee's process."""
    answer.send(judge(case))

"""`python -m benchmarks.bulk.callers`: index with one helper and note what its caller learns of each document.

An order (`Call`, JSON) comes by stdin, `Learned` goes to stdout at the end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

BULK, STREAMING, PARALLEL, HERE = "helpers.bulk", "streaming_bulk", "parallel_bulk", "searchops"
CALLERS = (BULK, STREAMING, PARALLEL, HERE)
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Call:
    caller: str
    url: str
    index: str
    documents: int
    options: dict[str, Any]
    bad: str
    own_ids: bool
    bucket: str
    client: dict[str, Any]
    chunk: int


@dataclass(slots=True)
class Learned:
    """``told``: by document, True for indexed, False for not indexed; ``kept``: of those that are not, the ones that a lane has."""

    told: dict[str, bool] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    raised: str = ""
    hangs: bool = False


def documents(call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and body of each; the one in the middle is bad where that is wanted."""
    for number in range(call.documents):
        id, body = str(number), {"n": number, "text": "東京スカイツリー " * 3}
        if number == call.documents // 2:
            if call.bad == "id":
                id = f"{number}-".ljust(600, "x")
            elif call.bad == "surrogate":
                body["text"] = "\ud83d"
            elif call.bad == "type":
                body["text"] = {"not": "text"}
        yield id, body


def actions(call: Call) -> Iterator[dict[str, Any]]:
    for id, body in documents(call):
        own = {"_id": id, "version": 1, "version_type": "external"} if call.own_ids else {}
        yield {"_index": call.index, **own, "_source": body}


def name_of(item: Mapping[str, Any]) -> str:
    """The document that a result is about; ids that are the node's say nothing."""
    (result,) = item.values()
    return str(result["_id"]).partition("-")[0]


def bulk(client: Any, call: Call, learned: Learned) -> None:
    """A count and a list of errors: who is not in the list is indexed, if the sum is right."""
    from opensearchpy import helpers

    count, errors = helpers.bulk(client, actions(call), **{"chunk_size": call.chunk, **call.options})
    failed = {name_of(item) for item in errors}
    if count + len(failed) == call.documents:
        learned.told.update({str(number): str(number) not in failed for number in range(call.documents)})


def streaming_bulk(client: Any, call: Call, learned: Learned) -> None:
    from opensearchpy import helpers

    _note(helpers.streaming_bulk(client, actions(call), **{"chunk_size": call.chunk, **call.options}), call, learned)


def parallel_bulk(client: Any, call: Call, learned: Learned) -> None:
    from opensearchpy import helpers

    _note(helpers.parallel_bulk(client, actions(call), **{"chunk_size": call.chunk, **call.options}), call, learned)


def _note(results: Iterable[tuple[bool, Mapping[str, Any]]], call: Call, learned: Learned) -> None:
    for place, (ok, item) in enumerate(results):
        # Without ids of one's own a result is told from the others by its place alone.
        learned.told[name_of(item) if call.own_ids else str(place)] = ok


def here(client: Any, call: Call, learned: Learned) -> None:
    """As a load runs it, with the spool for what is not taken."""
    import boto3

    from searchops.core.bulk import BulkIndexer, Deletes, End, Scheme, VersionScheme, index
    from searchops.core.bulk.bucket import Bucket
    from searchops.core.bulk.lanes import HandOverLanes
    from searchops.core.bulk.manifests import Manifests

    s3 = boto3.client("s3")
    lanes = HandOverLanes(s3, call.bucket, index=call.index, run="run", input="input")
    scheme = Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, attribute="version")
    size = call.options.get("chunk_size", call.chunk)
    timeout = float(call.client.get("timeout", 10))
    operations = (index(id, body, version=1) for id, body in documents(call))
    with BulkIndexer(
        client,
        call.index,
        scheme,
        patience_seconds=PATIENCE_SECONDS,
        hand_over=lanes,
        batch_documents=size,
        timeout_seconds=timeout,
    ) as indexer:
        for result in indexer.stream(operations):
            for place, end in enumerate(result.ends):
                learned.told[str(result.first + place)] = end is End.INDEXED
    manifests = Manifests(Bucket(s3, call.bucket), call.index)
    found = [manifest for key in manifests.keys("run") if (manifest := manifests.read(key))]
    learned.kept = sorted({entry.id for manifest in found for entry in manifest.entries})


_CALLS: Mapping[str, Callable[[Any, Call, Learned], None]] = {
    BULK: bulk,
    STREAMING: streaming_bulk,
    PARALLEL: parallel_bulk,
    HERE: here,
}


def main() -> None:
    from opensearchpy import OpenSearch
    from opensearchpy.helpers import BulkIndexError

    call, learned = Call(**json.load(sys.stdin)), Learned()
    client = OpenSearch(call.url, **call.client)
    try:
        _CALLS[call.caller](client, call, learned)
    except BulkIndexError as error:
        learned.raised = f"BulkIndexError naming {len(error.errors)}"
        learned.told.update({name_of(item): False for item in error.errors if call.own_ids})
    except Exception as error:
        learned.raised = type(error).__name__
    print(json.dumps(asdict(learned)))


if __name__ == "__main__":
    main()

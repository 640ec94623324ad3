"""Writers with a defect each: what a referee is there to find."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from local.faults.writer import Job, Writer
from searchops.core.bulk import Counts, Deletes, Operation, Scheme, Unreadable, delivery
from searchops.core.bulk.answers import Verdict
from searchops.core.bulk.connection import Answer, IndexConnection
from searchops.core.bulk.effects import CheckpointStore, HandOver
from searchops.core.bulk.manifests import Manifests
from searchops.core.bulk.model import HandedOver
from searchops.core.bulk.runs import Ledgers
from searchops.core.bulk.settle import Settlement

_bulk, _judge_item, _close = IndexConnection.bulk, delivery.judge_item, Ledgers.close


class DropsOneHandedOver(Writer):
    """Of each batch that is handed over."""

    def lanes(self) -> HandOver:
        return _Dropping(super().lanes())


class _Dropping:
    def __init__(self, lanes: HandOver) -> None:
        self._lanes = lanes

    def hand_over(self, batch: int, documents: Sequence[HandedOver]) -> Mapping[str, int]:
        return self._lanes.hand_over(batch, documents[1:])


class WritesWithoutVersions(Writer):
    def __init__(self, job: Job) -> None:
        super().__init__(job)

        def bulk(connection: IndexConnection, body: bytes, *rest: Any, **options: Any) -> Answer:
            body = re.sub(rb',"version":\d+,"version_type":"external"', b"", body)
            return _bulk(connection, body, *rest, **options)

        IndexConnection.bulk = bulk  # type: ignore[method-assign]


class DeletesForReal(Writer):
    def __init__(self, job: Job) -> None:
        super().__init__(job)
        Scheme.compare = lambda *_: None  # type: ignore[method-assign] # it would see the difference
        self.scheme = replace(self.scheme, deletes=Deletes.IMMEDIATE)


class TakesNoAnswerForAGoodOne(Writer):
    def __init__(self, job: Job) -> None:
        super().__init__(job)

        def bulk(connection: IndexConnection, body: bytes, *rest: Any, **options: Any) -> Answer:
            answer = _bulk(connection, body, *rest, **options)
            return answer if answer.status else Answer(200, taken=body.count(b'"version_type":"external"'))

        IndexConnection.bulk = bulk  # type: ignore[method-assign]


class RejectsWhatIsRefused(Writer):
    """429 is no reason to reject."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)

        def judge_item(*arguments: Any) -> Verdict:
            verdict = _judge_item(*arguments)
            return Verdict.REJECTED if verdict is Verdict.REFUSED else verdict

        delivery.judge_item = judge_item


class CountsOneTooMany(Writer):
    def __init__(self, job: Job) -> None:
        super().__init__(job)

        def close(ledgers: Ledgers, run: str, counts: Mapping[str, Counts], now: float) -> Any:
            for part in counts.values():
                part.accepted += 1
                part.indexed += 1
            return _close(ledgers, run, counts, now)

        Ledgers.close = close  # type: ignore[method-assign]


class ChecksOffWhatIsUnderWay(Writer):
    """Its checkpoint is 20 documents ahead."""

    def checkpoints(self) -> Any:
        return _Ahead(super().checkpoints(), self.scenario.count)


class _Ahead:
    def __init__(self, store: CheckpointStore, most: int) -> None:
        self._store, self._most = store, most

    def load(self) -> bytes | None:
        return self._store.load()

    def save(self, checkpoint: bytes) -> None:
        values = json.loads(checkpoint)
        ahead = min(20, self._most - values["position"])
        values["position"] += ahead
        for name in ("accepted", "indexed"):
            values["counts"][name] += ahead
        self._store.save(json.dumps(values).encode())


class SettlesUnseen(Writer):
    """Takes for proved what is on a manifest, and for sent what is in the spool."""

    def settle(self, firehose_seconds: float, run: str | None = None) -> Settlement:
        manifests = Manifests(self.bucket, self.place.alias)
        for key in list(manifests.keys()):
            manifests.remove(key)
        return super().settle(firehose_seconds, run)

    def redrive(self) -> Any:
        for stored in list(self.bucket.list("spool/")):
            self.bucket.delete(stored.key)
        return super().redrive()


class ForgetsRouting(Writer):
    def operations(self, position: int) -> Iterator[Operation | Unreadable]:
        for operation in super().operations(position):
            yield operation._replace(routing=None) if isinstance(operation, Operation) else operation

"""Put the parts of `searchops.core.bulk` together to a load of an index, and to what follows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from searchops.hooks.bulk import IndexClients, scheme_of
from searchops.inventory import WrittenIndex

if TYPE_CHECKING:
    from searchops.core.bulk.bucket import Bucket
    from searchops.core.bulk.firehose import FirehoseLane
    from searchops.core.bulk.indexer import BulkIndexer
    from searchops.core.bulk.progress import Listener
    from searchops.core.bulk.redrive import Redrive
    from searchops.core.bulk.relaxed import RelaxedSettings
    from searchops.core.bulk.runs import Ledgers, Run
    from searchops.core.bulk.scheme import Scheme
    from searchops.core.bulk.settle import Settler
    from searchops.core.bulk.sources import Input, Recipe, Start
    from searchops.core.bulk.target import Target
    from searchops.core.bulk.tombstones import Tombstones

PATIENCE_SECONDS = 120.0
"""For an index without ``hand_over``: how long documents are tried again before a load fails, to go on from its checkpoint."""
REQUESTS = 32
"""Of all tasks of a load together, under way at once at most: what four tasks send, so that more of them share it."""
REQUESTS_OF_A_TASK = 8
"""More than that one process does not fill."""
MOST_RUN_NAME = 120
"""Characters: a run's name is part of the keys of objects, which have 1,024 bytes, and may be quoted to three times its length."""


def run_name(dag_id: str, run_id: str, group_id: str = "") -> str:
    """What a load is called in ledger, manifests and rejected documents: two DAGs, or two loads of one DAG, may have one run id."""
    name = " ".join(filter(None, (dag_id, group_id, run_id)))
    if len(name) <= MOST_RUN_NAME:
        return name
    return f"{name[: MOST_RUN_NAME - 17]}~{sha256(name.encode()).hexdigest()[:16]}"


def no_replays() -> tuple[str, ...]:
    """Nothing brings old events into an index; what does has to be named to the sweep of its tombstones here.

    A replay of a table does not: it touches items that are there, and the record of a delete comes behind that of the touch.
    """
    return ()


def recipe_of(index: WrittenIndex) -> Recipe:
    from searchops.core.bulk.scheme import VersionScheme
    from searchops.core.bulk.sources import IdRule, IdScheme, Recipe

    return Recipe(
        IdRule(IdScheme(index.id.scheme), index.id.attributes), VersionScheme(index.version.scheme), index.version.attribute or ""
    )


class LoadClients(IndexClients):
    """What a load of one index works with, each made when it is first needed."""

    @cached_property
    def scheme(self) -> Scheme:
        return scheme_of(self.index)

    @cached_property
    def recipe(self) -> Recipe:
        return recipe_of(self.index)

    @cached_property
    def bucket(self) -> Bucket:
        from searchops.core.bulk.bucket import Bucket

        return Bucket(self.s3, self.index.bucket)

    @cached_property
    def ledgers(self) -> Ledgers:
        from searchops.core.bulk.runs import Ledgers

        return Ledgers(self.bucket, self.index.name)

    @cached_property
    def relaxed(self) -> RelaxedSettings:
        from searchops.core.bulk.relaxed import RelaxedSettings

        return RelaxedSettings(self.node, self.bucket, self.index.name)

    @cached_property
    def lane(self) -> FirehoseLane | None:
        """Shared by all inputs of a process, because the stream's quota is."""
        from searchops.core.bulk.firehose import CLIENT, FirehoseLane

        hand_over = self.index.hand_over
        if hand_over is None or hand_over.firehose is None:
            return None
        return FirehoseLane(self.client("firehose", **CLIENT), hand_over.firehose)

    def check(self) -> Target:
        """What every writer does before its first write.

        :raises DataError: there is no index, or one of another scheme
        :raises IndexClosed: it is closed
        """
        from searchops.core.bulk.target import check_target

        return check_target(self.node, self.index.name, self.scheme)

    def is_there(self) -> bool:
        """Compare the scheme; False for an index that has not been made yet, and that nothing waits for.

        :raises DataError: there is no index though something waits for it, or one of another scheme
        """
        from searchops.core.bulk import places
        from searchops.core.bulk.target import NoIndex

        try:
            self.check()
        except NoIndex:
            name = self.index.name
            prefixes = (places.manifests_prefix(name), places.spool_prefix(name), places.firehose_failed_prefix(name))
            if any(True for prefix in prefixes for _ in self.bucket.list(prefix)):
                raise
            return False
        return True

    def check_for(self, run: str, *, writes: bool = True) -> tuple[Target, Run]:
        """The same for a load that has begun; a closed index is waited for by who writes.

        :param writes: documents are to be written, which an open ledger alone tells the sweep of tombstones
        :return: the index, and the load's ledger
        :raises DataError: also when it is not the index that the load began with, or the load was abandoned
        """
        from searchops.core.bulk.runs import State
        from searchops.core.bulk.target import compare_target
        from searchops.core.errors import DataError

        target = compare_target(self.node, self.index.name, self.scheme)
        ledger = self.ledgers.read(run)
        if ledger is None:
            raise DataError(f"index {self.index.name}, run {run}: expected a ledger, found none: was it removed by hand?")
        if ledger.state is State.ABANDONED:
            raise DataError(f"index {self.index.name}, run {run}: the load was abandoned: start a new run")
        if writes and ledger.state is not State.OPEN:
            raise DataError(
                f"index {self.index.name}, run {run}: expected an open ledger, found it {ledger.state.value}: clear the task `plan` with "
                "all that follow it, or start a new run"
            )
        ledger.check_target(target.uuid)
        return target, ledger

    def plan(self, files: Sequence[str], format: str | None, *, allow_old: bool = False) -> list[Input]:
        """:param allow_old: take files that are older than the index keeps tombstones: what was deleted since comes back"""
        from searchops.core.bulk.sources import Format, plan_inputs
        from searchops.core.errors import DataError

        if local := [uri for uri in files if not uri.startswith("s3://")]:
            raise DataError(
                f"{local[0]!r}: expected s3://bucket/key or s3://bucket/prefix/: a worker's own disk is not that of others"
            )
        days = self.index.tombstone_days  # None where deletes leave no tombstones
        oldest = time.time() - days * 86_400 if days and not allow_old else None
        return plan_inputs(self.s3, files, self.recipe, format=Format(format) if format else None, oldest=oldest)

    def source(self, given: Input) -> Start:
        from searchops.core.bulk.sources import open_input

        return open_input(self.s3, given, self.recipe)

    def indexer(self, target: Target, ledger: Run, given: Input, on_progress: Listener, progress_seconds: float) -> BulkIndexer:
        """
        :param target, ledger: as `check_for` has found them
        """
        from searchops.core.bulk.indexer import BulkIndexer
        from searchops.core.bulk.lanes import HandOverLanes
        from searchops.core.bulk.stores import RejectedObjects

        index, hand_over = self.index, self.index.hand_over
        place: dict[str, Any] = {"index": index.name, "run": ledger.run, "input": given.name}
        return BulkIndexer(
            self.node,
            index.name,
            self.scheme,
            target=target,
            concurrency=(1, min(REQUESTS_OF_A_TASK, max(1, REQUESTS // ledger.tasks))),
            patience_seconds=hand_over.patience.total_seconds() if hand_over else PATIENCE_SECONDS,
            hand_over=HandOverLanes(self.s3, index.bucket, firehose=self.lane, **place) if hand_over else None,
            rejected=RejectedObjects(self.s3, index.bucket, **place),
            on_progress=on_progress,
            progress_seconds=progress_seconds,
        )

    def forget_rejected(self, run: str, given: Input, checkpoint: bytes | None) -> None:
        """Remove what an earlier try has rejected behind its checkpoint: it is done again, and what is rejected then is kept anew."""
        from searchops.core.bulk.ledger import Checkpoint
        from searchops.core.bulk.stores import RejectedObjects

        first = Checkpoint.batch_of(checkpoint) if checkpoint is not None else 0
        RejectedObjects(self.s3, self.index.bucket, index=self.index.name, run=run, input=given.name).forget(first)

    def settler(self, clock: Callable[[], float] = time.time) -> Settler:
        from searchops.core.bulk.settle import Settler

        return Settler(
            self.node,
            self.s3,
            self.index.bucket,
            index=self.index.name,
            scheme=self.scheme,
            settled=lambda run, going: self.ledgers.settle(run, clock(), going=going),
            clock=clock,
        )

    def redrive(self) -> Redrive:
        from searchops.core.bulk.indexer import BulkIndexer
        from searchops.core.bulk.redrive import Redrive

        index = self.index
        # Without patience: it is the first to make room when the cluster is busy.
        writer = BulkIndexer(self.node, index.name, self.scheme, patience_seconds=0)
        return Redrive(writer, self.s3, index.bucket, index=index.name, scheme=self.scheme)

    @property
    def tombstones(self) -> Tombstones | None:
        from searchops.core.bulk.tombstones import Tombstones

        days = self.index.tombstone_days
        if not days:
            return None
        return Tombstones(self.node, self.bucket, self.index.name, self.scheme, days=days, replays=no_replays)

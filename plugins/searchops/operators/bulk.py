"""The tasks of a load, and those that look after what a load has handed over."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from searchops.core.errors import DataError, SearchOpsError, TransientError
from searchops.hooks.load import LoadClients, run_name
from searchops.inventory import WrittenIndex
from searchops.operators.arguments import as_limit, as_list, is_false, is_true
from searchops.reporting import report_done, reporting
from searchops.retries import RETRY_DELAY, RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from searchops.core.bulk.indexer import BulkIndexer
    from searchops.core.bulk.model import Counts
    from searchops.core.bulk.progress import Progress
    from searchops.core.bulk.redrive import Outcome
    from searchops.core.bulk.runs import Run
    from searchops.core.bulk.settle import Settlement
    from searchops.core.bulk.sources import Input
    from searchops.core.bulk.target import Target
    from searchops.core.bulk.tombstones import Sweep

PROGRESS_SECONDS = 5.0
LOAD_RETRIES = 10
"""A load goes on from its checkpoint, so each try is worth its wait: with a first wait of 30 s these are about 40 minutes."""
MOST_TASKS = 32
REJECTED_OBJECTS = 20
"""So many are read to tell of which kinds the rejected documents are."""


class IndexOperator(BaseOperator):
    """A task for one index; what it has to say is kept in ``reports/``.

    :param index: a written index of the inventory, as JSON
    :param group_id: of the load that the task belongs to
    """

    ui_color = "#e9f5ee"

    def __init__(self, *, index: Mapping[str, Any], group_id: str = "", **kwargs: Any) -> None:
        super().__init__(**{"retries": 3, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **kwargs})
        self.index = dict(index)
        self.group_id = group_id

    @cached_property
    def clients(self) -> LoadClients:
        return LoadClients(WrittenIndex.model_validate(self.index))

    def run_of(self, context: Context) -> str:
        """The name of the load in the bucket."""
        ti: Any = context["ti"]
        return run_name(ti.dag_id, ti.run_id, self.group_id)

    def reporting(self, context: Context) -> AbstractContextManager[None]:
        return reporting(context, lambda: self.clients.s3, self.clients.index.bucket, facts=self.clients.facts)

    def say(self, context: Context, title: str, facts: Mapping[str, Any]) -> None:
        self.log.info("%s", title)
        report_done(context, lambda: self.clients.s3, self.clients.index.bucket, title, facts)


class OpenSearchBulkLoadPlanOperator(IndexOperator):
    """Find what a load has to read, look whether the index takes it, and open the load's ledger; nothing is written to the index.

    :param files: ``s3://`` URIs of objects, or of prefixes that end with ``/`` (templated, as JSON)
    :param data_format: ndjson, parquet or dynamodb; empty: as the names say (templated)
    :param tasks: give the files to so many tasks at most, 1 to 32 (templated)
    :param allow_old: take files that are older than the index keeps tombstones; only what is clearly true does (templated)
    :param only_plan: look only: the return value is empty then; only what is clearly false loads (templated)
    :return: the inputs of each task, for `OpenSearchBulkLoadOperator` to be mapped over
    :raises DataError: a file is missing or unusable, or the index is missing or has another scheme; nothing has been written then
    """

    template_fields: Sequence[str] = ("files", "data_format", "tasks", "allow_old", "only_plan")

    def __init__(
        self,
        *,
        files: str | Sequence[str],
        data_format: str | None = None,
        tasks: int | str = 4,
        allow_old: bool | str = False,
        only_plan: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.allow_old = allow_old
        self.files = files
        self.data_format = data_format
        self.tasks = tasks
        self.only_plan = only_plan

    def execute(self, context: Context) -> list[list[dict[str, Any]]]:
        from searchops.core.bulk.sources import share_out

        with self.reporting(context):
            tasks = as_limit(self.tasks) or 1
            if tasks > MOST_TASKS:
                raise DataError(f"tasks: expected 1 to {MOST_TASKS}, found {tasks}")
            inputs = self.clients.plan(as_list(self.files), self.data_format or None, allow_old=is_true(self.allow_old))
            if not any(given.bytes and given.documents != 0 for given in inputs):
                others = f" and {len(inputs) - 1} other inputs are" if len(inputs) > 1 else " is"
                raise DataError(f"expected documents, found none: {inputs[0].where}{others} empty: look what wrote them")
            target = self.clients.check()
            run, load = self.run_of(context), is_false(self.only_plan)
            shares = share_out(inputs, tasks)
            if load:
                sources = {given.name: given.where for given in inputs}
                self.clients.ledgers.open(run, sources, time.time(), target_uuid=target.uuid, tasks=len(shares))
            self._tell(context, inputs, target.concrete, run if load else None)
        return [[given.to_dict() for given in share] for share in shares] if load else []

    def _tell(self, context: Context, inputs: Sequence[Input], concrete: str, run: str | None) -> None:
        size = sum(given.bytes for given in inputs)
        documents = sum(given.documents or 0 for given in inputs)
        unknown = sum(given.documents is None for given in inputs)
        empty = [given.where for given in inputs if not given.bytes]
        title = f"{self.clients.index.name}: {len(inputs)} inputs, {size:,} bytes, {documents:,} documents"
        if unknown:
            title += f" and those of {unknown} files whose number is not known"
        facts = {"Inputs": len(inputs), "Bytes": size, "Documents known": documents, "Files of unknown number": unknown}
        named = {f"Input {number}": f"{each.where} ({each.bytes:,} bytes)" for number, each in enumerate(inputs[:10], start=1)}
        self.say(
            context,
            title if run else f"{title} (a dry run)",
            {**facts, "Written to": concrete, **({"Load": run} if run else {}), **({"Empty": empty} if empty else {}), **named},
        )


class TaskStateCheckpoints:
    """Where an input's checkpoint is kept, in Airflow's task state store; `effects.CheckpointStore`.

    By the input, whose name holds the ETag, and not by the place in the mapping: a plan that is made again may order the inputs in
    another way.

    :param store: of this task instance: its tries share it, and so does a task that was cleared
    """

    def __init__(self, store: Any, given: Input) -> None:
        self._store = store
        self._key = f"checkpoint_{given.name}"

    def load(self) -> bytes | None:
        kept = self._call(self._store.get, self._key)
        return kept.encode() if isinstance(kept, str) else None

    def save(self, checkpoint: bytes) -> None:
        self._call(self._store.set, self._key, checkpoint.decode())

    def delete(self) -> None:
        self._call(self._store.delete, self._key)

    @staticmethod
    def _call(ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except Exception as error:
            raise TransientError("Airflow's task state store does not answer", reason=str(error)) from error


class OpenSearchBulkLoadOperator(IndexOperator):
    """Load the inputs of one task, each from its checkpoint; to be mapped over what the plan returns.

    The checkpoint is that of the last try, also of one that was killed. It is removed when all inputs have been loaded: a task that is
    cleared after its success loads everything again, one that is cleared after a failure goes on. Airflow does not tell the two apart.

    :param inputs: inputs as the plan returns them
    :return: the counts of each input, by its name
    :raises DataError: an input is damaged or has changed, the index is not the one that the load began with, or takes no such writes
    :raises TransientError: not now; the next try goes on from the checkpoint
    """

    def __init__(self, *, inputs: Any, **kwargs: Any) -> None:
        super().__init__(**{"retries": LOAD_RETRIES, **kwargs})
        self.inputs = inputs
        self._killed = threading.Event()
        self._indexer: BulkIndexer | None = None

    def execute(self, context: Context) -> dict[str, dict[str, int]]:
        from searchops.core.bulk.sources import Input

        inputs = [Input.from_dict(given) for given in self.inputs]
        store: Any = context["task_state_store"]
        with self.reporting(context):
            target, ledger = self.clients.check_for(self.run_of(context))
            counts = self._load_all(store, inputs, target, ledger)
            for given in inputs:
                TaskStateCheckpoints(store, given).delete()
        return {name: found.to_dict() for name, found in counts.items()}

    def _load_all(self, store: Any, inputs: Sequence[Input], target: Target, ledger: Run) -> dict[str, Counts]:
        """A bad input holds up none of the others."""
        from searchops.core.bulk.effects import NotHandedOver
        from searchops.core.bulk.sources import BadInput

        counts: dict[str, Counts] = {}
        bad: list[BadInput] = []
        for given in inputs:
            try:
                counts[given.name] = self._load(store, given, target, ledger)
            except BadInput as error:
                self.log.error("%s", error)
                bad.append(error)
            except NotHandedOver as error:
                if error.lasting:  # for a person: another try would end the same
                    raise DataError(str(error), reason=error.reason, facts=error.facts) from error
                raise
        if bad:
            others = f" ({len(bad)} of {len(inputs)} inputs are like that; the others are loaded)" if len(inputs) > 1 else ""
            raise BadInput(f"{bad[0]}{others}", reason=bad[0].reason) from bad[0]
        return counts

    def _load(self, store: Any, given: Input, target: Target, ledger: Run) -> Counts:
        from searchops.core.bulk.ledger import Checkpoint

        checkpoints = TaskStateCheckpoints(store, given)
        kept = checkpoints.load()
        self.clients.forget_rejected(ledger.run, given, kept)
        self.log.info("%s: %s", given.where, "from its beginning" if kept is None else f"from the checkpoint {kept.decode()}")

        def tell(progress: Progress) -> None:
            line = progress.line()
            self.log.info("%s: %s", given.where, line)
            with suppress(Exception):  # for people only; a load does not fail for it
                store.set("progress", {"input": given.where, "line": line, **progress.counts.to_dict()})

        self._indexer = self.clients.indexer(target, ledger, given, tell, PROGRESS_SECONDS)
        source = self.clients.source(given)
        named = f"{given.name} into {target.uuid}"
        try:
            counts = self._indexer.run(
                lambda start: self._until_killed(source(start)), checkpoints=checkpoints, input=named, expected=given.documents
            )
        except Exception:
            if (reached := checkpoints.load()) is not None:
                self._note(ledger, given, Checkpoint.from_json(reached, named).counts, complete=False)
            raise
        self._note(ledger, given, counts, complete=True)
        self.log.info("%s: done: %s", given.where, counts.to_dict())
        return counts

    def _note(self, ledger: Run, given: Input, counts: Counts, *, complete: bool) -> None:
        """For people, should the load never come to its end; the end itself does not need it."""
        try:
            noted = self.clients.ledgers.note(ledger.run, given.name, counts, time.time(), complete=complete)
        except SearchOpsError as error:
            self.log.warning("%s: its counts could not be written into the ledger: %s (%s)", given.where, error, error.reason)
            return
        if not noted:
            self.log.warning(
                "%s: its counts are not in the ledger, which others wrote at the same time or have ended", given.where
            )

    def _until_killed(self, operations: Iterator[Any]) -> Iterator[Any]:
        killed = self._killed.is_set
        for operation in operations:
            if killed():
                raise TransientError("the task was told to stop; the next try goes on from the checkpoint")
            yield operation

    def on_kill(self) -> None:
        """Stop reading; the indexer waits for the requests under way and writes the checkpoint. Airflow gives it some seconds."""
        self.log.warning("Killed: writing the checkpoint")
        self._killed.set()
        if self._indexer is not None:
            self._indexer.close()


class OpenSearchBulkLoadFinishOperator(IndexOperator):
    """Add up what became of every document of a load, and close its ledger.

    :param loaded: what the load's tasks have returned (templated)
    :param max_rejected: fail when more documents were rejected; empty: any number will do (templated)
    :return: run, state of the ledger, counts
    :raises Unbalanced: an input has not come to its end, or its ends do not add up
    :raises DataError: the index is not the one that the load began with: the ledger stays open then
    :raises DataError: more documents were rejected; the ledger is closed all the same
    """

    template_fields: Sequence[str] = ("loaded", "max_rejected")

    def __init__(self, *, loaded: Any, max_rejected: int | str | None = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loaded = loaded
        self.max_rejected = max_rejected

    def execute(self, context: Context) -> dict[str, Any]:
        from searchops.core.bulk.model import Counts

        with self.reporting(context):
            run = self.run_of(context)
            self.clients.check_for(run, writes=False)  # it may have become another one since the last write
            counts = {name: Counts.from_dict(part) for task in self.loaded for name, part in task.items()}
            ended = self.clients.ledgers.close(run, counts, time.time())
            result = {"run": ended.run, "state": ended.state.value, "counts": ended.counts.to_dict()}
            ti: Any = context["ti"]
            ti.xcom_push(key="return_value", value=result)  # the books are closed, whatever comes of the rejected documents
            self._judge(context, ended)
        return result

    def _judge(self, context: Context, ended: Run) -> None:
        counts, most = ended.counts, _number(self.max_rejected)
        if not counts.accepted:
            files = ", ".join(part.source for part in list(ended.inputs.values())[:3])
            raise DataError(f"{self.clients.index.name}: expected documents, found none in {files}: look what wrote them")
        facts: dict[str, Any] = {"Load": ended.run, **{name.replace("_", " "): count for name, count in counts.to_dict().items()}}
        facts |= self._rejections(ended) if counts.rejected else {}
        if most is not None and counts.rejected > most:
            raise DataError(
                f"{self.clients.index.name}: {counts.rejected:,} of {counts.accepted:,} documents were rejected, at most {most:,} are "
                "allowed; all others are loaded. Mend the rejected ones at their source and load them again",
                facts=facts,
            )
        facts |= self._lanes(counts) if counts.handed_over else {}
        handed_over = f", {counts.handed_over:,} handed over (hand_over_settle proves them)" if counts.handed_over else ""
        self.say(
            context,
            f"{self.clients.index.name}: {counts.accepted:,} documents: {counts.indexed:,} indexed, {counts.superseded:,} superseded, "
            f"{counts.rejected:,} rejected{handed_over}",
            facts,
        )

    def _lanes(self, counts: Counts) -> dict[str, Any]:
        """Which lane took what was handed over. A stream that takes nothing is missing or forbidden, and nobody else would notice."""
        by_firehose = counts.handed_over - counts.spooled
        told: dict[str, Any] = {"Handed over": f"{by_firehose:,} by Firehose, {counts.spooled:,} by the spool"}
        hand_over = self.clients.index.hand_over
        if hand_over is not None and hand_over.firehose and not by_firehose:
            words = f"stream {hand_over.firehose} took nothing: run searchops_setup, and look at the role's permissions for it"
            self.log.warning("%s: %s", self.clients.index.name, words)
            told["Stream"] = words
        return told

    def _rejections(self, ended: Run) -> dict[str, Any]:
        """Where the rejected documents are, and of which kinds. Not why: reasons quote values, and this goes to Slack."""
        from searchops.core.bulk import places
        from searchops.core.bulk.stores import read_rejected

        index = self.clients.index
        prefix = places.rejected_prefix(index.name, ended.run)
        looked_at = list(islice(self.clients.bucket.list(prefix), REJECTED_OBJECTS + 1))
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        for stored in looked_at[:REJECTED_OBJECTS]:
            for line, document in enumerate(read_rejected(self.clients.bucket.get(stored.key) or b""), start=1):
                counts[document.kind] += 1
                first.setdefault(document.kind, f"{stored.key}, line {line}")
        least = "at least " if len(looked_at) > REJECTED_OBJECTS else ""
        kinds = {f"Rejected: {kind}": f"{least}{count:,}, the first: {first[kind]}" for kind, count in counts.most_common(10)}
        return {"Rejected documents": f"s3://{index.bucket}/{prefix}", **kinds}


class OpenSearchIndexRelaxOperator(IndexOperator):
    """Have an index refresh less often, or hold fewer replicas, for the time of a load. What was there before is kept in the bucket.

    :param refresh_interval: e.g. 30s, or -1 for none; empty leaves it (templated)
    :param replicas: 0 or more; empty leaves them. With 0 a node that is lost takes its shards' documents with it (templated)
    :param only_plan: skips it; only what is clearly false relaxes (templated)
    :return: what was set
    """

    template_fields: Sequence[str] = ("refresh_interval", "replicas", "only_plan")

    def __init__(
        self,
        *,
        refresh_interval: str | None = "30s",
        replicas: int | str | None = None,
        only_plan: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.refresh_interval = refresh_interval
        self.replicas = replicas
        self.only_plan = only_plan

    def execute(self, context: Context) -> dict[str, Any]:
        if not is_false(self.only_plan):
            raise AirflowSkipException("a dry run: nothing is relaxed")
        with self.reporting(context):
            changed = self.clients.relaxed.relax(
                refresh_interval=self.refresh_interval or None, replicas=_number(self.replicas, "replicas")
            )
        self.log.info("Index %s: %s", changed.index, dict(changed.settings) or "left as it is")
        return {"index": changed.index, "settings": dict(changed.settings)}


class OpenSearchIndexRestoreOperator(IndexOperator):
    """Put back what a load has relaxed, also what a killed one has left, and refresh the index. What somebody else has changed stays.

    :return: what was set
    """

    def execute(self, context: Context) -> dict[str, Any]:
        with self.reporting(context):
            changed = self.clients.relaxed.restore()
        for name, value in changed.left.items():
            self.log.warning("Index %s: %s is %s, which is not from a load: left as it is", changed.index, name, value)
        self.log.info("Index %s: %s", changed.index, dict(changed.settings) or "nothing was relaxed")
        return {"index": changed.index, "settings": dict(changed.settings), "left": dict(changed.left)}


class OpenSearchSettleOperator(IndexOperator):
    """Prove what was handed over, send again what has not arrived, and sweep old tombstones. Quick where nothing is there.

    Settings that a load has relaxed and not put back (it was killed) are put back when no load is open.

    :param abandon: names of loads that will never come to their end: their ledgers are closed as abandoned, so that they keep no
        tombstones any more. Nothing may write for them (templated, as JSON)
    :param resend: send again what waits in the spool and among Firehose's failures (templated)
    :param kinds: only these kinds of failure, as a dry run names them; empty: every kind (templated, as JSON)
    :param older_than: only what was handed over so long ago, e.g. 1h; empty: of any age (templated)
    :param only_plan: look only: nothing is sent, proved or swept; only what is clearly false acts (templated)
    :return: abandoned, settled, redrive (its groups by kind, with remedies), sweep, restored; also of a failed task
    :raises DataError: the index has another scheme; or documents were handed over and are nowhere; or the index refused some; or a
        load is open for more than a week
    :raises TransientError: the cluster takes nothing for a day; or it, or S3, can not be asked now
    """

    template_fields: Sequence[str] = ("abandon", "resend", "kinds", "older_than", "only_plan")

    def __init__(
        self,
        *,
        abandon: str | Sequence[str] = (),
        resend: bool | str = True,
        kinds: str | Sequence[str] = (),
        older_than: str | None = None,
        only_plan: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.abandon = abandon
        self.resend = resend
        self.kinds = kinds
        self.older_than = older_than
        self.only_plan = only_plan

    def execute(self, context: Context) -> dict[str, Any]:
        with self.reporting(context):
            act = is_false(self.only_plan)
            abandoned = self._abandon() if act else []
            if not self.clients.is_there():
                self.log.info("There is no index %s yet, and nothing waits for it", self.clients.index.name)
                return {"abandoned": abandoned, "settled": None, "redrive": None, "sweep": None, "restored": {}}
            settled = self.clients.settler().settle() if act else None
            outcome = self._redrive(act, settled)
            if act and outcome is not None and outcome.removed:
                settled = self.clients.settler().settle()
            sweep = self._sweep(act)
            restored = self._restore() if act else {}
            result = {
                "abandoned": abandoned,
                "settled": settled.as_json() if settled else None,
                "redrive": outcome.as_json() if outcome else None,
                "sweep": sweep.as_json() if sweep else None,
                "restored": restored,
            }
            ti: Any = context["ti"]
            ti.xcom_push(key="return_value", value=result)  # before anything is raised: what was done is done
            self._judge(context, settled, outcome, sweep)
        return result

    def _abandon(self) -> list[str]:
        from searchops.core.bulk.runs import State

        runs = [self.clients.ledgers.abandon(run, time.time()) for run in as_list(self.abandon or ())]
        for run in runs:
            self.log.info("Load %s is %s", run.run, run.state.value)
        return [run.run for run in runs if run.state is State.ABANDONED]

    def _restore(self) -> dict[str, str | None]:
        """A load opens its ledger before it relaxes anything."""
        from searchops.core.bulk.runs import State

        clients = self.clients
        if not clients.relaxed.is_relaxed() or any(run.state is State.OPEN for run in clients.ledgers.all()):
            return {}
        changed = clients.relaxed.restore()
        self.log.warning(
            "Index %s: a load has left %s relaxed: put back", changed.index, ", ".join(changed.settings) or "nothing"
        )
        return dict(changed.settings)

    def _redrive(self, act: bool, settled: Settlement | None) -> Outcome | None:
        from searchops.core.bulk.redrive import Choice, not_found

        if act and not is_true(self.resend):
            return None
        choice = Choice(kinds=as_list(self.kinds or ()), min_age_seconds=_seconds(self.older_than), send=act)
        outcome = self.clients.redrive().run(choice)
        for group in outcome.largest_first:
            self.log.info("%s", group)
        for kind in not_found(choice, outcome):
            self.log.warning("No document of the kind %r waits", kind)
        return outcome

    def _sweep(self, act: bool) -> Sweep | None:
        tombstones = self.clients.tombstones
        return tombstones.sweep(time.time(), dry_run=not act) if tombstones else None

    def _judge(self, context: Context, settled: Settlement | None, outcome: Outcome | None, sweep: Sweep | None) -> None:
        forgotten = sweep.forgotten if sweep else ()
        problems = [settled.problem() if settled else None, outcome.problem(time.time()) if settled and outcome else None]
        for problem in problems:
            if problem is not None:
                raise problem
        if forgotten:
            raise DataError(
                f"{self.clients.index.name}: {'; '.join(forgotten)} for more than a week, so no tombstone is swept: run the load to its "
                "end, or give its name to `abandon` of this DAG when nothing writes for it any more"
            )
        facts: dict[str, Any] = {**(settled.facts if settled else {}), **(outcome.facts if outcome else {})}
        if sweep:
            facts |= {"Tombstones swept": sweep.deleted, "Tombstones due": sweep.found, "Held by": list(sweep.held_by)}
        title = outcome.title if outcome and outcome.objects else f"{self.clients.index.name}: nothing waits in a lane"
        self.say(context, title if settled else f"{title} (a dry run)", facts)


def _number(value: int | str | None, name: str = "max_rejected") -> int | None:
    """
    :raises DataError: no whole number from 0
    """
    text = "" if value is None else str(value).strip()
    if text in ("", "None"):
        return None
    if not text.isdecimal():
        raise DataError(f"{name}: expected a whole number from 0, or nothing, found {text!r}")
    return int(text)


def _seconds(value: str | None) -> float | None:
    from searchops.inventory.types import parse_duration

    if not value or value == "None":
        return None
    try:
        return parse_duration(value).total_seconds()
    except ValueError as error:
        raise DataError(f"older_than: {error}") from error

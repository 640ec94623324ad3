"""The tasks that send items of a table through its stream again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from searchops.core.errors import DataError
from searchops.core.waiting import Cadence
from searchops.hooks.replay import POLL_SCALE, ReplayClients
from searchops.inventory import Table
from searchops.operators.arguments import as_list, is_false, is_true
from searchops.reporting import report_done, reporting
from searchops.retries import RETRY_DELAY, RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from searchops.core.replay.arrivals import Look
    from searchops.core.replay.identity import Replay
    from searchops.core.replay.model import Counts
    from searchops.core.replay.pace import Pacer
    from searchops.core.replay.plan import Plan
    from searchops.core.replay.progress import Meter, Progress
    from searchops.core.replay.reconcile import Reconciler
    from searchops.core.replay.report import ReplayReport
    from searchops.core.replay.run import Standing
    from searchops.core.replay.selection import Selection
    from searchops.core.replay.toucher import Toucher

TOUCH_RETRIES = 10
"""A replay goes on from its checkpoints, so each try is worth its wait: with a first wait of 30 s these are about 40 minutes, and two and a
half hours where each try pauses for a consumer as long as it may (`lag.LONGEST_PAUSE_SECONDS`)."""
PROGRESS_SECONDS = 5.0
STAY_SECONDS = 60.0
"""How long a task waits with its worker, before it waits without one: a start of a task costs some seconds of one."""
AWAY_SECONDS = 120.0
CADENCE = Cadence(scale=POLL_SCALE)
MOST_NAMED = 5
DRY_RUN = " (a dry run: nothing is written)"


class ReplayOperator(BaseOperator):
    """A task for one table; what it has to say is kept in ``reports/``.

    :param table: a table of the inventory, as JSON
    :param wcu_per_second: write units a second at most, in place of the inventory's; empty: those (templated)
    """

    template_fields: Sequence[str] = ("wcu_per_second",)
    ui_color = "#e7edf8"

    def __init__(self, *, table: Mapping[str, Any], wcu_per_second: float | str | None = None, **kwargs: Any) -> None:
        super().__init__(**{"retries": 3, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **kwargs})
        self.table = dict(table)
        self.wcu_per_second = wcu_per_second

    @cached_property
    def clients(self) -> ReplayClients:
        return ReplayClients(Table.model_validate(self.table), wcu_per_second=_units(self.wcu_per_second))

    def reporting(self, context: Context, selected: str = "") -> AbstractContextManager[None]:
        """
        :param selected: which of the run's selections a mapped task is about; its number tells nobody
        """
        # Not of `clients`, whose arguments may be what is wrong.
        table = Table.model_validate(self.table)
        told = ReplayClients(table)
        facts = {**({"Selected": selected} if selected else {}), **told.facts}
        return reporting(context, lambda: told.s3, table.home.bucket, facts=facts)

    def say(self, context: Context, title: str, facts: Mapping[str, Any]) -> None:
        self.log.info("%s", title)
        report_done(context, lambda: self.clients.s3, self.clients.table.home.bucket, title, facts)


class DynamoDBReplayPlanOperator(ReplayOperator):
    """Look whether a table is fit for a replay, and count what one would touch. Writes nothing to the table.

    :param choice: the fields of `searchops.core.replay.choice.Choice`, or texts that templates make of them (templated)
    :param rewrite: documents that the index holds already are to be written again, too (templated)
    :param abandon: ids of replays that are not to be gone on with, once all is found fit: the next one of their selection is new. With
        nothing chosen that is all that is done (templated, as JSON)
    :param only_plan: look only: the return value is empty then; only what is clearly false replays and abandons (templated)
    :return: each selection with what it is called and how many items are expected, for `DynamoDBStreamReplayOperator` to be mapped over;
        the XCom ``plans`` has what was found of each, ``findings`` what was found of the table, ``unfinished`` the replays that have not
        come to their end
    :raises DataError: nothing, or nothing that makes sense, was chosen; or the table is not fit, with all reasons
    :raises InProgress: a replay is to be abandoned while a task touches the table
    """

    template_fields: Sequence[str] = ("choice", "rewrite", "abandon", "only_plan", "wcu_per_second")

    def __init__(
        self,
        *,
        choice: Mapping[str, Any],
        rewrite: bool | str = False,
        abandon: str | Sequence[str] = (),
        only_plan: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.choice = choice
        self.rewrite = rewrite
        self.abandon = abandon
        self.only_plan = only_plan

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from searchops.core.replay.choice import Choice
        from searchops.core.replay.selection import to_json

        with self.reporting(context):
            choice, act = Choice.of(self.choice), is_false(self.only_plan)
            only_abandons = bool(as_list(self.abandon or ())) and not choice.ways
            selections = () if only_abandons else self.clients.selections(choice)
            plans = self.clients.plans(selections, rewrite=is_true(self.rewrite)) if selections else []
            abandoned = self.clients.abandon(as_list(self.abandon or ())) if act else []
            told = _Told(plans, selections, abandoned, self.clients.unfinished())
            for line in told.log():
                self.log.info("%s", line)
            for key, value in told.xcoms().items():
                context["ti"].xcom_push(key=key, value=json.loads(json.dumps(value)))  # lists, no tuples
            self.say(context, told.title(self.clients.settings.table) + ("" if act else DRY_RUN), told.facts())
        return [
            {"name": name, "selection": to_json(selection), "expected": plan.items, "exact": plan.exact}
            for name, selection, plan in zip(told.names, selections, plans, strict=True)
            if act
        ]


class _Told:
    """What a person is told of plans; without plans, of replays that were given up.

    :param unfinished: replays of the table that have not come to their end
    """

    def __init__(
        self, plans: Sequence[Plan], selections: Sequence[Selection], abandoned: Sequence[Replay], unfinished: Sequence[Replay]
    ) -> None:
        from searchops.core.replay.report import words
        from searchops.core.replay.selection import digest

        self.names = [words(selection) for selection in selections]
        chosen = {digest(selection) for selection in selections}
        self._plans, self._abandoned = plans, abandoned
        self._gone_on_with = [replay for replay in unfinished if replay.digest in chosen]
        self._others = [replay for replay in unfinished if replay.digest not in chosen]

    def title(self, table: str) -> str:
        if not self._plans:
            return f"{table}: {len(self._abandoned)} replays abandoned, {len(self._others)} have not come to their end"
        items, bytes_ = sum(plan.items for plan in self._plans), sum(plan.bytes for plan in self._plans)
        about = "" if all(plan.exact for plan in self._plans) else "about "
        return f"{table}: {_listed(self.names)}: {about}{items:,} items, {bytes_:,} bytes, {self._units:,.0f} write units, {self._duration}"

    def facts(self) -> dict[str, Any]:
        first = self._plans[0] if self._plans else None
        return {
            **(self._planned() if first else {}),
            **{f"Abandoned {number}": _replay_words(replay) for number, replay in enumerate(self._abandoned, 1)},
            **{
                f"Goes on with {number}": _replay_words(replay)
                for number, replay in enumerate(self._gone_on_with[:MOST_NAMED], 1)
            },
            **{
                f"Not come to its end {number}": _replay_words(replay)
                for number, replay in enumerate(self._others[:MOST_NAMED], 1)
            },
            **{f"Consumers {number}": sentence for number, sentence in enumerate(first.consumers if first else (), 1)},
            **{
                f"{found.level.capitalize()} {number}": str(found)
                for number, found in enumerate(first.findings if first else (), 1)
            },
        }

    def log(self) -> list[str]:
        replays = {"abandoned": self._abandoned, "goes on with": self._gone_on_with, "not come to its end": self._others}
        return [
            *(plan.text() for plan in self._plans),
            *(f"{what}: {_replay_words(replay)}" for what, some in replays.items() for replay in some),
        ]

    def xcoms(self) -> dict[str, Any]:
        """The findings once, as they are those of the table, and no selection a second time: a run may have 366 of them."""
        plans = [
            {"name": name, **{field: value for field, value in plan.to_json().items() if field not in ("selection", "findings")}}
            for name, plan in zip(self.names, self._plans, strict=True)
        ]
        findings = [f"{found.level}: {found}" for found in self._plans[0].findings] if self._plans else []
        return {"plans": plans, "findings": findings, "unfinished": [*map(_replay_words, (*self._gone_on_with, *self._others))]}

    def _planned(self) -> dict[str, Any]:
        plans, first = self._plans, self._plans[0]
        cost = sum(plan.cost.usd for plan in plans if plan.cost)
        stay = [plan.not_rewritten for plan in plans if plan.not_rewritten is not None]
        return {
            "Selected": self.names,
            "Items": sum(plan.items for plan in plans),
            "To be touched": sum(plan.touches for plan in plans),
            "Bytes": sum(plan.bytes for plan in plans),
            "Write units": round(self._units),
            "Read units": round(sum(plan.read_units for plan in plans)),
            "Duration": self._duration,
            "Cost": f"{cost:,.2f} USD" if first.cost else f"not known: {first.cost_unknown}",
            "Items without the date": "no date index" if first.without_date is None else first.without_date,
            "Documents not written again": sum(stay) if len(stay) == len(plans) else "not known",
        }

    @property
    def _units(self) -> float:
        return sum(plan.table_units + plan.index_units for plan in self._plans)

    @property
    def _duration(self) -> str:
        from searchops.core.replay.lag import spoken

        return f"{spoken(sum(plan.seconds for plan in self._plans))} at {self._plans[0].wcu_per_second:g} write units a second"


class DynamoDBStreamReplayOperator(ReplayOperator):
    """Touch what was selected, or go on with that, at the pace that table and consumers bear.

    Whether it goes on is told by the table of claims, not by Airflow: a replay that has not come to its end is gone on with, by whichever
    run or try; one that has is followed by another.

    :param part: one of those that the plan returns (templated)
    :param batches: touch 25 items a request by PartiQL, as fast as the table takes them: no budget holds them back, because what a batch
        costs is not told of each item. Not with ``wcu_per_second``, nor for a table with ``version_owner: shared``
    :return: ``part`` with replay_id, began_at (epoch seconds) and counts
    :raises DataError: the selection does not fit the table, a permission is missing, or a consumer is too far behind
    :raises TransientError: another task touches the table, DynamoDB throttles for long or does not answer; the next try goes on
    """

    template_fields: Sequence[str] = ("part", "wcu_per_second")
    _toucher: Toucher | None = None

    def __init__(self, *, part: Any, batches: bool = False, **kwargs: Any) -> None:
        super().__init__(**{"retries": TOUCH_RETRIES, **kwargs})
        if batches and self.wcu_per_second is not None:
            raise ValueError(
                "expected batches or wcu_per_second, found both: no budget holds batches back; leave one of them out"
            )
        self.part = part
        self.batches = batches

    def execute(self, context: Context) -> dict[str, Any]:
        from searchops.core.replay.run import replay
        from searchops.core.replay.selection import from_json

        with self.reporting(context, self.part["name"]):
            selection, pace = from_json(self.part["selection"]), self.clients.pacer(held=not self.batches)
            self._toucher = self.clients.toucher(pace, batches=self.batches)
            store: Any = context["task_state_store"]
            watched = _Watched(self, selection, pace, store)
            try:
                done = replay(self.clients.job(selection, self._toucher), watched, watched)
            except BaseException:
                watched.ended_early()
                raise
            report = watched.done(done.replay.replay_id, done.counts)
            self.log.info("%s", report.text())
            self.say(context, report.title, report.facts)
        return {
            **self.part,
            "replay_id": done.replay.replay_id,
            "began_at": done.replay.created_at.timestamp(),
            "counts": done.counts.to_json(),
        }

    def on_kill(self) -> None:
        """Let no touch begin any more; the checkpoints say how far it is. Airflow gives it some seconds."""
        self.log.warning("Killed: ending the touches under way")
        if self._toucher is not None:
            self._toucher.stop.set()
            self._toucher.pace.stop()


class _Watched:
    """What a person sees of a replay while it runs, and what is left of it when it ends; called after every page, and while one waits."""

    def __init__(self, task: DynamoDBStreamReplayOperator, selection: Selection, pace: Pacer, store: Any) -> None:
        self._task, self._selection, self._pace, self._store = task, selection, pace, store
        self._began = time.monotonic()
        self._meter: Meter | None = None
        self._last: Standing | None = None

    def __call__(self, standing: Standing) -> None:
        before = self._last.here.selected if self._last else 0
        self._last = standing
        self._meter = self._meter or self._start(standing.counts.selected - standing.here.selected)
        self._meter.add(standing.here.selected - before)

    def _start(self, earlier: int) -> Meter:
        """:param earlier: items that earlier tries have dealt with"""
        from searchops.core.replay.progress import Estimate, Meter

        part = self._task.part
        given: dict[str, Any] = {"done": earlier, "approximate": not part["exact"], "pace": self._pace, "began": self._began}
        return Meter(self._tell, Estimate(part["expected"], **given), done=earlier, every_seconds=PROGRESS_SECONDS)

    def _tell(self, progress: Progress) -> None:
        name = self._task.part["name"]
        self._task.log.info("%s: %s", name, progress.line())
        with suppress(Exception):  # for people only; a replay does not fail for it
            self._store.set("progress", {"selection": name, "line": progress.line(), **progress.to_json()})

    def done(self, replay_id: str, counts: Counts) -> ReplayReport:
        if self._meter is not None:
            self._meter.finish()
        return self._report(replay_id, counts)

    def ended_early(self) -> None:
        """Leave what this try has done to the report, to which the next one adds."""
        if self._last is not None:
            self._report(self._last.replay.replay_id, self._last.counts)

    def _report(self, replay_id: str, counts: Counts) -> ReplayReport:
        seconds = time.monotonic() - self._began
        return self._task.clients.touched(self._selection, replay_id, counts, seconds, self._pace.throttles)


class DynamoDBReplayReconcileOperator(ReplayOperator):
    """Wait until the consumers have read what was touched, compare it with the index, and touch again what is missing.

    It waits with its worker for a minute, then without one.

    :param replayed: what `DynamoDBStreamReplayOperator` returns (templated)
    :param patience_seconds: to wait for what is late, at the beginning and after each time that something was touched again; default
        half an hour and the table's ``max_lag``
    :return: ``replayed`` with arrivals and the URI of the report
    :raises NotInIndex: touched items are not in the index although the consumer has gone on
    :raises OnTheWay: they have not come in time
    """

    template_fields: Sequence[str] = ("replayed", "wcu_per_second")

    def __init__(self, *, replayed: Any, patience_seconds: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.replayed = replayed
        self.patience_seconds = patience_seconds

    def execute(self, context: Context) -> dict[str, Any]:
        if self.clients.index is None:
            raise AirflowSkipException(f"tables.{self.clients.table.key} names no index: nothing to compare with")
        return self.look_again(context, since=time.time())

    def look_again(self, context: Context, event: Any = None, *, since: float) -> dict[str, Any]:
        """:param since: when the wait began that is under way (epoch seconds)"""
        with self.reporting(context, self.replayed["name"]):
            reconciler = self.clients.reconciler(self.replayed["replay_id"], self.replayed["began_at"])
            look, since = self._look(reconciler, since)
            if look is not None:
                return self._done(context, look)
        self._wait_without_worker(since)
        raise AssertionError  # defer raises

    @property
    def _selection(self) -> Selection:
        from searchops.core.replay.selection import from_json

        return from_json(self.replayed["selection"])

    def _look(self, reconciler: Reconciler, since: float) -> tuple[Look | None, float]:
        """Look until nothing is short, or for as long as a worker is to be held: None then, and since when it waits."""
        from searchops.core.idempotency.errors import InProgress
        from searchops.core.replay.arrivals import Step, next_step
        from searchops.core.replay.lag import ConsumerLate

        began = time.monotonic()
        while True:
            patient = time.time() - since < self._patience
            look = reconciler.look(patient=patient)
            match next_step(look, patient=patient):
                case Step.DONE:
                    return look, since
                case Step.FAIL:
                    self.log.error("Missing, the first %d: %s", len(look.first), ", ".join(look.first))
                    raise reconciler.problem(look)
                case Step.AGAIN:
                    try:
                        reconciler.send_again()
                    except (InProgress, ConsumerLate) as busy:
                        self.log.info("%s", busy)
                        return None, time.time()
                    since = time.time()
            if time.monotonic() - began > STAY_SECONDS * POLL_SCALE:
                return None, since
            time.sleep(CADENCE.delay(time.time() - since))

    @property
    def _patience(self) -> float:
        from searchops.core.replay.reconcile import PATIENCE_SECONDS

        usual = PATIENCE_SECONDS + self.clients.table.replay.max_lag.total_seconds()
        return usual if self.patience_seconds is None else self.patience_seconds

    def _wait_without_worker(self, since: float) -> None:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        trigger = TimeDeltaTrigger(timedelta(seconds=AWAY_SECONDS * POLL_SCALE))
        self.defer(trigger=trigger, method_name="look_again", kwargs={"since": since})

    def _done(self, context: Context, look: Look) -> dict[str, Any]:
        from searchops.core.replay.model import Counts

        counts = Counts.from_json(self.replayed["counts"])
        report, uri = self.clients.reconciled(self._selection, self.replayed["replay_id"], counts, look.arrivals)
        self.log.info("%s", report.text())
        if report.short:
            raise DataError(
                f"{report.title}: {report.unlisted:,} touched items are not on the list of touched keys", facts=report.facts
            )
        self.say(context, report.title, {**report.facts, "Report": uri})
        return {**self.replayed, "arrivals": look.arrivals.to_json(), "report": uri}


def _units(value: float | str | None) -> float | None:
    """:raises DataError: it is no number"""
    text = "" if value is None else str(value).strip()
    if text in ("", "None"):
        return None
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"wcu_per_second: expected a number above 0, or nothing for that of the inventory, found {text!r}"
        ) from None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _replay_words(replay: Replay) -> str:
    from searchops.core.replay.report import words

    return f"{replay.replay_id}, {words(replay.selection)}, begun {replay.created_at.isoformat()}"

"""Put the clients of a table and its inventory entry together to what `searchops.core.replay` works with."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from searchops.core.errors import DataError
from searchops.hooks.bulk import IndexClients, scheme_of
from searchops.hooks.functions import HomeClients, client
from searchops.hooks.load import recipe_of
from searchops.inventory import Consumer, Table

if TYPE_CHECKING:
    from searchops.core.bulk.bucket import Bucket
    from searchops.core.idempotency.guard import Guard
    from searchops.core.replay.arrivals import Arrivals
    from searchops.core.replay.choice import Choice, Dates
    from searchops.core.replay.cost import Price, PriceUnknown
    from searchops.core.replay.identity import Replay, Replays
    from searchops.core.replay.lag import Lag, Watch
    from searchops.core.replay.model import Counts, Key, Touched
    from searchops.core.replay.pace import Pacer
    from searchops.core.replay.plan import Plan
    from searchops.core.replay.preflight import Clients
    from searchops.core.replay.reconcile import Reconciler, Subject
    from searchops.core.replay.report import ReplayReport
    from searchops.core.replay.run import Job
    from searchops.core.replay.selection import Selection
    from searchops.core.replay.settings import Settings
    from searchops.core.replay.table import TableFacts
    from searchops.core.replay.toucher import Toucher

POLL_SCALE = float(os.environ.get("SEARCHOPS_POLL_SCALE", "1"))
"""Below 1 waits are shorter, for a service whose clock runs fast."""
SHORTLY: Mapping[str, Any] = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 3, "mode": "legacy"}}
"""For botocore's ``Config``: 45 s in all where there is no way there. Its own default waits for five minutes and more."""
LEASE = timedelta(seconds=30)
"""Of the claim of a table, with a heartbeat every 10 s: how long a worker that was killed keeps the next try from going on."""

log = logging.getLogger(__name__)


def dates_of(table: Table) -> Dates | None:
    from searchops.core.replay.choice import Dates

    found = table.date_index
    return Dates(found.name, found.attribute, found.format, found.timezone, found.shards or 0) if found else None


def settings_of(table: Table, wcu_per_second: float | None = None) -> Settings:
    """
    :param wcu_per_second: in place of the inventory's
    :raises DataError: it is not above 0
    """
    from searchops.core.replay.settings import Consumer, Settings, VersionOwner

    index = table.written_index
    return Settings(
        table=table.table,
        marker=table.replay.marker,
        wcu_per_second=table.replay.wcu_per_second if wcu_per_second is None else wcu_per_second,
        version_owner=VersionOwner(table.replay.version_owner),
        dates=dates_of(table),
        consumers=tuple(Consumer(each.function, each.pipeline, each.uses_old_image) for each in table.consumers),
        index=index.name if index else None,
        recipe=recipe_of(index) if index else None,
        deletes=scheme_of(index).deletes if index else None,
    )


class ReplayClients(HomeClients):
    """What the replays of one table work with, each made when it is first needed."""

    def __init__(self, table: Table, *, wcu_per_second: float | None = None) -> None:
        super().__init__(table.home)
        self.table = table
        self.settings = settings_of(table, wcu_per_second)

    @property
    def facts(self) -> dict[str, Any]:
        """What a person has to know of a task on the table that failed."""
        index = self.table.written_index
        return {
            "Table": self.table.table,
            "AWS connection": self.table.aws_conn_id,
            "Region": self.table.region,
            **({"Index": index.name} if index else {}),
        }

    def client(self, service: str, **options: Any) -> Any:
        return client(service, self.table.aws_conn_id, self.table.region, **options)

    @cached_property
    def s3(self) -> Any:
        """Of the account and Region where the bucket is: the index's own, which its consumer writes into, or that of the defaults."""
        place = self.table.written_index or self.home
        return client("s3", place.aws_conn_id, place.region)

    @cached_property
    def items(self) -> Any:
        """DynamoDB where the table is, for touches. botocore's own retries would hide from the pace that the table throttles."""
        from searchops.core.replay.calls import CLIENT

        return self.client("dynamodb", **CLIENT)

    @cached_property
    def looking(self) -> Any:
        """The same for reads that nobody paces, which `calls.asked` makes again by itself."""
        return self.client("dynamodb", **SHORTLY)

    @cached_property
    def cloudwatch(self) -> Any:
        """Of the lag, without which nobody knows whether to go on: an answer has to come while it is worth something."""
        return self.client("cloudwatch", **SHORTLY)

    @cached_property
    def index(self) -> IndexClients | None:
        return IndexClients(self.table.written_index) if self.table.written_index else None

    @cached_property
    def bucket(self) -> Bucket:
        from searchops.core.bulk.bucket import Bucket

        return Bucket(self.s3, self.home.bucket or "")

    @cached_property
    def guard(self) -> Guard:
        """Whoever touches the table holds its claim."""
        from searchops.core.idempotency.guard import Guard
        from searchops.core.replay.toucher import NAMESPACE

        return Guard(self.dynamodb, table=self.home.claims_table, namespace=NAMESPACE, lease=LEASE)

    @cached_property
    def looks(self) -> Clients:
        """For what looks and touches nothing."""
        from searchops.core.replay.preflight import Clients

        return Clients(self.looking, self.client("lambda"), self.index.node if self.index else None)

    @cached_property
    def table_facts(self) -> TableFacts:
        from searchops.core.replay.table import read_table

        return read_table(self.looking, self.table.table)

    def selections(self, choice: Choice) -> tuple[Selection, ...]:
        """
        :raises DataError: they do not fit the table, or are too long to be kept
        """
        from searchops.core.replay.identity import kept_form

        found = choice.selections(self.table_facts, self.settings.dates, etag_of=self.etag_of, now=datetime.now(UTC))
        for selection in found:
            kept_form(self.settings.table, selection)
        return found

    def plans(self, selections: Sequence[Selection], *, rewrite: bool = False) -> list[Plan]:
        """What a replay of each would do.

        :param rewrite: documents that the index holds already are to be written again
        :raises NotFit: the table can not be replayed
        """
        from searchops.core.replay.plan import plan
        from searchops.core.replay.preflight import preflight
        from searchops.core.replay.selection import ByDate

        now = datetime.now(UTC)
        newest = max((selection.day for selection in selections if isinstance(selection, ByDate)), default=None)
        looked = preflight(self.settings, self.looks, now=now, day=newest, rewrite=rewrite)
        looked.require()
        options: dict[str, Any] = {"now": now.timestamp(), "s3": self.s3, "prices": self.price}
        return [plan(self.settings, looked, selection, self.looks, **options) for selection in selections]

    def price(self) -> Price:
        """:raises PriceUnknown: nobody tells it"""
        from searchops.core.replay.cost import PriceUnknown

        if isinstance(self._price, PriceUnknown):
            raise self._price
        return self._price

    @cached_property
    def _price(self) -> Price | PriceUnknown:
        """Asked for once and shortly, also where there is no answer: a range of days has a plan each, and a VPC often no way there."""
        from searchops.core.replay.cost import PRICE_LIST_REGION, PriceUnknown, listed_price

        hasty: dict[str, Any] = {"connect_timeout": 3, "read_timeout": 5, "retries": {"total_max_attempts": 1}}
        try:
            return listed_price(client("pricing", self.table.aws_conn_id, PRICE_LIST_REGION, **hasty), self.table.region)
        except PriceUnknown as unknown:
            return unknown

    def etag_of(self, url: str) -> str:
        """The ETag of a list of keys, read with the connection of the bucket."""
        from searchops.core.bulk.sources.objects import find

        return find(self.s3, url).etag

    def lags(self) -> dict[str, Lag]:
        """How far each consumer is behind, by its name."""
        return {consumer.function or consumer.pipeline or "": self._lag(consumer) for consumer in self.table.consumers}

    def _lag(self, consumer: Consumer) -> Lag:
        from searchops.core.replay.lag import end_to_end_latency, iterator_age

        if consumer.function:
            return iterator_age(self.cloudwatch, consumer.function)
        return end_to_end_latency(self.cloudwatch, consumer.pipeline or "", consumer.sub_pipeline)

    def watch(self) -> Watch:
        from searchops.core.replay.lag import Thresholds, Watch

        return Watch(self.lags(), Thresholds.of(self.table.replay.max_lag))

    def pacer(self, *, held: bool = True) -> Pacer:
        """
        :param held: by the budget of the table; without it by its consumers alone
        """
        from searchops.core.replay.pace import UNHELD_UNITS, Pacer

        limit = self.settings.wcu_per_second if held else UNHELD_UNITS
        return Pacer(limit, lag=self.watch() if self.table.consumers else None)

    def toucher(self, pace: Pacer, *, batches: bool = False) -> Toucher:
        """
        :param batches: 25 items a request; the pace is not to hold them
        :raises DataError: they were to add to a version
        """
        from searchops.core.replay.pace import threads_for
        from searchops.core.replay.toucher import Toucher

        settings = self.settings
        return Toucher(
            client=self.items,
            facts=self.table_facts,
            marker=settings.marker,
            guard=self.guard,
            pace=pace,
            version_attribute=settings.version_attribute,
            adds_version=self.adds_version,
            threads=threads_for(settings.wcu_per_second),
            batches=batches,
        )

    def job(self, selection: Selection, toucher: Toucher) -> Job:
        """What `run.replay` takes."""
        from searchops.core.replay.checkpoint import TableCheckpoints
        from searchops.core.replay.run import Job
        from searchops.core.replay.touched import TouchedPages

        name, claims = self.settings.table, self.home.claims_table
        return Job(
            toucher=toucher,
            selection=selection,
            replays=self.replays,
            checkpoints=TableCheckpoints(self.dynamodb, claims, name),
            touched=lambda replay_id: TouchedPages(self.bucket, name, replay_id),
            s3=self.s3,
        )

    @cached_property
    def replays(self) -> Replays:
        from searchops.core.replay.identity import Replays

        return Replays(self.dynamodb, self.home.claims_table)

    def unfinished(self) -> list[Replay]:
        """The replays of the table that have not come to their end."""
        return self.replays.unfinished(self.settings.table)

    def abandon(self, replay_ids: Sequence[str]) -> list[Replay]:
        """Give up replays that have not come to their end, while nobody touches the table. Those that have ended stay as they are.

        :return: those that were given up
        :raises DataError: there never was such a replay
        :raises InProgress: a task touches the table
        """
        if not replay_ids:
            return []
        found = {replay.replay_id: replay for replay in self.unfinished()}
        if unknown := [id_ for id_ in replay_ids if id_ not in found and not self._has_left_something(id_)]:
            raise DataError(
                f"abandon: expected replays of the table {self.settings.table!r}, found {', '.join(unknown)}; those that have not come to "
                f"their end are {', '.join(found) or 'none'}"
            )
        with self._again.claimed():
            return [self.replays.abandon(found[id_]) for id_ in dict.fromkeys(replay_ids) if id_ in found]

    def _has_left_something(self, replay_id: str) -> bool:
        from searchops.core.replay.touched import replay_prefix

        return any(True for _ in self.bucket.list(replay_prefix(self.settings.table, replay_id)))

    @property
    def adds_version(self) -> bool:
        return len(self.settings.touched) > 1

    def reconciler(self, replay_id: str, began_at: float) -> Reconciler:
        """
        :param began_at: epoch seconds
        :raises ValueError: the table has no index
        """
        from searchops.core.replay.reconcile import GRACE_SECONDS, Reconciler

        if self.index is None:
            raise ValueError(f"{self.table.key}: expected index")
        return Reconciler(
            self.index.node,
            self.looking,
            self.bucket,
            self._subject(self.index, replay_id, began_at),
            lag=self.worst_lag,
            again=self.touch_again,
            grace_seconds=GRACE_SECONDS * POLL_SCALE,
        )

    def _subject(self, index: IndexClients, replay_id: str, began_at: float) -> Subject:
        from searchops.core.bulk.target import read_target
        from searchops.core.replay.reconcile import Subject
        from searchops.core.streams.writes import takes

        settings, written = self.settings, index.index
        return Subject(
            replay_id=replay_id,
            table=self.table_facts,
            index=written.name,
            scheme=scheme_of(written),
            id=written.id.attributes,
            marker=settings.marker,
            began_at=began_at,
            ttl_attribute=self.table_facts.ttl_attribute,
            adds_version=self.adds_version,
            marker_kept=takes(read_target(index.node, written.name).mapping, settings.marker),
        )

    def worst_lag(self) -> float | None:
        """Of all consumers, in seconds; None where none of them has data."""
        return max((seconds for lag in self.lags().values() if (seconds := lag.seconds()) is not None), default=None)

    def touch_again(self, keys: Sequence[Key], follow_up_id: str) -> list[Touched]:
        return self._again.again(keys, follow_up_id)

    @cached_property
    def _again(self) -> Toucher:
        """One pace for all that is touched again."""
        return self.toucher(self.pacer())

    # What is left for people.

    def touched(
        self, selection: Selection, replay_id: str, counts: Counts, seconds: float, throttled: Mapping[str, int]
    ) -> ReplayReport:
        """Write the report of a try, added to those of earlier ones.

        Never raises: what is touched stays touched, and a task that failed for its report would replay all of it again.

        :param counts: of all tries; ``seconds`` and ``throttled``: of this one
        """
        from searchops.core.replay.report import write_report

        report = replace(self._new_report(selection, replay_id, counts), seconds=seconds, throttled=throttled)
        try:
            if before := self._written_report(replay_id):
                throttles = Counter(before.throttled) + Counter(throttled)
                report = replace(report, seconds=before.seconds + seconds, throttled=throttles)
            write_report(self.bucket, report)
        except Exception:
            log.exception("The report of the replay %s could not be written to s3://%s", replay_id, self.home.bucket)
        return report

    def reconciled(self, selection: Selection, replay_id: str, counts: Counts, arrivals: Arrivals) -> tuple[ReplayReport, str]:
        """Write what of a replay has arrived into its report.

        :return: the report and its URI
        """
        from searchops.core.replay.report import write_report

        report = replace(self._new_report(selection, replay_id, counts), arrivals=arrivals)
        if before := self._written_report(replay_id):
            report = replace(report, seconds=before.seconds, throttled=before.throttled)
        return report, write_report(self.bucket, report)

    def _new_report(self, selection: Selection, replay_id: str, counts: Counts) -> ReplayReport:
        from searchops.core.replay.report import ReplayReport, words

        return ReplayReport(self.settings.table, replay_id, words(selection), counts, index=self.settings.index or "")

    def _written_report(self, replay_id: str) -> ReplayReport | None:
        """That of earlier tries; None where there is none, or none that can be read."""
        from searchops.core.replay.report import read_report

        try:
            return read_report(self.bucket, self.settings.table, replay_id)
        except DataError as error:
            log.warning("%s (%s)", error, error.reason)
            return None

"""Put the clients of a table and its inventory entry together to what `searchops.core.replay` works with."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

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
LEASE = timedelta(seconds=30)
"""Of the claim of a table, with a heartbeat every 10 s: how long a worker that was killed keeps the next try from going on."""


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
        consumers=tuple(Consumer(**consumer.model_dump()) for consumer in table.consumers),
        index=index.name if index else None,
        recipe=recipe_of(index) if index else None,
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
    def items(self) -> Any:
        """DynamoDB where the table is, for touches. botocore's own retries would hide from the pace that the table throttles."""
        from searchops.core.replay.calls import CLIENT

        return self.client("dynamodb", **CLIENT)

    @cached_property
    def looking(self) -> Any:
        """The same for reads that nobody paces."""
        return self.client("dynamodb")

    @cached_property
    def cloudwatch(self) -> Any:
        return self.client("cloudwatch")

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
        return choice.selections(self.table_facts, self.settings.dates, etag_of=self.etag_of, now=datetime.now(UTC))

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
        return end_to_end_latency(self.cloudwatch, consumer.pipeline or "")

    def watch(self) -> Watch:
        from searchops.core.replay.lag import Thresholds, Watch

        return Watch(self.lags(), Thresholds.of(self.table.replay.max_lag))

    def pacer(self) -> Pacer:
        from searchops.core.replay.pace import Pacer

        return Pacer(self.settings.wcu_per_second, lag=self.watch() if self.table.consumers else None)

    def toucher(self, pace: Pacer) -> Toucher:
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
        )

    def job(self, selection: Selection, toucher: Toucher) -> Job:
        """What `run.replay` takes."""
        from searchops.core.replay.checkpoint import TableCheckpoints
        from searchops.core.replay.identity import Replays
        from searchops.core.replay.run import Job
        from searchops.core.replay.touched import TouchedPages

        name, claims = self.settings.table, self.home.claims_table
        return Job(
            toucher=toucher,
            selection=selection,
            replays=Replays(self.dynamodb, claims),
            checkpoints=TableCheckpoints(self.dynamodb, claims, name),
            touched=lambda replay_id: TouchedPages(self.bucket, name, replay_id),
            s3=self.s3,
        )

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

        :param counts: of all tries; ``seconds`` and ``throttled``: of this one
        """
        from searchops.core.replay.report import ReplayReport, read_report, words, write_report

        name = self.settings.table
        before = read_report(self.bucket, name, replay_id) or ReplayReport(name, replay_id, words(selection), counts)
        report = replace(
            before,
            counts=counts,
            seconds=before.seconds + seconds,
            throttled=Counter(before.throttled) + Counter(throttled),
            index=self.settings.index or "",
        )
        write_report(self.bucket, report)
        return report

    def reconciled(self, selection: Selection, replay_id: str, counts: Counts, arrivals: Arrivals) -> tuple[ReplayReport, str]:
        """Write what of a replay has arrived into its report.

        :return: the report and its URI
        """
        from searchops.core.replay.report import ReplayReport, read_report, words, write_report

        name = self.settings.table
        before = read_report(self.bucket, name, replay_id) or ReplayReport(name, replay_id, words(selection), counts)
        report = replace(before, arrivals=arrivals, index=self.settings.index or "")
        return report, write_report(self.bucket, report)

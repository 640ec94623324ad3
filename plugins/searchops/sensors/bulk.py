"""Waits for what a load has handed over, as tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator

from searchops.core.errors import DataError
from searchops.hooks.load import LoadClients
from searchops.inventory import WrittenIndex
from searchops.reporting import reporting
from searchops.retries import RETRY_DELAY, RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context


class OpenSearchLoadSettledSensor(BaseSensorOperator):
    """Wait until everything that a load has handed over is proved in the index. Looks at times, without a worker in between.

    It sends nothing: what waits in the spool or among Firehose's failures is sent by the DAG ``hand_over_settle_<index>``.

    :param index: a written index of the inventory, as JSON
    :param run: of the load, as its task ``finish`` returns it (templated)
    :raises DataError: there is no such load, the index has another scheme, or documents of it were handed over and are nowhere to be found
    """

    template_fields: Sequence[str] = ("run",)
    ui_color = "#e9f5ee"

    def __init__(
        self,
        *,
        index: Mapping[str, Any],
        run: str,
        poke_interval: float = 60,
        timeout: float = 6 * 3600,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        given = {"retries": 3, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **kwargs}
        super().__init__(poke_interval=poke_interval, timeout=timeout, mode=mode, **given)
        self.index = dict(index)
        self.run = run

    @cached_property
    def clients(self) -> LoadClients:
        return LoadClients(WrittenIndex.model_validate(self.index))

    def poke(self, context: Context) -> bool:
        from searchops.core.bulk.runs import State

        index = self.clients.index
        with reporting(context, lambda: self.clients.s3, index.bucket, facts={"Index": index.name, "Load": self.run}):
            ledger = self.clients.ledgers.read(self.run)
            if ledger is None:
                raise DataError(f"index {index.name}: expected the ledger of a load {self.run!r}, found none")
            if ledger.state is State.SETTLED:
                return True
            if ledger.state is State.ABANDONED:
                raise DataError(
                    f"index {index.name}: load {self.run!r} was abandoned, so it never comes to its end: wait for the one after it"
                )
            if ledger.state is State.OPEN:
                self.log.info("Load %s is not at its end yet", self.run)
                return False
            self.clients.check()
            settlement = self.clients.settler().settle(self.run)
            if problem := settlement.problem():
                raise problem
            self.log.info("Load %s: %s", self.run, settlement.of(self.run))
            return settlement.settled

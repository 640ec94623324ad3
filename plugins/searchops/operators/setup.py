"""The tasks that make what the other DAGs need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from searchops.hooks.functions import HomeClients
from searchops.inventory import Defaults
from searchops.operators.arguments import is_false
from searchops.reporting import reporting
from searchops.retries import RETRY_DELAY, RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context


class SetUpOperator(BaseOperator):
    """A task on the table of claims; what it fails with is kept in ``reports/`` where the inventory names a bucket.

    :param defaults: the inventory's, as JSON
    """

    ui_color = "#eef5ea"

    def __init__(self, *, defaults: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**{"retries": 3, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **kwargs})
        self.defaults = dict(defaults)

    @cached_property
    def clients(self) -> HomeClients:
        return HomeClients(Defaults.model_validate(self.defaults))

    def reporting(self, context: Context) -> AbstractContextManager[None]:
        home = self.clients.home
        facts = {"Table": home.claims_table, "AWS connection": home.aws_conn_id, "Region": home.region}
        return reporting(context, lambda: self.clients.s3, home.bucket, facts=facts) if home.bucket else nullcontext()


class ClaimsTablePlanOperator(SetUpOperator):
    """Say what of the table of claims is missing.

    :return: table, changes
    :raises DataError: there is a table of that name that claims can not be kept in
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from searchops.core.idempotency.table import plan_claims_table

        table = self.clients.home.claims_table
        with self.reporting(context):
            changes = [change.value for change in plan_claims_table(self.clients.dynamodb, table)]
        self.log.info("Table %s: %s", table, "; ".join(changes) or "nothing is missing")
        return {"table": table, "changes": changes}


class ClaimsTableCreateOperator(SetUpOperator):
    """Make what of the table of claims is missing, wait until it is there, and look again.

    The one wait of searchops that holds a worker: once for an account and Region, seconds as a rule, two minutes at most.

    :param only_plan: skips it, unless it is clearly false (templated)
    :return: table, changes
    """

    template_fields: Sequence[str] = ("only_plan",)

    def __init__(self, *, only_plan: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.only_plan = only_plan

    def execute(self, context: Context) -> dict[str, Any]:
        from searchops.core.errors import TransientError
        from searchops.core.idempotency.table import create_claims_table, plan_claims_table

        if not is_false(self.only_plan):
            raise AirflowSkipException("a dry run: nothing is made")
        table = self.clients.home.claims_table
        with self.reporting(context):
            changes = [change.value for change in create_claims_table(self.clients.dynamodb, table)]
            if left := plan_claims_table(self.clients.dynamodb, table):
                raise TransientError(f"the table {table!r}: not there yet: {'; '.join(change.value for change in left)}")
        self.log.info("Table %s: %s", table, "; ".join(changes) or "nothing was missing")
        return {"table": table, "changes": changes}

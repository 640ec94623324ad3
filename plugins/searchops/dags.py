"""Build one DAG for each entry of the inventory, and one that says what is wrong for each entry that can't be used.

Airflow keeps import errors by file: without this, one wrong entry would take all DAGs of its file away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from typing import Any, Literal, TypeVar, overload

from airflow.sdk import DAG, BaseOperator, Context, CronTriggerTimetable
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from searchops.inventory import (
    BrokenEntry,
    Defaults,
    Domain,
    Function,
    Index,
    InventoryError,
    Notice,
    Package,
    Table,
    WrittenIndex,
    inventory,
)
from searchops.notifications.slack import FailureNotifier
from searchops.operators.arguments import is_true
from searchops.reporting import reporting

T = TypeVar("T")

INVENTORY_DAG_ID = "searchops_inventory"


class ConfigErrorOperator(BaseOperator):
    """Fail with what is wrong in the inventory. Trying again would not help, so nothing is tried again.

    :param notice: where a report of the failure is left
    :param selected: False skips it (templated)
    """

    template_fields = ("selected",)

    def __init__(
        self, *, errors: Iterable[str], notice: Mapping[str, Any] | None = None, selected: bool | str = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.errors = list(errors)
        self.selected = selected
        self.notice = dict(notice) if notice else None

    def execute(self, context: Context) -> None:
        if not is_true(self.selected):
            raise AirflowSkipException("it was not chosen for this run")
        with self.reporting(context):
            raise AirflowFailException("\n".join(self.errors))

    def reporting(self, context: Context) -> AbstractContextManager[None]:
        return reporting(context, self.s3, self.notice["bucket"]) if self.notice else nullcontext()

    def s3(self) -> Any:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

        return AwsBaseHook(aws_conn_id=(self.notice or {})["aws_conn_id"], client_type="s3").conn


@overload
def entries(section: Literal["domains"]) -> dict[str, Domain | BrokenEntry]: ...
@overload
def entries(section: Literal["packages"]) -> dict[str, Package | BrokenEntry]: ...
@overload
def entries(section: Literal["indexes"]) -> dict[str, Index | BrokenEntry]: ...
@overload
def entries(section: Literal["functions"]) -> dict[str, Function | BrokenEntry]: ...
@overload
def entries(section: Literal["written_indexes"]) -> dict[str, WrittenIndex | BrokenEntry]: ...
@overload
def entries(section: Literal["tables"]) -> dict[str, Table | BrokenEntry]: ...
def entries(section: Any) -> Any:
    """All entries of a section of this installation's inventory, the broken ones included; none when the file can't be read.

    What no entry's DAG can show (a file that is not YAML, an unknown section, a broken package that nobody uses) is shown by the
    DAG ``searchops_inventory``. It comes from the DAG file that asks for the domains, because an id may come from one file only.
    """
    found: dict[str, Any] = {}
    try:
        current = inventory()
        found, problems = dict(current.entries(section)), current.problems
    except InventoryError as error:
        problems = (str(error),)
    if problems and section == "domains":
        quarantine(INVENTORY_DAG_ID, problems)
    return found


def domain_of(index: WrittenIndex) -> Domain:
    """The domain of an index that is sound, which its own DAG file shows too."""
    domain = inventory().entries("domains")[index.domain]
    if not isinstance(domain, Domain):
        raise TypeError(f"index {index.name}: expected a sound domain {index.domain}")
    return domain


def defaults() -> Defaults | BrokenEntry | None:
    """The section ``defaults``; None when the file can't be read, which the DAG ``searchops_inventory`` shows."""
    try:
        return inventory().defaults
    except InventoryError:
        return None


def dag_for(
    entry: T | BrokenEntry, *, dag_id: str, from_entry: Callable[[T], Mapping[str, Any]] | None = None, **dag_kwargs: Any
) -> Callable[[Callable[[T], object]], DAG]:
    """Make a DAG of a function that wires operators for one entry; for a broken entry, a quarantine DAG of the same id.

    A domain's DAG has the domain's schedule in the domain's time zone.

    :param from_entry: further arguments of the DAG that depend on the entry; not called for a broken one
    :param dag_kwargs: arguments of the DAG that do not; a quarantine DAG takes over ``tags`` alone, but keeps the domain's schedule
        and tells Slack, because a nightly run that does not happen is a failure too
    """

    def build(wire: Callable[[T], object]) -> DAG:
        if isinstance(entry, BrokenEntry):
            return quarantine(dag_id, entry.errors, tags=dag_kwargs.get("tags") or (), notice=entry.notice)
        settings = {"schedule": _schedule(entry), **dag_kwargs, **(from_entry(entry) if from_entry else {})}
        with DAG(dag_id=dag_id, **settings) as dag:  # noqa: AIR002 - it is in the settings
            wire(entry)
        return dag

    return build


def _schedule(entry: object) -> CronTriggerTimetable | None:
    if isinstance(entry, Domain | Notice) and entry.schedule:
        return CronTriggerTimetable(entry.schedule, timezone=entry.timezone)
    return None


def quarantine(dag_id: str, errors: Iterable[str], tags: Iterable[str] = (), notice: Notice | None = None) -> DAG:
    """A DAG that says what is wrong: on its page, when it is run, and by the notice on the schedule that it would have had."""
    errors = list(errors)
    listed = "\n".join(f"    {error}" for error in errors)
    with DAG(
        dag_id=_valid_id(dag_id),
        schedule=_schedule(notice),
        catchup=False,
        on_failure_callback=FailureNotifier(**told(notice)) if notice and notice.bucket else None,
        tags={"config-error", *tags},
        doc_md="This DAG can't be built until the inventory is mended (`python -m searchops.inventory check` shows the same):\n\n"
        f"{listed}\n\nIt is back after the next parse of its file.\n",
    ) as dag:
        ConfigErrorOperator(task_id="config_error", errors=errors, notice=told(notice), retries=0)
    return dag


def config_error(entry: BrokenEntry, *, task_id: str, selected: bool | str = True) -> ConfigErrorOperator:
    """A task that says what is wrong, in the place of the one that the entry would have had in a DAG for several entries."""
    return ConfigErrorOperator(
        task_id=_valid_id(task_id), errors=entry.errors, notice=told(entry.notice), selected=selected, retries=0
    )


def told(place: Defaults | Notice | WrittenIndex | None) -> dict[str, Any]:
    """Whom to tell of a failure, as the notifier takes it; empty without a bucket."""
    return place.model_dump(include={"bucket", "slack_conn_id", "aws_conn_id"}) if place and place.bucket else {}


def _valid_id(dag_id: str) -> str:
    """A key that is itself the mistake may not be fit for an id; two such keys must not end as one id."""
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,250}", dag_id):
        return dag_id
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', dag_id)[:200]}_{sha256(dag_id.encode()).hexdigest()[:8]}"

"""The tasks that look after Lambda functions: their retry settings, and the events that they failed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from searchops.hooks.functions import FunctionClients
from searchops.inventory import Function
from searchops.operators.arguments import as_limit, as_list, is_false, is_true
from searchops.reporting import report_done, reporting
from searchops.retries import RETRY_DELAY, RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from searchops.core.functions.redrive import Redrive


class FunctionOperator(BaseOperator):
    """A task for one function; what it has to say is kept in ``reports/``.

    :param function: a function of the inventory, as JSON
    """

    ui_color = "#fdf1e3"

    def __init__(self, *, function: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**{"retries": 3, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **kwargs})
        self.function = dict(function)

    @cached_property
    def clients(self) -> FunctionClients:
        return FunctionClients(Function.model_validate(self.function))

    def reporting(self, context: Context) -> AbstractContextManager[None]:
        function = self.clients.function
        facts = {"Function": function.function, "AWS connection": function.aws_conn_id, "Region": function.region}
        return reporting(context, lambda: self.clients.s3, function.home.bucket, facts=facts)

    def say(self, context: Context, title: str, facts: Mapping[str, Any]) -> None:
        self.log.info("%s", title)
        report_done(context, lambda: self.clients.s3, self.clients.function.home.bucket, title, facts)


class LambdaRetrySettingsOperator(FunctionOperator):
    """Give a function the retry settings that the inventory names, and keep all others.

    For asynchronous invocation: attempts, age of events, on-failure destination. For the mappings of a stream or a queue: their own.

    :param selected: False skips the function (templated)
    :param only_plan: show the difference, write nothing; only what is clearly false writes (templated)
    :return: changes (target, setting, before, after), findings (what a person should know), written
    :raises DataError: there is no such function, mapping or destination queue
    """

    template_fields: Sequence[str] = ("selected", "only_plan")

    def __init__(self, *, selected: bool | str = True, only_plan: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.selected = selected
        self.only_plan = only_plan

    def execute(self, context: Context) -> dict[str, Any]:
        if not is_true(self.selected):
            raise AirflowSkipException(f"{self.clients.function.key} was not chosen for this run")
        write = is_false(self.only_plan)
        with self.reporting(context):
            settings = self.clients.settings()
            found = settings.look()
            for finding in found.findings:
                self.log.warning("%s", finding)
            for target, change in found.changes:
                self.log.info("%s: %s%s", target.name, change, "" if write else " (a dry run)")
            for target in found.targets if write else ():
                settings.write(target)
            count = f"{len(found.changes)} settings {'changed' if write else 'would change'}"
            facts = {f"{target.name}: {change.setting}": str(change) for target, change in found.changes}
            notes = {f"finding {number}": finding for number, finding in enumerate(found.findings, start=1)}
            self.say(context, f"{settings.policy.name}: {count}, {len(found.findings)} findings", {**notes, **facts})
        changes = [
            {"target": target.name, "setting": change.setting, "before": change.before, "after": change.after}
            for target, change in found.changes
        ]
        return {"changes": changes, "findings": list(found.findings), "written": write and bool(changes)}


class FailedEventsRedriveOperator(FunctionOperator):
    """Show the events that a function failed on, by kind of failure, and send the chosen ones once more.

    :param errors: kinds of failure to send, as a dry run names them; empty: every kind (templated, as JSON)
    :param limit: send at most so many, 1 or more; empty: all (templated)
    :param reset: send what failed for good, too (templated)
    :param only_plan: look only; only what is clearly false sends (templated)
    :return: queue, groups (error, count, fates, oldest, newest, requests), unreadable, held_by_another_reader, cut_short; also of a
        failed task
    :raises DataError: chosen events had failed for good and were not sent, or Lambda refused them; or the queue or the table is missing
    :raises TransientError: another reader holds messages, or the function itself has an event in progress
    """

    template_fields: Sequence[str] = ("errors", "limit", "reset", "only_plan")
    _redrive: Redrive | None = None

    def __init__(
        self,
        *,
        errors: str | Sequence[str] = (),
        limit: int | str | None = None,
        reset: bool | str = False,
        only_plan: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.errors = errors
        self.limit = limit
        self.reset = reset
        self.only_plan = only_plan

    def execute(self, context: Context) -> dict[str, Any]:
        from searchops.core.functions.redrive import Choice, not_found

        with self.reporting(context):
            choice = Choice(
                errors=as_list(self.errors or ()),
                limit=as_limit(self.limit),
                reset=is_true(self.reset),
                send=is_false(self.only_plan),
            )
            self._redrive = self.clients.redrive()
            outcome = self._redrive.run(choice)
            # Before anything else can go wrong: what was sent is sent.
            ti: Any = context["ti"]
            ti.xcom_push(key="return_value", value=outcome.as_json())
            for group in outcome.groups.values():
                self.log.info("%s", group)
            missing = not_found(choice, outcome)
            for error in missing:
                self.log.warning("No failed event of the kind %r is in the queue", error)
            if choice.send and (problem := outcome.problem()):
                raise problem
            self.say(context, outcome.title, {**outcome.facts, **missing})
        return outcome.as_json()

    def on_kill(self) -> None:
        """Airflow lets the task go on after this for some seconds: time for the message that it is at, and to give back the others."""
        if self._redrive:
            self.log.warning("Killed: giving back the messages that were not sent")
            self._redrive.stop()

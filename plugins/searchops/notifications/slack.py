"""Tell a person in Slack that a run failed or is late: one message a run, however many of its tasks failed.

``FailureNotifier`` is made for two places, which differ in the time that they leave:

- ``on_failure_callback`` of a DAG runs in the DAG processor, which kills it after ``dag_file_processor_timeout`` (default 50 s);
- ``AsyncCallback`` of a ``DeadlineAlert`` runs in the triggerer, where nothing ends it, but where nothing may block.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier, conf
from airflow.sdk.exceptions import AirflowNotFoundException

from searchops.core.errors import SearchOpsError, classify_client_error
from searchops.core.report import Report, ReportStore
from searchops.notifications.message import MEND, Run, TaskKey, deadline_text, failure_text, failures, plain

# The Slack and AWS hooks are imported where they are used: DAG files import this module, and parse without boto3 and slack_sdk.
if TYPE_CHECKING:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
    from airflow.sdk import Context
    from slack_sdk.webhook import WebhookResponse

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a message is sent again, and when: the waits double."""

    first_wait_seconds: float = 2.0
    max_retries: int = 6
    budget_seconds: float = 40.0

    def wait_seconds(self, retries: int, spent_seconds: float, retry_after_seconds: float | None = None) -> float | None:
        """The wait before the next attempt after ``retries`` retries, never shorter than Slack asks for; None: give up."""
        if retries >= self.max_retries:
            return None
        wait = max(self.first_wait_seconds * 2**retries, retry_after_seconds or 0.0)
        return wait if spent_seconds + wait < self.budget_seconds else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt; ``problem`` is fit for a log."""

    problem: str = ""
    may_pass: bool = False
    retry_after_seconds: float | None = None


class FailureNotifier(BaseNotifier):
    """Tell of a failed run, or of a late one when the context holds a ``deadline``.

    The text comes from the reports that the run's tasks left in S3. A run whose failed tasks all say ``announce=False`` is passed
    over: a person knows. It never raises and never logs the webhook's URL; what could not be sent is logged at ERROR.

    The webhook is tried again on connection errors, time-outs, 429 and 5xx, honouring ``Retry-After``. The retries are a loop here
    and not handlers of slack_sdk, whose asynchronous client asks no handler about a 5xx, and which logs the URL, a secret, when a
    handler retries.

    :param bucket: bucket of the reports
    :param first_wait_seconds: wait before the first retry; each further one doubles it
    :param max_retries: at most so many; the six of the default need 126 s, so that four of them fit into the DAG processor's time
    :param budget_seconds: time in the DAG processor, everything included
    :param triggerer_budget_seconds: time in the triggerer, everything included
    :param request_seconds: time for one answer of Slack
    :param report_seconds: time to read the reports
    :param mend: the last line of a message: what to do when the tasks have said what is wrong
    """

    def __init__(
        self,
        *,
        bucket: str,
        slack_conn_id: str = "slack_default",
        aws_conn_id: str | None = "aws_default",
        first_wait_seconds: float = 2.0,
        max_retries: int = 6,
        budget_seconds: float = 40.0,
        triggerer_budget_seconds: float = 300.0,
        request_seconds: float = 10.0,
        report_seconds: float = 10.0,
        mend: str = MEND,
        context: Context | None = None,
    ) -> None:
        super().__init__(context=context)
        self.bucket = bucket
        self.slack_conn_id = slack_conn_id
        self.aws_conn_id = aws_conn_id
        self.first_wait_seconds = first_wait_seconds
        self.max_retries = max_retries
        self.budget_seconds = budget_seconds
        self.triggerer_budget_seconds = triggerer_budget_seconds
        self.request_seconds = request_seconds
        self.report_seconds = report_seconds
        self.mend = mend

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Nothing here is a template; the base class would build the DAG's environment, and raise what goes wrong with that."""

    def notify(self, context: Context) -> None:
        delivery = self._delivery(self.budget_seconds)
        try:
            if text := self._text(context):
                self._send(text, delivery)
        except Exception as error:
            delivery.fail(_why(error, self.slack_conn_id))

    async def async_notify(self, context: Context) -> None:
        delivery = self._delivery(self.triggerer_budget_seconds)
        try:
            if text := await asyncio.to_thread(self._text, context):
                await self._async_send(text, delivery)
        except Exception as error:
            delivery.fail(_why(error, self.slack_conn_id))

    def _delivery(self, budget_seconds: float) -> _Delivery:
        return _Delivery(Patience(self.first_wait_seconds, self.max_retries, budget_seconds), self.request_seconds)

    def _text(self, context: Mapping[str, Any]) -> str | None:
        """The message, or None when nobody needs it."""
        try:
            return self._full_text(context)
        except Exception:  # a bare message is better than none
            name = f"{getattr(context.get('dag'), 'dag_id', 'a DAG')} {context.get('run_id', '')}".rstrip()
            _log.exception("the message about %s could not be written in full", name)
            return f":red_circle: {plain(name, 500)} failed or is late; the message could not be written in full, see Airflow"

    def _full_text(self, context: Mapping[str, Any]) -> str | None:
        run = _run(context)
        reports, problem = self._reports(run)
        if deadline := context.get("deadline"):
            state = str(_dag_run(context).get("state", "not ended"))
            return deadline_text(run, reports, due=str(deadline.get("deadline_time", "")), state=state, problem=problem)
        cause = str(context.get("reason") or "task_failure")
        last_tries = _last_try(context) if cause == "task_failure" else None
        failed = failures(run, reports, failed=_failed_tasks(context, run), last_tries=last_tries, all_read=not problem)
        if cause == "task_failure" and failed and not any(report.announce for report in failed):
            _log.info("%s %s failed for reasons that have been told already; no message", run.dag_id, run.run_id)
            return None
        return failure_text(run, failed, cause=cause, problem=problem, mend=self.mend)

    def _reports(self, run: Run) -> tuple[list[Report], str]:
        """The reports, and why there are none if they could not be read."""
        try:
            store = ReportStore(self._s3(), self.bucket)
            return store.read_run(run.dag_id, run.run_id, max_seconds=self.report_seconds), ""
        except Exception as error:  # whatever is wrong with S3 or its connection, the failure is told without the reports
            why = _why(error, self.aws_conn_id or "(none)")
            _log.warning("reports of %s %s could not be read: %s", run.dag_id, run.run_id, why)
            return [], why

    def _s3(self) -> Any:
        """A client that gives up soon, with what else the connection says about its configuration."""
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        from botocore.config import Config

        hasty = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2, "mode": "standard"})
        set_up = AwsBaseHook(aws_conn_id=self.aws_conn_id, client_type="s3").conn_config.botocore_config
        return AwsBaseHook(aws_conn_id=self.aws_conn_id, client_type="s3", config=set_up.merge(hasty) if set_up else hasty).conn

    def _hook(self) -> SlackWebhookHook:
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

        # Slack's clients write the URL, or errors that quote it, to the logger that they are given.
        mute = logging.getLogger(f"{__name__}.mute")
        mute.setLevel(logging.CRITICAL + 1)
        return SlackWebhookHook(slack_webhook_conn_id=self.slack_conn_id, retry_handlers=[], logger=mute)

    def _send(self, text: str, delivery: _Delivery) -> None:
        delivery.text = text
        client = self._hook().client
        wait: float | None = 0.0
        while wait is not None:
            time.sleep(wait)
            client.timeout = delivery.timeout_seconds()  # type: ignore[assignment]
            try:
                answer = _answer(client.send(text=text, unfurl_links=False, unfurl_media=False))
            except Exception as error:
                answer = _no_answer(error)
            wait = delivery.wait_seconds(answer)

    async def _async_send(self, text: str, delivery: _Delivery) -> None:
        delivery.text = text
        client = await self._hook().get_async_client()
        wait: float | None = 0.0
        while wait is not None:
            await asyncio.sleep(wait)
            client.timeout = delivery.timeout_seconds()  # type: ignore[assignment]
            try:
                answer = _answer(await client.send(text=text, unfurl_links=False, unfurl_media=False))
            except Exception as error:
                answer = _no_answer(error)
            wait = delivery.wait_seconds(answer)


class _Delivery:
    """One message on its way: counts the attempts, knows the time that is left, and says in the log how it went."""

    def __init__(self, patience: Patience, request_seconds: float) -> None:
        self.text = ""
        self._patience = patience
        self._request_seconds = request_seconds
        self._began = time.monotonic()
        self._attempts = 0

    def timeout_seconds(self) -> float:
        left = self._patience.budget_seconds - self._spent()
        return min(self._request_seconds, max(left, 1.0))

    def wait_seconds(self, answer: Answer) -> float | None:
        """How long to wait before the message is sent again; None: it was delivered, or is given up."""
        retries, self._attempts = self._attempts, self._attempts + 1
        if not answer.problem:
            _log.info("Slack has the message (attempt %d)", self._attempts)
            return None
        if not answer.may_pass:
            self.fail(answer.problem)
            return None
        wait = self._patience.wait_seconds(retries, self._spent(), answer.retry_after_seconds)
        if wait is None:
            self.fail(
                f"{answer.problem}; gave up after {retries} of {self._patience.max_retries} retries"
                f" in {self._spent():.1f} of {self._patience.budget_seconds:g} s"
            )
            return None
        _log.warning(
            "Slack did not take the message: %s; retry %d of %d in %.1f s",
            answer.problem,
            retries + 1,
            self._patience.max_retries,
            wait,
        )
        return wait

    def fail(self, problem: str) -> None:
        _log.error("the message could not be sent to Slack: %s; it says:\n%s", problem, self.text or "(not written yet)")

    def _spent(self) -> float:
        return time.monotonic() - self._began


def _run(context: Mapping[str, Any]) -> Run:
    base_url = conf.get("api", "base_url", fallback=None) or "http://localhost:8080"
    dag_run = _dag_run(context)
    if "dag_run_id" in dag_run:
        return Run(dag_run["dag_id"], dag_run["dag_run_id"], base_url)
    return Run(context["dag"].dag_id, context["run_id"], base_url)


def _dag_run(context: Mapping[str, Any]) -> Mapping[str, Any]:
    """The run as the REST API shows it, which is what a deadline's context holds; empty elsewhere."""
    dag_run = context.get("dag_run")
    return dag_run if isinstance(dag_run, Mapping) else {}


def _failed_tasks(context: Mapping[str, Any], run: Run) -> set[TaskKey] | None:
    """The tasks of the run that Airflow calls failed, or None when it cannot be asked.

    Airflow names a mapped task ``<task id>_<map index>`` here.
    """
    try:
        states = context["ti"].get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])[run.run_id]
        task_ids = set(context["dag"].task_ids)
    except Exception as error:  # a minimal context has no ti; the reports then decide
        _log.info("the states of the tasks of %s %s are not known: %s", run.dag_id, run.run_id, type(error).__name__)
        return None
    failed: set[TaskKey] = set()
    for name, state in states.items():
        if str(getattr(state, "value", state)) == "failed":
            task_id, _, map_index = name.rpartition("_")
            failed.add((name, -1) if name in task_ids or not map_index.isdecimal() else (task_id, int(map_index)))
    return failed


def _last_try(context: Mapping[str, Any]) -> dict[TaskKey, int]:
    """The one failed task that a DAG-level callback is given, with its last try."""
    ti = context.get("ti")
    if ti is None:
        return {}
    return {(ti.task_id, -1 if ti.map_index is None else ti.map_index): ti.try_number or 0}


def _answer(response: WebhookResponse) -> Answer:
    status, headers = response.status_code, {name.lower(): value for name, value in response.headers.items()}
    if status == 200:
        return Answer()
    # Slack's own errors are words such as no_service; another body is some proxy's page, which may quote the URL.
    word = response.body.strip() if re.fullmatch(r"\s*[a-z_]{1,60}\s*", response.body or "") else ""
    return Answer(f"HTTP {status} {word}".rstrip(), status == 429 or status >= 500, _seconds(headers.get("retry-after")))


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "")
    except ValueError:  # a date, which Slack does not send
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _no_answer(error: Exception) -> Answer:
    """Errors of HTTP clients may quote the URL: only the type and the operating system's words are passed on."""
    wrapped = getattr(error, "reason", None)  # urllib's URLError
    cause = wrapped if isinstance(wrapped, Exception) else error
    words = (cause.strerror or "") if isinstance(cause, OSError) else ""
    return Answer(f"{type(cause).__name__} {words}".rstrip(), may_pass=not isinstance(error, ValueError | TypeError))


def _why(error: Exception, connection: str) -> str:
    """Only words that cannot hold a secret: Airflow's error about a malformed connection quotes all of it."""
    if isinstance(error, AirflowNotFoundException):
        return str(error)
    told = classify_client_error(error, connection=connection)
    return type(error).__name__ if type(told) is SearchOpsError else f"{told} ({told.reason})"

"""The tasks on functions and on the table of claims, with hooks that speak to moto."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException
from botocore.exceptions import ReadTimeoutError

from searchops.core.errors import DataError, TransientError
from searchops.core.idempotency.errors import TableMissing
from searchops.core.idempotency.guard import LEASE
from searchops.core.report import FAILED, SUCCEEDED, Report, ReportStore
from searchops.hooks.functions import INVOKE_SECONDS
from searchops.operators.arguments import as_limit, as_list, is_false, is_true
from searchops.operators.functions import FailedEventsRedriveOperator, FunctionOperator, LambdaRetrySettingsOperator
from searchops.operators.setup import ClaimsTableCreateOperator, ClaimsTablePlanOperator
from searchops.retries import RETRY_POLICY
from tests.unit.core.functions.conftest import replace_on_put
from tests.unit.small_functions import REGION, TABLE, SmallFunctions
from tests.unit.task import Running

BUCKET = "example-functions"


@pytest.fixture
def world(s3_url: str, quick_clients: None, monkeypatch: pytest.MonkeyPatch) -> SmallFunctions:
    monkeypatch.setattr("searchops.core.functions.queue.WAIT_SECONDS", 0)
    replace_on_put(monkeypatch)
    world = SmallFunctions(s3_url)
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    world.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    yield world
    for page in world.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            world.client("s3").delete_object(Bucket=BUCKET, Key=found["Key"])
    world.client("s3").delete_bucket(Bucket=BUCKET)


def entry(world: SmallFunctions, table: str = TABLE, **fields: Any) -> dict[str, Any]:
    function = {"key": "f", "function": world.name, "kind": "asynchronous", "region": REGION, "aws_conn_id": "aws_default"}
    home = {"bucket": BUCKET, "claims_table": table, "region": REGION}
    return {**function, "home": home, "retries": 0, "on_failure": world.queue, **fields}


def settings(world: SmallFunctions, fields: dict[str, Any] | None = None, **options: Any) -> Running:
    return Running(LambdaRetrySettingsOperator(task_id="f", function=entry(world, **(fields or {})), **options))


def redrive(world: SmallFunctions, fields: dict[str, Any] | None = None, **options: Any) -> Running:
    task = FailedEventsRedriveOperator(task_id="redrive", function=entry(world, **(fields or {})), **options)
    task.clients.__dict__["invoker"] = world.functions  # the one that answers Invoke
    return Running(task)


def report(world: SmallFunctions) -> Report:
    (found,) = ReportStore(world.client("s3"), BUCKET).read_run("dictionary_sync_products", "manual__1")
    return found


def test_a_dry_run_shows_the_difference_and_writes_nothing(world: SmallFunctions) -> None:
    world.create()

    shown = settings(world, only_plan="True").execute()

    assert shown["changes"] == [
        {"target": "asynchronous invocation", "setting": "MaximumRetryAttempts", "before": None, "after": 0},
        {
            "target": "asynchronous invocation",
            "setting": "DestinationConfig.OnFailure.Destination",
            "before": None,
            "after": world.queue,
        },
    ]
    assert shown["written"] is False
    assert "2 settings would change" in report(world).title
    assert settings(world, only_plan=True).execute()["changes"] == shown["changes"]


def test_settings_are_written_reported_and_not_written_again(world: SmallFunctions) -> None:
    world.create(timeout=90)

    done = settings(world, {"lease": "60s"}).execute()
    told = report(world)
    again = settings(world, {"lease": "60s"}).execute()

    assert (done["written"], again["written"], again["changes"]) == (True, False, [])
    assert done["findings"] == again["findings"] == [told.facts["finding 1"]]
    assert (told.outcome, told.facts["asynchronous invocation: MaximumRetryAttempts"]) == (
        SUCCEEDED,
        "MaximumRetryAttempts: not set -> 0",
    )
    assert json.loads(json.dumps(done)) == done


def test_a_function_that_was_not_chosen_is_skipped_without_a_call(world: SmallFunctions) -> None:
    with pytest.raises(AirflowSkipException):
        settings(world, selected="False").execute()


def test_a_failure_says_which_function_where_and_why(world: SmallFunctions) -> None:
    with settings(world).fails(DataError):
        settings(world).execute()

    told = report(world)
    assert (told.outcome, told.facts) == (FAILED, {"Function": world.name, "AWS connection": "aws_default", "Region": REGION})
    assert f"there is no function {world.name}" in told.title


def test_a_dry_run_of_a_redrive_shows_the_groups_and_sends_nothing(world: SmallFunctions) -> None:
    world.fail({"name": "SECRET"})
    world.put("no record, SECRET")

    shown = redrive(world).execute()

    assert [(group["error"], group["count"]) for group in shown["groups"]] == [("RetriesExhausted: ValueError", 1)]
    assert list(shown["unreadable"].values()) == [1]
    assert world.sent == []
    told = report(world)
    assert told.facts["RetriesExhausted: ValueError"].startswith("1 (1 not chosen)")
    assert "SECRET" not in str(told) + json.dumps(shown)


def test_a_redrive_takes_its_form_through_templates(world: SmallFunctions) -> None:
    for error in ("KeyError", "ValueError", "ValueError"):
        world.fail({"error": error}, error=error)
    form = {"errors": json.dumps(["RetriesExhausted: ValueError"]), "limit": "1", "reset": "False", "only_plan": "False"}

    done = redrive(world, **form).execute()

    assert world.payloads == [{"error": "ValueError"}]
    assert world.left() == 2
    assert [group["fates"] for group in done["groups"]] == [{"sent": 1, "not chosen": 1}, {"not chosen": 1}]


def test_a_redrive_that_could_not_send_what_was_chosen_is_red_and_still_shows_the_groups(world: SmallFunctions) -> None:
    world.fail({"n": 1})
    world.refusals = ["RequestTooLargeException"]
    running = redrive(world, only_plan=False)

    with running.fails(DataError) as caught:
        running.execute()

    assert "1 chosen events were not sent" in str(caught.value)
    assert running.ti.xcoms["return_value"]["groups"][0]["fates"] == {"refused by Lambda": 1}
    assert report(world).facts["RetriesExhausted: ValueError"].startswith("1 (1 refused by Lambda)")
    assert redrive(world, only_plan=False, reset=True).execute()["groups"][0]["fates"] == {"sent": 1}


def test_a_redrive_without_a_table_of_claims_names_the_dag_that_makes_it(world: SmallFunctions) -> None:
    world.fail({"n": 1})

    with pytest.raises(TableMissing):
        redrive(world, {"home": entry(world, "nowhere-claims")["home"]}, only_plan=False).execute()

    assert "run the DAG searchops_setup" in report(world).title
    assert world.counts() == (1, 0)


def test_the_claims_of_the_function_itself_are_asked_where_the_entry_has_a_namespace(world: SmallFunctions) -> None:
    with_namespace = redrive(world, {"namespace": "object-once"}).task.clients.redrive()
    without = redrive(world).task.clients.redrive()

    assert with_namespace._events is not None
    assert without._events is None


@pytest.fixture
def table(world: SmallFunctions) -> str:
    return f"claims-{uuid.uuid4().hex[:8]}"


def set_up(kind: Callable[..., BaseOperator], table: str, **options: Any) -> Running:
    defaults = {"region": REGION, "bucket": BUCKET, "claims_table": table}
    return Running(kind(task_id="apply", defaults=defaults, **options))


def test_the_table_of_claims_is_planned_made_and_found_to_be_there(world: SmallFunctions, table: str) -> None:
    planned = set_up(ClaimsTablePlanOperator, table).execute()
    made = set_up(ClaimsTableCreateOperator, table, only_plan="False").execute()
    again = [set_up(kind, table).execute()["changes"] for kind in (ClaimsTablePlanOperator, ClaimsTableCreateOperator)]

    assert planned == made
    assert planned["table"] == table
    assert ["create the table" in planned["changes"][0], "TTL" in planned["changes"][1]] == [True, True]
    assert again == [[], []]
    assert world.dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"


def test_a_dry_run_makes_no_table(world: SmallFunctions, table: str) -> None:
    with pytest.raises(AirflowSkipException):
        set_up(ClaimsTableCreateOperator, table, only_plan="True").execute()

    assert table not in world.dynamodb.list_tables()["TableNames"]


def test_a_table_that_claims_can_not_be_kept_in_is_reported(world: SmallFunctions, table: str) -> None:
    world.dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    with pytest.raises(DataError, match=r"expected id \(S\) as its only key"):
        set_up(ClaimsTablePlanOperator, table).execute()

    assert report(world).facts == {"Table": table, "AWS connection": "aws_default", "Region": REGION}


def test_every_task_has_retries_and_the_policy_and_its_templated_fields_are_attributes(world: SmallFunctions) -> None:
    tasks = [
        settings(world).task,
        redrive(world).task,
        *(set_up(kind, "t").task for kind in (ClaimsTablePlanOperator, ClaimsTableCreateOperator)),
    ]

    assert {(task.retries, task.retry_policy == RETRY_POLICY) for task in tasks} == {(3, True)}
    assert all(hasattr(task, field) for task in tasks for field in task.template_fields)
    assert FunctionOperator(task_id="x", function={}, retries=7).retries == 7


def test_a_report_that_can_not_be_written_neither_undoes_what_is_done_nor_hides_an_error(
    world: SmallFunctions, caplog: pytest.LogCaptureFixture
) -> None:
    world.create()
    world.fail({"n": 1})
    elsewhere = {"home": {**entry(world)["home"], "bucket": "example-nowhere"}}

    assert settings(world, elsewhere).execute()["written"]
    done = redrive(world, elsewhere, only_plan=False)
    assert done.execute() == done.ti.xcoms["return_value"]
    assert done.ti.xcoms["return_value"]["groups"][0]["fates"] == {"sent": 1}
    assert caplog.text.count("could not be written to s3://example-nowhere/reports/") == 2
    with pytest.raises(DataError, match="no queue"):
        redrive(world, elsewhere | {"on_failure": world.queue + "x"}).execute()


def test_transient_errors_of_lambda_are_transient_errors_of_the_task(world: SmallFunctions) -> None:
    world.fail({"n": 1})
    world.refusals = ["TooManyRequestsException"] * 10

    with pytest.raises(TransientError):
        redrive(world, only_plan=False).execute()


def test_what_was_sent_is_known_before_anything_else_can_go_wrong(world: SmallFunctions, monkeypatch: pytest.MonkeyPatch) -> None:
    world.fail({"n": 1})
    running = redrive(world, only_plan=False)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("searchops.operators.functions.report_done", die)
    with pytest.raises(KeyboardInterrupt):
        running.execute()

    assert running.ti.xcoms["return_value"]["groups"][0]["fates"] == {"sent": 1}


def test_an_invocation_whose_answer_is_lost_is_not_repeated_behind_our_back(world: SmallFunctions) -> None:
    world.fail({"n": 1})
    running = redrive(world, only_plan=False)
    del running.task.clients.__dict__["invoker"]
    invoker, requests = running.task.clients.invoker, []

    def lose(request: Any, **_: Any) -> None:
        requests.append(request.url)
        raise ReadTimeoutError(endpoint_url=request.url)

    invoker.meta.events.register("before-send.lambda.Invoke", lose)
    with pytest.raises(TransientError, match="no answer from AWS"):
        running.execute()

    assert (len(requests), world.counts()) == (1, (1, 0))
    assert (invoker.meta.region_name, invoker.meta.config.read_timeout) == (REGION, INVOKE_SECONDS)
    assert timedelta(seconds=2 * INVOKE_SECONDS) < LEASE  # to connect, and to read


def test_a_task_that_is_killed_sends_no_further_event_and_gives_back_the_others(world: SmallFunctions) -> None:
    for n in range(3):
        world.fail({"n": n})
    running = redrive(world, only_plan=False)
    world.functions.meta.events.register_first("before-call.lambda.Invoke", lambda **_: running.task.on_kill())

    with pytest.raises(TransientError, match="it was told to end"):
        running.execute()

    assert (len(world.sent), world.counts()) == (1, (2, 0))
    redrive(world).task.on_kill()  # before it has begun


@pytest.mark.parametrize("limit", [0, "0", -1, "all", "1.5"])
def test_a_limit_that_is_none_sends_nothing(world: SmallFunctions, limit: Any) -> None:
    world.fail({"n": 1})

    with pytest.raises(DataError, match="limit: expected a whole number above 0"):
        redrive(world, only_plan=False, limit=limit).execute()

    assert (world.sent, report(world).outcome) == ([], FAILED)


@pytest.mark.parametrize("only_plan", ["", "None", "nein", "{{ params.dry_run }}", None])
def test_a_dry_run_that_is_not_clearly_off_is_on(world: SmallFunctions, table: str, only_plan: Any) -> None:
    world.create()
    world.fail({"n": 1})

    redrive(world, only_plan=only_plan).execute()
    assert settings(world, only_plan=only_plan).execute()["written"] is False
    with pytest.raises(AirflowSkipException):
        set_up(ClaimsTableCreateOperator, table, only_plan=only_plan).execute()

    assert world.sent == []
    assert table not in world.dynamodb.list_tables()["TableNames"]


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), ("True", True), ("1", True), (False, False), ("", False), ("None", False)]
)
def test_a_flag_may_come_through_a_template(value: Any, expected: bool) -> None:
    assert is_true(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"), [(False, True), ("False", True), ("0", True), (True, False), ("", False), ("None", False)]
)
def test_what_is_not_understood_is_not_false_either(value: Any, expected: bool) -> None:
    assert is_false(value) is expected


@pytest.mark.parametrize(("value", "expected"), [(None, None), ("", None), ("None", None), ("3", 3), (3, 3)])
def test_a_limit_may_come_through_a_template(value: Any, expected: int | None) -> None:
    assert as_limit(value) == expected


def test_a_list_may_come_through_a_template() -> None:
    assert as_list('["a"]') == as_list(["a"]) == ["a"]

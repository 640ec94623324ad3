"""What a user goes through: settings, events that fail, the set-up that was missing, and the events once more."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from local.demo.functions import SHORT_LEASE, wait_until
from searchops.core.errors import DataError, TransientError
from searchops.core.idempotency.errors import TableMissing
from searchops.core.report import FAILED, SUCCEEDED
from tests.integration.functions_settings.conftest import Company

SYNONYMS = "東京タワー, 芝の塔\n".encode()


def configuration(company: Company) -> dict[str, Any]:
    found = company.lambda_.get_function_event_invoke_config(FunctionName=company.name)
    return {name: found[name] for name in found if name not in ("ResponseMetadata", "LastModified", "FunctionArn")}


def test_events_that_failed_while_the_table_was_missing_are_done_after_the_set_up_each_once(company: Company) -> None:
    function = company.deploy()
    company.settings()
    for number in range(3):
        function.invoke_later(function.put(f"synonyms-{number}.txt", SYNONYMS))
    company.wait_for_messages(3)

    with pytest.raises(TableMissing, match="searchops_setup"):
        company.redrive(dry_run=False)
    assert company.report().outcome == FAILED
    planned, made = company.set_up()
    assert planned == made
    assert len(made) == 2
    assert company.set_up() == [[], []]

    shown = company.redrive()
    assert [(group["error"], group["fates"]) for group in shown["groups"]] == [
        ("RetriesExhausted: TableMissing", {"not chosen": 3})
    ]
    sent = company.redrive(dry_run=False)
    again = company.redrive(dry_run=False)

    assert sent["groups"][0]["fates"] == {"sent": 3}
    assert (again["groups"], company.messages()) == ([], 0)
    for number in range(3):
        key = f"synonyms-{number}.txt"
        wait_until(lambda key=key: function.effects(key), f"the work for {key} is done")
        assert (function.runs(key), len(function.effects(key))) == (1, 1)
    assert company.report().outcome == SUCCEEDED


def test_what_failed_for_good_in_the_function_is_sent_again_after_a_reset_only(company: Company) -> None:
    company.set_up()
    company.enter(namespace=company.name)
    function = company.deploy(environment={"SEARCHOPS_ON_DATA_ERROR": "failure"})
    company.settings()
    function.invoke_later(function.put("bad-synonyms.txt", b"\xff"))
    company.wait_for_messages(1)
    assert function.runs("bad-synonyms.txt") == 1

    running = company.running("failed_events_redrive", "failed_events_redrive_f", "redrive", dry_run=False)
    with pytest.raises(DataError, match="1 had failed for good"):
        running.execute()
    assert running.ti.xcoms["return_value"]["groups"][0]["fates"] == {"needs a reset": 1}
    assert (company.messages(), function.runs("bad-synonyms.txt")) == (1, 1)

    assert company.redrive(dry_run=False, reset=True)["groups"][0]["fates"] == {"sent": 1}
    wait_until(lambda: function.runs("bad-synonyms.txt") == 2, "the function tries again")
    company.wait_for_messages(1)  # the data are as bad as before, so it failed anew: another record
    assert function.record("bad-synonyms.txt")["status"]["S"] == "FAILED_PERMANENT"


def test_an_event_that_a_crash_would_have_lost_comes_back(company: Company) -> None:
    company.set_up()
    function = company.deploy()
    company.settings()
    function.break_("synonyms.txt", 1)
    function.invoke_later(function.put("synonyms.txt", SYNONYMS))
    company.wait_for_messages(1)

    assert company.redrive(dry_run=False, errors=["RetriesExhausted: ConnectionError"])["groups"][0]["fates"] == {"sent": 1}

    wait_until(lambda: function.effects("synonyms.txt"), "the work is done")
    assert company.messages() == 0


def test_an_event_whose_function_was_killed_is_kept_while_its_lease_runs_and_done_after_it(company: Company) -> None:
    company.set_up()
    company.enter(namespace=company.name)
    function = company.deploy(handler=SHORT_LEASE, environment={"LEASE_SECONDS": "3"})
    company.settings()
    function.hold("killed.txt")
    function.invoke_later(function.put("killed.txt", SYNONYMS))
    wait_until(lambda: function.effects("killed.txt"), "the effect is there, and the claim not ended")
    (pid,) = company.control.running(company.name)
    os.kill(pid, signal.SIGKILL)
    company.wait_for_messages(1)
    function.let_go("killed.txt")

    running = company.running("failed_events_redrive", "failed_events_redrive_f", "redrive", dry_run=False)
    with pytest.raises(TransientError, match="1 events are in progress"):
        running.execute()
    assert running.ti.xcoms["return_value"]["groups"][0]["fates"] == {"in progress": 1}
    assert (company.messages(), function.runs("killed.txt")) == (1, 1)

    wait_until(lambda: _sent(company), "the lease has ended, and the event is sent")
    wait_until(lambda: function.record("killed.txt")["status"]["S"] == "COMPLETED", "the work is done")
    assert (company.messages(), function.runs("killed.txt"), len(function.effects("killed.txt"))) == (0, 2, 1)


def _sent(company: Company) -> bool:
    """Whether a further try, as Airflow makes it, has sent the event."""
    try:
        return bool(company.redrive(dry_run=False)["groups"][0]["fates"] == {"sent": 1})
    except TransientError:
        return False


def test_settings_keep_what_nobody_named_and_the_second_run_changes_nothing(company: Company) -> None:
    function = company.deploy(timeout_seconds=90)
    topic = f"arn:aws:sns:ap-northeast-1:123456789012:{company.name}"
    function.lambda_.put_function_event_invoke_config(
        FunctionName=company.name,
        MaximumRetryAttempts=2,
        MaximumEventAgeInSeconds=900,
        DestinationConfig={"OnSuccess": {"Destination": topic}},
    )
    company.enter(lease="1m")

    shown = company.settings(dry_run=True)
    assert configuration(company)["MaximumRetryAttempts"] == 2
    done = company.settings()

    assert shown["changes"] == done["changes"]
    assert configuration(company) == {
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 900,
        "DestinationConfig": {"OnSuccess": {"Destination": topic}, "OnFailure": {"Destination": company.queue}},
    }
    assert "90 s and the lease of its claims 60 s" in done["findings"][0]
    assert company.settings()["changes"] == []


def test_a_function_or_a_queue_that_does_not_exist_is_told_before_anything_is_written(company: Company) -> None:
    with pytest.raises(DataError, match=f"there is no function {company.name}"):
        company.settings()

    company.deploy()
    company.enter(on_failure=company.queue + "-nowhere")
    with pytest.raises(DataError, match="there is no queue"):
        company.settings()
    with pytest.raises(company.lambda_.exceptions.ResourceNotFoundException):
        configuration(company)
    with pytest.raises(DataError, match="there is no queue"):
        company.redrive()


def test_a_dry_run_of_the_set_up_makes_nothing(company: Company) -> None:
    with pytest.raises(AirflowSkipException):
        company.set_up(dry_run=True)

    assert company.table not in company.dynamodb.list_tables()["TableNames"]


def test_a_message_that_is_no_record_is_kept_and_told(company: Company) -> None:
    company.set_up()
    company.sqs.send_message(QueueUrl=company.queue_url, MessageBody="no record")

    done = company.redrive(dry_run=False)

    assert done["unreadable"] == {"it is not JSON": 1}
    assert company.messages() == 1
    assert company.report().facts["Unreadable"] == 1

"""The DAGs on functions as a user of `make up` finds them."""

from __future__ import annotations

import pytest

from local.demo.world import ACCOUNT, REGION
from local.furnish import FAILED_EVENTS
from tests.system.company import Company
from tests.system.stories import Redriven, Stories


@pytest.fixture(scope="module")
def redriven(stories: Stories) -> Redriven:
    told: Redriven = stories["redriven"].result()
    return told


def test_the_function_gets_the_settings_of_the_inventory(company: Company, redriven: Redriven) -> None:
    redriven.settings.require("success")

    done = redriven.settings.xcom("object-once")
    assert {change["setting"]: change["after"] for change in done["changes"]} == {
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 3600,
        "DestinationConfig.OnFailure.Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{FAILED_EVENTS}",
    }
    assert (done["findings"], done["written"]) == ([], True)


def test_a_look_shows_what_failed_without_the_table_and_sends_nothing(redriven: Redriven) -> None:
    redriven.shown.require("success")

    assert [(group["error"], group["fates"]) for group in redriven.shown.xcom("redrive")["groups"]] == [
        ("RetriesExhausted: TableMissing", {"not chosen": 1})
    ]


def test_the_set_up_plans_the_table_and_makes_it(redriven: Redriven) -> None:
    redriven.set_up.require("success")

    planned, made = (redriven.set_up.xcom(task)["changes"] for task in ("plan", "apply"))
    assert planned == made
    assert len(made) == 2


def test_the_event_is_sent_again_and_its_work_is_done(company: Company, redriven: Redriven) -> None:
    redriven.sent.require("success")

    assert [group["fates"] for group in redriven.sent.xcom("redrive")["groups"]] == [{"sent": 1}]
    assert len(redriven.effects) == 1
    for run in (redriven.settings, redriven.shown, redriven.set_up, redriven.sent):
        assert company.told_now(run.run_id) == []

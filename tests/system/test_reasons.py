"""A run that may not go on is red, and the task that fails is named after the reason."""

from __future__ import annotations

from searchops.core.dictionary.model import sha256
from tests.system.company import REBUILDING, REPORTING, WRONG_CREDENTIALS, Company, words
from tests.system.conftest import FirstNight, SecondNight


def test_drift_stops_the_run_before_anything_is_published(company: Company, first_night: FirstNight) -> None:
    run = first_night.runs["drifting"]

    assert (run.state, run.failed()) == ("failed", ["drifting-words.drift"])
    assert {run.tasks[f"followed-words.{task}"] for task in ("plan", "publish", "associate")} == {"upstream_failed"}
    assert len(company.versions("drifting-words")) == 2
    assert len(company.versions("followed-words")) == 1
    [message] = company.told(run.run_id)
    assert "was not published by searchops" in message


def test_a_dictionary_that_documents_were_indexed_with_asks_once_for_a_rebuild(company: Company, first_night: FirstNight) -> None:
    run = first_night.runs["rebuilding"]

    assert (run.state, run.failed()) == ("failed", ["rebuilding-words.awaiting_rebuild"])
    [event] = company.airflow.asset_events(run.dag_id, run.run_id)
    wanted = {"index": "rebuilding-1", "package": "rebuilding-words", "sha256": sha256(words(REBUILDING))}
    assert {name: event["extra"].get(name) for name in wanted} == wanted
    assert event["source_task_id"] == "rebuilding-words.request_rebuild"
    [message] = company.told(run.run_id)
    assert "rebuilding-1" in message


def test_an_index_that_awaits_its_rebuild_holds_up_no_other_dictionary(company: Company, first_night: FirstNight) -> None:
    run = first_night.runs["rebuilding"]

    assert run.tasks["following-words.verify"] == "success"
    assert company.hits("rebuilding-2", "following") == 1


def test_the_night_after_is_red_silent_and_cheap(company: Company, second_night: SecondNight) -> None:
    run = second_night.runs["rebuilding"]

    assert (run.state, run.failed()) == ("failed", ["rebuilding-words.awaiting_rebuild"])
    assert run.tasks["following-words.plan"] == "success"
    assert company.airflow.asset_events(run.dag_id, run.run_id) == []
    for package in ("rebuilding-words", "following-words"):
        assert sum(company.package_ids[package] in call.path for call in second_night.calls) <= 3
    assert run.xcom("rebuilding-words.plan")["node_calls"] <= 2
    assert company.told_now(run.run_id) == []


def test_an_index_that_may_not_be_closed_is_left_open_and_named(company: Company, first_night: FirstNight) -> None:
    run = first_night.runs["reporting"]

    assert (run.state, run.failed()) == ("failed", ["reporting-words.awaiting_apply"])
    [message] = company.told(run.run_id)
    assert "reporting-1" in message
    assert not [call for call in company.views.calls("reporting") if call.path.endswith("/_close")]
    assert company.applied("reporting-1", "reporting-words") != sha256(words(REPORTING))


def test_wrong_credentials_are_one_clear_error_and_not_tried_again(company: Company, first_night: FirstNight) -> None:
    run = first_night.runs["denied"]

    [plan] = [task for task in company.airflow.task_instances(run.dag_id, run.run_id) if task["task_id"] == "denied-words.plan"]
    assert (plan["state"], plan["try_number"]) == ("failed", 1)
    assert plan["max_tries"] > 0
    [message] = company.told(run.run_id)
    assert "AWS does not accept the credentials" in message
    assert f"AWS connection: {WRONG_CREDENTIALS}" in message
    assert "UnrecognizedClientException" in message

"""Processes are killed and runs are ended at the worst moments; the next try or the next run finishes what was begun."""

from __future__ import annotations

from local.demo.acts import Run
from tests.system.company import Company
from tests.system.stories import KILLED, RETRIES, Closing, Marked, Stories


def test_a_wait_survives_the_kill_of_its_triggerer(stories: Stories) -> None:
    run: Run = stories["late"].result()

    run.require("success")
    assert run.tasks["late-words.wait_for_domain"] == "success"


def test_a_sync_that_is_not_through_in_time_is_told_once(company: Company, stories: Stories) -> None:
    run: Run = stories["late"].result()

    [message] = company.told(run.run_id)
    assert "*dictionary_sync_late* is late" in message


def test_an_apply_that_was_killed_with_the_index_closed_is_finished_by_its_next_try(stories: Stories) -> None:
    closed: Closing = stories["closing"].result()

    closed.retried.require("success")
    assert tries(closed.retried, "closing-words.apply") == 2
    assert closed.hits[0] == 1


def test_an_apply_that_is_killed_in_every_try_leaves_the_index_open(company: Company, stories: Stories) -> None:
    closed: Closing = stories["closing"].result()

    assert (closed.given_up.state, closed.given_up.failed()) == ("failed", ["closing-words.apply"])
    assert tries(closed.given_up, "closing-words.apply") == RETRIES + 1
    assert closed.was_open
    assert closed.given_up.xcom("closing-words.open_indexes") == ["closing-1"]
    [message] = company.told(closed.given_up.run_id)
    assert "the process died" in message


def test_the_run_after_a_killed_one_finishes_it(company: Company, stories: Stories) -> None:
    closed: Closing = stories["closing"].result()

    closed.next_run.require("success")
    assert closed.next_run.tasks["closing-words.publish"] == "skipped"
    assert closed.next_run.tasks["closing-words.verify"] == "success"
    assert closed.hits[1] == 1


def test_an_apply_that_is_marked_failed_opens_what_it_closed_and_closes_nothing_more(stories: Stories) -> None:
    marked: Marked = stories["marked"].result()

    assert (marked.in_apply.state, marked.in_apply.failed()) == ("failed", ["marked-words.apply"])
    assert KILLED in marked.in_apply.log("marked-words.apply")
    assert marked.open_after_apply == [True, True]
    assert marked.closed == ["/marked/marked-1/_close"]


def test_a_run_that_was_ended_while_it_waited_is_finished_by_the_next(company: Company, stories: Stories) -> None:
    marked: Marked = stories["marked"].result()

    assert marked.in_wait.state == "failed"
    assert "was ended by hand" in marked.in_wait.log("marked-words.open_indexes")
    marked.next_run.require("success")
    # Published and associated once by all three runs: by hand before, and by the run that was ended.
    assert len(company.versions("marked-words")) == 2
    associated = company.packages.transitions(company.package_ids["marked-words"], "marked")
    assert [row.after for row in associated].count("ACTIVE") == 2
    assert [company.hits(index, "label") for index in ("marked-1", "marked-2")] == [1, 1]


def tries(run: Run, task_id: str) -> int:
    instances = run.world.cloud.airflow.task_instances(run.dag_id, run.run_id)
    return next(int(task["try_number"]) for task in instances if task["task_id"] == task_id)

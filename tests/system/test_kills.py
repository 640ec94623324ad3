"""Processes are killed and runs are ended at the worst moments; the next try or the next run finishes what was begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from local.demo.acts import Run
from tests.system.company import DEADLINE_SECONDS, Company, wait_for
from tests.system.views import Gate

RETRIES = 3
ASSOCIATING = 4.5  # seconds at the simulator's speed

Stories = Mapping[str, "Future[Any]"]


@pytest.fixture(scope="module")
def stories(company: Company) -> Iterator[Stories]:
    """What happens to each domain; they wait most of the time, so all happen at once."""
    tell: Mapping[str, Callable[[Company], Any]] = {"late": late, "closing": closing, "marked": marked}
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(story, company) for name, story in tell.items()}


def test_a_wait_survives_the_kill_of_its_triggerer(stories: Stories) -> None:
    run: Run = stories["late"].result()

    run.require("success")
    assert run.tasks["late-words.wait_for_domain"] == "success"


def test_a_sync_that_is_not_through_in_time_is_told_once(company: Company, stories: Stories) -> None:
    run: Run = stories["late"].result()

    [message] = company.told(run.run_id)
    assert "*dictionary_sync_late* is late" in message


def late(company: Company) -> Run:
    """The association takes longer than the deadline, and the triggerer is killed while it is waited for."""
    company.packages.fault("slow_state", "AssociatePackage", domain_name="late", factor=25 / ASSOCIATING)
    company.deploy("late-words", "late, overdue")
    run_id = company.start("late")
    company.airflow.wait_for_task("dictionary_sync_late", run_id, "late-words.wait_for_domain", "deferred")
    company.told(run_id, seconds=DEADLINE_SECONDS + 30)
    assert company.airflow.task_states("dictionary_sync_late", run_id)["late-words.wait_for_domain"] == "deferred"
    company.cloud.process("airflow-triggerer").kill()
    return company.finish(run_id, "late")


@dataclass(frozen=True, slots=True)
class Closing:
    retried: Run
    given_up: Run
    was_open: bool
    next_run: Run
    hits: tuple[int, int]


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


def closing(company: Company) -> Closing:
    """The task that closes the index is killed before it opens it: once, and then in every try."""
    company.index_document("closing-1", "close")
    company.deploy("closing-words", "close, shut")
    retried = company.start("closing")
    kill_closed(company, company.views.hold("closing", "/_open"), retried, 1)
    first = company.finish(retried, "closing")
    after_first = company.hits("closing-1", "shut")
    company.deploy("closing-words", "close, seal")
    given_up = company.start("closing")
    kill_closed(company, company.views.hold("closing", "/_open", times=RETRIES + 1), given_up, RETRIES + 1)
    second = company.finish(given_up, "closing")
    was_open = company.is_open("closing-1")
    third = company.finish(company.start("closing"), "closing")
    return Closing(first, second, was_open, third, (after_first, company.hits("closing-1", "seal")))


def kill_closed(company: Company, gate: Gate, run_id: str, times: int) -> None:
    for _ in range(times):
        gate.wait()
        assert not company.is_open("closing-1")
        company.kill_task(run_id, "closing-words.apply", "closing")


def tries(run: Run, task_id: str) -> int:
    instances = run.world.cloud.airflow.task_instances(run.dag_id, run.run_id)
    return next(int(task["try_number"]) for task in instances if task["task_id"] == task_id)


@dataclass(frozen=True, slots=True)
class Marked:
    in_wait: Run
    in_apply: Run
    open_after_apply: list[bool]
    closed: list[str]
    next_run: Run


def test_an_apply_that_is_marked_failed_opens_what_it_closed_and_closes_nothing_more(stories: Stories) -> None:
    marked: Marked = stories["marked"].result()

    assert (marked.in_apply.state, marked.in_apply.failed()) == ("failed", ["marked-words.apply"])
    assert "opening what this task closed" in marked.in_apply.log("marked-words.apply")
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


def marked(company: Company) -> Marked:
    """A run is marked failed while it waits; the apply of the next one is marked failed while an index is closed."""
    dag_id = "dictionary_sync_marked"
    for index in ("marked-1", "marked-2"):
        company.index_document(index, "mark")
    company.packages.fault("slow_state", "AssociatePackage", domain_name="marked", factor=15 / ASSOCIATING)
    company.deploy("marked-words", "mark, label")
    first = company.start("marked")
    company.airflow.wait_for_task(dag_id, first, "marked-words.wait_for_domain", "deferred")
    company.airflow.set_run_state(dag_id, first, "failed")
    in_wait = company.finish(first, "marked")

    gate = company.views.hold("marked", "/_open")
    second = company.start("marked")
    gate.wait()
    apply = company.airflow.task_instances(dag_id, second)
    company.airflow.set_task_state(dag_id, second, "marked-words.apply", "failed")
    pid = next(task["pid"] for task in apply if task["task_id"] == "marked-words.apply")
    wait_for(lambda: not company.lives(pid))
    in_apply = company.finish(second, "marked")
    gate.release()
    opened = [company.is_open(index) for index in ("marked-1", "marked-2")]
    closed = [call.path for call in company.views.calls("marked") if call.path.endswith("/_close")]
    return Marked(in_wait, in_apply, opened, closed, company.finish(company.start("marked"), "marked"))

from __future__ import annotations

import re
from typing import Any

import pytest
from airflow.sdk import AsyncCallback
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.webhook import WebhookResponse

from searchops.core.report import Report
from searchops.notifications.message import MAX_CHARACTERS, Run, deadline_text, failure_text, failures, link, plain
from searchops.notifications.slack import FailureNotifier, Patience, _answer, _no_answer

RUN = Run("dictionary_sync_products", "scheduled__2026-02-01T03:00:00+00:00", "http://airflow.example/")
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=400)


def report(task_id: str = "publish", **changes: Any) -> Report:
    return Report(
        **{"dag_id": RUN.dag_id, "run_id": RUN.run_id, "task_id": task_id, "outcome": "failed", "title": "it failed", **changes}
    )


# ── what is told ──


def test_a_message_says_what_failed_where_why_and_what_to_do():
    failed = report(
        "synonyms.publish",
        title="UpdatePackage: refused by AWS with ValidationException",
        reason="ValidationException: Package F1 is <too large> & so on",
        facts={"package": "F1", "bytes": 12},
        links=[("package in the AWS console", "https://console.aws.amazon.com/aos/home?region=ap-northeast-1#packages/F1")],
        try_number=2,
    )

    text = failure_text(RUN, failures(RUN, [failed]), cause="task_failure")

    assert text.splitlines() == [
        ":red_circle: *dictionary_sync_products* failed: 1 task failed",
        "Run: <http://airflow.example/dags/dictionary_sync_products/runs/scheduled__2026-02-01T03%3A00%3A00%2B00%3A00"
        "|scheduled__2026-02-01T03:00:00+00:00>",
        "• *synonyms.publish* (try 2): UpdatePackage: refused by AWS with ValidationException",
        "> ValidationException: Package F1 is &lt;too large&gt; &amp; so on",
        "  package: F1; bytes: 12",
        "  <http://airflow.example/dags/dictionary_sync_products/runs/scheduled__2026-02-01T03%3A00%3A00%2B00%3A00"
        "/tasks/synonyms.publish?try_number=2|log> · "
        "<https://console.aws.amazon.com/aos/home?region=ap-northeast-1#packages/F1|package in the AWS console>",
        "Next: mend what the reason names, then run the DAG again; a run finishes what an earlier one began.",
    ]


def test_of_many_failures_the_first_are_shown_and_all_are_counted():
    text = failure_text(RUN, failures(RUN, [report("bulk", map_index=number) for number in range(12)]))

    assert "failed: 12 tasks failed" in text
    assert text.count("it failed") == 5
    assert "… and 7 more: bulk [5], bulk [6], bulk [7], bulk [8], bulk [9], bulk [10], bulk [11]" in text


def test_a_failure_that_was_told_before_comes_after_the_new_ones():
    old = [report(f"a{number}", announce=False) for number in range(5)]

    assert failures(RUN, [*old, report("z")])[0].task_id == "z"


def test_a_failed_task_without_a_report_is_said_to_have_died():
    text = failure_text(RUN, failures(RUN, [], failed={("publish", -1)}, last_tries={("publish", -1): 3}))

    assert "*publish* (try 3): no report: the process died" in text
    assert "look in the logs of the scheduler and of the worker" in text


def test_a_dead_process_among_many_failures_is_told_even_if_its_task_is_not_shown():
    reports = [report("bulk", map_index=number) for number in range(11)]

    text = failure_text(RUN, failures(RUN, reports, failed={("bulk", number) for number in range(12)}))

    assert "failed: 12 tasks failed, 1 without a report: the process died" in text


def test_a_report_of_an_earlier_try_does_not_hide_that_the_last_one_died():
    text = failure_text(RUN, failures(RUN, [report(reason="throttled", try_number=1)], last_tries={("publish", -1): 2}))

    assert "(try 2): no report: the process died" in text
    assert "try 1 had said: it failed throttled" in text


def test_a_task_that_failed_and_then_succeeded_is_not_told():
    told = failures(RUN, [report("flaky"), report("publish")], failed={("publish", -1)})

    assert [entry.task_id for entry in told] == ["publish"]


def test_a_report_of_success_is_no_explanation_of_a_failure():
    told = failures(RUN, [report(outcome="succeeded")], failed={("publish", -1)})

    assert [entry.title for entry in told] == ["no report: the process died"]


def test_reports_that_could_not_be_fetched_are_not_taken_for_dead_processes():
    failed = failures(RUN, [], failed={("publish", -1)}, all_read=False)

    text = failure_text(RUN, failed, problem="NoSuchBucket")

    assert "died" not in text
    assert "The reports could not be read: NoSuchBucket" in text
    assert "*publish*: its report could not be read" in text


def test_a_report_that_is_not_ours_is_told_with_the_reason():
    text = failure_text(
        RUN, failures(RUN, [report(outcome="unreadable", title="the report could not be read", reason="not JSON")])
    )

    assert "the report could not be read\n> not JSON" in text


@pytest.mark.parametrize(
    ("cause", "words"), [("timed_out", "longer than its dagrun_timeout"), ("all_tasks_deadlocked", "none of its tasks can run")]
)
def test_a_run_that_airflow_ended_is_told_without_any_failed_task(cause, words):
    text = failure_text(RUN, [], cause=cause)

    assert words in text
    assert "Next: open the run" in text


def test_a_late_run_is_told_with_what_its_tasks_reported_so_far():
    text = deadline_text(RUN, [report(reason="throttled")], due="2026-02-01T05:00:00+00:00", state="running")

    assert text.startswith(":hourglass: *dictionary_sync_products* is late: due at 2026-02-01T05:00:00+00:00, now running")
    assert "> throttled" in text


# ── Slack's limits ──


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT, st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=5)), max_size=30), ANY_TEXT)
def test_a_message_fits_into_one_of_slack_and_is_closed_by_what_to_do(parts, problem):
    reports = [report(f"task{number}", title=t, reason=r, facts=f) for number, (t, r, f) in enumerate(parts)]

    text = failure_text(RUN, failures(RUN, reports), problem=problem)

    assert len(text) <= MAX_CHARACTERS
    assert text.splitlines()[-1].startswith("Next: ")
    assert f"{len(parts)} task" in text or not parts


def test_a_message_of_nothing_but_escapes_fits_too():
    reports = [
        report("<" * 250, map_index=number, title="&" * 500, reason="&" * 4000, facts={"<" * 80: ">" * 300})
        for number in range(50)
    ]

    assert len(failure_text(RUN, failures(RUN, reports), problem="&" * 4000)) <= MAX_CHARACTERS


@given(ANY_TEXT, st.integers(1, 300))
def test_plain_text_holds_no_control_character_of_slack_and_no_half_an_escape(text, limit):
    escaped = plain(text, limit)

    assert len(escaped) <= limit
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", escaped)
    assert "\n" not in escaped


@given(ANY_TEXT)
def test_short_text_keeps_its_meaning(text):
    escaped = plain(text, 10_000)

    assert escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == " ".join(text.split())


def test_a_reason_cannot_call_a_channel_together():
    assert "<!channel>" not in failure_text(RUN, [report(reason="<!channel> look")])


@given(st.text("ab|<>& ", max_size=20))
def test_a_link_has_exactly_two_parts(label):
    assert re.fullmatch(r"<[^<>|]*\|[^<>|]*>", link("https://a.example/?a=1&b=<|>", label))


# ── how long it goes on ──


def test_the_waits_double_from_two_seconds_and_end_after_six_retries():
    patience = Patience(budget_seconds=300)

    assert [patience.wait_seconds(retries, 0) for retries in range(7)] == [2, 4, 8, 16, 32, 64, None]


def test_four_retries_fit_into_the_time_of_the_dag_processor():
    patience, spent, waits = Patience(), 0.0, []
    while (wait := patience.wait_seconds(len(waits), spent)) is not None:
        waits.append(wait)
        spent += wait

    assert waits == [2, 4, 8, 16]


@given(st.floats(0.01, 60), st.integers(0, 10), st.floats(0.1, 300), st.floats(0, 600) | st.none(), st.floats(0, 20))
def test_waiting_stays_within_the_budget_and_never_below_what_slack_asks_for(first, most, budget, retry_after, each):
    patience, spent, retries = Patience(first, most, budget), 0.0, 0
    while (wait := patience.wait_seconds(retries, spent, retry_after)) is not None:
        assert wait >= (retry_after or 0)
        spent += wait
        assert spent < budget
        spent += each
        retries += 1

    assert retries <= most


@pytest.mark.parametrize(
    ("status", "may_pass"), [(429, True), (500, True), (502, True), (503, True), (400, False), (403, False), (404, False)]
)
def test_only_what_may_pass_is_tried_again(status, may_pass):
    assert _answer(WebhookResponse(url="https://x", status_code=status, body="no_service", headers={})).may_pass is may_pass


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3.0), ("0.5", 0.5), ("nan", None), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)]
)
def test_retry_after_is_read_when_it_makes_sense(header, seconds):
    response = WebhookResponse(url="https://x", status_code=429, body="", headers={"retry-After": header})

    assert _answer(response).retry_after_seconds == seconds


# ── what may be logged, and what Airflow asks of a notifier ──


def test_the_page_of_a_proxy_is_not_passed_on():
    response = WebhookResponse(url="https://x", status_code=502, body="cannot reach /services/T0/B0/secret", headers={})

    assert _answer(response).problem == "HTTP 502"


def test_an_error_that_quotes_the_url_is_not_passed_on():
    assert _no_answer(ValueError("unknown url type: 'secret'")).problem == "ValueError"


def test_a_notifier_can_be_the_callback_of_a_deadline():
    callback = AsyncCallback(FailureNotifier, kwargs={"bucket": "example", "first_wait_seconds": 1})

    assert callback.path == "searchops.notifications.slack.FailureNotifier"
    FailureNotifier(**callback.kwargs, context={"dag_run": {}})

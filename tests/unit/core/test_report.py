from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.errors import DataError
from searchops.core.report import (
    MAX_BYTES,
    MAX_FACTS,
    MAX_REASON,
    MAX_URL,
    Report,
    from_json,
    report_key,
    shorten,
    task_of,
    to_json,
)

AIRFLOW_ID = st.text("abcXYZ019_-.~:+東", min_size=1, max_size=60)
ANY_TEXT = st.text(st.characters(), max_size=200)  # surrogates and control characters included
FACT = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | ANY_TEXT | st.lists(ANY_TEXT, max_size=4)
REPORTS = st.builds(
    Report,
    dag_id=AIRFLOW_ID,
    run_id=AIRFLOW_ID,
    task_id=AIRFLOW_ID,
    outcome=st.sampled_from(["failed", "succeeded", "skipped"]),
    title=ANY_TEXT,
    map_index=st.integers(-1, 1023),
    try_number=st.integers(0, 9),
    reason=ANY_TEXT | ANY_TEXT.map(lambda text: text * 100),
    facts=st.dictionaries(ANY_TEXT, FACT, max_size=40),
    links=st.lists(st.tuples(ANY_TEXT, st.sampled_from(["https://console.aws.amazon.com/aos/home?region=x#y", "javascript:x"]))),
    announce=st.booleans(),
)


def report(**changes: Any) -> Report:
    return Report(**{"dag_id": "d", "run_id": "r", "task_id": "t", "outcome": "failed", "title": "it failed", **changes})


@given(REPORTS)
def test_a_report_comes_back_as_it_was_written(written):
    assert from_json(to_json(written)) == written


@given(REPORTS)
def test_every_report_is_small_enough_to_be_read_back(written):
    assert len(to_json(written)) <= MAX_BYTES


def test_the_largest_report_is_small_enough_to_be_read_back():
    worst = "\x01" * 100_000  # a control character takes six bytes in JSON
    largest = report(
        dag_id=worst,
        run_id=worst,
        task_id=worst,
        outcome=worst,
        title=worst,
        reason=worst,
        facts={f"{n}{worst}": worst for n in range(100)},
        links=[(worst, "https://example.com/".ljust(MAX_URL, "x"))] * 100,
    )

    assert from_json(to_json(largest)) == largest
    assert len(to_json(largest)) <= MAX_BYTES


@given(REPORTS, st.integers(0, 10_000))
def test_a_report_that_is_cut_off_is_refused_and_not_misread(written, at):
    content = to_json(written)

    with pytest.raises(ValueError, match="not"):
        from_json(content[: at % len(content)])


@given(st.binary(max_size=200))
def test_bytes_that_are_no_report_raise_nothing_but_value_error(content):
    with pytest.raises(ValueError, match="not"):
        from_json(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", 7),
        ("map_index", "0"),
        ("try_number", True),
        ("announce", "no"),
        ("facts", []),
        ("links", [["only a label"]]),
        ("links", {}),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(name, value):
    with pytest.raises(ValueError, match=f"not a report of ours: {name} is"):
        from_json(json.dumps({**json.loads(to_json(report())), name: value}).encode())


def test_a_missing_field_is_named():
    values = json.loads(to_json(report()))
    del values["task_id"]

    with pytest.raises(ValueError, match="task_id"):
        from_json(json.dumps(values).encode())


def test_a_field_of_a_later_version_is_passed_over():
    values = {**json.loads(to_json(report())), "owner": "x"}

    assert from_json(json.dumps(values).encode()).title == "it failed"


def test_a_document_that_happens_to_be_json_is_not_taken_for_a_report():
    with pytest.raises(ValueError, match="format"):
        from_json(b'{"title": "a book"}')


def test_a_long_reason_ends_in_an_ellipsis_at_its_limit():
    long = report(reason="x" * (MAX_REASON + 1))

    assert len(long.reason) == MAX_REASON
    assert long.reason.endswith("x…")


def test_facts_that_are_left_out_are_counted():
    many = report(facts={str(number): number for number in range(MAX_FACTS + 5)})

    assert len(many.facts) == MAX_FACTS
    assert many.facts["left out"] == 6


def test_a_link_that_no_browser_should_follow_is_dropped():
    links = [
        ("good", "https://a.example/x"),
        ("bad", "javascript:alert(1)"),
        ("half", "https://a.example/ x"),
        ("long", "https://" + "x" * 2000),
    ]

    assert report(links=links).links == (("good", "https://a.example/x"),)


@given(st.text(st.characters()), st.integers(1, 50))
def test_what_is_shortened_fits_and_can_be_encoded(text, limit):
    assert len(shorten(text, limit)) <= limit
    shorten(text, limit).encode()


@given(AIRFLOW_ID, st.integers(-1, 1023))
def test_a_key_gives_its_task_back(task_id, map_index):
    assert task_of(report_key("d", "r", task_id, map_index)) == (task_id, map_index)


@given(*[st.tuples(AIRFLOW_ID, AIRFLOW_ID, AIRFLOW_ID, st.integers(-1, 99))] * 2)
def test_two_tasks_never_share_a_key(one, other):
    assert (report_key(*one) == report_key(*other)) == (one == other)


def test_a_mapped_task_and_a_task_named_like_it_have_keys_of_their_own():
    assert report_key("d", "r", "group.3") != report_key("d", "r", "group", 3)


@given(AIRFLOW_ID, AIRFLOW_ID, AIRFLOW_ID)
def test_a_key_holds_only_what_s3_calls_safe(dag_id, run_id, task_id):
    assert re.fullmatch(r"[0-9A-Za-z!\-_.*'()/~]+", report_key(dag_id, run_id, task_id, 3))


def test_a_key_of_a_scheduled_run_can_be_read_by_people():
    key = report_key("dictionary_sync_products", "scheduled__2026-02-01T03:00:00+00:00", "synonyms.publish", 3)

    assert key == "reports/dictionary_sync_products/scheduled__2026-02-01T03!3A00!3A00!2B00!3A00/synonyms.publish.3.json"


def test_the_report_of_an_error_of_ours_carries_what_the_error_knows():
    error = DataError(
        "refused", reason="ValidationException: no", facts={"package": "F1"}, links=[("AWS", "https://a.example")], announce=False
    )

    failed = Report.failure(error, dag_id="d", run_id="r", task_id="t", map_index=2, try_number=3)

    assert (failed.outcome, failed.title, failed.reason) == ("failed", "refused", "ValidationException: no")
    assert (failed.facts, failed.links, failed.announce) == ({"package": "F1"}, (("AWS", "https://a.example"),), False)
    assert (failed.map_index, failed.try_number) == (2, 3)


def test_the_report_of_any_other_error_names_its_type():
    assert Report.failure(KeyError("x"), dag_id="d", run_id="r", task_id="t").title == "KeyError: 'x'"

"""Turn the reports of a run into one Slack message; knows nothing of Airflow and sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from urllib.parse import quote

from searchops.core.report import FAILED, UNREADABLE, Report, shorten

MAX_CHARACTERS = 4_000
"""Slack splits a longer text into several messages and cuts it at 40,000 ("Truncating really long messages")."""

MAX_SHOWN = 5
_MAX_TITLE, _MAX_REASON, _MAX_FACTS, _MAX_NAMES = 300, 600, 250, 300
_MAX_LINKS = 3
_NO_REPORT = "no report"  # the outcome of a failed task that left nothing

_CAUSES = {"timed_out": "it ran longer than its dagrun_timeout", "all_tasks_deadlocked": "none of its tasks can run any more"}
MEND = "Next: mend what the reason names, then run the DAG again; a run finishes what an earlier one began."
_DIED = (
    "Next: look in the logs of the scheduler and of the worker for a kill (memory, eviction, deployment), then run the DAG again."
)
_UNREAD = "Next: read the log of the task."
_LATE = "Next: open the run and look which task waits, and for what."

_STEPS = {FAILED: MEND, UNREADABLE: _UNREAD, _NO_REPORT: _DIED}

TaskKey = tuple[str, int]  # task id, map index (-1: not mapped)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a DAG; ``base_url`` is that of the Airflow UI."""

    dag_id: str
    run_id: str
    base_url: str

    @property
    def url(self) -> str:
        return f"{self.base_url.rstrip('/')}/dags/{quote(self.dag_id)}/runs/{quote(self.run_id)}"

    def log_url(self, report: Report) -> str:
        mapped = f"/mapped/{report.map_index}" if report.map_index >= 0 else ""
        tried = f"?try_number={report.try_number}" if report.try_number > 0 else ""
        return f"{self.url}/tasks/{quote(report.task_id)}{mapped}{tried}"


def failures(
    run: Run,
    reports: Iterable[Report],
    *,
    failed: Set[TaskKey] | None = None,
    last_tries: Mapping[TaskKey, int] | None = None,
    all_read: bool = True,
) -> list[Report]:
    """One report for every failed task, first those that nobody has been told of: its own, or one that says that there is none.

    :param failed: the tasks that Airflow calls failed; None when it could not be asked, and then the reports decide
    :param last_tries: tasks known to have failed, with their last try, which an earlier try's report does not explain
    :param all_read: ``reports`` are all that there are, so that a missing one means a process that died
    """
    tries = dict(last_tries or {})
    told = {(report.task_id, report.map_index): report for report in reports if report.outcome in (FAILED, UNREADABLE)}
    if failed:
        told = {task: report for task, report in told.items() if task in failed}
    for task in {*(failed or ()), *tries}:
        report, last_try = told.get(task), tries.get(task, 0)
        if report is None or (report.outcome == FAILED and report.try_number < last_try):
            told[task] = _missing(run, task, last_try, report, all_read)
    return sorted(told.values(), key=lambda report: (not report.announce, report.task_id, report.map_index))


def _missing(run: Run, task: TaskKey, last_try: int, earlier: Report | None, all_read: bool) -> Report:
    said = f"try {earlier.try_number} had said: {earlier.title} {earlier.reason}".rstrip() if earlier else ""
    return Report(
        dag_id=run.dag_id,
        run_id=run.run_id,
        task_id=task[0],
        map_index=task[1],
        try_number=last_try,
        outcome=_NO_REPORT if all_read else UNREADABLE,
        title="no report: the process died" if all_read else "its report could not be read",
        reason=said,
        links=earlier.links if earlier else (),
    )


def failure_text(run: Run, failed: Sequence[Report], *, cause: str = "", problem: str = "", mend: str = MEND) -> str:
    """What a person is told of a failed run.

    :param failed: as ``failures`` gives them
    :param cause: why Airflow ended the run: ``task_failure``, ``timed_out``, ``all_tasks_deadlocked``
    :param problem: why reports are missing, if they are
    :param mend: what to do about tasks that say what is wrong
    """
    count = f"{len(failed)} task{'s' if len(failed) != 1 else ''} failed" if failed else "no task said why"
    dead = sum(report.outcome == _NO_REPORT for report in failed)
    without = f"{dead} without a report: the process died" if dead and len(failed) > 1 else ""
    why = ", ".join(part for part in (_CAUSES.get(cause, ""), count, without) if part)
    head = [f":red_circle: *{plain(run.dag_id, 250)}* failed: {why}", f"Run: {link(run.url, run.run_id)}"]
    steps = {mend if (step := _STEPS.get(report.outcome, MEND)) == MEND else step for report in failed} or {_LATE}
    return _compose(run, [*head, *_problem(problem)], failed, sorted(steps))


def deadline_text(run: Run, reports: Iterable[Report], *, due: str, state: str, problem: str = "") -> str:
    """What a person is told of a run that is not through in time; with what its tasks have reported as failed so far."""
    head = [
        f":hourglass: *{plain(run.dag_id, 250)}* is late: due at {plain(due or 'an unknown time', 60)}, now {plain(state, 40)}",
        f"Run: {link(run.url, run.run_id)}",
    ]
    return _compose(run, [*head, *_problem(problem)], failures(run, reports), [_LATE])


def _problem(problem: str) -> list[str]:
    return [f"The reports could not be read: {plain(problem, 400)}"] if problem else []


def _compose(run: Run, head: list[str], reports: Sequence[Report], steps: list[str]) -> str:
    """Whole lines only: what does not fit is left to the list of names."""
    room = MAX_CHARACTERS - sum(len(line) + 1 for line in [*head, *steps]) - (_MAX_NAMES + 40)
    shown: list[str] = []
    for report in reports[:MAX_SHOWN]:
        block = _block(run, report)
        if len(block) + 1 > room:
            break
        shown.append(block)
        room -= len(block) + 1
    names = [_name(report) for report in reports[len(shown) :]]
    more = [f"… and {len(names)} more: {plain(', '.join(names), _MAX_NAMES)}"] if names else []
    return "\n".join([*head, *shown, *more, *steps])


def _block(run: Run, report: Report) -> str:
    tried = f" (try {report.try_number})" if report.try_number > 1 else ""
    lines = [f"• *{plain(_name(report), 250)}*{tried}: {plain(report.title, _MAX_TITLE)}"]
    if report.reason:
        lines.append(f"> {plain(report.reason, _MAX_REASON)}")
    if report.facts:
        lines.append("  " + plain("; ".join(f"{name}: {value}" for name, value in report.facts.items()), _MAX_FACTS))
    links = [link(run.log_url(report), "log"), *(link(url, label) for label, url in report.links[:_MAX_LINKS])]
    return "\n".join([*lines, "  " + " · ".join(links)])


def _name(report: Report) -> str:
    return report.task_id + (f" [{report.map_index}]" if report.map_index >= 0 else "")


def plain(text: str, limit: int) -> str:
    """``text`` on one line, with Slack's three control characters escaped, at most ``limit`` characters long after that.

    Slack documentation, "Formatting text for app surfaces": only ``&``, ``<`` and ``>`` are escaped.
    """
    # No escape is shorter than its character, so that the first cut loses nothing that the second would keep.
    escaped = [_ESCAPES.get(char, char) for char in shorten(" ".join(text.split()), limit + 1)]
    if sum(map(len, escaped)) <= limit:
        return "".join(escaped)
    kept, room = "", limit - 1
    for piece in escaped:
        if len(piece) > room:
            break
        kept, room = kept + piece, room - len(piece)
    return kept + "…"


_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def link(url: str, label: str) -> str:
    """A link in Slack's notation, in which ``|`` and ``>`` end its parts."""
    target = url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")
    return f"<{target}|{plain(label.replace('|', '/'), 120)}>"

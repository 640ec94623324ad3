"""What a person sees of a load."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from searchops.core.bulk import Counts
from searchops.core.bulk.progress import Meter, Progress, TerminalBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(**values: Any) -> Progress:
    counts = Counts(
        accepted=50_000, indexed=49_000, superseded=600, rejected=300, handed_over=100, retried=50_000, refused=10_000
    )
    rates = {"seconds": 2.0, "documents_per_second": 25_000.0, "bytes_per_second": 12.34e6}
    return Progress(**{"counts": counts, **rates, "under_way": 3, "limit": 4.6, **values})


def test_a_line_says_how_far_it_is_how_fast_and_what_went_elsewhere() -> None:
    assert progress(expected=125_000).line() == (
        "50,000 documents of 125,000, 25,000/s, 12.3 MB/s, 3 of 5 requests under way, 429: 10%, superseded 600, rejected 300, "
        "handed over 100, 0:03 left"
    )


def test_a_line_leaves_out_what_there_is_none_of() -> None:
    line = progress(counts=Counts(accepted=1, indexed=1)).line()

    assert line == "1 documents, 25,000/s, 12.3 MB/s, 3 of 5 requests under way, 429: 0%"


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({"expected": None}, None),
        ({"expected": 100_000, "documents_per_second": 0.0}, None),
        ({"expected": 100_000}, 2.0),
        ({"expected": 10}, 0.0),
    ],
)
def test_the_time_that_is_left_is_told_only_where_it_can_be_known(values: dict[str, Any], left: float | None) -> None:
    assert progress(**values).seconds_left == left


def test_before_the_first_answer_no_share_is_refused() -> None:
    assert progress(counts=Counts()).refused_share == 0


def test_a_listener_is_called_every_so_often_and_at_the_end() -> None:
    heard: list[Progress] = []
    meter = Meter(heard.append, every_seconds=3600)
    meter.begin(Counts())
    for _ in range(5):
        meter.look(Counts(accepted=1), 1, 4)
    assert heard == []

    meter.look(Counts(accepted=2), 0, 4, last=True)
    assert [(each.counts.accepted, each.last) for each in heard] == [(2, True)]


def test_rates_are_those_of_this_process() -> None:
    heard: list[Progress] = []
    meter = Meter(heard.append, every_seconds=0)
    meter.begin(Counts(accepted=1_000_000, bytes=10**9))
    meter.look(Counts(accepted=1_000_010, bytes=10**9 + 500), 1, 4)

    (told,) = heard
    assert told.documents_per_second * told.seconds == pytest.approx(10)
    assert told.bytes_per_second * told.seconds == pytest.approx(500)


def test_what_a_listener_was_told_does_not_change_afterwards() -> None:
    heard: list[Progress] = []
    counts = Counts(accepted=1)
    meter = Meter(heard.append, every_seconds=0)
    meter.look(counts, 1, 4)
    counts.accepted = 2

    assert heard[0].counts.accepted == 1


def test_without_a_listener_nothing_happens() -> None:
    Meter(None, every_seconds=0).look(Counts(accepted=1), 1, 4, last=True)


def test_a_terminal_shows_one_line_that_is_drawn_over_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    bar = TerminalBar(terminal)

    bar(progress(expected=100_000))
    bar(progress(expected=50_000, last=True))

    first, second = re.findall(r"\r\x1b\[K([^\r]*)", terminal.getvalue())
    assert first.startswith("[############............] 50,000 documents of 100,000")
    assert second.startswith("[########################] ")
    assert (len(first), first.endswith("\n"), second.endswith("\n")) == (59, False, True)


def test_a_log_gets_whole_lines() -> None:
    log = io.StringIO()

    TerminalBar(log)(progress())
    TerminalBar(log)(progress(last=True))

    assert log.getvalue() == f"{progress().line()}\n" * 2

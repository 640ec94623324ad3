"""`python -m benchmarks.charts`: draw docs/images/waits.svg from the figures in build/bench/waits.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.waiting import ASSOCIATION_POLL_SECONDS, PACKAGE_POLL_SECONDS
from benchmarks.waits import (
    ASSOCIATION,
    FIXED,
    OURS,
    PACKAGE,
    RATIO,
    ROUND,
    SECONDS,
    overhead_name,
)
from local.cloud import ROOT

FIGURES, IMAGE = ROOT / "build" / "bench" / "waits.json", ROOT / "docs" / "images" / "waits.svg"

WIDTH, TOP, ROW, GROUP_HEAD, GROUP_GAP = 960, 84, 40, 26, 20
LEFT, RIGHT = 190, 850  # of the scale
STYLE = """
    .page { fill: #ffffff; stroke: #d0d7de; }
    .grid { stroke: #d8dee4; stroke-width: 1; }
    .zero { stroke: #57606a; stroke-width: 1.5; }
    .ours { fill: #0969da; }
    .fixed { fill: #bc4c00; }
    .range { opacity: 0.18; }
    .sample { opacity: 0.75; }
    .median { stroke-width: 3; stroke-linecap: round; }
    .median.ours { stroke: #0969da; }
    .median.fixed { stroke: #bc4c00; }
    text { font-family: -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; font-size: 13px; fill: #1f2328; }
    .title { font-weight: 600; font-size: 16px; }
    .group { font-weight: 600; }
    .figure { font-weight: 600; font-variant-numeric: tabular-nums; }
    .note { fill: #59636e; font-size: 12px; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #30363d; }
      .grid { stroke: #262c36; }
      .zero { stroke: #8b949e; }
      .ours { fill: #4493f8; }
      .fixed { fill: #f0883e; }
      .range { opacity: 0.25; }
      .median.ours { stroke: #4493f8; }
      .median.fixed { stroke: #f0883e; }
      text { fill: #e6edf3; }
      .note { fill: #9198a1; }
    }"""


@dataclass(frozen=True, slots=True)
class Row:
    """The samples of one way to wait for one thing."""

    label: str
    kind: str  # class in the style
    samples: Sequence[float]
    median: float


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    rows: Sequence[Row]


def groups(measures: Mapping[str, Mapping[str, Any]]) -> list[Group]:
    polls = {
        PACKAGE: f"poll every {PACKAGE_POLL_SECONDS:.0f} s",
        ASSOCIATION: f"poll every {ASSOCIATION_POLL_SECONDS:.0f} s",
        ROUND: f"polls of {PACKAGE_POLL_SECONDS:.0f} and {ASSOCIATION_POLL_SECONDS:.0f} s",
    }
    titles = {
        PACKAGE: f"A package: {SECONDS['copying']:.0f} s copying, {SECONDS['validating']:.0f} s validating",
        ASSOCIATION: f"An association: {SECONDS['associating']:.0f} s",
        ROUND: "Two dictionaries, the four waits together",
    }

    def row(what: str, name: str, label: str, kind: str) -> Row:
        measure = measures[overhead_name(what, name)]
        return Row(label, kind, measure["samples"], measure["median"])

    return [
        Group(title, [row(what, OURS, "searchops", "ours"), row(what, FIXED, polls[what], "fixed")])
        for what, title in titles.items()
    ]


def svg(content: Mapping[str, Any]) -> str:
    """The picture of a benchmark file's content."""
    measures = {measure["name"]: measure for measure in content["measures"]}
    found, ratio = groups(measures), measures[RATIO]
    scale = Scale(max(sample for group in found for row in group.rows for sample in row.samples))
    bottom = TOP + sum(GROUP_HEAD + ROW * len(group.rows) + GROUP_GAP for group in found) - GROUP_GAP
    height = bottom + 74
    rounds = len(measures[overhead_name(ROUND, OURS)]["samples"])
    words = (
        f"Seconds from the change of state until the waiting side knows: {rounds} rounds, medians. All waits of a round together: "
        + ", ".join(f"{row.label} {row.median:.1f} s" for row in found[-1].rows)
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        'aria-labelledby="title desc">',
        '<title id="title">How late a wait is</title>',
        f'<desc id="desc">{escape(words)}</desc>',
        f"<style>{STYLE}\n  </style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        text(24, 36, "How late a wait is", "title"),
        text(
            24,
            58,
            "Seconds from the change of state until the waiting side knows of it; a dot is a sample, the bar its median",
            "note",
        ),
        *axis(scale, bottom),
        *bodies(found, scale),
        text(24, height - 20, conclusion(ratio, rounds), "note"),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def conclusion(ratio: Mapping[str, Any], rounds: int) -> str:
    return (
        f"Both ways side by side on one simulator, {rounds} rounds; a round's ratio is {ratio['median']:.2f} "
        f"({min(ratio['samples']):.2f} to {max(ratio['samples']):.2f}), the goal {ratio['goal'].replace('<= ', 'at most ')}"
    )


class Scale:
    """From seconds to places on the picture."""

    def __init__(self, most: float) -> None:
        self.step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if most / step <= 10)
        self.most = self.step * (int(most / self.step) + 1)

    def __call__(self, seconds: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * seconds / self.most, 1)

    def ticks(self) -> range:
        return range(0, self.most + 1, self.step)


def axis(scale: Scale, bottom: int) -> Iterator[str]:
    for tick in scale.ticks():
        yield text(scale(tick), bottom + 18, f"{tick} s" if tick else "0", "note", "middle")


def bodies(found: Sequence[Group], scale: Scale) -> Iterator[str]:
    y = TOP
    for group in found:
        yield text(24, y + 14, group.title, "group")
        y += GROUP_HEAD
        end = y + ROW * len(group.rows)
        for tick in scale.ticks():
            yield f'<line class="{"grid" if tick else "zero"}" x1="{scale(tick)}" y1="{y}" x2="{scale(tick)}" y2="{end}"/>'
        for row in group.rows:
            yield from strip(row, scale, y + ROW / 2)
            y += ROW
        y += GROUP_GAP


def strip(row: Row, scale: Scale, y: float) -> Iterator[str]:
    """One row: its label, the range as a band, every sample, the median with its figure."""
    least, most = scale(min(row.samples)), scale(max(row.samples))
    yield text(LEFT - 14, y + 4.5, row.label, "", "end")
    yield f'<rect class="{row.kind} range" x="{scale(0)}" y="{y - 9}" width="{round(most - scale(0), 1)}" height="18" rx="4"/>'
    for number, sample in enumerate(row.samples):
        jitter = (number % 5 - 2) * 3  # samples that are alike would hide each other
        yield f'<circle class="{row.kind} sample" cx="{scale(sample)}" cy="{y + jitter}" r="3.2"><title>{sample:.2f} s</title></circle>'
    yield f'<line class="median {row.kind}" x1="{scale(row.median)}" y1="{y - 13}" x2="{scale(row.median)}" y2="{y + 13}"/>'
    yield text(max(most, least) + 10, y + 4.5, f"{row.median:.1f} s", "figure")


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def main(figures: Path = FIGURES, image: Path = IMAGE) -> int:
    if not figures.is_file():
        print(f"error: {figures} is missing: run `make bench NAME=waits` first", file=sys.stderr)
        return 1
    image.write_text(svg(json.loads(figures.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

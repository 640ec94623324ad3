"""`python -m benchmarks.replay.report`: write the figures of replays kept under build/bench into docs/, tables between their markers, a picture.

matplotlib, which draws, is no dependency of the project: `make figures` installs it beside .venv.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bulk.report import DOCS, FIGURES, figure, filled, row
from benchmarks.replay import sizes, touches
from benchmarks.replay.client import BARE, LOOP, OURS
from benchmarks.replay.touches import LATE, NEAR

IMAGE = DOCS / "images" / "replay.png"
PICTURE = "![Touches a second beside the loop, and the time and memory of 10,000 to 300,000 items](images/replay.png)\n"
NAMES = ("replay", "replay_pace", "replay_size")
Content = Mapping[str, Any]
_COLOURS = {OURS: "#0969da", LOOP: "#bc4c00", BARE: "#8b949e"}


def main(figures: Path = FIGURES, docs: Path = DOCS, image: Path = IMAGE) -> int:
    found = {name: json.loads(path.read_text(encoding="utf-8")) for name in NAMES if (path := figures / f"{name}.json").is_file()}
    if not found:
        print(f"error: {figures} holds no figures of replays: run `make bench NAME=replay` first", file=sys.stderr)
        return 1
    sections = {name: table(content) for name, content in found.items()}
    if {"replay", "replay_size"} <= set(found):
        draw(found, image)
        sections["replay_picture"] = PICTURE
    for page in sorted(docs.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        if (after := filled(before, sections)) != before:
            page.write_text(after, encoding="utf-8")
    return 0


def table(content: Content) -> str:
    """First what has a goal, then the rest, then where it was measured."""
    measures = sorted(content["measures"], key=lambda measure: measure["goal"] is None)
    head = ("| measure | median | least to most | goal | |", "|---|---:|---:|---|---|")
    at, versions = content["machine"], content["versions"]
    where = (
        f"{at['cores']} cores, {at['memory_gib']} GiB, {at['system']}; Python {versions['python']}, boto3 {versions['boto3']}. "
        "Client and DynamoDB Local share the cores."
    )
    return "\n".join([*head, *map(row, measures), "", where, ""])


def draw(found: Mapping[str, Content], image: Path) -> None:
    """Touches a second of both clients; seconds and memory by the number of items: medians, with every sample."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    picture, (rates, times, memory) = pyplot.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    _rates(rates, found["replay"])
    _by_count(times, found["replay_size"], sizes.seconds_name, "seconds, by items", line=True)
    _by_count(memory, found["replay_size"], sizes.memory_name, "MB over the start, by items", goal=60)
    image.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(image, dpi=150, metadata={"Software": None})
    pyplot.close(picture)


def _measure(content: Content, name: str) -> Content:
    return next(measure for measure in content["measures"] if measure["name"] == name)


def _rates(axis: Any, content: Content) -> None:
    rows = [(added, arm) for added in (NEAR, LATE) for arm in (OURS, LOOP, BARE)]
    for place, (added, arm) in enumerate(rows):
        measure, colour = _measure(content, touches.rate_name(arm, added)), _COLOURS[arm]
        axis.barh(place, measure["median"], color=colour, alpha=0.35, height=0.62)
        axis.scatter(measure["samples"], [place] * len(measure["samples"]), color=colour, s=10, zorder=3)
        axis.annotate(
            figure(measure["median"]), (max(measure["samples"]), place), xytext=(6, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(range(len(rows)), [f"{arm}{', 5 ms' if added else ''}" for added, arm in rows])
    axis.invert_yaxis()
    axis.margins(x=0.2)
    _finish(axis, "touches a second")


def _by_count(axis: Any, content: Content, name: Any, title: str, *, line: bool = False, goal: float | None = None) -> None:
    counts = [count for count in sizes.COUNTS if any(measure["name"] == name(count) for measure in content["measures"])]
    measures = [_measure(content, name(count)) for count in counts]
    medians = [measure["median"] for measure in measures]
    axis.plot(counts, medians, color=_COLOURS[OURS], alpha=0.5)
    for count, measure in zip(counts, measures, strict=True):
        axis.scatter([count] * len(measure["samples"]), measure["samples"], color=_COLOURS[OURS], s=14, zorder=3)
    if line:
        axis.plot([0, counts[-1]], [0, medians[-1]], color="#8b949e", linestyle=":")
    if goal is not None:
        axis.axhline(goal, color="#8b949e", linestyle=":")
    axis.set_xlim(0)
    axis.set_ylim(0)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f} k")
    _finish(axis, title)


def _finish(axis: Any, title: str) -> None:
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())

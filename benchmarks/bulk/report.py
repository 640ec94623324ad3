"""`python -m benchmarks.bulk.report`: write the figures kept under build/bench into docs/, tables between their markers and a picture.

matplotlib, which draws, is no dependency of the project: `make figures` installs it beside .venv.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bulk import ends, throughput
from benchmarks.bulk.callers import CALLERS
from benchmarks.bulk.client import OURS, READY_MADE
from benchmarks.bulk.ends import Outcome
from benchmarks.bulk.pressure import ARMS as PRESSURE_ARMS
from benchmarks.bulk.pressure import FOREIGN, seconds_name
from local.cloud import ROOT

FIGURES, DOCS = ROOT / "build" / "bench", ROOT / "docs"
IMAGE = DOCS / "images" / "bulk.png"
PICTURE = "![Documents a second, client CPU a document, and the time until all are searchable on a node that refuses writes](images/bulk.png)\n"
NAMES = ("bulk", "pressure", "writer", "ends")
Content = Mapping[str, Any]
_SAID = ("ratio", "share", "1/s", "documents", "passes", "ways")
"""Units that the name of a measure says already."""
_OURS, _OTHERS, _LIMIT = "#0969da", "#bc4c00", "#8b949e"


def main(figures: Path = FIGURES, docs: Path = DOCS, image: Path = IMAGE) -> int:
    found = {name: json.loads(path.read_text(encoding="utf-8")) for name in NAMES if (path := figures / f"{name}.json").is_file()}
    if not found:
        print(f"error: {figures} holds no figures: run `make bench NAME=bulk` first", file=sys.stderr)
        return 1
    sections = {name: table(content) for name, content in found.items() if name != "ends"}
    if ends.FIGURES.is_file():
        sections["ends"] = ends_table(json.loads(ends.FIGURES.read_text(encoding="utf-8")))
    if "bulk" in found:
        draw(found, image)
        sections["picture"] = PICTURE
    for page in sorted(docs.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        if (after := filled(before, sections)) != before:
            page.write_text(after, encoding="utf-8")
    return 0


def filled(page: str, sections: Mapping[str, str]) -> str:
    """Replace what stands between ``<!-- figures: NAME -->`` and ``<!-- /figures -->``."""
    for name, content in sections.items():
        between = re.compile(rf"(<!-- figures: {name} -->\n).*?(<!-- /figures -->)", re.DOTALL)
        page = between.sub(lambda found, content=content: f"{found[1]}{content}{found[2]}", page)  # type: ignore[misc]
    return page


def table(content: Content) -> str:
    """First what has a goal, then the rest, then where it was measured."""
    rows = ["| measure | median | least to most | goal | |", "|---|---:|---:|---|---|"]
    measures = sorted(content["measures"], key=lambda measure: measure["goal"] is None)
    rows += [row(measure) for measure in measures]
    return "\n".join([*rows, "", machine(content), ""])


def row(measure: Content) -> str:
    unit = "" if measure["unit"] in _SAID else f" {measure['unit']}"
    median, least, most = (figure(value) for value in (measure["median"], min(measure["samples"]), max(measure["samples"])))
    holds = {True: "yes", False: "**missed**", None: ""}[measure["holds"]]
    span = "" if len(measure["samples"]) == 1 else f"{least} to {most}"
    return f"| {measure['name']} | {median}{unit} | {span} | {measure['goal'] or ''} | {holds} |"


def figure(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def machine(content: Content) -> str:
    found, versions = content["machine"], content["versions"]
    return (
        f"{found['cores']} cores, {found['memory_gib']} GiB, {found['system']}; Python {versions['python']}, opensearch-py "
        f"{versions['opensearch-py']}. Client and node share the cores."
    )


def ends_table(rows: Sequence[Content]) -> str:
    lines = [f"| what goes wrong | {' | '.join(CALLERS)} |", "|---" * (len(CALLERS) + 1) + "|"]
    for entry in rows:
        outcomes = {caller: Outcome(**values) for caller, values in entry["outcomes"].items()}
        cells = [cell(outcomes[caller]) if caller in outcomes else "an id is wanted" for caller in CALLERS]
        lines.append(f"| {entry['way']} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def cell(outcome: Outcome) -> str:
    """What became of the documents, what is not known in bold."""
    if outcome.hangs:
        return f"**does not come back**; {outcome.indexed + outcome.unknown:,} in the index"
    told = {
        "indexed": outcome.indexed,
        "refused and named": outcome.refused,
        "handed over": outcome.kept,
    }
    untold = {
        "not indexed, not named": outcome.lost,
        "indexed, not named": outcome.unknown,
        "called failed though indexed": outcome.wrong,
        "indexed twice": outcome.twice,
    }
    parts = [f"{count:,} {words}" for words, count in told.items() if count]
    parts += [f"**{count:,} {words}**" for words, count in untold.items() if count]
    if outcome.raised:
        parts.append(f"`{outcome.raised.partition(' ')[0]}`")
    return "; ".join(parts)


def draw(found: Mapping[str, Content], image: Path) -> None:
    """Documents a second, CPU a document, and the seconds under pressure where they were measured: medians, with every sample."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = [
        ("documents a second", found["bulk"], {throughput.rate_name(arm): arm for arm in throughput.ARMS}, ""),
        ("client CPU a document, µs", found["bulk"], {throughput.cpu_name(arm): arm for arm in throughput.ARMS}, ""),
    ]
    if "pressure" in found:
        for load in FOREIGN:
            names = {seconds_name(arm, load): arm.replace(", ", ",\n") for arm in PRESSURE_ARMS}
            title = (
                f"node that refuses writes, beside {load.requests_per_second:.0f} requests/s: seconds until all are searchable"
            )
            panels.append((title, found["pressure"], names, " s"))
    picture, axes = pyplot.subplots(len(panels), 1, figsize=(9, 2.1 * len(panels) + 0.4), layout="constrained")
    for axis, (title, content, names, unit) in zip(axes, panels, strict=True):
        _bars(axis, title, {label: _samples(content, name) for name, label in names.items()}, unit)
    image.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(image, dpi=150, metadata={"Software": None})
    pyplot.close(picture)


def _samples(content: Content, name: str) -> tuple[Sequence[float], float]:
    measure = next(measure for measure in content["measures"] if measure["name"] == name)
    return measure["samples"], measure["median"]


def _bars(axis: Any, title: str, rows: Mapping[str, tuple[Sequence[float], float]], unit: str) -> None:
    for place, (label, (samples, median)) in enumerate(rows.items()):
        colour = _OURS if label == OURS else _LIMIT if label == READY_MADE else _OTHERS
        axis.barh(place, median, color=colour, alpha=0.35, height=0.62)
        axis.scatter(samples, [place] * len(samples), color=colour, s=12, zorder=3)
        axis.annotate(
            f"{figure(median)}{unit}", (max(*samples, median), place), xytext=(8, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(range(len(rows)), list(rows))
    axis.invert_yaxis()
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.set_xlim(0, max(max(samples) for samples, _ in rows.values()) * 1.14)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks [NAME]`: measure, show the figures, keep them. A goal that is missed is said and is no failure."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import idempotency, waits
from benchmarks.bulk import ends, pressure, throughput, writer
from benchmarks.replay import pacing, sizes, touches
from local.cloud import ROOT
from local.results import Measure, write_benchmark

DIRECTORY = ROOT / "build" / "bench"
BENCHMARKS: Mapping[str, Callable[[Path], Sequence[Measure]]] = {
    "waits": waits.measure,
    "idempotency": idempotency.measure,
    "bulk": throughput.measure,
    "pressure": pressure.measure,
    "writer": writer.measure,
    "ends": ends.measure,
    "replay": touches.measure,
    "replay_pace": pacing.measure,
    "replay_size": sizes.measure,
}
"""By name: takes a folder of its own for what it needs while it runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark or all; 1 when one could not be run to its end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), help="only this one")
    chosen = parser.parse_args(arguments).name
    console = Console()
    return max(run(console, name) for name in ([chosen] if chosen else BENCHMARKS))


def run(console: Console, name: str) -> int:
    began = time.monotonic()
    path = DIRECTORY / f"{name}.json"
    path.unlink(missing_ok=True)  # figures of an earlier run must not pass for those of this one
    try:
        measures = BENCHMARKS[name](DIRECTORY / name)
    except Exception:
        console.print(f"[red]The benchmark {name} could not be run:")
        console.print(traceback.format_exc(), markup=False, highlight=False)
        return 1
    write_benchmark(path, name, measures)
    console.print(table(name, measures))
    console.print(f"{verdict(measures)}; {time.monotonic() - began:.0f} s; kept in {path.relative_to(ROOT)}", highlight=False)
    return 0


def table(name: str, measures: Sequence[Measure]) -> Table:
    """Show the figures so that they can be read in 80 columns, as a log has them."""
    shown = Table(title=f"Benchmark {name}", title_justify="left")
    shown.add_column("measure", min_width=24)
    for column in ("median", "least to most", "n"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("goal", no_wrap=True)
    for measure in measures:
        median, least, most = (f"{figure:.3g}" for figure in (measure.median, min(measure.samples), max(measure.samples)))
        goal = f"{HOLDS[measure.holds]}{measure.goal}" if measure.goal else ""
        shown.add_row(f"{measure.name} ({measure.unit})", median, f"{least} to {most}", str(len(measure.samples)), goal)
    return shown


HOLDS = {True: "[green]met ", False: "[red]MISSED ", None: ""}


def verdict(measures: Sequence[Measure]) -> str:
    """Say which goals were missed."""
    goals = [measure for measure in measures if measure.goal]
    missed = [measure.name for measure in goals if not measure.holds]
    return f"{len(missed)} of {len(goals)} goals missed: {'; '.join(missed)}" if missed else f"all {len(goals)} goals met"


if __name__ == "__main__":
    sys.exit(main())

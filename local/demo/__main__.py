"""`python -m local.demo [--acts JOB]`: play the acts on a cloud of their own, show and keep what they measured."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.cloud import ROOT, CloudError
from local.demo.acts import ACTS
from local.demo.checks import NotTrue
from local.demo.jmdict import ATTRIBUTION
from local.demo.world import World, demo_cloud
from local.interrupts import EXIT_INTERRUPTED, stop_at_the_first_interrupt
from local.results import Act, write_demo

BUILD = ROOT / "build"
KEY_COLUMNS = 24
"""Width of the facts' names: leaves a run's id on one line of a terminal of 80 columns."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--acts", choices=sorted(ACTS), help="the acts of one job only")
    parser.add_argument("--directory", type=Path, default=BUILD, help="where demo.json and what the cloud writes go")
    arguments = parser.parse_args()
    stop_at_the_first_interrupt()
    console = Console()
    try:
        return perform(console, arguments.directory, [arguments.acts] if arguments.acts else list(ACTS))
    except CloudError as error:
        console.print(Text(str(error), style="red"))
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def perform(console: Console, directory: Path, jobs: Sequence[str]) -> int:
    """Play all acts and keep what they measured; what does not get that far leaves no demo.json, not even an older one."""
    result = directory / "demo.json"
    result.unlink(missing_ok=True)
    began = time.monotonic()
    console.print("Starting OpenSearch, the AWS stand-ins and Airflow ...")
    with demo_cloud(directory / "demo") as cloud:
        world = World(cloud)
        console.print(f"Up after {time.monotonic() - began:.0f} s. Loading documents ...")
        world.furnish()
        played = [play(console, name, act, world) for job in jobs for name, act in ACTS[job].items()]
    write_demo(result, "searchops", played)
    passed = sum(act.passed for act in played)
    seconds = time.monotonic() - began
    console.print(f"{passed} of {len(played)} acts came true in {seconds:.0f} s; kept in {os.path.relpath(result)}")
    console.print(ATTRIBUTION, style="dim", highlight=False)
    return 0 if passed == len(played) else 1


def play(console: Console, name: str, act: Any, world: World) -> Act:
    began = time.monotonic()
    try:
        facts, passed = act(world), True
    except NotTrue as error:
        facts, passed = {"not true": str(error)}, False
    except Exception:
        facts, passed = {"not true": traceback.format_exc()}, False
    result = Act(name, passed, round(time.monotonic() - began, 1), facts)
    show(console, result)
    return result


def show(console: Console, act: Act) -> None:
    colour, word = ("green", "came true") if act.passed else ("red", "DID NOT COME TRUE")
    console.print(Text(f"Act {act.name}: {word} ({act.seconds:.0f} s)", style=colour))
    table = Table(show_header=False)
    table.add_column(style="bold", max_width=KEY_COLUMNS)
    table.add_column(overflow="fold")
    for name, value in act.facts.items():
        table.add_row(Text(name), Text(text(value)))
    console.print(table)


def text(value: Any) -> str:
    """A fact as it is shown: a Slack link by its label, as Slack shows it, and a sha256 by its beginning."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(map(text, value))
    without_addresses = re.sub(r"<https?://[^|>\s]*\|([^>]*)>", r"\1", str(value))
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", without_addresses)


if __name__ == "__main__":
    sys.exit(main())

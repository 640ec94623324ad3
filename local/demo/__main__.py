"""`python -m local.demo [--acts JOB]`: play the acts on a cloud of their own, show and keep what they measured."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from local.cloud import ROOT, CloudError
from local.demo.acts import ACTS
from local.demo.checks import NotTrue
from local.demo.jmdict import ATTRIBUTION
from local.demo.world import World, demo_cloud
from local.results import Act, write_demo

BUILD = ROOT / "build"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--acts", choices=sorted(ACTS), help="the acts of one job only")
    jobs = [chosen] if (chosen := parser.parse_args().acts) else list(ACTS)
    console = Console()
    played: list[Act] = []
    began = time.monotonic()
    try:
        console.print("Starting OpenSearch, the AWS stand-ins and Airflow ...")
        with demo_cloud(BUILD / "demo") as cloud:
            world = World(cloud)
            console.print(f"Up after {time.monotonic() - began:.0f} s. Loading documents ...")
            world.furnish()
            for job in jobs:
                played += [play(console, name, act, world) for name, act in ACTS[job].items()]
    except CloudError as error:
        console.print(f"[red]{error}", highlight=False)
        return 1
    finally:
        write_demo(BUILD / "demo.json", "searchops", played)
    passed = sum(act.passed for act in played)
    console.print(f"{passed} of {len(played)} acts came true in {time.monotonic() - began:.0f} s; kept in build/demo.json")
    console.print(ATTRIBUTION, style="dim", highlight=False)
    return 0 if played and passed == len(played) else 1


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
    table = Table(
        title=f"Act {act.name}: {word} ({act.seconds:.0f} s)", title_style=colour, title_justify="left", show_header=False
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in act.facts.items():
        table.add_row(name, text(value))
    console.print(table)


def text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(map(text, value))
    return str(value).replace("[", "\\[")


if __name__ == "__main__":
    sys.exit(main())

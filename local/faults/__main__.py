"""``python -m local.faults [--name replay] [--seeds 1-200]``: break a job once a seed, keep what happened in build/faults_<name>.json."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from local.cloud import ROOT
from local.faults.bulk import BULK
from local.faults.campaign import WORKERS, Campaign, Outcome
from local.faults.replay.campaign import REPLAY
from local.results import write_benchmark

CAMPAIGNS = {campaign.name: campaign for campaign in (BULK, REPLAY)}
BUILD = ROOT / "build"
DIRECTORY = BUILD / "faults"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every run was right."""
    parser = argparse.ArgumentParser(prog="python -m local.faults", description=__doc__)
    parser.add_argument("--name", choices=CAMPAIGNS, help="one of them; without it all")
    defaults = ", ".join(f"{campaign.name} {campaign.seeds}" for campaign in CAMPAIGNS.values())
    parser.add_argument("--seeds", type=numbers, help=f"e.g. 17 or 1-50,99 (default: {defaults})")
    parser.add_argument("--workers", type=int, default=WORKERS, help="runs side by side")
    options = parser.parse_args(arguments)
    chosen = [CAMPAIGNS[options.name]] if options.name else list(CAMPAIGNS.values())
    for campaign in chosen:  # figures of earlier runs must not pass for those of these
        (BUILD / f"faults_{campaign.name}.json").unlink(missing_ok=True)
    console = Console(highlight=False)
    return max([run(console, campaign, options.seeds or numbers(campaign.seeds), options.workers) for campaign in chosen])


def run(console: Console, campaign: Campaign, seeds: Sequence[int], workers: int) -> int:
    result = BUILD / f"faults_{campaign.name}.json"
    began = time.monotonic()
    outcomes = campaign.run(DIRECTORY / campaign.name, seeds, lambda outcome: tell(console, campaign, outcome), workers)
    seconds = time.monotonic() - began
    write_benchmark(result, f"faults_{campaign.name}", campaign.measures(outcomes, seconds))
    faults = sum(outcome.happened.total() for outcome in outcomes)
    kills = sum(outcome.kills for outcome in outcomes)
    console.print(
        f"{campaign.job}: {len(outcomes)} runs, {faults} faults, {kills} kills in {seconds:.0f} s; kept in {result.relative_to(ROOT)}"
    )
    return close(console, campaign, outcomes)


def numbers(text: str) -> list[int]:
    """``1-3,7`` is 1, 2, 3 and 7."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise ValueError(f"expected numbers such as 1-50,99, found {text!r}")
    return found


def tell(console: Console, campaign: Campaign, outcome: Outcome) -> None:
    console.print(f"{campaign.name}, seed {outcome.seed} {campaign.described(outcome)}", markup=False, soft_wrap=True)
    for wrong in outcome.wrong:
        console.print(f"  WRONG: {wrong}", style="red", markup=False, soft_wrap=True)


def close(console: Console, campaign: Campaign, outcomes: Sequence[Outcome]) -> int:
    wrong = sorted(outcome.seed for outcome in outcomes if outcome.wrong)
    if wrong:
        again = f"make faults NAME={campaign.name} SEEDS={','.join(map(str, wrong))}"
        folders = (DIRECTORY / campaign.name).relative_to(ROOT)
        console.print(f"{len(wrong)} went wrong: {again} tries them again; what happened is in {folders}/seed-*", style="red")
    else:
        console.print(campaign.right, style="green")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

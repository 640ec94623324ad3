"""``python -m local.faults [--seeds 1-200]``: break bulk indexing once a seed, keep what happened in build/faults_bulk.json."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from local.cloud import ROOT
from local.faults.campaign import WORKERS, campaign, measures
from local.faults.run import Outcome
from local.results import write_benchmark

SEEDS = "1-200"
DIRECTORY = ROOT / "build" / "faults"
RESULT = ROOT / "build" / "faults_bulk.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every run was right."""
    parser = argparse.ArgumentParser(prog="python -m local.faults", description=__doc__)
    parser.add_argument("--seeds", type=numbers, default=numbers(SEEDS), help=f"e.g. 17 or 1-50,99 (default {SEEDS})")
    parser.add_argument("--workers", type=int, default=WORKERS, help="runs side by side")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    RESULT.unlink(missing_ok=True)  # figures of earlier runs must not pass for those of these
    began = time.monotonic()
    outcomes = campaign(DIRECTORY, options.seeds, lambda outcome: tell(console, outcome), options.workers)
    seconds = time.monotonic() - began
    write_benchmark(RESULT, "faults_bulk", measures(outcomes, seconds))
    return close(console, outcomes, seconds)


def numbers(text: str) -> list[int]:
    """``1-3,7`` is 1, 2, 3 and 7."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise ValueError(f"expected numbers such as 1-50,99, found {text!r}")
    return found


def tell(console: Console, outcome: Outcome) -> None:
    ends = ", ".join(f"{count} {end.replace('_', ' ')}" for end, count in outcome.ends.items() if end != "accepted")
    facts = [
        f"{outcome.happened.total()} faults",
        f"{outcome.kills} kills",
        f"{outcome.reopened.total()} times closed and opened",
        f"{outcome.lives} lives",
        f"{outcome.passes} passes",
        f"{outcome.redriven} sent again",
    ]
    console.print(
        f"seed {outcome.seed} ({outcome.scheme}), {outcome.seconds:.1f} s: {ends}; {', '.join(facts)}",
        markup=False,
        soft_wrap=True,
    )
    for wrong in outcome.wrong:
        console.print(f"  WRONG: {wrong}", style="red", markup=False, soft_wrap=True)


def close(console: Console, outcomes: Sequence[Outcome], seconds: float) -> int:
    wrong = sorted(outcome.seed for outcome in outcomes if outcome.wrong)
    faults = sum(outcome.happened.total() for outcome in outcomes)
    console.print(
        f"{len(outcomes)} runs, {faults} faults, {sum(outcome.kills for outcome in outcomes)} kills in {seconds:.0f} s; "
        f"kept in {RESULT.relative_to(ROOT)}"
    )
    if wrong:
        named = ",".join(map(str, wrong))
        console.print(
            f"{len(wrong)} went wrong: make faults SEEDS={named} tries them again; what was sent is in {DIRECTORY.relative_to(ROOT)}/seed-*",
            style="red",
        )
    else:
        console.print("Every document has its one end, and the index holds what it has to.", style="green")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

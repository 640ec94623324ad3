"""The campaign that breaks bulk indexing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext

from local.faults.campaign import Campaign, Try, sums, total
from local.faults.run import PRELOADED, Outcome, Run
from local.faults.scenario import Scenario
from local.faults.world import World, install
from local.results import Measure


def prepare(endpoints: Mapping[str, str], aliases: Sequence[str]) -> None:
    install(endpoints["opensearch"], aliases)


@contextmanager
def world(endpoints: Mapping[str, str], alias: str, processes: ForkServerContext) -> Iterator[Try]:
    with World(endpoints["opensearch"], endpoints["aws"], alias) as world:
        yield lambda seed, folder: Run(world, processes, folder, Scenario.draw(seed)).run()


def described(outcome: Outcome) -> str:
    ends = ", ".join(f"{count} {end.replace('_', ' ')}" for end, count in outcome.ends.items() if end != "accepted")
    facts = [
        f"{outcome.happened.total()} faults",
        f"{outcome.kills} kills",
        f"{outcome.reopened.total()} times closed and opened",
        f"{outcome.lives} lives",
        f"{outcome.passes} passes",
        f"{outcome.redriven} sent again",
    ]
    return f"({outcome.scheme}), {outcome.seconds:.1f} s: {ends}; {', '.join(facts)}"


def measures(outcomes: Sequence[Outcome], seconds: float) -> list[Measure]:
    """What the runs came to, in the format of the benchmarks: a sum has one sample."""
    killed = [outcome for outcome in outcomes if outcome.kills]
    reopened = [outcome for outcome in outcomes if outcome.reopened]
    return [
        Measure("seeds", "seed", sorted(outcome.seed for outcome in outcomes)),
        Measure("runs in which something is wrong", "runs", [sum(bool(outcome.wrong) for outcome in outcomes)], "== 0"),
        Measure("runs", "runs", [len(outcomes)]),
        Measure("runs killed by SIGKILL", "runs", [len(killed)]),
        Measure("runs whose index was closed and opened", "runs", [len(reopened)]),
        Measure("kills", "kills", [sum(outcome.kills for outcome in outcomes)]),
        Measure("lives of a load", "lives", [outcome.lives for outcome in outcomes]),
        Measure("settlings between the lives of a load", "times", [sum(outcome.between for outcome in outcomes)]),
        Measure("passes of the settling", "passes", [outcome.passes for outcome in outcomes]),
        Measure("documents sent again by redrives", "documents", [sum(outcome.redriven for outcome in outcomes)]),
        Measure("time of a run", "s", [round(outcome.seconds, 2) for outcome in outcomes]),
        Measure("time of all", "s", [round(seconds, 1)]),
        *sums("runs of an index of scheme", "runs", Counter(outcome.scheme for outcome in outcomes)),
        *sums("closed and opened", "times", total(outcome.reopened for outcome in outcomes)),
        *sums("ended to be begun again", "times", total(outcome.transient for outcome in outcomes)),
        *sums("documents", "documents", total(Counter(outcome.ends) for outcome in outcomes)),
        *sums("fault", "times", total(outcome.happened for outcome in outcomes)),
    ]


BULK = Campaign(
    name="bulk",
    job="bulk indexing",
    seeds="1-200",
    services=("opensearch", "aws"),
    preloaded=(*PRELOADED, __name__),
    prepare=prepare,
    world=world,
    measures=measures,
    described=described,
    right="Every document has its one end, and the index holds what it has to.",
)

"""The campaign that breaks replays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext

from local.faults.campaign import Campaign, Try, sums, total
from local.faults.replay.run import PRELOADED, Outcome, Run
from local.faults.replay.scenario import Scenario
from local.faults.replay.world import World
from local.results import Measure

_SPEED = 60.0
"""Of the stream poller: a batch that failed comes again after 17 ms to 0.5 s."""
_SEEDS_A_CLOUD = 10
"""DynamoDB Local keeps the stream records of deleted tables and looks through all of them: the thirtieth run took ten times the first."""


@contextmanager
def world(endpoints: Mapping[str, str], alias: str, processes: ForkServerContext) -> Iterator[Try]:
    with World(endpoints, alias) as world:
        yield lambda seed, folder: Run(world, processes, folder, Scenario.draw(seed)).run()


def described(outcome: Outcome) -> str:
    ends = ", ".join(f"{count} {end.replace('_', ' ')}" for end, count in outcome.ends.items() if count)
    facts = [
        f"{outcome.happened.total()} faults",
        f"{outcome.kills} kills",
        f"{outcome.replays} replays",
        f"{outcome.resumed} of them resumed",
        f"{outcome.lives} lives",
        f"{outcome.refused} of them refused",
    ]
    return f"({outcome.scheme}), {outcome.seconds:.1f} s: {ends}; {', '.join(facts)}"


def measures(outcomes: Sequence[Outcome], seconds: float) -> list[Measure]:
    """What the runs came to, in the format of the benchmarks: a sum has one sample."""
    return [
        Measure("seeds", "seed", sorted(outcome.seed for outcome in outcomes)),
        Measure("runs in which something is wrong", "runs", [sum(bool(outcome.wrong) for outcome in outcomes)], "== 0"),
        Measure("runs", "runs", [len(outcomes)]),
        Measure("runs killed by SIGKILL", "runs", [sum(bool(outcome.kills) for outcome in outcomes)]),
        Measure("runs with two replays of one day at once", "runs", [sum(bool(outcome.together) for outcome in outcomes)]),
        Measure("kills", "kills", [sum(outcome.kills for outcome in outcomes)]),
        Measure("replays", "replays", [sum(outcome.replays for outcome in outcomes)]),
        Measure("replays resumed by another process", "replays", [sum(outcome.resumed for outcome in outcomes)]),
        Measure("tries refused while another touched the table", "tries", [sum(outcome.refused for outcome in outcomes)]),
        Measure("lives of the tasks of a run", "lives", [outcome.lives for outcome in outcomes]),
        Measure("time of the replays of a run", "s", [round(outcome.replay_seconds, 2) for outcome in outcomes]),
        Measure("time of a run", "s", [round(outcome.seconds, 2) for outcome in outcomes]),
        Measure("time of all", "s", [round(seconds, 1)]),
        *sums("runs of an index of scheme", "runs", Counter(outcome.scheme for outcome in outcomes)),
        *sums("ended to be begun again", "times", total(outcome.transient for outcome in outcomes)),
        *sums("items and records", "times", total(Counter(outcome.ends) for outcome in outcomes)),
        *sums("fault", "times", total(outcome.happened for outcome in outcomes)),
    ]


REPLAY = Campaign(
    name="replay",
    job="replays",
    seeds="1-100",
    services=("opensearch", "aws", "dynamodb", "functions", "streams"),
    preloaded=(*PRELOADED, __name__),
    world=world,
    measures=measures,
    described=described,
    right="Every item that stayed has its one record a replay, nothing of the application is lost, and the index is as the table.",
    speed=_SPEED,
    seeds_a_cloud=_SEEDS_A_CLOUD,
)

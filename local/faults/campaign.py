"""Many runs, two side by side, and what they come to."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from local.cloud import Cloud
from local.faults.run import PRELOADED, Outcome, Run
from local.faults.scenario import Scenario
from local.faults.world import World, install
from local.results import Measure

WORKERS = 2
"""A run waits for other processes half of its time: two use two cores."""


def processes(*modules: str) -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *modules])
    return context


def campaign(directory: Path, seeds: Sequence[int], told: Callable[[Outcome], None], workers: int = WORKERS) -> list[Outcome]:
    """Run every seed; the folder of one that goes wrong is kept in the directory.

    :param told: called after each run
    :raises RuntimeError: a worker has ended
    """
    shutil.rmtree(directory, ignore_errors=True)
    aliases = [f"faults-{number}" for number in range(min(workers, len(seeds)))]
    with Cloud(directory / "cloud", services=("opensearch", "aws")) as cloud:
        node, s3 = cloud.endpoints["opensearch"], cloud.endpoints["aws"]
        install(node, aliases)
        with _workers(directory, node, s3, aliases) as connections:
            return list(_outcomes(connections, list(seeds), told))


def _outcomes(connections: Sequence[Connection], seeds: list[int], told: Callable[[Outcome], None]) -> Iterator[Outcome]:
    busy = list(connections)
    for connection in connections:
        connection.send(seeds.pop(0))
    while busy:
        for connection in [one for one in busy if one in wait(busy)]:
            try:
                outcome: Outcome = connection.recv()
            except EOFError as error:
                raise RuntimeError("a worker has ended: see its log in build/faults") from error
            told(outcome)
            yield outcome
            if seeds:
                connection.send(seeds.pop(0))
            else:
                busy.remove(connection)


@contextmanager
def _workers(directory: Path, node: str, s3: str, aliases: Sequence[str]) -> Iterator[list[Connection]]:
    context = processes(__name__)
    started: list[Any] = []
    connections: list[Connection] = []
    try:
        for alias in aliases:
            ours, theirs = Pipe()
            process = context.Process(target=_work, args=(theirs, directory, node, s3, alias), name=alias)
            process.start()
            theirs.close()
            started.append(process)
            connections.append(ours)
        yield connections
    finally:
        for connection in connections:
            connection.close()
        for process in started:
            process.join()


def _work(seeds: Connection, directory: Path, node: str, s3: str, alias: str) -> None:
    """Main of a worker: runs seeds until there are no more."""
    log = (directory / f"{alias}.log").open("ab")
    os.dup2(log.fileno(), sys.stderr.fileno())  # a line for each request
    with World(node, s3, alias) as world:
        while True:
            try:
                seed = seeds.recv()
            except EOFError:
                return
            folder = directory / f"seed-{seed}"
            outcome = Run(world, processes(__name__), folder, Scenario.draw(seed)).run()
            if not outcome.wrong:
                shutil.rmtree(folder)
            seeds.send(outcome)


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
        *_sums("runs of an index of scheme", "runs", Counter(outcome.scheme for outcome in outcomes)),
        *_sums("closed and opened", "times", _total(outcome.reopened for outcome in outcomes)),
        *_sums("ended to be begun again", "times", _total(outcome.transient for outcome in outcomes)),
        *_sums("documents", "documents", _total(Counter(outcome.ends) for outcome in outcomes)),
        *_sums("fault", "times", _total(outcome.happened for outcome in outcomes)),
    ]


def _total(counters: Iterator[Counter[str]]) -> Counter[str]:
    return sum(counters, Counter())


def _sums(name: str, unit: str, counts: Counter[str]) -> list[Measure]:
    return [Measure(f"{name}: {key}", unit, [count]) for key, count in sorted(counts.items())]

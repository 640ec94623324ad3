"""Many runs, two side by side."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Protocol

from local.cloud import Cloud
from local.results import Measure

WORKERS = 2
"""A run waits for other processes half of its time: two use two cores."""


class Outcome(Protocol):
    """What a run came to; it is right when nothing is ``wrong``."""

    seed: int
    wrong: list[str]
    happened: Counter[str]
    kills: int
    seconds: float


Try = Callable[[int, Path], Outcome]
"""Runs a seed, in a folder of its own."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is broken, and how.

    :param job: what it is, as a sentence has it
    :param seeds: that are run where none are named
    :param services: of the local cloud, and its ``speed``
    :param preloaded: modules that the processes of a run find imported
    :param prepare: makes what the runs of all aliases share, from the endpoints
    :param seeds_a_cloud: after so many the cloud is left for a fresh one; None: one does for all
    :param world: what the runs of an alias are done in, from endpoints, alias and the context of their processes
    :param described: a run in a line; ``right``: what is true when none is wrong
    """

    name: str
    job: str
    seeds: str
    services: tuple[str, ...]
    preloaded: tuple[str, ...]
    world: Callable[[Mapping[str, str], str, ForkServerContext], AbstractContextManager[Try]]
    measures: Callable[[Sequence[Any], float], list[Measure]]
    described: Callable[[Any], str]
    right: str
    prepare: Callable[[Mapping[str, str], Sequence[str]], None] | None = None
    speed: float | None = None
    seeds_a_cloud: int | None = None

    def run(
        self, directory: Path, seeds: Sequence[int], told: Callable[[Outcome], None], workers: int = WORKERS
    ) -> list[Outcome]:
        """Run every seed; the folder of one that goes wrong is kept in the directory.

        :param told: called after each run
        :raises RuntimeError: a worker has ended
        """
        shutil.rmtree(directory, ignore_errors=True)
        size = self.seeds_a_cloud or len(seeds)
        clouds = [seeds[first : first + size] for first in range(0, len(seeds), size)]
        return [outcome for some in clouds for outcome in self._run(directory, some, told, workers)]

    def _run(self, directory: Path, seeds: Sequence[int], told: Callable[[Outcome], None], workers: int) -> list[Outcome]:
        aliases = [f"faults-{number}" for number in range(min(workers, len(seeds)))]
        with Cloud(directory / "cloud", services=self.services, speed=self.speed) as cloud:
            endpoints = dict(cloud.endpoints)
            if self.prepare is not None:
                self.prepare(endpoints, aliases)
            with self._workers(directory, endpoints, aliases) as connections:
                return list(_outcomes(connections, list(seeds), told))

    def processes(self) -> ForkServerContext:
        context = multiprocessing.get_context("forkserver")
        # With the main module, which a new process would import anew otherwise: with all campaigns.
        context.set_forkserver_preload(["__main__", *self.preloaded, __name__])
        return context

    @contextmanager
    def _workers(self, directory: Path, endpoints: Mapping[str, str], aliases: Sequence[str]) -> Iterator[list[Connection]]:
        context = self.processes()
        started: list[Any] = []
        connections: list[Connection] = []
        try:
            for alias in aliases:
                ours, theirs = Pipe()
                process = context.Process(target=_work, args=(self, theirs, directory, endpoints, alias), name=alias)
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


def _work(campaign: Campaign, seeds: Connection, directory: Path, endpoints: Mapping[str, str], alias: str) -> None:
    """Main of a worker: runs seeds until there are no more."""
    log = (directory / f"{alias}.log").open("ab")
    os.dup2(log.fileno(), sys.stderr.fileno())  # a line for each request
    with campaign.world(endpoints, alias, campaign.processes()) as run:
        while True:
            try:
                seed = seeds.recv()
            except EOFError:
                return
            folder = directory / f"seed-{seed}"
            outcome = run(seed, folder)
            if not outcome.wrong:
                shutil.rmtree(folder)
            seeds.send(outcome)


def total(counters: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counters, Counter())


def sums(name: str, unit: str, counts: Counter[str]) -> list[Measure]:
    """A figure for each key; a sum has one sample."""
    return [Measure(f"{name}: {key}", unit, [count]) for key, count in sorted(counts.items())]

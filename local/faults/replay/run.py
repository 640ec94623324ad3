"""One run: replay group after group under faults while the application writes, let all come to rest, and ask the referee."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from local.faults.referee import Verdict
from local.faults.replay import referee, worker
from local.faults.replay.place import Place
from local.faults.replay.scenario import Scenario
from local.faults.replay.worker import AGAIN, Order, Worker
from local.faults.replay.world import World
from local.faults.run import RunFailed

PRELOADED = ("local.faults.replay.worker", "local.faults.replay.referee")
"""Modules that the processes of a run find imported, when they are forked from one that has imported them."""
CALM_LIFE = 12
"""The life of a task with which the faults end: the rest has to come to its end without."""
MOST_LIVES = 40


@dataclass(slots=True)
class Outcome:
    """What a run came to; it is right when nothing is ``wrong``.

    :param happened: how often each kind of fault struck
    :param lives: of all tasks; ``refused``: how many of them were told that another has the table
    :param resumed: replays that were ended by another process than the one that began them
    :param transient: how often a process ended that is then begun again, by its error
    """

    seed: int
    scheme: str
    wrong: list[str] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    kills: int = 0
    refused: int = 0
    replays: int = 0
    resumed: int = 0
    together: int = 0
    transient: Counter[str] = field(default_factory=Counter)
    replay_seconds: float = 0.0
    seconds: float = 0.0


class Run:
    """
    :param processes: a context whose processes find `PRELOADED` imported
    :param folder: for the journal and the application's log
    :param kind: the worker that is judged
    """

    def __init__(
        self, world: World, processes: ForkServerContext, folder: Path, scenario: Scenario, kind: type[Worker] = Worker
    ) -> None:
        self._world, self._processes, self._folder = world, processes, folder
        self._scenario, self._kind = scenario, kind
        self._outcome = Outcome(scenario.seed, scenario.scheme.value)
        self._outcome.together = sum(len(set(group)) < len(group) for group in scenario.groups)
        self._kills = list(scenario.kills)
        self._journal, self._log = folder / "journal.ndjson", folder / "writes.ndjson"
        self._lock = threading.Lock()

    def run(self) -> Outcome:
        began = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._journal.write_bytes(b"")
        place = self._world.begin(self._scenario, f"faults-{self._scenario.seed}-{time.time_ns()}", self._log)
        try:
            self._replay(place)
            self._outcome.replay_seconds = time.monotonic() - began
            self._calm()
            self._world.stop_writing()
            self._world.come_to_rest(place, self._scenario)
            self._outcome.happened.update(self._world.delivered(place))
            verdict = self._judge(place)
            self._outcome.wrong += verdict.wrong
            self._outcome.ends = verdict.ends
        except (RunFailed, TimeoutError) as error:
            self._outcome.wrong.append(str(error))
        finally:
            self._world.end(place)
        self._outcome.seconds = time.monotonic() - began
        if self._outcome.wrong:
            self._keep()
        return self._outcome

    def _replay(self, place: Place) -> None:
        number = 0
        for group in self._scenario.groups:
            numbers = range(number, number + len(group))
            number += len(group)
            with ThreadPoolExecutor(len(group)) as pool:
                for _ in pool.map(lambda task: self._to_its_end(place, task), numbers):
                    pass  # raises what a task has failed with

    def _to_its_end(self, place: Place, number: int) -> None:
        """Begin a task again until it is done, as a retry does."""
        for life in range(MOST_LIVES):
            if life == CALM_LIFE:
                self._calm()
            with self._lock:
                kill = self._kills.pop(0) if self._kills else None
                self._outcome.lives += 1
            if self._live(Order(self._scenario, place, number, self._journal, kill)):
                return
        raise RunFailed(f"task {number} has not come to its end in {MOST_LIVES} lives")

    def _live(self, order: Order) -> bool:
        """Let a process live; True when it has come to its end, False when it was killed or has to be started again."""
        ours, theirs = Pipe(duplex=False)
        process = self._processes.Process(target=worker.work, args=(self._kind, order, theirs))
        process.start()
        theirs.close()
        try:
            failed = self._listen(ours)
            process.join()
        finally:
            ours.close()
            process.kill()
            process.join()
        if process.exitcode == -signal.SIGKILL:
            with self._lock:
                self._outcome.kills += 1
        elif process.exitcode not in (0, AGAIN):
            raise RunFailed(failed or f"a process ended with {process.exitcode}")
        return process.exitcode == 0

    def _listen(self, ours: Connection) -> str:
        """Note what the process tells until it ends; return what it failed with."""
        failed = ""
        while True:
            try:
                what, *facts = ours.recv()
            except (EOFError, ConnectionError):
                return failed
            with self._lock:
                if what == "failed":
                    failed = str(facts[0])
                elif what == "transient":
                    self._outcome.transient[str(facts[0])] += 1
                elif what == "refused":
                    self._outcome.refused += 1

    def _calm(self) -> None:
        """End all faults, and keep how many there were."""
        with self._lock:
            self._outcome.happened.update(self._world.happened())
            self._world.calm()

    def _judge(self, place: Place) -> Verdict:
        ended = [json.loads(line) for line in self._journal.read_text().splitlines()]
        self._outcome.replays, self._outcome.resumed = len(ended), sum(told["resumed"] for told in ended)
        scenario = self._scenario
        case = referee.Case(
            scenario.seed,
            scenario.scheme,
            scenario.count,
            scenario.shards,
            scenario.tasks,
            place,
            self._journal,
            self._log,
            {told["replay_id"]: self._arrivals(place, told) for told in ended},
        )
        ours, theirs = Pipe(duplex=False)
        process = self._processes.Process(target=referee.main, args=(case, theirs))
        process.start()
        theirs.close()
        try:
            verdict: Verdict = ours.recv()
        except EOFError as error:
            raise RunFailed("the referee ended without a verdict") from error
        finally:
            ours.close()
            process.join()
        return verdict

    def _arrivals(self, place: Place, told: Mapping[str, Any]) -> dict[str, int]:
        return self._world.arrivals(place, self._scenario, told["replay_id"], told["began_at"]).to_json()

    def _keep(self) -> None:
        """How it ended, for whoever looks for the reason; journal, log and what the referee has found lie beside it."""
        told = [*self._outcome.wrong, "", str(self._outcome), "", str(self._scenario)]
        (self._folder / "outcome.txt").write_text("\n".join(told) + "\n")

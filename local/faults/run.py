"""One run: load under faults, settle, send again, and ask the referee."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from local.faults import referee, writer
from local.faults.documents import as_line, documents
from local.faults.place import Place, aws
from local.faults.scenario import Scenario
from local.faults.world import World
from local.faults.writer import AGAIN, Job, Writer

PRELOADED = ("local.faults.writer", "local.faults.referee")
"""Modules that the processes of a run find imported, when they are forked from one that has imported them."""
CALM_LIFE, CALM_PASS = 12, 5
"""The life of the load, and the pass of the settling, with which the faults end: the rest has to come to its end without."""
MOST_LIVES, MOST_PASSES = 60, 20

Answer = Callable[..., Any]


class RunFailed(Exception):
    """A process ended as none may, or nothing comes to its end."""


@dataclass(slots=True)
class Outcome:
    """What a run came to; it is right when nothing is ``wrong``.

    :param happened: how often each kind of fault struck
    :param lives: of the process that loads
    :param reopened: how often the index was closed and opened, by when
    :param transient: how often something ended that is then begun again, by its error
    :param between: how often a settling came between the lives of the load
    :param passes: of the settling after it
    :param redriven: documents that were sent again, whatever came of it
    """

    seed: int
    scheme: str
    wrong: list[str] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    kills: int = 0
    reopened: Counter[str] = field(default_factory=Counter)
    transient: Counter[str] = field(default_factory=Counter)
    between: int = 0
    passes: int = 0
    redriven: int = 0
    load_seconds: float = 0.0
    seconds: float = 0.0


class Run:
    """
    :param processes: a context whose processes find `PRELOADED` imported
    :param folder: for the journal and, when something is wrong, what was sent
    :param kind: the writer that is judged
    """

    def __init__(
        self, world: World, processes: ForkServerContext, folder: Path, scenario: Scenario, kind: type[Writer] = Writer
    ) -> None:
        self._world, self._processes, self._folder = world, processes, folder
        self._scenario, self._kind = scenario, kind
        self._outcome = Outcome(scenario.seed, scenario.scheme.value)
        self._journal = folder / "journal.ndjson"
        self._on_manifests: set[int] = set()

    def run(self) -> Outcome:
        began = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._journal.write_bytes(b"")
        place = self._world.begin(self._scenario, f"faults-{self._scenario.seed}-{time.time_ns()}")
        try:
            self._load(place)
            self._outcome.load_seconds = time.monotonic() - began
            try:
                self._settle(place)
            except RunFailed as error:  # the referee can tell all the same
                self._outcome.wrong.append(str(error))
            self._calm()
            self._world.quiet()
            verdict = self._judge(place)
            self._outcome.wrong += verdict.wrong
            self._outcome.ends = verdict.ends
        except (RunFailed, TimeoutError) as error:
            self._outcome.wrong.append(str(error))
        finally:
            self._calm()
        self._outcome.seconds = time.monotonic() - began
        if self._outcome.wrong:
            self._keep()
        return self._outcome

    def _load(self, place: Place) -> None:
        kills, to_reopen = list(self._scenario.kills), list(self._scenario.reopened)

        def answer(what: str, request: int) -> None:
            if request in to_reopen:
                to_reopen.remove(request)
                self._reopen(place, "in the load")

        ended = False
        while not ended:
            if self._outcome.lives == MOST_LIVES:
                raise RunFailed(f"the load has not come to its end in {MOST_LIVES} lives")
            if self._outcome.lives == CALM_LIFE:
                self._calm()
            kill = kills.pop(0) if kills else None
            job = Job(self._scenario, place, self._outcome.lives, self._journal, kill, tuple(to_reopen))
            self._outcome.lives += 1
            ended = self._live(writer.load, job, answer)
            self._on_manifests |= referee.handed_over(place, self._s3(place))
            if not ended and self._scenario.settled_between:
                self._live(writer.settle_once, Job(self._scenario, place, 0, self._journal), lambda *_: None)
                self._outcome.between += 1

    def _settle(self, place: Place) -> None:
        closed = {"pass": "in the settling", "redrive": "before the redrive"} if self._scenario.reopened else {}

        def answer(what: str, fact: int = 0) -> Any:
            if when := closed.pop(what, None):
                self._reopen(place, when)
            if what == "pass":
                self._pass()
                return self._outcome.passes == 1
            if what == "end":
                self._pass()
                return not self._waits(place)
            if what == "redriven":
                self._outcome.redriven += fact
            elif what == "missing" and self._outcome.passes > 1:
                raise RunFailed(f"the settling misses {fact} documents, and there is no place to look for them any more")
            return None

        kill = self._scenario.kill_settling
        while not self._live(writer.settle, Job(self._scenario, place, 0, self._journal, kill), answer):
            kill = None

    def _pass(self) -> None:
        """Firehose may still bring documents during the first pass, not in those after it."""
        self._outcome.passes += 1
        if self._outcome.passes == CALM_PASS:
            self._calm()
        if self._outcome.passes > MOST_PASSES:
            raise RunFailed(f"not settled after {MOST_PASSES} passes")
        if self._outcome.passes > 1:
            self._world.deliver()

    def _waits(self, place: Place) -> bool:
        """Whether something is left that a redrive would send."""
        s3 = self._s3(place)
        prefixes = (f"spool/{place.alias}/", f"firehose-failed/{place.alias}/")
        return any("Contents" in s3.list_objects_v2(Bucket=place.bucket, Prefix=prefix, MaxKeys=1) for prefix in prefixes)

    def _s3(self, place: Place) -> Any:
        """Past the faults."""
        return aws("s3", place.true_s3_url, attempts=3)

    def _calm(self) -> None:
        """End all faults, and keep how many there were."""
        self._outcome.happened.update(self._world.happened())
        self._world.calm()

    def _reopen(self, place: Place, when: str) -> None:
        self._world.reopen(place, self._scenario.closed_seconds)
        self._outcome.reopened[when] += 1

    def _live(self, main: Callable[..., None], job: Job, answer: Answer) -> bool:
        """Let a process live; True when it has come to its end, False when it was killed or has to be started again."""
        ours, theirs = Pipe()
        process = self._processes.Process(target=main, args=(self._kind, job, theirs))
        process.start()
        theirs.close()
        try:
            failed = self._talk(ours, answer)
            process.join()
        finally:
            ours.close()
            process.kill()
            process.join()
        if process.exitcode == -signal.SIGKILL:
            self._outcome.kills += 1
        elif process.exitcode not in (0, AGAIN):
            raise RunFailed(failed or f"a process ended with {process.exitcode}")
        return process.exitcode == 0

    def _talk(self, ours: Connection, answer: Answer) -> str:
        """Answer what the process asks until it ends; return what it failed with."""
        failed = ""
        while True:
            try:
                what, *facts = ours.recv()
            except (EOFError, ConnectionError):
                return failed
            if what == "failed":
                failed = str(facts[0])
            elif what == "transient":
                self._outcome.transient[str(facts[0])] += 1
            else:
                said = answer(what, *facts)
                with suppress(ConnectionError):  # ended meanwhile; what it said last is still to be read
                    ours.send(said)

    def _judge(self, place: Place) -> referee.Verdict:
        scenario = self._scenario
        case = referee.Case(
            scenario.seed,
            scenario.scheme,
            scenario.count,
            place,
            self._journal,
            self._outcome.lives,
            frozenset(self._on_manifests),
            self._world.landed(),
        )
        ours, theirs = Pipe(duplex=False)
        process = self._processes.Process(target=referee.main, args=(case, theirs))
        process.start()
        theirs.close()
        try:
            verdict: referee.Verdict = ours.recv()
        except EOFError as error:
            raise RunFailed("the referee ended without a verdict") from error
        finally:
            ours.close()
            process.join()
        return verdict

    def _keep(self) -> None:
        """What was sent and how it ended, for whoever looks for the reason."""
        scenario = self._scenario
        sent = documents(scenario.seed, scenario.scheme, scenario.count)
        lines = [as_line(position, document) for position, document in enumerate(sent)]
        (self._folder / "input.ndjson").write_text("\n".join(lines) + "\n")
        (self._folder / "outcome.txt").write_text(
            "\n".join([*self._outcome.wrong, "", str(self._outcome), "", str(scenario)]) + "\n"
        )

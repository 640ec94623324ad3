"""Loads under faults, and the referee that compares: ten runs of `make faults`, and defects that the referee has to find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.cloud import Cloud
from local.faults.documents import Scheme
from local.faults.run import PRELOADED, Outcome, Run
from local.faults.scenario import Kill, Scenario
from local.faults.world import World, install
from local.faults.writer import Writer
from local.simulators.node_faults.faults import Kind
from tests.integration.bulk import defects
from tests.integration.forked import forked

_processes = forked(*PRELOADED, "tests.integration.bulk.defects")
# Of these two are killed and five have their index closed and opened; every scheme is among them.
SEEDS = range(1, 11)


@pytest.fixture(scope="module")
def world(bulk_cloud: Cloud) -> Iterator[World]:
    node = bulk_cloud.endpoints["opensearch"]
    install(node, ["faults"])
    with World(node, bulk_cloud.endpoints["aws"], "faults") as world:
        yield world


@pytest.mark.parametrize("seed", SEEDS)
def test_every_document_has_one_end_whatever_fails(world: World, tmp_path: Path, seed: int) -> None:
    scenario = Scenario.draw(seed)

    outcome = Run(world, _processes, tmp_path, scenario).run()

    assert outcome.wrong == [], f"make faults SEEDS={seed}"
    assert outcome.ends["accepted"] == scenario.count
    assert bool(outcome.kills) == (seed % 5 == 0)
    assert bool(outcome.reopened) == (seed % 2 == 0)


def judged(world: World, folder: Path, kind: type[Writer], **changes: object) -> Outcome:
    """A short run in which much is handed over and answers get lost."""
    calm = replace(
        Scenario.draw(1, 200),
        scheme=Scheme.TOMBSTONES,
        patience_seconds=0.0,
        concurrency=(1, 2),
        gzip=False,
        with_stream=False,
        node={Kind.ITEM_429: 0.4, Kind.RESET_BEFORE: 0.15, Kind.RESET_AFTER: 0.15},
        orders=(),
        bucket={},
    )
    return Run(world, _processes, folder, replace(calm, **changes), kind).run()  # type: ignore[arg-type]


def test_the_referee_has_nothing_to_say_of_a_writer_without_defects(world: World, tmp_path: Path) -> None:
    outcome = judged(world, tmp_path, Writer)

    assert outcome.wrong == []
    assert outcome.ends["handed_over"] > 10
    assert outcome.happened["node: reset_before"] > 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (defects.DropsOneHandedOver, ("documents handed over on no manifest", "documents lost")),
        (defects.WritesWithoutVersions, ("versions that nobody sent", "older writes over newer ones")),
        (defects.DeletesForReal, ("documents lost",)),
        (defects.TakesNoAnswerForAGoodOne, ("documents told to be indexed that are not",)),
        (defects.RejectsWhatIsRefused, ("good documents rejected",)),
        (defects.CountsOneTooMany, ("the ledger does not add up to 200",)),
        (defects.SettlesUnseen, ("documents lost",)),
        (defects.ForgetsRouting, ("documents of another routing",)),
    ],
)
def test_the_referee_finds_a_defect(world: World, tmp_path: Path, kind: type[Writer], words: tuple[str, ...]) -> None:
    found = "\n".join(judged(world, tmp_path, kind).wrong)

    assert any(each in found for each in words), found


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (defects.DropsOneHandedOver, ("documents handed over on no manifest", "documents lost")),
        (defects.ForgetsRouting, ("documents of another routing",)),
        (defects.CountsOneTooMany, ("the ledger does not add up to 200",)),
    ],
)
def test_the_referee_finds_a_defect_where_a_stream_takes_what_is_handed_over(
    world: World, tmp_path: Path, kind: type[Writer], words: tuple[str, ...]
) -> None:
    outcome = judged(world, tmp_path, kind, with_stream=True)

    assert outcome.ends.get("handed_over", 0) > 10
    assert any(each in "\n".join(outcome.wrong) for each in words), outcome.wrong


def test_the_referee_has_nothing_to_say_where_a_stream_takes_what_is_handed_over(world: World, tmp_path: Path) -> None:
    outcome = judged(world, tmp_path, Writer, with_stream=True)

    assert outcome.wrong == []
    assert outcome.ends["handed_over"] > 10


def test_the_referee_finds_a_checkpoint_that_is_ahead(world: World, tmp_path: Path) -> None:
    kills = [Kill(request, "after") for request in (12, 14, 16)]

    found = "\n".join(judged(world, tmp_path, defects.ChecksOffWhatIsUnderWay, kills=kills, node={}).wrong)

    assert any(words in found for words in ("documents lost", "older writes over newer ones", "that came back")), found


def test_a_run_that_goes_wrong_leaves_what_was_sent_and_tells_of_it(world: World, tmp_path: Path) -> None:
    judged(world, tmp_path, defects.ForgetsRouting)

    assert len((tmp_path / "input.ndjson").read_text().splitlines()) == 200
    assert "documents of another routing" in (tmp_path / "outcome.txt").read_text()

"""Replays under faults, and the referee that compares: six runs of `make faults`, and defects that the referee has to find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.cloud import Cloud
from local.faults.replay.items import DAYS, Scheme, Task
from local.faults.replay.run import PRELOADED, Outcome, Run
from local.faults.replay.scenario import Scenario
from local.faults.replay.worker import Worker
from local.faults.replay.world import World
from local.faults.scenario import Kill
from local.simulators.dynamodb_faults.faults import Kind
from tests.integration.forked import forked
from tests.integration.replay import defects

_processes = forked(*PRELOADED, "tests.integration.replay.defects")
# Three of these are killed, three have two replays of one day at once; every scheme is among them twice.
SEEDS = range(1, 7)


@pytest.fixture(scope="module")
def world(bulk_cloud: Cloud) -> Iterator[World]:
    with World(bulk_cloud.endpoints, "replay-faults") as world:
        yield world


@pytest.mark.parametrize("seed", SEEDS)
def test_every_item_has_its_record_and_nothing_is_lost_whatever_fails(world: World, tmp_path: Path, seed: int) -> None:
    scenario = Scenario.draw(seed)

    outcome = Run(world, _processes, tmp_path, scenario).run()

    assert outcome.wrong == [], f"make faults NAME=replay SEEDS={seed}"
    assert outcome.replays >= len(scenario.tasks)
    assert outcome.ends["records of touches"] > scenario.count / 2


# In one page: what has been read is often another item, or gone, when it is touched.
BUSY: dict[str, object] = {"rate": 400.0, "dynamodb": {}, "groups": [[Task(DAYS[0])]], "page_items": 60}


def judged(world: World, folder: Path, kind: type[Worker], **changes: object) -> Outcome:
    """A short run of one day, in which answers are lost and much is written."""
    calm = replace(
        Scenario.draw(1, 90),
        scheme=Scheme.APPLICATION,
        shards=0,
        groups=[[Task(DAYS[0])]],
        kills=(),
        page_items=5,
        threads=4,
        batches=False,
        dynamodb={Kind.RESET_AFTER: 0.1},
        orders=(),
        bucket={},
        node={},
        deliveries=(),
        rate=100.0,
    )
    return Run(world, _processes, folder, replace(calm, **changes), kind).run()  # type: ignore[arg-type]


def test_the_referee_has_nothing_to_say_of_a_worker_without_defects(world: World, tmp_path: Path) -> None:
    outcome = judged(world, tmp_path, Worker)

    assert outcome.wrong == []
    assert outcome.happened["DynamoDB: reset_after"] > 0
    assert outcome.ends["writes"] > 5


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (defects.SkipsPages, "items without a record of the replay"),
        (defects.CountsOneTooMany, "items are said to be touched"),
        (defects.ForgetsKeys, "touched keys that are not listed"),
    ],
)
def test_the_referee_finds_a_defect(world: World, tmp_path: Path, kind: type[Worker], words: str) -> None:
    found = "\n".join(judged(world, tmp_path, kind).wrong)

    assert words in found, found


def test_the_referee_finds_items_that_are_touched_twice(world: World, tmp_path: Path) -> None:
    # Where touches leave the version, a second one under the same id changes nothing, and DynamoDB makes no record of it.
    found = "\n".join(judged(world, tmp_path, defects.TouchesWhatIsTouched, scheme=Scheme.SHARED).wrong)

    assert "items touched twice by the replay" in found, found


def test_the_referee_finds_items_that_a_touch_has_brought_back(world: World, tmp_path: Path) -> None:
    found = "\n".join(judged(world, tmp_path, defects.TouchesWhatIsGone, **BUSY).wrong)

    assert "items made by a touch" in found, found


def test_the_referee_finds_updates_of_the_application_that_are_lost(world: World, tmp_path: Path) -> None:
    found = "\n".join(judged(world, tmp_path, defects.ReadsAndPuts, **BUSY).wrong)

    assert "updates of the application that" in found, found


def test_the_referee_finds_a_checkpoint_that_is_ahead(world: World, tmp_path: Path) -> None:
    kills = [Kill(request, "before") for request in (14, 16, 18, 20)]

    found = "\n".join(judged(world, tmp_path, defects.ChecksOffBeforeItTouches, kills=kills, dynamodb={}).wrong)

    assert "items without a record of the replay" in found, found


def test_the_referee_finds_that_a_day_is_not_replayed_again(world: World, tmp_path: Path) -> None:
    found = "\n".join(judged(world, tmp_path, defects.GoesOnWithWhatIsFinished, groups=[[Task(DAYS[0])]] * 2).wrong)

    assert "replays that ended twice" in found, found

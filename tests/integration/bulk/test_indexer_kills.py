"""A load that is killed anywhere, again and again, goes on from its checkpoint; the count is right and so is the index."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from local.simulators.node_faults.faults import Kind
from tests.integration.bulk import mortal
from tests.integration.bulk.conftest import Place
from tests.integration.forked import forked

PROCESSES = forked("tests.integration.bulk.mortal", "opensearchpy", "orjson")


def position(path: Path) -> int:
    return int(json.loads(path.read_bytes())["position"]) if path.exists() else 0


@pytest.mark.parametrize("seed", range(2))
def test_a_load_that_is_killed_again_and_again_ends_as_if_it_never_was(place: Place, tmp_path: Path, seed: int) -> None:
    rng, checkpoint, deaths = random.Random(seed), tmp_path / "checkpoint.json", 0
    place.declare(mortal.SCHEME)
    faults = {Kind.ITEM_429: 0.1, Kind.RESET_AFTER: 0.05, Kind.CUT: 0.05, Kind.SLOW: 0.2}
    place.proxy.random(seed, faults, seconds=0.1)

    for _ in range(4):
        process = PROCESSES.Process(target=mortal.load, args=(place.proxy.url, place.index, str(checkpoint)))
        process.start()
        wanted = position(checkpoint) + rng.randrange(40, 400)
        while process.is_alive() and position(checkpoint) < wanted:
            time.sleep(0.002)
        assert process.pid is not None
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            deaths += 1
        process.join()
    place.proxy.wait_until_idle(30)

    counts = mortal.load(place.proxy.url, place.index, str(checkpoint))

    assert deaths == 4
    assert counts.accepted == counts.ended == mortal.LINES
    assert counts.rejected == len(range(0, mortal.LINES, 97))
    assert {id: source.get("n") for id, (_, source) in place.held().items()} == mortal.expected()
    assert mortal.load(place.proxy.url, place.index, str(checkpoint)) == counts  # it is complete: nothing is sent again

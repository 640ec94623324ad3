"""Loads while something they need is gone for longer than a moment; the referee of `make faults` compares at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.cloud import Cloud
from local.faults.documents import Scheme
from local.faults.place import Place
from local.faults.run import PRELOADED, Outcome, Run
from local.faults.scenario import Scenario
from local.faults.world import World, install
from local.opensearch import OpenSearchNode
from local.processes import Child
from local.simulators.node_faults.faults import EVERY_PATH, Fault, Kind
from tests.integration.forked import forked

_processes = forked(*PRELOADED)
ALIAS = "outage"


@pytest.fixture(scope="module")
def node(bulk_cloud: Cloud) -> str:
    url = bulk_cloud.endpoints["opensearch"]
    install(url, [ALIAS])
    return url


def load(world: World, folder: Path, **changes: Any) -> Outcome:
    """Load 400 documents through a world in which nothing else fails, settle and compare."""
    calm = replace(
        Scenario.draw(1, 400),
        scheme=Scheme.TOMBSTONES,
        patience_seconds=0.05,
        concurrency=(1, 4),
        with_stream=True,
        node={},
        orders=(),
        delivery={},
        bucket={},
        firehose=(),
    )
    with world:
        return Run(world, _processes, folder, replace(calm, **changes)).run()


class WithoutS3(World):
    """S3 answers twenty requests, and then eight with 503."""

    def disturb(self, scenario: Scenario) -> None:
        super().disturb(scenario)
        self.bucket.order(Fault(Kind.STATUS_503, times=8, after=20, path=EVERY_PATH))


def test_without_s3_a_load_fails_and_goes_on_from_its_checkpoint(bulk_cloud: Cloud, node: str, tmp_path: Path) -> None:
    refused = [Fault(Kind.STATUS_429, times=200, after=5)]

    outcome = load(WithoutS3(node, bulk_cloud.endpoints["aws"], ALIAS), tmp_path, orders=refused, with_stream=False)

    assert outcome.wrong == []
    assert outcome.happened["S3: status_503"] == 8
    assert outcome.transient.total() > 0
    assert outcome.lives > 1
    assert outcome.ends["handed_over"] > 20


def test_without_firehose_everything_is_handed_over_by_the_spool(bulk_cloud: Cloud, node: str, tmp_path: Path) -> None:
    down = [{"kind": "server_error", "operation": "PutRecordBatch", "status": 503, "code": "ServiceUnavailable"}]
    refused = [Fault(Kind.STATUS_429, times=200, after=5)]

    outcome = load(World(node, bulk_cloud.endpoints["aws"], ALIAS), tmp_path, orders=refused, firehose=down)

    assert outcome.wrong == []
    assert outcome.happened["Firehose: server_error"] > 0
    assert outcome.ends["handed_over"] > 100
    assert outcome.redriven >= outcome.ends["handed_over"]


class OnAFullDisk(World):
    """Instead of being closed and opened, the index gets the block that the node sets when the disk is full."""

    def reopen(self, place: Place, closed_seconds: float) -> None:
        self._block(place, True)
        time.sleep(closed_seconds)
        self._block(place, None)

    def _block(self, place: Place, blocked: bool | None) -> None:
        url = f"{place.true_node_url}/{place.index}/_settings"
        httpx.put(url, json={"index.blocks.read_only_allow_delete": blocked}, trust_env=False, timeout=30).raise_for_status()


def test_on_a_full_disk_a_load_pauses_fails_and_goes_on_from_its_checkpoint(bulk_cloud: Cloud, node: str, tmp_path: Path) -> None:
    world = OnAFullDisk(node, bulk_cloud.endpoints["aws"], ALIAS)

    outcome = load(world, tmp_path, reopened=(8,), closed_seconds=1.0, concurrency=(1, 1), node={Kind.SLOW: 1.0})

    assert outcome.wrong == []
    assert outcome.transient["Blocked"] > 0
    assert outcome.lives > 1
    assert outcome.ends["handed_over"] == 0


class Mortal(World):
    """Instead of closing the index, the node is killed and started again; once, in the load."""

    def __init__(self, child: Child, node_url: str, s3_url: str) -> None:
        super().__init__(node_url, s3_url, ALIAS)
        self._child = child
        self.restarts = 0

    def reopen(self, place: Place, closed_seconds: float) -> None:
        if self.restarts:
            return
        self.restarts += 1
        self._child.kill()
        self._child.start()
        self._child.wait_until_ready()


@contextmanager
def mortal_node(folder: Path) -> Iterator[tuple[OpenSearchNode, Child]]:
    node = OpenSearchNode(folder)
    child = Child(node.prepare())
    try:
        child.start()
        child.wait_until_ready()
        yield node, child
    finally:
        child.stop()
        node.remove()


def test_what_a_node_has_taken_before_it_is_killed_is_there_after_its_start_and_the_rest_by_the_spool(
    bulk_cloud: Cloud, tmp_path: Path
) -> None:
    with mortal_node(tmp_path / "node") as (node, child):
        install(node.url, [ALIAS])
        world = Mortal(child, node.url, bulk_cloud.endpoints["aws"])

        outcome = load(world, tmp_path, reopened=(20,), with_stream=False)

        assert outcome.wrong == []
        assert world.restarts == 1
        assert outcome.ends["handed_over"] > 0
        assert outcome.ends["indexed"] > 0

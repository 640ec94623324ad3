"""What the benchmark of the waits does, on a simulator whose clock runs fast."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import boto3
import pytest
import pytest_asyncio

from benchmarks import waiting
from benchmarks.rounds import Region, Round, at_once, in_series, in_turn
from benchmarks.waiting import CONNECTION, FixedPolls, Triggers, Waiter, count_request
from local.cloud import Cloud
from local.simulators.packages.control import PackagesControl
from searchops.core.waiting import Cadence
from searchops.hooks.opensearch_service import OpenSearchServiceHook
from searchops.triggers import dictionary as triggers
from tests.conftest import SPEED


@pytest_asyncio.fixture
async def region(
    cloud_environment: Cloud, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Region]:
    monkeypatch.setattr(triggers, "CADENCE", Cadence(first_seconds=0.2, scale=0.05))
    monkeypatch.setattr(waiting, "PACKAGE_POLL_SECONDS", 0.5)
    monkeypatch.setattr(waiting, "ASSOCIATION_POLL_SECONDS", 3.0)
    control = PackagesControl(cloud_environment.endpoints["packages"])
    control.speed(SPEED)  # other tests change it
    async with OpenSearchServiceHook(**CONNECTION, verify=None, config=None).shared_async_client() as client:
        client.meta.events.register("before-send", count_request)
        yield Region(client, boto3.client("s3"), control, f"bench-{request.node.name[:40]}".replace("_", "-"))


async def test_two_associations_at_once_fail_one_and_are_mended_where_one_after_the_other_succeeds(region: Region) -> None:
    pair = [await region.create(name) for name in ("bench-words", "bench-spellings")]
    serial, again, anew = (region.domain(f"bench-{name}") for name in ("serial", "again", "anew"))

    orders = await asyncio.gather(
        in_series(region, serial, pair),
        at_once(region, again, pair, dissociate_first=False),
        at_once(region, anew, pair, dissociate_first=True),
    )

    assert [order.both for order in orders] == [True, False, False]
    assert all(order.done_seconds > order.known_seconds for order in orders[1:])
    for domain in (serial, again, anew):
        rows = (await region.client.list_packages_for_domain(DomainName=domain))["DomainPackageDetailsList"]
        assert [row["DomainPackageStatus"] for row in rows] == ["ACTIVE", "ACTIVE"]


async def test_both_ways_to_wait_tell_the_truth_and_their_requests_are_counted_apart(region: Region, cloud: Cloud) -> None:
    async def play(name: str, waiter: Waiter) -> Round:
        dictionary = await region.create(f"bench-{name}")
        return await in_turn(region, waiter, region.domain(f"bench-{name}"), [dictionary], delay=0.01)

    polled, triggered = await asyncio.gather(play("polls", FixedPolls(region.client)), play("triggers", Triggers()))
    transitions = PackagesControl(cloud.endpoints["packages"]).transitions()

    assert all(wait.late(transitions) > 0 for round_ in (polled, triggered) for wait in (*round_.publish, *round_.associate))
    assert [wait.requests for wait in polled.associate] == [1]
    assert all(wait.requests > 1 for wait in triggered.associate)

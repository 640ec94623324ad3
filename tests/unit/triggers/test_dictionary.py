"""Waits against the package simulator on a fast clock."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

from searchops.core.dictionary import proof
from searchops.core.dictionary.model import sha256
from searchops.core.waiting import Cadence
from searchops.hooks import opensearch_service
from searchops.hooks.opensearch_service import OpenSearchServiceHook
from searchops.inventory import load
from searchops.triggers import dictionary as triggers
from searchops.triggers.dictionary import (
    AnalyzersTrigger,
    DomainSettledTrigger,
    PackageAssociatedTrigger,
    PackagePublishedTrigger,
)
from tests.unit.small_world import REGION, SYNONYMS, UPDATEABLE, SmallWorld, analysis

OLD, WANTED, OTHER = b"a, b\n", b"a, c\n", b"a, d\n"


@pytest.fixture
def world(running_world: SmallWorld) -> SmallWorld:
    return running_world


def publishing(package_id: str, before: str | None = "v1", content: bytes = WANTED, **kwargs: Any) -> PackagePublishedTrigger:
    return PackagePublishedTrigger(package_id=package_id, fingerprint=sha256(content), before=before, **(AWS | kwargs))


def associating(package_id: str, content: bytes = WANTED, **kwargs: Any) -> PackageAssociatedTrigger:
    fingerprint = sha256(content)
    return PackageAssociatedTrigger(package_id=package_id, domain_name="products", fingerprint=fingerprint, **(AWS | kwargs))


# Without retries of botocore's own, so that every error of the service reaches the wait.
AWS: dict[str, Any] = {
    "aws_conn_id": "aws_default",
    "region_name": REGION,
    "timeout_seconds": 30,
    "botocore_config": {"retries": {"total_max_attempts": 1}},
}


async def event(trigger: BaseTrigger) -> dict[str, Any]:
    """Run a wait to its end, as a triggerer does."""
    (found,) = [found.payload async for found in trigger.run()]
    return dict(found)


def again(trigger: BaseTrigger) -> Any:
    """The trigger as another triggerer makes it of what the database keeps."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def update(world: SmallWorld, package_id: str, content: bytes = WANTED, message: str | None = None) -> None:
    world.s3.put_object(Bucket=world.bucket_name, Key="new", Body=content)
    source = {"S3BucketName": world.bucket_name, "S3Key": "new"}
    world.client.update_package(
        PackageID=package_id, PackageSource=source, CommitMessage=message or f"searchops sha256={sha256(content)}"
    )


# -- what a wait tells ---------------------------------------------------------------------------------------------------------


async def test_a_publication_is_over_when_the_version_is_available_and_not_while_the_old_one_still_shows(world):
    package_id = world.publish(OLD)
    before = world.client.describe_packages()["PackageDetailsList"][0]["AvailablePackageVersion"]
    update(world, package_id)

    found = await event(publishing(package_id, before))

    versions = world.service.content(package_id)
    assert versions[found["version"]] == WANTED
    assert (found["status"], found["package_id"]) == ("success", package_id)
    assert found["seen_at"] <= time.time()


@pytest.mark.parametrize("version", [None, "v2"], ids=["by its history", "by its version"])
async def test_an_association_is_over_when_the_domain_has_the_content_although_it_is_active_all_the_time(world, version):
    package_id = world.publish(OLD)
    world.publish(WANTED, associate=False)
    versions = list(world.service.content(package_id))
    world.client.associate_package(PackageID=package_id, DomainName="products")

    found = await event(associating(package_id, version=versions[1] if version else None))

    assert (found["status"], found["domain_name"], found["version"]) == ("success", "products", versions[1])
    (seen,) = [moment for moment in world.control.transitions(package_id, "products") if moment.version == versions[1]]
    assert found["seen_at"] >= seen.time


async def test_a_domain_that_uses_ours_is_done_although_many_newer_versions_of_others_came_since(world):
    package_id = world.publish(WANTED)
    for number in range(3):
        world.publish(b"%d, x\n" % number, associate=False)
    world.control.settings(page_limit=1)

    found = await event(associating(package_id, timeout_seconds=3))

    assert found["status"] == "success"


async def waiting_behind(world: SmallWorld) -> tuple[str, asyncio.Task[dict[str, Any]]]:
    """A wait that has looked some times at a domain that is ACTIVE on an older version, for which nobody asks anything else."""
    package_id = world.publish(OLD)
    world.publish(WANTED, associate=False)
    world.control.reset_calls()
    wait = asyncio.create_task(event(associating(package_id, version=list(world.service.content(package_id))[1])))
    await until(lambda: world.control.calls().get("ListDomainsForPackage", 0) >= 5)
    return package_id, wait


async def test_a_domain_that_stays_on_an_older_version_costs_one_call_a_look(world):
    package_id, wait = await waiting_behind(world)
    calls = world.control.calls()
    world.client.associate_package(PackageID=package_id, DomainName="products")

    assert (await wait)["version"] == list(world.service.content(package_id))[1]
    assert (calls["DescribePackages"], calls["GetPackageVersionHistory"]) == (1, 1)


async def test_a_domain_that_leaves_the_older_version_for_one_of_others_is_overtaken(world):
    _, wait = await waiting_behind(world)
    world.publish(OTHER)

    assert (await wait)["kind"] == "Overtaken"


async def test_a_domain_that_leaves_the_older_version_for_the_same_content_by_somebody_else_is_done(world):
    package_id, wait = await waiting_behind(world)
    world.publish(OTHER, associate=False)
    world.publish(WANTED)

    assert (await wait)["version"] == list(world.service.content(package_id))[3]


async def test_a_domain_is_settled_when_neither_the_package_nor_an_association_of_it_moves(world):
    package_id = world.publish(OLD, associate=False)
    other = world.publish(b"x\n", name="other", associate=False)
    world.client.associate_package(PackageID=other, DomainName="products")

    found = await event(DomainSettledTrigger(package_id=package_id, domain_name="products", **AWS))

    assert found["status"] == "success"
    assert found["seen_at"] >= max(moment.time for moment in world.control.transitions(other, "products"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"error_type": "Busy", "error_message": "two at once"}, "Busy: two at once"),
        ({"error_type": "", "error_message": "two at once"}, ": two at once"),
        ({"details": False}, "the service gave no reason"),
    ],
    ids=["details", "no type", "no details"],
)
async def test_a_failed_association_is_told_as_passing_with_the_services_words(world, options, told):
    package_id = world.publish(WANTED, associate=False)
    world.control.fault("association_failed", "AssociatePackage", **options)
    world.client.associate_package(PackageID=package_id, DomainName="products")

    found = await event(associating(package_id))

    assert (found["status"], found["transient"]) == ("error", True)
    assert found["message"].endswith(told)
    assert found["message"].startswith(f"package {package_id} on products is ASSOCIATION_FAILED")


@pytest.mark.parametrize("kind", ["copy_failed", "validation_failed"])
@pytest.mark.parametrize("details", [True, False])
async def test_a_failed_publication_is_told_as_an_error_of_data(world, kind, details):
    package_id = world.publish(OLD)
    world.control.fault(kind, "UpdatePackage", details=details, error_message="not UTF-8")
    update(world, package_id)

    found = await event(publishing(package_id, None))

    assert (found["status"], found["transient"]) == ("error", False)
    assert kind.upper() in found["message"]
    assert ("not UTF-8" if details else "the service gave no reason") in found["message"]
    assert found["reason"] == ("SimulatedError: not UTF-8" if details else "")


async def test_a_publication_that_others_published_over_is_told_as_overtaken(world):
    package_id = world.publish(OLD)
    before = next(iter(world.service.content(package_id)))
    world.publish(OTHER, associate=False)

    found = await event(publishing(package_id, before))

    assert (found["status"], found["kind"], found["transient"]) == ("error", "Overtaken", False)


async def test_an_unknown_package_is_told_at_once(world):
    found = await event(publishing("F999999999", None))
    assert (found["status"], found["transient"], found["kind"]) == ("error", False, "PackageNotFound")

    found = await event(associating("F999999999"))
    assert (found["status"], found["transient"]) == ("error", False)
    assert "Package not found: F999999999" in found["reason"]


async def test_a_package_that_was_just_created_and_is_not_listed_yet_is_waited_for(world):
    package_id = world.publish(WANTED, associate=False)
    world.control.fault("lag", "DescribePackages", seconds=3600, last=3)

    found = await event(publishing(package_id, None, created=True))

    assert found["status"] == "success"
    assert world.control.calls()["DescribePackages"] >= 4


# -- what does not end a wait --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["throttle", "server_error", "reset"])
async def test_errors_that_pass_do_not_end_a_wait(world, fault):
    package_id = world.publish(OLD)
    before = next(iter(world.service.content(package_id)))
    update(world, package_id)
    world.control.reset_calls()
    world.control.fault(fault, last=5)

    found = await event(publishing(package_id, before))

    assert found["status"] == "success"
    assert len([call for call in world.control.log() if call.status != 200]) == 5


@pytest.mark.parametrize("fault", ["throttle", "reset"])
async def test_errors_that_never_pass_end_in_a_time_out_that_tells_them(world, fault):
    package_id = world.publish(OLD)
    world.control.fault(fault)

    found = await event(publishing(package_id, timeout_seconds=0.3))

    assert found["status"] == "timeout"
    assert ("throttled by AWS" if fault == "throttle" else "no answer from AWS") in found["message"]


async def test_a_state_that_never_ends_ends_in_a_time_out_with_the_last_status(world):
    package_id = world.publish(OLD)
    world.control.fault("stay", "UpdatePackage", state="VALIDATING")
    update(world, package_id)

    found = await event(publishing(package_id, timeout_seconds=0.6))

    assert found == {
        "status": "timeout",
        "message": f"not done after 1 s; last seen: package {package_id} is VALIDATING, available is {next(iter(world.service.content(package_id)))}",
    }


async def test_a_dissociation_that_never_ends_is_not_taken_for_the_version_that_it_shows(world):
    package_id = world.publish(OLD)
    world.control.fault("stay", "DissociatePackage")
    world.client.dissociate_package(PackageID=package_id, DomainName="products")

    found = await event(associating(package_id, OLD, timeout_seconds=0.3))

    assert found["status"] in ("timeout", "error")
    assert "DISSOCIATING" in found["message"]


# -- the life of a wait --------------------------------------------------------------------------------------------------------

ALL = [
    publishing("F1", failed_at=12.5, created=True, started_at=1000.25),
    associating("F1", version="v2", started_at=1000.25),
    DomainSettledTrigger(package_id="F1", domain_name="products", started_at=1000.25, **AWS),
    AnalyzersTrigger(
        domain={"key": "products"}, checks=[{"index": "items", "texts": ["東京"]}], timeout_seconds=30, started_at=1000.25
    ),
]


@pytest.mark.parametrize("trigger", ALL, ids=lambda trigger: type(trigger).__name__)
def test_a_wait_is_the_same_after_its_way_through_the_database(trigger):
    copy = again(trigger)

    assert type(copy) is type(trigger)
    assert copy.serialize() == trigger.serialize()
    assert copy.started_at == 1000.25
    assert set(trigger.serialize()[1]) <= vars(copy).keys()


async def test_a_wait_whose_triggerer_is_killed_goes_on_in_another(world):
    package_id = world.publish(OLD)
    before = next(iter(world.service.content(package_id)))
    world.control.fault("stay", "UpdatePackage")
    update(world, package_id)
    world.control.reset_calls()
    trigger = publishing(package_id, before)
    first = asyncio.create_task(event(trigger))
    await until(lambda: world.control.calls().get("DescribePackages", 0) >= 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    copy = again(trigger)
    world.control.clear_faults()
    found = await event(copy)

    assert found["status"] == "success"
    assert copy.started_at == trigger.started_at
    assert opensearch_service._SHARED == {}


async def test_a_wait_that_nobody_held_beyond_its_time_looks_once_more_before_it_gives_up(world):
    package_id = world.publish(OLD)
    before = next(iter(world.service.content(package_id)))
    world.control.fault("stay", "UpdatePackage")
    update(world, package_id)
    late = publishing(package_id, before, timeout_seconds=400, started_at=time.time() - 500)
    await until(lambda: world.client.describe_packages()["PackageDetailsList"][0]["PackageStatus"] == "COPYING")

    found = await event(again(late))
    assert found["status"] == "timeout"
    told = rf"not done after 5\d\d s; last seen: package {package_id} is COPYING, available is {before}"
    assert re.fullmatch(told, found["message"])

    world.control.clear_faults()
    world.pass_time(60)
    assert (await event(again(late)))["status"] == "success"


async def test_the_first_look_of_a_wait_is_never_at_once_however_old_it_is(world, monkeypatch):
    monkeypatch.setattr(triggers, "CADENCE", Cadence(first_seconds=0.15, even_seconds=0.01))
    package_id = world.publish(WANTED, associate=False)
    world.control.reset_calls()
    began = time.time()

    await event(publishing(package_id, None, started_at=began - 0.15))

    assert min(call.time for call in world.control.log()) - began >= 0.14


# -- clients -------------------------------------------------------------------------------------------------------------------


class Clients:
    """Counts the asynchronous clients that are made and closed."""

    def __init__(self) -> None:
        self.made = self.closed = 0


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    counted, make = Clients(), OpenSearchServiceHook.get_async_conn

    class Counted:
        def __init__(self, opening: Any) -> None:
            self._opening = opening

        async def __aenter__(self) -> Any:
            counted.made += 1
            return await self._opening.__aenter__()

        async def __aexit__(self, *error: Any) -> Any:
            counted.closed += 1
            return await self._opening.__aexit__(*error)

    async def get_async_conn(hook: OpenSearchServiceHook) -> Any:
        return Counted(await make(hook))

    monkeypatch.setattr(OpenSearchServiceHook, "get_async_conn", get_async_conn)
    yield counted
    assert counted.made == counted.closed
    assert opensearch_service._SHARED == {}


async def test_all_waits_on_one_connection_share_one_client_and_the_last_closes_it(world, clients):
    package_id = world.publish(WANTED, associate=False)
    world.control.fault("stay", "AssociatePackage")
    world.client.associate_package(PackageID=package_id, DomainName="products")
    waits = [asyncio.create_task(event(associating(package_id))) for _ in range(40)]
    waits += [asyncio.create_task(event(DomainSettledTrigger(package_id=package_id, domain_name="products", **AWS)))]
    waits += [asyncio.create_task(event(publishing(package_id, None)))]

    await waits[-1]
    await until(lambda: world.control.calls().get("ListDomainsForPackage", 0) >= 40)
    assert (clients.made, clients.closed) == (1, 0)
    for wait in waits[:20]:
        wait.cancel()
    await asyncio.gather(*waits[:20], return_exceptions=True)
    assert (clients.made, clients.closed) == (1, 0)
    world.control.clear_faults()

    assert {found["status"] for found in await asyncio.gather(*waits[20:])} == {"success"}
    assert (clients.made, clients.closed) == (1, 1)


async def test_waits_in_other_regions_have_clients_of_their_own(world, clients):
    package_id = world.publish(WANTED)

    await asyncio.gather(*(event(publishing(package_id, None, region_name=region)) for region in (REGION, "us-east-1", REGION)))

    assert clients.made == 2


async def test_a_wait_after_the_last_one_makes_a_new_client(world, clients):
    package_id = world.publish(WANTED)

    for _ in range(2):
        assert (await event(publishing(package_id, None)))["status"] == "success"

    assert clients.made == 2


def test_each_event_loop_has_a_client_of_its_own(world, clients):
    package_id = world.publish(WANTED)

    for _ in range(2):
        assert asyncio.run(event(publishing(package_id, None)))["status"] == "success"

    assert clients.made == 2


async def test_a_client_that_can_not_be_made_leaves_nothing_behind(world, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", '{"conn_type": "aws", "extra": {"role_arn": "no role"}}')

    with pytest.raises(Exception, match=r"."):
        await event(publishing("F1", aws_conn_id="broken"))

    assert opensearch_service._SHARED == {}


# -- analyzers -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def analyzers(world: SmallWorld, tmp_path: Any) -> Callable[..., AnalyzersTrigger]:
    domain: Any = load(world.inventory(tmp_path)).domains["products"]

    def wait(texts: dict[str, list[str]], **kwargs: Any) -> AnalyzersTrigger:
        tokens = tuple(tuple(sorted((term, 0, 1) for term in found)) for found in texts.values())
        expected = proof.Expectation("items", "a", tuple(texts), tokens)
        row = proof.expectation_to(expected, [proof.Mismatch(text, (), ()) for text in texts])
        return AnalyzersTrigger(domain=domain.model_dump(mode="json"), checks=[row], **({"timeout_seconds": 30} | kwargs))

    return wait


async def test_a_reload_is_over_when_the_live_analyzer_gives_the_new_tokens(world, analyzers):
    package_id = world.publish(OLD)
    world.node.index("items", analysis(UPDATEABLE))
    world.publish(WANTED, associate=False)
    world.client.associate_package(PackageID=package_id, DomainName="products")

    found = await event(again(analyzers({"a": ["a", "c"], "c": ["a", "c"]})))

    assert found["status"] == "success"
    assert world.node.tokens("items", "a", "a") == ["a", "c"]


async def test_the_domain_is_looked_up_once_a_wait_however_often_it_looks(world, analyzers, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PRODUCTS_SEARCH", '{"conn_type": "opensearch", "extra": {"use_ssl": false}}')
    world.publish(OLD)
    world.node.index("items", analysis(SYNONYMS))
    world.control.reset_calls()

    wait = asyncio.create_task(event(analyzers({"a": ["a", "c"]})))
    await until(lambda: world.node.application.log.counts().get("POST /{index}/_analyze", 0) >= 3)
    wait.cancel()

    assert world.control.calls() == {"DescribeDomain": 1}


async def test_a_reload_that_never_comes_ends_in_a_time_out_that_names_index_and_analyzer(world, analyzers):
    world.publish(OLD)
    world.node.index("items", analysis(SYNONYMS))

    found = await event(analyzers({"a": ["a", "c"], "b": ["a", "b"]}, timeout_seconds=0.3))

    assert found["message"].endswith("last seen: 1 of 2 texts still have other tokens on items (a)")


async def test_an_index_that_is_closed_for_a_moment_does_not_end_the_wait(world, analyzers):
    world.publish(OLD)
    index = world.node.index("items", analysis(SYNONYMS))
    index.closed = True
    calls = world.node.application.log

    wait = asyncio.create_task(event(analyzers({"a": ["a", "b"]})))
    await until(lambda: calls.counts().get("POST /{index}/_analyze", 0) >= 2)
    index.closed = False

    assert (await wait)["status"] == "success"

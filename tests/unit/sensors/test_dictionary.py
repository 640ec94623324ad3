from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from searchops.core.dictionary.model import sha256
from searchops.core.errors import DataError, TransientError
from searchops.inventory import load
from searchops.operators.dictionary import run_here
from searchops.retries import RETRY_POLICY
from searchops.sensors.dictionary import (
    OpenSearchDictionaryAssociationSensor,
    OpenSearchPackageAssociationSensor,
    OpenSearchPackageAvailableSensor,
)
from searchops.triggers.dictionary import PackageAssociatedTrigger, PackagePublishedTrigger
from tests.unit.small_world import REGION, SmallWorld
from tests.unit.task import Running

OLD, NEW = b"a, b\n", b"a, c\n"
WANTED = sha256(NEW)


@pytest.fixture
def world(running_world: SmallWorld) -> SmallWorld:
    return running_world


def available(package_id: str = "F1", **kwargs: Any) -> Running:
    return Running(
        OpenSearchPackageAvailableSensor(task_id="x", package_id=package_id, fingerprint=WANTED, region_name=REGION, **kwargs)
    )


def associated(package_id: str = "F1", **kwargs: Any) -> Running:
    return Running(
        OpenSearchPackageAssociationSensor(
            task_id="x", package_id=package_id, domain_name="products", fingerprint=WANTED, region_name=REGION, **kwargs
        )
    )


def versions(world: SmallWorld, package_id: str) -> list[str]:
    return list(world.service.content(package_id))


@pytest.fixture
def begun(world: SmallWorld) -> str:
    """A package whose new version is on its way, for as long as the test lets it."""
    package_id = world.publish(OLD)
    world.s3.put_object(Bucket=world.bucket_name, Key="new", Body=NEW)
    world.control.fault("stay", "UpdatePackage")
    source = {"S3BucketName": world.bucket_name, "S3Key": "new"}
    world.client.update_package(PackageID=package_id, PackageSource=source, CommitMessage=f"searchops sha256={WANTED}")
    return package_id


@pytest.fixture
def associating(world: SmallWorld) -> str:
    """A domain that is being given the new version, ACTIVE or not, for as long as the test lets it."""
    package_id = world.publish(OLD)
    world.publish(NEW, associate=False)
    world.control.fault("stay", "AssociatePackage")
    world.client.associate_package(PackageID=package_id, DomainName="products")
    return package_id


# -- by id and name, for other DAGs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_what_is_there_already_is_seen_without_a_wait(world, deferrable):
    package_id = world.publish(NEW)
    (version,) = versions(world, package_id)

    assert available(package_id, deferrable=deferrable).execute() == {"package_id": package_id, "version": version}
    assert associated(package_id, deferrable=deferrable).execute() == {
        "package_id": package_id,
        "domain_name": "products",
        "version": version,
    }


def test_a_version_on_its_way_is_waited_for_without_a_worker(world, begun):
    run = available(begun, before=versions(world, begun)[0], timeout=600)

    deferred = run.deferred()
    world.control.clear_faults()
    found = run.resumed(deferred, run_here(deferred.trigger))

    assert isinstance(deferred.trigger, PackagePublishedTrigger)
    assert (deferred.trigger.timeout_seconds, deferred.timeout > timedelta(seconds=600)) == (600, True)
    assert (found["package_id"], found["version"]) == (begun, versions(world, begun)[1])
    assert "status" not in found


def test_a_domain_on_the_old_version_is_waited_for_without_a_worker(world, associating):
    run = associated(associating)

    deferred = run.deferred()
    world.control.clear_faults()
    found = run.resumed(deferred, run_here(deferred.trigger))

    assert isinstance(deferred.trigger, PackageAssociatedTrigger)
    assert (found["domain_name"], found["version"]) == ("products", versions(world, associating)[1])


def test_a_sensor_that_must_not_defer_waits_in_its_process(world, associating):
    threading.Timer(0.2, world.control.clear_faults).start()

    found = associated(associating, deferrable=False).execute()

    assert found["version"] == versions(world, associating)[1]


def test_a_wait_that_takes_too_long_fails_with_the_last_status(world, associating):
    run = associated(associating, deferrable=False, timeout=0.2)

    with run.fails(DataError) as caught:
        run.execute()

    assert f"last seen: package {associating} on products is " in str(caught.value)


def test_a_package_that_does_not_exist_fails_at_once(world):
    for run in (available("F999999999"), associated("F999999999")):
        with run.fails(DataError):
            run.execute()


@pytest.mark.parametrize("kind", [OpenSearchPackageAvailableSensor, OpenSearchPackageAssociationSensor])
def test_what_tells_one_package_from_another_may_be_templated(kind):
    arguments = {"package_id": "F1", "fingerprint": WANTED}
    if kind is OpenSearchPackageAssociationSensor:
        arguments["domain_name"] = "products"
    sensor: Any = kind(task_id="x", **arguments)

    assert set(sensor.template_fields) >= {*arguments, "aws_conn_id", "region_name"}
    assert all(hasattr(sensor, field) for field in sensor.template_fields)
    assert (sensor.deferrable, sensor.retries, sensor.retry_policy) == (True, 3, RETRY_POLICY)


# -- of the inventory ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sensor(world: SmallWorld, tmp_path: Path) -> Callable[..., Running]:
    domain: Any = load(world.inventory(tmp_path)).domains["products"]

    def make(package_id: str, *, try_number: int = 1, **kwargs: Any) -> Running:
        made = OpenSearchDictionaryAssociationSensor(
            task_id="x",
            domain=domain.model_dump(mode="json"),
            package="synonyms",
            package_id=package_id,
            fingerprint=WANTED,
            **kwargs,
        )
        return Running(made, try_number=try_number)

    return make


def test_a_domain_that_has_the_content_is_seen_without_a_wait(world, sensor):
    package_id = world.publish(NEW)
    world.control.reset_calls()

    found = sensor(package_id).execute()

    assert found == {"package_id": package_id, "domain_name": "products", "version": versions(world, package_id)[0]}
    assert "AssociatePackage" not in world.control.calls()


def test_a_domain_that_is_given_the_content_is_waited_for(world, sensor, associating):
    run = sensor(associating, timeout_seconds=77)

    deferred = run.deferred()
    world.control.clear_faults()
    found = run.resumed(deferred, run_here(deferred.trigger))

    assert deferred.trigger.timeout_seconds == 77
    assert (found["domain_name"], found["version"]) == ("products", versions(world, associating)[1])


def test_a_failed_association_fails_the_first_try_and_is_asked_for_again_by_the_next(world, sensor):
    package_id = world.publish(NEW, associate=False)
    world.control.fault("association_failed", "AssociatePackage", last=1, error_message="two at once")
    world.client.associate_package(PackageID=package_id, DomainName="products")
    world.pass_time(60)
    first = sensor(package_id)

    with first.fails(TransientError) as caught:
        first.execute()
    found = sensor(package_id, try_number=2, deferrable=False).execute()

    assert "ASSOCIATION_FAILED: SimulatedError: two at once" in str(caught.value)
    assert found["version"] == versions(world, package_id)[0]


def test_a_package_that_somebody_took_off_the_domain_is_put_on_it_again_by_the_next_try(world, sensor):
    package_id = world.publish(NEW, associate=False)
    first = sensor(package_id)

    with first.fails(TransientError) as caught:
        first.execute()
    found = sensor(package_id, try_number=2, deferrable=False).execute()

    assert "is not on the domain" in str(caught.value)
    assert found["domain_name"] == "products"

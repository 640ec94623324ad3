"""Every answer of the simulator is one that botocore's model of the service allows."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from botocore.model import ListShape, Shape, StringShape, StructureShape

from local.simulators.packages.api import service_model
from local.simulators.packages.faults import OPERATIONS

SOURCE = {"S3BucketName": "bucket", "S3Key": "object"}
TYPES = {"string": str, "boolean": bool, "integer": int, "timestamp": (int, float)}


def violations(shape: Shape, value: Any, path: str) -> list[str]:
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return [f"{path}: expected a structure, found {value!r}"]
        found = [f"{path}.{name}: not a member of {shape.name}" for name in value if name not in shape.members]
        found += [f"{path}.{name}: missing" for name in shape.required_members if name not in value]
        return found + [
            text
            for name in value
            if name in shape.members
            for text in violations(shape.members[name], value[name], f"{path}.{name}")
        ]
    if isinstance(shape, ListShape):
        return [text for index, item in enumerate(value) for text in violations(shape.member, item, f"{path}[{index}]")]
    if not isinstance(value, TYPES[shape.type_name]):
        return [f"{path}: expected {shape.type_name}, found {value!r}"]
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        return [f"{path}: {value!r} is not one of {shape.enum}"]
    return []


class Recorder:
    """Sees the raw answers that the client gets, before botocore drops what it does not know."""

    def __init__(self, client: Any) -> None:
        self.model = service_model()
        self.seen: dict[str, set[str]] = {}
        self.violations: list[str] = []
        client.meta.events.register("before-parse.opensearch", self.record)

    def record(self, operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
        name, status = operation_model.name, response_dict["status_code"]
        body = requests.compat.json.loads(response_dict["body"])
        if status < 300:
            self.violations += violations(self.model.operation_model(name).output_shape, body, name)
            self.seen.setdefault(name, set()).add("answer")
            return
        code = response_dict["headers"]["x-amzn-errortype"]
        self.seen.setdefault(name, set()).add(code)
        listed = {shape.name: shape for shape in self.model.operation_model(name).error_shapes}
        if code not in listed:
            self.violations.append(f"{name}: {code} is not listed for the operation")
        elif status != listed[code].metadata.get("error", {}).get("httpStatusCode", 400):
            self.violations.append(f"{name}: {code} with HTTP {status}")
        self.violations += violations(listed[code], body, code) if code in listed and listed[code].members else []


@pytest.fixture
def recorder(client) -> Recorder:
    return Recorder(client)


def quietly(client, call, **parameters):
    try:
        return call(**parameters)
    except client.exceptions.ClientError:
        return None


def use_everything(world, client, control, publish) -> None:
    """Drive packages and associations through every state that there is, reading all the time."""
    control.domain("search", "127.0.0.1:9200")
    control.domain("other")
    package_id = publish()
    second = publish("user-dictionary")
    read_everything(client, package_id)
    for name in ("search", "nowhere"):
        quietly(client, client.associate_package, PackageID=package_id, DomainName=name)
    client.associate_package(PackageID=second, DomainName="search")
    for seconds in (0, 45):
        world.pass_time(seconds)
        read_everything(client, package_id)
    quietly(client, client.associate_package, PackageID=package_id, DomainName="search")
    for kind in ("copy_failed", "validation_failed"):
        control.fault(kind, last=1)
        client.update_package(PackageID=package_id, PackageSource=SOURCE, CommitMessage="x", PackageDescription="d")
        quietly(client, client.update_package, PackageID=package_id, PackageSource=SOURCE)
        for seconds in (1, 10, 5):
            world.pass_time(seconds)
            read_everything(client, package_id)
    control.fault("association_failed", error_type="")
    publish(package_id=package_id, message="searchops sha256=0")
    client.associate_package(PackageID=package_id, DomainName="other")
    world.pass_time(45)
    read_everything(client, package_id)
    client.dissociate_package(PackageID=package_id, DomainName="search")
    read_everything(client, package_id)
    quietly(client, client.dissociate_package, PackageID=package_id, DomainName="search")
    quietly(client, client.create_package, PackageName="synonyms", PackageType="TXT-DICTIONARY", PackageSource=SOURCE)
    quietly(client, client.create_package, PackageName="other", PackageType="ZIP-PLUGIN", PackageSource=SOURCE)
    quietly(client, client.create_package, PackageName="Upper", PackageType="TXT-DICTIONARY", PackageSource={})
    quietly(client, client.update_package, PackageID="G1", PackageSource=SOURCE)
    read_everything(client, "F999")


def read_everything(client, package_id) -> None:
    quietly(client, client.describe_packages, Filters=[{"Name": "PackageID", "Value": [package_id]}])
    client.describe_packages(MaxResults=1)
    quietly(client, client.list_domains_for_package, PackageID=package_id)
    quietly(client, client.get_package_version_history, PackageID=package_id, MaxResults=1)
    for domain in ("search", "other", "nowhere"):
        quietly(client, client.list_packages_for_domain, DomainName=domain)
        quietly(client, client.describe_domain, DomainName=domain)


def test_every_answer_of_every_operation_fits_the_model(world, client, control, publish, recorder):
    use_everything(world, client, control, publish)

    assert recorder.violations == []
    assert {name for name, kinds in recorder.seen.items() if "answer" in kinds} == OPERATIONS
    errors = {kind for kinds in recorder.seen.values() for kind in kinds} - {"answer"}
    assert errors == {
        "AccessDeniedException",
        "ConflictException",
        "InvalidTypeException",
        "ResourceAlreadyExistsException",
        "ResourceNotFoundException",
        "ValidationException",
    }
    shown = {row.after for row in control.transitions()}
    assert shown >= {"COPYING", "COPY_FAILED", "VALIDATING", "VALIDATION_FAILED", "AVAILABLE"}
    assert shown >= {"ASSOCIATING", "ASSOCIATION_FAILED", "ACTIVE", "DISSOCIATING"}


def test_the_check_itself_finds_what_is_wrong():
    shape = service_model().operation_model("DescribePackages").output_shape

    found = violations(shape, {"PackageDetailsList": [{"PackageStatus": "READY", "Colour": "red", "CreatedAt": "now"}]}, "answer")

    assert len(found) == 3

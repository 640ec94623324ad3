"""Whatever is asked in whatever order: versions never go back, a domain serves only what was available, pages lose nothing."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from local.simulators.packages.faults import CallFaults, Fault
from local.simulators.packages.paging import page
from local.simulators.packages.service import ServiceError
from local.simulators.packages.settings import Settings
from tests.unit.local.packages.world import World

DOMAINS = ["search", "other", "large"]
KINDS = ["copy_failed", "validation_failed", "association_failed", "slow_state", "stay"]


class Packages(RuleBasedStateMachine):
    """Calls of every kind, steps of the clock from a blink to a day, faults on the way."""

    packages: Bundle[str] = Bundle("packages")

    @initialize(target=packages)
    def start(self) -> str:
        self.world = World(Settings(page_limit=2))
        self.available: dict[str, list[str]] = {}
        for name in DOMAINS:
            self.world.domain(name, serial_only=name != "large")
        self.world.bucket.objects["a"] = b"a, b\n"
        self.create("one", None, "a")
        self.world.pass_time(20)
        return "F100000001"

    def call(self, operation: str, parameters: dict[str, Any], kind: str | None) -> dict[str, Any] | None:
        faults = CallFaults([Fault(kind, factor=3.0)] if kind else [])
        try:
            answer: dict[str, Any] = getattr(self.world.service, operation)(parameters, faults)
        except ServiceError:
            return None
        return answer

    @rule(
        target=packages,
        name=st.sampled_from(["one", "two", "three"]),
        kind=st.none() | st.sampled_from(KINDS),
        key=st.sampled_from("abc"),
    )
    def create(self, name: str, kind: str | None, key: str) -> Any:
        answer = self.call(
            "create_package",
            {"PackageName": name, "PackageType": "TXT-DICTIONARY", "PackageSource": {"S3BucketName": "b", "S3Key": key}},
            kind,
        )
        return answer["PackageDetails"]["PackageID"] if answer else multiple()

    @rule(package=packages, kind=st.none() | st.sampled_from(KINDS), key=st.sampled_from("abc"))
    def update(self, package: str, kind: str | None, key: str) -> None:
        self.call("update_package", {"PackageID": package, "PackageSource": {"S3BucketName": "b", "S3Key": key}}, kind)

    @rule(package=packages, domain=st.sampled_from(DOMAINS))
    def publish_and_associate(self, package: str, domain: str) -> None:
        """The way that leads somewhere, so that a sequence gets far enough."""
        self.world.bucket.objects["a"] = b"a, b\n"
        self.world.pass_time(100)
        self.update(package, None, "a")
        self.world.pass_time(20)
        self.associate(package, domain, None)
        self.world.pass_time(50)

    @rule(package=packages, domain=st.sampled_from(DOMAINS), kind=st.none() | st.sampled_from(KINDS))
    def associate(self, package: str, domain: str, kind: str | None) -> None:
        self.call("associate_package", {"PackageID": package, "DomainName": domain}, kind)

    @rule(package=packages, domain=st.sampled_from(DOMAINS))
    def dissociate(self, package: str, domain: str) -> None:
        self.call("dissociate_package", {"PackageID": package, "DomainName": domain}, None)

    @rule(content=st.sampled_from([b"a, b\n", b"\xff\xfe", b""]), key=st.sampled_from("ab"))
    def upload(self, content: bytes, key: str) -> None:
        self.world.bucket.objects[key] = content

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 5.0, 10.0, 45.0, 86400.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def release(self) -> None:
        self.world.service.release()

    @invariant()
    def versions_never_go_back(self) -> None:
        for row in self.pages("describe_packages", {}, "PackageDetailsList"):
            seen = self.available.setdefault(row["PackageID"], [])
            version = row.get("AvailablePackageVersion")
            if version and version not in seen:
                seen.append(version)
            assert seen[-1:] == ([version] if version else [])
            assert seen == sorted(seen, key=lambda name: int(name[1:]))
            assert row["PackageStatus"] != "AVAILABLE" or version
            history = self.pages("get_package_version_history", {"PackageID": row["PackageID"]}, "PackageVersionHistoryList")
            assert [entry["PackageVersion"] for entry in history][:1] == seen[-1:]

    @invariant()
    def a_domain_serves_only_what_was_available(self) -> None:
        by_domain = [row for name in DOMAINS for row in self.pages("list_packages_for_domain", {"DomainName": name}, LIST)]
        by_package = [row for id in self.available for row in self.pages("list_domains_for_package", {"PackageID": id}, LIST)]
        assert sorted(map(str, by_domain)) == sorted(map(str, by_package))
        for row in by_domain:
            history = self.world.service.content(row["PackageID"])
            assert row["DomainPackageStatus"] != "ACTIVE" or row["PackageVersion"] in history

    def pages(self, operation: str, parameters: dict[str, Any], member: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token: str | None = ""
        while token is not None:
            answer = self.call(operation, {**parameters, **({"NextToken": token} if token else {})}, None)
            assert answer is not None
            found += answer[member]
            token = answer.get("NextToken")
        keys = [
            row.get("PackageVersion") if member.endswith("HistoryList") else (row["PackageID"], row.get("DomainName"))
            for row in found
        ]
        assert len(set(keys)) == len(keys)
        return found


LIST = "DomainPackageDetailsList"
TestPackages = Packages.TestCase
TestPackages.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


PASSING = [f"passing-{number}" for number in range(5)]


@given(
    rows=st.sets(st.text(max_size=3), max_size=30),
    passing=st.lists(st.sets(st.sampled_from(PASSING)), min_size=1, max_size=5),
    size=st.integers(1, 7),
    shuffle=st.booleans(),
)
@settings(deadline=None)
def test_rows_that_stay_are_given_once_while_others_come_and_go(rows, passing, size, shuffle):
    found: list[str] = []
    token: str | None = ""
    for present in itertools.cycle(passing):
        given_rows, token = page(sorted(rows | present), lambda row: f"key {row}", size, token, shuffle=shuffle)
        assert len(given_rows) <= size
        found += given_rows
        if token is None:
            break

    assert sorted(row for row in found if row not in PASSING) == sorted(rows)
    assert len(set(found)) == len(found)

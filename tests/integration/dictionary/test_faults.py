"""The service throttles, resets, lags, fails or stays: the run ends green on the right content, or red with the reason."""

from __future__ import annotations

import time

import pytest

from searchops.core.dictionary.model import commit_message
from tests.integration.dictionary.company import SPEED, Company, fingerprint, synonyms_index, until

OLD, NEW = ("sofa, couch",), ("sofa, couch", "laptop, notebook")
READS = ("DescribePackages", "ListDomainsForPackage", "GetPackageVersionHistory", "ListPackagesForDomain", "DescribeDomain")
WRITES = ("UpdatePackage", "AssociatePackage")


@pytest.fixture
def shop(company: Company) -> Company:
    """A domain whose endpoint is looked up, with synonyms and an index that the service reloads; new words wait."""
    package_id = company.package("synonyms", OLD, ours=True)
    waits = {"publish": "20s", "associate": "20s", "reload": "10s"}
    company.domain("shop", "synonyms", host=False, waits=waits)
    company.index("shop-1", synonyms_index(str(package_id)))
    company.deploy("synonyms", *NEW)
    return company


def short_waits(shop: Company, **waits: str) -> None:
    shop.domains["shop"]["waits"] = {**shop.domains["shop"]["waits"], **waits}


def is_live_and_published_once(shop: Company) -> bool:
    assert shop.versions("synonyms") == ["", commit_message(fingerprint(*NEW))]
    assert shop.association("synonyms")["PackageVersion"] == "v2"
    assert shop.applied("shop-1", "synonyms") == fingerprint(*NEW)
    return sorted(shop.tokens("shop-1", "laptop")) == ["laptop", "notebook"]


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_a_call_that_fails_now_and_then_is_made_again(shop: Company, operation: str) -> None:
    kinds = enumerate(["throttle", "reset", "server_error"])
    shop.simulator.faults(
        *({"kind": kind, "operation": operation, "first": 2 * number + 1, "last": 2 * number + 1} for number, kind in kinds)
    )

    run = shop.run()

    assert run.green, run
    assert is_live_and_published_once(shop)


@pytest.mark.parametrize("operation", READS)
def test_an_answer_to_a_read_that_is_lost_is_asked_for_again(shop: Company, operation: str) -> None:
    shop.simulator.faults(*({"kind": "reset_after", "operation": operation, "first": call, "last": call} for call in (1, 3)))

    assert shop.run().green
    assert is_live_and_published_once(shop)


@pytest.mark.parametrize("operation", WRITES)
def test_a_write_whose_answer_is_lost_is_looked_for_and_not_done_twice(shop: Company, operation: str) -> None:
    shop.simulator.fault("reset_after", operation, first=1, last=1)

    run = shop.run()

    assert run.green, run
    assert is_live_and_published_once(shop)
    assert shop.associations_begun("synonyms") == 2  # by hand and once by us


@pytest.mark.parametrize("kind", ["throttle", "reset", "reset_after", "server_error"])
def test_a_package_is_created_once_although_the_call_fails(company: Company, kind: str) -> None:
    company.package("synonyms")
    company.domain("shop", "synonyms")
    wanted = company.deploy("synonyms", *NEW)
    company.simulator.fault(kind, "CreatePackage", first=1, last=1)

    run = company.run()

    assert run.green, run
    assert len(company.aws.describe_packages()["PackageDetailsList"]) == 1
    assert company.versions("synonyms") == [""]
    assert company.details(company.id_of("synonyms"))["PackageDescription"] == commit_message(wanted)


def test_throttling_that_does_not_end_is_red_and_says_so(shop: Company) -> None:
    shop.simulator.fault("throttle", "UpdatePackage")

    run = shop.run()

    assert run.failed == ["synonyms.publish"]
    assert "throttled by AWS" in run.error("synonyms.publish")
    assert run.tries["synonyms.publish"] > 1


DETAILS = [
    ({"error_type": "SomeError", "error_message": "Line 3 is odd"}, "SomeError: Line 3 is odd"),
    ({"error_type": "", "error_message": "Line 3 is odd"}, "Line 3 is odd"),
    ({"details": False}, "gave no reason"),
]


@pytest.mark.parametrize(
    ("kind", "status", "details", "told"),
    [
        *(("validation_failed", "VALIDATION_FAILED", *details) for details in DETAILS),
        ("copy_failed", "COPY_FAILED", *DETAILS[0]),
    ],
)
def test_a_publication_that_fails_is_red_with_the_words_of_aws_and_repeated_by_the_next_run(
    shop: Company, kind: str, status: str, details: dict[str, object], told: str
) -> None:
    shop.simulator.fault(kind, "UpdatePackage", first=1, last=1, **details)

    run = shop.run()

    assert run.failed == ["synonyms.publish"]
    assert status in run.error("synonyms.publish")
    assert told in run.error("synonyms.publish")
    assert run.tries["synonyms.publish"] == 1
    assert shop.association("synonyms")["PackageVersion"] == "v1"
    assert shop.run().green
    assert is_live_and_published_once(shop)


@pytest.mark.parametrize(("details", "told"), DETAILS)
def test_an_association_that_keeps_failing_is_red_with_the_words_of_aws(
    shop: Company, details: dict[str, object], told: str
) -> None:
    shop.simulator.fault("association_failed", "AssociatePackage", **details)

    run = shop.run()

    assert run.failed == ["synonyms.wait_for_domain"]
    assert "ASSOCIATION_FAILED" in run.error("synonyms.wait_for_domain")
    assert told in run.error("synonyms.wait_for_domain")
    assert shop.applied("shop-1", "synonyms") is None


def test_an_association_that_failed_once_is_tried_again(shop: Company) -> None:
    shop.simulator.fault("association_failed", "AssociatePackage", first=1, last=1)

    run = shop.run()

    assert run.green, run
    assert run.tries["synonyms.wait_for_domain"] == 2
    assert is_live_and_published_once(shop)


def test_an_association_that_failed_in_the_last_run_is_made_by_the_next(shop: Company) -> None:
    shop.simulator.fault("association_failed", "AssociatePackage")
    assert not shop.run().green
    shop.simulator.clear_faults()

    run = shop.run()

    assert run.value("synonyms.plan")["step"] == "associate"
    assert run.green, run
    assert is_live_and_published_once(shop)


@pytest.mark.parametrize(
    ("operation", "state", "wait", "task"),
    [
        ("UpdatePackage", "COPYING", "publish", "publish"),
        ("UpdatePackage", "VALIDATING", "publish", "publish"),
        ("AssociatePackage", "ASSOCIATING", "associate", "wait_for_domain"),
    ],
)
def test_a_state_that_never_ends_is_red_with_the_last_status(
    shop: Company, operation: str, state: str, wait: str, task: str
) -> None:
    short_waits(shop, **{wait: "1s"})
    shop.simulator.fault("stay", operation, state=state)

    stuck = shop.run()

    assert stuck.failed == [f"synonyms.{task}"]
    assert "not done after" in stuck.error(f"synonyms.{task}")
    assert state in stuck.error(f"synonyms.{task}")
    shop.simulator.clear_faults()
    assert shop.run().green
    assert is_live_and_published_once(shop)


LAG_SECONDS = 300.0  # of the service, a second here


@pytest.fixture
def settled(shop: Company) -> Company:
    """Nothing has happened for as long as a read lags behind."""
    until(lambda: time.time() - shop.simulator.transitions()[-1].time > LAG_SECONDS / SPEED)
    return shop


@pytest.mark.parametrize("operation", READS[:4])
def test_a_read_that_lags_behind_is_waited_for(settled: Company, operation: str) -> None:
    settled.simulator.fault("lag", operation, seconds=LAG_SECONDS)

    first, second = settled.run(), settled.run()

    assert first.green, first
    assert second.green, second
    assert is_live_and_published_once(settled)


def test_reads_that_all_lag_behind_lead_to_no_second_publication(settled: Company) -> None:
    settled.simulator.faults(*({"kind": "lag", "operation": operation, "seconds": LAG_SECONDS} for operation in READS[:4]))

    first, second = settled.run(), settled.run()

    assert first.green, first
    assert second.green, second
    assert is_live_and_published_once(settled)


@pytest.mark.parametrize("shown", ["old", "new"])
def test_a_domain_that_is_slow_is_waited_for_whichever_version_it_shows(shop: Company, shown: str) -> None:
    shop.simulator.settings(version_while_associating=shown)
    shop.simulator.fault("slow_state", "AssociatePackage", factor=10)

    assert shop.run().green
    assert is_live_and_published_once(shop)


def test_a_reload_that_did_not_happen_is_red_without_any_probe(shop: Company) -> None:
    short_waits(shop, reload="1s")
    shop.simulator.fault("skip_reload", "AssociatePackage")

    run = shop.run()

    association = shop.association("synonyms")
    assert (association["DomainPackageStatus"], association["PackageVersion"]) == ("ACTIVE", "v2")
    assert shop.tokens("shop-1", "laptop") == ["laptop"]
    assert run.failed == ["synonyms.apply"]
    assert "other tokens on shop-1" in run.error("synonyms.apply")
    assert shop.applied("shop-1", "synonyms") is None
    assert not shop.run().green


def test_a_reload_that_comes_late_is_verified_by_a_later_run(shop: Company) -> None:
    short_waits(shop, reload="1s")
    shop.simulator.fault("skip_reload", "AssociatePackage", first=1, last=1)
    assert not shop.run().green
    shop.node.indices.close(index="shop-1")
    shop.node.indices.open(index="shop-1")

    run = shop.run()

    assert run.green, run
    assert is_live_and_published_once(shop)


def test_nothing_is_associated_while_another_package_of_the_domain_is_in_transit(shop: Company) -> None:
    other = shop.create("other", b"a, b\n", ours=False)
    shop.simulator.fault("slow_state", "AssociatePackage", factor=10, package_id=other)
    shop.aws.associate_package(PackageID=other, DomainName="shop")

    run = shop.run()

    assert run.green, run
    assert is_live_and_published_once(shop)
    begun = [row for row in shop.simulator.transitions(domain="shop") if row.after in ("ASSOCIATING", "ACTIVE")]
    assert [(row.package_id, row.after) for row in begun][-4:] == [
        (other, "ASSOCIATING"),
        (other, "ACTIVE"),
        (shop.ids["synonyms"], "ASSOCIATING"),
        (shop.ids["synonyms"], "ACTIVE"),
    ]

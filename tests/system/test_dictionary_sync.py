"""Dictionaries go live on the demo's domain, and on two domains that share one."""

from __future__ import annotations

from datetime import datetime

from local.demo.acts import Run
from local.demo.dataset import SYNONYMS, USER_DICTIONARY
from local.demo.world import ALIAS, DOMAIN, INDEX, PACKAGE_IDS
from searchops.core.dictionary.model import sha256
from tests.system.company import Company, words
from tests.system.conftest import FirstNight, SecondNight

RUN = ("plan", "publish", "associate", "wait_for_domain", "apply", "verify")
NOT_NEEDED = ("drift", "awaiting_apply", "request_rebuild", "awaiting_rebuild")
WRITES = {"CreatePackage", "UpdatePackage", "AssociatePackage", "DissociatePackage"}


def states(run: Run, package: str) -> dict[str, str | None]:
    return {task.removeprefix(f"{package}."): state for task, state in run.tasks.items() if task.startswith(f"{package}.")}


def all_skipped_but_plan(run: Run) -> bool:
    return all(state == ("success" if task.endswith(".plan") else "skipped") for task, state in run.tasks.items())


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def test_a_green_run_means_that_searches_hit(first_night: FirstNight) -> None:
    run = first_night.runs[DOMAIN]
    run.require("success")

    assert [found.hit for found in first_night.before] == [False] * len(first_night.before)
    assert [found.hit for found in first_night.after] == [True] * len(first_night.before) != []


def test_the_tasks_that_had_something_to_do_succeed_and_the_others_are_skipped(first_night: FirstNight) -> None:
    run = first_night.runs[DOMAIN]
    done, not_needed = dict.fromkeys(RUN, "success"), dict.fromkeys(NOT_NEEDED, "skipped")

    # The user dictionary is read when an index is opened, so that this one was closed; synonyms are reloaded by the service.
    assert states(run, USER_DICTIONARY) == {**done, **not_needed, "open_indexes": "success"}
    assert states(run, SYNONYMS) == {**done, **not_needed, "open_indexes": "skipped"}
    assert list(run.xcom(f"{USER_DICTIONARY}.apply")) == [INDEX]


def test_two_runs_of_a_domain_follow_one_another(company: Company, first_night: FirstNight) -> None:
    first, second = first_night.runs[DOMAIN], first_night.second_run
    second.require("success")

    began, ended = (company.airflow.run(run.dag_id, run.run_id) for run in (second, first))
    assert at(began["start_date"]) >= at(ended["end_date"])
    assert all_skipped_but_plan(second)


def test_two_domains_that_share_a_package_both_serve_its_content(company: Company, first_night: FirstNight) -> None:
    fingerprint = sha256(words("twin, double"))
    for domain in ("twin-a", "twin-b"):
        first_night.runs[domain].require("success")

        assert company.association(company.package_ids["twin-words"], domain)["DomainPackageStatus"] == "ACTIVE"
        assert company.applied(f"{domain}-1", "twin-words") == fingerprint
        assert company.hits(f"{domain}-1", "double") == 1
    assert len(company.versions("twin-words")) == 2


def test_a_second_run_does_nothing_and_costs_a_few_reads(company: Company, second_night: SecondNight) -> None:
    run = second_night.runs[DOMAIN]
    run.require("success")

    assert all_skipped_but_plan(run)
    # Two domains of two dictionaries, and nothing else, called.
    assert 0 < len(second_night.calls) <= 4 * 4
    assert not {call.operation for call in second_night.calls} & WRITES
    for package in (USER_DICTIONARY, SYNONYMS):
        assert sum(PACKAGE_IDS[package] in call.path for call in second_night.calls) <= 3


def test_a_dry_run_writes_nothing(company: Company, second_night: SecondNight) -> None:
    searches = company.searches(user_dictionary=1, synonyms=1)
    company.packages.reset_calls()
    meta, objects, misses = company.node.indices.get_mapping(index=INDEX), company.objects(), company.measure(searches)

    company.use(user_dictionary=1, synonyms=1)
    run = company.finish(company.start(dry_run=True))

    run.require("success")
    assert all_skipped_but_plan(run)
    assert [run.xcom(f"{package}.plan")["step"] for package in (USER_DICTIONARY, SYNONYMS)] == ["publish", "publish"]
    assert not set(company.packages.calls()) & WRITES
    assert company.objects() == objects
    assert company.node.indices.get_mapping(index=INDEX) == meta
    assert company.measure(searches) == misses


def test_a_forced_run_of_chosen_packages_publishes_those_and_no_other(company: Company, second_night: SecondNight) -> None:
    company.use(user_dictionary=1, synonyms=0)  # the synonyms are what is live; the user dictionary is not
    held = {package: company.package(PACKAGE_IDS[package])["AvailablePackageVersion"] for package in PACKAGE_IDS}

    run = company.finish(company.start(packages=[SYNONYMS], force=True))

    run.require("success")
    holds = {package: company.package(PACKAGE_IDS[package])["AvailablePackageVersion"] for package in PACKAGE_IDS}
    assert holds[SYNONYMS] != held[SYNONYMS]
    assert holds[USER_DICTIONARY] == held[USER_DICTIONARY]
    assert states(run, SYNONYMS)["verify"] == "success"
    assert run.xcom(f"{USER_DICTIONARY}.plan")["step"] == "not chosen"
    assert all(found.hit for found in company.measure(list(company.data.synonyms[0].searches)))
    assert company.node.count(index=ALIAS)["count"] > 0

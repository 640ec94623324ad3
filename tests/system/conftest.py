"""One Airflow stack for all system tests, and the nights that several of them look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from local.cloud import Cloud
from local.demo.acts import Run
from local.demo.dataset import Found
from local.demo.world import DOMAIN
from local.simulators.http import Call
from tests.system.company import REBUILDING, REPORTING, Company, running_company
from tests.system.stories import STORIES, Stories

DRIFT = "fixed, byhand\n"


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with running_company(tmp_path_factory.mktemp("company")) as company:
        yield company


@pytest.fixture(scope="session")
def airflow_cloud(company: Company) -> Cloud:
    return company.cloud


@dataclass(frozen=True, slots=True)
class FirstNight:
    """All domains synchronised at the same time, the demo's by two runs that were asked for at once."""

    runs: Mapping[str, Run]
    second_run: Run
    before: list[Found]
    after: list[Found]


@pytest.fixture(scope="session")
def first_night(company: Company) -> FirstNight:
    company.deploy("twin-words", "twin, double")
    company.deploy("drifting-words", "new, ours")
    company.deploy("followed-words", "never, published")
    company.deploy("rebuilding-words", REBUILDING)
    company.deploy("following-words", "next, following")
    company.publish_by_hand(company.package_ids["drifting-words"], DRIFT.encode(), "quick fix")
    company.put_on_domain("reporting-words", "reporting", REPORTING)
    for index in ("twin-a-1", "twin-b-1", "rebuilding-1", "rebuilding-2", "reporting-1"):
        company.index_document(
            index, {"rebuilding-2": "next", "rebuilding-1": "rebuild", "reporting-1": "report"}.get(index, "twin")
        )
    refuse = {"code": "UnrecognizedClientException", "message": "The security token included in the request is invalid"}
    company.packages.fault("access_denied", "GetPackageVersionHistory", package_id=company.package_ids["denied-words"], **refuse)
    searches = company.searches(user_dictionary=0, synonyms=0)
    before = company.measure(searches)
    started = {
        domain: company.start(domain) for domain in (DOMAIN, "twin-a", "twin-b", "rebuilding", "drifting", "reporting", "denied")
    }
    second = company.start(DOMAIN)
    runs = {domain: company.finish(run_id, domain) for domain, run_id in started.items()}
    return FirstNight(runs, company.finish(second), before, company.measure(searches))


@dataclass(frozen=True, slots=True)
class SecondNight:
    """Nothing has changed; ``calls`` are those to the package API."""

    runs: Mapping[str, Run]
    calls: list[Call]


@pytest.fixture(scope="session")
def second_night(company: Company, first_night: FirstNight) -> SecondNight:
    company.told(first_night.runs["rebuilding"].run_id)  # so that it is not mixed up with what is told of this night
    company.packages.reset_calls()
    started = {domain: company.start(domain) for domain in (DOMAIN, "rebuilding")}
    runs = {domain: company.finish(run_id, domain) for domain, run_id in started.items()}
    return SecondNight(runs, company.packages.log())


@pytest.fixture(scope="session")
def stories(company: Company) -> Iterator[Stories]:
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(story, company) for name, story in STORIES.items()}

"""Runs that meet: two on one domain, two that publish one package."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from searchops.core.dictionary.model import commit_message
from searchops.core.errors import TransientError
from tests.integration.dictionary.airflow_here import Run, run_domain
from tests.integration.dictionary.company import Company, fingerprint, synonyms_index, words_index

OLD, NEW, OTHER = ("sofa, couch",), ("sofa, couch", "laptop, notebook"), ("sofa, couch", "lamp, light")
DOMAINS = ("north", "south")


@pytest.fixture
def twins(company: Company) -> Company:
    """Two domains that use one package."""
    package_id = str(company.package("synonyms", OLD, ours=True))
    for domain in DOMAINS:
        company.domain(domain, "synonyms")
        company.index(f"{domain}-1", synonyms_index(package_id))
    company.deploy("synonyms", *NEW)
    return company


def at_once(*runs: Callable[[], Run]) -> list[Run]:
    with ThreadPoolExecutor(len(runs)) as threads:
        return [future.result() for future in [threads.submit(run) for run in runs]]


def serves(company: Company, index: str, lines: tuple[str, ...]) -> bool:
    return all(sorted(company.tokens(index, line.split(", ")[0])) == sorted(line.split(", ")) for line in lines)


@pytest.mark.parametrize("meeting", ["synonyms.plan", "synonyms.publish"])
def test_two_domains_that_publish_the_same_words_at_once_make_one_version(twins: Company, meeting: str) -> None:
    twins.install()
    both = threading.Barrier(2)

    runs = at_once(*(lambda domain=domain: run_domain(domain, before={meeting: lambda: both.wait(60)}) for domain in DOMAINS))

    assert all(run.green for run in runs), runs
    assert twins.versions("synonyms") == ["", commit_message(fingerprint(*NEW))]
    for domain in DOMAINS:
        assert serves(twins, f"{domain}-1", NEW)
        assert twins.applied(f"{domain}-1", "synonyms") == fingerprint(*NEW)


def test_of_two_domains_that_publish_other_words_at_once_none_is_green_on_the_wrong_ones(twins: Company) -> None:
    twins.install()
    north_has_planned, both = threading.Event(), threading.Barrier(2)
    wanted = {"north": NEW, "south": OTHER}

    def south_plans() -> None:
        north_has_planned.wait(60)
        twins.deploy("synonyms", *OTHER)

    def meet() -> None:
        north_has_planned.set()
        both.wait(60)

    runs = dict(
        zip(
            DOMAINS,
            at_once(
                lambda: run_domain("north", before={"synonyms.publish": meet}),
                lambda: run_domain("south", before={"synonyms.plan": south_plans, "synonyms.publish": meet}),
            ),
            strict=True,
        )
    )

    for domain, run in runs.items():
        if run.green:
            assert serves(twins, f"{domain}-1", wanted[domain]), run
            assert twins.applied(f"{domain}-1", "synonyms") == fingerprint(*wanted[domain])
        else:
            told = " ".join(map(str, run.errors.values()))
            assert "overtaken" in told or any(isinstance(error, TransientError) for error in run.errors.values()), run
    assert any(run.green for run in runs.values()), runs
    again = {domain: run_domain(domain) for domain in DOMAINS}
    assert all(run.green for run in again.values()), again
    assert all(serves(twins, f"{domain}-1", OTHER) for domain in DOMAINS)


@pytest.mark.parametrize("meeting", ["plan", "publish", "associate", "apply"])
def test_two_runs_that_meet_on_a_domain_publish_and_associate_once(company: Company, meeting: str) -> None:
    package_id = str(company.package("words", ["東京,東京,トウキョウ,名詞"], kind="kuromoji_user_dictionary", ours=True))
    company.domain("shop", "words")
    company.index("shop-1", words_index(package_id), on_search_time_use="reopen")
    wanted = company.deploy("words", "朝青龍,朝青龍,アサショウリュウ,名詞")
    company.install()
    both = threading.Barrier(2)

    runs = at_once(*(lambda: run_domain("shop", before={f"words.{meeting}": lambda: both.wait(60)}) for _ in range(2)))

    for run in runs:
        assert run.green or any(isinstance(error, TransientError) for error in run.errors.values()), run
    assert company.run().green
    assert company.versions("words") == ["", commit_message(wanted)]
    assert company.associations_begun("words") == 2  # by hand and once by us
    assert company.is_open("shop-1")
    assert company.tokens("shop-1", "朝青龍") == ["朝青龍"]
    assert company.applied("shop-1", "words") == wanted
    assert "reopening" not in company.meta("shop-1")["searchops"]

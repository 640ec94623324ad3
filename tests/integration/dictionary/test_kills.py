"""The process is killed between any two steps; the run after it finishes the work and does nothing twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from searchops.core.dictionary.model import commit_message
from tests.integration.dictionary import company as companies
from tests.integration.dictionary.company import Company, synonyms_index, words_index
from tests.integration.dictionary.mortal import Life, live

# Of a run of some fifty calls; a run that never ends is not to be killed for ever.
MAX_CALLS = 120


class Shop:
    """A domain that is about to get new words, furnished anew for each life."""

    def __init__(self, company: Company, kind: str, old: str, new: str) -> None:
        self.company = company
        self.kind, self.old, self.new = kind, old, new
        self.number = 0

    def furnish(self) -> None:
        """Another domain with a package and an index of its own, beside the earlier ones."""
        self.number += 1
        company, name = self.company, self.name
        company.domains.clear()
        company.packages.clear()
        company.inventory_indexes.clear()
        package_id = str(company.package(name, [self.old], kind=self.kind, ours=True))
        company.domain(name, name)
        body = synonyms_index if self.kind == "synonyms" else words_index
        company.index(self.index, body(package_id), on_search_time_use="reopen")
        self.wanted = company.deploy(name, self.old, self.new)
        self.environment = {**company.cloud.environment, **company.environment()}

    @property
    def name(self) -> str:
        return f"shop{self.number}"

    @property
    def index(self) -> str:
        return f"{self.name}-1"

    def live(self, die_after: int | None = None) -> Life:
        return live(self.environment, self.name, self.company.root, die_after)

    def remove(self) -> None:
        """An account has 25 packages, a node its limits: nothing of an earlier life is needed."""
        self.company.node.indices.delete(index=self.index)


@pytest.fixture
def fast(company: Company, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.setattr(companies, "SPEED", companies.SETUP_SPEED)
    company.simulator.settings(max_packages=1000)
    return company


def kill_everywhere(shop: Shop, look: Callable[[Shop, str], None]) -> int:
    """Kill a run after its first, second, … call until one runs through; after each kill another run and a look at everything."""
    for number in range(1, MAX_CALLS):
        shop.furnish()
        first = shop.live(die_after=number)
        if not first.killed:
            assert first.green, first
            return number - 1
        where = f"killed after call {number}, {first.calls[-1]}"
        second = shop.live()
        assert second.green, f"{where}: {second}"
        look_at(shop, where)
        look(shop, where)
        shop.remove()
    raise AssertionError(f"the run has not ended after {MAX_CALLS} calls")


def look_at(shop: Shop, where: str) -> None:
    company, name = shop.company, shop.name
    assert company.versions(name) == ["", commit_message(shop.wanted)], where
    association = company.association(name, name)
    assert (association["DomainPackageStatus"], association["PackageVersion"]) == ("ACTIVE", "v2"), where
    assert company.associations_begun(name, name) == 2, f"{where}: by hand and once by us"
    assert company.is_open(shop.index), where
    searchops = company.meta(shop.index)["searchops"]
    assert searchops["dictionaries"][name]["applied"] == shop.wanted, where
    assert set(searchops) == {"dictionaries"}, where


def test_synonyms_are_live_after_a_kill_anywhere_and_one_more_run(fast: Company) -> None:
    def look(shop: Shop, where: str) -> None:
        assert sorted(fast.tokens(shop.index, "laptop")) == ["laptop", "notebook"], where
        assert fast.closes(shop.name) == [], where

    calls = kill_everywhere(Shop(fast, "synonyms", "sofa, couch", "laptop, notebook"), look)

    assert calls > 20


def test_a_reopened_index_is_open_and_live_after_a_kill_anywhere_and_one_more_run(fast: Company) -> None:
    def look(shop: Shop, where: str) -> None:
        assert fast.tokens(shop.index, "朝青龍") == ["朝青龍"], where
        assert fast.closes(shop.name) == [shop.index], where

    shop = Shop(fast, "kuromoji_user_dictionary", "東京,東京,トウキョウ,名詞", "朝青龍,朝青龍,アサショウリュウ,名詞")
    calls = kill_everywhere(shop, look)

    assert calls > 20

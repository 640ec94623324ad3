"""The process is killed between any two steps; the run after it finishes the work and does nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from searchops.core.dictionary.model import commit_message
from tests.integration.dictionary import company as companies
from tests.integration.dictionary.company import Company, fingerprint, synonyms_index, text_of, words_index
from tests.integration.dictionary.mortal import Life, live

# Of a run of some fifty calls; a run that never ends is not to be killed for ever.
MAX_CALLS = 120
AT_ONCE = 2
_numbers = count(1)


class Shop:
    """A domain that is about to get new words, with a package and an index of its own, beside those of other lives.

    :param associated: its words have come as far as the domain; what is left is to close and open the index
    """

    def __init__(self, beside: Company, kind: str, old: str, new: str, *, associated: bool = False) -> None:
        name = self.name = f"shop{next(_numbers)}"
        self.index = f"{name}-1"
        self.company = company = Company(beside.cloud, beside.views, beside.root / name)
        package_id = str(company.package(name, [old], kind=kind, ours=True))
        company.domain(name, name)
        body = synonyms_index if kind == "synonyms" else words_index
        # Where it is not known what an index serves, it is closed again after a kill: nothing tells that it has been opened since.
        served = {name: {"applied": fingerprint(old), "path": f"analyzers/{package_id}"}}
        meta = {"searchops": {"dictionaries": served}}
        company.index(self.index, body(package_id, _meta=meta), on_search_time_use="reopen")
        self.wanted = company.deploy(name, old, new)
        if associated:
            company.s3.put_object(Bucket=company.bucket, Key=f"dictionaries/{name}/{self.wanted}", Body=text_of([old, new]))
            company.publish_by_hand(name, old, new, message=commit_message(fingerprint(old, new)))
            company.associate(name, name)
        self.environment = {**company.cloud.environment, **company.environment()}

    def live(self, die_after: int | None = None) -> Life:
        return live(self.environment, self.name, self.company.root, die_after)


class Lives:
    """Runs that are killed after their first, second, … call, each in a shop of its own, two at once."""

    def __init__(
        self, company: Company, kind: str, old: str, new: str, *, text: str, tokens: list[str], associated: bool
    ) -> None:
        self.company = company
        self.words = (kind, old, new)
        self.text, self.tokens = text, tokens
        self.associated = associated

    def kill_everywhere(self) -> int:
        """Kill until a run gets through before its time; the calls after which one was killed."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for number in range(1, MAX_CALLS, AT_ONCE):
                killed = list(threads.map(self._kill, range(number, number + AT_ONCE)))
                if not all(killed):
                    return number + sum(killed) - 1
        raise AssertionError(f"the run has not ended after {MAX_CALLS} calls")

    def _kill(self, number: int) -> bool:
        shop = Shop(self.company, *self.words, associated=self.associated)
        first = shop.live(die_after=number)
        if not first.killed:
            assert first.green, first
            return False
        where = f"killed after call {number}, {first.calls[-1]}"
        second = shop.live()
        assert second.green, f"{where}: {second}"
        self._look_at(shop, where)
        shop.company.node.indices.delete(index=shop.index)
        return True

    def _look_at(self, shop: Shop, where: str) -> None:
        company, name, index = shop.company, shop.name, shop.index
        assert company.versions(name) == ["", commit_message(shop.wanted)], where
        association = company.association(name, name)
        assert (association["DomainPackageStatus"], association["PackageVersion"]) == ("ACTIVE", "v2"), where
        assert company.associations_begun(name, name) == 2, f"{where}: with the first words and with the new ones"
        assert company.is_open(index), where
        assert sorted(company.tokens(index, self.text)) == self.tokens, where
        searchops = company.meta(index)["searchops"]
        assert searchops["dictionaries"][name]["applied"] == shop.wanted, where
        assert set(searchops) == {"dictionaries"}, where
        assert company.closes(name) == [index] * self.associated, where


@pytest.fixture
def fast(company: Company, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.setattr(companies, "SPEED", companies.SETUP_SPEED)
    company.simulator.settings(max_packages=1000, speed=companies.SETUP_SPEED)
    return company


def test_words_that_the_service_reloads_are_live_after_a_kill_anywhere_and_one_more_run(fast: Company) -> None:
    synonyms = ("synonyms", "sofa, couch", "laptop, notebook")
    lives = Lives(fast, *synonyms, text="laptop", tokens=["laptop", "notebook"], associated=False)

    assert lives.kill_everywhere() > 30


def test_an_index_is_open_and_live_and_was_closed_once_after_a_kill_anywhere_and_one_more_run(fast: Company) -> None:
    words = ("kuromoji_user_dictionary", "東京,東京,トウキョウ,名詞", "朝青龍,朝青龍,アサショウリュウ,名詞")
    lives = Lives(fast, *words, text="朝青龍", tokens=["朝青龍"], associated=True)

    assert lives.kill_everywhere() > 20

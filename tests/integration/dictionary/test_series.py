"""A user dictionary and synonyms on one analyzer: in series, and what one means for the other."""

from __future__ import annotations

import json

import pytest

from local.cloud import ROOT
from local.demo.dataset import render_body
from searchops.core.dictionary.model import commit_message
from tests.integration.dictionary.company import Company, fingerprint, kuromoji, synonyms_index, until, words_index

TOWER = "東京スカイツリー"
OLD_WORDS, NEW_WORDS = ("朝青龍,朝青龍,アサショウリュウ,名詞",), (f"{TOWER},{TOWER},トウキョウスカイツリー,名詞",)
OLD_SYNONYMS, NEW_SYNONYMS = ("ソファ, 長椅子",), ("ソファ, 長椅子", f"{TOWER}, 塔")
REOPEN = {"on_search_time_use": "reopen"}


@pytest.fixture
def shop(company: Company) -> Company:
    """The project's own index body: user dictionary reopened, synonyms reloaded by the service."""
    company.package("user-dictionary", OLD_WORDS, kind="kuromoji_user_dictionary", ours=True)
    company.package("synonyms", OLD_SYNONYMS, ours=True)
    company.domain("shop", "user-dictionary", "synonyms")
    body = render_body((ROOT / "include" / "indexes" / "products.json").read_text(encoding="utf-8"), company.ids)
    company.index("shop-1", body, alias="goods", **REOPEN)
    return company


def words_of(company: Company, text: str, analyzer: str = "ja_synonym_search") -> list[str]:
    return company.tokens("shop-1", text, analyzer)


def test_two_dictionaries_go_live_in_the_inventorys_order(shop: Company) -> None:
    words, synonyms = shop.deploy("user-dictionary", *NEW_WORDS), shop.deploy("synonyms", *NEW_SYNONYMS)

    run = shop.run()

    assert run.green, run
    assert sorted(words_of(shop, TOWER)) == ["塔", TOWER]
    assert (shop.applied("shop-1", "user-dictionary"), shop.applied("shop-1", "synonyms")) == (words, synonyms)
    active = [row.package_id for row in shop.simulator.transitions(domain="shop") if row.after == "ACTIVE"]
    assert active[-2:] == [shop.ids["user-dictionary"], shop.ids["synonyms"]]
    assert shop.run().done == ["user-dictionary.plan", "synonyms.plan"]


def test_a_changed_user_dictionary_makes_unchanged_synonyms_due_for_proof(shop: Company) -> None:
    shop.deploy("user-dictionary", *OLD_WORDS)
    synonyms = shop.deploy("synonyms", *OLD_SYNONYMS)
    assert shop.run().green
    shop.deploy("user-dictionary", *OLD_WORDS, "長椅子,長 椅子,ナガ イス,名詞")

    run = shop.run()

    assert run.green, run
    assert run.value("synonyms.plan")["step"] == "apply"
    assert run.states["synonyms.publish"] == "skipped"
    assert "shop-1" in run.value("synonyms.verify")
    assert shop.versions("synonyms") == [""]
    record = shop.meta("shop-1")["searchops"]["dictionaries"]["synonyms"]
    assert record["applied"] == synonyms
    assert record["beside"] == {"user-dictionary": fingerprint(*OLD_WORDS, "長椅子,長 椅子,ナガ イス,名詞")}
    assert shop.run().done == ["user-dictionary.plan", "synonyms.plan"]


def test_a_user_dictionary_that_would_break_the_synonyms_beside_it_is_not_published(company: Company) -> None:
    company.package("words", OLD_WORDS, kind="kuromoji_user_dictionary", ours=True)
    company.package("synonyms", ["塔, タワー"], ours=True)
    company.domain("shop", "words", "synonyms")
    body = synonyms_index(company.ids["synonyms"], tokenizer=kuromoji(company.ids["words"]))
    analysis = body["settings"]["analysis"]
    analysis["filter"]["no_tags"] = {"type": "kuromoji_part_of_speech", "stoptags": ["無用"]}
    analysis["analyzer"]["searching"]["filter"] = ["no_tags", "lowercase", "package"]
    company.index("shop-1", body, **REOPEN)
    company.deploy(
        "words", *OLD_WORDS, "塔,塔,トウ,無用"
    )  # the filter takes words of this class away: a synonym without a word is refused
    company.deploy("synonyms", "塔, タワー")

    run = company.run()

    assert run.failed == ["words.plan"]
    assert "analyzer searching of index shop-1 does not build" in run.error("words.plan")
    assert "refused from this entry on: '塔,塔,トウ,無用'" in run.error("words.plan")
    assert company.versions("words") == [""]
    assert company.closes() == []


def test_the_first_dictionarys_failure_keeps_the_second_from_starting(shop: Company) -> None:
    shop.deploy("user-dictionary", *NEW_WORDS)
    shop.deploy("synonyms", *NEW_SYNONYMS)
    shop.simulator.fault("validation_failed", "UpdatePackage", package_id=shop.ids["user-dictionary"])

    run = shop.run()

    assert run.failed == ["user-dictionary.publish"]
    assert run.states["synonyms.plan"] == "upstream_failed"
    assert shop.versions("synonyms") == [""]


def test_an_index_that_waits_for_its_rebuild_does_not_hold_up_the_next_dictionary(company: Company) -> None:
    company.package("words", OLD_WORDS, kind="kuromoji_user_dictionary", ours=True)
    company.package("synonyms", ["sofa, couch"], ours=True)
    company.domain("shop", "words", "synonyms")
    company.index("shop-1", words_index(company.ids["words"], at_index_time=True))
    company.index("shop-2", synonyms_index(company.ids["synonyms"]))
    company.deploy("words", *NEW_WORDS)
    wanted = company.deploy("synonyms", "sofa, couch", "laptop, notebook")

    run = company.run()

    assert run.failed == ["words.awaiting_rebuild"]
    assert company.applied("shop-2", "synonyms") == wanted


def test_a_domain_fails_one_of_two_associations_at_once_and_takes_them_in_series(shop: Company) -> None:
    """Why the dictionaries of a domain follow one another."""
    shop.publish_by_hand("user-dictionary", *NEW_WORDS, message=commit_message(fingerprint(*NEW_WORDS)))
    shop.publish_by_hand("synonyms", *NEW_SYNONYMS, message=commit_message(fingerprint(*NEW_SYNONYMS)))

    def statuses() -> list[str]:
        return sorted(shop.association(key)["DomainPackageStatus"] for key in shop.ids)

    for key in shop.ids:
        shop.aws.associate_package(PackageID=shop.ids[key], DomainName="shop")
    until(lambda: "ASSOCIATING" not in statuses(), "both associations end")
    at_once = statuses()
    shop.deploy("user-dictionary", *NEW_WORDS)
    shop.deploy("synonyms", *NEW_SYNONYMS)
    run = shop.run()

    assert at_once == ["ACTIVE", "ASSOCIATION_FAILED"]
    assert run.green, run
    assert statuses() == ["ACTIVE", "ACTIVE"]
    assert sorted(words_of(shop, TOWER)) == ["塔", TOWER]


def test_an_index_that_reads_both_is_reopened_once_when_both_change(shop: Company) -> None:
    shop.deploy("user-dictionary", *NEW_WORDS)
    shop.deploy("synonyms", *NEW_SYNONYMS)

    assert shop.run().green

    assert shop.closes() == ["shop-1"]
    assert json.dumps(shop.meta("shop-1")).count("reopening") == 0

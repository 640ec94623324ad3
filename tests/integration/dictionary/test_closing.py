"""Dictionaries that the service does not reload: what is closed and opened, what never is, and what has to be rebuilt."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.dictionary.company import Company, fingerprint, kuromoji, synonyms_index, words_index

OLD = ("東京,東京,トウキョウ,名詞",)
NEW = (*OLD, "朝青龍,朝青龍,アサショウリュウ,名詞")
REOPEN = {"on_search_time_use": "reopen"}
INGESTION = {"version": {"scheme": "ingestion"}, "id": {"attributes": ["pk"]}, "deletes": "immediate"}


@pytest.fixture
def shop(company: Company) -> Company:
    """A domain with a user dictionary, no index yet; new words wait."""
    company.package("words", OLD, kind="kuromoji_user_dictionary", ours=True)
    company.domain("shop", "words")
    company.deploy("words", *NEW)
    return company


def is_live(company: Company, index: str = "shop-1") -> bool:
    return company.tokens(index, "朝青龍") == ["朝青龍"]


def health(company: Company, index: str) -> str:
    return str(company.node.cluster.health(index=index)["status"])


def test_an_index_that_may_be_closed_is_closed_once_opened_and_green_again(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"]), **REOPEN)

    run = shop.run()

    assert run.green, run
    assert is_live(shop)
    assert shop.closes() == ["shop-1"]
    interruption = run.value("words.apply")["shop-1"]
    assert 0 < interruption < 30
    assert health(shop, "shop-1") == "green"
    assert shop.applied("shop-1", "words") == fingerprint(*NEW)
    assert "reopening" not in shop.meta("shop-1")["searchops"]


@pytest.mark.parametrize("entry", [None, {"on_search_time_use": "report"}, INGESTION], ids=["not named", "report", "ingestion"])
def test_an_index_that_may_not_be_closed_is_reported_and_serves_on(shop: Company, entry: dict[str, Any] | None) -> None:
    shop.index("shop-1", words_index(shop.ids["words"]), **(entry or {}))

    run = shop.run()

    assert run.failed == ["words.awaiting_apply"]
    assert "shop-1" in run.error("words.awaiting_apply")
    assert run.tries["words.awaiting_apply"] == 1
    assert shop.closes() == []
    assert shop.is_open("shop-1")
    assert not is_live(shop)
    assert shop.applied("shop-1", "words") != fingerprint(*NEW)


def test_beside_a_reported_index_the_others_are_closed_and_proved(shop: Company) -> None:
    for name, entry in (("shop-1", {}), ("shop-2", REOPEN), ("shop-3", {})):
        shop.index(name, words_index(shop.ids["words"]), **entry)

    run = shop.run()

    assert run.failed == ["words.awaiting_apply"]
    assert "shop-1, shop-3" in run.error("words.awaiting_apply")
    assert shop.closes() == ["shop-2"]
    assert is_live(shop, "shop-2")
    assert [shop.applied(f"shop-{number}", "words") == fingerprint(*NEW) for number in (1, 2, 3)] == [False, True, False]


def test_an_index_that_is_used_when_documents_come_in_asks_for_its_rebuild_once(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"], at_index_time=True))

    first, second = shop.run(), shop.run()

    assert first.failed == second.failed == ["words.awaiting_rebuild"]
    assert "shop-1" in first.error("words.awaiting_rebuild")
    assert [{name: event[name] for name in ("index", "package", "sha256")} for event in first.asset_events] == [
        {"index": "shop-1", "package": "words", "sha256": fingerprint(*NEW)}
    ]
    assert second.asset_events == []
    assert [getattr(run.errors["words.awaiting_rebuild"], "announce", None) for run in (first, second)] == [True, False]
    assert second.tries["words.awaiting_rebuild"] == 1
    assert shop.closes() == []


def test_other_words_ask_for_the_rebuild_again(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"], at_index_time=True))
    assert len(shop.run().asset_events) == 1
    newer = shop.deploy("words", *NEW, "白鵬,白鵬,ハクホウ,名詞")

    run = shop.run()

    assert [event["sha256"] for event in run.asset_events] == [newer]
    assert getattr(run.errors["words.awaiting_rebuild"], "announce", None)


def test_old_documents_may_keep_their_tokens_where_that_is_accepted(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"], at_index_time=True), on_index_time_use="reopen")

    run = shop.run()

    assert run.green, run
    assert is_live(shop)
    assert shop.closes() == ["shop-1"]
    assert "documents indexed before keep their old tokens" in run.value("words.verify")["shop-1"]


def test_a_rebuilt_index_is_found_by_what_its_builder_recorded(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"], at_index_time=True))
    assert not shop.run().green
    record = {"applied": fingerprint(*NEW), "documents": fingerprint(*NEW), "path": f"analyzers/{shop.ids['words']}"}
    shop.node.indices.delete(index="shop-1")
    meta = {"searchops": {"dictionaries": {"words": record}}}
    shop.index("shop-2", words_index(shop.ids["words"], at_index_time=True, _meta=meta))

    run = shop.run()

    assert run.done == ["words.plan"]


def test_what_a_killed_run_left_closed_is_opened_by_a_run_that_has_nothing_else_to_do(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"]), **REOPEN)
    assert shop.run().green
    meta = shop.meta("shop-1")
    meta["searchops"]["reopening"] = {"by": "a run that was killed", "at": "2026-01-01T00:00:00+00:00"}
    shop.node.indices.put_mapping(index="shop-1", body={"_meta": meta})
    shop.node.indices.close(index="shop-1")

    run = shop.run()

    assert run.green, run
    assert shop.is_open("shop-1")
    assert "reopening" not in shop.meta("shop-1")["searchops"]


def test_an_index_that_a_person_has_closed_stays_closed(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"]), **REOPEN)
    shop.index("shop-2", words_index(shop.ids["words"]), **REOPEN)
    shop.node.indices.close(index="shop-1")

    run = shop.run()

    assert run.green, run
    assert not shop.is_open("shop-1")
    assert is_live(shop, "shop-2")
    assert shop.applied("shop-1", "words") is None


def test_an_index_is_not_closed_where_another_file_would_keep_it_from_opening(shop: Company) -> None:
    shop.package("synonyms", ["東京, 首都"], ours=True)
    shop.associate("synonyms", "shop")
    body = synonyms_index(shop.ids["synonyms"], tokenizer=kuromoji(shop.ids["words"]))
    shop.index("shop-1", body, **REOPEN)
    shop.publish_by_hand("synonyms", "=>")
    shop.aws.associate_package(PackageID=shop.ids["synonyms"], DomainName="shop")

    run = shop.run()

    assert not run.green
    assert shop.closes() == []
    assert shop.is_open("shop-1")
    assert shop.applied("shop-1", "words") is None


def test_a_closing_that_is_lost_on_the_way_leaves_the_index_open(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"]), **REOPEN)
    gate = shop.views.hold("shop", "/shop-1/_close", times=1)
    gate.lose()

    run = shop.run()

    assert run.green, run
    assert run.tries["words.apply"] == 2
    assert shop.is_open("shop-1")
    assert is_live(shop)


def test_an_opening_that_is_lost_on_the_way_is_done_again(shop: Company) -> None:
    shop.index("shop-1", words_index(shop.ids["words"]), **REOPEN)
    gate = shop.views.hold("shop", "/shop-1/_open", times=1)
    gate.lose()

    run = shop.run()

    assert run.green, run
    assert shop.is_open("shop-1")
    assert is_live(shop)
    assert "reopening" not in shop.meta("shop-1")["searchops"]

"""Runs that could end green while the domain serves other content, or publish what nobody wants any more."""

from __future__ import annotations

from typing import Any

import pytest

from searchops.core.dictionary.model import commit_message
from searchops.core.dictionary.plan import Overtaken
from searchops.core.dictionary.sync import DictionarySync
from searchops.hooks.dictionary import DomainClients
from searchops.inventory import inventory
from tests.integration.dictionary.company import Company, fingerprint, synonyms_index, text_of, until, words_index

FIRST, SECOND = (
    ("東京スカイツリー,東京スカイツリー,トウキョウスカイツリー,n",),
    ("東京スカイツリー,東京 スカイツリー,トウキョウ スカイツリー,n",),
)
# More lines than a sample holds, all of them live before anything is done.
MANY = [f"word{number}, term{number}" for number in range(1_000)]


def recorded_as(company: Company, index: str, key: str, applied: str) -> None:
    """Leave the record of an earlier time, as a run does that is killed before it has proved what it did."""
    meta: dict[str, Any] = company.meta(index)
    meta["searchops"]["dictionaries"][key]["applied"] = applied
    company.node.indices.put_mapping(index=index, body={"_meta": meta})


def sync_of(company: Company, key: str) -> DictionarySync:
    company.install()
    return DomainClients(inventory().domains["shop"]).sync(key)


def test_a_dictionary_that_goes_back_is_applied_although_the_index_was_proved_for_it_once(company: Company) -> None:
    package_id = str(company.package("words", kind="kuromoji_user_dictionary", live=["# none", *FIRST], ours=True))
    company.domain("shop", "words")
    company.index("shop-1", words_index(package_id), alias="products", on_search_time_use="reopen")
    first = company.deploy("words", *FIRST)
    assert company.run().green
    company.deploy("words", *SECOND)
    assert company.run().green
    assert company.tokens("shop-1", "東京スカイツリー") == ["東京", "スカイツリー"]
    recorded_as(company, "shop-1", "words", first)

    company.deploy("words", *FIRST)
    run = company.run()

    assert run.green, run
    assert company.tokens("shop-1", "東京スカイツリー") == ["東京スカイツリー"]


def test_a_small_change_of_unknown_content_is_not_taken_for_live_by_a_sample(company: Company) -> None:
    package_id = str(company.package("synonyms", MANY))
    company.domain("shop", "synonyms", waits={"reload": "2s"})
    company.index("shop-1", synonyms_index(package_id))
    company.deploy("synonyms", *MANY, "laptop, notebook")
    company.simulator.fault("skip_reload", "AssociatePackage")

    run = company.run()

    assert run.failed == ["synonyms.apply"]
    assert company.tokens("shop-1", "laptop") == ["laptop"]


def test_an_index_with_unknown_content_is_always_closed_and_opened(company: Company) -> None:
    package_id = str(company.package("synonyms", MANY))
    company.domain("shop", "synonyms")
    company.index("shop-1", synonyms_index(package_id, updateable=False), alias="products", on_search_time_use="reopen")
    company.deploy("synonyms", *MANY, "laptop, notebook")

    run = company.run()

    assert run.green, run
    assert sorted(company.tokens("shop-1", "laptop")) == ["laptop", "notebook"]
    assert "is not known" in run.value("synonyms.verify")["shop-1"]


def test_an_index_that_nobody_opened_is_not_recorded_as_opened_by_hand(company: Company) -> None:
    package_id = str(company.package("synonyms", MANY))
    company.domain("shop", "synonyms")
    company.index("shop-1", synonyms_index(package_id, updateable=False))
    company.deploy("synonyms", *MANY, "laptop, notebook")
    assert company.run().failed == ["synonyms.awaiting_apply"]

    run = company.run()

    assert run.failed == ["synonyms.awaiting_apply"]
    assert company.applied("shop-1", "synonyms") is None


def test_an_older_plan_does_not_publish_over_newer_content_of_ours(company: Company) -> None:
    company.package("synonyms", ["first, ours"], ours=True)
    company.domain("shop", "synonyms")
    company.deploy("synonyms", "second, ours")
    sync = sync_of(company, "synonyms")
    planned = sync.decide()
    company.publish_by_hand("synonyms", "third, ours", message=commit_message(fingerprint("third, ours")))

    with pytest.raises(Overtaken, match="overtaken by v2"):
        sync.publish(planned.fingerprint, planned_over=planned.available_version)

    assert len(company.versions("synonyms")) == 2


def test_a_forced_publication_that_is_tried_again_is_made_once(company: Company) -> None:
    company.package("synonyms", ["first, ours"], ours=True)
    company.domain("shop", "synonyms")
    company.deploy_bytes("synonyms", text_of(["first, ours"]))
    sync = sync_of(company, "synonyms")
    planned = sync.decide(force=True)
    asked = sync.publish(planned.fingerprint, planned_over=planned.available_version, force=True)
    until(lambda: len(company.versions("synonyms")) == 2, "the forced version")

    again = sync.publish(planned.fingerprint, planned_over=planned.available_version, force=True)

    assert asked.asked
    assert again.done
    assert len(company.versions("synonyms")) == 2


def test_an_index_whose_name_reads_as_all_indexes_is_the_only_one_touched(company: Company) -> None:
    package_id = str(company.package("synonyms", ["first, ours"], ours=True))
    company.domain("shop", "synonyms")
    company.index("shop-%2a", synonyms_index(package_id, updateable=False), alias="odd", on_search_time_use="reopen")
    company.index("shop-2", synonyms_index(package_id, updateable=False))
    company.deploy("synonyms", "second, ours")

    company.run()

    assert company.applied("shop-%2a", "synonyms") == fingerprint("second, ours")
    assert company.applied("shop-2", "synonyms") is None

"""A dictionary's life on a domain without trouble: made, adopted, put live, left alone."""

from __future__ import annotations

import pytest

from searchops.core.dictionary.model import commit_message
from tests.integration.dictionary.airflow_here import tasks
from tests.integration.dictionary.company import Company, fingerprint, kuromoji, synonyms_index, words_index

OLD, NEW = ("sofa, couch",), ("sofa, couch", "laptop, notebook")
WRITES = ("CreatePackage", "UpdatePackage", "AssociatePackage", "DissociatePackage")


def shop(company: Company, *live: str, ours: bool = True, **domain: object) -> None:
    """A domain with synonyms and an index that the service reloads."""
    package_id = company.package("synonyms", live or OLD, ours=ours)
    company.domain("shop", "synonyms", **domain)
    company.index("shop-1", synonyms_index(str(package_id)))


def test_new_words_are_live_and_recorded_after_a_green_run(company: Company) -> None:
    shop(company)
    wanted = company.deploy("synonyms", *NEW)

    run = company.run()

    assert run.green, run
    assert sorted(company.tokens("shop-1", "laptop")) == ["laptop", "notebook"]
    assert company.applied("shop-1", "synonyms") == wanted
    assert company.versions("synonyms")[1:] == [commit_message(wanted)]
    assert "verified on shop-1" in run.value("synonyms.verify")["shop-1"]


def test_an_unchanged_dictionary_costs_four_calls_and_no_write(company: Company) -> None:
    shop(company, host=False)
    company.deploy("synonyms", *NEW)
    assert company.run().green
    company.simulator.reset_calls()
    calls_before = len(company.calls())

    run = company.run()

    assert run.done == ["synonyms.plan"]
    assert run.value("synonyms.plan")["step"] == "nothing"
    calls = company.simulator.calls()
    assert sum(calls.values()) <= 4
    assert calls["DescribeDomain"] == 1
    assert not set(calls) & set(WRITES)
    assert {call.method for call in company.calls()[calls_before:]} == {"GET"}


def test_a_package_of_others_is_adopted_and_the_plan_says_so(company: Company) -> None:
    shop(company, "made, byhand", ours=False)
    company.publish_by_hand("synonyms", "made, byhand", "again, byhand")
    company.deploy("synonyms", *NEW)

    run = company.run()

    assert run.green, run
    assert "is adopted: no version of it was published by searchops" in run.value("synonyms.plan")["reason"]
    assert len(company.versions("synonyms")) == 3


def test_a_package_that_is_named_and_missing_is_created_once(company: Company) -> None:
    company.package("synonyms")
    company.domain("shop", "synonyms")
    wanted = company.deploy("synonyms", *NEW)

    first, second = company.run(), company.run()

    assert first.green, first
    assert second.done == ["synonyms.plan"]
    # CreatePackage takes no commit message: the description counts for the first version.
    assert company.versions("synonyms") == [""]
    assert company.details(company.id_of("synonyms"))["PackageDescription"] == commit_message(wanted)
    assert company.association("synonyms")["DomainPackageStatus"] == "ACTIVE"


def test_a_created_package_is_published_again_when_its_words_change(company: Company) -> None:
    company.package("synonyms")
    company.domain("shop", "synonyms")
    company.deploy("synonyms", *OLD)
    assert company.run().green
    company.index("shop-1", synonyms_index(company.id_of("synonyms")))

    wanted = company.deploy("synonyms", *NEW)
    run = company.run()

    assert run.green, run
    assert company.versions("synonyms") == ["", commit_message(wanted)]
    assert sorted(company.tokens("shop-1", "laptop")) == ["laptop", "notebook"]


@pytest.mark.parametrize("order", ["oldest", "any"])
def test_a_sync_reads_all_pages_when_each_holds_one_row(company: Company, order: str) -> None:
    shop(company)
    for other in ("archive", "backup"):
        company.domain(other, "synonyms")
    for number in range(3):
        company.publish_by_hand("synonyms", *OLD, f"word, number{number}", message=commit_message(f"{number}" * 64))
    company.simulator.settings(page_limit=1, history_order=order)
    wanted = company.deploy("synonyms", *NEW)

    first, second = company.run(), company.run()

    assert first.green, first
    assert second.done == ["synonyms.plan"]
    assert company.versions("synonyms").count(commit_message(wanted)) == 1
    assert company.association("synonyms")["PackageVersion"] == "v5"
    assert company.association("synonyms", "archive")["PackageVersion"] == "v1"


def test_adoption_reads_the_whole_history_before_it_calls_a_package_a_strangers(company: Company) -> None:
    shop(company)
    for number in range(3):
        company.publish_by_hand("synonyms", *OLD, f"word, number{number}")
    company.simulator.settings(page_limit=1)
    company.deploy("synonyms", *NEW)

    run = company.run()

    assert run.failed == ["synonyms.drift"]
    assert len(company.versions("synonyms")) == 4


def test_an_index_is_looked_after_by_its_alias(company: Company) -> None:
    package_id = company.package("words", ["東京,東京,トウキョウ,名詞"], kind="kuromoji_user_dictionary", ours=True)
    company.domain("shop", "words")
    probe = {"text": "朝青龍", "analyzer": "searching", "contains": ["朝青龍"]}
    company.index("shop-1", words_index(str(package_id)), alias="goods", on_search_time_use="reopen", probes=[probe])
    company.deploy("words", "朝青龍,朝青龍,アサショウリュウ,名詞")

    run = company.run()

    assert run.green, run
    assert company.closes() == ["shop-1"]
    assert company.tokens("shop-1", "朝青龍") == ["朝青龍"]


def test_thirty_indexes_are_read_by_one_kind_of_call(company: Company) -> None:
    package_id = str(company.package("synonyms", OLD, ours=True))
    company.domain("shop", "synonyms")
    given = {"searchops": {"dictionaries": {"synonyms": {"applied": fingerprint(*OLD), "path": f"analyzers/{package_id}"}}}}
    for number in range(30):
        company.index(f"shop-{number:02}", synonyms_index(package_id, _meta=given))
    before = len(company.calls())

    unchanged = company.run()

    calls = [call.path for call in company.calls()[before:]]
    assert unchanged.value("synonyms.plan")["reason"].startswith("30 indexes serve")
    assert unchanged.done == ["synonyms.plan"]
    assert set(calls) == {"/shop/*"}
    assert len(calls) <= 2


def test_every_index_that_uses_the_dictionary_is_proved(company: Company) -> None:
    package_id = str(company.package("synonyms", OLD, ours=True))
    company.domain("shop", "synonyms")
    names = ["shop-1", "shop-2", "shop-3"]
    for name in names:
        company.index(name, synonyms_index(package_id))
    wanted = company.deploy("synonyms", *NEW)

    run = company.run()

    assert run.green, run
    assert sorted(run.value("synonyms.verify")) == names
    assert {company.applied(name, "synonyms") for name in names} == {wanted}


def test_an_index_that_does_not_use_the_dictionary_is_left_alone(company: Company) -> None:
    shop(company)
    company.index("shop-other", {"mappings": {"_meta": {"owner": "somebody"}}})
    company.deploy("synonyms", *NEW)

    assert company.run().green
    assert company.meta("shop-other") == {"owner": "somebody"}


def test_what_others_keep_in_meta_stays(company: Company) -> None:
    package_id = str(company.package("synonyms", OLD, ours=True))
    company.domain("shop", "synonyms")
    theirs = {"team": "search", "searchops": {"version": "attribute", "dictionaries": {"other": {"applied": "f" * 64}}}}
    company.index("shop-1", synonyms_index(package_id, _meta=theirs))
    wanted = company.deploy("synonyms", *NEW)

    assert company.run().green

    meta = company.meta("shop-1")
    assert meta["team"] == "search"
    assert meta["searchops"]["version"] == "attribute"
    assert meta["searchops"]["dictionaries"]["other"] == {"applied": "f" * 64}
    assert meta["searchops"]["dictionaries"]["synonyms"]["applied"] == wanted


def test_a_change_in_comments_is_no_visible_effect_and_never_called_verified(company: Company) -> None:
    shop(company)
    company.deploy("synonyms", *OLD)
    assert company.run().green
    wanted = company.deploy("synonyms", "# a comment", *OLD)

    run = company.run()

    told = run.value("synonyms.verify")["shop-1"]
    assert run.green, run
    assert "no visible effect on shop-1" in told
    assert "verified" not in told
    assert company.applied("shop-1", "synonyms") == wanted


def test_a_probe_that_misses_makes_the_run_red_and_leaves_nothing_recorded(company: Company) -> None:
    package_id = str(company.package("synonyms", OLD, ours=True))
    company.domain("shop", "synonyms")
    probe = {"text": "laptop", "analyzer": "searching", "contains": ["computer"]}
    company.index("shop-1", synonyms_index(package_id), alias="goods", probes=[probe])
    company.deploy("synonyms", *NEW)

    run = company.run()

    assert run.failed == ["synonyms.verify"]
    assert "probe of index shop-1: analyzer searching gives" in run.error("synonyms.verify")
    assert "['computer']" in run.error("synonyms.verify")
    assert company.applied("shop-1", "synonyms") is None


def test_a_domain_that_is_active_on_the_old_version_is_given_the_new_one(company: Company) -> None:
    shop(company)
    company.domain("archive", "synonyms")
    company.index("archive-1", synonyms_index(company.ids["synonyms"]))
    wanted = company.deploy("synonyms", *NEW)
    assert company.run("shop").green

    run = company.run("archive")

    assert run.green, run
    assert run.states["synonyms.publish"] == "skipped"
    assert company.association("synonyms", "archive")["PackageVersion"] == "v2"
    assert company.applied("archive-1", "synonyms") == wanted
    assert len(company.versions("synonyms")) == 2


def test_a_dry_run_writes_nothing(company: Company) -> None:
    shop(company)
    company.deploy("synonyms", *NEW)
    company.install()
    before = company.s3.list_objects_v2(Bucket=company.bucket)["KeyCount"]

    run = company.run(dry_run=True)

    assert run.done == ["synonyms.plan"]
    assert run.value("synonyms.plan")["step"] == "publish"
    assert company.s3.list_objects_v2(Bucket=company.bucket)["KeyCount"] == before
    assert company.versions("synonyms") == [""]
    assert company.meta("shop-1") == {}


def test_a_forced_run_publishes_and_proves_what_is_unchanged(company: Company) -> None:
    shop(company)
    company.deploy("synonyms", *NEW)
    assert company.run().green

    run = company.run(force=True)

    assert run.green, run
    assert run.done == tasks("synonyms", ["plan", "publish", "associate", "wait_for_domain", "apply", "verify"])
    assert len(company.versions("synonyms")) == 3


def test_a_dictionary_that_was_not_chosen_does_not_skip_the_next(company: Company) -> None:
    for key in ("first", "second"):
        company.package(key, OLD, ours=True)
    company.domain("shop", "first", "second")
    for number, key in enumerate(("first", "second")):
        company.index(f"shop-{number}", synonyms_index(company.ids[key]))
        company.deploy(key, *NEW)

    run = company.run(packages=["second"])

    assert run.green, run
    assert len(company.versions("first")) == 1
    assert company.applied("shop-1", "second") == fingerprint(*NEW)


def test_kuromojis_compound_error_says_discard_compound_token(company: Company) -> None:
    package_id = str(company.package("synonyms", ["猫, ネコ"], ours=True))
    company.domain("shop", "synonyms")
    company.index("shop-1", synonyms_index(package_id, tokenizer=kuromoji(mode="search", discard_compound_token=False)))
    company.deploy("synonyms", "関西国際空港, 関空")

    run = company.run()

    assert run.failed == ["synonyms.plan"]
    assert '"discard_compound_token": true' in run.error("synonyms.plan")
    assert "refused from this entry on: '関西国際空港, 関空'" in run.error("synonyms.plan")
    assert company.versions("synonyms") == [""]

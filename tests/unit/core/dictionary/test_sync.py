"""The steps of a sync against the package simulator, S3 and a tiny data plane; the real engine has its tests in tests/integration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from searchops.core.dictionary.model import Association, IndexPolicy, Kind, Probe, Remedy, commit_message, sha256
from searchops.core.dictionary.node import Node, Refused
from searchops.core.dictionary.plan import AssociationFailed, Outcome, Overtaken, Step, associated, published
from searchops.core.dictionary.proof import NotServed
from searchops.core.dictionary.service import PackageNotFound, drive, read_package_with_history, read_situation
from searchops.core.dictionary.survey import DomainRules
from searchops.core.dictionary.sync import Decision, DictionarySync, Drift, Entry
from searchops.core.errors import DataError, TransientError
from tests.unit.small_world import SYNONYMS, UPDATEABLE, SmallWorld, analysis

WRITES = {"CreatePackage", "UpdatePackage", "AssociatePackage"}
REPORTED = IndexPolicy()
MAY_REOPEN = IndexPolicy(Remedy.REOPEN, Remedy.REOPEN, may_be_closed=True)


class Dictionary:
    """One dictionary of a test: its file, and a run of all steps."""

    def __init__(self, world: SmallWorld, file: Path, *, policy: IndexPolicy = REPORTED, **entry: Any) -> None:
        self.world, self.file = world, file
        self.sync = DictionarySync(
            Entry("synonyms", Kind.SYNONYMS, file.name, file, **({"name": "synonyms"} | entry)),
            "products",
            DomainRules({"synonyms": Kind.SYNONYMS}, {"items": policy}),
            client=world.client,
            writer=world.client,
            node=Node(OpenSearch(world.data_plane.url, max_retries=0)),
            s3=world.s3,
            bucket=world.bucket_name,
        )

    def write(self, text: str) -> str:
        self.file.write_text(text)
        return sha256(text.encode())

    def decide(self, **options: Any) -> Decision:
        return self.sync.decide(**options)

    def publish(self, decision: Decision, **options: Any) -> Any:
        return self.sync.publish(decision.fingerprint, planned_over=decision.available_version, **options)

    def run(self) -> list[str]:
        """All steps of a run, with time for the service; the sentences of what was proved."""
        decision = self.decide()
        package_id = decision.package_id
        if Step.PUBLISH in decision.steps:
            package_id = self.publish(decision).package_id
            self.world.pass_time(20)
        if Step.ASSOCIATE in decision.steps:
            assert package_id
            assert self.sync.associate(package_id, decision.fingerprint)
            self.world.pass_time(60)
        self.sync.apply(decision.fingerprint, by="a test")
        return [proved.text for proved in self.sync.verify(decision.fingerprint)]

    def writes(self) -> list[str]:
        return [call.operation for call in self.world.control.log() if call.operation in WRITES]


@pytest.fixture
def of(world: SmallWorld, tmp_path: Path) -> Callable[..., Dictionary]:
    return lambda **entry: Dictionary(world, tmp_path / "synonyms.txt", **entry)


# -- the whole -----------------------------------------------------------------------------------------------------------------


def test_new_words_are_published_associated_proved_and_recorded_and_then_nothing_is_left(world, of):
    world.publish(b"a, b\n")
    world.node.index("items", analysis(UPDATEABLE))
    dictionary = of()
    wanted = dictionary.write("a, c\n")

    proofs = dictionary.run()

    assert world.node.tokens("items", "a", "a") == ["a", "c"]
    assert proofs[0].startswith("verified on items: ")
    recorded = world.node.indexes["items"].mappings["_meta"]["searchops"]["dictionaries"]["synonyms"]
    assert recorded == {"applied": wanted, "path": "analyzers/F100000001", "beside": {}}
    world.control.reset_calls()
    decision = dictionary.decide()
    assert (decision.plan.step, decision.steps) == (Step.NOTHING, [Step.NOTHING])
    assert sum(world.control.calls().values()) <= 4
    assert dictionary.writes() == []


def test_a_package_that_is_named_and_missing_is_created_with_its_fingerprint_in_the_description(world, of):
    dictionary = of()
    wanted = dictionary.write("a, b\n")

    decision = dictionary.decide()
    state = dictionary.publish(decision)
    world.pass_time(20)

    assert (decision.package_id, state.asked, state.done) == (None, True, False)
    package = drive(world.client, read_package_with_history(state.package_id))
    assert (package.fingerprint, published(wanted, state.before, package)) == (wanted, Outcome.DONE)
    assert dictionary.decide().steps == [Step.ASSOCIATE]


def test_what_is_published_is_the_object_of_that_name_with_the_fingerprint_as_message(world, of):
    package_id = world.publish(b"a, b\n", ours=False)
    dictionary = of()
    wanted = dictionary.write("a, c\n")

    decision = dictionary.decide()
    dictionary.write("changed after the plan\n")
    dictionary.publish(decision)
    world.pass_time(20)

    assert "adopted" in decision.plan.reason
    rows = world.client.get_package_version_history(PackageID=package_id)["PackageVersionHistoryList"]
    assert rows[0]["CommitMessage"] == commit_message(wanted)
    assert world.service.content(package_id)[rows[0]["PackageVersion"]] == b"a, c\n"


# -- publish -------------------------------------------------------------------------------------------------------------------


def test_a_publication_that_was_asked_for_is_not_asked_for_again(world, of):
    world.publish(b"a, b\n")
    dictionary = of()
    dictionary.write("a, c\n")
    decision = dictionary.decide()
    world.control.reset_calls()
    dictionary.publish(decision)

    world.pass_time(3)  # COPYING: the task was killed and is tried again
    in_transit = dictionary.publish(decision)
    world.pass_time(20)
    done = dictionary.publish(decision)

    assert (in_transit.done, in_transit.asked) == (False, False)
    assert (done.done, done.version) == (True, done.before)
    assert dictionary.writes() == ["UpdatePackage"]


def test_a_publication_in_the_moment_in_which_another_one_is_not_visible_yet_may_be_tried_again(world, of):
    world.publish(b"a, b\n")
    dictionary = of()
    dictionary.write("a, c\n")
    decision = dictionary.decide()
    dictionary.publish(decision)

    with pytest.raises(TransientError, match=r"update_package: .*ValidationException"):
        dictionary.publish(decision)


def test_two_that_create_one_package_at_the_same_moment_end_with_one(world, of):
    dictionary = of()
    dictionary.write("a, b\n")
    decision = dictionary.decide()
    world.control.fault("lag", "DescribePackages", seconds=60, last=2)
    dictionary.publish(decision)

    with pytest.raises(TransientError, match="ResourceAlreadyExistsException"):
        dictionary.publish(decision)
    world.pass_time(20)
    assert dictionary.publish(decision).done


def test_drift_stops_a_publication_even_if_it_came_after_the_plan(world, of):
    world.publish(b"a, b\n")
    dictionary = of()
    dictionary.write("a, c\n")
    decision = dictionary.decide()
    world.publish(b"by hand\n", ours=False)

    with pytest.raises(Drift, match="was not published by searchops"):
        dictionary.publish(decision)
    assert dictionary.decide().steps == [Step.DRIFT]


@pytest.mark.parametrize("options", [{"overwrite_drift": True}, {"force": True}], ids=["inventory", "force"])
def test_drift_is_overwritten_where_somebody_says_so(world, of, options):
    world.publish(b"a, b\n")
    world.publish(b"by hand\n", ours=False)
    force = options.pop("force", False)
    dictionary = of(**options)
    dictionary.write("a, c\n")

    decision = dictionary.decide(force=force)

    assert decision.steps[:2] == [Step.PUBLISH, Step.ASSOCIATE]
    assert dictionary.publish(decision, force=force).asked


def test_content_of_another_run_that_came_after_the_plan_is_not_replaced(world, of):
    world.publish(b"a, b\n")
    dictionary = of()
    dictionary.write("a, c\n")
    decision = dictionary.decide()
    world.publish(b"a, d\n")

    with pytest.raises(Overtaken, match=r"was overtaken by .* before it was published; run the DAG again"):
        dictionary.publish(decision)


def test_an_object_that_somebody_changed_is_not_published(world, of):
    world.publish(b"a, b\n")
    dictionary = of()
    wanted = dictionary.write("a, c\n")
    decision = dictionary.decide()
    world.s3.put_object(Bucket=world.bucket_name, Key=f"dictionaries/synonyms/{wanted}", Body=b"evil")
    world.control.reset_calls()

    with pytest.raises(DataError, match="somebody changed the object"):
        dictionary.publish(decision)
    assert dictionary.writes() == []


def test_a_failed_package_is_published_again_and_its_old_failure_is_not_taken_for_the_new_ones(world, of):
    package_id = world.publish(b"a, b\n")
    world.control.fault("validation_failed", "UpdatePackage", last=1)
    world.publish(b"a, x\n", associate=False)
    dictionary = of()
    wanted = dictionary.write("a, c\n")

    state = dictionary.publish(dictionary.decide())
    first_look = drive(world.client, read_package_with_history(package_id))
    world.pass_time(20)

    assert first_look.failed
    assert published(wanted, state.before, first_look, failed_at=state.failed_at) is Outcome.WAITING
    last_look = drive(world.client, read_package_with_history(package_id))
    assert published(wanted, state.before, last_look, failed_at=state.failed_at) is Outcome.DONE


# -- associate -----------------------------------------------------------------------------------------------------------------


def test_nothing_is_associated_while_another_package_of_the_domain_is_in_transit(world, of):
    package_id = world.publish(b"a, b\n", associate=False)
    other = world.publish(b"x\n", name="other", associate=False)
    world.client.associate_package(PackageID=other, DomainName="products")
    dictionary, wanted = of(), sha256(b"a, b\n")

    assert dictionary.sync.associate(package_id, wanted) is None
    world.pass_time(60)
    row = dictionary.sync.associate(package_id, wanted)

    assert isinstance(row, Association)
    assert (row.domain, row.status, row.reference_path) == ("products", "ASSOCIATING", f"analyzers/{package_id}")


def test_a_domain_that_has_the_content_is_not_asked_to_take_it(world, of):
    package_id = world.publish(b"a, b\n")
    dictionary = of()
    world.control.reset_calls()

    row = dictionary.sync.associate(package_id, sha256(b"a, b\n"))

    assert row
    assert row.active
    assert dictionary.writes() == []


def test_an_association_whose_answer_was_lost_is_taken_for_what_it_was(world, of):
    package_id = world.publish(b"a, b\n", associate=False)
    dictionary = of()
    world.control.fault("reset_after", "AssociatePackage")

    with pytest.raises(TransientError):
        dictionary.sync.associate(package_id, sha256(b"a, b\n"))
    world.pass_time(60)
    row = dictionary.sync.associate(package_id, sha256(b"a, b\n"))

    assert row
    assert row.active


def test_a_domain_that_already_is_in_the_desired_state_is_no_error(world, of):
    package_id = world.publish(b"a, b\n", associate=False)
    dictionary = of()
    world.client.associate_package(PackageID=package_id, DomainName="products")
    world.pass_time(60)
    world.control.fault("lag", "ListDomainsForPackage", seconds=70, last=1)  # so that the first look does not show it

    row = dictionary.sync.associate(package_id, sha256(b"a, b\n"))

    assert row
    assert row.active


def test_content_that_was_replaced_before_it_was_associated_is_overtaken(world, of):
    package_id = world.publish(b"a, b\n")
    world.publish(b"a, c\n", associate=False)

    with pytest.raises(Overtaken, match="run the DAG again to decide anew"):
        of().sync.associate(package_id, sha256(b"a, x\n"))


def test_a_failed_association_is_asked_for_again(world, of):
    package_id = world.publish(b"a, b\n", associate=False)
    world.control.fault("association_failed", "AssociatePackage", last=1)
    dictionary, wanted = of(), sha256(b"a, b\n")
    dictionary.sync.associate(package_id, wanted)
    world.pass_time(60)

    dictionary.sync.associate(package_id, wanted)
    world.pass_time(60)

    package, association = drive(world.client, read_situation("products", package_id=package_id))
    assert package
    assert associated(wanted, association, package) is Outcome.DONE


def test_a_wait_asks_again_for_what_the_service_gave_up_only_where_it_is_told_to(world, of):
    package_id = world.publish(b"a, b\n", associate=False)
    sync, wanted = of().sync, sha256(b"a, b\n")
    world.control.fault("association_failed", "AssociatePackage", last=1)
    sync.associate(package_id, wanted)
    world.pass_time(60)

    with pytest.raises(AssociationFailed):
        sync.version_in_use(package_id, wanted)
    assert sync.version_in_use(package_id, wanted, ask_again=True) is None
    world.pass_time(60)

    assert sync.version_in_use(package_id, wanted, ask_again=True) == next(iter(world.service.content(package_id)))


def test_a_package_whose_history_lags_behind_it_is_not_put_on_a_domain(world, of):
    world.publish(b"a, x\n", associate=False)
    world.pass_time(60)
    package_id = world.publish(b"a, b\n", associate=False)
    world.control.fault("lag", "GetPackageVersionHistory", seconds=40)

    assert of().sync.associate(package_id, sha256(b"a, b\n")) is None
    assert "AssociatePackage" not in world.control.calls()


def test_an_index_that_misses_a_probe_is_not_recorded_and_one_before_it_is(world, of):
    world.publish(b"a, b\n")
    for name in ("items", "more"):
        world.node.index(name, analysis(UPDATEABLE))
    dictionary = of()
    dictionary.write("a, b\n")
    decision = dictionary.decide()
    dictionary.sync.rules = replace(dictionary.sync.rules, probes={"more": [Probe("a", "a", ("z",))]})

    proofs = dictionary.sync.verify(decision.fingerprint)

    assert next(proofs).index == "items"
    with pytest.raises(NotServed, match="probe of index more"):
        next(proofs)
    assert ["_meta" in world.node.indexes[name].mappings for name in ("items", "more")] == [True, False]


def test_a_record_of_earlier_content_does_not_outlive_the_version_that_replaces_it(world, of):
    package_id = world.publish(b"a, b\n")
    world.node.index("items", analysis(SYNONYMS))
    dictionary = of(policy=MAY_REOPEN)
    dictionary.write("a, b\n")
    dictionary.run()
    world.publish(b"a, c\n")
    world.node.indexes["items"].files["analyzers/F100000001"] = b"a, c\n"  # and a person reopened the index

    decision = dictionary.decide()
    assert decision.steps == [Step.PUBLISH, Step.ASSOCIATE, Step.APPLY]
    dictionary.publish(decision)
    world.pass_time(20)
    dictionary.sync.associate(package_id, decision.fingerprint)
    world.pass_time(60)

    assert dictionary.run() != []
    assert world.node.tokens("items", "a", "a") == ["a", "b"]


# -- decide --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_dictionary_without_an_entry_is_refused(of, text):
    dictionary = of()
    dictionary.write(text)

    with pytest.raises(DataError, match=r"^synonyms\.txt: expected at least one entry, found none"):
        dictionary.decide()


def test_a_dictionary_that_the_engine_refuses_is_neither_kept_nor_published(world, of):
    world.publish(b"a, b\n")
    world.node.index("items", analysis(UPDATEABLE))
    dictionary = of()
    wanted = dictionary.write("a => b => c\n")
    world.control.reset_calls()

    with pytest.raises(Refused, match=r"^synonyms \(synonyms\.txt\): analyzer a of index items does not build: "):
        dictionary.decide()

    assert dictionary.sync.store.find("synonyms", wanted) is None
    assert dictionary.writes() == []


def test_a_dictionary_that_no_index_uses_is_built_alone(world, of):
    dictionary = of()
    dictionary.write("a => b => c\n")

    with pytest.raises(Refused, match="the engine does not build it"):
        dictionary.decide()


def test_a_dry_run_writes_nothing(world, of):
    world.publish(b"a, b\n")
    world.node.index("items", analysis(UPDATEABLE))
    dictionary = of()
    wanted = dictionary.write("a, c\n")
    world.control.reset_calls()
    before = len(world.node.application.log.calls())

    decision = dictionary.decide(dry_run=True)

    assert decision.steps == [Step.PUBLISH, Step.ASSOCIATE, Step.APPLY]
    assert dictionary.sync.store.find("synonyms", wanted) is None
    assert dictionary.writes() == []
    assert {call.operation for call in world.node.application.log.calls()[before:]} <= {"GET /*", "POST /{index}/_analyze"}


def test_an_unknown_package_id_and_an_unknown_domain_are_found_before_anything_is_published(world, of):
    dictionary = of(package_id="F999999999", name=None)
    dictionary.write("a, b\n")
    with pytest.raises(PackageNotFound):
        dictionary.decide()

    dictionary = of()
    dictionary.sync.domain = "no-such-domain"
    with pytest.raises(DataError, match="domain no-such-domain does not exist"):
        dictionary.decide()
    assert dictionary.writes() == []


def test_a_closed_index_is_not_asked_and_holds_nothing_up(world, of):
    world.publish(b"a, b\n")
    world.node.index("items", analysis(SYNONYMS)).closed = True
    dictionary = of()
    dictionary.write("a, b\n")

    assert dictionary.decide().steps == [Step.NOTHING]


# -- apply and prove -----------------------------------------------------------------------------------------------------------


def test_an_index_that_may_be_closed_is_closed_once_and_never_where_it_shows_the_words_already(world, of):
    world.publish(b"a, b\n")
    world.node.index("items", analysis(SYNONYMS))
    dictionary = of(policy=MAY_REOPEN)
    dictionary.write("a, b\n")
    dictionary.run()
    dictionary.write("a, c\n")
    world.publish(b"a, c\n")
    wanted = dictionary.decide().fingerprint

    first = dictionary.sync.apply(wanted, by="a run that dies after this")
    second = dictionary.sync.apply(wanted, by="the next run")

    assert [reopened.index for reopened in first.reopened] == ["items"]
    assert second.reopened == ()
    assert dictionary.run()[0].startswith("verified on items: 3 of 3 texts give other tokens than before")
    assert dictionary.decide().steps == [Step.NOTHING]


def test_an_index_that_may_not_be_closed_is_reported_until_a_person_has_opened_it(world, of):
    world.publish(b"a, b\n")
    world.node.index("items", analysis(SYNONYMS))
    dictionary = of()
    wanted = dictionary.write("a, b\n")
    world.node.indexes["items"].mappings["_meta"] = {
        "searchops": {"dictionaries": {"synonyms": {"applied": wanted, "path": "analyzers/F100000001"}}}
    }
    dictionary.decide(force=True)  # keeps the content
    dictionary.write("a, c\n")
    world.publish(b"a, c\n")

    assert dictionary.decide().steps == [Step.REPORT]
    assert dictionary.run() == []
    assert world.node.tokens("items", "a", "a") == ["a", "b"]
    world.node.indexes["items"].files = dict(world.node.files)
    assert dictionary.decide().steps == [Step.NOTHING]


def test_an_index_whose_documents_hold_the_old_words_is_rebuilt_by_others_and_announced_once(world, of):
    world.publish(b"a, b\n")
    world.node.index("items", analysis(SYNONYMS), properties={"name": {"type": "text", "analyzer": "a"}})
    dictionary = of()
    wanted = dictionary.write("a, b\n")

    first = dictionary.decide()
    dictionary.sync.record_request(["items"], wanted)
    second = dictionary.decide()
    dictionary.sync.node.record("items", "synonyms", documents=wanted)

    assert (first.steps, first.index_use["rebuild"], first.to_request) == ([Step.REBUILD], ["items"], ["items"])
    assert (second.steps, second.index_use["rebuild"], second.to_request) == ([Step.REBUILD], ["items"], [])
    assert dictionary.decide().steps == [Step.NOTHING]


def test_an_association_without_a_reload_is_active_on_the_right_version_and_still_not_proved(world, of):
    world.publish(b"a, b\n")
    world.node.index("items", analysis(UPDATEABLE))
    world.control.fault("skip_reload", "AssociatePackage")
    dictionary = of()
    dictionary.write("a, c\n")

    with pytest.raises(NotServed, match="index items does not serve the new content"):
        dictionary.run()

    assert "_meta" not in world.node.indexes["items"].mappings
    assert dictionary.decide().steps == [Step.APPLY]


def test_what_a_killed_run_left_closed_is_opened_by_the_next(world, of):
    world.publish(b"a, b\n")
    index = world.node.index("items", analysis(SYNONYMS), _meta={"searchops": {"reopening": {"by": "a run that was killed"}}})
    index.closed = True
    by_hand = world.node.index("other", analysis(SYNONYMS))
    by_hand.closed = True
    dictionary = of()

    assert dictionary.sync.open_again() == ["items"]
    assert (index.closed, by_hand.closed, index.mappings["_meta"]) == (False, True, {"searchops": {}})
    assert dictionary.sync.open_again() == []

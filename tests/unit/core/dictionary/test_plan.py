from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.dictionary.model import (
    Association,
    Dictionary,
    IndexUse,
    Kind,
    Package,
    Remedy,
    UseMode,
    Version,
    commit_message,
    fingerprint_in,
    sha256,
)
from searchops.core.dictionary.plan import (
    AssociationFailed,
    Outcome,
    Overtaken,
    Plan,
    Step,
    associated,
    moving,
    plan,
    plan_association,
    published,
)
from searchops.core.errors import DataError, TransientError

WANTED, OLD, OTHER = sha256(b"wanted"), sha256(b"old"), sha256(b"other")
DICTIONARY = Dictionary("synonyms", Kind.SYNONYMS, WANTED)
FOREIGN = None


def package(*fingerprints: str | None, status: str = "AVAILABLE", available: str | None = "", error: str = "") -> Package:
    """A package whose versions v1, v2, … hold these; the last is available unless told otherwise."""
    history = tuple(Version(f"v{number}", found, float(number)) for number, found in enumerate(fingerprints, 1))
    newest = history[-1].name if history else None
    return Package("F1", "synonyms", status, newest if available == "" else available, history, error)


def association(version: str | None, status: str = "ACTIVE", error: str = "") -> Association:
    return Association("F1", "products", status, version, "analyzers/F1", error)


def use(remedy: Remedy = Remedy.RELOAD, **values: Any) -> IndexUse:
    return IndexUse("items", "analyzers/F1", ("a",), UseMode.SEARCH_TIME, remedy, **values)


ON = association("v1")
OURS = package(WANTED)

SITUATIONS: Mapping[str, tuple[Step, str, Callable[[], Plan]]] = {
    "a package that does not exist is created": (Step.PUBLISH, "created", lambda: plan(DICTIONARY, None, None, [])),
    "a package that nobody of ours has published is adopted": (
        Step.PUBLISH,
        "adopted",
        lambda: plan(DICTIONARY, package(FOREIGN, FOREIGN), association("v2"), []),
    ),
    "a foreign version over one of ours is drift": (
        Step.DRIFT,
        "v2 was not published by searchops",
        lambda: plan(DICTIONARY, package(OLD, FOREIGN), association("v2"), []),
    ),
    "a foreign version over the very content that is wanted is drift too": (
        Step.DRIFT,
        "an older version was",
        lambda: plan(DICTIONARY, package(WANTED, FOREIGN), association("v1"), []),
    ),
    "drift is overwritten where the inventory says so": (
        Step.PUBLISH,
        "on_drift is overwrite",
        lambda: plan(DICTIONARY, package(OLD, FOREIGN), None, [], overwrite_drift=True),
    ),
    "drift is overwritten by force": (
        Step.PUBLISH,
        "force",
        lambda: plan(DICTIONARY, package(OLD, FOREIGN), None, [], force=True),
    ),
    "a failed publication of others does not hide drift": (
        Step.DRIFT,
        "was not published by searchops",
        lambda: plan(DICTIONARY, package(OLD, FOREIGN, status="VALIDATION_FAILED"), association("v2"), []),
    ),
    "older content of ours is replaced": (
        Step.PUBLISH,
        f"holds {OLD[:12]}, wanted {WANTED[:12]}",
        lambda: plan(DICTIONARY, package(OLD), ON, []),
    ),
    "content that was replaced since is published again": (
        Step.PUBLISH,
        "wanted",
        lambda: plan(DICTIONARY, package(WANTED, OLD), association("v2"), []),
    ),
    "a failed package is published again": (
        Step.PUBLISH,
        "COPY_FAILED (CopyError: no such key)",
        lambda: plan(DICTIONARY, package(OLD, status="COPY_FAILED", error="CopyError: no such key"), ON, []),
    ),
    "a package that failed with its first version is published again": (
        Step.PUBLISH,
        "no reason given",
        lambda: plan(DICTIONARY, package(status="VALIDATION_FAILED"), None, []),
    ),
    "a failed package of ours without any version that is available is published again": (
        Step.PUBLISH,
        "VALIDATION_FAILED",
        lambda: plan(DICTIONARY, package(OLD, status="VALIDATION_FAILED", available=None), None, []),
    ),
    "a package in transit is waited for": (
        Step.WAIT,
        "VALIDATING",
        lambda: plan(DICTIONARY, package(OLD, status="VALIDATING"), ON, []),
    ),
    "force does not publish into a package in transit": (
        Step.WAIT,
        "COPYING",
        lambda: plan(DICTIONARY, package(OLD, status="COPYING"), ON, [], force=True),
    ),
    "a history without the available version is waited for": (
        Step.WAIT,
        "does not list v2 yet",
        lambda: plan(DICTIONARY, package(OLD, available="v2"), ON, []),
    ),
    "force publishes what is unchanged": (Step.PUBLISH, "force", lambda: plan(DICTIONARY, OURS, ON, [], force=True)),
    "a package that is not on the domain is associated": (
        Step.ASSOCIATE,
        "not on the domain",
        lambda: plan(DICTIONARY, OURS, None, []),
    ),
    "a domain that is ACTIVE on the old version is not done": (
        Step.ASSOCIATE,
        f"uses v1 with {OLD[:12]}, available is v2",
        lambda: plan(DICTIONARY, package(OLD, WANTED), association("v1"), []),
    ),
    "a domain on a foreign version is given ours": (
        Step.ASSOCIATE,
        "unknown content",
        lambda: plan(DICTIONARY, package(FOREIGN, WANTED), association("v1"), []),
    ),
    "a failed association is tried again": (
        Step.ASSOCIATE,
        "ASSOCIATION_FAILED (Busy: try later)",
        lambda: plan(DICTIONARY, OURS, association("v1", "ASSOCIATION_FAILED", "Busy: try later"), []),
    ),
    "an association that failed without a word is tried again": (
        Step.ASSOCIATE,
        "ASSOCIATION_FAILED (no reason given)",
        lambda: plan(DICTIONARY, OURS, association("v1", "ASSOCIATION_FAILED"), []),
    ),
    "an association in transit is waited for": (
        Step.WAIT,
        "ASSOCIATING",
        lambda: plan(DICTIONARY, OURS, association("v1", "ASSOCIATING"), []),
    ),
    "a domain on a version that the history no longer lists is given ours": (
        Step.ASSOCIATE,
        "products uses v9, available is v1",
        lambda: plan(DICTIONARY, OURS, association("v9"), []),
    ),
    "an older version of the same bytes is good enough for a domain": (
        Step.NOTHING,
        "serve",
        lambda: plan(DICTIONARY, package(WANTED, WANTED), association("v1"), []),
    ),
    "an index that was not given the content is applied to": (
        Step.APPLY,
        "items",
        lambda: plan(DICTIONARY, OURS, ON, [use(Remedy.REOPEN, applied=OLD)]),
    ),
    "documents with old tokens need a rebuild": (
        Step.REBUILD,
        "items",
        lambda: plan(DICTIONARY, OURS, ON, [use(Remedy.REBUILD, applied=WANTED, documents=OLD)]),
    ),
    "an index that must not be closed is reported": (
        Step.REPORT,
        "items",
        lambda: plan(DICTIONARY, OURS, ON, [use(Remedy.REPORT)]),
    ),
    "what we can do comes before what others have to do": (
        Step.APPLY,
        "items",
        lambda: plan(DICTIONARY, OURS, ON, [use(Remedy.REPORT), use(Remedy.REBUILD), use(Remedy.RELOAD)]),
    ),
    "a changed user dictionary makes unchanged synonyms due": (
        Step.APPLY,
        "items",
        lambda: plan(
            DICTIONARY,
            OURS,
            ON,
            [use(Remedy.RELOAD, applied=WANTED, beside={"user-dictionary": OLD}, beside_now={"user-dictionary": OTHER})],
        ),
    ),
    "a user dictionary that came beside makes unchanged synonyms due": (
        Step.APPLY,
        "items",
        lambda: plan(DICTIONARY, OURS, ON, [use(Remedy.RELOAD, applied=WANTED, beside_now={"user-dictionary": OTHER})]),
    ),
    "a closed index is not waited for": (Step.NOTHING, "serve", lambda: plan(DICTIONARY, OURS, ON, [use(closed=True)])),
    "a domain and indexes with the content need nothing": (
        Step.NOTHING,
        f"1 indexes serve {WANTED[:12]}",
        lambda: plan(DICTIONARY, OURS, ON, [use(applied=WANTED)]),
    ),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_plan_names_the_first_thing_that_is_left_to_do_and_why(name):
    step, reason, planned = SITUATIONS[name]

    found = planned()

    assert found.step is step
    assert reason in found.reason


@pytest.mark.parametrize("status", ["DELETING", "DELETED"])
def test_a_package_that_is_being_deleted_is_an_error_that_says_where_to_name_another(status):
    with pytest.raises(DataError, match=rf"F1 is {status}: point packages\.synonyms in the inventory at another one"):
        plan(DICTIONARY, package(WANTED, status=status), ON, [])


@pytest.mark.parametrize(
    ("found", "version"),
    [(package(OLD), "v9"), (package(WANTED, available="v9"), "v9")],
    ids=["other content", "lagging history"],
)
def test_a_domain_on_a_version_of_which_nothing_is_known_is_looked_at_again(found, version):
    planned = plan_association(DICTIONARY, found, association(version))

    assert planned == Plan(Step.WAIT, "the history of F1 does not list v9, which products uses, yet")


# -- waiting for a version -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (package(OLD, status="COPYING"), Outcome.WAITING),
        (package(OLD, status="VALIDATING"), Outcome.WAITING),
        (package(OLD), Outcome.WAITING),  # right after UpdatePackage: still AVAILABLE on the version from before
        (package(OLD, available="v2"), Outcome.WAITING),  # the history lags behind the package
        (package(OLD, WANTED), Outcome.DONE),
        (package(OLD, WANTED, WANTED), Outcome.DONE),  # a newer version of the same bytes
        (package(OLD, WANTED, status="VALIDATION_FAILED"), Outcome.DONE),  # a later publication of somebody else
    ],
)
def test_a_publication_is_waited_for_until_the_available_version_holds_the_content(found, outcome):
    assert published(WANTED, "v1", found) is outcome


@pytest.mark.parametrize("status", ["COPYING", "VALIDATING"])
def test_a_package_in_transit_says_nothing_whatever_version_it_shows(status):
    assert published(WANTED, "v7", package(OLD, status=status)) is Outcome.WAITING


def test_a_publication_over_which_others_published_other_bytes_is_overtaken():
    with pytest.raises(Overtaken, match=rf"overtaken by v3 with {OTHER[:12]}; run the DAG again"):
        published(WANTED, "v1", package(OLD, WANTED, OTHER))


@pytest.mark.parametrize(
    ("error", "told"), [("ValidationError: not UTF-8", "not UTF-8"), ("", "the service gave no reason")], ids=["details", "none"]
)
@pytest.mark.parametrize("status", ["COPY_FAILED", "VALIDATION_FAILED"])
def test_a_failed_publication_is_an_error_of_data_with_the_services_words(status, error, told):
    with pytest.raises(DataError, match=told) as caught:
        published(WANTED, "v1", package(OLD, status=status, error=error))

    assert status in str(caught.value)
    assert caught.value.reason == error


def test_the_failure_of_an_earlier_update_is_waited_out_until_the_service_has_taken_up_ours():
    failed = replace(package(OLD, status="VALIDATION_FAILED"), updated_at=7.0)

    assert published(WANTED, "v1", failed, failed_at=7.0) is Outcome.WAITING
    with pytest.raises(DataError, match="VALIDATION_FAILED"):
        published(WANTED, "v1", replace(failed, updated_at=8.0), failed_at=7.0)


def test_the_version_from_before_is_not_ours_although_it_holds_the_same_bytes():
    assert published(WANTED, "v1", package(WANTED)) is Outcome.WAITING
    assert published(WANTED, "v1", package(WANTED, WANTED)) is Outcome.DONE


def test_a_package_that_is_deleted_while_it_is_waited_for_is_an_error():
    with pytest.raises(DataError, match="DELETING"):
        published(WANTED, "v1", package(OLD, status="DELETING"))


# -- waiting for a domain ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "found", "outcome"),
    [
        (association("v1"), package(OLD, WANTED), Outcome.BEHIND),
        (association("v2"), package(OLD, OTHER, WANTED), Outcome.BEHIND),
        (association("v2"), package(WANTED, OTHER, WANTED), Outcome.BEHIND),
        (association("v1", "ASSOCIATING"), package(OLD, WANTED), Outcome.WAITING),
        (association("v2", "ASSOCIATING"), package(OLD, WANTED), Outcome.WAITING),
        (association("v3"), package(OLD, WANTED), Outcome.WAITING),
        (association("v1"), package(OLD), Outcome.WAITING),
        (association("v2"), package(OLD, WANTED), Outcome.DONE),
        (association("v3"), package(OLD, WANTED, WANTED), Outcome.DONE),
        (association("v2"), package(OLD, WANTED, OTHER), Outcome.DONE),
    ],
)
def test_a_domain_is_waited_for_until_its_version_holds_the_content(row, found, outcome):
    assert associated(WANTED, row, found) is outcome


def test_a_domain_on_a_newer_version_of_other_bytes_is_overtaken():
    with pytest.raises(Overtaken, match=rf"overtaken by v3 with {OTHER[:12]}"):
        associated(WANTED, association("v3"), package(OLD, WANTED, OTHER))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (association("v1", "ASSOCIATION_FAILED", "Busy: two at once"), "Busy: two at once"),
        (association("v1", "ASSOCIATION_FAILED"), "the service gave no reason"),
        (association("v1", "DISSOCIATING"), "DISSOCIATING"),
        (None, "somebody dissociated it"),
    ],
)
def test_an_association_that_the_service_gave_up_may_be_tried_again(row, told):
    with pytest.raises(AssociationFailed, match=told) as caught:
        associated(WANTED, row, package(WANTED))

    assert isinstance(caught.value, TransientError)


@pytest.mark.parametrize(
    ("found", "rows", "told"),
    [
        (package(OLD, WANTED), [association("v1"), association("v1", "ASSOCIATION_FAILED")], []),
        (package(OLD, WANTED), [association("v1"), association("v1", "DISSOCIATING")], ["F1 DISSOCIATING"]),
        (package(OLD, status="COPYING", available="v2"), [], ["F1 COPYING"]),
        (
            package(OLD, available="v2"),
            [association("v1", "ASSOCIATING")],
            ["F1 ASSOCIATING", "F1 v2, which its history does not list yet"],
        ),
    ],
)
def test_a_domain_is_given_nothing_while_something_of_it_moves(found, rows, told):
    assert moving(found, rows) == told


# -- messages ------------------------------------------------------------------------------------------------------------------


@given(st.binary(), st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300))
def test_a_commit_message_keeps_the_fingerprint_within_the_services_limit(content, note):
    message = commit_message(sha256(content), note)

    assert fingerprint_in(message) == sha256(content)
    assert len(message) <= 160


@pytest.mark.parametrize(
    "message",
    [None, "", "fixed typos", f"by hand: searchops sha256={OLD}", f"searchops sha256={OLD[:63]}", f"searchops sha256={OLD}0"],
)
def test_a_message_that_does_not_begin_with_a_fingerprint_of_ours_is_not_ours(message):
    assert fingerprint_in(message) is None


# -- any situation -------------------------------------------------------------------------------------------------------------

contents = st.sampled_from([WANTED, OLD, OTHER, FOREIGN])
package_statuses = st.sampled_from(["AVAILABLE", "COPYING", "VALIDATING", "COPY_FAILED", "VALIDATION_FAILED"])
association_statuses = st.sampled_from(["ACTIVE", "ASSOCIATING", "DISSOCIATING", "ASSOCIATION_FAILED", "DISSOCIATION_FAILED"])
besides = st.dictionaries(st.just("user-dictionary"), st.sampled_from([OLD, OTHER]))


@dataclass(frozen=True)
class Aws:
    """A small pure AWS with one package, one domain and its indexes, in which each change takes one moment."""

    package: Package | None
    association: Association | None
    uses: tuple[IndexUse, ...] = ()
    lagging: tuple[Version, ...] = field(default=())

    def decide(self, **options: bool) -> Plan:
        return plan(DICTIONARY, self.package, self.association, self.uses, **options)

    def after(self, step: Step) -> Aws:
        """What the step of a run, or time, or a person makes of it."""
        match step:
            case Step.WAIT:
                return self._later()
            case Step.PUBLISH:
                old = self.package or package()
                version = Version(f"v{len(old.history) + 1}", WANTED, len(old.history) + 1.0)
                return replace(
                    self,
                    package=replace(old, status="AVAILABLE", available_version=version.name, history=(*old.history, version)),
                )
            case Step.ASSOCIATE:
                assert self.package
                return replace(self, association=association(self.package.available_version))
        remedies = {
            Step.APPLY: (Remedy.RELOAD, Remedy.REOPEN),
            Step.REBUILD: (Remedy.REBUILD,),
            Step.REPORT: (Remedy.REPORT,),
        }[step]
        uses = (
            replace(use, applied=WANTED, documents=WANTED, beside=use.beside_now) if use.remedy in remedies else use
            for use in self.uses
        )
        return replace(self, uses=tuple(uses))

    def _later(self) -> Aws:
        """Everything in transit arrives, and the history lists what it did not list."""
        assert self.package
        settled = replace(self.package, history=(*self.package.history, *self.lagging))
        if settled.in_transit:
            settled = replace(settled, status="AVAILABLE")
        row = self.association
        if row and row.status == "ASSOCIATING":
            row = replace(row, status="ACTIVE", version=settled.available_version)
        elif row and row.status == "DISSOCIATING":
            row = None
        return replace(self, package=settled, association=row, lagging=())

    @property
    def serves(self) -> bool:
        """Every part holds the wanted content."""
        assert self.package
        row = self.association and self.package.version(self.association.version)
        fresh = [
            (use.documents if use.remedy is Remedy.REBUILD else use.applied) == WANTED
            and (use.remedy is Remedy.REBUILD or dict(use.beside) == dict(use.beside_now))
            for use in self.uses
            if not use.closed
        ]
        return bool(row) and self.package.fingerprint == row.fingerprint == WANTED and all(fresh)


@st.composite
def situations(draw: st.DrawFn) -> Aws:
    if draw(st.booleans()) and draw(st.booleans()):
        return Aws(None, None)
    fingerprints = draw(st.lists(contents, min_size=1, max_size=5))
    whole = package(*fingerprints, status=draw(package_statuses))
    seen = draw(st.integers(0, len(fingerprints)))
    found = replace(whole, history=whole.history[:seen])
    versions = st.sampled_from([row.name for row in whole.history])
    row = draw(st.none() | st.builds(association, versions, association_statuses))
    marks = st.none() | st.sampled_from([WANTED, OLD])
    uses = st.builds(
        use,
        st.sampled_from(Remedy),
        applied=marks,
        documents=marks,
        beside=besides,
        beside_now=besides,
        closed=st.booleans(),
    )
    return Aws(found, row, tuple(draw(st.lists(uses, max_size=4))), whole.history[seen:])


@given(situations(), st.booleans(), st.booleans())
def test_nothing_is_published_into_a_package_in_transit(aws, overwrite_drift, force):
    decided = aws.decide(overwrite_drift=overwrite_drift, force=force)

    assert not (decided.step in (Step.PUBLISH, Step.DRIFT) and aws.package and aws.package.in_transit)


@given(situations(), st.booleans())
def test_a_run_has_nothing_to_do_only_where_every_part_holds_the_content(aws, overwrite_drift):
    if aws.decide(overwrite_drift=overwrite_drift).step is Step.NOTHING:
        assert aws.serves


@given(situations())
def test_drift_is_told_only_where_a_version_of_ours_was_replaced_by_others(aws):
    drifted = aws.decide().step is Step.DRIFT

    if drifted:
        assert aws.package
        assert aws.package.fingerprint is None
        assert any(row.fingerprint for row in aws.package.history)
        assert aws.decide(overwrite_drift=True).step is Step.PUBLISH


@given(situations())
def test_step_by_step_any_situation_comes_to_rest_and_stays_there(aws):
    steps = []
    while (decided := aws.decide(overwrite_drift=True)).step is not Step.NOTHING:
        steps.append(decided)
        assert len(steps) <= 9, steps
        aws = aws.after(decided.step)

    assert aws.serves
    assert aws.decide().step is Step.NOTHING
    assert sum(planned.step is Step.PUBLISH for planned in steps) <= 1
    assert sum(planned.step is Step.ASSOCIATE for planned in steps) <= 1

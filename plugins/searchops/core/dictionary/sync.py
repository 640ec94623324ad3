"""The steps of a dictionary sync: each looks at what is there and does only what is missing, so that any of them can be repeated."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from searchops.core.dictionary import formats, proof, survey
from searchops.core.dictionary.model import (
    Association,
    Dictionary,
    IndexUse,
    Kind,
    Package,
    Remedy,
    UseMode,
    commit_message,
    sha256,
    short,
)
from searchops.core.dictionary.node import Definitions, Node, Refused, Reopened, is_closed
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
    plan_package,
)
from searchops.core.dictionary.proof import Expectation
from searchops.core.dictionary.service import (
    call,
    code_of,
    drive,
    read_association,
    read_associations,
    read_endpoint,
    read_package,
    read_package_with_history,
    read_situation,
    with_history,
)
from searchops.core.dictionary.store import DictionaryStore, read_source
from searchops.core.dictionary.survey import DomainRules
from searchops.core.errors import DataError, TransientError

log = logging.getLogger(__name__)

_BEFORE_THE_DOMAIN = {Step.WAIT, Step.PUBLISH, Step.ASSOCIATE}
_CHECKED = _BEFORE_THE_DOMAIN | {Step.APPLY}


@dataclass(frozen=True, slots=True)
class Entry:
    """A dictionary of the inventory. Its package is found by ``package_id``, or by ``name`` and created where there is none."""

    key: str
    kind: Kind
    source: str
    path: Path | None = None
    package_id: str | None = None
    name: str | None = None
    overwrite_drift: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What a run has to do for one dictionary."""

    plan: Plan
    fingerprint: str
    package_id: str | None
    available_version: str | None
    index_use: Mapping[str, Sequence[str]] = field(default_factory=dict)  # remedy -> indexes that need it
    to_request: Sequence[str] = ()  # indexes whose rebuild has not been asked for
    lines: int = 0

    @property
    def steps(self) -> list[Step]:
        """Every step from the first one on, in the order of a run."""
        step = self.plan.step
        if step is Step.DRIFT:
            return [step]
        steps: list[Step] = []
        if step in (Step.WAIT, Step.PUBLISH):
            steps += [Step.PUBLISH]
        if step in _BEFORE_THE_DOMAIN:
            steps += [Step.ASSOCIATE]
        if self.index_use.get(Remedy.RELOAD.value) or self.index_use.get(Remedy.REOPEN.value):
            steps += [Step.APPLY]
        if self.index_use.get(Remedy.REBUILD.value):
            steps += [Step.REBUILD]
        if self.index_use.get(Remedy.REPORT.value):
            steps += [Step.REPORT]
        return steps or [Step.NOTHING]


@dataclass(frozen=True, slots=True)
class Situation:
    package: Package | None
    association: Association | None
    definitions: Definitions
    uses: Sequence[IndexUse]

    @property
    def on_the_domain(self) -> str | None:
        """Fingerprint of the version that the domain uses."""
        row = self.package.version(self.association.version) if self.package and self.association else None
        return row.fingerprint if row else None


@dataclass(frozen=True, slots=True)
class Publishing:
    """The state after a look by `publish`: done, or what to wait for."""

    package_id: str
    done: bool
    asked: bool  # we asked for a version and wait for it; otherwise for somebody else's work to settle
    before: str | None
    version: str | None
    failed_at: float | None = None  # the package was in a failed state, which it had entered then


@dataclass(frozen=True, slots=True)
class Applying:
    """What `apply` did, and the analyzers that do not give the new tokens yet (expectations as JSON)."""

    reopened: tuple[Reopened, ...]
    waiting: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class IndexProof:
    """What was proved on one index."""

    index: str
    texts: int
    effects: tuple[proof.Effect, ...]
    old_is_known: bool = True
    old_documents: bool = False  # indexing uses the dictionary too: what was indexed before keeps its tokens

    @property
    def text(self) -> str:
        told = self._effect()
        return (
            f"{told}; documents indexed before keep their old tokens until they are indexed again" if self.old_documents else told
        )

    def _effect(self) -> str:
        if not self.effects:
            return f"no visible effect on {self.index}: none of {self.texts} texts from the changed entries gives other tokens"
        shown, telling = self.effects[0], len({effect.text for effect in self.effects})
        example = f"e.g. {shown.text}: {' '.join(shown.before) or '-'} -> {' '.join(shown.after) or '-'}"
        if not self.old_is_known:
            return (
                f"verified on {self.index}: all {self.texts} words of the file give the tokens that it says, {telling} of them others than "
                f"without the file (what was served before is not known), {example}"
            )
        return f"verified on {self.index}: {telling} of {self.texts} texts give other tokens than before, all as the new files say, {example}"


class DictionarySync:
    """One dictionary on one domain.

    :param client: boto3 ``opensearch`` client for reads
    :param writer: the same without retries of its own: a write whose answer was lost is looked for, not sent again
    """

    def __init__(
        self,
        entry: Entry,
        domain: str,
        rules: DomainRules,
        *,
        client: Any,
        writer: Any,
        node: Node,
        s3: Any,
        bucket: str,
    ) -> None:
        self.entry = entry
        self.domain = domain
        self.rules = rules
        self.client = client
        self.writer = writer
        self.node = node
        self.s3 = s3
        self.store = DictionaryStore(s3, bucket)

    # -- decide ------------------------------------------------------------------------------------------------------------

    def read(self) -> bytes:
        return read_source(self.entry.source, self.entry.path, self.s3)

    def dictionary(self, fingerprint: str) -> Dictionary:
        return Dictionary(self.entry.key, self.entry.kind, fingerprint)

    def look(self) -> Situation:
        reading = read_situation(self.domain, package_id=self.entry.package_id, name=self.entry.name)
        package, association = drive(self.client, reading)
        path = reference_path(package, association)
        definitions = self.node.definitions()
        uses = survey.uses(definitions, self.entry.key, path, self.rules) if path else []
        return Situation(package, association, definitions, uses)

    def decide(self, *, force: bool = False, dry_run: bool = False, earlier: Sequence[Entry] = ()) -> Decision:
        """Read the source, compare, let the engine build it, and keep it for publishing. With ``dry_run`` nothing is written.

        :param earlier: dictionaries that a real run would have put live before this one; counted as live in a dry run
        :raises DataError: the source is missing or the engine refuses it; nothing has been changed then
        """
        content = self.read()
        lines = formats.lines(content, self.entry.source)
        if not lines:
            raise DataError(
                f"{self.entry.source}: expected at least one entry, found none; to take a dictionary out of use remove it from the index body"
            )
        unopened = None if dry_run else self._try_open_again()
        situation = self.look()
        dictionary = self.dictionary(sha256(content))
        if not dry_run and self._record_opened_by_hand(situation, dictionary, content):
            situation = self.look()
        decided = plan(
            dictionary,
            situation.package,
            situation.association,
            situation.uses,
            overwrite_drift=self.entry.overwrite_drift,
            force=force,
        )
        if unopened and decided.step not in _BEFORE_THE_DOMAIN:
            raise unopened
        if decided.step in _BEFORE_THE_DOMAIN and situation.association is None:
            drive(self.client, read_endpoint(self.domain))  # a domain that does not exist is found before anything is published
        if decided.step in _CHECKED:
            self._compile(situation, lines, earlier if dry_run else ())
            if not dry_run:
                self.store.put(self.entry.key, content)
        anew = decided.step in _BEFORE_THE_DOMAIN and situation.on_the_domain != dictionary.fingerprint
        pending = [use for use in situation.uses if _due(use, dictionary.fingerprint, anew=anew, force=force)]
        rebuilds = [use for use in pending if use.remedy is Remedy.REBUILD]
        index_use = {remedy.value: [use.index for use in pending if use.remedy is remedy] for remedy in Remedy}
        left = {index for index, definition in situation.definitions.items() if survey.left_reopening(definition)}
        index_use[Remedy.REOPEN.value] += [use.index for use in situation.uses if use.closed and use.index in left]
        return Decision(
            plan=decided,
            fingerprint=dictionary.fingerprint,
            package_id=situation.package.id if situation.package else None,
            available_version=situation.package.available_version if situation.package else None,
            index_use=index_use,
            to_request=[use.index for use in rebuilds if use.requested != dictionary.fingerprint],
            lines=len(lines),
        )

    def _record_opened_by_hand(self, situation: Situation, dictionary: Dictionary, content: bytes) -> bool:
        """Record the indexes that a person closed and opened, as a run had asked for: otherwise every later run would ask again."""
        package = situation.package
        if package is None or package.fingerprint != dictionary.fingerprint:
            return False
        if plan_association(dictionary, package, situation.association).step is not Step.NOTHING:
            return False
        reported = [use for use in situation.uses if use.remedy is Remedy.REPORT and use.pending(dictionary.fingerprint)]
        if reported:
            self.store.put(self.entry.key, content)
        opened = [
            use
            for use in reported
            # All entries are compared where it is not known what the index served before, so the file is seen as a whole then.
            if not self.not_served(self.expectations(use, situation.definitions[use.index], dictionary.fingerprint))
        ]
        for use in opened:
            self.record(use, dictionary.fingerprint)
        return bool(opened)

    def _compile(self, situation: Situation, lines: Sequence[str], earlier: Sequence[Entry]) -> None:
        where = f"{self.entry.key} ({self.entry.source})"
        # A closed index resolves no analyzers; it reads its files when it is opened.
        readable = [use for use in situation.uses if not use.closed]
        for use in readable:
            self._compile_on(use, situation.definitions[use.index], lines, earlier, where)
        if not readable:
            proof.build_entries(lambda part: proof.compile_alone(self.node, self.entry.kind, part, where), lines)

    def _compile_on(
        self, use: IndexUse, definition: Mapping[str, Any], lines: Sequence[str], earlier: Sequence[Entry], where: str
    ) -> None:
        beside = self._companions(definition, use, earlier)

        def build(part: Sequence[str]) -> None:
            proof.compile_on(self.node, use.index, definition, use.analyzers, {**beside, use.path: part}, where)

        proof.build_entries(build, lines)

    def _companions(self, definition: Mapping[str, Any], use: IndexUse, earlier: Sequence[Entry] = ()) -> dict[str, list[str]]:
        """The other dictionaries on the same analyzers, as they are applied; what we did not apply stays a path that the engine reads itself."""
        recorded = survey.recorded_dictionaries(definition)
        files = {f"analyzers/{entry.package_id}": entry.key for entry in earlier if entry.package_id}
        files |= survey.files_of(definition, use.analyzers)
        return {
            path: lines
            for path, key in files.items()
            if key != self.entry.key and (lines := self._content(key, recorded.get(key, {}).get("applied"), earlier)) is not None
        }

    def _content(self, key: str, fingerprint: str | None, earlier: Sequence[Entry] = ()) -> list[str] | None:
        for entry in earlier:
            if entry.key == key:
                return formats.lines(read_source(entry.source, entry.path, self.s3), entry.source)
        content = self.store.find(key, fingerprint)
        return None if content is None else formats.lines(content, key)

    # -- publish and associate ---------------------------------------------------------------------------------------------

    def publish(self, fingerprint: str, *, planned_over: str | None, force: bool = False) -> Publishing:
        """Make the stored content the package's available version, where it is not.

        :param planned_over: the version that was available when this was planned
        :raises Overtaken: other content of ours has been published since
        :raises DataError: drift, a missing object, AWS refuses
        :raises TransientError: somebody else began at the same moment
        """
        row = drive(self.client, read_package(package_id=self.entry.package_id, name=self.entry.name))
        package = drive(self.client, with_history(row)) if row else None
        moved_on = package is not None and package.available_version != planned_over
        # In a forced run that is tried again, a version of ours after the planned one is the one that the first try asked for.
        decided = plan_package(
            self.dictionary(fingerprint),
            package,
            overwrite_drift=self.entry.overwrite_drift or force,
            force=force and not moved_on,
        )
        if package and moved_on and decided.step is Step.PUBLISH and package.fingerprint not in (None, fingerprint):
            raise Overtaken(
                f"package {package.id}: {short(fingerprint)} was overtaken by {package.available_version} with {short(package.fingerprint)} "
                "before it was published; run the DAG again to decide anew"
            )
        if decided.step is Step.DRIFT:
            raise Drift(decided.reason)
        if decided.step is not Step.PUBLISH:
            assert package is not None  # noqa: S101  # a missing package is always published
            return Publishing(
                package.id, decided.step is Step.NOTHING, False, package.available_version, package.available_version
            )
        source = {"S3BucketName": self.store.bucket, "S3Key": self.store.key(self.entry.key, fingerprint)}
        self.store.get(self.entry.key, fingerprint)
        if package is None:
            return self._create(fingerprint, source)
        self._write("update_package", PackageID=package.id, PackageSource=source, CommitMessage=commit_message(fingerprint))
        failed_at = package.updated_at if package.failed else None
        return Publishing(package.id, False, True, package.available_version, None, failed_at)

    def _create(self, fingerprint: str, source: Mapping[str, str]) -> Publishing:
        answer = self._write(
            "create_package",
            PackageName=self.entry.name,
            PackageType="TXT-DICTIONARY",
            PackageSource=source,
            PackageDescription=commit_message(fingerprint),
        )
        return Publishing(answer["PackageDetails"]["PackageID"], False, True, None, None)

    def associate(self, package_id: str, fingerprint: str) -> Association | None:
        """Have the domain take up the available version, where it does not use it and nothing else of the domain is in transit.

        :return: the domain's row, or None while something is in transit and has to be waited for
        """
        package, association = drive(self.client, read_situation(self.domain, package_id=package_id))
        assert package is not None  # noqa: S101  # an id that does not exist raises
        decided = plan_association(self.dictionary(fingerprint), package, association)
        if decided.step is Step.NOTHING and association:
            return replace(association, asked=association.version)
        if package.fingerprint != fingerprint and not package.in_transit and not package.history_lags:
            raise Overtaken(
                f"package {package_id}: {short(fingerprint)} was overtaken by {package.available_version} with {short(package.fingerprint)}; "
                "run the DAG again to decide anew"
            )
        others = drive(self.client, read_associations(self.domain))
        if decided.step is Step.WAIT or moving(package, others):
            return None
        self._forget_what_was_proved(fingerprint, package, association)
        asked = package.available_version
        try:
            answer = self._write("associate_package", PackageID=package_id, DomainName=self.domain)
        except TransientError as error:
            if code_of(error) != "ConflictException":
                raise
            # "Package is already in desired state": somebody else was faster, or our own first call was answered with an error.
            package, association = drive(self.client, read_situation(self.domain, package_id=package_id))
            if (
                package
                and association
                and plan_association(self.dictionary(fingerprint), package, association).step is Step.NOTHING
            ):
                return replace(association, asked=association.version)
            raise
        row = answer["DomainPackageDetails"]
        return Association(
            package_id,
            self.domain,
            row["DomainPackageStatus"],
            row.get("PackageVersion"),
            row.get("ReferencePath") or "",
            asked=asked,
        )

    def version_in_use(
        self, package_id: str, fingerprint: str, *, asked: str | None = None, ask_again: bool = False
    ) -> str | None:
        """The version of the domain if that carries the content, None while it has to be waited for.

        :param asked: the version that carries it, where it is known; then one call tells, else three
        :param ask_again: where the service gave up, ask for it once more and wait on
        :raises AssociationFailed: it will not come by waiting
        """
        association = drive(self.client, read_association(package_id, self.domain))
        if association and asked and (association.active or association.in_transit):
            return asked if association.active and association.version == asked else None
        package = drive(self.client, read_package_with_history(package_id, also=association.version if association else None))
        try:
            done = associated(fingerprint, association, package) is Outcome.DONE
        except AssociationFailed as failed:
            if not ask_again:
                raise
            log.warning("Associating again: %s", failed)
            self.associate(package_id, fingerprint)
            return None
        return association.version if association and done else None

    def _forget_what_was_proved(self, fingerprint: str, package: Package, association: Association | None) -> None:
        """Before the domain is given another version, no index may say that it serves what it is to be given.

        Such a record is from an earlier time at which the domain used the same content; other content was put on it since.
        """
        used = package.version(association.version) if association else None
        for use in self.look().uses:
            if use.applied == fingerprint:
                self.node.record(use.index, self.entry.key, applied=used.fingerprint if used else None)

    def _write(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        """A write. AWS says only in words that it refuses because somebody else is at work, so such codes are worth another look."""
        try:
            return call(self.writer, operation, **arguments)
        except DataError as error:
            if code_of(error) in ("ResourceAlreadyExistsException", "ValidationException"):
                raise TransientError(f"{operation}: {error}", reason=error.reason) from error
            raise

    # -- apply and prove ---------------------------------------------------------------------------------------------------

    def uses_to_apply(self, fingerprint: str, *, force: bool = False) -> list[tuple[IndexUse, Mapping[str, Any]]]:
        """The indexes that we or the service give the content, with their definitions."""
        situation = self.look()
        return [
            (use, situation.definitions[use.index])
            for use in situation.uses
            if use.remedy in (Remedy.RELOAD, Remedy.REOPEN) and _due(use, fingerprint, force=force)
        ]

    def expectations(self, use: IndexUse, definition: Mapping[str, Any], fingerprint: str) -> list[Expectation]:
        """What the index's analyzers have to give once it serves the content."""
        new = self._content(self.entry.key, fingerprint)
        if new is None:
            raise DataError(
                f"{self.entry.key}: its content {short(fingerprint)} is no longer kept in s3://{self.store.bucket}; run the DAG again"
            )
        old = self._content(self.entry.key, use.applied)
        now = self._companions(definition, use)
        before = dict(now)
        # Of a change a sample tells whether it is live. Where it is not known what changed, only all entries do.
        texts = (
            formats.all_texts(self.entry.kind, new)
            if old is None
            else formats.telling_texts(self.entry.kind, formats.changed(old, new))
        )
        for other_path, key in survey.files_of(definition, use.analyzers).items():
            if key not in use.beside_now or use.beside.get(key) == use.beside_now[key]:
                continue
            # The user dictionary changed below an unchanged file: its words tell too, and so do this file's own.
            was = self._content(key, use.beside.get(key))
            before[other_path] = was or []
            moved = formats.telling_texts(self.rules.kinds[key], formats.changed(was, now.get(other_path, [])))
            if old is not None:
                texts = proof.spread(list(dict.fromkeys([*texts, *moved, *formats.telling_texts(self.entry.kind, new)])))
        return [
            proof.expect(
                self.node,
                use.index,
                definition,
                analyzer,
                texts,
                {**before, use.path: old or []},
                {**now, use.path: new},
                old_is_known=old is not None,
            )
            for analyzer in use.analyzers
        ]

    def open_again(self) -> list[str]:
        """Open every index of the domain that a run of ours closed and did not open.

        An index that is open but still says that we reopen it loses that note: a person who closes it later wants it closed.
        """
        definitions = self.node.definitions()
        left = [index for index, definition in definitions.items() if survey.left_reopening(definition)]
        for index in left:
            self.node.open(index)
        return [index for index in left if is_closed(definitions[index])]

    def _try_open_again(self) -> Refused | None:
        """Content that does not build keeps an index closed: then other content has to be published before it opens."""
        try:
            self.open_again()
        except Refused as refused:
            return refused
        return None

    def apply(self, fingerprint: str, *, by: str, force: bool = False) -> Applying:
        """Close and open the indexes that need it and allow it, and say which analyzers are still waited for.

        An index that shows the new tokens already is left alone: an earlier run may have died after opening it.
        """
        found = self.uses_to_apply(fingerprint, force=force)
        definitions = {use.index: definition for use, definition in found}
        pending = [(use, self.expectations(use, definition, fingerprint)) for use, definition in found]
        reopened = []
        for use, expectations in pending:
            if use.remedy is Remedy.REOPEN and (force or not self._shows(expectations)):
                proof.compile_files(self.node, use.index, definitions[use.index])
                reopened.append(self.node.reopen(use.index, by=by))
        waiting = [
            proof.expectation_to(expectation, wrong) for _, wanted in pending for expectation, wrong in self.not_served(wanted)
        ]
        return Applying(tuple(reopened), tuple(waiting))

    def _shows(self, expectations: Sequence[Expectation]) -> bool:
        """Whether the index can be seen to serve the new content and not the old."""
        telling = any(expectation.effects and expectation.old_is_known for expectation in expectations)
        return telling and not self.not_served(expectations)

    def not_served(self, expectations: Sequence[Expectation]) -> list[tuple[Expectation, list[proof.Mismatch]]]:
        found = [(expectation, proof.mismatches(self.node, expectation)) for expectation in expectations]
        return [(expectation, wrong) for expectation, wrong in found if wrong]

    def verify(self, fingerprint: str, *, force: bool = False) -> Iterator[IndexProof]:
        """Prove the content on one index after the other, put the inventory's probes on top, and record it there.

        :raises NotServed: an index gives other tokens; nothing is recorded for it
        """
        for use, definition in self.uses_to_apply(fingerprint, force=force):
            proved = self.prove(use, definition, fingerprint)
            for probe in self.rules.probes_of(use.index, definition):
                proof.check_probe(self.node, use.index, probe)
            self.record(use, fingerprint)
            yield proved

    def prove(self, use: IndexUse, definition: Mapping[str, Any], fingerprint: str) -> IndexProof:
        """Compare the live analyzers with the new files.

        :raises NotServed: the index gives other tokens
        """
        expectations = self.expectations(use, definition, fingerprint)
        for expectation, wrong in self.not_served(expectations):
            proof.require_served(wrong, expectation)
        effects = tuple(effect for expectation in expectations for effect in expectation.effects)
        texts = {text for expectation in expectations for text in expectation.texts}
        return IndexProof(
            use.index,
            len(texts),
            effects,
            old_is_known=all(expectation.old_is_known for expectation in expectations),
            old_documents=use.mode is UseMode.INDEX_TIME,
        )

    def record(self, use: IndexUse, fingerprint: str) -> None:
        """Keep in the index what was proved on it."""
        self.node.record(use.index, self.entry.key, applied=fingerprint, path=use.path, beside=dict(use.beside_now))

    def record_request(self, indexes: Sequence[str], fingerprint: str) -> None:
        """Remember that the rebuild of these indexes was asked for, so that it is asked for once a content."""
        for index in indexes:
            self.node.record(index, self.entry.key, requested=fingerprint)


def _due(use: IndexUse, fingerprint: str, *, anew: bool = False, force: bool = False) -> bool:
    """Whether a run has to look after the index: its content is not recorded, or the domain is given the content anew.

    What documents hold does not change with a version on the domain, so a rebuild is asked for by the record alone.
    """
    given = anew and use.remedy is not Remedy.REBUILD
    forced = force and use.remedy in (Remedy.RELOAD, Remedy.REOPEN)
    return use.pending(fingerprint) or (not use.closed and (given or forced))


class Drift(DataError):
    """Somebody else published over a version of ours."""


def reference_path(package: Package | None, association: Association | None) -> str | None:
    if association and association.reference_path:
        return association.reference_path
    return f"analyzers/{package.id}" if package else None

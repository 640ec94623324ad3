"""The tasks of a dictionary sync, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.bases.skipmixin import SkipMixin

from searchops.core.dictionary.model import Remedy
from searchops.core.errors import DataError, TransientError
from searchops.hooks.dictionary import DomainClients, entry_of
from searchops.inventory import Domain
from searchops.links.dictionary import OpenSearchDomainPackagesLink, OpenSearchPackageLink
from searchops.operators.arguments import as_list, is_false, is_true
from searchops.reporting import reporting
from searchops.retries import RETRY_DELAY, RETRY_POLICY
from searchops.triggers.dictionary import AnalyzersTrigger, DomainSettledTrigger, PackagePublishedTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from searchops.core.dictionary.sync import DictionarySync

# A wait ends itself with the last status in its message; the deferral's own time-out is the net below it.
NET = timedelta(minutes=2)


def check_event(event: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The event of a wait, or the error that it tells of."""
    if event is None:
        raise TransientError("the wait ended without an event")
    if event["status"] == "success":
        return event
    family = TransientError if event.get("transient") else DataError
    raise family(str(event["message"]), reason=str(event.get("reason") or ""))


class DictionaryOperator(BaseOperator):
    """One step for one dictionary of a domain; what it fails with is kept in ``reports/`` for people and the notifier.

    :param domain: a domain of the inventory, as JSON
    :param package: key of one of its packages
    :param deferrable: wait without a worker; ``[operators] default_deferrable`` is not asked, because Airflow ships it as False
    """

    template_fields: Sequence[str] = ("package",)
    operator_extra_links = (OpenSearchPackageLink(), OpenSearchDomainPackagesLink())
    ui_color = "#e8f2fb"

    def __init__(
        self,
        *,
        domain: Mapping[str, Any],
        package: str,
        deferrable: bool = True,
        timeout_seconds: float = 1800,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"retries": 3, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **kwargs})
        self.domain = dict(domain)
        self.package = package
        self.deferrable = deferrable
        self.timeout_seconds = timeout_seconds

    @cached_property
    def clients(self) -> DomainClients:
        return DomainClients(Domain.model_validate(self.domain))

    @cached_property
    def sync(self) -> DictionarySync:
        return self.clients.sync(self.package)

    def reporting(self, context: Context) -> AbstractContextManager[None]:
        domain = self.clients.domain
        facts = {"AWS connection": domain.aws_conn_id, "Domain connection": domain.opensearch_conn_id, "Region": domain.region}
        return reporting(context, lambda: self.clients.s3, domain.bucket, facts=facts)

    def persist_links(self, context: Context, package_id: str) -> None:
        hook = self.clients.service
        where = {"region_name": hook.conn_region_name, "aws_partition": hook.conn_partition}
        OpenSearchPackageLink.persist(context=context, operator=self, package_id=package_id, **where)
        OpenSearchDomainPackagesLink.persist(context=context, operator=self, domain_name=self.clients.domain.domain_name, **where)

    def wait_for(self, context: Context, trigger: BaseTrigger, then: str, **kwargs: Any) -> Any:
        """Wait without a worker, or with one where ``deferrable`` is off."""
        if self.deferrable:
            self.defer(
                trigger=trigger, method_name=then, kwargs=kwargs or None, timeout=timedelta(seconds=self.timeout_seconds) + NET
            )
        return getattr(self, then)(context, event=run_here(trigger), **kwargs)

    def aws(self) -> dict[str, Any]:
        domain = self.clients.domain
        return {"aws_conn_id": domain.aws_conn_id, "region_name": domain.region, "timeout_seconds": self.timeout_seconds}


def run_here(trigger: Any) -> Mapping[str, Any]:
    """Run a trigger to its event in this process."""
    import asyncio

    async def first() -> Mapping[str, Any]:
        async for event in trigger.run():
            return event.payload  # type: ignore[no-any-return]
        raise TransientError("the wait ended without an event")

    return asyncio.run(first())


class _TurnTakingOperator(DictionaryOperator):
    """A task that begins anew after others have had their turn on the package or the domain; all its turns together have its time."""

    def attempt(self, context: Context, since: float | None) -> Any:
        """:param since: when it first waited for others (epoch seconds)"""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        return self.attempt(context, None)

    def wait_for_others(self, context: Context, package_id: str, since: float | None) -> Any:
        domain = self.clients.domain.domain_name
        self.log.info("Package %s or something of domain %s is in transit: waiting before looking again", package_id, domain)
        trigger = DomainSettledTrigger(package_id=package_id, domain_name=domain, started_at=since, **self.aws())
        return self.wait_for(context, trigger, "look_again", since=trigger.started_at)

    def look_again(self, context: Context, event: Mapping[str, Any] | None = None, since: float | None = None) -> Any:
        with self.reporting(context):
            check_event(event)
        return self.attempt(context, since)


class OpenSearchDictionaryPlanOperator(DictionaryOperator, SkipMixin):
    """Read a dictionary, compare it with what AWS and the indexes hold, let the engine build it, and skip the tasks with nothing to do.

    :param tasks: task ids by the step that needs them (a `Step`, or ``reopen``); the others are skipped
    :param selected: False skips this dictionary (templated)
    :param force: publish, associate and apply even what is unchanged, and overwrite drift (templated)
    :param only_plan: read and compile, write nothing; only what is clearly false writes (templated)
    :return: step, reason, steps, fingerprint, package_id, version (the available one), index_use (indexes by what they need)
    :raises DataError: the engine refuses the dictionary, or the source is missing; nothing has been published then
    """

    template_fields: Sequence[str] = ("package", "selected", "force", "only_plan")

    def __init__(
        self,
        *,
        tasks: Mapping[str, Sequence[str]] | None = None,
        selected: bool | str = True,
        force: bool | str = False,
        only_plan: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tasks = {step: list(ids) for step, ids in (tasks or {}).items()}
        self.selected = selected
        self.force = force
        self.only_plan = only_plan

    def execute(self, context: Context) -> dict[str, Any]:
        if not is_true(self.selected):
            self.log.info("%s was not chosen for this run", self.package)
            return self._go_on(context, {"step": "not chosen"}, [])
        look_only = not is_false(self.only_plan)
        with self.reporting(context):
            packages = self.clients.domain.packages
            earlier = packages[: [package.key for package in packages].index(self.package)]
            decision = self.sync.decide(
                force=is_true(self.force), dry_run=look_only, earlier=[entry_of(package) for package in earlier]
            )
        if decision.package_id:
            self.persist_links(context, decision.package_id)
        self.log.info("%s: %s: %s", self.package, decision.plan.step.value, decision.plan.reason)
        reopens = bool(decision.index_use.get(Remedy.REOPEN.value))
        found = {
            "step": decision.plan.step.value,
            "reason": decision.plan.reason,
            "steps": [step.value for step in decision.steps],
            "fingerprint": decision.fingerprint,
            "package_id": decision.package_id,
            "version": decision.available_version,
            "index_use": {remedy: list(indexes) for remedy, indexes in decision.index_use.items()},
            "to_request": list(decision.to_request),
            "entries": decision.lines,
            "node_calls": self.sync.node.calls,
        }
        steps = [step.value for step in decision.steps] + (["reopen"] if reopens else [])
        return self._go_on(context, found, [] if look_only else steps)

    def _go_on(self, context: Context, found: dict[str, Any], steps: Sequence[str]) -> dict[str, Any]:
        needed = {task for step in steps for task in self.tasks.get(step, ())}
        skipped = [task for tasks in self.tasks.values() for task in tasks if task not in needed]
        if skipped:
            ti: Any = context["ti"]
            ti.xcom_push(key="return_value", value=found)  # skipping ends the task before its value is pushed
            self.skip(ti, [self.dag.get_task(task) for task in dict.fromkeys(skipped)] if self.dag else [])
        return found


class OpenSearchDictionaryPublishOperator(_TurnTakingOperator):
    """Publish the planned content as a new version of the package and wait until it is available.

    Looks first: content that is available already is not published again, and a package in transit is waited for.

    :param fingerprint: sha256 of the content, as planned (templated)
    :param planned_over: the available version at that time, empty for a package that did not exist (templated)
    :param force: publish even if it is the available content (templated)
    :return: package_id, version
    """

    template_fields: Sequence[str] = ("package", "fingerprint", "planned_over", "force")

    def __init__(self, *, fingerprint: str, planned_over: str | None, force: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fingerprint = fingerprint
        self.planned_over = planned_over
        self.force = force

    def attempt(self, context: Context, since: float | None) -> Any:
        with self.reporting(context):
            state = self.sync.publish(self.fingerprint, planned_over=self.planned_over or None, force=is_true(self.force))
        self.persist_links(context, state.package_id)
        if state.done:
            return {"package_id": state.package_id, "version": state.version}
        if not state.asked:
            return self.wait_for_others(context, state.package_id, since)
        self.log.info("Asked for a new version of package %s, available is %s", state.package_id, state.before)
        trigger = PackagePublishedTrigger(
            package_id=state.package_id,
            fingerprint=self.fingerprint,
            before=state.before,
            failed_at=state.failed_at,
            created=state.before is None,
            **self.aws(),
        )
        return self.wait_for(context, trigger, "published")

    def published(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self.reporting(context):
            found = check_event(event)
        self.log.info("Package %s: %s is available", found["package_id"], found["version"])
        return {"package_id": found["package_id"], "version": found["version"], "seen_at": found.get("seen_at")}


class OpenSearchDictionaryAssociateOperator(_TurnTakingOperator):
    """Have the domain take up the package's available version. Does not wait for it: that is the sensor's part.

    Nothing is associated while another association of the domain is in transit.

    :param package_id: id of the package (templated)
    :param fingerprint: sha256 of the content that the available version has to carry (templated)
    :return: package_id, domain_name, version (that the domain uses now), reference_path, asked (the version that it is to use)
    """

    template_fields: Sequence[str] = ("package", "package_id", "fingerprint")

    def __init__(self, *, package_id: str, fingerprint: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.package_id = package_id
        self.fingerprint = fingerprint

    def attempt(self, context: Context, since: float | None) -> Any:
        with self.reporting(context):
            row = self.sync.associate(self.package_id, self.fingerprint)
        self.persist_links(context, self.package_id)
        if row is None:
            return self.wait_for_others(context, self.package_id, since)
        self.log.info(
            "Package %s on %s: %s, version %s, asked for %s", row.package_id, row.domain, row.status, row.version, row.asked
        )
        return {
            "package_id": row.package_id,
            "domain_name": row.domain,
            "version": row.version,
            "reference_path": row.reference_path,
            "asked": row.asked,
        }


class OpenSearchDictionaryApplyOperator(DictionaryOperator):
    """Have every index serve the new content: close and open those that the inventory allows, wait for the service to reload the others.

    :param fingerprint: sha256 of the content (templated)
    :param force: also those that serve it already (templated)
    :return: the interruption of each reopened index in seconds
    """

    template_fields: Sequence[str] = ("package", "fingerprint", "force")

    def __init__(self, *, fingerprint: str, force: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fingerprint = fingerprint
        self.force = force

    def execute(self, context: Context) -> Any:
        with self.reporting(context):
            ti: Any = context["ti"]
            self.sync.open_again()
            applying = self.sync.apply(self.fingerprint, by=f"{ti.dag_id} {ti.run_id}", force=is_true(self.force))
        for reopened in applying.reopened:
            self.log.info(
                "Index %s was closed for %.2f s and is %s again", reopened.index, reopened.seconds_closed, reopened.health
            )
        interruptions = {reopened.index: round(reopened.seconds_closed, 3) for reopened in applying.reopened}
        if not applying.waiting:
            return interruptions
        self.log.info(
            "%s analyzers do not give the new tokens yet: waiting for the service to reload them", len(applying.waiting)
        )
        trigger = AnalyzersTrigger(domain=self.domain, checks=applying.waiting, timeout_seconds=self.timeout_seconds)
        return self.wait_for(context, trigger, "applied", interruptions=interruptions)

    def applied(
        self, context: Context, event: Mapping[str, Any] | None = None, interruptions: dict[str, float] | None = None
    ) -> dict[str, float]:
        with self.reporting(context):
            check_event(event)
        return interruptions or {}

    def on_kill(self) -> None:
        self.log.warning("Killed: opening what this task closed")
        self.sync.open_again()
        # Airflow lets the task go on after this for the seconds until SIGKILL, in which it would close the next index.
        raise TransientError("the task was told to end; every index that it had closed is open again")


class OpenSearchDictionaryVerifyOperator(DictionaryOperator):
    """Prove on every index that the live analyzers give what the new files give, then record it in the index.

    :param fingerprint: sha256 of the content (templated)
    :param force: also the indexes that were proved before (templated)
    :return: one sentence an index
    :raises NotServed: an index gives other tokens; nothing is recorded for it
    """

    template_fields: Sequence[str] = ("package", "fingerprint", "force")

    def __init__(self, *, fingerprint: str, force: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fingerprint = fingerprint
        self.force = force

    def execute(self, context: Context) -> dict[str, str]:
        found: dict[str, str] = {}
        with self.reporting(context):
            for proved in self.sync.verify(self.fingerprint, force=is_true(self.force)):
                found[proved.index] = proved.text
                self.log.info("%s", proved.text)
        if not found:
            self.log.info("Nothing to prove: no index is to be given %s by this run", self.package)
        return found


class OpenSearchIndexesOpenOperator(DictionaryOperator):
    """Open every index that a run of ours closed and did not open, e.g. because it was killed; for a teardown.

    When a person marks a run as failed, Airflow skips its tasks, runs its teardowns, and then calls it successful if they are.

    :param proof: id of a task that is skipped only in a run that was ended like that; this one fails then
    :raises DataError: the run was ended by hand; the indexes are open
    """

    def __init__(self, *, proof: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proof = proof

    def execute(self, context: Context) -> list[str]:
        ti: Any = context["ti"]
        with self.reporting(context):
            opened = self.sync.open_again()
            for index in opened:
                self.log.warning("Index %s had been left closed and is open again", index)
            states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[self.proof])
            if states.get(ti.run_id, {}).get(self.proof) == "skipped":
                raise DataError(
                    "the run was ended by hand before it was through: run the DAG again, it finishes what this run began"
                )
        return opened


class OpenSearchRebuildRequestOperator(DictionaryOperator):
    """Ask for a rebuild of the indexes whose documents hold old tokens: one asset event an index, with package and sha256.

    The event is recorded when the task succeeds; that it was asked for is remembered by the task after it.

    :param indexes: those for which nobody has asked yet (templated, as JSON)
    :param alias: name of the asset alias on which a rebuild DAG is scheduled
    """

    template_fields: Sequence[str] = ("package", "fingerprint", "indexes")

    def __init__(self, *, fingerprint: str, indexes: str | Sequence[str], alias: str, **kwargs: Any) -> None:
        super().__init__(outlets=[AssetAlias(alias)], **kwargs)
        self.fingerprint = fingerprint
        self.indexes = indexes
        self.alias = alias

    def execute(self, context: Context) -> list[str]:
        indexes = as_list(self.indexes)
        for index in indexes:
            context["outlet_events"][AssetAlias(self.alias)].add(
                rebuild_asset(self.clients.domain.key, index),
                extra={"index": index, "package": self.package, "sha256": self.fingerprint},
            )
        self.log.info("Asked for a rebuild of %s", ", ".join(indexes) or "nothing new")
        return indexes


def rebuild_asset(domain: str, index: str) -> Asset:
    return Asset(name=f"rebuild of {index} on {domain}", uri=f"x-searchops://{domain}/{index}/rebuild")


class OpenSearchDictionaryStopOperator(DictionaryOperator):
    """Fail with what a person has to decide; its task id is the reason: ``drift``, ``awaiting_apply``, ``awaiting_rebuild``.

    :param message: what was found and what to do next (templated)
    :param announced: a person has been told already (templated)
    :param remember: keep in the indexes that their rebuild was asked for, so that it is asked for once a content
    """

    template_fields: Sequence[str] = ("package", "message", "announced", "fingerprint", "indexes")

    def __init__(
        self,
        *,
        message: str,
        announced: bool | str = False,
        fingerprint: str = "",
        indexes: str | Sequence[str] = (),
        remember: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"retries": 0, **kwargs})
        self.message = message
        self.announced = announced
        self.fingerprint = fingerprint
        self.indexes = indexes
        self.remember = remember

    def execute(self, context: Context) -> None:
        with self.reporting(context):
            if self.remember:
                self.sync.record_request(as_list(self.indexes), self.fingerprint)
            raise DataError(self.message, announce=not is_true(self.announced))

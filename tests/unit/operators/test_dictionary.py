"""Each task of a dictionary sync by itself: what it looks at before it waits, what it waits for, what it says when it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, AssetAlias, BaseOperator
from airflow.sdk.exceptions import DownstreamTasksSkipped, TaskDeferred

from searchops.core.dictionary.model import sha256
from searchops.core.dictionary.proof import NotServed
from searchops.core.errors import DataError, TransientError
from searchops.core.report import ReportStore
from searchops.inventory import load
from searchops.links.dictionary import OpenSearchDomainPackagesLink, OpenSearchPackageLink
from searchops.operators import dictionary as operators
from searchops.operators.dictionary import (
    DictionaryOperator,
    OpenSearchDictionaryApplyOperator,
    OpenSearchDictionaryAssociateOperator,
    OpenSearchDictionaryPlanOperator,
    OpenSearchDictionaryPublishOperator,
    OpenSearchDictionaryStopOperator,
    OpenSearchDictionaryVerifyOperator,
    OpenSearchIndexesOpenOperator,
    OpenSearchRebuildRequestOperator,
    check_event,
    is_true,
)
from searchops.retries import RETRY_POLICY
from searchops.triggers.dictionary import AnalyzersTrigger, DomainSettledTrigger, PackagePublishedTrigger
from tests.unit.small_world import REGION, SYNONYMS, UPDATEABLE, SmallWorld, analysis
from tests.unit.task import Running

OLD, NEW = b"a, b\n", b"a, c\n"
WANTED = sha256(NEW)
INDEXES = """
indexes:
  items: {domain: products, on_search_time_use: reopen, probes: [{text: a, analyzer: a, contains: [c]}]}
"""


@pytest.fixture
def world(running_world: SmallWorld) -> SmallWorld:
    return running_world


@pytest.fixture
def task(world: SmallWorld, tmp_path: Path) -> Callable[..., Running]:
    """Make a task of the domain ``products``, whose source holds the new words."""
    domain: Any = load(world.inventory(tmp_path, INDEXES)).domains["products"]
    (tmp_path / "include" / "synonyms.txt").write_bytes(NEW)

    def make(kind: type[DictionaryOperator], *, try_number: int = 1, states: Any = None, **kwargs: Any) -> Running:
        made: Any = kind(task_id="a_task", domain=domain.model_dump(mode="json"), package="synonyms", **kwargs)
        return Running(made, try_number=try_number, states=states)

    return make


def report(world: SmallWorld, run: Running) -> Any:
    reports = ReportStore(world.s3, world.bucket_name).read_run(run.ti.dag_id, run.ti.run_id)
    return {found.task_id: found for found in reports}[run.ti.task_id]


# -- plan ----------------------------------------------------------------------------------------------------------------------


def test_a_plan_tells_what_there_is_to_do_and_keeps_the_links(world, task):
    package_id = world.publish(OLD)
    world.node.index("items", analysis(UPDATEABLE))
    run = task(OpenSearchDictionaryPlanOperator)

    found = run.execute()

    assert (found["step"], found["steps"]) == ("publish", ["publish", "associate", "apply"])
    assert (found["fingerprint"], found["package_id"], found["index_use"]["reload"]) == (WANTED, package_id, ["items"])
    assert run.ti.xcoms["opensearch_package"]["package_id"] == package_id
    assert run.ti.xcoms["opensearch_domain_packages"]["domain_name"] == "products"
    json.dumps(found)


@pytest.fixture
def planned(task: Callable[..., Running]) -> Callable[..., tuple[dict[str, Any], set[str]]]:
    """What a plan in a DAG tells, and which of the tasks it skips."""

    def plan(**kwargs: Any) -> tuple[dict[str, Any], set[str]]:
        with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            run = task(
                OpenSearchDictionaryPlanOperator,
                tasks={name: [f"do_{name}"] for name in ("publish", "associate", "apply")},
                **kwargs,
            )
            run.task >> [BaseOperator(task_id=f"do_{name}") for name in ("publish", "associate", "apply")]
        try:
            return run.execute(), set()
        except DownstreamTasksSkipped as skipped:
            return run.ti.xcoms["return_value"], {str(name) for name in skipped.tasks}

    return plan


def test_a_plan_skips_what_has_nothing_to_do(world, planned):
    world.publish(NEW, associate=False)

    found, skipped = planned()

    assert found["steps"] == ["associate"]
    assert skipped == {"do_publish", "do_apply"}


def test_a_dictionary_that_was_not_chosen_is_not_even_looked_at(world, planned):
    world.control.reset_calls()

    found, skipped = planned(selected="False")

    assert found == {"step": "not chosen"}
    assert skipped == {"do_publish", "do_associate", "do_apply"}
    assert world.control.calls() == {}


def test_a_dry_run_tells_everything_and_does_nothing(world, planned):
    world.publish(OLD)

    found, skipped = planned(only_plan="True")

    assert found["steps"] == ["publish", "associate"]
    assert skipped == {"do_publish", "do_associate", "do_apply"}


def test_an_unchanged_dictionary_costs_few_reads_no_write_and_no_wait(world, planned):
    world.publish(NEW)
    world.control.reset_calls()

    found, skipped = planned()

    assert found["step"] == "nothing"
    assert skipped == {"do_publish", "do_associate", "do_apply"}
    assert sum(world.control.calls().values()) <= 4


def test_a_dictionary_that_the_engine_refuses_leaves_a_report_and_publishes_nothing(world, task, tmp_path):
    world.publish(OLD)
    world.node.index("items", analysis(UPDATEABLE))
    (tmp_path / "include" / "synonyms.txt").write_text("a => b => c\n")
    world.control.reset_calls()
    run = task(OpenSearchDictionaryPlanOperator)

    with run.fails(DataError) as caught:
        run.execute()

    left = report(world, run)
    assert left.title == str(caught.value)
    assert left.facts["AWS connection"] == "aws_default"
    assert left.facts["Region"] == REGION
    assert "UpdatePackage" not in world.control.calls()


# -- publish -------------------------------------------------------------------------------------------------------------------


def available(world: SmallWorld) -> str:
    return str(world.client.describe_packages()["PackageDetailsList"][0]["AvailablePackageVersion"])


@pytest.fixture
def publish(world: SmallWorld, task: Callable[..., Running]) -> Callable[..., Running]:
    """A publish task after its plan; the package holds the old words."""
    world.publish(OLD)
    planned_over = available(world)
    task(OpenSearchDictionaryPlanOperator).execute()
    world.control.reset_calls()
    return lambda **kwargs: task(OpenSearchDictionaryPublishOperator, fingerprint=WANTED, planned_over=planned_over, **kwargs)


def test_a_publication_waits_without_a_worker_and_returns_the_version(world, publish):
    run = publish(timeout_seconds=600)

    deferred = run.deferred()

    assert isinstance(deferred.trigger, PackagePublishedTrigger)
    assert deferred.trigger.timeout_seconds == 600
    assert deferred.timeout > timedelta(seconds=600)
    assert run.resumed(deferred, operators.run_here(deferred.trigger))["version"] == available(world)
    assert world.service.content("F100000001")[available(world)] == NEW


def test_a_publication_waits_in_its_process_where_it_must_not_defer(world, publish):
    found = publish(deferrable=False).execute()

    assert (found["package_id"], found["version"]) == ("F100000001", available(world))


def test_a_publication_that_is_done_is_seen_before_waiting(world, publish):
    world.publish(NEW, associate=False)
    world.control.reset_calls()

    found = publish().execute()

    assert found == {"package_id": "F100000001", "version": available(world)}
    assert "UpdatePackage" not in world.control.calls()


def test_a_publication_of_somebody_else_is_waited_for_and_then_looked_at_again(world, publish):
    world.control.fault("stay", "UpdatePackage")
    first = publish()
    first.deferred()
    again = publish(try_number=2)
    while (deferred := _or_none(again)) is None:
        pass
    assert isinstance(deferred.trigger, DomainSettledTrigger)
    world.control.clear_faults()

    found = again.resumed(deferred, operators.run_here(deferred.trigger))

    assert found["version"] == available(world)
    assert world.control.calls()["UpdatePackage"] <= 2


def _or_none(run: Running) -> Any:
    """In the moment in which the other update is not visible yet the service refuses, which is tried again."""
    try:
        return run.deferred()
    except TransientError:
        return None


def test_a_version_that_the_service_refuses_fails_the_task_with_its_words_and_a_report(world, publish):
    world.control.fault("validation_failed", "UpdatePackage", error_message="line 7 is odd")
    run = publish(deferrable=False)

    with run.fails(DataError) as caught:
        run.execute()

    assert "line 7 is odd" in str(caught.value)
    assert report(world, run).reason == "SimulatedError: line 7 is odd"


# -- associate -----------------------------------------------------------------------------------------------------------------


def test_an_association_is_asked_for_and_not_waited_for(world, task):
    package_id = world.publish(NEW, associate=False)
    run = task(OpenSearchDictionaryAssociateOperator, package_id=package_id, fingerprint=WANTED)

    found = run.execute()

    assert (found["package_id"], found["domain_name"], found["reference_path"]) == (
        package_id,
        "products",
        f"analyzers/{package_id}",
    )
    assert run.ti.xcoms["opensearch_package"]["package_id"] == package_id


@pytest.mark.parametrize("deferrable", [True, False])
def test_an_association_waits_while_another_package_of_the_domain_moves(world, task, deferrable):
    package_id = world.publish(NEW, associate=False)
    other = world.publish(b"x\n", name="other", associate=False)
    world.control.fault("stay", "AssociatePackage", package_id=other)
    world.client.associate_package(PackageID=other, DomainName="products")
    run = task(OpenSearchDictionaryAssociateOperator, package_id=package_id, fingerprint=WANTED, deferrable=deferrable)

    if deferrable:
        assert isinstance(run.deferred().trigger, DomainSettledTrigger)
        assert "AssociatePackage" not in {
            call.operation for call in world.control.log() if call.path.endswith(f"{package_id}/products")
        }
        world.control.clear_faults()
    else:
        threading.Timer(0.2, world.control.clear_faults).start()
    run.to_the_end()
    world.pass_time(60)

    rows = world.client.list_packages_for_domain(DomainName="products")["DomainPackageDetailsList"]
    assert {row["PackageID"]: row["DomainPackageStatus"] for row in rows} == {package_id: "ACTIVE", other: "ACTIVE"}


def test_a_wait_that_is_begun_again_has_no_more_time_than_the_first(world, task):
    package_id = world.publish(NEW, associate=False)
    other = world.publish(b"x\n", name="other", associate=False)
    world.control.fault("stay", "AssociatePackage")
    world.client.associate_package(PackageID=other, DomainName="products")
    run = task(OpenSearchDictionaryAssociateOperator, package_id=package_id, fingerprint=WANTED)

    first = run.deferred()
    with pytest.raises(TaskDeferred) as caught:
        run.resumed(first, {"status": "success"})

    assert caught.value.trigger.started_at == first.trigger.started_at
    world.control.clear_faults()


# -- apply and verify ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_the_domain(world: SmallWorld, task: Callable[..., Running]) -> Callable[[dict[str, Any]], None]:
    """Put the new words on the domain, with an index that was opened with the old ones."""

    def put(reader: dict[str, Any], **fault: Any) -> None:
        world.publish(OLD)
        world.node.index("items", analysis(reader))
        task(OpenSearchDictionaryPlanOperator).execute()
        if fault:
            world.control.fault(**fault)
        world.publish(NEW)

    return put


def test_an_index_that_may_be_closed_is_closed_and_its_interruption_is_told(world, task, on_the_domain):
    on_the_domain(SYNONYMS)

    interruptions = task(OpenSearchDictionaryApplyOperator, fingerprint=WANTED).execute()

    assert list(interruptions) == ["items"]
    assert 0 <= interruptions["items"] < 5
    assert world.node.tokens("items", "a", "a") == ["a", "c"]


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_services_reload_is_waited_for(world, task, on_the_domain, deferrable):
    on_the_domain(UPDATEABLE, kind="skip_reload", operation="AssociatePackage")
    run = task(OpenSearchDictionaryApplyOperator, fingerprint=WANTED, deferrable=deferrable, timeout_seconds=0.3)

    if deferrable:
        deferred = run.deferred()
        assert isinstance(deferred.trigger, AnalyzersTrigger)
        world.node.install("F100000001", NEW, reload=True)
        assert run.resumed(deferred, operators.run_here(deferred.trigger)) == {}
    else:
        with run.fails(DataError) as caught:
            run.execute()
        assert "still have other tokens on items (a)" in str(caught.value)


def test_a_killed_task_opens_what_it_closed_and_goes_no_further(world, task, on_the_domain):
    on_the_domain(SYNONYMS)
    index = world.node.indexes["items"]
    index.closed, index.mappings["_meta"] = True, {"searchops": {"reopening": {"by": "this task"}}}

    with pytest.raises(TransientError):
        task(OpenSearchDictionaryApplyOperator, fingerprint=WANTED).task.on_kill()

    assert not index.closed


def test_what_is_proved_is_told_in_a_sentence_and_recorded(world, task, on_the_domain):
    on_the_domain(UPDATEABLE)

    found = task(OpenSearchDictionaryVerifyOperator, fingerprint=WANTED).execute()

    assert found["items"].startswith("verified on items: ")
    assert world.node.indexes["items"].mappings["_meta"]["searchops"]["dictionaries"]["synonyms"]["applied"] == WANTED


def test_an_association_without_a_reload_turns_red_without_any_probe(world, task, on_the_domain):
    on_the_domain(UPDATEABLE, kind="skip_reload", operation="AssociatePackage")
    run = task(OpenSearchDictionaryVerifyOperator, fingerprint=WANTED)
    run.task.domain["indexes"][0]["probes"] = []

    with run.fails(NotServed):
        run.execute()

    assert "_meta" not in world.node.indexes["items"].mappings
    assert "items does not serve the new content" in report(world, run).title


def test_a_probe_that_misses_keeps_the_index_from_being_recorded(world, task, on_the_domain):
    on_the_domain(UPDATEABLE)
    run = task(OpenSearchDictionaryVerifyOperator, fingerprint=WANTED)
    run.task.domain["indexes"][0]["probes"] = [{"text": "a", "analyzer": "a", "contains": ["z"]}]

    with run.fails(NotServed):
        run.execute()

    assert "_meta" not in world.node.indexes["items"].mappings


@pytest.mark.parametrize(("verify", "fails"), [("success", False), ("upstream_failed", False), ("skipped", True)])
def test_indexes_are_opened_in_any_case_and_a_run_that_was_ended_by_hand_is_red(world, task, on_the_domain, verify, fails):
    on_the_domain(SYNONYMS)
    index = world.node.indexes["items"]
    index.closed, index.mappings["_meta"] = True, {"searchops": {"reopening": {"by": "a killed task"}}}
    run = task(OpenSearchIndexesOpenOperator, proof="synonyms.verify", states={"synonyms.verify": verify})

    if fails:
        with run.fails(DataError):
            run.execute()
    else:
        assert run.execute() == ["items"]

    assert not index.closed


# -- what stops a run ----------------------------------------------------------------------------------------------------------


def test_a_stop_fails_without_retry_and_is_announced_unless_it_was_before(world, task):
    for announced in (False, "True"):
        run = task(OpenSearchDictionaryStopOperator, message="put it into the source", announced=announced)
        with run.fails(DataError):
            run.execute()
        assert run.task.retries == 0
        assert (report(world, run).title, report(world, run).announce) == ("put it into the source", not announced)


def test_a_rebuild_is_asked_for_by_one_event_an_index_and_remembered(world, task):
    world.publish(NEW)
    world.node.index("items", analysis(SYNONYMS))
    ask = task(OpenSearchRebuildRequestOperator, fingerprint=WANTED, indexes='["items", "other"]', alias="rebuild")

    assert ask.execute() == ["items", "other"]

    events = ask.outlet_events[AssetAlias("rebuild")].asset_alias_events
    assert [event.extra for event in events] == [
        {"index": name, "package": "synonyms", "sha256": WANTED} for name in ("items", "other")
    ]
    stop = task(OpenSearchDictionaryStopOperator, message="m", fingerprint=WANTED, indexes='["items"]', remember=True)
    with stop.fails(DataError):
        stop.execute()
    assert world.node.indexes["items"].mappings["_meta"]["searchops"]["dictionaries"]["synonyms"] == {"requested": WANTED}


# -- all of them ---------------------------------------------------------------------------------------------------------------

KINDS = [
    kind
    for kind in vars(operators).values()
    if isinstance(kind, type) and issubclass(kind, DictionaryOperator) and kind is not DictionaryOperator
]
ARGUMENTS: dict[str, Any] = {
    "fingerprint": "1",
    "planned_over": "v1",
    "package_id": "F1",
    "indexes": "[]",
    "alias": "rebuild",
    "message": "m",
    "proof": "verify",
}


def made(kind: type[DictionaryOperator], **kwargs: Any) -> Any:
    import inspect

    accepted = inspect.signature(kind.__init__).parameters
    return kind(
        task_id="x", domain={}, package="p", **{name: value for name, value in ARGUMENTS.items() if name in accepted}, **kwargs
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_may_be_templated_is_an_attribute_under_the_name_of_its_argument(kind):
    task = made(kind)

    assert set(task.template_fields) >= {"package"}
    assert all(hasattr(task, field) for field in task.template_fields)


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_has_retries_a_policy_and_both_links_and_waits_without_a_worker(kind):
    task = made(kind)

    assert task.retries == (0 if kind is OpenSearchDictionaryStopOperator else 3)
    assert task.retry_policy == RETRY_POLICY
    assert {type(link) for link in task.operator_extra_links} == {OpenSearchPackageLink, OpenSearchDomainPackagesLink}
    assert task.deferrable
    assert not made(kind, deferrable=False).deferrable
    assert made(kind, retries=7).retries == 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("True", True), (" true ", True), ("1", True), (False, False), ("False", False), ("", False), ("None", False)],
)
def test_a_flag_may_come_through_a_template(value, expected):
    assert is_true(value) is expected


@pytest.mark.parametrize(
    ("event", "family", "message"),
    [
        (None, TransientError, "without an event"),
        ({"status": "timeout", "message": "not done after 9 s; last seen: COPYING"}, DataError, "last seen: COPYING"),
        ({"status": "error", "transient": True, "message": "m", "reason": "r"}, TransientError, "m"),
        ({"status": "error", "transient": False, "message": "m", "reason": "r"}, DataError, "m"),
    ],
)
def test_the_end_of_a_wait_is_an_error_of_its_family(event, family, message):
    with pytest.raises(family, match=message) as caught:
        check_event(event)

    assert caught.value.reason == (event or {}).get("reason", "")


def test_the_links_lead_to_the_package_and_to_the_packages_of_the_domain():
    where = {"region_name": "ap-northeast-1", "aws_domain": "aws.amazon.com"}

    package = OpenSearchPackageLink().format_link(package_id="F1", **where)
    domain = OpenSearchDomainPackagesLink().format_link(domain_name="products", **where)

    assert package == "https://console.aws.amazon.com/aos/home?region=ap-northeast-1#opensearch/packages/F1"
    assert domain == "https://console.aws.amazon.com/aos/home?region=ap-northeast-1#opensearch/domains/products?tabId=packages"

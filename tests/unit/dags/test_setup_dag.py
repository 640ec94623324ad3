"""What searchops_setup does for the indexes of an inventory, as Airflow parses it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from searchops.inventory import project_root
from tests.unit.task import Running

DEFAULTS = """
defaults: {region: ap-northeast-1, bucket: example-bucket}
domains: {search: {opensearch_conn_id: node}, other: {opensearch_conn_id: other}}
"""
ATTRIBUTE = "id: {attributes: [pk]}, version: {scheme: attribute, attribute: revision}"
FIREHOSE = "hand_over: {patience: 1m, firehose: "
Parse = Callable[[str], DAG]


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """The DAG over an inventory with these indexes."""

    def parse(indexes: str) -> DAG:
        inventory = tmp_path / "include" / "searchops.yaml"
        inventory.parent.mkdir(exist_ok=True)
        inventory.write_text(DEFAULTS + "indexes:\n" + textwrap.indent(textwrap.dedent(indexes), "  "), encoding="utf-8")
        monkeypatch.setenv("SEARCHOPS_INVENTORY", str(inventory))
        bag = DagBag(project_root() / "dags" / "searchops_setup.py")
        assert bag.import_errors == {}
        return bag.dags["searchops_setup"]

    return parse


def chains(dag: DAG) -> dict[str, list[str]]:
    """The steps of each group in their order."""
    found: dict[str, list[str]] = {}
    for task in dag.topological_sort():
        group, _, step = task.task_id.partition(".")
        if step:
            assert {name.rpartition(".")[0] for name in task.upstream_task_ids} <= {group}
            found.setdefault(group, []).append(step)
            assert len(task.upstream_task_ids) == (len(found[group]) > 1)
    return found


def test_each_index_gets_what_its_scheme_needs_and_no_more(parse: Parse) -> None:
    dag = parse(f"""
        handed: {{domain: search, {ATTRIBUTE}, {FIREHOSE} one}}}}
        spooled: {{domain: search, {ATTRIBUTE}, hand_over: {{patience: 1m}}}}
        kept: {{domain: search, {ATTRIBUTE}, deletes: never, {FIREHOSE} two}}}}
        events: {{domain: search, id: {{scheme: position}}, version: {{scheme: once}}}}
        stream: {{domain: search, id: {{attributes: [pk]}}, version: {{scheme: sequence}}}}
        etl: {{domain: search, id: {{attributes: [pk]}}, version: {{scheme: ingestion}}}}
        log: {{domain: search, id: {{scheme: content}}, version: {{scheme: none, reason: a log}}}}
        read: {{domain: search}}
    """)

    assert chains(dag) == {
        "index_handed": ["scheme", "landing_index", "alias_filter", "stream"],
        "index_spooled": ["scheme", "alias_filter"],
        "index_kept": ["scheme", "landing_index", "stream"],
        "index_events": ["scheme"],
        "index_stream": ["scheme", "alias_filter"],
        "index_etl": ["scheme"],
        "index_log": ["scheme"],
    }


def test_the_landing_index_of_a_domain_is_installed_for_all_its_indexes_by_each(parse: Parse) -> None:
    dag = parse(f"""
        one: {{domain: search, {ATTRIBUTE}, {FIREHOSE} one}}}}
        two: {{domain: search, {ATTRIBUTE}, {FIREHOSE} two}}}}
        spooled: {{domain: search, {ATTRIBUTE}, hand_over: {{patience: 1m}}}}
        away: {{domain: other, {ATTRIBUTE}, {FIREHOSE} three}}}}
    """)

    tasks: dict[str, Any] = {name: dag.get_task(f"index_{name}.landing_index") for name in ("one", "two", "away")}
    assert {name: task.siblings for name, task in tasks.items()} == {"one": ["two"], "two": ["one"], "away": []}


def test_names_with_dots_and_the_like_give_groups_of_their_own(parse: Parse) -> None:
    dag = parse(f"""
        a.b: {{domain: search, {ATTRIBUTE}}}
        a_b: {{domain: search, {ATTRIBUTE}}}
        a-b: {{domain: search, {ATTRIBUTE}}}
        a_dot_b: {{domain: search, {ATTRIBUTE}}}
    """)

    assert len(chains(dag)) == 4


def test_a_broken_index_is_a_task_that_says_what_is_wrong_and_the_others_stay(parse: Parse) -> None:
    dag = parse(f"""
        good: {{domain: search, {ATTRIBUTE}}}
        bad: {{domain: search, {ATTRIBUTE}, tombstone_days: 1}}
    """)

    assert set(chains(dag)) == {"index_good"}
    task: Any = dag.get_task("index_bad").prepare_for_execution()
    task.notice = None
    render(dag, task)
    with pytest.raises(AirflowFailException, match=r"indexes\.bad\.tombstone_days"):
        Running(task).execute()
    skipped: Any = dag.get_task("index_bad").prepare_for_execution()
    render(dag, skipped, indexes=["good"])
    with pytest.raises(AirflowSkipException):
        Running(skipped).execute()


def render(dag: DAG, task: Any, **params: Any) -> None:
    task.render_template_fields({"params": {name: dag.params[name] for name in dag.params} | params})


def test_the_form_chooses_indexes_and_a_dry_run_reaches_every_task(parse: Parse) -> None:
    dag = parse(f"""
        one: {{domain: search, {ATTRIBUTE}, {FIREHOSE} one}}}}
        two: {{domain: search, {ATTRIBUTE}}}
    """)

    assert {name: dag.params[name] for name in dag.params} == {"dry_run": False, "indexes": ["one", "two"]}
    found = {}
    for task_id in dag.task_ids:
        task: Any = dag.get_task(task_id).prepare_for_execution()
        if hasattr(task, "only_plan"):
            render(dag, task, dry_run=True, indexes=["two"])
            found[task_id] = (getattr(task, "selected", "True"), task.only_plan)
    assert {only_plan for _, only_plan in found.values()} == {"True"}
    assert {task_id for task_id, (selected, _) in found.items() if selected == "True"} == {
        "apply",
        "index_two.scheme",
        "index_two.alias_filter",
    }


def test_without_a_written_index_there_is_nothing_to_choose(parse: Parse) -> None:
    dag = parse("read: {domain: search}")

    assert sorted(dag.task_ids) == ["apply", "plan"]
    assert set(dag.params) == {"dry_run"}

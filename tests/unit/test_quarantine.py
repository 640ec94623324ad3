from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk._shared.module_loading import find_path_from_directory
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.plugins_manager import AirflowPlugin
from airflow.serialization.serialized_objects import DagSerialization

from searchops.inventory import project_root
from searchops.notifications.slack import FailureNotifier

DAG_FILE = '''
"""A DAG file as the project's own: safe mode of airflow looks for the two words."""

from airflow.sdk import BaseOperator

from searchops.dags import dag_for, entries

for name, entry in entries("domains").items():

    @dag_for(entry, dag_id=f"sync_{name}", from_entry=lambda domain: {"description": domain.domain_name}, max_active_runs=1, tags=["sync"])
    def sync(domain):
        for package in domain.packages:
            BaseOperator(task_id=package.key)
'''

Parse = Callable[[str], dict[str, DAG]]


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Airflow's own parse of a DAG file, over an inventory of the given text."""

    def parse(text: str) -> dict[str, DAG]:
        inventory = tmp_path / "include" / "searchops.yaml"
        inventory.parent.mkdir(exist_ok=True)
        inventory.write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.setenv("SEARCHOPS_INVENTORY", str(inventory))
        file = tmp_path / "dags" / "sync.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(DAG_FILE)
        bag = DagBag(file.parent)
        assert bag.import_errors == {}
        for dag in bag.dags.values():
            DagSerialization.to_dict(dag)
        return dict(bag.dags)

    return parse


def failure(dag: DAG) -> str:
    (task,) = dag.tasks
    assert (task.task_id, task.retries) == ("config_error", 0)
    with pytest.raises(AirflowFailException) as caught:
        task.execute({})
    return str(caught.value)


def test_only_the_dag_of_the_wrong_entry_is_quarantined(parse: Parse) -> None:
    dags = parse("""
        defaults: {region: ap-northeast-1, bucket: example-bucket}
        packages:
          words: {kind: stopwords, source: include/words.txt}
        domains:
          good: {opensearch_conn_id: x, schedule: "0 3 * * *", timezone: Asia/Tokyo, packages: [words]}
          bad: {opensearch_conn_id: x, schedule: "0 3 * * *", timezone: Asia/Tokio, packages: [words]}
    """)

    assert set(dags) == {"sync_good", "sync_bad"}
    good, bad = dags["sync_good"], dags["sync_bad"]
    assert (good.task_ids, good.description, good.max_active_runs) == (["words"], "good", 1)
    assert (good.timetable.expression, str(good.timetable.timezone)) == ("0 3 * * *", "Asia/Tokyo")
    message = 'include/searchops.yaml: domains.bad.timezone: "Asia/Tokio" is not a time zone such as Asia/Tokyo or UTC (line 7)'
    assert bad.get_task("config_error").errors == [message]
    assert message in (bad.doc_md or "")
    assert bad.tags == {"config-error", "sync"}


def test_a_quarantined_domain_fails_and_tells_at_the_time_of_its_sync(parse: Parse) -> None:
    bad = parse("""
        defaults: {region: ap-northeast-1, bucket: example-bucket, slack_conn_id: alarms}
        domains:
          bad: {opensearch_conn_id: x, schedule: "0 3 * * *", timezone: Asia/Tokyo, packages: [no-such-words], bucket: other-bucket}
    """)["sync_bad"]

    assert (bad.timetable.expression, str(bad.timetable.timezone), bad.catchup) == ("0 3 * * *", "Asia/Tokyo", False)
    (notifier,) = [bad.on_failure_callback] if isinstance(bad.on_failure_callback, FailureNotifier) else bad.on_failure_callback
    assert (notifier.bucket, notifier.slack_conn_id) == ("other-bucket", "alarms")


@pytest.mark.parametrize("wrong", ["schedule: daily at three", "bucket: A_B", "defaults: {bucket: A_B}"])
def test_a_quarantined_domain_keeps_what_of_schedule_and_notice_is_sound(parse: Parse, wrong: str) -> None:
    entry = {"opensearch_conn_id": "x", "schedule": "0 3 * * *", "bucket": "example-bucket"}
    text = {"defaults": {"region": "ap-northeast-1"}, "domains": {"bad": entry}}
    (text if "defaults" in wrong else entry).update(yaml.safe_load(wrong))

    bad = parse(yaml.safe_dump(text))["sync_bad"]

    assert "config-error" in bad.tags
    assert (bad.schedule is None) == wrong.startswith("schedule")
    assert (bad.on_failure_callback is None) == wrong.startswith("bucket")


def test_a_key_given_twice_breaks_the_entry_that_it_is_in_alone(parse: Parse) -> None:
    dags = parse("""
        defaults: {region: ap-northeast-1, bucket: example-bucket}
        domains:
          good: {opensearch_conn_id: x}
          bad:
            opensearch_conn_id: x
            opensearch_conn_id: y
    """)

    assert "config-error" not in dags["sync_good"].tags
    message = 'include/searchops.yaml: domains.bad: the key "opensearch_conn_id" is given twice, in lines 6 and 7; keep one of them (line 5)'
    assert dags["sync_bad"].get_task("config_error").errors == [message]


def test_the_dag_comes_back_when_the_entry_is_mended(parse: Parse) -> None:
    text = "defaults: {region: ap-northeast-1, bucket: example-bucket}\ndomains: {one: {opensearch_conn_id: x%s}}"

    assert "config-error" in parse(text % ", shedule: x")["sync_one"].tags
    assert parse(text % "")["sync_one"].tags == {"sync"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("domains: [", "is not YAML"),
        ("domains: {}\ndomains: {}", "is given twice"),
        ("domian: {}", 'did you mean "domains"?'),
        ("packages: {words: {kind: stopwords}}", "packages.words.source: is missing"),
    ],
)
def test_what_no_entry_can_show_is_shown_by_one_dag_of_the_inventory(parse: Parse, text: str, message: str) -> None:
    dags = parse(text)

    assert set(dags) == {"searchops_inventory"}
    assert message in failure(dags["searchops_inventory"])
    assert dags["searchops_inventory"].tags == {"config-error"}


def test_a_sound_inventory_has_no_dag_of_its_own(parse: Parse) -> None:
    assert parse("domains: {}") == {}


def test_keys_that_are_no_dag_ids_are_quarantined_under_ids_of_their_own(parse: Parse) -> None:
    dags = parse("domains: {ドメイン: {opensearch_conn_id: x}, ドメィン: {opensearch_conn_id: x}, 'a b': {}}")

    assert len(dags) == 3
    assert all(dag_id.isascii() and "is not a key" in failure(dag) for dag_id, dag in dags.items())


def test_building_dags_imports_no_client() -> None:
    program = "import sys, searchops.dags; print([name for name in ('boto3', 'botocore', 'opensearchpy') if name in sys.modules])"

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=project_root() / "plugins", capture_output=True, text=True, check=True
    )

    assert result.stdout.splitlines()[-1] == "[]"


def test_airflow_finds_one_plugin_file_and_not_the_package() -> None:
    files = find_path_from_directory(str(project_root() / "plugins"), ".airflowignore")

    assert [Path(file).name for file in files if file.endswith(".py")] == ["airflow_plugin.py"]
    assert issubclass(import_module("airflow_plugin").SearchopsPlugin, AirflowPlugin)

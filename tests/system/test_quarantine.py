"""What is wrong with the inventory or the installation stays with the DAG that it concerns, and is said."""

from __future__ import annotations

from local.demo.world import DOMAIN
from tests.system.company import DOMAINS, MISSING_POOL, Company, all_pools


def test_a_mistake_in_the_inventory_quarantines_its_dag_alone(company: Company) -> None:
    dag_ids = {domain: f"dictionary_sync_{domain}" for domain in (DOMAIN, *DOMAINS, "broken")}
    for dag_id in dag_ids.values():
        company.airflow.wait_for_dag(dag_id)
    tags = {domain: {tag["name"] for tag in company.airflow.dag(dag_id)["tags"]} for domain, dag_id in dag_ids.items()}

    assert [domain for domain, found in tags.items() if "config-error" in found] == ["broken"]
    assert company.airflow.import_errors() == {}


def test_a_quarantined_dag_fails_with_what_is_wrong(company: Company) -> None:
    run = company.finish(company.start("broken"), "broken")

    assert (run.state, run.failed()) == ("failed", ["config_error"])
    assert "domains.broken.packages" in run.log("config_error")
    assert "no-such-words" in run.log("config_error")
    (message,) = company.told(run.run_id)
    assert "no-such-words" in message


def test_airflow_tells_which_pool_a_task_lacks(company: Company) -> None:
    dag_id, task_id = "dictionary_sync_poolless", "poolless-words.publish"
    company.deploy("poolless-words", "pool, basin")
    run_id = company.start("poolless")
    company.airflow.wait_for_task(dag_id, run_id, task_id, "scheduled", timeout=120)

    # Tasks cannot ask for pools (the Task SDK knows none), and DagWarnings come with Airflow 3 no more.
    assert [
        reason for reason in company.airflow.blockers(dag_id, run_id, task_id) if f"non-existent pool '{MISSING_POOL}'" in reason
    ]

    company.airflow.import_pools(all_pools(company.project))
    company.airflow.wait_for_task(dag_id, run_id, task_id, "running", "deferred", "success", timeout=120)
    company.airflow.set_run_state(dag_id, run_id, "failed")

"""Loads under the real scheduler: one whose worker is killed, one that a dictionary sync follows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from local.demo.acts import Run
from local.demo.world import ALIAS, BUCKET, CATALOG, INDEX
from tests.system.company import Company, wait_for
from tests.system.conftest import FirstNight, SecondNight
from tests.system.stories import PATIENCE_SECONDS, run_dag

DOCUMENTS = 15_000
SECRET = "secret-7"
"""Stands in documents that are rejected."""
LOAD, SETTLE = f"bulk_load_{CATALOG}", f"hand_over_settle_{CATALOG}"
FULL_LOAD = f"full_load_{ALIAS}"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Killed:
    """A load whose worker was killed while one of its requests was held up."""

    set_up: Run
    load: Run
    settled: Run
    rows: Sequence[Row]


@pytest.fixture(scope="module")
def killed(company: Company) -> Killed:
    company.node.indices.create(index=f"{CATALOG}-1", body={**company.bodies[CATALOG], "aliases": {CATALOG: {}}})
    set_up = run_dag(company, "searchops_setup", indexes=[CATALOG, ALIAS])
    rows = [{**document, "revision": 1} for document in company.data.documents[:DOCUMENTS]]
    files = [upload(company, CATALOG, "catalog.ndjson", rows)]
    gate = company.views.hold("products", f"/{CATALOG}/_bulk")
    run_id = company.airflow.trigger(LOAD, {"files": files})
    gate.wait(PATIENCE_SECONDS)
    wait_for(lambda: documents(company, CATALOG) > 0, PATIENCE_SECONDS)
    company.kill_task_of(LOAD, run_id, "bulk_load.load")
    gate.lose()
    load = company.finish_dag(LOAD, run_id)
    wait_for(lambda: ledger(company, CATALOG)["state"] == "settled" or nothing_on_its_way(company), PATIENCE_SECONDS)
    return Killed(set_up, load, run_dag(company, SETTLE), rows)


def test_the_set_up_makes_what_the_index_needs(company: Company, killed: Killed) -> None:
    killed.set_up.require("success")

    (meta,) = [body["mappings"]["_meta"] for body in company.node.indices.get(index=CATALOG).values()]
    assert meta["searchops"]["scheme"] == {
        "version": "attribute",
        "attribute": "revision",
        "deletes": "tombstone",
        "id": "pk|sk",
    }
    assert company.client("firehose").describe_delivery_stream(DeliveryStreamName="catalog-overflow")


def test_a_load_whose_worker_was_killed_goes_on_and_its_books_add_up(company: Company, killed: Killed) -> None:
    killed.load.require("success")

    counts = killed.load.xcom("bulk_load.finish")["counts"]
    ends = ("indexed", "superseded", "rejected", "handed_over")
    assert counts["accepted"] == sum(counts[end] for end in ends) == DOCUMENTS
    assert counts["rejected"] == counts["superseded"] == 0
    instances = company.airflow.task_instances(LOAD, killed.load.run_id)
    assert [task["try_number"] for task in instances if task["task_id"] == "bulk_load.load"] == [2]


def test_every_document_is_in_the_index_once_it_is_settled(company: Company, killed: Killed) -> None:
    killed.settled.require("success")

    company.node.indices.refresh(index=CATALOG)
    assert documents(company, CATALOG) == DOCUMENTS
    assert ledger(company, CATALOG)["state"] == "settled"
    for row in killed.rows[:: DOCUMENTS // 50]:
        found = company.node.get(index=CATALOG, id=f"{row['pk']}|{row['sk']}")
        assert (found["_version"], found["_source"]) == (1, row)


def test_what_was_relaxed_is_put_back(company: Company, killed: Killed) -> None:
    (settings,) = [body["settings"]["index"] for body in company.node.indices.get(index=CATALOG).values()]
    assert "refresh_interval" not in settings


def test_nobody_is_told_of_a_load_that_came_to_its_end(company: Company, killed: Killed) -> None:
    assert company.told_now(killed.load.run_id) == []


def test_of_a_document_that_was_rejected_no_log_report_xcom_or_message_tells(company: Company, killed: Killed) -> None:
    """OpenSearch's reason quotes the value; the object in the bucket alone has it."""
    rows: list[Row] = [
        {"pk": "a", "sk": "entry", "revision": SECRET, "text": SECRET},
        {"pk": "b", "sk": "entry", "revision": 1, "text": {"no": SECRET}},
    ]
    run = run_dag(company, LOAD, files=[upload(company, CATALOG, "bad.ndjson", rows)])
    assert run.state == "failed"

    kept = objects(company, f"rejected/{CATALOG}/")
    assert SECRET in gzip.decompress(b"".join(kept)).decode()
    logs = [
        company.airflow.log(LOAD, run.run_id, "bulk_load.load", try_number=1, map_index=0),
        company.airflow.log(LOAD, run.run_id, "bulk_load.finish", try_number=1),
    ]
    reports = b"".join(objects(company, f"reports/{LOAD}/")).decode()
    told = [*logs, reports, str(run.xcom("bulk_load.finish")), str(company.told(run.run_id))]
    assert "documents were rejected" in reports
    assert not any(SECRET in text or killed.rows[0]["text"] in text for text in told)


def test_a_full_load_is_followed_by_the_dictionaries_of_its_domain(
    company: Company, killed: Killed, first_night: FirstNight, second_night: SecondNight
) -> None:
    before = company.node.count(index=ALIAS)["count"]
    upload(company, ALIAS, "more.ndjson", [{"pk": f"new-{number}", "sk": "entry", "text": "新しい"} for number in range(200)])

    done = run_dag(company, FULL_LOAD)

    done.require("success")
    company.node.indices.refresh(index=INDEX)
    assert company.node.count(index=ALIAS)["count"] == before + 200
    states = done.tasks
    assert states["bulk_load.finish"] == states["user-dictionary.plan"] == states["synonyms.plan"] == "success"


def upload(company: Company, index: str, name: str, rows: Sequence[Row]) -> str:
    key = f"loads/{index}/{name}"
    body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    company.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return f"s3://{BUCKET}/{key}"


def objects(company: Company, prefix: str) -> list[bytes]:
    listed = company.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [company.s3.get_object(Bucket=BUCKET, Key=row["Key"])["Body"].read() for row in listed]


def documents(company: Company, index: str) -> int:
    company.node.indices.refresh(index=index)
    return int(company.node.count(index=index)["count"])


def ledger(company: Company, index: str) -> dict[str, Any]:
    (row,) = company.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"ledger/{index}/")["Contents"]
    found: dict[str, Any] = json.loads(company.s3.get_object(Bucket=BUCKET, Key=row["Key"])["Body"].read())
    return found


def nothing_on_its_way(company: Company) -> bool:
    """Firehose has delivered what was handed over to it."""
    return company.firehose.stream("catalog-overflow").is_empty

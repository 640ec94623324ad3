"""An index that the inventory does not allow to be closed is closed and opened by a person."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from opensearchpy import OpenSearch

from local.cloud import Cloud
from local.simulators.packages.control import PackagesControl
from searchops.core.dictionary.model import Kind
from searchops.core.dictionary.node import Node
from searchops.core.dictionary.plan import Step
from searchops.core.dictionary.survey import DomainRules
from searchops.core.dictionary.sync import DictionarySync, Entry

DOMAIN, INDEX, BUCKET = "by-hand", "by-hand-1", "by-hand"
OLD = "関西国際空港,関西 国際 空港,カンサイ コクサイ クウコウ,カスタム名詞\n"
NEW = OLD + "朝青龍,朝青龍,アサショウリュウ,カスタム名詞\n"


@pytest.fixture
def sync(cloud: Cloud, cloud_environment: Cloud, tmp_path: Path) -> DictionarySync:
    PackagesControl(cloud.endpoints["packages"]).domain(DOMAIN, cloud.endpoints["opensearch"])
    s3, packages = boto3.client("s3"), boto3.client("opensearch")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    source = tmp_path / "words.csv"
    source.write_text(OLD, encoding="utf-8")
    entry = Entry("words", Kind.KUROMOJI_USER_DICTIONARY, source.name, source, name="by-hand-words")
    node = Node(OpenSearch(cloud.endpoints["opensearch"]))
    rules = DomainRules({"words": Kind.KUROMOJI_USER_DICTIONARY})
    return DictionarySync(entry, DOMAIN, rules, client=packages, writer=packages, node=node, s3=s3, bucket=BUCKET)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def bring_to_the_domain(sync: DictionarySync) -> str:
    planned = sync.decide()
    fingerprint = planned.fingerprint
    until(lambda: sync.publish(fingerprint, planned_over=planned.available_version).done)
    package = sync.look().package
    assert package is not None
    until(lambda: (row := sync.associate(package.id, fingerprint)) is not None and row.active)
    return package.id


def test_the_run_after_a_person_opened_the_index_finds_nothing_left_to_do(sync: DictionarySync) -> None:
    package_id = bring_to_the_domain(sync)
    tokenizer = {"type": "kuromoji_tokenizer", "user_dictionary": f"analyzers/{package_id}"}
    analysis = {"tokenizer": {"words": tokenizer}, "analyzer": {"search": {"type": "custom", "tokenizer": "words"}}}
    field = {"type": "text", "analyzer": "kuromoji", "search_analyzer": "search"}
    indices = sync.node.client.indices
    indices.create(
        index=INDEX,
        body={"settings": {"number_of_replicas": 0, "analysis": analysis}, "mappings": {"properties": {"t": field}}},
    )
    assert sync.entry.path is not None
    sync.entry.path.write_text(NEW, encoding="utf-8")
    bring_to_the_domain(sync)

    before = sync.decide()
    indices.close(index=INDEX)
    indices.open(index=INDEX)
    after = sync.decide()

    assert (before.plan.step, before.index_use["report"]) == (Step.REPORT, [INDEX])
    assert (after.plan.step, after.index_use["report"]) == (Step.NOTHING, [])

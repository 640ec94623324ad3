"""The company of the system tests: the demo's, and beside it small domains that each test has for itself."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml
from opensearchpy import TransportError

from local.cloud import ROOT, Cloud
from local.demo.acts import Run
from local.demo.functions import wait_until
from local.demo.world import ALIAS, BUCKET, DOMAIN, SPEED, Project, World, demo_cloud
from local.simulators.firehose.control import FirehoseControl
from searchops.core.dictionary.model import commit_message, sha256
from searchops.inventory.__main__ import main as inventory_command
from tests.system.views import NodeViews

Use = Literal["automatic", "search-time", "index-time"]
BY_HAND = "made, byhand\n"
WRONG_CREDENTIALS = "wrong_credentials"
MISSING_POOL = "package_poolless-words"
DEADLINE_SECONDS = 8


@dataclass(frozen=True, slots=True)
class Words:
    """A package of synonyms, and one index that uses it.

    :param live: what the package held before the first run
    :param ours: it was published by a run of ours
    """

    use: Use = "automatic"
    indexes: int = 1
    live: str = BY_HAND
    ours: bool = False


@dataclass(frozen=True, slots=True)
class SmallDomain:
    """A domain of the inventory with packages in their order and an index for each, named after the domain."""

    packages: Mapping[str, Words]
    entry: Mapping[str, Any] = field(default_factory=dict)
    index_entry: Mapping[str, Any] | None = field(default_factory=dict)  # None: the inventory does not name its indexes


def words(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


REBUILDING, REPORTING = "rebuild, reindex", "report, tell"
DOMAINS: Mapping[str, SmallDomain] = {
    "twin-a": SmallDomain({"twin-words": Words()}),
    "twin-b": SmallDomain({"twin-words": Words()}),
    "drifting": SmallDomain({"drifting-words": Words(live="old, ours\n", ours=True), "followed-words": Words()}),
    "rebuilding": SmallDomain({"rebuilding-words": Words(use="index-time"), "following-words": Words()}),
    "reporting": SmallDomain({"reporting-words": Words(use="search-time")}, index_entry=None),
    "denied": SmallDomain({"denied-words": Words()}, entry={"aws_conn_id": WRONG_CREDENTIALS}),
    "late": SmallDomain({"late-words": Words()}, entry={"deadline": f"{DEADLINE_SECONDS}s"}),
    "closing": SmallDomain({"closing-words": Words(use="search-time")}, index_entry={"on_search_time_use": "reopen"}),
    "marked": SmallDomain({"marked-words": Words(use="search-time", indexes=2)}, index_entry={"on_search_time_use": "reopen"}),
    "poolless": SmallDomain({"poolless-words": Words()}),
}
"""Beside the demo's domain; the inventory has an entry with a mistake as well, ``broken``."""

REPLAYED = "orders"
"""A table, its index, and the function that its stream calls."""
REPLAYED_INDEX = {
    "domain": DOMAIN,
    "id": {"attributes": ["pk", "sk"]},
    "version": {"scheme": "attribute", "attribute": "revision"},
    "deletes": "never",
}
REPLAYED_TABLE = {
    "index": REPLAYED,
    "date_index": {"name": "by_day", "attribute": "created_ymd", "timezone": "Asia/Tokyo"},
    "consumers": [{"function": REPLAYED}],
}

BROKEN = {"opensearch_conn_id": "late", "packages": ["no-such-words"]}


@dataclass(frozen=True, slots=True)
class Canaries:
    """What no log may hold."""

    aws: str = field(default_factory=lambda: secrets.token_hex(16))
    node: str = field(default_factory=lambda: secrets.token_hex(16))
    document: str = field(default_factory=lambda: secrets.token_hex(16))


class Company(World):
    """The running company.

    :param views: the node, a view a domain
    :param canaries: what its connections and its documents hold
    """

    def __init__(self, cloud: Cloud, views: NodeViews, canaries: Canaries) -> None:
        super().__init__(cloud)
        self.views = views
        self.canaries = canaries
        self.airflow = cloud.airflow
        self.firehose = FirehoseControl(cloud.endpoints["firehose"])
        self.package_ids: dict[str, str] = {}

    def furnish(self) -> None:
        super().furnish()
        self.packages.speed(SPEED * 20)
        for name, domain in DOMAINS.items():
            self.packages.domain(name, self.cloud.endpoints["opensearch"])
            for key, package in domain.packages.items():
                if key not in self.package_ids:
                    self.package_ids[key] = self._create(key, package)
        for name, domain in DOMAINS.items():
            for key in domain.packages:
                self.associate_by_hand(self.package_ids[key], name)
        self.packages.speed(SPEED)
        for name in DOMAINS:
            for index, (key, package) in indexes_of(name):
                self.node.indices.create(index=index, body=index_body(self.package_ids[key], package.use))

    def _create(self, key: str, package: Words) -> str:
        content = package.live.encode()
        description = {"PackageDescription": commit_message(sha256(content))} if package.ours else {}
        self.project.put(key, content)
        answer = self.aws.create_package(
            PackageName=key, PackageType="TXT-DICTIONARY", PackageSource=self._upload(key, content), **description
        )
        package_id = str(answer["PackageDetails"]["PackageID"])
        self.wait_for_package(package_id)
        return package_id

    def _upload(self, key: str, content: bytes) -> dict[str, str]:
        where = {"S3BucketName": BUCKET, "S3Key": f"by-hand/{key}"}
        self.s3.put_object(Bucket=BUCKET, Key=where["S3Key"], Body=content)
        return where

    # What a test does.

    def put_on_domain(self, package: str, domain: str, *lines: str) -> None:
        """Publish and associate a dictionary file as a run of ours does, and no more."""
        content = words(*lines)
        self.project.put(package, content)
        self.publish_by_hand(self.package_ids[package], content, commit_message(sha256(content)))
        self.associate_by_hand(self.package_ids[package], domain)

    def deploy(self, package: str, *lines: str) -> None:
        """Replace a dictionary file."""
        self.project.put(package, words(*lines))

    def index_document(self, index: str, text: str) -> None:
        """As often as the node refuses it: its write queue is a short one, and loads of other stories may fill it."""
        body = {"text": text, "note": self.canaries.document}

        def written() -> bool:
            try:
                self.node.index(index=index, id=text, body=body, params={"refresh": "true"})
            except TransportError as error:
                if error.status_code != 429:
                    raise
                return False
            return True

        wait_until(written, f"the node takes {text} into {index}")

    def start(self, domain: str = DOMAIN, **conf: Any) -> str:
        return self.airflow.trigger(f"dictionary_sync_{domain}", conf)

    def finish(self, run_id: str, domain: str = DOMAIN) -> Run:
        return self.finish_dag(f"dictionary_sync_{domain}", run_id)

    def finish_dag(self, dag_id: str, run_id: str) -> Run:
        began = time.monotonic()
        state = self.airflow.wait(dag_id, run_id, timeout=400)
        return Run(self, dag_id, run_id, state, time.monotonic() - began)

    def kill_task(self, run_id: str, task_id: str, domain: str) -> None:
        self.kill_task_of(f"dictionary_sync_{domain}", run_id, task_id)

    # What a test sees.

    @staticmethod
    def lives(pid: int) -> bool:
        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE

    def told(self, run_id: str, count: int = 1, seconds: float = 120) -> list[str]:
        """The Slack messages about a run, once there are as many."""
        assert self.slack is not None
        wait_for(lambda: len(self.told_now(run_id)) >= count, seconds)
        return self.told_now(run_id)

    def told_now(self, run_id: str) -> list[str]:
        assert self.slack is not None
        return [str(message["text"]) for message in self.slack.messages() if run_id in message["text"]]

    def hits(self, index: str, text: str) -> int:
        return int(self.node.search(index=index, body={"query": {"match": {"text": text}}})["hits"]["total"]["value"])

    def is_open(self, index: str) -> bool:
        rows = self.node.cat.indices(index=index, params={"format": "json", "expand_wildcards": "all"})
        return [row["status"] for row in rows] == ["open"]

    def versions(self, package: str) -> list[str]:
        """The names of all versions of a package."""
        rows = self.aws.get_package_version_history(PackageID=self.package_ids[package])["PackageVersionHistoryList"]
        return sorted(row["PackageVersion"] for row in rows)

    def applied(self, index: str, package: str) -> str | None:
        """The content that our record says the index was given."""
        meta = self.node.indices.get_mapping(index=index)[index]["mappings"].get("_meta") or {}
        found: str | None = meta.get("searchops", {}).get("dictionaries", {}).get(package, {}).get("applied")
        return found

    def objects(self) -> set[str]:
        """The keys of the bucket, but for the reports."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {row["Key"] for page in pages for row in page.get("Contents", []) if not row["Key"].startswith("reports/")}


def indexes_of(domain: str) -> Iterator[tuple[str, tuple[str, Words]]]:
    """The indexes of a small domain: ``<domain>-1`` and so on, each with its package."""
    rows = [item for item in DOMAINS[domain].packages.items() for _ in range(item[1].indexes)]
    return ((f"{domain}-{number}", row) for number, row in enumerate(rows, 1))


def index_body(package_id: str, use: Use) -> dict[str, Any]:
    synonyms = {"type": "synonym_graph", "synonyms_path": f"analyzers/{package_id}"}
    if use == "automatic":
        synonyms["updateable"] = "true"
    searching = {"analyzer": "words"} if use == "index-time" else {"analyzer": "standard", "search_analyzer": "words"}
    return {
        "settings": {
            "index": {"number_of_shards": 1, "number_of_replicas": 0},
            "analysis": {
                "filter": {"package": synonyms},
                "analyzer": {"words": {"tokenizer": "standard", "filter": ["lowercase", "package"]}},
            },
        },
        "mappings": {"properties": {"text": {"type": "text", **searching}, "note": {"type": "keyword"}}},
    }


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Block until the condition holds.

    :raises AssertionError: it does not in this time
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds:.0f} s"
        time.sleep(0.1)


@contextmanager
def running_company(directory: Path) -> Iterator[Company]:
    """Start the company with a whole Airflow, which runs the repository's DAGs and those of ``tests/system/dags``."""
    canaries = Canaries()
    with NodeViews() as views:
        cloud = demo_cloud(directory, dags=_dags(directory), environment=_connections(views.port, canaries))
        _write_inventory(Project(directory / "project"))
        with cloud:
            views.node_url = cloud.endpoints["opensearch"]
            company = Company(cloud, views, canaries)
            company.furnish()
            yield company


def _dags(directory: Path) -> Path:
    """The DAG files of the repository, its examples, and those of the tests in one folder."""
    folder = directory / "dags"
    folder.mkdir()
    for file in [*(ROOT / "dags").rglob("*.py"), *(ROOT / "tests" / "system" / "dags").glob("*.py")]:
        shutil.copy(file, folder)
    return folder


def _connections(port: int, canaries: Canaries) -> dict[str, str]:
    """Every domain sees the indexes whose names begin with its own, the demo's those of its products."""
    aws = {"conn_type": "aws", "login": "AKIATEST", "password": canaries.aws}
    node = {"conn_type": "opensearch", "host": "127.0.0.1", "port": port, "login": "searchops", "password": canaries.node}
    views = {"products_search": "products"} | {connection(name): name for name in DOMAINS}
    found = {
        "aws_default": aws,
        WRONG_CREDENTIALS: aws,
        **{name: {**node, "extra": {"use_ssl": False, "url_prefix": view}} for name, view in views.items()},
    }
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in found.items()}


def connection(domain: str) -> str:
    return domain.replace("-", "_")


def all_pools(project: Project) -> Path:
    """The pools of the inventory; ``project.pools``, which the company begins with, lacks one."""
    return project.pools.with_name("all_pools.json")


def _write_inventory(project: Project) -> None:
    """The demo's inventory and the small domains, then their pools but one, then an entry with a mistake."""
    inventory = yaml.safe_load(project.inventory.read_text(encoding="utf-8"))
    for name, domain in DOMAINS.items():
        entry = {"opensearch_conn_id": connection(name), "packages": list(domain.packages), **domain.entry}
        inventory["domains"][name] = entry
        for key in domain.packages:
            source = project.file(key).relative_to(project.root)
            inventory["packages"][key] = {"name": key, "kind": "synonyms", "source": str(source)}
        if domain.index_entry is not None:
            inventory["indexes"] |= {index: {"domain": name, **domain.index_entry} for index, _ in indexes_of(name)}
    # What the example of a full load takes; the demo wrote each of its documents once.
    inventory["indexes"][ALIAS] |= {"id": {"attributes": ["pk", "sk"]}, "version": {"scheme": "once"}}
    inventory["indexes"][REPLAYED] = REPLAYED_INDEX
    inventory["tables"] = {REPLAYED: REPLAYED_TABLE}
    project.inventory.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")
    assert inventory_command(["pools", str(project.inventory), "--output", str(project.pools)]) == 0
    shutil.copy(project.pools, all_pools(project))
    pools = json.loads(project.pools.read_text(encoding="utf-8"))
    del pools[MISSING_POOL]
    project.pools.write_text(json.dumps(pools), encoding="utf-8")
    inventory["domains"]["broken"] = BROKEN
    project.inventory.write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")

"""A company of a test's own: packages, domains and indexes on the shared node, and the people who work beside us."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import boto3
from opensearchpy import OpenSearch

from local.cloud import Cloud
from local.simulators.http import Call
from local.simulators.packages.control import PackagesControl
from searchops.core.dictionary.model import commit_message, sha256
from tests.integration.dictionary.airflow_here import Run, run_domain
from tests.system.views import NodeViews

SETUP_SPEED, SPEED = 2000.0, 300.0
"""How many times faster than AWS the package service is: while a test furnishes, and while the product runs."""
REGION = "ap-northeast-1"
FILE = {"kuromoji_user_dictionary": ".csv"}
_buckets = count(1)


def text_of(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def fingerprint(*lines: str) -> str:
    return sha256(text_of(lines))


def until(condition: Callable[[], Any], what: str = "the condition", seconds: float = 60) -> Any:
    """Wait for something true and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)
    return found


@dataclass
class Company:
    """Furnished by the test, then looked after by `run`. A domain sees the indexes whose names begin with its own and a dash."""

    cloud: Cloud
    views: NodeViews
    root: Path
    bucket: str = field(default_factory=lambda: f"company-{next(_buckets)}")
    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    domains: dict[str, dict[str, Any]] = field(default_factory=dict)
    inventory_indexes: dict[str, dict[str, Any]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, bool] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.simulator = PackagesControl(self.cloud.endpoints["packages"])
        self.node = OpenSearch(self.cloud.endpoints["opensearch"], max_retries=0, timeout=60)
        self.aws = boto3.client("opensearch")
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})

    # Furnish

    def clear(self) -> None:
        """Take away what earlier companies left."""
        self.simulator.reset()
        self.simulator.speed(SPEED)
        self.node.indices.delete(index="*", params={"expand_wildcards": "all"})

    def package(
        self,
        key: str,
        live: Sequence[str] | None = None,
        *,
        kind: str = "synonyms",
        ours: bool = False,
        by_id: bool = False,
        **entry: Any,
    ) -> str | None:
        """A package of the inventory.

        :param live: the lines that it holds; None for one that does not exist yet
        :param ours: these lines were published by a run of ours, else by hand
        :param by_id: the inventory names it by its id
        :return: its id
        """
        source = f"include/dictionaries/{key}{FILE.get(kind, '.txt')}"
        self.packages[key] = {"kind": kind, "source": source, **entry}
        if live is not None:
            self.ids[key] = self.create(key, text_of(live), ours)
        if live is not None and by_id:
            self.packages[key]["package_id"] = self.ids[key]
        elif "package_id" not in entry:
            self.packages[key]["name"] = key
        self.deploy(key, *(live or ["first, ours"]))
        return self.ids.get(key)

    def create(self, key: str, content: bytes, ours: bool) -> str:
        """A package of this content at AWS, not in the inventory; its id."""
        self.simulator.speed(SETUP_SPEED)
        description = {"PackageDescription": commit_message(sha256(content))} if ours else {}
        if ours:
            self.s3.put_object(Bucket=self.bucket, Key=f"dictionaries/{key}/{sha256(content)}", Body=content)
        source = self.upload(key, content)
        answer = self.aws.create_package(PackageName=key, PackageType="TXT-DICTIONARY", PackageSource=source, **description)
        package_id = str(answer["PackageDetails"]["PackageID"])
        self.wait_available(package_id)
        self.simulator.speed(SPEED)
        return package_id

    def domain(self, name: str, *packages: str, associated: bool = True, host: bool = True, **entry: Any) -> None:
        """A domain of the inventory, and at AWS.

        :param associated: the packages that exist are on it
        :param host: its connection names one, else the endpoint is looked up
        """
        self.simulator.domain(name, self.view_url)
        self.domains[name] = {"opensearch_conn_id": name, "packages": list(packages), **entry}
        self.hosts[name] = host
        for key in packages:
            if associated and key in self.ids:
                self.associate(key, name)

    def associate(self, key: str, domain: str) -> None:
        self.simulator.speed(SETUP_SPEED)
        self.aws.associate_package(PackageID=self.ids[key], DomainName=domain)
        until(lambda: self.association(key, domain)["DomainPackageStatus"] == "ACTIVE", f"{key} is on {domain}")
        self.simulator.speed(SPEED)

    def index(self, name: str, body: Mapping[str, Any], alias: str | None = None, **entry: Any) -> None:
        """An index of the domain with whose name its own begins; with an entry (or an alias) the inventory names it."""
        domain = next(domain for domain in self.domains if name.startswith(f"{domain}-"))
        aliases = {"aliases": {alias: {}}} if alias else {}
        self.node.indices.create(index=name, body={**body, **aliases})
        if alias or entry:
            self.inventory_indexes[alias or name] = {"domain": domain, **entry}

    @property
    def view_url(self) -> str:
        return f"http://127.0.0.1:{self.views.port}"

    # Run

    def environment(self) -> dict[str, str]:
        """What a process needs to run the company's DAGs; the inventory is written."""
        inventory = self.root / "include" / "searchops.yaml"
        defaults = {"region": REGION, "bucket": self.bucket}
        found = {
            "defaults": defaults,
            "packages": self.packages,
            "domains": self.domains,
            "indexes": self.inventory_indexes,
        }
        inventory.parent.mkdir(parents=True, exist_ok=True)
        inventory.write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
        connections = {name: self.connection(name) for name in self.domains}
        connections["aws_default"] = {"conn_type": "aws", "login": "testing", "password": "testing"}
        return {
            "SEARCHOPS_INVENTORY": str(inventory),
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()},
        }

    def connection(self, domain: str) -> dict[str, Any]:
        host = {"host": "127.0.0.1", "port": self.views.port} if self.hosts[domain] else {}
        return {"conn_type": "opensearch", **host, "extra": {"use_ssl": False, "url_prefix": domain}}

    def run(self, domain: str = "shop", **params: Any) -> Run:
        """A run of the domain's DAG in this process."""
        self.install()
        return run_domain(domain, **params)

    def install(self) -> None:
        """Give this process the environment; the fixture takes it back."""
        os.environ.update(self.environment())

    # People beside us

    def deploy(self, key: str, *lines: str) -> str:
        """Replace the dictionary file of a package; the content's fingerprint."""
        return self.deploy_bytes(key, text_of(lines))

    def deploy_bytes(self, key: str, content: bytes) -> str:
        file = self.file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return sha256(content)

    def file(self, key: str) -> Path:
        return self.root / str(self.packages[key]["source"])

    def upload(self, key: str, content: bytes) -> dict[str, str]:
        self.s3.put_object(Bucket=self.bucket, Key=f"by-hand/{key}", Body=content)
        return {"S3BucketName": self.bucket, "S3Key": f"by-hand/{key}"}

    def publish_by_hand(self, key: str, *lines: str, message: str = "made by hand") -> None:
        before = len(self.versions(key))
        source = self.upload(key, text_of(lines))
        self.aws.update_package(PackageID=self.ids[key], PackageSource=source, CommitMessage=message)
        until(lambda: len(self.versions(key)) > before, f"{key} has another version")

    def wait_available(self, package_id: str) -> None:
        until(lambda: self.details(package_id)["PackageStatus"] == "AVAILABLE", f"{package_id} is available")

    # What there is

    def details(self, package_id: str) -> dict[str, Any]:
        rows = self.aws.describe_packages(Filters=[{"Name": "PackageID", "Value": [package_id]}])["PackageDetailsList"]
        return dict(rows[0])

    def id_of(self, key: str) -> str:
        """The id of a package, also of one that a run has created."""
        if key not in self.ids:
            rows = self.aws.describe_packages(Filters=[{"Name": "PackageName", "Value": [key]}])["PackageDetailsList"]
            self.ids[key] = str(rows[0]["PackageID"])
        return self.ids[key]

    def versions(self, key: str) -> list[str]:
        """The commit messages of a package's versions, oldest first."""
        rows, token = [], None
        while True:
            more = {"NextToken": token} if token else {}
            page = self.aws.get_package_version_history(PackageID=self.id_of(key), **more)
            rows += page["PackageVersionHistoryList"]
            if not (token := page.get("NextToken")):
                rows.sort(key=lambda row: int(row["PackageVersion"][1:]))
                return [row.get("CommitMessage", "") for row in rows]

    def association(self, key: str, domain: str = "shop") -> dict[str, Any]:
        rows, token = [], None
        while True:
            more = {"NextToken": token} if token else {}
            page = self.aws.list_domains_for_package(PackageID=self.id_of(key), **more)
            rows += page["DomainPackageDetailsList"]
            if not (token := page.get("NextToken")):
                return next((dict(row) for row in rows if row["DomainName"] == domain), {})

    def associations_begun(self, key: str, domain: str = "shop") -> int:
        rows = self.simulator.transitions(self.id_of(key), domain)
        return sum(row.after == "ASSOCIATING" for row in rows)

    def tokens(self, index: str, text: str, analyzer: str = "searching") -> list[str]:
        answer = self.node.indices.analyze(index=index, body={"analyzer": analyzer, "text": text})
        return [token["token"] for token in answer["tokens"]]

    def is_open(self, index: str) -> bool:
        rows = self.node.cat.indices(index=index, params={"format": "json", "expand_wildcards": "all"})
        return [row["status"] for row in rows] == ["open"]

    def meta(self, index: str) -> dict[str, Any]:
        answer = self.node.indices.get_mapping(index=index, params={"expand_wildcards": "all"})
        return dict(answer[index]["mappings"].get("_meta") or {})

    def applied(self, index: str, key: str) -> str | None:
        return self.meta(index).get("searchops", {}).get("dictionaries", {}).get(key, {}).get("applied")  # type: ignore[no-any-return]

    def closes(self, domain: str = "shop") -> list[str]:
        """The indexes that the product closed, in the order of time; the simulator's reload does not go through the view."""
        calls = self.calls(domain)
        return [call.path.split("/")[2] for call in calls if call.path.endswith("/_close") and call.status == 200]

    def calls(self, domain: str = "shop") -> list[Call]:
        """What the product asked the domain's data plane in this test, oldest first."""
        return [call for call in self.views.calls(domain) if call.time >= self.began]

    def sent(self, operation: str) -> int:
        return self.simulator.calls().get(operation, 0)

    def report(self, task_id: str) -> str:
        """What the last failure of a task left for people, as JSON."""
        rows = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="reports/")["Contents"]
        key = max((row for row in rows if task_id in row["Key"]), key=lambda row: row["LastModified"])["Key"]
        return str(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read().decode())


def synonyms_index(
    package_id: str,
    *,
    updateable: bool = True,
    at_index_time: bool = False,
    tokenizer: Mapping[str, Any] | None = None,
    **mappings: Any,
) -> dict[str, Any]:
    """An index whose analyzer ``searching`` expands synonyms, in the way of the service's documentation.

    :param tokenizer: in place of the standard one
    """
    synonyms = {"type": "synonym_graph", "synonyms_path": f"analyzers/{package_id}"}
    if updateable and not at_index_time:
        synonyms["updateable"] = "true"
    analysis: dict[str, Any] = {
        "filter": {"package": synonyms},
        "analyzer": {"searching": {"tokenizer": "words" if tokenizer else "standard", "filter": ["lowercase", "package"]}},
    }
    if tokenizer:
        analysis["tokenizer"] = {"words": dict(tokenizer)}
    return _index(analysis, at_index_time, mappings)


def words_index(package_id: str, *, at_index_time: bool = False, **mappings: Any) -> dict[str, Any]:
    """An index whose analyzer ``searching`` cuts by a user dictionary."""
    analysis = {"tokenizer": {"words": kuromoji(package_id)}, "analyzer": {"searching": {"tokenizer": "words"}}}
    return _index(analysis, at_index_time, mappings)


def kuromoji(user_dictionary: str | None = None, **settings: Any) -> dict[str, Any]:
    words = {"user_dictionary": f"analyzers/{user_dictionary}"} if user_dictionary else {}
    return {"type": "kuromoji_tokenizer", "discard_compound_token": True, **words, **settings}


def _index(analysis: Mapping[str, Any], at_index_time: bool, mappings: Mapping[str, Any]) -> dict[str, Any]:
    analyzers = {"analyzer": "searching"} if at_index_time else {"analyzer": "standard", "search_analyzer": "searching"}
    return {
        "settings": {"index": {"number_of_shards": 1, "number_of_replicas": 0}, "analysis": dict(analysis)},
        "mappings": {"properties": {"text": {"type": "text", **analyzers}}, **mappings},
    }

"""The demo's company: two domains on the local node, packages that somebody once published by hand, JMdict's entries as products.

The same entries are in a table, too (`local.demo.entries`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import psutil
from opensearchpy import OpenSearch

from local.cloud import ROOT, Cloud
from local.demo import dataset, entries
from local.demo.dataset import SYNONYMS, USER_DICTIONARY, Dataset, Found, Search
from local.furnish import FAILED_EVENTS, FUNCTION, NAMESPACE, furnish_function
from local.simulators.packages.control import PackagesControl
from local.simulators.slack import SlackControl
from searchops.core.replay.records import MARKER

DOMAIN, ARCHIVE = "products-search", "archive-search"
INDEX, ALIAS, ARCHIVE_INDEX = "products-1", "products", "archive-1"
ARCHIVE_SYNONYMS = "archive-synonyms"
CATALOG, EVENTS = "catalog", "events"
PACKAGE_IDS = {USER_DICTIONARY: "F100000001", SYNONYMS: "F100000002"}
BUCKET = "example-searchops"
REGION, ACCOUNT = "ap-northeast-1", "123456789012"
SPEED = 10
"""How many times faster than AWS the simulator goes through its states; polls and retries are as much quicker."""

NODE = {"thread_pool.write.size": 1, "thread_pool.write.queue_size": 1}
"""Of the node: it refuses a write while one is done and one waits, as a domain does under a load that is too much for it."""

ENVIRONMENT = {
    "SEARCHOPS_POLL_SCALE": str(1 / SPEED),
    "SEARCHOPS_RETRY_SECONDS": "3",
    # Without a host: the endpoint is looked up by DescribeDomain.
    "AIRFLOW_CONN_ARCHIVE_SEARCH": '{"conn_type": "opensearch", "extra": {"use_ssl": false}}',
}

# Airflow begins a new DAG's schedule with the run that was due last, where a tenth of the interval has not passed since: an hour that is
# half a day away keeps it from running beside the acts.
HOUR = (datetime.now(ZoneInfo("Asia/Tokyo")) + timedelta(hours=12)).hour

INVENTORY = f"""\
# Written by the demo.
defaults: {{region: {REGION}, aws_conn_id: aws_default, slack_conn_id: slack_default, bucket: {BUCKET}}}
packages:
  {USER_DICTIONARY}:
    package_id: {PACKAGE_IDS[USER_DICTIONARY]}
    kind: kuromoji_user_dictionary
    source: include/dictionaries/user_dictionary.csv
  {SYNONYMS}: {{package_id: {PACKAGE_IDS[SYNONYMS]}, kind: synonyms, source: include/dictionaries/synonyms.txt}}
  {ARCHIVE_SYNONYMS}: {{name: {ARCHIVE_SYNONYMS}, kind: synonyms, source: include/dictionaries/archive_synonyms.txt}}
domains:
  {DOMAIN}:
    opensearch_conn_id: products_search
    schedule: "0 {HOUR} * * *"
    timezone: Asia/Tokyo
    deadline: 2h
    packages: [{USER_DICTIONARY}, {SYNONYMS}]
  {ARCHIVE}:
    opensearch_conn_id: archive_search
    schedule: "30 {HOUR} * * *"
    timezone: Asia/Tokyo
    packages: [{ARCHIVE_SYNONYMS}]
indexes:
  {ALIAS}: {{domain: {DOMAIN}, body: include/indexes/products.json, on_search_time_use: reopen}}
  {CATALOG}:
    domain: {DOMAIN}
    id: {{attributes: [pk, sk]}}
    version: {{scheme: attribute, attribute: revision}}
    hand_over: {{firehose: catalog-overflow, patience: 1s, buffer_interval: 10s}}
  {EVENTS}:
    domain: {DOMAIN}
    id: {{attributes: [event]}}
    version: {{scheme: once}}
    hand_over: {{firehose: events-overflow, patience: 1s, buffer_interval: 10s}}
  {entries.NAME}:
    domain: {DOMAIN}
    id: {{attributes: [pk, sk]}}
    version: {{scheme: attribute, attribute: revision}}
tables:
  {entries.NAME}:
    index: {entries.NAME}
    date_index: {{name: {entries.DATE_INDEX}, attribute: {entries.DATE}, format: "{entries.FORMAT}", timezone: {entries.TIMEZONE.key}}}
    consumers: [{{function: {entries.FUNCTION}}}]
    replay: {{marker: {MARKER}, wcu_per_second: {entries.WCU_PER_SECOND}}}
functions:
  object-once:
    function: {FUNCTION}
    kind: asynchronous
    retries: 0
    max_event_age: 1h
    on_failure: arn:aws:sqs:{REGION}:{ACCOUNT}:{FAILED_EVENTS}
    namespace: {NAMESPACE}
"""

BY_HAND = "# uploaded by hand\n"
_SERVICE_IDS = {"dynamodbstreams": "dynamodb_streams"}
"""By the name that boto3 knows a service by, where the variable of its endpoint has another."""


@dataclass(frozen=True, slots=True)
class Project:
    """The project folder that the demo's Airflow reads: an inventory, dictionaries and an index body."""

    root: Path

    @property
    def inventory(self) -> Path:
        return self.root / "include" / "searchops.yaml"

    @property
    def pools(self) -> Path:
        return self.root / "include" / "pools.json"

    def file(self, package: str) -> Path:
        suffix = ".csv" if package == USER_DICTIONARY else ".txt"
        return self.root / "include" / "dictionaries" / (package.replace("-", "_") + suffix)

    def write(self) -> None:
        from searchops.inventory.__main__ import main as inventory_command

        for folder in ("dictionaries", "indexes"):
            (self.root / "include" / folder).mkdir(parents=True, exist_ok=True)
        self.inventory.write_text(INVENTORY, encoding="utf-8")
        body = (ROOT / "include" / "indexes" / "products.json").read_text(encoding="utf-8")
        (self.root / "include" / "indexes" / "products.json").write_text(body, encoding="utf-8")
        for package in (USER_DICTIONARY, SYNONYMS, ARCHIVE_SYNONYMS):
            self.put(package, BY_HAND.encode())
        if inventory_command(["pools", str(self.inventory), "--output", str(self.pools)]):
            raise RuntimeError(f"the demo's inventory {self.inventory} has mistakes")

    def put(self, package: str, content: bytes) -> None:
        """Replace a dictionary file in one step, as a deployment would."""
        unfinished = self.file(package).with_suffix(".new")
        unfinished.write_bytes(content)
        unfinished.rename(self.file(package))


def demo_cloud(directory: Path, *, environment: Mapping[str, str] | None = None, **options: Any) -> Cloud:
    """A cloud (not started) that runs on the demo's project below its directory.

    :param environment: further variables for every process; one of the demo's own is replaced
    """
    project = Project(directory / "project")
    project.write()
    extra = {**ENVIRONMENT, **(environment or {})}
    options = {"inventory": project.inventory, "pools": project.pools, "opensearch_settings": NODE, **options}
    return Cloud(directory, speed=SPEED, extra_environment=extra, **options)


class World:
    """The demo's company on a running cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.project = Project(cloud.directory / "project")
        self.packages = PackagesControl(cloud.endpoints["packages"])
        self.slack = SlackControl(cloud.endpoints["slack"]) if "slack" in cloud.endpoints else None
        self.node = OpenSearch(cloud.endpoints["opensearch"], max_retries=0, timeout=60)
        self.aws = self.client("opensearch")
        self.s3 = self.client("s3")

    def client(self, service: str) -> Any:
        """A boto3 client of a person who works beside us, with the cloud's own endpoints and credentials."""
        environment = self.cloud.environment
        specific = f"AWS_ENDPOINT_URL_{_SERVICE_IDS.get(service, service).upper()}"
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=environment.get(specific, environment["AWS_ENDPOINT_URL"]),
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    @cached_property
    def data(self) -> Dataset:
        return dataset.build(dataset.engine_tokens(self.node, self.body(PACKAGE_IDS)))

    def body(self, package_ids: Mapping[str, str]) -> dict[str, Any]:
        text = (self.project.root / "include" / "indexes" / "products.json").read_text(encoding="utf-8")
        return dataset.render_body(text, package_ids)

    @cached_property
    def bodies(self) -> Mapping[str, dict[str, Any]]:
        """The indexes that are loaded, without what dictionaries need."""
        settings = {"index": {"number_of_shards": 2, "number_of_replicas": 0}}
        fields = {
            CATALOG: {"revision": {"type": "long"}, "headword": {"type": "keyword"}, "gloss": {"type": "text"}},
            EVENTS: {"event": {"type": "keyword"}, "spelling": {"type": "keyword"}},
        }
        return {name: {"settings": settings, "mappings": {"dynamic": False, "properties": own}} for name, own in fields.items()}

    def archive_body(self, synonyms: str) -> dict[str, Any]:
        """As the products' index, without a user dictionary: both domains' indexes live on one node."""
        body = self.body({**PACKAGE_IDS, SYNONYMS: synonyms})
        del body["settings"]["analysis"]["tokenizer"]["ja_queries"]["user_dictionary"]
        return body

    def furnish(self) -> None:
        """Make what exists before the first run: bucket, domains, packages by hand, indexes with documents, functions, a queue, a table."""
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        for domain in (DOMAIN, ARCHIVE):
            self.packages.domain(domain, self.cloud.endpoints["opensearch"])
        self.packages.speed(SPEED * 20)
        made = {package: self.create_by_hand(package) for package in (USER_DICTIONARY, SYNONYMS, ARCHIVE_SYNONYMS)}
        for package, domain in ((USER_DICTIONARY, DOMAIN), (SYNONYMS, DOMAIN), (ARCHIVE_SYNONYMS, ARCHIVE)):
            self.associate_by_hand(made[package], domain)
        self.packages.speed(SPEED)
        if {package: made[package] for package in PACKAGE_IDS} != PACKAGE_IDS:
            raise RuntimeError(f"expected the packages {PACKAGE_IDS}, found {made}: the simulator was used before")
        documents = self.data.documents
        self.node.indices.create(index=INDEX, body={**self.body(PACKAGE_IDS), "aliases": {ALIAS: {}}})
        dataset.load(self.node, INDEX, documents)
        self.node.indices.create(index=ARCHIVE_INDEX, body=self.archive_body(made[ARCHIVE_SYNONYMS]))
        dataset.load(self.node, ARCHIVE_INDEX, documents[:2_000])
        self.use(user_dictionary=0, synonyms=0)
        self.project.put(ARCHIVE_SYNONYMS, self.data.synonyms[0].content)
        furnish_function(self.client)
        entries.furnish(self.client, self.node, self.cloud.endpoints["opensearch"], BUCKET, documents)

    def use(self, **generations: int) -> None:
        """Deploy a generation of a dictionary, e.g. ``use(synonyms=1)``."""
        for name, number in generations.items():
            self.project.put(name.replace("_", "-"), getattr(self.data, name)[number].content)

    def searches(self, user_dictionary: int, synonyms: int) -> list[Search]:
        """The searches that need the new lines of these generations."""
        return [*self.data.user_dictionary[user_dictionary].searches, *self.data.synonyms[synonyms].searches]

    def measure(self, searches: Sequence[Search]) -> list[Found]:
        return dataset.measure(self.node, ALIAS, searches)

    # What people do beside us, and the kernel.

    def kill_task_of(self, dag_id: str, run_id: str, task_id: str) -> int:
        """SIGKILL the process in which the task's code runs, as the kernel does when memory is short, and return its id."""
        instances = self.cloud.airflow.task_instances(dag_id, run_id)
        pid = next(int(task["pid"]) for task in instances if task["task_id"] == task_id and task["state"] == "running")
        process = psutil.Process(pid)
        assert self.cloud.process("airflow-scheduler").pid in [parent.pid for parent in process.parents()]
        process.kill()
        return pid

    def create_by_hand(self, name: str) -> str:
        source = self.upload_by_hand(name, BY_HAND.encode())
        answer = self.aws.create_package(PackageName=name, PackageType="TXT-DICTIONARY", PackageSource=source)
        return str(self.wait_for_package(answer["PackageDetails"]["PackageID"])["PackageID"])

    def publish_by_hand(self, package_id: str, content: bytes, message: str) -> dict[str, Any]:
        self.aws.update_package(
            PackageID=package_id, PackageSource=self.upload_by_hand(package_id, content), CommitMessage=message
        )
        time.sleep(2 / SPEED)  # the moment in which the old version still reads AVAILABLE
        return self.wait_for_package(package_id)

    def associate_by_hand(self, package_id: str, domain: str) -> None:
        self.aws.associate_package(PackageID=package_id, DomainName=domain)
        self._wait(lambda: self.association(package_id, domain)["DomainPackageStatus"] == "ACTIVE")

    def upload_by_hand(self, name: str, content: bytes) -> dict[str, str]:
        key = f"by-hand/{name}"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        return {"S3BucketName": BUCKET, "S3Key": key}

    def wait_for_package(self, package_id: str) -> dict[str, Any]:
        self._wait(lambda: self.package(package_id)["PackageStatus"] == "AVAILABLE")
        return self.package(package_id)

    def package(self, package_id: str) -> dict[str, Any]:
        answer = self.aws.describe_packages(Filters=[{"Name": "PackageID", "Value": [package_id]}])
        return dict(answer["PackageDetailsList"][0])

    def association(self, package_id: str, domain: str = DOMAIN) -> dict[str, Any]:
        rows: Iterable[dict[str, Any]] = self.aws.list_domains_for_package(PackageID=package_id)["DomainPackageDetailsList"]
        return next(dict(row) for row in rows if row["DomainName"] == domain)

    @staticmethod
    def _wait(condition: Any, timeout_seconds: float = 60) -> None:
        end = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not so after {timeout_seconds:.0f} s")
            time.sleep(0.05)

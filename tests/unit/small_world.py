"""Everything that a dictionary sync speaks to, in this process: the package simulator, S3, a tiny data plane."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from local.simulators.http import Server
from local.simulators.packages.api import application
from local.simulators.packages.control import PackagesControl
from local.simulators.packages.model import Domain
from local.simulators.packages.objects import S3Objects
from local.simulators.packages.service import PackageService, Ticker
from local.simulators.packages.settings import Settings
from searchops.core.dictionary.model import commit_message, sha256
from tests.unit.local.packages.world import Clock, World
from tests.unit.tiny_node import TinyNode

REGION = "ap-northeast-1"
SPEED = 300.0
"""A running world's: copying, validating and associating take 0.2 s."""
SYNONYMS: Mapping[str, Any] = {"type": "synonym_graph", "synonyms_path": "analyzers/F100000001"}
UPDATEABLE: Mapping[str, Any] = {**SYNONYMS, "updateable": "true"}

_buckets = count(1)


_session = boto3.Session(region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing")


def analysis(reader: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "analyzer": {"a": {"type": "custom", "tokenizer": "whitespace", "filter": ["reader"]}},
        "filter": {"reader": dict(reader)},
    }


class SmallWorld(World):
    """On a clock that the test moves (`pass_time`), or, running, on the real one; ``products`` is its domain."""

    def __init__(self, s3_url: str, *, running: bool = False) -> None:
        self.clock = Clock()
        self.node = TinyNode()
        self.s3_url = s3_url
        self.bucket_name = f"small-world-{next(_buckets)}"
        settings = Settings(speed=SPEED if running else 1.0)
        self.service = PackageService(S3Objects(s3_url), self.node, settings, time.time if running else self.clock)
        self._running = running
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.server = self._open.enter_context(Server(application(self.service)))
        self.data_plane = self._open.enter_context(Server(self.node.application))
        self.control = PackagesControl(self.server.url)
        self.client = self._client("opensearch", self.server.url)
        self.s3 = self._client("s3", self.s3_url)
        self.s3.create_bucket(Bucket=self.bucket_name, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.domain("products")
        if self._running:
            ticker = Ticker(self.service)
            ticker.start()
            self._open.callback(ticker.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def domain(self, name: str, *, serial_only: bool = True) -> None:
        self.service.put_domain(Domain(name, self.data_plane.url, serial_only))

    def publish(self, content: bytes, *, name: str = "synonyms", ours: bool = True, associate: bool = True) -> str:
        """Make a package or its next version, by us or by hand, put it on the domain and wait (on the moved clock)."""
        self.s3.put_object(Bucket=self.bucket_name, Key="by-hand", Body=content)
        source = {"S3BucketName": self.bucket_name, "S3Key": "by-hand"}
        rows = self.client.describe_packages(Filters=[{"Name": "PackageName", "Value": [name]}])["PackageDetailsList"]
        message = commit_message(sha256(content))
        if rows:
            arguments = {"CommitMessage": message} if ours else {}
            answer = self.client.update_package(PackageID=rows[0]["PackageID"], PackageSource=source, **arguments)
        else:
            arguments = {"PackageDescription": message} if ours else {}
            answer = self.client.create_package(PackageName=name, PackageType="TXT-DICTIONARY", PackageSource=source, **arguments)
        package_id = str(answer["PackageDetails"]["PackageID"])
        self.pass_time(20)
        if associate:
            self.client.associate_package(PackageID=package_id, DomainName="products")
            self.pass_time(60)
        return package_id

    def pass_time(self, seconds: float) -> None:
        if not self._running:
            super().pass_time(seconds)
            return
        moment = time.time() + seconds / SPEED + 30
        while not self.service.commands.empty() or self._moving():
            assert time.time() < moment, "the simulator does not come to rest"
            with self.service.changed:
                self.service.changed.wait(0.01)

    def _moving(self) -> bool:
        region = self.service._region
        return any(package.publication for package in region.packages.values()) or any(
            row.in_transit for row in region.associations.values()
        )

    def environment(self) -> dict[str, str]:
        """For hooks: where AWS is, and the connections."""
        return {
            "AWS_ENDPOINT_URL_OPENSEARCH": self.server.url,
            "AWS_ENDPOINT_URL_S3": self.s3_url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            "AIRFLOW_CONN_PRODUCTS_SEARCH": self.data_plane.url.replace("http://", "opensearch://") + "/?use_ssl=false",
        }

    def inventory(self, folder: Path, text: str = "") -> Path:
        """An inventory with the domain ``products`` and its synonyms, whose source is ``include/synonyms.txt``."""
        path = folder / "include" / "searchops.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f"defaults: {{region: {REGION}, bucket: {self.bucket_name}}}\n"
            "packages: {synonyms: {name: synonyms, kind: synonyms, source: include/synonyms.txt}}\n"
            "domains: {products: {opensearch_conn_id: products_search, packages: [synonyms]}}\n" + text
        )
        return path

    def _client(self, service: str, url: str) -> Any:
        return _session.client(service, endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, read_timeout=10))

"""The package simulator as a process, on a real node, with moto's S3."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from local.opensearch import OpenSearchNode
from local.processes import free_port
from local.simulators.packages.control import PackagesControl

CREDENTIALS = {"region_name": "ap-northeast-1", "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
OLD_WORDS = "関西国際空港,関西 国際 空港,カンサイ コクサイ クウコウ,カスタム名詞\n"
NEW_WORDS = OLD_WORDS + "朝青龍,朝青龍,アサショウリュウ,カスタム名詞\n"
NEWEST_WORDS = NEW_WORDS + "東京スカイツリー,東京スカイツリー,トウキョウスカイツリー,カスタム名詞\n"


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return value


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[OpenSearchNode]:
    with OpenSearchNode(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **CREDENTIALS)
    client.create_bucket(Bucket="dictionaries", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    yield client
    server.stop()


@pytest.fixture(scope="module")
def simulator_url(node, s3, tmp_path_factory) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "local.simulators.packages", "--port", str(port), "--s3-endpoint", s3.meta.endpoint_url]
    command += ["--opensearch-url", node.url, "--analyzers-dir", str(node.analyzers_dir), "--speed", "100"]
    log = tmp_path_factory.mktemp("simulator") / "log"
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            wait_for(lambda: process.poll() is not None or healthy(url), "the simulator answers")
            assert process.poll() is None, log.read_text()
            yield url
            process.terminate()
            assert process.wait(10) == 0
        finally:
            process.kill()


def healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/_control/health", timeout=1).ok
    except requests.ConnectionError:
        return False


class Cloud:
    """A domain with the real node behind it, and the few things that the tests do to it."""

    def __init__(self, node: OpenSearchNode, s3: Any, simulator_url: str) -> None:
        self.node = node
        self.s3 = s3
        self.packages: Any = boto3.client("opensearch", endpoint_url=simulator_url, **CREDENTIALS)
        self.control = PackagesControl(simulator_url)

    def publish(self, text: str, package_id: str | None = None) -> str:
        """A new package or version; returns when it is available."""
        self.s3.put_object(Bucket="dictionaries", Key="object", Body=text.encode())
        source = {"S3BucketName": "dictionaries", "S3Key": "object"}
        before = len(self.control.transitions(package_id)) if package_id else 0
        if package_id is None:
            name = f"dictionary-{time.time_ns()}"
            answer = self.packages.create_package(PackageName=name, PackageType="TXT-DICTIONARY", PackageSource=source)
            package_id = str(answer["PackageDetails"]["PackageID"])
        else:
            self.packages.update_package(PackageID=package_id, PackageSource=source)
        wait_for(
            lambda: any(row.after == "AVAILABLE" and row.domain is None for row in self.control.transitions(package_id)[before:]),
            f"{package_id} is available",
        )
        return package_id

    def associate(self, package_id: str, *, wait: str = "ACTIVE") -> dict[str, Any]:
        self.packages.associate_package(PackageID=package_id, DomainName="search")
        return self.wait(package_id, wait)

    def wait(self, package_id: str, status: str) -> dict[str, Any]:
        row: dict[str, Any] = wait_for(lambda: self.row(package_id, status), f"{package_id} is {status}")
        return row

    def row(self, package_id: str, status: str) -> dict[str, Any] | None:
        rows = self.packages.list_domains_for_package(PackageID=package_id)["DomainPackageDetailsList"]
        return next((row for row in rows if row["DomainPackageStatus"] == status), None)

    def live(self, text: str, package_id: str | None = None) -> str:
        """Put text on the domain and come back when it is ACTIVE."""
        package_id = self.publish(text, package_id)
        self.associate(package_id)
        return package_id

    def create_index(self, name: str, *, filters: dict[str, Any], user_dictionary: str | None = None) -> None:
        tokenizer: dict[str, Any] = {"type": "kuromoji_tokenizer", "discard_compound_token": True}
        if user_dictionary:
            tokenizer["user_dictionary"] = f"analyzers/{user_dictionary}"
        body = {
            "settings": {
                "number_of_shards": 2,
                "number_of_replicas": 0,
                "analysis": {
                    "tokenizer": {"japanese": tokenizer},
                    "filter": filters,
                    "analyzer": {"searching": {"type": "custom", "tokenizer": "japanese", "filter": list(filters)}},
                },
            }
        }
        response = requests.put(f"{self.node.url}/{name}", json=body, timeout=30)
        assert response.ok, response.text

    def tokens(self, index: str, text: str) -> list[str]:
        body = {"analyzer": "searching", "text": text}
        answer = requests.post(f"{self.node.url}/{index}/_analyze", json=body, timeout=30)
        assert answer.ok, answer.text
        return sorted(token["token"] for token in answer.json()["tokens"])

    def reopen(self, index: str) -> None:
        """What the owner of an index does to apply a dictionary."""
        for step in ("_close", "_open"):
            assert requests.post(f"{self.node.url}/{index}/{step}", timeout=30).ok
        assert requests.get(f"{self.node.url}/_cluster/health/{index}?wait_for_status=yellow", timeout=30).ok

    def opened_at(self, index: str) -> int:
        shards = requests.get(f"{self.node.url}/{index}/_recovery", timeout=30).json()[index]["shards"]
        return int(min(shard["start_time_in_millis"] for shard in shards))

    def file(self, package_id: str) -> Path:
        return self.node.analyzers_dir / package_id


@pytest.fixture
def cloud(node, s3, simulator_url) -> Iterator[Cloud]:
    cloud = Cloud(node, s3, simulator_url)
    cloud.control.reset()
    cloud.control.domain("search", node.url.removeprefix("http://"))
    yield cloud
    requests.delete(f"{node.url}/*", timeout=30)


def updateable(package_id: str) -> dict[str, Any]:
    return {"synonyms": {"type": "synonym_graph", "synonyms_path": f"analyzers/{package_id}", "updateable": True}}


def test_synonyms_become_live_and_a_changed_user_dictionary_beside_them_does_not(cloud):
    words, synonyms = cloud.live(OLD_WORDS), cloud.live("空港, エアポート\n")
    cloud.create_index("products", filters=updateable(synonyms), user_dictionary=words)

    cloud.live(NEW_WORDS, words)
    assert cloud.tokens("products", "朝青龍") == ["朝", "青龍"]

    cloud.live("空港, エアポート, 飛行場\n", synonyms)
    assert cloud.tokens("products", "空港") == ["エアポート", "空港", "飛行場"]
    assert cloud.tokens("products", "朝青龍") == ["朝", "青龍"]
    assert cloud.file(words).read_text() == NEW_WORDS

    cloud.reopen("products")
    assert cloud.tokens("products", "朝青龍") == ["朝青龍"]


def test_an_index_that_its_owner_reopened_keeps_what_it_read_then(cloud):
    words, synonyms = cloud.live(OLD_WORDS), cloud.live("空港, エアポート\n")
    cloud.create_index("products", filters=updateable(synonyms), user_dictionary=words)
    cloud.live(NEW_WORDS, words)
    cloud.reopen("products")
    cloud.live(NEWEST_WORDS, words)

    cloud.live("空港, 飛行場\n", synonyms)

    assert cloud.tokens("products", "空港") == ["空港", "飛行場"]
    assert cloud.tokens("products", "朝青龍") == ["朝青龍"]
    assert "東京スカイツリー" not in cloud.tokens("products", "東京スカイツリー")
    cloud.reopen("products")
    assert cloud.tokens("products", "東京スカイツリー") == ["東京スカイツリー"]


def test_an_index_made_after_an_association_has_its_words_and_is_left_alone(cloud):
    synonyms = cloud.live("空港, エアポート\n")
    cloud.create_index("old", filters=updateable(synonyms))
    synonyms = cloud.publish("空港, 飛行場\n", synonyms)
    cloud.control.fault("skip_reload", last=1)
    cloud.associate(synonyms)
    cloud.create_index("new", filters=updateable(synonyms))
    opened_at = cloud.opened_at("new")

    cloud.live("空港, 飛行場\n", synonyms)

    assert cloud.tokens("old", "空港") == cloud.tokens("new", "空港") == ["空港", "飛行場"]
    assert cloud.opened_at("new") == opened_at


def test_active_on_the_right_version_with_nothing_reloaded_can_be_ordered(cloud):
    synonyms = cloud.live("空港, エアポート\n")
    cloud.create_index("products", filters=updateable(synonyms))
    cloud.control.fault("skip_reload")

    cloud.live("空港, 飛行場\n", synonyms)

    assert cloud.row(synonyms, "ACTIVE")["PackageVersion"] == "v2"
    assert cloud.tokens("products", "空港") == ["エアポート", "空港"]


def test_filters_that_are_not_updateable_wait_for_their_owner_and_nothing_is_closed(cloud):
    synonyms, stopwords = cloud.live("空港, エアポート\n"), cloud.live("犬\n")
    fixed = {**updateable(synonyms)["synonyms"], "updateable": False}
    cloud.create_index("fixed", filters={"synonyms": fixed})
    cloud.create_index(
        "both", filters=updateable(synonyms) | {"stop": {"type": "stop", "stopwords_path": f"analyzers/{synonyms}"}}
    )
    cloud.create_index("stop", filters={"stop": {"type": "stop", "stopwords_path": f"analyzers/{stopwords}", "updateable": True}})
    opened_at = [cloud.opened_at(index) for index in ("fixed", "both", "stop")]

    cloud.live("空港, 飛行場\n", synonyms)
    cloud.live("猫\n", stopwords)

    assert [cloud.opened_at(index) for index in ("fixed", "both", "stop")] == opened_at
    assert cloud.tokens("fixed", "空港") == cloud.tokens("both", "空港") == ["エアポート", "空港"]
    assert cloud.tokens("stop", "猫") == ["猫"]
    cloud.reopen("stop")
    assert cloud.tokens("stop", "猫") == []


def test_an_association_acts_although_nobody_polls(cloud):
    synonyms = cloud.live("空港, エアポート\n")
    cloud.create_index("products", filters=updateable(synonyms))
    synonyms = cloud.publish("空港, 飛行場\n", synonyms)

    cloud.packages.associate_package(PackageID=synonyms, DomainName="search")
    cloud.control.reset_calls()

    wait_for(lambda: analyzed(cloud) == ["空港", "飛行場"], "the new synonyms are live")
    assert cloud.control.calls() == {}


def analyzed(cloud: Cloud) -> list[str]:
    """The tokens, empty while the index is closed for its reload."""
    try:
        return cloud.tokens("products", "空港")
    except AssertionError:
        return []


def test_a_closed_index_stays_closed_and_has_the_new_words_when_it_is_opened(cloud):
    synonyms = cloud.live("空港, エアポート\n")
    cloud.create_index("products", filters=updateable(synonyms))
    requests.post(f"{cloud.node.url}/products/_close", timeout=30)

    cloud.live("空港, 飛行場\n", synonyms)

    rows = requests.get(f"{cloud.node.url}/_cat/indices/products?format=json&expand_wildcards=all", timeout=30).json()
    assert [row["status"] for row in rows] == ["close"]
    cloud.reopen("products")
    assert cloud.tokens("products", "空港") == ["空港", "飛行場"]


def test_words_that_the_engine_refuses_leave_the_index_open_on_the_old_ones(cloud):
    synonyms = cloud.live("空港, エアポート\n")
    cloud.create_index("products", filters=updateable(synonyms))

    cloud.live("空港 => 飛行場 => エアポート\n", synonyms)
    assert cloud.tokens("products", "空港") == ["エアポート", "空港"]

    cloud.live("空港, 飛行場\n", synonyms)
    assert cloud.tokens("products", "空港") == ["空港", "飛行場"]


def test_a_missing_object_and_one_under_kms_cannot_be_copied(cloud):
    cloud.s3.put_object(Bucket="dictionaries", Key="secret", Body=b"a, b\n", ServerSideEncryption="aws:kms")
    for key, reason in (("missing", "NoSuchKey"), ("secret", "KMS")):
        source = {"S3BucketName": "dictionaries", "S3Key": key}
        details = cloud.packages.create_package(PackageName=f"from-{key}", PackageType="TXT-DICTIONARY", PackageSource=source)
        filters = [
            {"Name": "PackageID", "Value": [details["PackageDetails"]["PackageID"]]},
            {"Name": "PackageStatus", "Value": ["COPY_FAILED"]},
        ]
        rows = wait_for(
            lambda wanted=filters: cloud.packages.describe_packages(Filters=wanted)["PackageDetailsList"], "COPY_FAILED"
        )
        assert reason in rows[0]["ErrorDetails"]["ErrorMessage"]


def test_two_associations_at_once_fail_where_one_after_the_other_succeeds(cloud):
    words, synonyms = cloud.publish(OLD_WORDS), cloud.publish("空港, エアポート\n")
    for package_id in (words, synonyms):
        cloud.packages.associate_package(PackageID=package_id, DomainName="search")

    cloud.wait(words, "ACTIVE")
    cloud.wait(synonyms, "ASSOCIATION_FAILED")
    assert not cloud.file(synonyms).exists() or cloud.file(synonyms).read_text() != "空港, エアポート\n"

    cloud.associate(synonyms)
    assert cloud.file(synonyms).read_text() == "空港, エアポート\n"


def test_a_package_that_an_index_uses_cannot_be_dissociated(cloud):
    synonyms = cloud.live("空港, エアポート\n")
    cloud.create_index("products", filters=updateable(synonyms))
    with pytest.raises(cloud.packages.exceptions.ConflictException, match="products"):
        cloud.packages.dissociate_package(PackageID=synonyms, DomainName="search")

    requests.delete(f"{cloud.node.url}/products", timeout=30)
    cloud.packages.dissociate_package(PackageID=synonyms, DomainName="search")
    wait_for(lambda: not cloud.file(synonyms).exists(), "the file is gone")


def test_a_domain_without_an_engine_touches_no_file(cloud):
    cloud.control.domain("elsewhere")
    synonyms = cloud.publish("月, 太陽\n")
    cloud.packages.associate_package(PackageID=synonyms, DomainName="elsewhere")
    cloud.wait(synonyms, "ACTIVE")

    assert not cloud.file(synonyms).exists() or cloud.file(synonyms).read_text() != "月, 太陽\n"

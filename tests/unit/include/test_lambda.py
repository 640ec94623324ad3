"""The zip of the Lambda function: what is in it, and that it runs where there is neither Airflow nor this repository."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.demo.functions import FUNCTION, builder
from searchops.core.errors import DataError
from searchops.core.object_events import Change, ObjectEvent, padded

build = builder()
# Lambda's Python runtimes hold boto3 and what it needs; botocore takes certifi and awscrt where they are installed.
RUNTIME = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six", "certifi", "awscrt"}
PROGRAM = """
import importlib.abc, json, sys
archive, packages = sys.argv[1:]

class NoAirflow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "airflow":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, NoAirflow())
sys.path[:0] = [archive]
sys.path.append(packages)
import handler
try:
    handler.handler({"source": "aws.events"}, None)
except Exception as error:
    told = f"{type(error).__name__}: {error}"
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(json.dumps({
    "told": told,
    "ours": sorted(name for name, file in files.items() if file.startswith(archive)),
    "foreign": sorted({name.partition(".")[0] for name, file in files.items() if file.startswith(packages)}),
}))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target: Path = build.build(FUNCTION, tmp_path_factory.mktemp("zip") / "object_once.zip")
    return target


def test_the_same_sources_give_the_same_bytes_wherever_and_whenever_they_are_built(archive: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(FUNCTION, tmp_path / "elsewhere")
    for path in elsewhere.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o755)

    again = build.build(elsewhere, tmp_path / "again.zip")

    assert again.read_bytes() == archive.read_bytes()


def test_the_zip_holds_the_function_and_only_what_it_imports_of_core(archive: Path) -> None:
    names = zipfile.ZipFile(archive).namelist()

    assert names == sorted(names)
    assert {"handler.py", "work.py", "searchops/core/idempotency/guard.py", "searchops/core/dictionary/formats.py"} <= set(names)
    assert all(name.endswith(".py") for name in names)
    assert not [name for name in names if name.startswith("searchops/") and not name.startswith("searchops/core/")][1:]
    assert not {"searchops/core/report.py", "searchops/core/waiting.py", "searchops/core/dictionary/sync.py"} & set(names)


def test_the_function_runs_from_the_zip_where_there_is_no_airflow(archive: Path) -> None:
    environment = {"AWS_DEFAULT_REGION": "ap-northeast-1", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    packages = sysconfig.get_path("purelib")

    # -I and -S: neither our directory nor the installed project is on the path.
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(archive), packages],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["told"].startswith("DataError: expected an S3 notification")
    assert {"handler", "work", "searchops", "searchops.core.idempotency.objects"} <= set(found["ours"])
    assert set(found["foreign"]) <= RUNTIME


def test_a_function_that_needs_airflow_is_not_built(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("def handler(event, context):\n    from searchops.hooks import opensearch\n")

    with pytest.raises(build.NotDeployable, match=r"imports searchops\.hooks.*: expected searchops\.core only"):
        build.build(tmp_path, tmp_path / "build" / "function.zip")

    assert not (tmp_path / "build").exists()  # no empty zip that somebody deploys


@pytest.fixture
def work(s3_url: str, quick_clients: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module work.py beside moto's S3, with a bucket `uploads`."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("object_once_work", FUNCTION / "work.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.s3().create_bucket(Bucket="uploads")
    return module


class Held:
    """A claim that nobody has taken over."""

    def check(self) -> None: ...


def put(work: Any, key: str, content: bytes) -> Any:
    etag = work.s3().put_object(Bucket="uploads", Key=key, Body=content)["ETag"].strip('"')
    return ObjectEvent("uploads", key, Change.CREATED, padded("1"), etag=etag, size=len(content))


def test_a_good_file_leaves_one_record_however_often_it_is_checked(work: Any) -> None:
    event = put(work, "語/synonyms.txt", "# 塔\n東京タワー, 芝の塔\n\na => b\n".encode())

    first, second = work.work(event, Held()), work.work(event, Held())

    assert first == second
    assert (first["kind"], first["entries"]) == ("synonyms", 2)
    assert first["record"] == f"s3://uploads/checks/語/synonyms.txt/{first['sha256']}.json"
    stored = json.loads(work.s3().get_object(Bucket="uploads", Key=first["record"].removeprefix("s3://uploads/"))["Body"].read())
    assert stored == {"source": "s3://uploads/語/synonyms.txt", "kind": "synonyms", "entries": 2, "sha256": first["sha256"]}


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        ("a.txt", b"\xff\xfe", "line 1: expected UTF-8"),
        ("a.txt", b"# nothing\n", "expected at least one entry, found none"),
        ("a.csv", "東京,東京,トウキョウ,名詞\n京都,京都\n".encode(), "entry 2: expected 4 fields, found 2"),
        ("a.csv", b'"a"b,c,d,e\n', "entry 1: expected comma-separated fields"),
    ],
)
def test_a_file_that_is_no_dictionary_is_a_data_error(work: Any, key: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        work.work(put(work, key, content), Held())


def test_a_file_that_the_smallest_function_has_no_memory_for_is_a_data_error(work: Any) -> None:
    event = put(work, "large.txt", b"a, b\n" * (8 * 1024 * 1024 // 5 + 1))

    with pytest.raises(DataError, match="expected at most 8,388,608"):
        work.work(event, Held())


@pytest.mark.parametrize("key", ["k" * 1024, "語" * 341])
def test_an_object_with_the_longest_of_keys_has_a_record(work: Any, key: str) -> None:
    result = work.work(put(work, key, b"a, b\n"), Held())

    record = result["record"].removeprefix("s3://uploads/")
    assert len(record.encode()) <= 1024
    assert json.loads(work.s3().get_object(Bucket="uploads", Key=record)["Body"].read())["source"] == f"s3://uploads/{key}"


def test_nothing_is_checked_of_what_is_gone_or_replaced_or_our_own_record(work: Any) -> None:
    gone = put(work, "gone.txt", b"a, b\n")
    work.s3().delete_object(Bucket="uploads", Key="gone.txt")
    replaced = put(work, "replaced.txt", b"a, b\n")
    put(work, "replaced.txt", b"c, d\n")
    own = put(work, "checks/x/1.json", b"{}")

    version = replace(put(work, "a.txt", b"a, b\n"), change=Change.VERSION_REMOVED, version_id="v1", etag=None)

    results = [work.work(event, Held()) for event in (gone, replaced, own, version)]

    assert [result["checked"] for result in results] == [False] * 4


def test_a_bucket_that_refuses_us_is_no_data_error(work: Any) -> None:
    event = replace(put(work, "a.txt", b"a, b\n"), bucket="not-there")

    with pytest.raises(ClientError, match="NoSuchBucket"):
        work.work(event, Held())

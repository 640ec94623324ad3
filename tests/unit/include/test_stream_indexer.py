"""The stream consumer's function: its settings, what it tells, and its zip."""

from __future__ import annotations

import http.server
import json
import logging
import re
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from local.cloud import ROOT
from local.demo.functions import builder
from local.demo.indexer import FUNCTION, load_handler
from searchops.core.bulk import function
from searchops.core.bulk.places import manifest_key, rejected_key, spool_key
from searchops.core.bulk.scheme import Deletes, Scheme, VersionScheme
from searchops.core.errors import DataError
from searchops.core.streams.dead_letters import run_of
from searchops.core.streams.records import NoStreamEvent, View
from searchops.core.streams.writes import WrongView
from searchops.inventory.models import FunctionEntry
from tests.unit.core.streams.events import CREATED, record, sequence

build = builder()
handler = load_handler()
PAGE = ROOT / "docs" / "stream_indexer.md"
GOOD = {
    "SEARCHOPS_ENDPOINT": "https://search-products.ap-northeast-1.es.amazonaws.com",
    "SEARCHOPS_INDEX": "products",
    "SEARCHOPS_ID": "pk|sk",
    "SEARCHOPS_VERSION_SCHEME": "attribute",
    "SEARCHOPS_VERSION_ATTRIBUTE": "revision",
    "SEARCHOPS_DELETES": "tombstone",
    "SEARCHOPS_BUCKET": "example-searchops",
    "SEARCHOPS_STREAM": "products-overflow",
    "AWS_REGION": "ap-northeast-1",
}
LEFT_OUT = ""
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath")
PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
import handler
try:
    handler.handler({"Records": []}, None)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
BY_SEQUENCE = {"SEARCHOPS_VERSION_SCHEME": "sequence", "SEARCHOPS_VERSION_ATTRIBUTE": LEFT_OUT, "SEARCHOPS_STREAM": LEFT_OUT}


def settings(**changes: str) -> Any:
    return handler.Settings.from_environment({**GOOD, **changes})


def test_settings_are_those_of_the_inventory_and_have_short_time_outs() -> None:
    found = settings()

    assert found.scheme == Scheme(VersionScheme.ATTRIBUTE, Deletes.TOMBSTONE, "revision", "pk|sk")
    assert (found.id, found.marker, found.region) == (("pk", "sk"), "searchops_replay", "ap-northeast-1")
    assert (found.timeout_seconds, found.aws_timeout_seconds) == (10, 2)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, 13.0),
        ({"SEARCHOPS_AWS_TIMEOUT": "1"}, 9.0),
        ({"SEARCHOPS_DELETES": "immediate", "SEARCHOPS_STREAM": LEFT_OUT}, 3.5),
    ],
)
def test_as_much_time_is_kept_back_as_a_hand_over_and_a_rejection_may_take(changes: dict[str, str], kept: float) -> None:
    assert settings(**changes).kept_seconds == kept


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SEARCHOPS_ENDPOINT", "http://search-products.example.com", "expected https://"),
        ("SEARCHOPS_INDEX", LEFT_OUT, "SEARCHOPS_INDEX: expected the name"),
        ("SEARCHOPS_ID", LEFT_OUT, "SEARCHOPS_ID: expected attributes, such as pk or pk|sk, found ''"),
        ("SEARCHOPS_ID", "pk|", "found 'pk|'"),
        ("SEARCHOPS_ID", "position", "of other ids a record of a stream knows nothing"),
        ("SEARCHOPS_ID", "content", "found 'content'"),
        ("SEARCHOPS_VERSION_SCHEME", "ingestion", "found 'ingestion'"),
        ("SEARCHOPS_VERSION_ATTRIBUTE", LEFT_OUT, "SEARCHOPS_VERSION_ATTRIBUTE: expected one with"),
        ("SEARCHOPS_DELETES", LEFT_OUT, "expected one of tombstone, immediate, never, found ''"),
        ("SEARCHOPS_DELETES", "immediate", "SEARCHOPS_STREAM: nothing is handed over through it"),
        ("SEARCHOPS_BUCKET", LEFT_OUT, "SEARCHOPS_BUCKET: expected a bucket, for records that can not be indexed"),
        ("SEARCHOPS_TIMEOUT", "0", "expected a number of seconds above 0, found '0'"),
        ("AWS_REGION", LEFT_OUT, "SEARCHOPS_REGION: expected a Region"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(name: str, value: str, message: str) -> None:
    with pytest.raises(DataError) as told:
        settings(**{name: value})

    assert message in str(told.value)


def test_under_sequence_there_is_no_firehose_stream_to_hand_over_to() -> None:
    with pytest.raises(DataError, match="SEARCHOPS_STREAM: nothing is handed over through it with version scheme sequence"):
        settings(**BY_SEQUENCE | {"SEARCHOPS_STREAM": "products-overflow"})

    assert settings(**BY_SEQUENCE).stream == ""


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(DataError) as told:
        handler.Settings.from_environment({})

    assert all(name in str(told.value) for name in ("ENDPOINT", "INDEX", "ID", "REGION", "VERSION_SCHEME", "DELETES", "BUCKET"))


class Domain:
    """What stands for a domain: its index, and what it answers to a request."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.mapping: dict[str, Any] = {"_meta": {"searchops": {"scheme": settings().scheme.to_meta()}}}
        self.status = 201
        self.url = ""

    def answer(self, body: bytes) -> Any:
        if not body:
            return {"products": {"aliases": {}, "mappings": self.mapping, "settings": {}}}
        self.bodies.append(body)
        error = {} if self.status < 300 else {"error": {"type": "rejected_execution_exception", "reason": "busy"}}
        lines = sum(line.startswith(b'{"index"') for line in body.splitlines())
        return {"errors": bool(error), "items": [{"index": {"status": self.status, **error}}] * lines}


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Domain]:
    kept = Domain()

    class Answering(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = json.dumps(kept.answer(body), separators=(",", ":")).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    yield kept
    server.shutdown()
    server.server_close()


@pytest.fixture
def invoke(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call the function as Lambda does; the remaining time is in seconds."""
    indexer = handler.Indexer(settings(SEARCHOPS_ENDPOINT=domain.url, SEARCHOPS_STREAM=LEFT_OUT))
    monkeypatch.setattr(handler, "_indexer", lambda: indexer)

    def invoke(event: Any, remaining: float = 60.0) -> Any:
        left = lambda: int(remaining * 1000)  # noqa: E731
        return handler.handler(event, SimpleNamespace(aws_request_id="request-1", get_remaining_time_in_millis=left))

    return invoke


ITEM = {"pk": "a", "sk": "1", "revision": 3, "name": "jane@example.com", "searchops_replay": "0" * 19 + "7"}


def put(number: int = 1, **options: Any) -> dict[str, Any]:
    return record(number, {**ITEM, "sk": str(number)}, keys=("pk", "sk"), **options)


def event(*records: Any) -> dict[str, Any]:
    return {"Records": list(records)}


def test_a_batch_is_written_in_one_request_and_answered_with_no_failures(domain: Domain, invoke: Any) -> None:
    assert invoke(event(put(1), put(2))) == {"batchItemFailures": []}

    (body,) = domain.bodies
    action, document = body.splitlines()[:2]
    assert json.loads(action) == {"index": {"_id": "a|1", "version": 3, "version_type": "external"}}
    assert json.loads(document) == {**ITEM, "sk": "1"}


def test_a_strict_index_gets_no_marker(domain: Domain, invoke: Any) -> None:
    domain.mapping["dynamic"] = "strict"

    invoke(event(put()))

    assert "searchops_replay" not in json.loads(domain.bodies[0].splitlines()[1])


def test_an_event_without_records_is_answered_without_a_domain(domain: Domain, invoke: Any) -> None:
    assert invoke({"Records": []}) == {"batchItemFailures": []}
    assert domain.bodies == []


def test_too_little_time_begins_nothing_and_fails_the_batch_from_its_first_record(domain: Domain, invoke: Any) -> None:
    assert invoke(event(put(1), put(2)), remaining=13.2) == {"batchItemFailures": [{"itemIdentifier": sequence(1)}]}
    assert domain.bodies == []


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ({"detail": {}}, NoStreamEvent),
        (event(put(view=View.KEYS_ONLY)), WrongView),
        (event(put(view=View.OLD_IMAGE)), WrongView),
        (event(put(view=View.NEW_IMAGE)), WrongView),
    ],
)
def test_what_is_no_event_of_a_stream_that_shows_the_items_fails_the_invocation(invoke: Any, sent: Any, error: Any) -> None:
    with pytest.raises(error):
        invoke(sent)


def test_an_index_of_another_scheme_is_not_written(domain: Domain, invoke: Any) -> None:
    domain.mapping["_meta"]["searchops"]["scheme"]["id"] = "sku"

    with pytest.raises(DataError, match="writers that do not agree lose documents"):
        invoke(event(put()))

    assert domain.bodies == []


def test_nothing_of_a_record_is_in_the_log(domain: Domain, invoke: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    domain.status = 503

    invoke(event(put()))

    assert f"1 open; again from products:{sequence(1)} on" in caplog.text
    assert "jane" not in caplog.text


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target: Path = build.build(FUNCTION, tmp_path_factory.mktemp("zip") / "stream_indexer.zip")
    return target


def test_the_same_sources_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    assert build.build(FUNCTION, tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_the_zip_holds_the_function_and_what_it_imports(archive: Path) -> None:
    content = zipfile.ZipFile(archive)
    names = content.namelist()

    assert {"handler.py", "searchops/core/streams/consumer.py", "searchops/core/replay/records.py", "orjson/__init__.py"} <= set(
        names
    )
    assert not {name.partition("/")[0] for name in names} & {"airflow", "boto3", "botocore", "pyarrow", "pydantic"}
    assert not [name for name in names if sys.prefix.encode() in content.read(name)]
    assert not {"searchops/core/bulk/sources/plan.py", "searchops/core/replay/selection.py"} & set(names)


def test_the_function_runs_from_the_zip_with_what_lambda_has_besides(archive: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(archive).extractall(tmp_path / "task")
    (tmp_path / "runtime").mkdir()
    for package in RUNTIME:
        (tmp_path / "runtime" / package).symlink_to(Path(sysconfig.get_path("purelib")) / package)

    # -I and -S: neither our directory nor what is installed is on the path.
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(tmp_path / "task"), str(tmp_path / "runtime")],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("DataError: the function's environment variables are wrong: ")


def test_it_needs_the_same_packages_as_the_function_of_the_request_path() -> None:
    """Whose own test holds them to be all that are needed."""
    other = FUNCTION.parent / "bulk_writer"

    assert (FUNCTION / "requirements.txt").read_text() == (other / "requirements.txt").read_text()


def test_every_setting_is_explained_where_it_is_read() -> None:
    source = (FUNCTION / "handler.py").read_text(encoding="utf-8")
    read = source + Path(function.__file__).read_text(encoding="utf-8")

    assert set(re.findall(r'"(SEARCHOPS_\w+)"', read)) == set(re.findall(r"^(SEARCHOPS_\w+) ", source, re.M))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_the_policy_of_the_page_allows_what_the_function_writes_and_no_other_key() -> None:
    (policy,) = [json.loads(block) for block in blocks("json") if '"Statement"' in block]
    reading, looking, writing, firehose, s3, *given_up = policy["Statement"]
    run = run_of(CREATED)

    assert set(reading["Action"]) == {
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
    }
    assert (looking["Action"], writing["Action"], firehose["Action"]) == (
        "es:ESHttpGet",
        "es:ESHttpPost",
        "firehose:PutRecordBatch",
    )
    assert [path.rpartition("/products/")[2] for path in writing["Resource"]] == ["_bulk", "_mget"]
    keys = (
        manifest_key("products", run, "request", 0, "d" * 16),
        spool_key("products", run, "d" * 64),
        rejected_key("products", run, "d" * 16, 0),
    )
    for key in keys:
        assert sum(fnmatchcase(f"arn:aws:s3:::example-searchops/{key}", allowed) for allowed in s3["Resource"]) == 1
    assert len(s3["Resource"]) == len(keys)
    assert [(statement["Action"], statement["Resource"].rpartition(":::")[2]) for statement in given_up] == [
        ("s3:PutObject", "example-searchops/aws/lambda/*"),
        ("s3:ListBucket", "example-searchops"),
    ]


def test_the_settings_of_the_mapping_on_the_page_are_an_entry_of_the_inventory() -> None:
    (block,) = blocks("yaml")
    (entry,) = yaml.safe_load(block)["functions"].values()

    found = FunctionEntry.model_validate(entry)

    assert (found.kind, found.report_batch_item_failures, found.bisect) == ("stream", True, True)
    assert found.max_event_age is not None
    assert found.on_failure is not None

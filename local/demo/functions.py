"""The S3-event function in a local cloud: deployed as it is, around work that can be watched; objects, their events, what came of them."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from botocore.exceptions import ClientError

from local.cloud import ROOT
from local.simulators.functions.control import FunctionsControl

FUNCTION = ROOT / "include" / "lambda" / "object_once"
OBSERVED = Path(__file__).with_name("observed")
UPLOADS, OBSERVATIONS = "example-uploads", "example-observations"
SHORT_LEASE = "short_lease.handler"


class ObjectFunction:
    """The deployed function and its bucket.

    :param client: makes a boto3 client of the cloud by the name of the service
    :param control: of the functions' simulator
    :param table: the table of claims
    :param name: of the function, and its namespace among the claims
    :param handler: ``short_lease.handler`` takes LEASE_SECONDS from the environment
    """

    def __init__(
        self,
        client: Callable[[str], Any],
        control: FunctionsControl,
        *,
        table: str,
        name: str,
        handler: str = "handler.handler",
        timeout_seconds: int = 60,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.s3, self.sqs, self.dynamodb, self.lambda_ = map(client, ("s3", "sqs", "dynamodb", "lambda"))
        self.control = control
        self._table = table
        self._sequence = itertools.count(1)
        role = role_of(client("iam"))
        # Its own, so that a key means one thing: a cloud may hold the functions of many tests.
        self.uploads, self._observations = f"{UPLOADS}-{name}", f"{OBSERVATIONS}-{name}"
        for bucket in (self.uploads, self._observations):
            _make_bucket(self.s3, bucket)
        variables = {
            "SEARCHOPS_CLAIMS_TABLE": table,
            "SEARCHOPS_NAMESPACE": name,
            "OBSERVATIONS": self._observations,
            **(environment or {}),
        }
        self.lambda_.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=role,
            Handler=handler,
            Code={"ZipFile": observed_zip()},
            Timeout=timeout_seconds,
            Environment={"Variables": variables},
        )

    def delete(self) -> None:
        """End it and its idle processes, which hold 50 MB each."""
        self.lambda_.delete_function(FunctionName=self.name)

    def put(self, key: str, content: bytes) -> dict[str, Any]:
        """Write an object and return the notification that S3 sends of it."""
        etag = self.s3.put_object(Bucket=self.uploads, Key=key, Body=content)["ETag"].strip('"')
        return self.notification(key, etag, len(content))

    def notification(self, key: str, etag: str, size: int) -> dict[str, Any]:
        """As S3 sends it (user guide, "Event message structure"), with a sequencer that is later than all before."""
        object_ = {"key": quote_plus(key, safe="/"), "size": size, "eTag": etag, "sequencer": f"{next(self._sequence):018X}"}
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "ap-northeast-1",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": self.uploads, "arn": f"arn:aws:s3:::{self.uploads}"},
                "object": object_,
            },
        }
        return {"Records": [record]}

    def runs(self, key: str) -> int:
        """How often the work has begun for an object."""
        return len(self._keys(self._observations, f"runs/{key}/"))

    def effects(self, key: str) -> list[str]:
        """The records that the work has left for an object."""
        return self._keys(self.uploads, f"checks/{key}/")

    def hold(self, key: str) -> None:
        """Let the work for an object wait after its effect."""
        self.s3.put_object(Bucket=self._observations, Key=f"held/{key}")

    def let_go(self, key: str) -> None:
        self.s3.delete_object(Bucket=self._observations, Key=f"held/{key}")

    def break_(self, key: str, runs: int) -> None:
        """Let the first runs of the work for an object fail before their effect, as if something did not answer."""
        self.s3.put_object(Bucket=self._observations, Key=f"broken/{key}", Body=str(runs).encode())

    def together(self, *events: Any) -> list[dict[str, Any]]:
        """Deliver events at the same moment and return what Lambda got for each."""
        return self.control.together(self.name, events)

    def invoke_later(self, event: Any) -> str:
        """Invoke it asynchronously, as S3 does, and return the id of the request."""
        answer = self.lambda_.invoke(FunctionName=self.name, InvocationType="Event", Payload=json.dumps(event).encode())
        return str(answer["ResponseMetadata"]["RequestId"])

    def retry(self, retries: int) -> str:
        """Let events that have failed once and ``retries`` times more go to a queue, and return its URL."""
        queue: str = self.sqs.create_queue(QueueName=f"{self.name}-failed")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.lambda_.put_function_event_invoke_config(
            FunctionName=self.name, MaximumRetryAttempts=retries, DestinationConfig={"OnFailure": {"Destination": arn}}
        )
        return queue

    def failure(self, queue: str) -> dict[str, Any]:
        """Wait for a record of a failed event and return it."""
        messages: list[dict[str, Any]] = []

        def arrived() -> bool:
            messages.extend(self.sqs.receive_message(QueueUrl=queue).get("Messages", []))
            return bool(messages)

        wait_until(arrived, "a record arrives")
        return dict(json.loads(messages[0]["Body"]))

    def delivery(self, request_id: str) -> dict[str, Any]:
        """What has become of an asynchronous invocation."""
        return next(found for found in self.control.deliveries(self.name) if found["request_id"] == request_id)

    def record(self, key: str) -> dict[str, Any]:
        """The claim of an object's only change, as the table has it."""
        items = self.dynamodb.scan(TableName=self._table, ConsistentRead=True)["Items"]
        (record,) = (
            item for item in items if item["id"]["S"].startswith(f"claim#{self.name}#") and item["id"]["S"].endswith(f"/{key}")
        )
        return dict(record)

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        return [row["Key"] for row in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """
    :raises TimeoutError: it does not come true in time
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not so after {seconds:.0f} s: {what}")
        time.sleep(0.05)


def observed_zip() -> bytes:
    """The function's zip, in which its work is watched."""
    with tempfile.TemporaryDirectory() as folder:
        function = shutil.copytree(FUNCTION, Path(folder) / "object_once", ignore=shutil.ignore_patterns("__pycache__"))
        (function / "work.py").rename(function / "checked.py")
        for path in OBSERVED.glob("*.py"):
            shutil.copy(path, function)
        archive: Path = builder().build(function, Path(folder) / "function.zip")
        return archive.read_bytes()


def builder() -> Any:
    """The module include/lambda/build.py, whose folder is no package."""
    path = FUNCTION.parent / "build.py"
    spec = importlib.util.spec_from_file_location("lambda_build", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def role_of(iam: Any) -> str:
    """moto looks whether a function's role exists."""
    try:
        return str(iam.create_role(RoleName="object-once", AssumeRolePolicyDocument="{}")["Role"]["Arn"])
    except iam.exceptions.EntityAlreadyExistsException:
        return str(iam.get_role(RoleName="object-once")["Role"]["Arn"])


def _make_bucket(s3: Any, bucket: str) -> None:
    try:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise

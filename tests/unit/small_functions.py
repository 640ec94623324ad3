"""Lambda's settings, SQS and a table of claims in moto, and records of events that failed."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import boto3

from searchops.core.idempotency.table import create_claims_table

REGION = "ap-northeast-1"
ACCOUNT = "123456789012"
TABLE = "small-claims"


class SmallFunctions:
    """One function, the queue of its failed events, and what was sent to it.

    ``refusals`` are answers of Invoke, one for each event from now on, by error code; None takes the event.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = f"f-{uuid.uuid4().hex[:8]}"
        self.sent: list[tuple[dict[str, Any], str | None]] = []
        self.refusals: list[str | None] = []
        self.functions = self.client("lambda")
        self.functions.meta.events.register("before-call.lambda.Invoke", self._invoked)
        self.sqs = self.client("sqs")
        self.dynamodb = self.client("dynamodb")
        self.queue_url = self.sqs.create_queue(QueueName=f"{self.name}-failed")["QueueUrl"]
        self.queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}-failed"
        create_claims_table(self.dynamodb, TABLE)

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.session.Session(**keys).client(service, region_name=REGION, endpoint_url=self.url)

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        }

    def create(self, timeout: int = 30) -> None:
        iam = self.client("iam")
        try:
            role = iam.create_role(RoleName=self.name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        except iam.exceptions.EntityAlreadyExistsException:
            role = iam.get_role(RoleName=self.name)["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as content:
            content.writestr("handler.py", "def handler(event, context): pass")
        self.functions.create_function(
            FunctionName=self.name,
            Runtime="python3.12",
            Role=role,
            Handler="handler.handler",
            Code={"ZipFile": code.getvalue()},
            Timeout=timeout,
        )

    def fail(self, payload: Any, request_id: str | None = None, *, error: str = "ValueError", **changes: Any) -> str:
        """Put the record of a failed event into the queue and return its request id."""
        request_id = request_id or str(uuid.uuid4())
        self.put(json.dumps(record(payload, request_id, self.name, error=error) | changes))
        return request_id

    def put(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def left(self) -> int:
        """How many messages the queue has, those that somebody holds included."""
        return sum(self.counts())

    def counts(self) -> tuple[int, int]:
        """The messages that can be had, and those that somebody holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return [payload for payload, _ in self.sent]

    def _invoked(self, params: Mapping[str, Any], **_: Any) -> Any:
        assert params["headers"]["X-Amz-Invocation-Type"] == "Event"
        if code := (self.refusals.pop(0) if self.refusals else None):
            status = {"ServiceException": 500, "TooManyRequestsException": 429}.get(code, 400)
            answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
            return SimpleNamespace(status_code=status), answer
        qualifier = params["query_string"].get("Qualifier")
        self.sent.append((json.loads(params["body"]), qualifier))
        return SimpleNamespace(status_code=202), {"StatusCode": 202, "ResponseMetadata": {"HTTPStatusCode": 202}}


def record(
    payload: Any, request_id: str, function: str, *, error: str = "ValueError", qualifier: str = "$LATEST"
) -> dict[str, Any]:
    """As in the Lambda developer guide, "Capturing records of Lambda asynchronous invocations"."""
    return {
        "version": "1.0",
        "timestamp": "2026-11-14T18:16:05.568Z",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}:{qualifier}",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": payload,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "SECRET of the event", "errorType": error, "stackTrace": []},
    }

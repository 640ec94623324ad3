"""The simulator's routes: Invoke is answered here, every other call of the Lambda API by moto.

moto keeps every PutFunctionEventInvokeConfig and goes on to answer with the first; here the last one counts, as in AWS.

=====================================  ==============================================================================================
``POST …/functions/{name}/invocations``  Invoke: RequestResponse, Event or DryRun
``GET /_control/running``              the invocations under way: ``[{"request_id", "function", "pid"}]``
``GET /_control/deliveries``           the asynchronous invocations, as ``asynchronous.Delivery``
``POST /_control/together``            ``{"function", "events": […]}``: runs all at the same moment, answers with all results
``POST /_control/copies``              ``{"copies": 5, "count": 1}``: the next ``count`` asynchronous events are delivered that often
``POST /_control/speed``               ``{"speed": 60}``: the waits between attempts pass that much faster; answers with the speed before
``POST /_control/poll``                ``{"function", "queue_url", "report_failures": true}``: one batch of an SQS queue, as an event source
                                       mapping with or without ReportBatchItemFailures would take it
=====================================  ==============================================================================================
"""

from __future__ import annotations

import base64
import io
import threading
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import boto3
import httpx

from local.simulators.functions.asynchronous import AsynchronousInvocations, Rules
from local.simulators.functions.sandbox import Function, Result, Sandboxes
from local.simulators.http import Application, BadRequest, Request, Response, json_response

FUNCTIONS = "/2015-03-31/functions"
EVENT_INVOKE_CONFIG = "/2019-09-25/functions/{name}/event-invoke-config"
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
_HOP_BY_HOP = {"connection", "content-length", "content-encoding", "date", "server", "transfer-encoding"}


class Functions:
    """The state behind the routes.

    :param directory: where the functions' code is unzipped
    :param speed: how many times faster than Lambda's the waits between asynchronous attempts and the age of events run
    """

    def __init__(self, aws_endpoint: str, directory: Path, speed: float = 1.0) -> None:
        self._endpoint = aws_endpoint
        self._directory = directory
        self._sandboxes = Sandboxes()
        self._folders: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._copies: list[int] = []
        self._moto = httpx.Client(base_url=aws_endpoint, trust_env=False, timeout=30)
        self._lambda, self._sqs = (boto3.client(name, endpoint_url=aws_endpoint) for name in ("lambda", "sqs"))
        self._asynchronous = AsynchronousInvocations(
            self._invoke, self._rules, self._hand_over, lambda name: self._function(name).arn, speed
        )

    def application(self) -> Application:
        app = Application("functions")
        for method in _METHODS:
            app.route(method, "/{path+}", self._forward, "moto")
        app.route("POST", FUNCTIONS, self._create, "CreateFunction")
        app.route("PUT", f"{FUNCTIONS}/{{name}}/code", self._update_code, "UpdateFunctionCode")
        app.route("DELETE", f"{FUNCTIONS}/{{name}}", self._delete, "DeleteFunction")
        app.route("POST", f"{FUNCTIONS}/{{name}}/invocations", self._answer_invoke, "Invoke")
        app.route("PUT", EVENT_INVOKE_CONFIG, self._put_event_invoke_config, "PutFunctionEventInvokeConfig")
        app.route("GET", "/_control/running", lambda _: json_response(self._sandboxes.running()))
        app.route("GET", "/_control/deliveries", lambda _: json_response(self._asynchronous.deliveries()))
        app.route("POST", "/_control/together", self._together)
        app.route("POST", "/_control/copies", self._order_copies)
        app.route("POST", "/_control/poll", self._poll)
        app.route("POST", "/_control/speed", self._set_speed)
        return app

    def close(self) -> None:
        self._sandboxes.close()

    # The Lambda API

    def _answer_invoke(self, request: Request) -> Response:
        name, kind = _name(request.parameters["name"]), request.headers.get("x-amz-invocation-type", "RequestResponse")
        try:
            function = self._function(name)
        except KeyError:
            return self._forward(
                Request("GET", f"{FUNCTIONS}/{name}", headers=request.headers)
            )  # moto's ResourceNotFoundException
        event, request_id = request.json(), str(uuid.uuid4())
        if kind == "DryRun":
            return Response(204)
        if kind == "Event":
            for _ in range(self._copies_of_next()):
                self._asynchronous.add(name, request_id, event)
            return Response(202, headers={"x-amzn-RequestId": request_id})
        result = self._sandboxes.invoke(function, request_id, event)
        failed = {"X-Amz-Function-Error": "Unhandled"} if result.failed else {}
        return json_response(result.payload, 200, {"X-Amz-Executed-Version": "$LATEST", "x-amzn-RequestId": request_id, **failed})

    def _create(self, request: Request) -> Response:
        return self._with_code(request, request.json().get("FunctionName", ""), request.json().get("Code", {}))

    def _update_code(self, request: Request) -> Response:
        return self._with_code(request, request.parameters["name"], request.json())

    def _delete(self, request: Request) -> Response:
        name = _name(request.parameters["name"])
        self._folders.pop(name, None)
        self._sandboxes.forget(name)
        return self._forward(request)

    def _with_code(self, request: Request, name: str, code: Mapping[str, Any]) -> Response:
        """Let moto keep the function, and keep its code here."""
        if not isinstance(code.get("ZipFile"), str):
            raise BadRequest(f"function {name}: expected its code as ZipFile, found {sorted(code)}")
        response = self._forward(request)
        if response.status < 300:
            folder = self._directory / uuid.uuid4().hex
            with zipfile.ZipFile(io.BytesIO(base64.b64decode(code["ZipFile"]))) as content:
                content.extractall(folder)
            self._folders[_name(name)] = folder
        return response

    def _put_event_invoke_config(self, request: Request) -> Response:
        with self._lock:
            self._forward(Request("DELETE", request.path, request.query, request.headers))
            return self._forward(request)

    def _forward(self, request: Request) -> Response:
        if request.path.startswith("/_control/"):
            return json_response({"message": f"functions: no route for {request.method} {request.path}"}, 404)
        url = quote(request.path, safe="/:$") + (f"?{urlencode(request.query, doseq=True)}" if request.query else "")
        kept = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        answer = self._moto.request(request.method, url, content=request.body, headers=kept)
        headers = {name: value for name, value in answer.headers.items() if name not in _HOP_BY_HOP}
        return Response(answer.status_code, answer.content, headers)

    # What tests and the demo order

    def _together(self, request: Request) -> Response:
        order = request.json()
        events = [(str(uuid.uuid4()), event) for event in order["events"]]
        results = self._sandboxes.invoke_together(self._function(order["function"]), events)
        return json_response([asdict(result) for result in results])

    def _order_copies(self, request: Request) -> Response:
        order = request.json()
        with self._lock:
            self._copies += [int(order["copies"])] * int(order.get("count", 1))
        return json_response({})

    def _copies_of_next(self) -> int:
        with self._lock:
            return self._copies.pop(0) if self._copies else 1

    def _set_speed(self, request: Request) -> Response:
        before, self._asynchronous.speed = self._asynchronous.speed, float(request.json()["speed"])
        return json_response({"speed": before})

    def _poll(self, request: Request) -> Response:
        order = request.json()
        url = order["queue_url"]
        answer = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
        received = {message["MessageId"]: message for message in answer.get("Messages", [])}
        if not received:
            return json_response({"received": 0, "deleted": [], "failed": False})
        batch = {"Records": [_sqs_record(message) for message in received.values()]}
        result = self._invoke(order["function"], str(uuid.uuid4()), batch)
        deleted = [id_ for id_ in received if id_ not in _to_be_kept(result, list(received), order.get("report_failures", True))]
        for id_ in deleted:
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=received[id_]["ReceiptHandle"])
        return json_response({"received": len(received), "deleted": deleted, "failed": result.failed, "payload": result.payload})

    # What moto keeps

    def _invoke(self, name: str, request_id: str, event: Any) -> Result:
        return self._sandboxes.invoke(self._function(name), request_id, event)

    def _function(self, name: str) -> Function:
        """
        :raises KeyError: no function of that name has been created through us
        """
        folder = self._folders[name]
        settings = self._lambda.get_function_configuration(FunctionName=name)
        variables = settings.get("Environment", {}).get("Variables", {})
        return Function(
            name,
            settings["FunctionArn"],
            folder,
            settings["Handler"],
            float(settings["Timeout"]),
            tuple(sorted(variables.items())),
        )

    def _rules(self, name: str) -> Rules:
        try:
            return Rules.from_configuration(self._lambda.get_function_event_invoke_config(FunctionName=name))
        except self._lambda.exceptions.ResourceNotFoundException:
            return Rules()

    def _hand_over(self, destination: str, record: str) -> None:
        service, _, _, queue = destination.split(":")[2:]
        if service != "sqs":
            raise BadRequest(f"on-failure destination {destination}: expected an SQS queue, which alone is simulated")
        url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        self._sqs.send_message(QueueUrl=url, MessageBody=record)


def _name(name: str) -> str:
    """The name of a function that an ARN may name, with a qualifier or without."""
    return name.partition(":function:")[2].partition(":")[0] or name.partition(":")[0]


def _sqs_record(message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {},
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
    }


def _to_be_kept(result: Result, ids: list[str], report_failures: bool) -> list[str]:
    """Which messages the queue delivers again (developer guide, "Implementing partial batch responses")."""
    if result.failed:
        return ids
    failures = result.payload.get("batchItemFailures") if isinstance(result.payload, dict) else None
    if not report_failures or not failures:
        return []
    kept = [failure.get("itemIdentifier") for failure in failures]
    return kept if set(kept) <= set(ids) else ids  # an identifier that is empty or unknown makes it a failure of the whole batch

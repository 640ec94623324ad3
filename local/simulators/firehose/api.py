"""The JSON 1.1 face of the simulator, and its control routes.

Limits are taken from botocore's own model of the service, but for those of the records, which have to be quick to check.

Control routes besides those of ``local.simulators.http`` (JSON; times in epoch seconds; ``stream`` null: all of them):

======================================  =======================================================================================
``GET /_control/streams``               the streams with their counts (``delivery.Counts``) and what has no end yet
``POST /_control/flush``                ``{"stream", "wait_seconds": 0}``: everything is due now; ``{"empty": bool}`` after that time
``POST /_control/wait``                 the same without the flush
``POST /_control/pause``                ``{"stream", "paused": true}``: stops to deliver, or goes on
``POST /_control/settings``             changes settings (see ``settings.Settings``), answers with all of them
``POST /_control/speed``                ``{"speed": 60}``: buffers and retries pass that much faster
``GET, POST, DELETE /_control/faults``  the faults; POST takes a list (see ``faults``)
``GET /_control/faults/happened``       calls by kind of the faults that they met
``POST /_control/reset``                forgets streams with what they hold, faults, calls, settings
======================================  =======================================================================================
"""

from __future__ import annotations

import binascii
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel, ServiceModel

from local.simulators.firehose.faults import OPERATIONS, PUTS, CallFaults, Fault, FaultBook
from local.simulators.firehose.service import FirehoseService, ServiceError, slow_down
from local.simulators.firehose.settings import MIB
from local.simulators.http import Application, BadRequest, ConnectionReset, Request, Response, json_response
from local.simulators.packages.api import check

MAX_RECORDS = 500
MAX_CALL_BYTES = 4 * MIB
MAX_RECORD_BYTES = 1_024_000
_TARGET = "Firehose_20150804."
_NAME = re.compile("[a-zA-Z0-9_.-]{1,64}")
_ACCESS_DENIED = "User is not authorized to perform this operation"


def service_model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("firehose")


class _TargetedApplication(Application):
    """Routes by the operation that ``X-Amz-Target`` names, so that calls are counted by it."""

    def __call__(self, request: Request) -> Response:
        target = request.headers.get("x-amz-target", "")
        if request.path == "/" and target.startswith(_TARGET):
            request = replace(request, path=f"/{target.removeprefix(_TARGET)}")
        return super().__call__(request)


def application(service: FirehoseService) -> Application:
    """The API and the control routes over a service."""
    app = _TargetedApplication("firehose")
    faults = FaultBook()
    model = service_model()
    puts = {"PutRecord": _put_record, "PutRecordBatch": _put_record_batch}
    for name in sorted(OPERATIONS):
        act = puts[name] if name in PUTS else _modelled(model.operation_model(name))
        app.route("POST", f"/{name}", _Operation(name, act, service, faults), name)
    app.route("POST", "/{operation}", _unknown_operation, "unknown")
    _add_control(app, service, faults)
    return app


Act = Callable[[FirehoseService, Any, CallFaults], dict[str, Any]]


class _Operation:
    """One operation with its faults."""

    def __init__(self, name: str, act: Act, service: FirehoseService, faults: FaultBook) -> None:
        self._name = name
        self._act = act
        self._service = service
        self._faults = faults

    def __call__(self, request: Request) -> Response:
        parameters = request.json()
        faults = self._faults.for_call(self._name, parameters.get("DeliveryStreamName"))
        if seconds := faults.seconds("slow"):
            time.sleep(seconds)
        if faults.find("reset"):
            raise ConnectionReset
        response = self._answer(parameters, faults)
        if faults.find("reset_after"):
            raise ConnectionReset
        if seconds := faults.seconds("slow_after"):
            time.sleep(seconds)
        if fault := faults.find("server_error_after"):
            return _error(_server_error(fault))
        return response

    def _answer(self, parameters: Any, faults: CallFaults) -> Response:
        try:
            _raise_ordered(faults)
            return _json_1_1(self._act(self._service, parameters, faults))
        except ServiceError as error:
            return _error(error)


def _json_1_1(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    given = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": secrets.token_hex(16), **(headers or {})}
    return json_response(value, status, given)


def _error(error: ServiceError) -> Response:
    return _json_1_1({"__type": error.code, "message": error.message}, error.status, {"x-amzn-errortype": error.code})


def _unknown_operation(request: Request) -> Response:
    return _error(ServiceError("UnknownOperationException", f"The simulator does not know {request.path.strip('/')}"))


def _server_error(fault: Fault) -> ServiceError:
    return ServiceError(fault.code or "InternalFailure", fault.message or "Internal failure", fault.status or 500)


def _raise_ordered(faults: CallFaults) -> None:
    fault = faults.find("throttle", "server_error", "error")
    if fault is None:
        return
    if fault.kind == "throttle":
        raise slow_down()
    if fault.kind == "server_error":
        raise _server_error(fault)
    raise ServiceError(fault.code or "AccessDeniedException", fault.message or _ACCESS_DENIED, fault.status or 400)


def _modelled(operation: OperationModel) -> Act:
    """An operation whose parameters the model checks, but for the tags: their pattern is not one of Python's."""
    method = xform_name(operation.name)

    def act(service: FirehoseService, parameters: dict[str, Any], _: CallFaults) -> dict[str, Any]:
        _raise_violations(
            check(operation.input_shape, parameters | {key: [] for key in ("Tags", "TagKeys") if key in parameters})
        )
        answer: dict[str, Any] = getattr(service, method)(parameters)
        return answer

    return act


def _put_record(service: FirehoseService, parameters: dict[str, Any], faults: CallFaults) -> dict[str, Any]:
    (data,) = _records(parameters, [parameters["Record"]], "record.data")
    (told,) = service.put(parameters["DeliveryStreamName"], [data], faults)
    if "ErrorCode" in told:
        raise slow_down()
    return told | {"Encrypted": False}


def _put_record_batch(service: FirehoseService, parameters: dict[str, Any], faults: CallFaults) -> dict[str, Any]:
    given = parameters["Records"]
    if not 1 <= len(given) <= MAX_RECORDS:
        rule = f"Member must have length {'less' if given else 'greater'} than or equal to {MAX_RECORDS if given else 1}"
        _raise_violations([f"Value at 'records' failed to satisfy constraint: {rule}"])
    records = _records(parameters, given, "records.{}.member.data")
    encoded = service.settings.call_limit_counts == "base64"
    if sum(map(len, (row["Data"] for row in given) if encoded else records)) > MAX_CALL_BYTES:
        raise ServiceError("InvalidArgumentException", "Records size exceeds 4 MB limit")
    told = service.put(parameters["DeliveryStreamName"], records, faults)
    failed = sum("ErrorCode" in row for row in told)
    return {"FailedPutCount": failed, "Encrypted": False, "RequestResponses": told}


def _records(parameters: Mapping[str, Any], given: Sequence[Mapping[str, str]], path: str) -> list[bytes]:
    """The bytes of the records.

    :raises ServiceError: a name or a record that the model forbids
    """
    name = parameters["DeliveryStreamName"]
    violations = (
        [] if _NAME.fullmatch(name) else [f"Value '{name}' at 'deliveryStreamName' failed to satisfy constraint: {_NAME.pattern}"]
    )
    try:
        records = [binascii.a2b_base64(row["Data"]) for row in given]
    except binascii.Error as error:
        raise ServiceError("SerializationException", f"a record is not base64: {error}") from error
    violations += [
        f"Value 'java.nio.HeapByteBuffer[pos=0 lim={len(data)} cap={len(data)}]' at '{path.format(position)}' failed to satisfy "
        f"constraint: Member must have length less than or equal to {MAX_RECORD_BYTES}"
        for position, data in enumerate(records, 1)
        if len(data) > MAX_RECORD_BYTES
    ]
    _raise_violations(violations)
    return records


def _raise_violations(violations: Sequence[str]) -> None:
    if violations:
        errors = "error" if len(violations) == 1 else "errors"
        raise ServiceError("ValidationException", f"{len(violations)} validation {errors} detected: {'; '.join(violations)}")


def _add_control(app: Application, service: FirehoseService, faults: FaultBook) -> None:
    def reset(_: Request) -> Response:
        faults.clear()
        service.reset()
        app.log.clear()
        return json_response({})

    def wait(request: Request, *, flush: bool) -> Response:
        order = request.json()
        deadline = time.monotonic() + order.get("wait_seconds", 0)
        deliveries = _parsed(lambda: service.deliveries(order.get("stream")))
        for delivery in deliveries if flush else ():
            delivery.flush()
        empty = [delivery.wait_until_empty(max(0.0, deadline - time.monotonic())) for delivery in deliveries]
        return json_response({"empty": all(empty)})

    def pause(request: Request) -> Response:
        order = request.json()
        for delivery in _parsed(lambda: service.deliveries(order.get("stream"))):
            delivery.pause(order["paused"])
        return json_response({})

    def configure(request: Request) -> Response:
        return json_response(asdict(_parsed(lambda: service.configure(request.json()))))

    def order(request: Request) -> Response:
        faults.order(_parsed(lambda: [Fault.parse(values) for values in request.json()]))
        return shown(request)

    def shown(_: Request) -> Response:
        return json_response([asdict(fault) for fault in faults.ordered()])

    def clear(request: Request) -> Response:
        faults.clear()
        return shown(request)

    app.route("GET", "/_control/streams", lambda _: json_response(service.states()))
    app.route("POST", "/_control/flush", lambda request: wait(request, flush=True))
    app.route("POST", "/_control/wait", lambda request: wait(request, flush=False))
    app.route("POST", "/_control/pause", pause)
    app.route("POST", "/_control/settings", configure)
    app.route("POST", "/_control/speed", configure)
    app.route("GET", "/_control/faults", shown)
    app.route("GET", "/_control/faults/happened", lambda _: json_response(faults.happened()))
    app.route("POST", "/_control/faults", order)
    app.route("DELETE", "/_control/faults", clear)
    app.route("POST", "/_control/reset", reset)


def _parsed(parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except (TypeError, ValueError, ServiceError) as error:
        raise BadRequest(str(error)) from error
